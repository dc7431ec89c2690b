"""All numbers of one run, each with interval and passport, as `genai evaluate` writes them.

The parts (reconstruction, likelihood, samples, speed, prediction) only measure; this file adds
intervals and passports.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.evaluation import likelihood, prediction, reconstruction, speed
from genai_cli.evaluation.drawing import NotFinite
from genai_cli.evaluation.intervals import over_sets, wilson
from genai_cli.evaluation.job import Evaluation, summarize
from genai_cli.evaluation.request import MOST_N, EvaluateRequest
from genai_cli.evaluation.samples import (
    MOST,
    TRAINING,
    SampleMeasurements,
    TrainingReference,
    measure,
    shares_table,
)
from genai_cli.figures import calibration, evaluated, predictions
from genai_cli.rng import RowGenerator
from genai_cli.store import run_folder
from genai_cli.training.machine import device_name

ONE, MANY = 1, 1024  # samples at once, for the speed
FIDELITY = ("frechet", "kernel", "precision", "recall", "density", "coverage")


def number_of_samples(request: EvaluateRequest, data: Dataset) -> int:
    """Return ``n``, by default the number of test examples, so that the floor is at equal n."""
    return request.n or max(10, min(MOST_N, len(data.test)))


Tick = Callable[[int], None]
Stage = Callable[[str, int], Tick]


def measure_run(job: Evaluation, real: Callable[[], TrainingReference], stage: Stage) -> None:
    """Measure every requested part that the run's family has.

    Args:
        job: the run, to be filled.
        real: makes the training side, or gives the one there is.
        stage: called with a part's name and size, gives what to call with progress.
    """
    request, model = job.request, job.model
    if hasattr(model, "predict") and not hasattr(model, "sample"):
        if request.wants("prediction"):
            _prediction(job, stage)
    else:
        if request.wants("reconstruction"):
            _reconstruction(job, stage)
        if request.wants("likelihood"):
            _likelihood(job, stage)
        if request.wants("samples") or request.wants("memorisation"):
            _samples(job, real, stage)
        if request.wants("speed"):
            _speed(job, stage)
    if request.wants("cost"):
        _cost(job)


def _reconstruction(job: Evaluation, stage: Stage) -> None:
    reason = reconstruction.reason(job.model)
    if reason:
        job.add_missing("reconstruction", ("mse", "psnr", "ssim"), reason)
        return
    n = job.examples
    with job.clock("reconstruction"):
        tick, batch = stage("reconstruction", n), job.request.batch_size
        values = reconstruction.reconstruction(job.model, job.data, n=n, batch=batch, tick=tick)
        floors = {}
        if baseline := reconstruction.floor(job.model, job.data, job.cfg.bottleneck, n):
            what, floor = baseline
            floors = {
                name: {"value": mean, "low": low, "high": high, "n": n, "what": what}
                for name, (mean, low, high) in summarize(floor).items()
            }
        job.means("reconstruction", values, job.player, floors)


def _likelihood(job: Evaluation, stage: Stage) -> None:
    n = job.examples
    with job.clock("likelihood"):
        tick, request = stage("likelihood", n), job.request
        result = likelihood.likelihood(
            *(job.model, job.data, job.cfg),
            n=n,
            draws=request.draws,
            seed=request.seed,
            batch=request.batch_size,
            tick=tick,
        )
    for name, reason in result.reasons.items():
        job.add_missing("likelihood", [name], reason)
    if not {"elbo", "nats"} & result.reasons.keys() and "elbo" not in result.values:
        job.add_missing(
            "likelihood", ["elbo"], "the ELBO is a VAE's bound; the NLL is this family's"
        )
    elif "nats" in result.reasons:
        job.add_missing("likelihood", ["elbo"], result.reasons["nats"])
    given = " given the label" if getattr(job.model, "classes", 0) else ""
    for name, values in result.values.items():
        player = job.player | result.player | {"likelihood": result.kind}
        metric, space = f"{name}{given}", result.spaces.get(name)
        job.means("likelihood", {name: values}, player, metric=metric, space=space)


def _samples(job: Evaluation, real: Callable[[], TrainingReference], stage: Stage) -> None:
    request, model = job.request, job.model
    if not hasattr(model, "sample"):
        job.add_missing("samples", FIDELITY, "its class defines no sample")
        return
    reference = real()
    tick = stage(f"samples, {request.sets} sets of {job.n:,}", request.sets * job.n)
    try:
        with job.clock("samples"):
            seeds = range(request.seed, request.seed + request.sets)
            result = measure(job.drawing(), reference, job.n, seeds, tick)
            floor = reference.floor(job.n)
    except NotFinite:
        for group, names in (("samples", FIDELITY), ("memorisation", ("p", "closer"))):
            if request.wants(group):
                job.add_missing(group, names, "samples hold numbers that are not finite")
        return
    player = job.sampling | {"seed": request.seed}
    if job.drawing().conditional:
        player["labels"] = "as in the training split"
    papers = reference.extractor.passport()
    if request.wants("samples"):
        _fidelity(job, result, reference, floor, player, papers)
    if request.wants("memorisation"):
        _memorisation(job, result, player)


def _fidelity(
    job: Evaluation,
    result: SampleMeasurements,
    real: TrainingReference,
    floor: dict[str, float],
    player: dict[str, Any],
    papers: dict[str, Any],
) -> None:
    paired = min(job.n, MOST)
    few = [name for name in FIDELITY if name not in result.sets[0]]
    job.add_missing("samples", few, f"k={real.k} needs more than {real.k} training examples")
    for name in result.sets[0]:
        whole = name in ("frechet", "classes", "class_distance")
        n, against = (job.n, real.train.n) if whole else (paired, min(paired, real.train.n))
        if name == "kernel":
            against = min(MOST, real.train.n)
        more = {"sets": job.request.sets, "reference_n": against}
        if name in ("precision", "recall", "density", "coverage"):
            more["k"] = real.k
        if name != "energy":
            more |= papers
        value, low, high = over_sets(
            [numbers[name] for numbers in result.sets], *_range(name, job.data)
        )
        beside = None
        if name in floor:
            beside = {"value": floor[name], "low": None, "high": None}
            beside["n"] = min(n, len(job.data.test))
            beside["what"] = "real test examples"
        job.add(f"samples/{name}", value, low, high, n=n, player=player, floor=beside, **more)
    table = shares_table(job.data, result, real)
    if table is None:
        if job.data.spec.target == "labels" and job.data.spec.is_image:
            reason = f"features={real.extractor.name} names no classes; use features=reference"
            job.add_missing("samples", ("classes", "class_distance"), reason)
        return
    job.tables["classes"] = table
    job.files.append("classes.png")
    title = f"{job.title}: classes of {job.request.sets} × {job.n:,} samples"
    shares = [np.array(table[key]) for key in ("samples", "low", "high", "real")]
    evaluated.class_shares(job.figure_folder / "classes.png", table["names"], *shares, title=title)


def _range(name: str, data: Dataset) -> tuple[float, float]:
    """Return the bounds of a number, so that no interval of a share exceeds 1."""
    if name == "kernel":  # unbiased: below 0 as often as above where nothing differs
        return -math.inf, math.inf
    most = {"frechet": math.inf, "energy": math.inf, "density": math.inf}
    return 0.0, most.get(name, float(len(data.spec.classes)) if name == "classes" else 1.0)


def _memorisation(job: Evaluation, result: SampleMeasurements, player: dict[str, Any]) -> None:
    copies, n = result.copies, len(result.copies.near.distance)
    more = {"n": n, "player": player, "reference_n": min(len(job.data.train), TRAINING)}
    job.add("memorisation/p", copies.p, **more)
    job.add("memorisation/closer", copies.closer, copies.low, copies.high, **more)
    if not job.data.spec.is_image:
        return
    job.files.append("closest_pairs.png")
    pairs, control = (tuple(x.float().numpy() for x in p) for p in (result.pairs, result.control))
    path, title = (
        job.figure_folder / "closest_pairs.png",
        f"{job.title}: the closest to training images",
    )
    evaluated.closest_pairs(path, *pairs, control, p=copies.p, title=title)


def _speed(job: Evaluation, stage: Stage) -> None:
    if not hasattr(job.model, "sample"):
        job.add_missing("speed", ("one", "many"), "its class defines no sample")
        return
    drawing, device = job.drawing(), job.drawing().device

    @torch.no_grad()
    def draw(n: int) -> Tensor:
        labels = drawing.labels(n, 0, 0)
        return job.model.sample(n, labels, RowGenerator(0, "sample", 0, n), **job.request.options)

    where = {
        "device": device_name(device),
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "precision": str(next(job.model.parameters()).dtype).removeprefix("torch."),
    }
    with job.clock("speed"):
        tick = stage("speed", 3)
        count = speed.calls(job.model, draw)
        job.add("speed/calls", count, n=1, player=job.sampling)
        tick(1)
        for name, size in (("one", ONE), ("many", MANY)):
            try:
                rate = speed.rate(draw, size, device)
            except torch.OutOfMemoryError:
                job.add_missing("speed", [name], f"{size:,} at once do not fit into memory")
            else:
                more = where | {"batch": size, "metric": "samples a second"}
                player = job.sampling | {"draws": rate.draws}
                value, low, high, _ = rate
                job.add(f"speed/{name}", value, low, high, n=size, player=player, **more)
            tick(1)


def _cost(job: Evaluation) -> None:
    done = run_folder.read_json(job.folder / run_folder.SUMMARY)
    described = run_folder.read_json(job.folder / run_folder.RUN)
    reason = "the run did not end"
    try:
        rows = run_folder.read_metrics(job.folder)
    except UserError as error:
        rows, reason = [], str(error)
    n, where = len(job.data.train), ("device", "threads", "precision", "step_kind")
    hardware = {key: described.get(key) for key in where}
    # by the last epoch: the run's own seconds hold its figures and tests as well
    seconds = rows[-1].get("seconds") if rows else done.get("seconds")
    if done and isinstance(seconds, int | float):
        job.add("cost/seconds", seconds, n=n, player={}, **hardware)
    else:
        job.add_missing("cost", ["seconds"], reason)
    if rows and "images" in rows[-1]:
        job.add("cost/images", rows[-1]["images"], n=n, player={})
    parameters = sum(p.numel() for p in job.model.parameters())
    job.add("cost/parameters", parameters, n=n, player={})


def _prediction(job: Evaluation, stage: Stage) -> None:
    n = job.examples
    with job.clock("prediction"):
        tick = stage("prediction", n)
        result = prediction.prediction(
            job.model, job.data, n=n, batch=job.request.batch_size, tick=tick
        )
    job.means("prediction", result.values, job.player)
    for name, (value, low, high) in result.whole.items():
        job.add(f"prediction/{name}", value, low, high, n=n, player=job.player)
    job.tables |= result.tables
    title = f"{job.title}: {n:,} test examples"
    if "confusion" in result.tables:
        classes = job.data.spec.classes
        job.files += ["confusion.png", "calibration.png"]
        path = job.figure_folder / "confusion.png"
        predictions.confusion(path, result.true, result.predicted, classes, title=title)
        path, table = job.figure_folder / "calibration.png", result.tables["calibration"]
        accuracy, count = (np.array(table[key], dtype=float) for key in ("accuracy", "count"))
        calibration.reliability(path, table, wilson(accuracy, count), title=title)
