"""What follows the last step: a signal ends it at once, its time is bounded, and `genai resume`
measures what is left."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from genai_cli.evaluation import budget, evidence, summary
from genai_cli.evaluation.budget import Budget, fit_to_budget
from genai_cli.runner import lifecycle, stacked
from genai_cli.store import run_folder
from genai_cli.store.run_folder import MeasuredPart
from genai_cli.system.preemption import Interrupted, Signals

pytestmark = pytest.mark.usefixtures("undrawn")

AE = ("train", "model=autoencoder", "model.widths=[8]", "epochs=2", "dataset.limit=64")
DDPM = ("train", "model=ddpm", "model.timesteps=20", "model.channels=[8]", "bottleneck=8",
        "epochs=1", "dataset.limit=64")  # fmt: skip


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Test batches of 100 examples; what was measured of them is added to the list."""
    plain, measured = summary.batch_terms, []

    def counted(*about: object) -> dict:
        terms = plain(*about)
        measured.append(len(about[2].x))
        return terms

    monkeypatch.setattr(summary, "EVALUATION_BATCH", 100)
    monkeypatch.setattr(summary, "batch_terms", counted)
    return measured


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch, batches: list[int]) -> Callable[[int, int], None]:
    """Send this process a signal in the n-th test batch from now on; 0: never."""
    counted = summary.batch_terms

    def arrange(n: int, number: int = signal.SIGTERM) -> None:
        batches.clear()

        def stopping(*about: object) -> dict:
            if len(batches) + 1 == n:
                signal.raise_signal(number)
            return counted(*about)

        monkeypatch.setattr(summary, "batch_terms", stopping if n else counted)

    return arrange


def described(folder: Path) -> tuple[str, bool, dict]:
    done = run_folder.read_json(folder / run_folder.SUMMARY)
    status = run_folder.read_json(folder / run_folder.RUN)["status"]
    assert done["status"] == status
    return status, done["measured"], {k: e["value"] for k, e in done["metrics"].items()}


# ---- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 143), ("SIGHUP", 143)]
)
def test_a_signal_ends_the_measuring(
    name: str, code: int, genai: Callable, stop_at: Callable, batches: list[int]
) -> None:
    stop_at(2, getattr(signal, name))
    done = genai(*AE)
    assert (done.code, done.err) == (code, "")
    (folder,) = done.folders
    assert batches == [100]  # none after it
    assert described(folder) == ("finished", False, {})
    assert f"not measured yet; measure it with: genai resume {folder.name[-4:]}" in done.out
    assert not list(folder.rglob(".*"))


def test_resume_measures_what_the_undisturbed_run_does(
    genai: Callable, stop_at: Callable, batches: list[int]
) -> None:
    stop_at(2)
    (folder,) = genai(*AE).folders
    rows = (folder / run_folder.METRICS).read_bytes()
    stop_at(0)
    assert genai("resume", "latest").code == 0
    assert (folder / run_folder.METRICS).read_bytes() == rows
    status, measured, numbers = described(folder)
    assert (status, measured) == ("finished", True)
    assert batches == [100, 100, 100, 60]
    whole = genai(*AE, "name=whole")
    assert described(next(f for f in whole.folders if "-whole-" in f.name))[2] == numbers
    assert "nothing left to do" in genai("resume", str(folder)).out


