"""Draw the figures of a comparison; only those that need models load them, and torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from genai_cli.comparison import cells, charts, codes
from genai_cli.comparison.read import Run
from genai_cli.config import validation
from genai_cli.figures import compare_sheet, posterior, style
from genai_cli.figures.compare_sheet import ImageRow
from genai_cli.store import run_folder as folders

if TYPE_CHECKING:
    from torch import Tensor

    from genai_cli.data.dataset import Batch, Dataset
    from genai_cli.models.base import Model

MOST = 24  # runs on a sheet
COLUMNS = 10  # images of each
POINTS, FEWER = 1500, 200  # points of each; where each costs an optimisation
WAYS = {"inversion": "by inversion", "optimisation": "by optimisation of z"}
WAYS |= {"denoising": "from its noised image"}


class Runs(Protocol):
    """The part of a comparison that the figures need."""

    runs: Sequence[Run]


def draw(
    folder: Path,
    comparison: Runs,
    loads: bool = True,
    figures: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Draw every figure that the runs allow and return the files.

    Args:
        folder: exists.
        comparison: its ``runs``, labelled.
        loads: whether models are loaded, for sheets of images, the codes, and a PCA floor that no
            entry holds. Without it only the charts are drawn, in about a second.
        figures: ``figures`` and ``figures.scale`` of the line, which win over what the runs have.
    """
    runs = list(comparison.runs)
    with style.output(**validation.figure_settings(figures or {}, [run.config for run in runs])):
        return [file for path in _draw(folder, runs, loads) for file in style.output_files(path)]


def _draw(folder: Path, runs: Sequence[Run], loads: bool) -> list[Path]:
    seen = ComparisonPictures(folder)
    if loads:
        seen.look(runs)
        seen.write()
    files = list(seen.files)
    files += charts.quality_speed(folder, runs)
    files += charts.bottlenecks(folder, runs, seen.floor)
    files += charts.overlay_losses(folder, runs)
    files += charts.generators(folder, runs)
    files += cells.draw_sweep(folder, runs)
    return files


