"""The space of a search: Hydra's grammar read as dimensions, and draws that fill it evenly."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from genai_cli.config.compose import parse_line
from genai_cli.errors import UserError
from genai_cli.sweeps.search.space import Dimension, Space, build_space, sample_lattice


def dimension(word: str) -> Dimension:
    (found,) = build_space(parse_line(["-m", word]), {}).dimensions
    return found


def test_the_grammar() -> None:
    lr = dimension("optimizer.lr=tag(log,interval(1e-4,1e-2))")
    assert (lr.low, lr.high, lr.step, lr.whole, lr.log) == (1e-4, 1e-2, None, False, True)
    assert lr.size == math.inf
    k = dimension("bottleneck=range(4,33)")
    assert (k.low, k.high, k.step, k.whole, k.log, k.size) == (4, 32, 1, True, False, 29)
    assert dimension("bottleneck=range(4,33,4)").size == 8
    assert dimension("bottleneck=int(interval(4,32))").whole
    assert dimension("bottleneck=tag(log,range(1,65))").log
    dropout = dimension("model.dropout=range(0,0.5,0.1)")
    assert (dropout.low, dropout.high, dropout.size) == (0.0, 0.4, 5)
    assert dimension("model.widths=[8],[16,8]").choices == ("[8]", "[16,8]")
    assert dimension("bottleneck=range(32,4,-4)").low == 8


def test_other_words_are_fixed_and_the_line_wins_over_the_yaml() -> None:
    line = parse_line(["-m", "model=ddpm", "bottleneck=4,8"])
    space = build_space(line, {"bottleneck": [2, 3], "optimizer.lr": "interval(0,1)"})
    assert [d.key for d in space.dimensions] == ["optimizer.lr", "bottleneck"]
    assert space.dimensions[1].choices == ("4", "8")
    assert space.fixed == ("model=ddpm",)
    assert space.words({"bottleneck": "4"}) == ["model=ddpm", "bottleneck=4"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("model=vae", "needs something to choose from"),
        ("optimizer.lr=interval(1,1)", "there is nothing"),
        ("optimizer.lr=interval(2,1)", "there is nothing"),
        ("optimizer.lr=tag(log,interval(0,1))", "above 0"),
        ("bottleneck=tag(log,range(2,32,2))", "step 1"),
        ("bottleneck=tag(log,choice(4,8))", "not for a list"),
        ("bottleneck=tag(fast,range(2,4))", "the one tag"),
        ("bottleneck=range(4,4)", "no value"),
        ("bottleneck=4,4", "twice"),
    ],
)
def test_mistakes(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as told:
        build_space(parse_line(["-m", word]), {})
    assert "\n" not in str(told.value)


def test_values_are_text_that_composes_to_themselves() -> None:
    lr = Dimension("optimizer.lr", low=1e-4, high=1e-2, log=True)
    assert lr.text(0.00123456) == "0.001235"
    assert float(lr.text(1e-4 * (1 - 1e-9))) == 1e-4  # never outside
    assert Dimension("k", low=1.0, high=9.0, step=1.0, whole=True).text(4.4) == "4"
    assert Dimension("d", low=0.0, high=0.4, step=0.1).text(0.30000000000000004) == "0.3"


def test_corners_show_every_choice_and_both_ends() -> None:
    choice = Dimension("a", choices=("x", "y", "z"))
    number = Dimension("b", low=1.0, high=5.0, step=1.0, whole=True)
    corners = Space((choice, number), ()).corners()
    assert len(corners) == 3
    assert {c["a"] for c in corners} == {"x", "y", "z"}
    assert {c["b"] for c in corners} == {"1", "5"}


def discrepancy(points: list[tuple[float, float]], cells: int = 4) -> int:
    """The most points in one cell of a grid minus the fewest."""
    counts = [0] * cells**2
    for x, y in points:
        counts[int(x * cells) * cells + int(y * cells)] += 1
    return max(counts) - min(counts)


def test_the_lattice_fills_the_space_evenly() -> None:
    import random

    space = Space((Dimension("x", low=0.0, high=1.0), Dimension("y", low=0.0, high=1.0)), ())
    draws = [sample_lattice(space, n, seed=3) for n in range(64)]
    points = [(float(d["x"]) % 1, float(d["y"]) % 1) for d in draws]
    drawn = random.Random(0)
    chance = [(drawn.random(), drawn.random()) for _ in range(64)]
    assert discrepancy(points) <= 3 < discrepancy(chance)
    assert sample_lattice(space, 5, 3) == draws[5]
    assert sample_lattice(space, 5, 4) != draws[5]


def test_every_choice_and_every_whole_number_is_drawn_equally_often() -> None:
    ways: list[tuple[Dimension, Callable[[str], str]]] = [
        (Dimension("a", choices=("p", "q", "r")), str),
        (Dimension("b", low=3.0, high=5.0, step=1.0, whole=True), str),
    ]
    for dimension, read in ways:
        space = Space((dimension,), ())
        drawn = [read(sample_lattice(space, n, 0)[dimension.key]) for n in range(300)]
        assert all(abs(drawn.count(value) - 100) <= 3 for value in set(drawn))
        assert len(set(drawn)) == 3
