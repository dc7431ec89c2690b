"""Curves and colours of a report, without a browser."""

from __future__ import annotations

import re

import pytest

from genai_cli.report import curves
from genai_cli.report.render import TEMPLATES, template_environment


def test_gaps_and_absurd_numbers_are_no_points() -> None:
    rows = [{"epoch": float(e), "step": e, "train/loss": v, "val/loss": 1.0}
            for e, v in enumerate((1.0, float("nan"), 3.0, float("inf"), 1e300, 2.0))]  # fmt: skip
    template = "{% from 'curves.html' import loss_curves %}{{ loss_curves(curves) }}"
    svg = template_environment().from_string(template).render(curves=curves.loss_panels(rows))
    assert not re.search(r"(nan|inf)[,\"]", svg)
    assert svg.count("<circle") == 3  # points without a neighbour


@pytest.mark.parametrize(
    ("low", "high", "most"), [(0, 1, 5), (-3.2, 17, 5), (1e-9, 3e-9, 4), (2, 2, 4), (1, 20000, 4)]
)
def test_ticks_are_round_and_inside(low: float, high: float, most: int) -> None:
    found = curves.ticks(low, high, most)
    assert 1 <= len(found) <= most + 1
    assert all(low - 1e-12 <= t <= high + 1e-12 for t in found)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


LIGHT, DARK = (
    dict(re.findall(r"--(\w+): (#\w{6});", block))
    for block in re.findall(r":root \{([^}]*--bg[^}]*)\}", (TEMPLATES / "report.css").read_text())
)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_contrast_is_aa(theme: dict[str, str]) -> None:
    """WCAG 2.2, 1.4.3: 4.5 to 1 for every colour that words are written in."""
    assert theme.keys() == LIGHT.keys() >= {"bg", "ink", *curves.SERIES}
    for ground in ("bg", "card"):
        for name in (n for n in theme if n not in ("bg", "card", "rule")):
            a, b = sorted((_luminance(theme[name]), _luminance(theme[ground])))
            assert (b + 0.05) / (a + 0.05) >= 4.5, (name, ground)
