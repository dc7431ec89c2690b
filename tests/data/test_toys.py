"""The drawn sets: the same everywhere, at unit scale, and from the density that is claimed."""

from __future__ import annotations

import math

import pytest
import torch

from genai_cli.data import toys
from genai_cli.data.sources import load

NAMES = ["moons", "circles", "swiss_roll", "gaussians", "checkerboard"]
DENSITY = [("gaussians", None), ("gaussians", 0.3), ("checkerboard", None), ("checkerboard", 0.2)]


@pytest.mark.parametrize("name", NAMES)
def test_drawn_sets(name: str) -> None:
    dataset = load({"name": name})
    assert sum(dataset.n.values()) == 10000
    assert dataset.spec.event_shape == (2,)
    assert dataset.spec.levels is None
    x = dataset.train.x
    assert x.dtype == torch.float32
    assert 0.3 < x.std(0).min() < x.std(0).max() < 1.3
    assert x.mean(0).abs().max() < 0.25
    again = load({"name": name})
    assert again.hash == dataset.hash
    assert torch.equal(again.train.x, x)
    assert load({"name": name, "noise": 0.2}).hash != dataset.hash
    assert load({"name": name, "n": 9999}).hash != dataset.hash


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_positions(name: str) -> None:
    dataset = load({"name": name})
    y = dataset.train.y
    if name == "swiss_roll":
        assert y.shape == (7200, 1)
        assert 0 <= y.min() < y.max() <= 1
        radius = load({"name": name, "noise": 0}).train
        torch.testing.assert_close(radius.x.norm(dim=1), 0.5 + radius.y[:, 0], atol=1e-5, rtol=0)
        return
    assert y.dtype == torch.int64
    assert y.unique().tolist() == list(range(len(dataset.spec.classes)))


@pytest.mark.parametrize(("name", "noise"), DENSITY)
def test_density_integrates_to_one(name: str, noise: float | None) -> None:
    side, bins = 4.0, 400
    step = 2 * side / bins
    axis = torch.arange(bins, dtype=torch.float64) * step - side + step / 2
    grid = torch.cartesian_prod(axis, axis)
    total = toys.log_density(name, grid, noise).exp().sum() * step**2
    assert abs(total.item() - 1) < 1e-3


@pytest.mark.parametrize(("name", "noise"), DENSITY)
def test_samples_follow_the_density(name: str, noise: float | None) -> None:
    """Mass of the cells of a grid, against the counts of 100,000 points: χ² per cell is near 1."""
    n, bins, fine = 100_000, 24, 10
    extra = {} if noise is None else {"noise": noise}
    points = torch.from_numpy(getattr(toys, name)(n=n, **extra).x).double()
    side = 3.0
    step = 2 * side / (bins * fine)
    axis = torch.arange(bins * fine, dtype=torch.float64) * step - side + step / 2
    density = toys.log_density(name, torch.cartesian_prod(axis, axis), noise).exp() * step**2
    mass = density.view(bins, fine, bins, fine).sum((1, 3))
    index = ((points + side) / (2 * side) * bins).floor().long()
    inside = ((index >= 0) & (index < bins)).all(1)
    flat = index[inside, 0] * bins + index[inside, 1]
    count = torch.bincount(flat, minlength=bins * bins).view(bins, bins)
    busy = mass * n > 20
    square = ((count - mass * n).square() / (mass * n))[busy].mean().item()
    assert square < 1 + 5 * math.sqrt(2 / int(busy.sum()))
    assert count[mass == 0].sum() == 0
    # The mean log density of the points is minus the entropy, which a sum over the grid gives too.
    here = toys.log_density(name, points, noise).mean().item()
    known = density > 0
    there = (density[known] * (density[known] / step**2).log()).sum().item()
    assert abs(here - there) < 0.02


def test_the_ring_of_gaussians_has_the_radius_asked_for() -> None:
    same, wide = load({"name": "gaussians", "radius": math.sqrt(2)}), toys.gaussians(radius=2.0)
    assert same.hash == load({"name": "gaussians"}).hash
    narrow = toys.gaussians(radius=2.0, noise=1e-6).x
    assert abs(torch.from_numpy(narrow).norm(dim=1) - 2).max() < 1e-5
    points = torch.from_numpy(wide.x).double()
    centre = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    peak = toys.log_density("gaussians", centre, radius=2.0).item()
    assert peak == pytest.approx(-math.log(8 * 2 * math.pi * 0.1**2))
    # minus the entropy of eight normal distributions that do not overlap
    entropy = math.log(8) + 1 + math.log(2 * math.pi * 0.1**2)
    assert abs(toys.log_density("gaussians", points, radius=2.0).mean().item() + entropy) < 0.05


def test_density_is_minus_infinity_outside() -> None:
    x = torch.tensor([[-1.5, -1.5], [-1.5, -0.5], [5.0, 0.0]])
    got = toys.log_density("checkerboard", x)
    assert got[0].item() == pytest.approx(-math.log(8))
    assert got[1:].tolist() == [-math.inf, -math.inf]
