"""Draw and show each ``what`` of `genai sample`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genai_cli.errors import UserError
from genai_cli.evaluation import run_figures
from genai_cli.figures import scatter, strips
from genai_cli.models import restoration
from genai_cli.rng import RowGenerator
from genai_cli.sampling import paths
from genai_cli.sampling.job import Job
from genai_cli.sampling.request import takes_labels
from genai_cli.sampling.store import ARRAYS, IMAGES, Arrays, write_images
from genai_cli.store.run_folder import slug

COLUMNS = 11  # of a strip at most
STRIPS = 8  # rows of a trajectory's strip; the moving picture has them all
MOVING = 36  # pictures in a moving one at most


def draw(job: Job) -> None:
    """Draw everything that is requested into the job's folder."""
    with torch.no_grad():
        DRAWN[job.request.what](job)


def batches(n: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (start, size) of each batch."""
    for start in range(0, n, size):
        yield start, min(size, n - start)


def samples(job: Job) -> None:
    """Draw samples as single images, an array, and one sheet of the first."""
    request, spec = job.request, job.data.spec
    most = run_figures.SAMPLES if spec.is_image else run_figures.POINTS
    images: list[np.ndarray] = []

    def one(start: int, n: int) -> np.ndarray:
        rows = RowGenerator(request.seed, "sample", start, n)
        with job.clock():
            x = job.model.sample(n, job.labels(start, n), rows, **request.options)
            return job.array(x)

    parts = ((start, one(start, n)) for start, n in batches(request.n, request.batch_size))
    start, x = next(parts)  # also says what shape an example has: that of a target, for a pair
    with Arrays(job.folder / ARRAYS) as arrays:
        with arrays.stream("x", (request.n, *x.shape[1:])) as file:
            while True:
                file.write(np.ascontiguousarray(x, dtype="<f4").tobytes())
                if spec.is_image and x.shape[1] in (1, 3):
                    write_images(job.folder / IMAGES, x, start)
                if start < most:
                    images.append(x[: most - start])
                job.tick(len(x))
                following = next(parts, None)
                if following is None:
                    break
                start, x = following
        if job.y is not None:
            arrays.add("y", job.labels(0, request.n).cpu().numpy())
    title = f"{job.title}: samples"
    run_figures.samples(job.file("grid.png"), np.concatenate(images), job.data, title)


def decoder(job: Job) -> Callable[[Tensor], Tensor]:
    """Return a function from codes (N, K) to data, in batches, with the label that is requested."""
    known = takes_labels(job.model.decode)
    if job.y is not None and not known:
        raise UserError(f"y={job.request.y}: decode of this model takes no labels")

    def decode(z: Tensor) -> Tensor:
        parts = []
        for part in z.split(job.request.batch_size):
            more = {}
            if job.y is not None:
                more["y"] = job.labels(0, 1).expand(len(part))
            with job.clock():
                parts.append(job.model.decode(part, **more))
            job.tick(len(part))
        return torch.cat(parts)

    return decode


def evenly_spaced(frames: int) -> np.ndarray:
    """Return the indices of the frames a strip shows."""
    return np.linspace(0, frames - 1, min(frames, COLUMNS)).round().astype(int)


def interpolation(job: Job) -> None:
    """Draw n paths between two codes, straight and along an arc."""
    request, n, frames = job.request, job.request.n, job.request.options["frames"]
    a, b, examples = paths.ends(job.model, job.data, n, request.seed)
    t = torch.linspace(0, 1, frames).to(a)
    z = torch.stack([paths.straight(a, b, t), paths.spherical(a, b, t)], 1)  # (n, 2, F, K)
    x = decoder(job)(z.flatten(0, 2)).unflatten(0, (n, 2, frames))
    x = job.array(x, each=3)
    with Arrays(job.folder / ARRAYS) as arrays:
        arrays.add("x", x)
        arrays.add("z", z.float().cpu().numpy())
        if examples is not None:
            arrays.add("ends", examples.float().cpu().numpy())
    of = "codes of test examples" if examples is not None else "drawn codes"
    title = f"{job.title}: between {of}"
    detail = "straight: (1 − t) a + t b · arc: spherical, the angle to a grows with t"
    at = evenly_spaced(frames)
    if job.plane:
        real = run_figures.real_points(job.data)
        ways = x[:COLUMNS].swapaxes(0, 1)
        names = ("straight", "arc")
        path = job.file("grid.png")
        scatter.scatter_ways(path, real, ways, names, title=title, detail=detail)
        pictures = scatter.scatter_pictures(real, x[:, 0].swapaxes(0, 1))
        strips.animate(job.file("interpolation.gif"), pictures, back=True)
        return
    images = x[:STRIPS][:, :, at]
    columns = [f"t = {v:.2g}" for v in np.linspace(0, 1, frames)[at]]
    if examples is not None and examples.shape[2:] == x.shape[3:]:
        pair = examples[:STRIPS].float().cpu().numpy()[:, None].repeat(2, axis=1)
        images = np.concatenate([pair[:, :, :1], images, pair[:, :, 1:]], axis=2)
        columns = ["from", *columns, "to"]
    strips.strip(
        job.file("grid.png"),
        images.reshape(-1, *images.shape[2:]),
        rows=["straight", "arc"] * len(images),
        columns=columns,
        title=title,
        detail=detail,
        together=2,
    )
    few = x[: MOVING // 4]  # straight above, arcs below
    moving = few.transpose(2, 1, 0, 3, 4, 5).reshape(frames, -1, *x.shape[3:])
    strips.moving(job.file("interpolation.gif"), moving, columns=len(few), back=True)


def traversal(job: Job) -> None:
    """Vary one dimension of a code at a time, the n that change the example most."""
    request, frames = job.request, job.request.options["frames"]
    decode = decoder(job)
    first = int(run_figures.fixed_examples(job.data)[0]) if len(job.data.test) else 0
    base = paths.base_code(job.model, job.data, first, request.seed)
    mean, spread = paths.centre_and_spread(job.model, job.data, request.seed)
    low, high = mean - paths.REACH * spread, mean + paths.REACH * spread
    dims = paths.most_influential(base, low, high, request.n, decode)
    at = dims.to(mean.device)
    t = torch.linspace(-paths.REACH, paths.REACH, frames).to(mean)
    values = mean[at, None] + t * spread[at, None]  # (n, F)
    z = paths.replace_dimension(base, dims, values)
    x = decode(z.flatten(0, 1)).unflatten(0, (len(dims), frames))
    x = job.array(x, each=2)
    with Arrays(job.folder / ARRAYS) as arrays:
        arrays.add("x", x)
        arrays.add("z", z.float().cpu().numpy())
        arrays.add("dimension", dims.numpy())
    title = f"{job.title}: one number of a code at a time"
    k, tried = base.shape[1], min(base.shape[1], paths.TRIED)
    of = "a test example" if hasattr(job.model, "encode") else "a drawn code"
    detail = f"the {len(dims)} of {k} numbers that change {of} most"
    detail += f", sought among {tried}" if tried < k else ""
    detail += " · values in standard deviations from the mean"
    names = [f"number {int(d) + 1}" for d in dims]
    if job.plane:
        real = run_figures.real_points(job.data)
        path = job.file("grid.png")
        ways = "−3 to +3 standard deviations"
        scatter.scatter_ways(
            *(path, real, x[None], [ways]), title=title, detail=detail, lines_of=names
        )
        return
    strips.strip(
        job.file("grid.png"),
        x[:, evenly_spaced(frames)],
        rows=names,
        columns=[_signed(v) for v in t[evenly_spaced(frames)].tolist()],
        title=title,
        detail=detail,
    )


def _signed(value: float) -> str:
    return f"{round(value, 1):+g}".replace("-", "−") if abs(value) >= 0.05 else "0"


def trajectory(job: Job) -> None:
    """Draw n samples on their way from noise."""
    request = job.request
    parts = []
    for start, n in batches(request.n, request.batch_size):
        rows = RowGenerator(request.seed, "sample", start, n)
        with job.clock():
            way = job.model.trajectory(n, job.labels(start, n), rows, **request.options)
            parts.append(job.array(way, each=2))
        job.tick(n)
    x = np.concatenate(parts, axis=1)  # (F, n, *event)
    with Arrays(job.folder / ARRAYS) as arrays:
        arrays.add("x", x)
        if job.y is not None:
            arrays.add("y", job.labels(0, request.n).cpu().numpy())
    title = f"{job.title}: from noise to samples"
    run_figures.trajectory(job.file("grid.png"), x, job.data, title)
    if job.plane:
        pictures = scatter.scatter_pictures(run_figures.real_points(job.data), x)
        strips.animate(job.file("trajectory.gif"), pictures)
        return
    n = min(MOVING, request.n)
    columns = int(np.ceil(np.sqrt(n)))
    strips.moving(job.file("trajectory.gif"), x[:, :n], columns=columns)


def reconstruction(job: Job) -> None:
    """Draw the fixed test examples of the run's figure, and their reconstructions.

    Of more than these the first n are taken in the same order.
    """
    request, data = job.request, job.data
    index = run_figures.fixed_examples(data)
    others = [i for i in range(len(data.test)) if i not in set(index.tolist())]
    index = torch.cat([index, torch.tensor(others, dtype=torch.int64)])[: request.n]
    batch, source = (
        data.test.batch(index),
        RowGenerator(request.seed, "reconstructions", 0, len(index)),
    )
    task = restoration.task(job.model, data.spec, batch, source)
    rows: dict[str, list[Tensor]] = {}
    for start, n in batches(len(index), request.batch_size):
        with job.clock():
            source = RowGenerator(request.seed, "reconstructions", start, n)
            made = run_figures.reconstruction_rows(job.model, task.given[start : start + n], source)
            for name, x in made.items():
                rows.setdefault(name, []).append(x.cpu())
        job.tick(n)
    whole = {name: torch.cat(parts) for name, parts in rows.items()}
    last = job.array(list(whole.values())[-1])
    with Arrays(job.folder / ARRAYS) as arrays:
        arrays.add("original", task.given.float().cpu().numpy())
        if batch.y is not None:
            arrays.add("y", batch.y.cpu().numpy())
        for name, x in whole.items():
            arrays.add(slug(name), x.float().numpy())
        error = (task.truth.float().cpu().numpy() - last).reshape(len(last), -1)
        arrays.add("mse", np.square(error).mean(1))
    path, title = job.file("grid.png"), f"{job.title}: test examples"
    run_figures.reconstructions(path, job.model, data, batch, task, whole, title)


DRAWN: dict[str, Callable[[Job], Any]] = {
    "samples": samples,
    "interpolation": interpolation,
    "traversal": traversal,
    "trajectory": trajectory,
    "reconstruction": reconstruction,
}
