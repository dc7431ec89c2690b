"""The figure of a search, for every kind of search there may be."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from PIL import Image

from genai_cli.figures.style import chart
from genai_cli.store.trials import FAILED, FINISHED, PRUNED, RUNNING, Goal, Trial
from genai_cli.sweeps.search.figure import FINISHED_STYLE, _Limits, plot_search


def trials(number: int, level: float = 20.0, keys: tuple[str, ...] = ("lr", "k", "act")) -> list:
    drawn = random.Random(0)
    out = []
    for i in range(number):
        ways = {"lr": f"{10 ** drawn.uniform(-4, -1):.3g}", "k": str(drawn.randint(2, 32)),
                "act": drawn.choice(["relu", "silu", "[64,32]"])}  # fmt: skip
        values = {key: ways[key] for key in keys}
        state = (FINISHED, FINISHED, PRUNED, FAILED)[i % 4] if i else FINISHED
        length = {FINISHED: 10, PRUNED: 5, FAILED: 2}[state]
        end = level + abs(level) * drawn.random()
        curve = {e: end + 30 / e for e in range(1, length + 1)}
        cost = None if state == FAILED else min(curve.values())
        out.append(Trial(f"{i:03d}", values, state, curve, cost, length, 20 * length))
    return out


@pytest.mark.parametrize(
    ("made", "goal"),
    [
        (trials(20), Goal("val/loss")),
        pytest.param(trials(8, level=-1000.0), Goal("val/loss"), marks=pytest.mark.slow),
        pytest.param(
            [t for t in trials(8) if t.state == FINISHED], Goal("val/loss"), marks=pytest.mark.slow
        ),
        (trials(1), Goal("val/loss")),
        pytest.param(trials(5, keys=("act",)), Goal("val/loss"), marks=pytest.mark.slow),
        (trials(5, keys=()), Goal("val/loss")),
        ([t._replace(cost=t.cost and -0.9, curve={1: -0.9}) for t in trials(8)],
         Goal("val/accuracy", rising=True)),
        ([*trials(5), Trial("005", {"lr": "1", "k": "2", "act": "relu"}, RUNNING)],
         Goal("val/loss")),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_it_is_drawn(tmp_path: Path, made: list[Trial], goal: Goal) -> None:
    asked = {"varied": list(made[0].values), "sweep": {"search": "tpe"}}
    plot_search(tmp_path / "a.png", asked, made, goal)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 1400
        colours = image.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 50


@pytest.mark.slow  # test_curves.py and _grids.py ask it of a chart and of a sheet
def test_the_same_trials_give_the_same_bytes(tmp_path: Path) -> None:
    made = trials(4, keys=("lr",))
    for name in ("a.png", "b.png"):
        plot_search(
            tmp_path / name, {"varied": ["lr"], "sweep": {"search": "tpe"}}, made, Goal("val/loss")
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_one_hopeless_trial_does_not_flatten_the_others() -> None:
    wide = _Limits([-10.0, -9.0, -8.0, 1000.0], rising=False)
    assert wide.high < 10
    assert not wide.log
    assert wide.beyond
    fig = chart(3, 3, "")
    ax = fig.subplots()
    wide.plot(ax, [0, 1], [-9.0, 1000.0], FINISHED_STYLE)
    inside, outside = ax.lines
    assert list(inside.get_ydata()) == [-9.0]
    assert list(outside.get_ydata()) == [wide.high]
    assert outside.get_marker() == "^"
    assert _Limits([1.0, 2.0, 100.0], rising=False).log
    high = _Limits([0.9, 0.88, 0.86, 0.1, 0.85], rising=True)
    assert high.low > 0.5
