"""Loss curves and tables of sweeps: what stands on the axes, whatever the cells did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from genai_cli.figures import cross_table, curves
from genai_cli.figures.cross_table import TableEntry, TableRow
from genai_cli.figures.curves import CurvePanel, LossCurve

pytestmark = pytest.mark.filterwarnings("error")

EPOCHS = np.arange(1.0, 21.0)
FALLS = 2.0 / EPOCHS


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Figure]:
    """The figure that was written, too."""
    seen: dict[str, Figure] = {}
    for room in (curves, cross_table):
        plain = room.save
        keep = lambda fig, path, plain=plain: seen.update(fig=fig) or plain(fig, path)  # noqa: E731
        monkeypatch.setattr(room, "save", keep)
    return seen


def panel(values: np.ndarray, title: str = "a", objective: str = "o", **more: object) -> CurvePanel:
    epochs = np.arange(1.0, len(values) + 1)
    curve = LossCurve(epochs, values, values / 2, **more)
    return CurvePanel(title, [curve], note="a note", objective=objective)


def test_an_explosion_does_not_flatten_the_others(saved: dict, tmp_path: Path) -> None:
    panels = [panel(FALLS), panel(FALLS * 1e9), panel(np.full(20, np.nan)), panel(FALLS / 2)]
    curves.cell_curves(tmp_path / "c.png", panels, title="t")
    axes = saved["fig"].axes
    low, high = axes[0].get_ylim()
    assert high < 100
    assert 0.002 < low < 0.1
    assert [ax.get_ylim() for ax in axes[:2]] == [axes[3].get_ylim()] * 2
    assert axes[2].texts[0].get_text() == "no finite loss"
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_a_training_loss_that_vanishes_does_not_either(saved: dict, tmp_path: Path) -> None:
    curve = LossCurve(EPOCHS, FALLS, FALLS * 1e-6)
    curves.cell_curves(tmp_path / "c.png", [CurvePanel("a", [curve])], title="t")
    assert saved["fig"].axes[0].get_ylim()[0] > FALLS.min() / 50


def test_a_slow_learner_is_in_view(saved: dict, tmp_path: Path) -> None:
    curves.cell_curves(tmp_path / "c.png", [panel(FALLS / 4)] * 3 + [panel(np.full(20, 1.9))],
                            title="t")  # fmt: skip
    assert saved["fig"].axes[0].get_ylim()[1] > 1.9


def test_objectives_have_axes_of_their_own_and_grey_lines_behind(
    saved: dict, tmp_path: Path
) -> None:
    panels = [panel(FALLS), panel(2 * FALLS), panel(100 * FALLS, objective="other")]
    curves.cell_curves(tmp_path / "c.png", panels, title="t")
    axes = saved["fig"].axes
    assert axes[0].get_ylim() == axes[1].get_ylim() != axes[2].get_ylim()
    grey = [sum(line.get_color() == curves.OTHERS for line in ax.lines) for ax in axes]
    assert grey == [1, 1, 0]


def test_runs_of_very_different_lengths_share_a_log_axis(saved: dict, tmp_path: Path) -> None:
    curves.cell_curves(tmp_path / "c.png", [panel(FALLS[:1]), panel(FALLS)], title="t")
    assert {ax.get_xscale() for ax in saved["fig"].axes} == {"log"}
    curves.cell_curves(tmp_path / "c.png", [panel(FALLS[:10]), panel(FALLS)], title="t")
    assert {ax.get_xscale() for ax in saved["fig"].axes} == {"linear"}


def test_losses_below_zero_have_a_linear_axis(saved: dict, tmp_path: Path) -> None:
    curves.cell_curves(tmp_path / "c.png", [panel(FALLS - 1), panel(FALLS)], title="t")
    assert saved["fig"].axes[0].get_yscale() == "linear"
    assert saved["fig"].axes[0].get_ylim()[0] < -0.9


def test_lines_of_one_panel_are_in_the_legend_once(saved: dict, tmp_path: Path) -> None:
    lines = [LossCurve(EPOCHS, FALLS * k, FALLS, label=f"lr={k}", colour=f"C{k}") for k in (1, 2)]
    panels = [CurvePanel(name, lines) for name in "abcde"]
    curves.cell_curves(tmp_path / "c.png", panels, title="t")
    legend = [text.get_text() for text in saved["fig"].legends[0].get_texts()]
    assert legend == ["lr=1", "lr=2", "training"]


def test_the_best_of_a_row_is_darkest_and_framed(saved: dict, tmp_path: Path) -> None:
    up = TableRow(
        "wine",
        "accuracy ↑",
        [TableEntry(0.9, "0.9", "0.8 – 1", True), TableEntry(0.5, "0.5"), None],
    )
    down = TableRow(
        "images", "MSE ↓", [TableEntry(0.9, "0.9"), None, TableEntry(0.5, "0.5", best=True)], False
    )
    cross_table.cross_table(tmp_path / "t.png", ["a", "b", "c d"], [up, down], title="t")
    assert cross_table._shares(up) == [1.0, 0.0, 0.0]
    assert cross_table._shares(down) == [0.0, 0.0, 1.0]
    boxes = saved["fig"].axes[0].patches
    assert sum(not box.get_fill() for box in boxes) == 2
    assert len(boxes) == 6 + 2
