"""The numbers at the end of a run: measured on the test split, each with interval and passport."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset, Split
from genai_cli.models.base import Model
from genai_cli.training.loop import EVALUATION_BATCH, evaluation_terms
from genai_cli.training.randomness import derive

VERSION = 1  # of the definitions below; it goes into every passport
RESAMPLES = 1000
FULL = "fp32"  # no autocast: a measurement does not depend on the precision of the training
ACTIVE = 0.01  # variance of a posterior mean above which a unit counts as active (Burda 2016)


@torch.no_grad()
def per_example(
    model: Model, split: Split, seed: int, to_image: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Values (n,) of every test term, and the codes and predictions (n, …) the figures need.

    ``mse`` is that of the reconstruction without noise, per element, in data space; of the target
    image where the data is a pair (``to_image``).
    """
    values: dict[str, list[Tensor]] = {}
    for terms in evaluation_terms(model, split, seed, "test", FULL):
        for name, value in terms.items():
            values.setdefault(name, []).append(value)
    extra: dict[str, list[Tensor]] = {}
    if hasattr(model, "reconstruct"):
        values["mse"] = []  # in place of the training term, which may see noise
    for batch in split.batches(torch.arange(len(split)).split(EVALUATION_BATCH)):
        if hasattr(model, "reconstruct"):
            target = batch.y if to_image else batch.x
            error = model.reconstruct(batch.x) - target
            values["mse"].append(error.square().flatten(1).mean(1))
        if hasattr(model, "encode"):
            extra.setdefault("codes", []).append(model.encode(batch.x))
        if hasattr(model, "predict"):
            extra.setdefault("predictions", []).append(model.predict(batch.x))
        if batch.y is not None and batch.y.dim() < 3:
            extra.setdefault("targets", []).append(batch.y)
    return _joined(values), _joined(extra)


def _joined(parts: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat(tensors).float().cpu() for name, tensors in parts.items()}


def bootstrap(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Percentile intervals (95 %) of the column means of ``values`` (n, T): (2, T) low and high.

    Efron & Tibshirani 1993, section 13.3: test examples are resampled, all columns together.
    """
    rng = np.random.default_rng(derive(seed, "bootstrap"))
    n = len(values)
    means = np.empty((RESAMPLES, values.shape[1]))
    for i in range(RESAMPLES):
        means[i] = np.bincount(rng.integers(0, n, n), minlength=n) @ values / n
    return np.percentile(means, [2.5, 97.5], axis=0)


def metrics(
    model: Model, data: Dataset, seed: int, player: dict[str, Any]
) -> tuple[dict[str, dict[str, Any]], dict[str, Tensor]]:
    """({"test/mse": {value, low, high, n, passport}}, codes and predictions for the figures)."""
    if not len(data.test):
        return {}, {}
    values, extra = per_example(model, data.test, seed, to_image=data.spec.target == "image")
    if "predictions" in extra and data.spec.target == "values":
        values["mse"] = (extra["predictions"] - extra["targets"]).square().mean(1)
    table = torch.stack(list(values.values()), 1).double().numpy()  # (n, T)
    low, high = bootstrap(table)
    n = len(table)
    out = {
        f"test/{name}": _entry(float(m), float(a), float(b), n, name, model, data, player)
        for name, m, a, b in zip(values, table.mean(0), low, high, strict=True)
    }
    if hasattr(model, "posterior") and "codes" in extra:
        active = float((extra["codes"].var(0) > ACTIVE).sum())
        out["test/active_units"] = _entry(
            active, None, None, n, "active_units", model, data, player
        )
    if "predictions" in extra and data.spec.target == "values":
        spread = (extra["targets"] - extra["targets"].mean(0)).square().mean().item()
        r2 = 1 - out["test/mse"]["value"] / spread if spread else float("nan")
        out["test/r2"] = _entry(r2, None, None, n, "r2", model, data, player)
    return out, extra


def _entry(
    value: float,
    low: float | None,
    high: float | None,
    n: int,
    metric: str,
    model: Model,
    data: Dataset,
    player: dict[str, Any],
) -> dict[str, Any]:
    likelihood = getattr(model, "likelihood", None)
    in_nats = metric in ("loss", "reconstruction", "kl") and likelihood is not None
    ruler = {
        "metric": metric,
        "version": VERSION,
        "n": n,
        "reference_split_hash": data.split_hash,
        "extractor_hash": None,
        "preprocessing": None,
        "data_space": likelihood.data_space if in_nats else _space(data),
    }
    passport = {"ruler": ruler, "player": player}
    return {"value": value, "low": low, "high": high, "n": n, "passport": passport}


def _space(data: Dataset) -> str:
    return "continuous" if data.spec.levels is None else f"{data.spec.levels} levels in [0, 1]"
