"""The numbers at the end of a run: measured on the test split, each with interval and passport."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.evaluation import passport, restoring
from genai_cli.evaluation.intervals import of_means
from genai_cli.evaluation.measures import found
from genai_cli.models.base import Model
from genai_cli.schema import TrainConfig
from genai_cli.training.distributed import ALONE, Ranks
from genai_cli.training.loop import EVALUATION_BATCH, evaluation_terms
from genai_cli.training.randomness import generator

FULL = "fp32"  # no autocast: a measurement does not depend on the precision of the training
LIKELIHOODS = ("bits_per_dim", "bound", "loss")  # terms that are one, where a family has any
ACTIVE = 0.01  # variance of a posterior mean above which a unit counts as active (Burda 2016)


@torch.no_grad()
def per_example(
    model: Model, data: Dataset, seed: int, ranks: Ranks = ALONE
) -> tuple[dict[str, Tensor], dict[str, Tensor], str]:
    """Values (n,) of every test term, the codes and predictions (n, …) the figures need, and what
    ``plain`` is.

    ``mse`` is that of the reconstruction without noise, per element, in data space; of the target
    image where the data is a pair. Of what is to be restored (evaluation/restoring.py) ``plain`` is
    the error without a model, and ``denoised_mse`` that with one, where the task is to take noise
    away. Other terms are means over the noise draws the family asks for (``test_draws``). Ranks
    take the batches in turns, and all get all.
    """
    split = data.test
    values: dict[str, list[Tensor]] = {}
    for draw in range(model.test_draws):
        purpose = f"test/{draw}" if draw else "test"
        for i, terms in enumerate(evaluation_terms(model, split, seed, purpose, FULL, ranks)):
            for name, value in terms.items():
                seen = values.setdefault(name, [])
                value = value.cpu().double() / model.test_draws
                if draw:
                    seen[i] += value
                else:
                    seen.append(value)
    extra: dict[str, list[Tensor]] = {}
    coded = model.reconstructs_by == "code"
    rebuilds = hasattr(model, "reconstruct") and coded
    if rebuilds:
        values["mse"] = []  # in place of the training term, which may see noise
    chunks, way = torch.arange(len(split)).split(EVALUATION_BATCH), ""
    for k, batch in enumerate(split.batches(chunks[ranks.rank :: ranks.world])):
        if rebuilds:
            draws = generator(seed, "restored", ranks.rank + k * ranks.world, batch.x.device)
            task = restoring.task(model, data.spec, batch, draws)
            values["mse"].append(_mse(model.reconstruct(batch.x), task.truth))
            if task.plain is not None:
                way = restoring.MEANS[task.way]
                values.setdefault("plain", []).append(_mse(task.plain, task.truth))
            if task.way == restoring.INPUT:
                restored = _mse(model.reconstruct(task.given), task.truth)
                values.setdefault("denoised_mse", []).append(restored)
        if hasattr(model, "encode") and coded:
            extra.setdefault("codes", []).append(model.encode(batch.x))
        if hasattr(model, "predict"):
            extra.setdefault("predictions", []).append(model.predict(batch.x))
        if batch.y is not None and batch.y.dim() < 3:
            extra.setdefault("targets", []).append(batch.y)
    return _joined(values, len(chunks), ranks), _joined(extra, len(chunks), ranks), way


def _mse(found: Tensor, truth: Tensor) -> Tensor:
    return (found - truth).square().flatten(1).mean(1)


def _joined(parts: dict[str, list[Tensor]], batches: int, ranks: Ranks) -> dict[str, Tensor]:
    """In the order of the batches, of which rank r has number r, r + world, …"""
    found = ranks.everyone({name: [t.cpu() for t in tensors] for name, tensors in parts.items()})
    ordered = {
        name: [found[i % ranks.world][name][i // ranks.world] for i in range(batches)]
        for name in found[0]
    }
    return {name: torch.cat(tensors).float() for name, tensors in ordered.items()}


def metrics(
    model: Model,
    data: Dataset,
    cfg: TrainConfig,
    player: dict[str, Any],
    ranks: Ranks = ALONE,
) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """({"test/mse": {value, low, high, n, passport}}, codes and predictions for the figures)."""
    n = len(data.test)
    if not n:
        return {}, {}

    if model.test_draws > 1:
        player = player | {"draws": model.test_draws}
    kind = getattr(model, "log_prob_kind", None)

    def entry(
        metric: str,
        value: float,
        low: float | None = None,
        high: float | None = None,
        floor: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        likelihood = {"likelihood": kind} if kind and metric in LIKELIHOODS else {}
        papers = {"ruler": ruler(metric, model, data, cfg), "player": player | likelihood}
        return found(value, low, high, n=n, passport=papers, floor=floor)

    values, extra, way = per_example(model, data, cfg.seed, ranks)
    regression = "predictions" in extra and data.spec.target == "values"
    if regression:
        values["mse"] = (extra["predictions"] - extra["targets"]).square().mean(1)
    measured = of_means({name: x.double().numpy() for name, x in values.items()})
    floors = {}
    if plain := measured.pop("plain", None):
        beside = dict(zip(("value", "low", "high"), plain, strict=True)) | {"n": n, "what": way}
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


def ruler(metric: str, model: Model, data: Dataset, cfg: TrainConfig) -> dict[str, Any]:
    """The passport's ruler of a test term."""
    likelihood = getattr(model, "likelihood", None)
    space = None
    if likelihood is not None and metric in ("loss", "reconstruction", "kl"):
        space = likelihood.data_space
    if metric == "loss" or metric.endswith("/loss"):
        metric = f"{metric} ({cfg.loss['name']})"  # two objectives are two numbers
    if getattr(model, "classes", 0) and hasattr(model, "sample"):
        metric += " given the label"
    return passport.ruler(metric, data, cfg, len(data.test), space)