def test_a_signal_in_a_figure_ends_it(genai: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    from genai_cli.evaluation import run_figures

    def drawn(*about: object) -> list[Path]:
        signal.raise_signal(signal.SIGUSR1)
        raise AssertionError("it went on")

    monkeypatch.setattr(run_figures, "draw", drawn)
    done = genai(*AE)
    assert done.code == 143
    assert described(done.folders[0]) == ("finished", False, {})


def test_a_signal_after_the_last_step_is_one_while_it_is_measured(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner.console import Reporter

    plain = Reporter.epoch

    def stopping(self: Reporter, row: dict, best: bool) -> None:
        plain(self, row, best)
        if row["epoch"] == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Reporter, "epoch", stopping)
    done = genai(*AE)
    assert done.code == 130
    assert described(done.folders[0]) == ("finished", False, {})


def test_a_run_that_stopped_early_stays_so(genai: Callable, stop_at: Callable) -> None:
    early = ("trainer.patience=1", "trainer.min_delta=1e9", "epochs=9")
    stop_at(1)
    done = genai(*AE[:-2], "dataset.limit=64", *early)
    assert done.code == 143
    (folder,) = done.folders
    assert described(folder) == ("stopped", False, {})
    steps = run_folder.read_json(folder / run_folder.SUMMARY)["step"]
    stop_at(0)
    assert genai("resume", str(folder)).code == 0
    assert described(folder)[:2] == ("stopped", True)
    assert run_folder.read_json(folder / run_folder.SUMMARY)["step"] == steps


def test_a_run_that_was_asked_to_stop_is_measured_and_not_trained_on(
    genai: Callable, stop_at: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.runner.stopping_rules import StoppingRules

    stop_at(1)
    with monkeypatch.context() as patched:
        patched.setattr(StoppingRules, "_asked", lambda self: "asked to stop")
        (folder,) = genai(*AE).folders
    assert described(folder) == ("stopped", False, {})
    stop_at(0)
    assert genai("resume", "latest").code == 0
    assert described(folder)[:2] == ("stopped", True)
    assert len(run_folder.read_metrics(folder)) == 1
    assert genai("resume", "latest").code == 0  # once more: then it goes on
    assert described(folder)[:2] == ("finished", True)


def test_an_error_of_a_library_cannot_swallow_it() -> None:
    def library() -> None:
        with suppress(Exception):
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted) as left, Signals() as signals, signals.raise_on_signal():
        library()
    assert left.value.code == 143


def test_one_that_came_before_ends_it_at_once_and_one_after_it_is_a_flag() -> None:
    with Signals() as signals:
        with signals.raise_on_signal():
            pass
        signal.raise_signal(signal.SIGTERM)
        assert signals.code == 143
        with pytest.raises(Interrupted), signals.raise_on_signal():
            pytest.fail("it began")


def test_what_another_thread_noted_is_seen_between_two_batches(
    genai: Callable, monkeypatch: pytest.MonkeyPatch, batches: list[int]
) -> None:
    """The end of a sweep's process sets the flag of its workers so."""
    counted = summary.batch_terms
    noted: list[Signals] = []
    plain = Signals.raise_on_signal

    def remembered(self: Signals) -> object:
        noted.append(self)
        return plain(self)

    def noting(*about: object) -> dict:
        if len(batches) == 1:
            thread = threading.Thread(target=lambda: setattr(noted[-1], "code", 143))
            thread.start()
            thread.join()
        return counted(*about)

    monkeypatch.setattr(Signals, "raise_on_signal", remembered)
    monkeypatch.setattr(summary, "batch_terms", noting)
    assert genai(*AE).code == 143
    assert batches == [100, 100]


# ---- sweeps -------------------------------------------------------------------------------------


def test_a_sweep_ends_and_its_resume_only_measures(genai: Callable, stop_at: Callable) -> None:
    stop_at(6)  # the second one of the second cell
    done = genai(*AE, "-m", "bottleneck=2,3,4", "name=cut")
    assert done.code == 143
    (sweep,) = done.folders
    cells = run_folder.cells(sweep)
    states = [run_folder.read_json(cell / run_folder.RUN)["status"] for cell in cells]
    assert states == ["finished", "finished", "interrupted"]
    assert described(cells[1]) == ("finished", False, {})
    assert ",not measured yet\n" in (sweep / run_folder.SWEEP_TABLE).read_text()
    rows = (cells[1] / run_folder.METRICS).read_bytes()
    stop_at(0)
    done = genai("sweep", "resume", str(sweep))
    assert done.code == 0, done.err
    assert "2 of 3 runs left" in done.out
    assert "not measured yet  only measured" in done.out
    assert (cells[1] / run_folder.METRICS).read_bytes() == rows
    assert [described(cell)[:2] for cell in cells] == [("finished", True)] * 3
    assert "nothing left to do" in genai("sweep", "resume", str(sweep)).out


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stack_is_not_measured_any_more(
    processes: int, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, or in others that are told to stop."""
    plain = stacked.Finalizer.wait

    def told(self: stacked.Finalizer, signals: Signals) -> None:
        signal.raise_signal(signal.SIGTERM)
        plain(self, signals)

    with monkeypatch.context() as patched:
        patched.setattr(stacked, "cores", lambda: processes)
        patched.setattr(stacked, "FEW", 1)
        finalize = stacked.finalize_run if processes == 1 else _slowly
        patched.setattr(stacked, "finalize_run", finalize)
        patched.setattr(stacked.Finalizer, "wait", told)
        done = genai(*AE, "-m", "seed=0,1", "trainer.pack=auto")
    assert done.code == 143
    (sweep,) = done.folders
    assert [described(cell) for cell in run_folder.cells(sweep)] == [("finished", False, {})] * 2
    assert genai("sweep", "resume", str(sweep)).code == 0
    assert [described(cell)[1] for cell in run_folder.cells(sweep)] == [True, True]


_conclude = stacked.finalize_run


def _slowly(folder: str, status: str) -> int:
    """In a process of the pool: it begins when the signal was handed on."""
    waits = threading.Event()
    while not stacked._signals.code:  # until the parent has told us
        waits.wait(0.01)
    return _conclude(folder, status)


# ---- what the other verbs say -------------------------------------------------------------------


def test_verbs_say_that_it_is_not_measured_yet(genai: Callable, stop_at: Callable) -> None:
    stop_at(1)
    (folder,) = genai(*AE).folders
    stop_at(0)
    assert "not measured yet" in genai("runs").out
    assert '"measured": false' in genai("runs", "--json").out
    assert "not measured yet; genai resume" in genai("compare", "latest", "--no-figures").out
    assert genai("report", "latest").code == 0
    page = (folder / "report.html").read_text()
    assert "This run is not measured yet." in page
    assert "is not measured yet, and told by its curves alone" in genai("doctor", "latest").out
    assert genai("evaluate", "latest", "n=20", "only=[reconstruction]").code == 0
    reproduced = genai("reproduce", "latest")
    assert reproduced.code == 0, reproduced.err
    assert "the first run is not measured yet" in reproduced.out


# ---- the time it may take -----------------------------------------------------------------------


def test_fewer_draws_come_before_fewer_examples() -> None:
    whole = MeasuredPart(10_000, 8)
    assert fit_to_budget(whole, 1.0, 0.0, 160.0, 500) == whole
    assert fit_to_budget(whole, 1.0, 0.0, 159.0, 500) == MeasuredPart(10_000, 7)
    assert fit_to_budget(whole, 1.0, 1.0, 159.0, 500) == MeasuredPart(10_000, 6)
    assert fit_to_budget(whole, 1.0, 0.0, 20.0, 500) == MeasuredPart(10_000, 1)
    assert fit_to_budget(whole, 1.0, 0.0, 19.9, 500) == MeasuredPart(9_500, 1)
    assert fit_to_budget(whole, 1.0, 0.0, -5.0, 500) == MeasuredPart(budget.LEAST, 1)
    assert fit_to_budget(MeasuredPart(360, 8), 1.0, 0.0, 3.0, 500) == MeasuredPart(360, 3)
    assert fit_to_budget(MeasuredPart(360, 1), 9.0, 9.0, 3.0, 500) == MeasuredPart(
        360, 1
    )  # a batch is the least


def test_the_budget_is_a_share_of_the_training() -> None:
    assert budget.of_training(3.0).seconds == budget.SECONDS
    assert budget.of_training(6000.0).seconds == budget.SHARE * 6000
    assert budget.of_training(3.0, "all").left() == float("inf")
    assert budget.of_training(3.0, {"n": 20, "draws": 2}).part == MeasuredPart(20, 2)


def _amounts(folder: Path) -> set[tuple[int, int, int]]:
    entries = run_folder.read_json(folder / run_folder.SUMMARY)["metrics"].values()
    papers = [(e["n"], e["passport"]) for e in entries]
    return {(n, p["ruler"]["n"], p["player"]["draws"]) for n, p in papers}


def test_what_does_not_fit_is_measured_in_part_and_measure_all_does_the_rest(
    genai: Callable, monkeypatch: pytest.MonkeyPatch, batches: list[int]
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(budget, "LEAST", 200)
        patched.setattr(lifecycle, "of_training", lambda *about: Budget(0.0))
        done = genai(*DDPM)
    assert done.code == 0, done.err
    (folder,) = done.folders
    assert "measuring 200 of 360 test examples, 1 of 8 noises each\n" in done.out
    assert "test split, 200 of 360 test examples, 1 of 8 noises each" in done.out
    assert f"all of it: genai resume {folder.name[-4:]} measure=all" in done.out
    assert _amounts(folder) == {(200, 200, 1)}
    assert batches == [100, 100, 100, 100]  # two to see how long they take

    # a second run measures as much as the first one did, however long it takes
    again = genai("reproduce", str(folder))
    assert again.code == 0, again.err
    assert "\nidentical: 1 epochs of metrics.csv, 2 numbers of summary.json" in again.out

    assert genai("resume", str(folder), "measure=some").code == 2
    done = genai("resume", str(folder), "measure=all")
    assert done.code == 0, done.err
    assert _amounts(folder) == {(360, 360, 8)}
    assert "measure" not in run_folder.read_json(folder / run_folder.RUN)
    whole = genai(*DDPM, "name=whole")
    whole = next(f for f in whole.folders if "-whole-" in f.name)
    assert described(whole) == described(folder)
    assert "nothing left to do" in genai("resume", str(folder), "measure=all").out


def test_an_interrupted_measure_all_keeps_what_was_measured(
    genai: Callable, monkeypatch: pytest.MonkeyPatch, stop_at: Callable
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(budget, "LEAST", 100)
        patched.setattr(lifecycle, "of_training", lambda *about: Budget(0.0))
        (folder,) = genai(*DDPM).folders
    before = (folder / run_folder.SUMMARY).read_bytes()
    stop_at(6)
    assert genai("resume", "latest", "measure=all").code == 143
    assert (folder / run_folder.SUMMARY).read_bytes() == before
    assert run_folder.read_json(folder / run_folder.RUN)["status"] == "finished"
    stop_at(0)
    assert genai("resume", "latest").code == 0  # it goes on with what was asked
    assert _amounts(folder) == {(360, 360, 8)}


def test_fewer_examples_begin_more(batches: list[int], genai: Callable) -> None:
    """And are a part of all: no other noise, no other example."""
    import genai_cli

    (folder,) = genai(*AE).folders
    model, data, _ = genai_cli.load(folder)
    found = [
        summary.per_example(model, data, 0, budget=Budget(part=MeasuredPart(n, 1)))
        for n in (100, 200, 360)
    ]
    assert [len(one.values["mse"]) for one in found] == [100, 200, 360]
    assert found[0].values["mse"].equal(found[1].values["mse"][:100])
    codes = [set(map(tuple, one.extra["codes"].tolist())) for one in found]
    assert len(codes[0]) == 100
    near = found[2].extra["codes"]
    for code in found[1].extra["codes"]:
        assert float((near - code).abs().sum(1).min()) < 1e-4


def test_a_split_of_one_batch_counts_the_draws_that_were_taken(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look comes after the second draw: no mean is over fewer than were added up."""
    import genai_cli

    (folder,) = genai(*DDPM).folders
    model, data, _ = genai_cli.load(folder)
    monkeypatch.setattr(summary, "fit_to_budget", lambda whole, *about: MeasuredPart(whole.n, 1))
    cut = summary.per_example(model, data, 0, budget=Budget(1e-3))
    whole = summary.per_example(model, data, 0, budget=Budget(part=MeasuredPart(360, 2)))
    assert cut.part == whole.part == MeasuredPart(360, 2)
    assert cut.values["loss"].equal(whole.values["loss"])


def test_samples_that_take_long_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])

    def takes(seconds: float, first: float = 0.0) -> Callable[[int], None]:
        calls: list[int] = []

        def draw(k: int) -> None:
            now[0] += k * seconds + first * (not calls)
            calls.append(k)

        return draw

    assert budget.affordable_samples(64, takes(0.1), 6.5) == 64
    assert (
        budget.affordable_samples(64, takes(0.1, first=9.0), 6.5) == 64
    )  # the first call allocates
    assert budget.affordable_samples(64, takes(0.1), 3.3) == 32
    assert budget.affordable_samples(64, takes(0.1), -1.0) == budget.FEWEST
    assert budget.affordable_samples(64, takes(0.01), -1.0) == 64  # not worth a look


