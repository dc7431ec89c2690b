"""Marginal Gaussianisation: exact inverse, exact log-det, and what it costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from genai_cli.networks.flow.marginals import BINS, Marginals, bin_edges

SHAPE = (1, 3, 4)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


def dequantised(levels: int, n: int = 300) -> Tensor:
    k = (torch.rand(n, *SHAPE).square() * levels).floor()
    return (k + torch.rand_like(k)) / levels


def fitted(levels: int, v: Tensor) -> Marginals:
    layer = Marginals(SHAPE, levels)
    layer.prepare(v)
    return layer


@pytest.mark.parametrize("levels", [2, 17, 32, 33, 256, 65536])
def test_edges_rise_from_zero_to_one_and_keep_the_end_levels_alone(levels: int):
    edges = bin_edges(levels)
    assert edges[0] == 0
    assert edges[-1] == 1
    assert all(a < b for a, b in itertools.pairwise(edges))
    assert len(edges) - 1 <= BINS
    assert edges[1] == pytest.approx(1 / levels)
    assert edges[-2] == pytest.approx(1 - 1 / levels)


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_round_trip_and_log_det(levels: int):
    v = dequantised(levels)
    layer = fitted(levels, v)
    z, logdet = layer(v)
    assert (layer.inverse(z) - v).abs().max() < 1e-9
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda x: layer(x.view(1, *SHAPE))[0].flatten(), v[i].flatten()
        )
        torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, logdet[i])


def test_the_inverse_in_single_precision_stays_in_the_bin():
    v = dequantised(17).float()
    layer = Marginals(SHAPE, 17).float()
    layer.prepare(v)
    back = layer.inverse(layer(v)[0])
    assert torch.equal((back * 17).floor(), (v * 17).floor())


def test_each_element_becomes_standard_normal():
    v = dequantised(17, 4000)
    z = fitted(17, v)(v)[0].flatten(1)
    torch.testing.assert_close(z.mean(0), torch.zeros(12), atol=0.05, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(12), atol=0.05, rtol=0)


def test_with_a_normal_base_it_is_the_independent_histogram():
    v = dequantised(17, 2000)
    z, logdet = fitted(17, v)(v)
    nats = -(logdet - 0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1))
    nats = nats.mean() + 12 * math.log(17)  # the mass of a level, not a density on [0, 1)
    k = (v * 17).floor().long().flatten(1)
    shares = torch.stack([torch.bincount(k[:, d], minlength=17) for d in range(12)]) / 2000
    entropy = -torch.special.xlogy(shares, shares).sum()
    assert nats.item() == pytest.approx(entropy.item(), rel=1e-3)


def test_an_element_that_never_changes_costs_next_to_nothing():
    v = dequantised(17, 1000)
    v[:, 0, 0, 0] = torch.rand(1000) / 17  # always level 0
    one = Marginals((1, 1, 1), 17)
    x = v[:, :, :1, :1]
    one.prepare(x)
    z, logdet = one(x)
    bits = -(logdet - 0.5 * (z.flatten(1).square().sum(1) + math.log(2 * math.pi))).mean()
    assert 0 < (bits.item() + math.log(17)) / math.log(2) < 0.01


def test_the_probabilities_learn():
    v = dequantised(17)
    layer = fitted(17, v)
    z, logdet = layer(v)
    (0.5 * z.square().flatten(1).sum(1) - logdet).mean().backward()
    assert layer.logits.grad.abs().max() > 0
