"""The table, its forms, its gaps and reasons, and the verdict."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genai_cli.comparison import render, verdict, words
from genai_cli.comparison.table import compare

F, MSE, BITS = "samples/frechet", "reconstruction/mse", "likelihood/bits_per_dim"
FLOOR = (4.1, "test against training images")


@pytest.fixture
def families(outputs: Any, made: Any) -> list[Path]:
    fast, slow = {"ema": False}, {"sampler": "ddim", "steps": 50, "ema": True}
    reference = {"extractor": "reference"}

    def sampled(value: float, half: float, rate: float, player: dict[str, Any]) -> dict[str, Any]:
        return {
            F: made(value, half, floor=FLOOR, player=player, ruler=reference),
            "speed/many": made(rate, rate / 50, player=player),
            "samples/coverage": made(1 - value / 100, half / 100, player=player),
            "memorisation/p": made(0.4, player=player),
        }

    none = made(None, reason="a GAN has no density")
    code = {MSE: made(0.01, 0.001, floor=(0.0082, "PCA with 16 components"))}
    exact, bound = {"likelihood": "exact"}, {"likelihood": "bound"}
    return [
        outputs.run("gan", sampled(12.4, 0.5, 9000, fast) | {BITS: none}, seconds=5),
        outputs.run(
            "vae", sampled(30, 0.5, 9500, fast) | code | {BITS: made(3.1, 0.1, player=bound)}
        ),
        outputs.run("ddpm", sampled(12, 0.5, 80, slow) | {BITS: made(3.3, 0.1, player=bound)}),
        outputs.run(
            "flow", {BITS: made(1.88, 0.02, player=exact)}, settings={"only": ["likelihood"]}
        ),
    ]


def lines(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip().startswith(start)]


def test_tables(families: list[Path]) -> None:
    text = render.render_text(compare(families))
    assert "≈ not distinguishable" in text
    assert any("12.0 ±0.5*" in line for line in lines(text, "ddpm"))
    assert any("12.4 ±0.5≈" in line for line in lines(text, "gan"))
    assert any("4.100" in line for line in lines(text, "test against training images"))
    assert any("0.0082" in line for line in lines(text, "PCA with 16 components"))
    assert any("n/a¹" in line for line in lines(text, "gan"))
    assert "¹ a GAN has no density" in text
    assert "ddim, 50 steps, averaged weights" in text
    assert max(len(line) for line in text.splitlines() if "genai" not in line) <= 110
    assert "batch_size" not in text  # the same in all
    assert "samples (n 360, reference features)" in text
    flow = [line for line in lines(text, "flow") if "–" in line]
    assert flow, "what flow lacks is a dash"
    assert "n=360 features=reference" in next(x for x in text.splitlines() if "genai evaluate" in x)


def test_verdict(families: list[Path]) -> None:
    comparison = compare(families)
    said = "\n".join(verdict.sentences(comparison.sections[0]))
    assert (
        "Best samples: ddpm, 12.0 (11.5–12.5) Fréchet distance in the features of 'reference'"
        in said
    )
    assert "not distinguishable: gan 12.4" in said
    assert re.search(r"Most samples a second: vae, 9,500 \w+/s", said)
    assert (
        "Best trade-off: gan, Fréchet 12.4 (11.9–12.9) not distinguishable from the best (ddpm)"
        in said
    )
    assert re.search(r"at 9,000 .* against 80", said)
    assert "only vae, MSE 0.0100" in said
    assert "PCA with 16 components is better, 0.0082" in said
    assert "Least time of training: gan, 5 s" in said
    assert "No sign of copied training examples" in said


def told(*folders: Path) -> str:
    return "\n".join(verdict.sentences(compare(folders).sections[0]))


def test_what_pca_does_as_well_is_said(outputs: Any, made: Any) -> None:
    a = outputs.run("vae", {MSE: made(0.01, 0.001, floor=(0.0105, "PCA"))})
    b = outputs.run("gan", {MSE: made(0.05, 0.001, floor=(0.0105, "PCA"))})
    assert "next: gan 0.0500 (0.0490–0.0510); PCA 0.01050, not distinguishable." in told(a, b)
    c = outputs.run("flow", {MSE: made(0.001, 0.0001, floor=(0.0105, "PCA"))})
    assert "; PCA is worse, 0.01050." in told(a, b, c)


def test_classes_are_counted_against_the_real_ones(outputs: Any, made: Any) -> None:
    real = (10, "real test examples")
    runs = [
        outputs.run(model, {"samples/classes": made(v, 0, floor=real)})
        for model, v in (("vae", 8), ("gan", 9))
    ]
    assert "Classes missing in samples, of 10 there are: vae 8, gan 9." in told(*runs)
    full = [
        outputs.run(model, {"samples/classes": made(10, 0, floor=real)}) for model in ("ddpm", "x")
    ]
    assert "Classes missing" not in told(*full)


def test_the_best_trade_off_says_who_was_not_compared(outputs: Any, made: Any) -> None:
    rate = {"speed/many": made(50, 1)}
    a = outputs.run("ddpm", {F: made(12, 0.1)} | rate)
    b = outputs.run("vae", {F: made(13, 0.1)} | rate)
    c = outputs.run("gan", {F: made(1, 0.1, ruler={"n": 9}), "speed/many": made(5000, 1)})
    (said,) = [s for s in told(a, b, c).splitlines() if "trade-off" in s]
    assert said.endswith("as good (not compared, on another ruler: gan).")


def test_a_best_without_an_interval_is_no_sure_best(outputs: Any, made: Any) -> None:
    a, b = outputs.run("vae", {F: made(12)}), outputs.run("gan", {F: made(13, 0.5)})
    assert "without an interval; then gan 13.0" in told(a, b)


def test_predictors_and_samplers_train_for_other_ends(outputs: Any) -> None:
    runs = [outputs.run(m, seconds=s) for m, s in (("vae", 20), ("gan", 30), ("mlp", 1))]
    assert "Least time of training: vae, 20 s; next: gan 30 s." in told(*runs)
    assert "mlp" not in told(*runs)
    (section,) = compare(runs).sections
    assert [row.cells["cost/seconds"].mark for row in section.rows] == ["*", "", ""]
    assert section.notes == []


def test_a_copying_model_is_told(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run("gan", {"memorisation/p": made(0.0004)}),
        outputs.run("vae", {"memorisation/p": made(0.3)}),
    ]
    said = verdict.sentences(compare(runs).sections[0])
    assert [s for s in said if s.startswith("Warning: gan may copy")]
    assert "p < .001" in "".join(said)


def test_each_bottleneck_has_its_best(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run(
            model,
            {MSE: made(v / size, 0.0001, floor=(0.05 / size, f"PCA with {size} components"))},
            bottleneck=size,
        )
        for model, v in (("autoencoder", 0.1), ("vae", 0.2))
        for size in (8, 16)
    ]
    comparison = compare(runs)
    said = [s for s in verdict.sentences(comparison.sections[0]) if "reconstruction" in s]
    assert len(said) == 2
    assert "at bottleneck 8: autoencoder bottleneck=8" in said[0]
    assert "PCA with 8 components is better, 0.006250" in said[0]
    assert [r.label for r in comparison.rows][:2] == [
        "autoencoder bottleneck=8",
        "autoencoder bottleneck=16",
    ]
    assert len(lines(render.render_text(comparison), "PCA with")) == 2


def test_one_seed_each_is_told(outputs: Any, made: Any) -> None:
    runs = [outputs.run("vae", {F: made(12, 0.5)}), outputs.run("gan", {F: made(13, 0.5)})]
    text = render.render_text(compare(runs))
    assert "samples (n 360)" in text
    assert "trained from other seeds" in text
    runs.append(outputs.run("gan", {F: made(14, 0.5)}, seed=1))
    runs.append(outputs.run("flow", {F: made(14, 0.5, ruler={"n": 9})}))
    text = render.render_text(compare(runs))
    assert "samples (n" not in text
    assert "trained from other seeds" not in text
    assert "mean ± Student's 95 % interval" in text


def test_what_fills_the_gaps_of_some_cells_is_of_these(outputs: Any, made: Any) -> None:
    runs = [outputs.run(m, sweep="abcd") for m in ("vae", "gan", "flow")]
    (command,) = words.of_section((some := compare(runs[:2])).sections[0], some).commands
    assert command.split()[:2] == ["genai", "compare"]
    assert [Path(w).name for w in command.split()[2:4]] == ["000-vae", "001-gan"]
    (command,) = words.of_section((every := compare(runs)).sections[0], every).commands
    assert Path(command.split()[2]).name == "12-00-00-sweep-abcd"


def test_one_run_is_described(outputs: Any, made: Any) -> None:
    (said,) = verdict.sentences(compare([outputs.run("vae", {MSE: made(0.01, 0.001)})]).sections[0])
    assert said.startswith("vae on digits: MSE 0.0100")


def test_data_sets_apart(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run("vae", {F: made(12, 0.5)}),
        outputs.run("gan", {F: made(1, 0.5)}, dataset="fashion_mnist", split="beef"),
        outputs.run("flow", {F: made(1, 0.5)}, split="cafe"),
    ]
    comparison = compare(runs)
    names = [section.dataset for section in comparison.sections]
    assert names == ["digits (split 0363799e)", "fashion_mnist", "digits (split cafe)"]
    assert not any(row.cells[F].mark for row in comparison.rows)
    assert "not ranked together" in render.render_text(comparison)


def test_classifiers_have_their_own_table(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run("mlp", {"prediction/accuracy": made(0.97, 0.01)}),
        outputs.run("mlp", {"prediction/accuracy": made(0.99, 0.005)}, model__widths=[64]),
    ]
    text = render.render_text(compare(runs))
    assert "accuracy ↑" in text
    assert "Fréchet" not in text
    assert "Best accuracy: mlp" in text
    mixed = render.render_text(compare([*runs, outputs.run("vae", {F: made(12, 0.5)})]))
    table = mixed.split("\nsamples (n 360)\n")[1].split("\n\n")[0]
    assert "mlp" not in table


def test_runs_without_an_evaluation(outputs: Any, made: Any) -> None:
    summary = {"test/mse": made(0.01, 0.001), "test/kl": made(3.0, 0.1)}
    done = outputs.run("vae", summary=summary, name="abcd")
    failed = outputs.run("gan", status="failed", name="dead")
    comparison = compare([done, failed])
    text = render.render_text(comparison)
    assert comparison.rows[0].cells[MSE].value == 0.01
    assert any("failed" in line for line in lines(text, "gan"))
    assert any("–" in line for line in lines(text, "gan"))
    command = next(x for x in text.splitlines() if "genai evaluate" in x)
    assert str(done) in command or "abcd" in command
    assert "dead" not in command
    assert "samples" in next(x for x in text.splitlines() if "not measured yet" in x)


def test_trained_on_since(outputs: Any, made: Any) -> None:
    run = outputs.run("vae")
    outputs.evaluate(run, {F: made(1, 0.1)}, finished="2026-11-23T12:30")
    comparison = compare([run])
    assert "trained on since it was evaluated" in comparison.notes[0]
    assert "genai evaluate" in render.render_text(comparison)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"metrics": 3}', '{"metrics": {}, "settings": []}', "\x00", "[" * 100_000],
    ids=["empty", "list", "torn", "number", "settings", "nul", "deep"],
)
def test_a_damaged_evaluation_is_a_note(outputs: Any, made: Any, text: str) -> None:
    run = outputs.run("vae", {F: made(12, 0.5)})
    bad = run / "evaluation" / "bad"
    bad.mkdir()
    (bad / "evaluation.json").write_text(text)
    comparison = compare([run])
    assert comparison.rows[0].cells[F].value == 12
    assert "evaluation bad cannot be read; ignored" in comparison.notes[0]


@pytest.mark.parametrize(
    "bad",
    [
        3,
        {"value": "x", "passport": {}},
        {"value": True, "passport": {}},
        {"value": float("nan"), "passport": {}},
        {"value": None},
        {"value": 1, "low": "x", "passport": {}},
        {"value": 1},
        {"value": 1, "passport": {"ruler": 3}},
        {"value": 1, "passport": {}, "floor": 3},
        {"value": 1, "passport": {}, "floor": {"value": 1, "low": "x"}},
        {"value": 10**400, "passport": {}},
    ],
    ids=repr,
)
def test_a_damaged_number_is_a_note(outputs: Any, made: Any, bad: Any) -> None:
    run = outputs.run("vae", {F: bad, MSE: made(0.01, 0.001), "made/up": 7})
    comparison = compare([run])
    assert F not in comparison.rows[0].cells
    assert comparison.rows[0].cells[MSE].value == 0.01
    assert f"has no sound {F}" in comparison.notes[0]
    json.loads(render.json_text(comparison))


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "summary.json"])
def test_a_damaged_run_is_a_row(outputs: Any, made: Any, name: str) -> None:
    runs = [outputs.run("vae", {F: made(12, 0.5)}), outputs.run("gan", {F: made(13, 0.5)})]
    (runs[0] / name).write_text("{")
    comparison = compare(runs)
    assert len(comparison.rows) == 2
    for form in (render.render_text, render.markdown, render.comma_separated, render.json_text):
        assert form(comparison)


def test_nan_in_a_passport_is_no_nan_in_json(outputs: Any, made: Any) -> None:
    bad = made(12, 0.5, ruler={"threshold": math.nan}, floor=(1.0, "x"))
    bad["floor"]["n"] = math.inf
    text = render.json_text(compare([outputs.run("vae", {F: bad}), outputs.run("gan")]))
    (section,) = json.loads(text, parse_constant=lambda word: pytest.fail(word))["sections"]
    assert section["rows"][0]["metrics"][F]["value"] == 12


def test_time_of_training_is_that_of_the_epochs(outputs: Any) -> None:
    folder = outputs.run("vae", seconds=30)  # with figures and tests
    (folder / "metrics.csv").write_text("epoch,step,images,seconds\n1,10,80,2.5\n2,20,160,5.25\n")
    cells = compare([folder]).rows[0].cells
    assert (cells["cost/seconds"].value, cells["cost/images"].value) == (5.25, 160)
    (folder / "metrics.csv").write_bytes(b"epoch,step\n\xff\xfe,1\n")
    assert compare([folder]).rows[0].cells["cost/seconds"].value == 30


def test_a_config_of_any_kind_is_a_row(outputs: Any, made: Any) -> None:
    odd = [
        outputs.run("vae", {F: made(12, 0.5)}, seed=[1], init="a\n\x1b[31mb"),
        outputs.run("vae", {F: made(13, 0.5)}, seed={"a": 1}, init="c"),
    ]
    text = render.render_text(compare(odd))
    assert "\x1b" not in text
    assert "init=a  [31mb" in text


def test_the_best_without_an_interval_is_told(outputs: Any, made: Any) -> None:
    runs = [outputs.run("vae", {F: made(12)}), outputs.run("gan", {F: made(13, 0.5)})]
    (note,) = compare(runs).sections[0].notes
    assert note == f"{F}: the best has no interval, taken as it stands (vae)"


def test_markdown_is_githubs(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run("vae", {F: made(None, reason="a|b <script> *x*")}, tags=["|"], init="a|b"),
        outputs.run("vae", {F: made(12, 0.5)}, init="c", name="zz"),
    ]
    text = render.markdown(compare(runs))
    assert r"a\|b &lt;script&gt; \*x\*" in text
    assert r"init=a\|b" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    for line, after in itertools.pairwise(tables):
        if after.startswith(("| :--", "| --:")):
            assert _columns(line) == _columns(after)
    assert max(_columns(line) for line in tables) > 2


def _columns(line: str) -> int:
    return line.replace(r"\|", "").count("|")


def test_csv_and_json_hold_every_number(families: list[Path]) -> None:
    comparison = compare(families)
    rows = list(csv.DictReader(io.StringIO(render.comma_separated(comparison))))
    assert [row["label"] for row in rows] == ["gan", "vae", "ddpm", "flow"]
    assert float(rows[2][F]) == 12
    assert float(rows[2][f"{F} high"]) == 12.5
    assert float(rows[2][f"{F} n"]) == 360
    assert rows[0][BITS] == rows[0][f"{BITS} n"] == rows[0][f"{BITS} ruler"] == ""
    kinds = [row[f"{BITS} kind"] for row in rows]
    assert kinds == ["", "bound", "bound", "exact"]  # else a bound would be ranked as a value
    assert len({row[f"{F} ruler"] for row in rows[:3]}) == 1
    (section,) = json.loads(render.json_text(comparison))["sections"]
    by_label = {row["label"]: row["metrics"] for row in section["rows"]}
    assert by_label["ddpm"][F]["mark"] == "best"
    assert by_label["ddpm"][F]["passport"]["player"]["steps"] == 50
    assert by_label["gan"][BITS] == {"value": None, "reason": "a GAN has no density"}
    assert section["verdict"]


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called, those of C too: work that no load of the machine changes."""
    count = itertools.count()
    sys.setprofile(lambda frame, event, argument: "call" in event and next(count))
    try:
        work()
    finally:
        sys.setprofile(None)
    return next(count)


