"""The runs into which 1 … T is cut."""

from __future__ import annotations

import itertools

import pytest

from genai_cli.diffusion.strata import strata


@pytest.mark.parametrize("total", [1, 2, 7, 40, 1000])
def test_strata_are_a_partition_that_starts_with_single_steps(total: int):
    for count in (1, 2, 5, 16, 39, 64, 999, 1000, 5000):
        cut = strata(total, count)
        assert len(cut) == min(count, total), count
        steps = [t for first, last in cut for t in range(first, last + 1)]
        assert steps == list(range(1, total + 1)), count
        lengths = [last - first + 1 for first, last in cut]
        assert count == 1 or lengths[0] == 1, count
        assert count < total or set(lengths) == {1}, count


def test_strata_grow_by_a_factor():
    lengths = [last - first + 1 for first, last in strata(1000, 64)]
    assert lengths[:15] == [1] * 15
    assert 50 < lengths[-1] < 100
    assert all(b >= 0.6 * a - 1 for a, b in itertools.pairwise(lengths))
