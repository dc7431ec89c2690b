"""Which figures a run gets: asked of the model's abilities and the data's shape, drawn by the rest.

The only file of this room that knows models; the drawing functions take plain arrays.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genai_cli import runs
from genai_cli.data.dataset import Dataset
from genai_cli.figures import curves, grids, latent, predictions, scatter, tables
from genai_cli.models.base import Model
from genai_cli.schema import TrainConfig
from genai_cli.training.randomness import generator

SHOWN = 10  # fixed test examples in a reconstruction figure
SAMPLES = 64
POINTS = 2000  # points in a scatter plot


def draw(
    folder: Path,
    model: Model,
    data: Dataset,
    cfg: TrainConfig,
    extra: dict[str, Tensor],
    epoch: int,
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
    """
    files = [_loss_curve(folder, model, cfg, epoch)]
    if not len(data.test):
        return files
    title = f"{cfg.model['name']} on {data.name}"
    with torch.no_grad():
        if hasattr(model, "reconstruct"):
            files.append(_reconstructions(folder, model, data, cfg.seed, title))
        if hasattr(model, "sample"):
            files.append(_samples(folder, model, data, cfg, title))
    if "predictions" in extra:
        files.append(_predictions(folder, data, extra, title))
    elif "codes" in extra:
        files.append(_latent(folder, data, extra, title))
    return files


def _loss_curve(folder: Path, model: Model, cfg: TrainConfig, best_epoch: int) -> Path:
    path = folder / "loss_curve.png"
    title = f"{cfg.model['name']} on {cfg.dataset['name']}: {cfg.loss['name']} loss"
    rows, best = runs.read_metrics(folder), best_epoch or None
    curves.loss_curve(path, rows, title=title, unit=model.unit, best_epoch=best)
    return path


def shown_examples(data: Dataset) -> Tensor:
    """Indices of the fixed test examples: the first of each class, else the first ones."""
    n = min(SHOWN, len(data.test))
    if data.spec.target != "labels" or len(data.spec.classes) > SHOWN:
        return torch.arange(n)
    y = data.test.batch(torch.arange(min(200, len(data.test)))).y.cpu()
    firsts = [int((y == c).nonzero()[0]) for c in range(len(data.spec.classes)) if (y == c).any()]
    others = [i for i in range(len(y)) if i not in firsts]
    return torch.tensor((firsts + others)[:n])


def _reconstructions(folder: Path, model: Model, data: Dataset, seed: int, title: str) -> Path:
    path = folder / "reconstructions.png"
    spec = data.spec
    index = shown_examples(data)
    batch = data.test.batch(index)
    code = None
    if hasattr(model, "stages"):
        device = next(model.parameters()).device
        rows = model.stages(batch.x, generator(seed, "reconstructions", 0, device))
        rows = {name: _array(images) for name, images in rows.items()}
    else:
        rows = {"reconstruction": _array(model.reconstruct(batch.x))}
    rebuilt = list(rows.values())[-1]
    if hasattr(model, "encode") and model.reconstructs_by == "code":
        code = _array(model.encode(batch.x))
    original = _array(batch.x)
    labels = _names(spec.classes, batch.y) if spec.target == "labels" else None
    title = f"{title}: test examples"
    if spec.is_image:
        target = _array(batch.y) if spec.target == "image" else None
        grids.reconstructions(
            path, original, code, rebuilt, target=target, labels=labels, title=title, caption=None
        )
    elif spec.event_shape == (2,):
        many = data.test.batch(torch.arange(min(POINTS, len(data.test))))
        points = _labels(data, many.y)
        scatter.scatter_reconstructions(
            path,
            _array(many.x),
            _array(model.reconstruct(many.x)),
            points,
            title=title,
            classes=spec.classes,
        )
    else:
        tables.reconstructions_table(
            path, original, code, rebuilt, list(spec.features), title=title
        )
    return path


def _samples(folder: Path, model: Model, data: Dataset, cfg: TrainConfig, title: str) -> Path:
    path = folder / "samples.png"
    spec = data.spec
    n = SAMPLES if spec.is_image else POINTS
    device = next(model.parameters()).device
    drawn = _array(model.sample(n, generator=generator(cfg.seed, "samples", 0, device)))
    title = f"{title}: samples"
    if spec.is_image:
        grids.samples(path, drawn, title=title)
        return path
    real = _array(data.test.batch(torch.arange(min(POINTS, len(data.test)))).x)
    if spec.event_shape == (2,):
        scatter.scatter_samples(path, real, drawn, title=title)
    else:
        tables.samples_table(path, real, drawn, list(spec.features), title=title)
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