def test_what_the_average_of_weights_costs_is_seen_on_a_few_examples(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """raw_loss is that of all, where the difference to the average is that of all."""
    words = (*AE, "trainer.ema=0.999")
    (folder,) = genai(*words).folders
    monkeypatch.setattr(evidence, "PAIRED", 50)  # of 144
    few = genai(*words, "name=few")
    few = next(f for f in few.folders if "-few-" in f.name)
    both = [
        run_folder.read_json(f / run_folder.SUMMARY)["evidence"]["raw_loss"] for f in (folder, few)
    ]
    averaged = run_folder.read_metrics(folder)[-1]["val/loss"]
    assert both[0] != both[1] != averaged
    assert both[1] - averaged == pytest.approx(both[0] - averaged, rel=0.5)


def test_numbers_of_different_parts_are_not_compared() -> None:
    from genai_cli.store.run_diff import IDENTICAL, compare

    def of(n: int, value: float) -> dict:
        papers = {"ruler": {"n": n}, "player": {"draws": 1}}
        return {"metrics": {"test/loss": {"value": value, "passport": papers}}}

    rows = [{"step": 1.0, "epoch": 1.0, "val/loss": 0.5}]
    found = compare(rows, rows, (of(200, 0.5), of(360, 0.6)))
    assert (found.verdict(0.0), found.numbers) == (IDENTICAL, 0)
    assert "200 test examples" in found.unlike
    assert "360 test examples" in found.unlike
    assert compare(rows, rows, (of(360, 0.5), of(360, 0.6))).gaps