def test_the_work_grows_as_the_number_of_runs(outputs: Any, made: Any) -> None:
    runs = [
        outputs.run("vae", {F: made(12 + i, 0.5), MSE: made(0.1, 0.01)}, model__beta=i)
        for i in range(160)
    ]

    def render_all(some: list[Path]) -> None:
        comparison = compare(some)
        for form in (render.render_text, render.markdown, render.comma_separated, render.json_text):
            form(comparison)
        assert len(comparison.rows) == len({row.label for row in comparison.rows}) == len(some)

    render_all(runs[:2])  # what is imported and cached at first
    few, many = (calls_of(lambda n=n: render_all(runs[:n])) for n in (40, 160))
    assert many < 5 * few  # 16 times if every run were held against every other


def test_a_wide_table_is_split_not_cut(outputs: Any, made: Any) -> None:
    names = ["frechet", "kernel", "energy", "precision", "recall", "density", "coverage", "classes"]
    metrics = {f"samples/{name}": made(1234.5 + i, 0.5) for i, name in enumerate(names)}
    runs = [outputs.run("vae", metrics, bottleneck=b, model__beta=b) for b in (2, 4)]
    text = render.render_text(compare(runs))
    assert max(len(line) for line in text.splitlines()) <= 110
    for i in range(len(names)):
        assert f"{1234.5 + i:,.1f} ±0.5" in text


def test_the_reader_needs_no_models(run_python: Callable[[str], str], families: list[Path]) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from genai_cli.comparison import render, table\n"
        f"render.render_text(table.compare([Path(p) for p in {[str(p) for p in families]!r}]))\n"
        "print(sorted({'torch', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    assert run_python(code).strip() == "[]"
