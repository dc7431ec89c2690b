"""Rank only on one ruler; best, not distinguishable, bounds, seeds."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scipy.special import stdtrit

from genai_cli.comparison import rank, render
from genai_cli.comparison.choose import TableCell
from genai_cli.comparison.numbers import format_interval, format_plus_minus
from genai_cli.comparison.seeds import mean_interval, student
from genai_cli.comparison.table import compare

F = "samples/frechet"


def marks(comparison: Any, name: str) -> dict[str, str]:
    return {row.label: row.cells[name].mark for row in comparison.rows if name in row.cells}


def test_student_is_scipys() -> None:
    for df in (*range(1, 60), 100, 1000):
        assert student(df) == pytest.approx(stdtrit(df, 0.975), abs=1e-4)


def test_interval_of_seeds() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert (low, high) == pytest.approx((2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)))
    assert mean_interval([5.0]) == (5, None, None)


@pytest.mark.parametrize(
    ("a", "b", "tied"),
    [
        ((10, 0.3), (10.4, 0.3), True),  # √(.09 + .09) = .424
        ((10, 0.3), (10.5, 0.3), False),
        ((10, 0.3), (10.2, None), True),  # within the other's interval
        ((10, None), (10.2, None), False),
        ((10, None), (10, None), True),
    ],
)
def test_distinguishable(a: tuple, b: tuple, tied: bool) -> None:
    def cell(value: float, half: float | None) -> TableCell:
        return TableCell(
            value, *((None, None) if half is None else (value - half, value + half)), 1
        )

    assert rank.alike(cell(*a), cell(*b)) is tied
    assert rank.alike(cell(*b), cell(*a)) is tied


def test_facing_sides_of_a_skewed_interval_count() -> None:
    low, high = TableCell(10, 5, 10.1, 1), TableCell(11, 10.9, 20, 1)
    assert not rank.alike(low, high)
    assert rank.alike(TableCell(10, 9.9, 15, 1), high)


def test_best_and_ties_by_direction(outputs: Any, made: Any) -> None:
    folders = [
        outputs.run("gan", {F: made(12, 0.5), "samples/recall": made(0.6, 0.05)}),
        outputs.run("vae", {F: made(12.4, 0.5), "samples/recall": made(0.9, 0.05)}),
        outputs.run("flow", {F: made(30, 0.5), "samples/recall": made(0.2, 0.05)}),
    ]
    found = compare(folders)
    assert marks(found, F) == {"gan": "*", "vae": "≈", "flow": ""}
    assert marks(found, "samples/recall") == {"gan": "", "vae": "*", "flow": ""}


def test_other_rulers_are_not_ranked_together(outputs: Any, made: Any) -> None:
    folders = [
        outputs.run("gan", {F: made(12, 0.5)}),
        outputs.run("vae", {F: made(13, 0.2)}),
        outputs.run("flow", {F: made(1, 0.1, ruler={"n": 1000})}),
    ]
    found = compare(folders)
    assert marks(found, F) == {"gan": "*", "vae": "", "flow": ""}
    notes = found.sections[0].notes
    assert f"{F}: not ranked together: n 360 (gan, vae) against 1000 (flow)" in notes
    said = [s for s in _verdict(found) if s.startswith("Best samples")]
    assert len(said) == 1
    assert "gan, 12.0" in said[0]
    assert "on another ruler: flow" in said[0]


def test_three_rulers_make_one_note(outputs: Any, made: Any) -> None:
    metrics = ("samples/recall", "samples/kernel")  # one rises, one falls
    folders = [
        outputs.run(model, {m: made(i + 1, 0.1, ruler={"n": n, "k": n}) for m in metrics})
        for i, (model, n) in enumerate([("gan", 9), ("vae", 9), ("flow", 20), ("ddpm", 30)])
    ]
    (note,) = compare(folders).sections[0].notes
    said = "not ranked together: n 9 (gan, vae) against 20 (flow) against 30 (ddpm)"
    assert note == f"samples/kernel, samples/recall: {said}; k 9 against 20 against 30"


def test_the_ruler_most_runs_share_is_shown_else_the_newest(outputs: Any, made: Any) -> None:
    a = outputs.run("gan", {F: made(12, 0.5)})
    b = outputs.run("vae", {F: made(13, 0.5)})
    outputs.evaluate(a, {F: made(2, 0.1, ruler={"n": 9})}, name="other", finished="2027")
    found = compare([a, b])
    assert [row.cells[F].value for row in found.rows] == [12, 13]
    assert [row.cells[F].value for row in compare([a]).rows] == [2]
    outputs.evaluate(
        b, {F: made(3, 0.1, ruler={"n": 9})}, name="other", finished="2026-11-23T13:30"
    )
    found = compare([a, b])  # both rulers shared by two: the one with the newest, for both
    assert [row.cells[F].value for row in found.rows] == [2, 3]


def test_samples_are_of_one_player(outputs: Any, made: Any) -> None:
    few, many = ({"sampler": "ddim", "steps": s, "seed": 0} for s in (10, 1000))
    a = outputs.run(
        "ddpm",
        {F: made(5, 0.1, player=many), "speed/many": made(7, 0.1, player=many | {"seed": 1})},
    )
    outputs.evaluate(a, {"speed/many": made(700, 1, player=few)}, name="z", finished="2027")
    row = compare([a]).rows[0]
    assert row.cells["speed/many"].value == 7
    assert row.player == "ddim, 1000 steps"


def test_wanted_settings_choose_the_evaluation(outputs: Any, made: Any) -> None:
    a = outputs.run("ddpm", {F: made(5, 0.1)}, settings={"n": 100, "options": {"steps": 10}})
    outputs.evaluate(a, {F: made(2, 0.1)}, name="z", finished="2027")
    assert compare([a]).rows[0].cells[F].value == 2
    assert compare([a], wanted={"n": 100}).rows[0].cells[F].value == 5
    assert compare([a], wanted={"steps": 10}).rows[0].cells[F].value == 5
    assert F not in compare([a], wanted={"n": 7}).rows[0].cells


def _verdict(found: Any) -> list[str]:
    from genai_cli.comparison import verdict

    return [s for section in found.sections for s in verdict.sentences(section)]


def test_a_bound_wins_only_as_a_bound(outputs: Any, made: Any) -> None:
    name, bound, exact = "likelihood/bits_per_dim", {"likelihood": "bound"}, {"likelihood": "exact"}
    flow = outputs.run("flow", {name: made(1.88, 0.02, player=exact)})
    vae = outputs.run("vae", {name: made(3.1, 0.02, player=bound)})
    found = compare([flow, vae])
    assert marks(found, name) == {"flow": "*", "vae": ""}
    assert "≤ 3.100 ±0.020" in render.render_text(found)
    (said,) = [s for s in _verdict(found) if "likelihood" in s]
    assert said.startswith(
        "Best likelihood: flow, 1.880 bits/dim (1.860–1.900), exact; vae at most"
    )
    assert "the true number may be lower" in said
    ddpm = outputs.run("ddpm", {name: made(1.5, 0.02, player=bound)})
    (said,) = [s for s in _verdict(compare([flow, vae, ddpm])) if "likelihood" in s]
    assert said.startswith("Best likelihood: ddpm, at most 1.500")
    assert "already lies below the exact" in said


def test_seeds_are_one_row(outputs: Any, made: Any) -> None:
    folders = [
        outputs.run("vae", {F: made(v, 0.1), "memorisation/p": made(p)}, seed=s, name=f"s{s}xx")
        for s, (v, p) in enumerate([(10, 0.5), (12, 0.2), (14, 0.9)])
    ]
    folders.append(outputs.run("gan", {F: made(90, 0.1)}))
    found = compare(folders)
    vae, gan = found.rows
    assert (vae.label, vae.seeds, gan.seeds) == ("vae", 3, 1)
    assert vae.cells[F].value == 12
    assert vae.cells[F].high == pytest.approx(12 + 4.3027 * 2 / math.sqrt(3))
    assert vae.cells["memorisation/p"].value == pytest.approx(0.6)  # Bonferroni: 3 · .2
    assert any("vae (3 seeds)" in s for s in _verdict(found))
    assert "seed" not in vae.settings
    rows = compare(folders, apart=True).rows
    assert [row.label for row in rows] == ["vae seed=0", "vae seed=1", "vae seed=2", "gan"]
    assert [run.label for run in found.runs][:2] == ["vae seed=0", "vae seed=1"]


def test_seeds_without_the_number_are_told(outputs: Any, made: Any) -> None:
    runs = [outputs.run("vae", {F: made(10 + s, 0.1)}, seed=s) for s in range(2)]
    runs.append(outputs.run("vae", seed=2))
    found = compare(runs)
    (row,) = found.rows
    assert (row.seeds, row.cells[F].seeds, row.cells[F].value) == (3, 2, 10.5)
    assert f"vae: 2 of 3 seeds in {F}" in found.sections[0].notes
    assert "genai evaluate" in render.render_text(found)


def test_seeds_of_other_samplers_are_not_averaged(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run("ddpm", {F: made(v, 0.1, player={"sampler": "ddim", "steps": steps})}, seed=s)
        for s, (v, steps) in enumerate([(10, 50), (12, 50), (90, 5)])
    ]
    found = compare(runs)
    (row,) = found.rows
    assert (row.seeds, row.cells[F].seeds, row.cells[F].value) == (3, 2, 11)
    assert row.player == "ddim, 50 steps"
    assert f"ddpm: 2 of 3 seeds in {F}" in found.sections[0].notes
    # but the checkpoint, the seed and how many draws were timed are each run's own
    bits, rate, runs = "likelihood/bits_per_dim", "speed/many", []
    for s in range(2):
        player = {"checkpoint": f"step-{s}", "seed": s, "draws": 8 + s}
        runs.append(outputs.run("vae", {n: made(1, player=player) for n in (bits, rate)}, seed=s))
    (row,) = compare(runs).rows
    assert row.cells[rate].seeds == 2
    assert row.cells[bits].seeds == 1  # a bound from more draws is another bound


def test_what_is_no_other_seed_is_no_mean(outputs: Any, made: Any) -> None:
    twice = [outputs.run("vae", {F: made(v, 0.1)}, name=f"t{v}xx") for v in (10, 12)]
    found = compare(twice)
    assert len(found.rows) == 2
    assert "the same settings and seed more than once" in " ".join(found.sections[0].notes)
    failed = outputs.run("vae", seed=3, status="failed")
    other = outputs.run("vae", {F: made(10, 0.1)}, seed=4, model__beta=4)
    assert [row.seeds for row in compare([twice[0], failed, other]).rows] == [1, 1, 1]


def test_as_many_digits_as_the_interval_supports() -> None:
    for value, half, text in [
        (12.345, 0.4, "12.3 ±0.4"),
        (1.8869, 0.0229, "1.887 ±0.023"),
        (83.71, 1.0, "83.7 ±1.0"),
        (12345.6, 151, "12,350 ±150"),
        (738598, 62843, "740,000 ±60,000"),
        (10.0, 0.0, "10 ±0"),
        (3.21e-7, 2e-8, "3.2e-07 ±2e-08"),
        (1026624, None, "1,026,624"),
        (0.5, None, "0.5000"),
    ]:
        bounds = (None, None) if half is None else (value - half, value + half)
        assert format_plus_minus(value, *bounds) == text, (value, half, text)


def test_a_negative_interval_reads(outputs: Any) -> None:
    assert format_interval(-1.5, -1.7, -1.3) == "-1.50 (-1.70 to -1.30)"
    assert format_interval(1.5, 1.3, 1.7) == "1.50 (1.30–1.70)"
