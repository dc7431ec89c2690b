"""Which of a run's numbers is shown, joined and said: what a mutation of the code once survived."""

from __future__ import annotations

from typing import Any

from genai_cli.comparison import render, verdict
from genai_cli.comparison.choose import TableCell
from genai_cli.comparison.numbers import format_plus_minus
from genai_cli.comparison.table import compare

F, MSE, RATE = "samples/frechet", "reconstruction/mse", "speed/many"
BITS, P = "likelihood/bits_per_dim", "memorisation/p"
EXACT, BOUND = {"likelihood": "exact"}, {"likelihood": "bound"}
FEW, MANY = ({"sampler": "ddim", "steps": steps} for steps in (10, 50))
LATER = "2026-11-24T00:00:00.000+00:00"


def said(*folders: Any) -> str:
    return "\n".join(verdict.sentences(compare(folders).sections[0]))


def test_of_equal_numbers_the_exact_one_leads_and_both_are_best(outputs: Any, made: Any) -> None:
    vae = outputs.run("vae", {BITS: made(2, 0.1, player=BOUND)})
    flow = outputs.run("flow", {BITS: made(2, 0.1, player=EXACT)})
    found = compare([vae, flow])
    assert [row.cells[BITS].mark for row in found.rows] == ["*", "*"]
    assert "Best likelihood: flow, 2.00 bits/dim (1.90–2.10), exact" in said(vae, flow)
    assert not TableCell(2, None, None, 1).bound  # only what says so is a bound


def test_a_number_of_zero_is_ranked(outputs: Any, made: Any) -> None:
    name = "samples/recall"
    a, b = outputs.run("vae", {name: made(0, 0)}), outputs.run("gan", {name: made(0.5, 0.1)})
    assert "gan, 0.50 (0.40–0.60); next: vae 0." in said(a, b)


def test_a_number_comes_before_a_newer_reason(outputs: Any, made: Any) -> None:
    run = outputs.run("vae", {F: made(12, 0.5)})
    outputs.evaluate(run, {F: made(None, reason="failed")}, name="z", finished=LATER)
    assert compare([run]).rows[0].cells[F].value == 12


def test_samples_drawn_otherwise_than_the_row_says(outputs: Any, made: Any) -> None:
    a = outputs.run("ddpm", {F: made(5, 0.1, player=MANY), RATE: made(7, player=MANY)})
    other = {"threads": 9}  # the ruler that most share, of another sampler
    outputs.evaluate(a, {RATE: made(70, ruler=other, player=FEW)}, name="z", finished=LATER)
    b = outputs.run("vae", {RATE: made(900, ruler=other)})
    c = outputs.run("gan", {RATE: made(800, ruler=other)})
    assert compare([a, b, c]).rows[0].cells[RATE].value == 7
    d = outputs.run("ddpm", {F: made(5, 0.1, player=MANY)}, epochs=9)
    outputs.evaluate(d, {RATE: made(70, player=FEW)}, name="z", finished=LATER)
    (section,) = compare([d]).sections
    assert f"ddpm: {RATE} of samples drawn with ddim, 10 steps" in section.notes
    assert not compare([a]).sections[0].notes


def test_an_evaluation_from_before_more_training_is_not_shown(outputs: Any, made: Any) -> None:
    old = "2026-11-23T12:30:00.000+00:00"  # the run ended at 13:00
    a = outputs.run("vae", {F: made(3, 0.1, ruler={"n": 9})})
    outputs.evaluate(a, {F: made(99, 0.1)}, name="old", finished=old)
    b = outputs.run("gan", {F: made(50, 0.1)})
    assert [row.cells[F].value for row in compare([a, b]).rows] == [3, 50]


def test_a_warning_of_copies_is_for_small_p_alone(outputs: Any, made: Any) -> None:
    a, b = outputs.run("vae", {P: made(0.03)}), outputs.run("gan", {P: made(0.5)})
    assert "Warning" not in said(a, b)
    assert "smallest p = 0.03, vae" in said(a, b)


def test_the_trade_off_is_of_the_same_samples(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run(model, {F: made(q, 0.5), RATE: made(rate, 1)})
        for model, q, rate in (("vae", 12, 50), ("gan", 12.1, 900), ("flow", 12.2, 80))
    ]
    runs.append(outputs.run("ddpm", {F: made(12.3, 0.5, player=MANY)}))
    outputs.evaluate(runs[-1], {RATE: made(5000, 1, player=FEW)}, name="z", finished=LATER)
    (trade,) = [line for line in said(*runs).splitlines() if "trade-off" in line]
    assert trade.startswith("Best trade-off: gan, Fréchet 12.1 ")
    assert "at 900" in trade


def test_likelihoods_are_named_once(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run(model, {BITS: made(v, 0.05, player=EXACT)})
        for model, v in (("flow", 2), ("gan", 2.01), ("vae", 3))
    ]
    (text,) = [line for line in said(*runs).splitlines() if "likelihood" in line]
    assert text.count("gan") == text.count("vae") == 1
    apart = [outputs.run("x", {BITS: made(2, 0.1, ruler={"n": n})}, epochs=n) for n in (7, 8)]
    assert "not decided; no two were measured on one ruler" in said(*apart)


def test_seeds_join_bounds_floors_and_costs_with_care(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run(
            "vae",
            {
                BITS: made(3 + s, player=BOUND),
                MSE: made(0.01, floor=(0.1 + s, "PCA")),
            },
            seed=s,
            seconds=10 + s,
        )
        for s in range(2)
    ]
    (row,) = compare(runs).rows
    assert row.cells[BITS].bound
    assert row.cells[MSE].floor is None  # of two floors neither is that of the mean
    seconds = row.cells["cost/seconds"]
    assert (seconds.value, seconds.low) == (10.5, None)
    # floors that differ are not a row of the table either
    apart = [outputs.run("gan", {MSE: made(0.1, floor=(f, "PCA"))}, epochs=i)
             for i, f in enumerate((0.2, 0.3), 7)]  # fmt: skip
    assert compare(apart).sections[0].floors == {}


def test_no_interval_ends_before_it_starts(outputs: Any, made: Any) -> None:
    run = outputs.run("vae", {F: made(12, -0.5)})
    assert F not in compare([run]).rows[0].cells
    assert "has no sound samples/frechet" in compare([run]).notes[0]


def test_a_reconstruction_alone_at_its_bottleneck_is_not_the_best(outputs: Any, made: Any) -> None:
    runs = [outputs.run("vae", {MSE: made(0.1 / k, 0.001)}, bottleneck=k) for k in (2, 4)]
    assert "Reconstruction at bottleneck 2: only vae bottleneck=2, MSE" in said(*runs)
    assert "Best reconstruction" not in said(*runs)


def test_the_wider_side_of_an_interval_is_shown() -> None:
    assert format_plus_minus(10, 7, 10.5) == "10 ±3"
    assert format_plus_minus(10, 9.5, 13) == "10 ±3"


def test_smallest_p_is_the_smallest(outputs: Any, made: Any) -> None:
    a, b = outputs.run("vae", {P: made(0.9)}), outputs.run("gan", {P: made(0.2)})
    assert "smallest p = 0.20, gan" in said(a, b)
    assert "gan" in render.render_text(compare([a, b]))
