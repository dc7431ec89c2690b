"""Estimate the time of an evaluation beforehand, from a few examples of each part."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from genai_cli.evaluation.drawing import ALIGN
from genai_cli.evaluation.evaluate import MANY
from genai_cli.evaluation.extractor import Extractor
from genai_cli.evaluation.job import Evaluation
from genai_cli.evaluation.likelihood import likelihood
from genai_cli.evaluation.samples import MOST, TRAINING, examples

PROBES = (4, 32)  # test examples whose likelihood is timed, the second number where it is fast
FAST = 0.2  # seconds
SQUARE = 1024  # side of the matrix product that says how fast the search for copies is


def estimate(job: Evaluation, extractor: Extractor | None, known: bool) -> str:
    """Return a line with the estimated time and the work behind it.

    Args:
        job: the run, about to be measured.
        extractor: of its samples' features; None where samples are not looked at.
        known: the training side's features are there already.
    """
    request, n = job.request, job.examples
    rate = 1 / max(_drawing(job), 1e-9)
    sets = request.sets * job.n if extractor is not None else 0
    total = (sets + (MANY if request.wants("speed") else 0)) / rate
    if extractor is not None:
        total += _looking(job, extractor, sets, known)
    if request.wants("likelihood"):
        total += _likelihood(job) * n
    return (
        f"about {clock(total)}: {sets:,} samples at {rate:,.0f} a second, {n:,} test examples;"
        " a smaller n= takes less"
    )


def _drawing(job: Evaluation) -> float:
    """Seconds a sample."""
    draw, seed = job.drawing().draw, job.request.seed
    draw(1, seed)  # the first call allocates
    return seconds(lambda: draw(ALIGN, seed)) / ALIGN


def _looking(job: Evaluation, extractor: Extractor, sets: int, known: bool) -> float:
    """Seconds of features and of the search for copies."""
    data, train = job.data, min(len(job.data.train), TRAINING)
    few = next(examples(data.train, torch.arange(min(ALIGN, train)), data.spec.target == "image"))
    extractor.features(few)
    each = seconds(lambda: extractor.features(few)) / len(few)
    out = each * (sets + job.examples + (0 if known else train))
    a = torch.rand(SQUARE, SQUARE)
    product = seconds(lambda: a @ a) / SQUARE**3
    return out + 2 * min(job.n, MOST) * train * math.prod(few.shape[1:]) * product * 2


def _likelihood(job: Evaluation) -> float:
    """Seconds a test example."""
    options: dict[str, Any] = {"draws": job.request.draws, "seed": job.request.seed}
    options |= {"batch": job.request.batch_size, "tick": lambda k: None}
    each = 0.0
    for few in PROBES:
        few = min(few, job.examples)
        spent = seconds(lambda k=few: likelihood(job.model, job.data, job.cfg, n=k, **options))
        each = spent / few
        if spent > FAST:
            break
    return each


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def clock(total: float) -> str:
    """Format a time in round units: never less than 5 s, because probes miss fixed costs."""
    if total < 100:
        return f"{max(5, 5 * round(total / 5))} s"
    return f"{total / 60:.0f} min" if total < 5400 else f"{total / 3600:.1f} h"
