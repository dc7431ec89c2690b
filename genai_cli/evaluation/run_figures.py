"""The figures of a run, chosen by the model's abilities and the data's shape.

The drawing functions in figures/ take arrays and know no model.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Batch, Dataset
from genai_cli.evaluation.budget import affordable_samples
from genai_cli.figures import (
    curves,
    density,
    grids,
    latent,
    predictions,
    scatter,
    strips,
    style,
    tables,
)
from genai_cli.figures import generator as generator_figure
from genai_cli.models import restoration
from genai_cli.models.base import Model
from genai_cli.rng import RowGenerator, Source, generator
from genai_cli.store import run_folder

EXAMPLES = 10  # fixed test examples in a reconstruction figure
SAMPLES = 64
POINTS = 2000  # points in a scatter plot
COLUMNS, ROWS = 11, 8  # of a strip from noise to samples at most
FEWER = 500  # where each costs an optimisation or a walk through the noise
GRID = {"exact": 160, "bound": 64}  # points along each side of a density
EVALUATED = 4096  # of them at once
IMPORTANCE = 64  # samples for each, where the bound takes any


def draw(
    folder: Path,
    model: Model,
    data: Dataset,
    cfg: TrainConfig,
    extra: dict[str, Tensor],
    epoch: int,
    note: tuple[str, int | None] = ("", None),
    left: Callable[[], float] = lambda: math.inf,
    stage: Callable[[int], Callable[[int], None]] = lambda n: lambda k: None,
) -> list[Path]:
    """Draw all figures of a run into its folder; return the files.

    Args:
        folder: the run.
        model: the weights to show, in evaluation mode.
        data: on the model's device.
        cfg: for titles and seeds.
        extra: ``codes``, ``predictions`` and ``targets`` (n, …) over the test split, where the
            family has them (evaluation/summary.py).
        epoch: of the weights shown.
        note: for the loss curve, with the epoch it points at.
        left: seconds that there are; samples that take long are then fewer than 64.
        stage: is told how many figures there are, and gives what to call with 1 after each.
    """
    figures = _figures(folder, model, data, cfg, extra, epoch, note, left)
    files, tick = [], stage(len(figures))
    with torch.no_grad(), style.output(**dataclasses.asdict(cfg.figures)):
        for figure in figures:
            files += style.output_files(figure())
            tick(1)
    return files


def _figures(
    folder: Path,
    model: Model,
    data: Dataset,
    cfg: TrainConfig,
    extra: dict[str, Tensor],
    epoch: int,
    note: tuple[str, int | None],
    left: Callable[[], float],
) -> list[Callable[[], Path]]:
    """Return a function for each figure of a run, in order; arguments as of `draw`."""
    title = f"{cfg.model['name']} on {data.name}"
    about = folder, model, data
    drawn = [lambda: _loss_curve(folder, model, cfg, epoch, note)]
    if "generator" in model.log_grad_norm:
        drawn.append(lambda: _generator(folder, cfg))
    if not len(data.test):
        return drawn
    plane = data.spec.event_shape == (2,)
    if hasattr(model, "reconstruct"):
        drawn.append(lambda: _reconstructions(*about, cfg.seed, title))
    if hasattr(model, "sample"):
        drawn.append(lambda: _samples(*about, cfg, title, left()))
    if hasattr(model, "trajectory") and (data.spec.is_image or plane):
        drawn.append(lambda: _trajectory(*about, cfg.seed, title))
    if plane and has_density(model):
        drawn.append(lambda: _density(*about, cfg.seed, title))
    if "predictions" in extra:
        drawn.append(lambda: _predictions(folder, data, extra, title))
    elif "codes" in extra:
        drawn.append(lambda: _latent(folder, data, extra, title))
    return drawn


def _loss_curve(
    folder: Path, model: Model, cfg: TrainConfig, best_epoch: int, note: tuple[str, int | None]
) -> Path:
    path = folder / "loss_curve.png"
    title = f"{cfg.model['name']} on {cfg.dataset['name']}: {cfg.loss['name']} loss"
    rows, best = run_folder.read_metrics(folder), best_epoch or None
    curves.loss_curve(path, rows, title=title, unit=model.unit, best_epoch=best, note=note)
    return path


def _generator(folder: Path, cfg: TrainConfig) -> Path:
    path, loss = folder / "generator.png", cfg.loss["name"]
    title = f"{cfg.model['name']} on {cfg.dataset['name']}: what the generator learns from, {loss}"
    pull = generator_figure.pull_from_rows(loss, loss, run_folder.read_metrics(folder))
    generator_figure.generator(path, [pull], title=title)
    return path


def fixed_examples(data: Dataset) -> Tensor:
    """Return indices of the fixed test examples: the first of each class, else the first ones."""
    n = min(EXAMPLES, len(data.test))
    if data.spec.target != "labels" or len(data.spec.classes) > EXAMPLES:
        return torch.arange(n)
    y = data.test.batch(torch.arange(min(200, len(data.test)))).y.cpu()
    firsts = [int((y == c).nonzero()[0]) for c in range(len(data.spec.classes)) if (y == c).any()]
    others = [i for i in range(len(y)) if i not in firsts]
    return torch.tensor((firsts + others)[:n])


def reconstruction_rows(model: Model, x: Tensor, source: Source) -> dict[str, Tensor]:
    """Return the rows below the originals of a reconstruction figure, {name: (B, *event)}."""
    if hasattr(model, "stages"):
        return model.stages(x, source)
    name = {"optimisation": "z optimised"}.get(model.reconstructs_by, "reconstruction")
    return {name: model.reconstruct(x)}


def _reconstructions(folder: Path, model: Model, data: Dataset, seed: int, title: str) -> Path:
    path = folder / "reconstructions.png"
    index = fixed_examples(data)
    if data.spec.event_shape == (2,):
        most = POINTS if model.reconstructs_by == "code" else FEWER
        index = torch.arange(min(most, len(data.test)))
    batch, source = data.test.batch(index), RowGenerator(seed, "reconstructions", 0, len(index))
    task = restoration.task(model, data.spec, batch, source)
    rows = reconstruction_rows(model, task.given, source)
    reconstructions(path, model, data, batch, task, rows, f"{title}: test examples")
    return path


def reconstructions(
    path: Path,
    model: Model,
    data: Dataset,
    batch: Batch,
    task: restoration.RestorationTask,
    rows: dict[str, Tensor],
    title: str,
) -> None:
    """Draw test examples and their `reconstruction_rows` in the form that fits the data."""
    spec = data.spec
    outputs = {name: _array(images) for name, images in rows.items()}
    last, final = list(outputs.items())[-1]
    code = None
    if hasattr(model, "encode") and model.reconstructs_by == "code" and spec.event_shape != (2,):
        code = _array(model.encode(task.given))
    given, baseline = _array(task.given), None if task.baseline is None else _array(task.baseline)
    if spec.is_image:
        grids.reconstructions(
            path,
            given,
            code,
            outputs if baseline is None else final,
            target=None if baseline is None else _array(task.truth),
            baseline=None if baseline is None else (task.way, baseline),
            labels=_names(spec.classes, batch.y) if spec.target == "labels" else None,
            title=title,
            caption=model.reconstruction_note or None,
        )
    elif spec.event_shape == (2,):
        scatter.scatter_reconstructions(
            *(path, given, final, _labels(data, batch.y)),
            title=title,
            classes=spec.classes,
            name=last,
        )
    else:
        tables.reconstructions_table(
            path, given, code, final, list(spec.features), title=title, row=last
        )


def _samples(
    folder: Path, model: Model, data: Dataset, cfg: TrainConfig, title: str, left: float
) -> Path:
    path = folder / "samples.png"
    device = next(model.parameters()).device
    n = SAMPLES if data.spec.is_image else POINTS
    if data.spec.is_image and left < math.inf:
        source = generator(0, "probe", 0, device)
        n = affordable_samples(n, lambda k: model.sample(k, generator=source), left / 2)
    drawn = model.sample(n, generator=generator(cfg.seed, "samples", 0, device))
    samples(path, _array(drawn), data, f"{title}: samples")
    return path


def samples(path: Path, drawn: np.ndarray, data: Dataset, title: str) -> None:
    """Draw samples (N, *event): images as a sheet, others beside the test split."""
    spec = data.spec
    if spec.is_image:
        grids.samples(path, drawn, title=title)
        return
    real = real_points(data)
    if spec.event_shape == (2,):
        scatter.scatter_samples(path, real, drawn, title=title)
    else:
        tables.samples_table(path, real, drawn, list(spec.features), title=title)


def _trajectory(folder: Path, model: Model, data: Dataset, seed: int, title: str) -> Path:
    path, n = folder / "trajectory.png", ROWS if data.spec.is_image else FEWER
    way = model.trajectory(n, generator=RowGenerator(seed, "sample", 0, n), frames=COLUMNS)
    trajectory(path, _array(way), data, f"{title}: from noise to samples")
    return path


def trajectory(path: Path, x: np.ndarray, data: Dataset, title: str) -> None:
    """Draw frames (F, n, *event) from noise to samples: at most 11, as columns or panels."""
    at = np.linspace(0, len(x) - 1, min(len(x), COLUMNS)).round().astype(int)
    names = [f"{100 * i / max(1, len(x) - 1):.0f} %" for i in at]
    names = ["noise", *names[1:-1], "sample"] if len(names) > 1 else ["sample"]
    if data.spec.is_image:
        frames = x[at][:, :ROWS].swapaxes(0, 1)
        strips.strip(path, frames, columns=names, title=title)
        return
    if len(at) == COLUMNS:  # ten panels fill two rows
        at, names = np.delete(at, 5), names[:5] + names[6:]
    detail = f"{x.shape[1]:,} points"
    scatter.scatter_frames(path, real_points(data), x[at], names, title=title, detail=detail)


def real_points(data: Dataset) -> np.ndarray:
    """Return the first test examples, (N, D)."""
    return _array(data.test.batch(torch.arange(min(POINTS, len(data.test)))).x)


def has_density(model: Model) -> bool:
    """Return True if the model's density in the plane is exact, or a bound that samples tighten.

    The exponential of a bound from one draw of noise (DDPM) is mostly that noise: a grid of
    them held 139 % of the mass where a flow's held 99.9 %.
    """
    if not hasattr(model, "log_prob"):
        return False
    return (
        model.log_prob_kind == "exact" or "samples" in inspect.signature(model.log_prob).parameters
    )


def _density(folder: Path, model: Model, data: Dataset, seed: int, title: str) -> Path:
    path = folder / "density.png"
    like = next(model.parameters())
    known = inspect.signature(model.log_prob).parameters
    more = {"samples": IMPORTANCE} if "samples" in known else {}

    def log_prob(points: np.ndarray) -> np.ndarray:
        nats = []
        for i, part in enumerate(torch.from_numpy(points).to(like).split(EVALUATED)):
            if "generator" in known:
                more["generator"] = generator(seed, "density", i, like.device)
            nats.append(_array(model.log_prob(part, **more)))
        return np.concatenate(nats)

    kind = model.log_prob_kind
    side = GRID[kind]
    title = f"{title}: density"
    density.density(path, real_points(data), log_prob, kind=kind, side=side, title=title)
    return path


def _latent(folder: Path, data: Dataset, extra: dict[str, Tensor], title: str) -> Path:
    path = folder / "latent.png"
    codes, targets = extra["codes"][:POINTS], extra.get("targets")
    labels = _labels(data, None if targets is None else targets[:POINTS])
    latent.latent(path, _array(codes), labels, data.spec.classes, title=f"{title}: codes")
    return path


def _predictions(folder: Path, data: Dataset, extra: dict[str, Tensor], title: str) -> Path:
    path = folder / "predictions.png"
    title, spec = f"{title}: test split", data.spec
    true, predicted = _array(extra["targets"]), _array(extra["predictions"])
    if spec.target == "labels":
        winner = predicted.argmax(1)
        predictions.confusion(path, true.astype(np.int64), winner, spec.classes, title=title)
        return path
    if spec.target_std:  # back to the units of the table
        std, mean = np.array(spec.target_std), np.array(spec.target_mean)
        true, predicted = true * std + mean, predicted * std + mean
    predictions.predicted_vs_true(path, true, predicted, list(spec.targets), title=title)
    return path


def _labels(data: Dataset, y: Tensor | None) -> np.ndarray | None:
    """(N,) what to colour by: whole numbers are classes, others a scale; None without a target."""
    if y is None or data.spec.target not in ("labels", "values"):
        return None
    first = _array(y).reshape(len(y), -1)[:, 0]
    return first.astype(np.int64) if data.spec.target == "labels" else first


def _names(classes: tuple[str, ...], y: Tensor | None) -> list[str] | None:
    return None if y is None else [classes[int(i)] for i in y]


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()