class ComparisonPictures:
    """Collect the outputs of loaded models by data set until the figures are drawn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self.groups: dict[tuple[str, str], DatasetPictures] = {}
        self.floor: dict[int, float] = {}

    def look(self, runs: Sequence[Run]) -> None:
        """Load each run that has a model, one at a time."""
        coded = {id(run) for run in codes.choose_runs(runs)}
        per_group: dict[tuple[str, str], int] = {}
        splits: set[str] = set()
        for run in runs:
            key = run.dataset, run.split
            count = per_group[key] = per_group.get(key, 0) + 1
            group = self.groups.setdefault(key, DatasetPictures(run.dataset))
            if count > MOST and id(run) not in coded:
                group.beyond += 1
                continue
            try:
                group.add(run, sheets=count <= MOST, coded=id(run) in coded)
            except Exception as error:  # a model of the user's own may raise anything
                reason = " ".join(str(error).replace(f"{run.path}/", "").split())[:120]
                group.failed.append(f"{run.label} ({reason or type(error).__name__})")
            splits.add(run.split)
        if len(splits) == 1:
            for group in self.groups.values():
                self.floor = group.floor(runs)

    def write(self) -> None:
        several = len(self.groups) > 1
        for group in self.groups.values():
            ending = f"_{folders.slug(group.name)}" if several else ""
            self.files += group.draw(self.folder, ending)


class DatasetPictures:
    """Collect the outputs of the runs on one data set."""

    def __init__(self, name: str) -> None:
        self.name, self.data = name, None
        self.rebuilt: list[ImageRow] = []
        self.drawn: list[ImageRow] = []
        self.pairs: list[posterior.CodesAndDraws] = []
        self.failed: list[str] = []
        self.unable: dict[str, list[str]] = {"reconstruct": [], "sample": []}
        self.beyond = 0

    def add(self, run: Run, sheets: bool, coded: bool) -> None:
        """Load one run and keep its outputs as arrays."""
        import torch

        from genai_cli.runner import load
        from genai_cli.store import run_config
        from genai_cli.training import machine

        cfg = run_config.load_config(run.path)
        threads = folders.read_json(run.path / folders.RUN).get("threads")
        with machine.numerics(cfg, threads), torch.no_grad():
            model, data, _ = load.load(run.path)
            self.data = self.data or data
            if not len(data.test):
                return
            if sheets and _can_be_drawn(data):
                self._reconstruct(run, model, data)
                self._sample(run, model, data)
            if coded and codes.has_prior_and_encoder(model):
                self.pairs.append(codes.codes_and_draws(run, model, data))

    def _reconstruct(self, run: Run, model: Model, data: Dataset) -> None:
        from genai_cli.evaluation.run_figures import reconstruction_rows
        from genai_cli.rng import RowGenerator

        if not hasattr(model, "reconstruct"):
            self.unable["reconstruct"].append(run.label)
            return
        index = _index(data, model.reconstructs_by)
        batch = data.test.batch(index)
        made = list(
            reconstruction_rows(model, batch.x, RowGenerator(0, "compare", 0, len(index))).values()
        )[-1]
        target = batch.y if data.spec.target == "image" else batch.x
        error = float((made - target).square().mean())
        way = WAYS.get(model.reconstructs_by)
        label = f"{run.label} {way}" if way else run.label
        self.rebuilt.append(ImageRow(label, _array(made), error))

    def _sample(self, run: Run, model: Model, data: Dataset) -> None:
        from genai_cli.rng import RowGenerator

        if not hasattr(model, "sample"):
            self.unable["sample"].append(run.label)
            return
        n = COLUMNS if data.spec.is_image else POINTS
        made = model.sample(n, generator=RowGenerator(0, "sample", 0, n))
        self.drawn.append(ImageRow(run.label, _array(made)))

    def draw(self, folder: Path, ending: str) -> list[Path]:
        """Draw the sheets and the codes of this data set."""
        files = []
        for name, rows in (("reconstruct", self.rebuilt), ("sample", self.drawn)):
            if rows:
                word = {"reconstruct": "reconstructions", "sample": "samples"}[name]
                path = folder / f"{word}_sheet{ending}.png"
                self._sheet(path, name, rows)
                files.append(path)
        if self.pairs:
            path = folder / f"posterior_prior{ending}.png"
            posterior.posterior_prior(
                path,
                self.pairs,
                title=f"{self.name}: where codes are, and where samples are drawn from",
                detail=codes.EXPLAINED,
            )
            files.append(path)
        return files

    def _sheet(self, path: Path, what: str, rows: list[ImageRow]) -> None:
        data, rebuilds = self.data, what == "reconstruct"
        detail = f"{len(rows)} run{'s' if len(rows) > 1 else ''}"
        if self.beyond:
            detail += f" of {len(rows) + self.beyond}: the first {MOST} that were named"
        notes = []
        if self.unable[what]:
            verb = "rebuild nothing" if rebuilds else "make no samples"
            notes.append(f"{verb}: {', '.join(self.unable[what])}")
        if self.failed:
            notes.append(f"failed: {', '.join(self.failed)}")
        caption = "\n".join(notes)
        if rebuilds:
            title = f"{self.name}: the same test examples through each run"
        else:
            title = f"{self.name}: samples from the same noise"
        if not data.spec.is_image:
            real = _array(data.test.batch(_index(data, "code")).x)
            detail += f" · {caption}" if caption else ""
            compare_sheet.point_panels(path, real, rows, title=title, detail=detail)
            return
        index = _index(data, "code")
        batch = data.test.batch(index)
        pair = data.spec.target == "image"
        real = [ImageRow("test images", _array(batch.x))]
        if rebuilds:
            real = [ImageRow("input" if pair else "original", _array(batch.x))]
            if pair:
                real += [ImageRow("target", _array(batch.y)), _baseline_row(data, batch)]
            detail += " · MSE of the images shown"
        else:
            detail += " · drawn as each model draws if not told otherwise"
            detail += " · a column is one row of random numbers; what they mean is each model's own"
        names = ()
        if data.spec.target == "labels" and rebuilds:
            names = [data.spec.classes[int(i)] for i in batch.y]
        compare_sheet.image_rows(
            path, [*real, *rows], real=len(real), columns=names,
            title=title, detail=detail, caption=caption,
        )  # fmt: skip

    def floor(self, runs: Iterable[Run]) -> dict[int, float]:
        """Return the test MSE of PCA with each of the runs' bottlenecks."""
        data = self.data
        if data is None or not len(data.test) or data.spec.target == "image":
            return {}
        import torch

        train, test = (
            split.batch(torch.arange(min(len(split), 10_000))).x.double().cpu().flatten(1)
            for split in (data.train, data.test)
        )
        mean = train.mean(0)
        _, axes = torch.linalg.eigh((train - mean).T @ (train - mean))  # rising
        kept = ((test - mean) @ axes).square().mean(0).flip(0).cumsum(0)
        total, width = (test - mean).square().mean(0).sum(), test.shape[1]
        ks = {run.config.get("bottleneck") for run in runs}
        ks = {k for k in ks if isinstance(k, int) and 0 < k < width}
        return {k: float((total - kept[k - 1]) / width) for k in ks}


def _baseline_row(data: Dataset, batch: Batch) -> ImageRow:
    """Return the row of interpolated inputs of pairs of images."""
    from genai_cli.models import restoration

    baseline, way = restoration.of_pair(batch, data.spec)
    return ImageRow(way, _array(baseline), float((baseline - batch.y).square().mean()))


def _can_be_drawn(data: Dataset) -> bool:
    return data.spec.is_image or data.spec.event_shape == (2,)


def _index(data: Dataset, way: str) -> Tensor:
    """The fixed test examples, or points."""
    import torch

    from genai_cli.evaluation.run_figures import fixed_examples

    if data.spec.is_image:
        return fixed_examples(data)
    return torch.arange(min(POINTS if way == "code" else FEWER, len(data.test)))


def _array(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy()
