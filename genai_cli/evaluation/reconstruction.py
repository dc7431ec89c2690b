"""Reconstruction quality of test examples, beside that of PCA with as many components."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import scipy.linalg
import torch
from torch import Tensor

from genai_cli.data.dataset import Dataset, Spec, Split
from genai_cli.evaluation.chosen import subset
from genai_cli.evaluation.pairwise import rows
from genai_cli.evaluation.ssim import ssim
from genai_cli.models import restoration
from genai_cli.models.base import Model

LEAST_MSE = 1e-10  # an exact reconstruction reads 100 dB, not infinity
BATCH = 500  # examples at once where no model is asked
WIDEST = 4096  # columns of which a covariance is kept and decomposed as a whole
ROUNDS = 12  # of subspace iteration for wider data
REASONS = {
    "inversion": "a flow is invertible: its reconstruction is exact",
    "optimisation": "a GAN has no encoder: the code of an image is searched for",
    "denoising": "denoised from a noised image, not through a code",
}


def reason(model: Model) -> str | None:
    """Return the reason why reconstructions are not measured, or None where they are."""
    if not hasattr(model, "reconstruct"):
        return "its class defines no reconstruct"
    return REASONS.get(model.reconstructs_by)


def measures(output: Tensor, truth: Tensor, spec: Spec) -> dict[str, Tensor]:
    """Return per-example measures (B,) in double precision, on the CPU.

    ``mse``, the mean over the elements, for any data. Of images in [0, 1] also ``psnr``,
    −10 log₁₀ mse in dB for a peak of 1, where an mse below 1e-10 counts as 1e-10 (100 dB), and
    ``ssim``.
    """
    output, truth = (x.cpu().double() for x in (output, truth))
    mse = (output - truth).square().flatten(1).mean(1)
    values = {"mse": mse}
    if truth.ndim == 4 and spec.unit_interval:
        values["psnr"] = -10 * mse.clamp_min(LEAST_MSE).log10()
        values["ssim"] = ssim(output, truth)
    return values


@torch.no_grad()
def reconstruction(
    model: Model, data: Dataset, *, n: int, batch: int, tick: Callable[[int], None]
) -> dict[str, Tensor]:
    """Return `measures` (n,) of ``n`` test examples (`subset`), of targets where data are pairs.

    Args:
        model: in evaluation mode, one that reconstructs by its code (`reason` is None).
        data: on the model's device.
        n: at most as many as there are test examples.
        batch: examples in the model at once.
        tick: called with how many more are done.
    """
    to_image = data.spec.target == "image"
    parts = []
    for part in _batches(data.test, n, batch):
        truth = part.y if to_image else part.x
        parts.append(measures(model.reconstruct(part.x), truth, data.spec))
        tick(len(part.x))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def floor(
    model: Model, data: Dataset, components: int | None, n: int
) -> tuple[str, dict[str, Tensor]] | None:
    """Return (name, `measures` (n,)) of the baseline of a reconstruction, if there is one:
    interpolation where data are pairs of images, else PCA with as many ``components``."""
    if data.spec.target == "image":
        parts, what = [], ""
        for part in _batches(data.test, n, BATCH):
            task = restoration.task(model, data.spec, part, None)
            parts.append(measures(task.baseline, task.truth, data.spec))
            what = restoration.MEANS[task.way]
        return what, {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    if components is None:
        return None
    return f"PCA with {components} components", pca(data, components, n)


def pca(data: Dataset, components: int, n: int) -> dict[str, Tensor]:
    """Return `measures` (n,) of PCA with as many components: the floor of a reconstruction.

    Principal components of the training split, in double precision. Reconstructions are clipped
    to [0, 1] where the data lie there. As many components as columns, or more, lose nothing.

    Raises:
        ValueError: data of pairs, whose target no code of the input's own components can give.
    """
    if data.spec.target == "image":
        raise ValueError("components of the target have seen it: no floor for pairs of images")
    mean, basis = components_of(data.train, components)
    parts = []
    for part in _batches(data.test, n, BATCH):
        x = rows(part.x).cpu() - mean
        projection = (x @ basis @ basis.T + mean).view(part.x.shape)
        projection = projection.clamp(0, 1) if data.spec.unit_interval else projection
        parts.append(measures(projection, part.x, data.spec))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def components_of(split: Split, k: int) -> tuple[Tensor, Tensor]:
    """(mean (D,), basis (D, min(k, D))) with orthonormal columns, the largest variance first.

    Two passes over the split, a batch in memory at a time. Above 4096 columns no covariance is
    kept: the basis is found by subspace iteration, a pass for each round, to about three digits
    of the variance it leaves.
    """
    count = len(split)
    x = partial(_centred, split, torch.zeros((), dtype=torch.float64))
    mean = sum(part.sum(0) for part in x()) / count
    x = partial(_centred, split, mean)
    d = len(mean)
    k = min(k, d)
    if d <= WIDEST:
        covariance = sum(part.T @ part for part in x()) / count
        _, vectors = scipy.linalg.eigh(covariance.numpy(), subset_by_index=[d - k, d - 1])
        return mean, torch.from_numpy(vectors).flip(1)
    draws = torch.Generator().manual_seed(0)
    basis = torch.randn(d, min(d, k + 10), generator=draws, dtype=torch.float64)
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(basis).Q
        basis = sum(part.T @ (part @ basis) for part in x())
    return mean, torch.linalg.svd(basis, full_matrices=False).U[:, :k]


def _centred(split: Split, mean: Tensor) -> Iterator[Tensor]:
    """Batches (B, D) of a split as double rows, less ``mean``."""
    for part in _batches(split, len(split), BATCH):
        yield rows(part.x).cpu() - mean


def _batches(split: Split, n: int, size: int) -> Iterator:
    return split.batches(subset(split, n).split(size))
