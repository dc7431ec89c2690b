"""The numbers at the end of a run: measured on the test split, each with interval and passport."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Batch, Dataset
from genai_cli.evaluation import passport
from genai_cli.evaluation.budget import Budget, fit_to_budget
from genai_cli.evaluation.chosen import subset
from genai_cli.evaluation.intervals import of_means
from genai_cli.evaluation.measures import value_entry
from genai_cli.models import restoration
from genai_cli.models.base import Model
from genai_cli.rng import generator
from genai_cli.store.run_folder import MeasuredPart
from genai_cli.training.distributed import SINGLE_RANK, Ranks
from genai_cli.training.loop import EVALUATION_BATCH, batch_terms

FULL = "fp32"  # no autocast: a measurement does not depend on the precision of the training
LIKELIHOODS = ("bits_per_dim", "bound", "loss")  # terms that are one, where a family has any
ACTIVE = 0.01  # variance of a posterior mean above which a unit counts as active (Burda 2016)


class TestMeasurements(NamedTuple):
    """Per-example values of the test examples, (n, …) each."""

    values: dict[str, Tensor]  # (n,) of every term
    extra: dict[str, Tensor]  # codes, predictions and targets, which the figures need
    way: str  # what the value ``plain`` is
    part: MeasuredPart


Stage = Callable[[MeasuredPart, float], Callable[[int], None]]


def no_progress(part: MeasuredPart, seconds: float) -> Callable[[int], None]:
    """Return a progress callback that does nothing."""
    return lambda n: None


def per_example(
    model: Model,
    data: Dataset,
    seed: int,
    ranks: Ranks = SINGLE_RANK,
    budget: Budget | None = None,
    stage: Stage = no_progress,
) -> TestMeasurements:
    """Measure test examples: all in their order, or as many as the budget allows.

    ``mse`` is that of the reconstruction without noise, per element, in data space; of the target
    image where the data is a pair. Of what is to be restored (models/restoration.py) ``plain`` is
    the error without a model, and ``denoised_mse`` that with one, where the task is to take noise
    away. Other terms are means over the noise draws the family asks for (``test_draws``). Ranks
    take the batches in turns, and all get all.

    Where the budget does not suffice for all, `budget.fit_to_budget` gives the part to measure,
    once, from the time of the first batch (of the second, if the first was slow: it may have had to
    allocate). Fewer examples are those of `subset`.

    Args:
        model: with the weights that are kept.
        data: on the model's device.
        seed: of the noise.
        ranks: of the run.
        budget: infinite if not given.
        stage: is told what is measured and how many seconds that takes, and gives what to call
            with how many more examples of a draw are done.
    """
    budget = budget or Budget()
    part = budget.part or MeasuredPart(len(data.test), model.test_draws)
    known = budget.part is not None
    result = _pass(model, data, seed, ranks, part, budget, stage, known)
    if isinstance(result, MeasuredPart):
        result = _pass(model, data, seed, ranks, result, budget, stage, True)
    return result


@torch.no_grad()
def _pass(
    model: Model,
    data: Dataset,
    seed: int,
    ranks: Ranks,
    part: MeasuredPart,
    budget: Budget,
    stage: Stage,
    known: bool,
) -> TestMeasurements | MeasuredPart:
    """`per_example` of a part of the split; or the smaller part, where that turns out to be too
    much and ``known`` does not say that it is to be measured."""
    split, player = data.test, model.players()
    chunks = subset(split, part.n).split(EVALUATION_BATCH)
    rounds = -(-len(chunks) // ranks.world)
    values: dict[str, list[Tensor]] = {}
    once: dict[str, list[Tensor]] = {}
    extra: dict[str, list[Tensor]] = {}
    way, draw, each, rest = "", 0, math.inf, math.inf
    tick = stage(part, 0.0) if known else None
    model.eval()
    while draw < part.draws:
        batches = split.batches(chunks[ranks.rank :: ranks.world])
        for k in range(rounds):
            batch, i = next(batches, None), ranks.rank + k * ranks.world
            began = middle = time.perf_counter()
            if batch is not None:
                purpose = f"test/{draw}" if draw else "test"
                _add(values, batch_terms(model, player, batch, seed, purpose, i, FULL), draw, k)
                middle = time.perf_counter()
                if not draw:
                    way = _look(model, data, seed, i, batch, once, extra) or way
            if tick is not None:
                tick(0 if batch is None else len(batch.x))
                continue
            each = min(each, middle - began)
            rest = rest if draw else min(rest, time.perf_counter() - middle)
            slowest = [max(times) for times in zip(*ranks.all_gather((each, rest)), strict=True)]
            size = EVALUATION_BATCH * ranks.world
            seconds = ranks.broadcast(budget.for_test())
            budget.whole = rounds * (part.draws * slowest[0] + slowest[1])
            fits = fit_to_budget(part, *slowest, seconds, size)
            if fits == part or draw or k:  # else another look: the first batch had to allocate
                if fits.n < part.n:
                    return fits
                part = fits._replace(draws=max(fits.draws, draw + 1))  # those that were taken
                tick = stage(part, rounds * (part.draws * slowest[0] + slowest[1]))
                tick(0 if batch is None else (draw * part.n + (k + 1) * len(batch.x)))
        draw += 1
    means = {name: [total / part.draws for total in totals] for name, totals in values.items()}
    joined = (_joined(parts, len(chunks), ranks) for parts in (means | once, extra))
    return TestMeasurements(*joined, way, part)


def _add(values: dict[str, list[Tensor]], terms: dict[str, Tensor], draw: int, k: int) -> None:
    """Add the terms of batch k to the sums over the draws."""
    for name, value in terms.items():
        seen = values.setdefault(name, [])
        value = value.cpu().double()
        if draw:
            seen[k] += value
        else:
            seen.append(value)


def _look(
    model: Model,
    data: Dataset,
    seed: int,
    i: int,
    batch: Batch,
    values: dict[str, list[Tensor]],
    extra: dict[str, list[Tensor]],
) -> str:
    """Add what batch i shows once: errors of its reconstruction, codes, predictions, targets;
    what ``plain`` is, or ""."""
    way = ""
    coded = model.reconstructs_by == "code"
    if hasattr(model, "reconstruct") and coded:  # in place of the training term, which sees noise
        draws = generator(seed, "restored", i, batch.x.device)
        task = restoration.task(model, data.spec, batch, draws)
        seen = {"mse": _mse(model.reconstruct(batch.x), task.truth)}
        if task.baseline is not None:
            way = restoration.MEANS[task.way]
            seen["plain"] = _mse(task.baseline, task.truth)
        if task.way == restoration.INPUT:
            seen["denoised_mse"] = _mse(model.reconstruct(task.given), task.truth)
        for name, value in seen.items():
            values.setdefault(name, []).append(value.cpu())
    if hasattr(model, "encode") and coded:
        extra.setdefault("codes", []).append(model.encode(batch.x).cpu())
    if hasattr(model, "predict"):
        extra.setdefault("predictions", []).append(model.predict(batch.x).cpu())
    if batch.y is not None and batch.y.dim() < 3:
        extra.setdefault("targets", []).append(batch.y.cpu())
    return way


def _mse(output: Tensor, truth: Tensor) -> Tensor:
    return (output - truth).square().flatten(1).mean(1)


def _joined(parts: dict[str, list[Tensor]], batches: int, ranks: Ranks) -> dict[str, Tensor]:
    """In the order of the batches, of which rank r has number r, r + world, …"""
    gathered = ranks.all_gather(
        {name: [t.cpu() for t in tensors] for name, tensors in parts.items()}
    )
    ordered = {
        name: [gathered[i % ranks.world][name][i // ranks.world] for i in range(batches)]
        for name in gathered[0]
    }
    return {name: torch.cat(tensors).float() for name, tensors in ordered.items()}


def metrics(
    model: Model,
    data: Dataset,
    cfg: TrainConfig,
    player: dict[str, Any],
    ranks: Ranks = SINGLE_RANK,
    budget: Budget | None = None,
    stage: Stage = no_progress,
) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """Return the test metrics, and codes and predictions for the figures.

    The metrics are {"test/mse": {value, low, high, n, passport}}; arguments as of
    `per_example`.
    """
    if not len(data.test):
        return {}, {}

    values, extra, way, (n, draws) = per_example(model, data, cfg.seed, ranks, budget, stage)
    if model.test_draws > 1:
        player = player | {"draws": draws}
    kind = getattr(model, "log_prob_kind", None)

    def entry(
        metric: str,
        value: float,
        low: float | None = None,
        high: float | None = None,
        floor: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        likelihood = {"likelihood": kind} if kind and metric in LIKELIHOODS else {}
        papers = {"ruler": ruler(metric, model, data, cfg, n), "player": player | likelihood}
        return value_entry(value, low, high, n=n, passport=papers, floor=floor)

    regression = "predictions" in extra and data.spec.target == "values"
    if regression:
        values["mse"] = (extra["predictions"] - extra["targets"]).square().mean(1)
    measured = of_means({name: x.double().numpy() for name, x in values.items()})
    floors = {}
    if baseline := measured.pop("plain", None):
        beside = dict(zip(("value", "low", "high"), baseline, strict=True)) | {"n": n, "what": way}
        floors = {"denoised_mse" if "denoised_mse" in measured else "mse": beside}
    out = {f"test/{k}": entry(k, *three, floors.get(k)) for k, three in measured.items()}
    if hasattr(model, "posterior") and n > 1:
        active = float((extra["codes"].var(0) > ACTIVE).sum())
        out["test/active_units"] = entry("active_units", active)
    if regression:
        spread = (extra["targets"] - extra["targets"].mean(0)).square().mean().item()
        if spread:  # all targets alike: nothing to explain
            out["test/r2"] = entry("r2", 1 - out["test/mse"]["value"] / spread)
    return out, extra


def ruler(metric: str, model: Model, data: Dataset, cfg: TrainConfig, n: int) -> dict[str, Any]:
    """Return the ruler of a test term of n examples."""
    likelihood = getattr(model, "likelihood", None)
    space = None
    if likelihood is not None and metric in ("loss", "reconstruction", "kl"):
        space = likelihood.data_space
    if metric == "loss" or metric.endswith("/loss"):
        metric = f"{metric} ({cfg.loss['name']})"  # two objectives are two numbers
    if getattr(model, "classes", 0) and hasattr(model, "sample"):
        metric += " given the label"
    return passport.ruler(metric, data, cfg, n, space)
