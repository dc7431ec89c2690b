"""Codes of a run's test examples and draws from its prior, as the figure of both needs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genai_cli.comparison.read import Run
from genai_cli.figures.posterior import CodesAndDraws
from genai_cli.models.families import family

if TYPE_CHECKING:
    from torch import Tensor

    from genai_cli.data.dataset import Dataset
    from genai_cli.models.base import Model

CODES = 2000  # of each run, and as many draws
MOST = 6  # runs side by side

EXPLAINED = (
    "First two principal components of the codes. The decoder was trained on codes; samples are "
    "decoded from draws. Do draws fall where codes lie? Mismatch, over all dimensions: energy "
    "distance of codes and draws over twice their mean distance, 0 % where alike; below it, as a "
    "multiple of the same between test and training codes (1 ×: as alike as these)."
)


def choose_runs(runs: Sequence[Run]) -> list[Run]:
    """Return at most six runs with codes, families side by side.

    Of more they are those at the bottleneck that most families have.
    """
    able = [run for run in runs if family(run.model).prior]
    able += [run for run in runs if not family(run.model).prior and not run.predicts]
    families: dict[Any, set[str]] = {}
    for run in able:
        if family(run.model).prior:
            families.setdefault(run.config.get("bottleneck"), set()).add(run.model)
    if len(able) <= MOST or not families:
        return able[:MOST]
    common = max(families, key=lambda k: (len(families[k]), k if isinstance(k, int) else 0))
    at = [run for run in able if run.config.get("bottleneck") == common]
    first = [next(r for r in at if r.model == m) for m in dict.fromkeys(r.model for r in at)]
    if len(first) == 1:  # one family: how it changes along its sweep
        same_family = [run for run in able if run.model == first[0].model]
        at = np.linspace(0, len(same_family) - 1, min(MOST, len(same_family))).round().astype(int)
        return [same_family[i] for i in at]
    return first[:MOST]


def has_prior_and_encoder(model: Model) -> bool:
    """Return True if a model has both a prior and an encoder of its codes."""
    coded = hasattr(model, "encode") and hasattr(model, "prior")
    return coded and getattr(model, "reconstructs_by", "code") == "code"


def codes_and_draws(run: Run, model: Model, data: Dataset) -> CodesAndDraws:
    """Return codes of test examples, and draws from the prior.

    Codes are drawn from q(z | x) where the model has one: the aggregate posterior is their
    mixture, and means alone would look narrower than it is.
    """
    import torch

    from genai_cli.evaluation.energy import energy_distance, mean_distance
    from genai_cli.rng import RowGenerator, normal

    def codes(split: Any, purpose: str) -> Tensor:
        x = split.batch(torch.arange(min(CODES, len(split)))).x
        if not hasattr(model, "posterior"):
            return model.encode(x)
        mu, logvar = model.posterior(x)
        eps = normal(len(mu), mu.shape[1:], RowGenerator(0, purpose, 0, len(mu)), mu)
        return mu + (0.5 * logvar).exp() * eps

    ours, others = codes(data.test, "compare/test"), codes(data.train, "compare/train")
    draws = model.prior(len(ours), RowGenerator(0, "compare/prior", 0, len(ours)))

    def apart(x: Tensor, y: Tensor) -> float:
        scale = 2 * mean_distance(x, y)
        return energy_distance(x, y) / scale if scale else 0.0

    arrays = (x.detach().float().cpu().numpy() for x in (ours, draws))
    floor = apart(ours, others[: len(ours)])
    return CodesAndDraws(
        run.label, family(run.model).prior or "its own", *arrays, apart(ours, draws), floor
    )
