"""INT, TERM, USR1 and HUP at any moment: the right code, not a word too many, nothing half.

What was saved is then resumed, and is the undisturbed run to the last bit.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from command_server import Server
from torture_runs import MODELS, Whole, assert_equal, folder_of, words

from genai_cli.store import run_folder

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
READ = {  # verbs that read a run, with what they leave behind when they are not stopped
    "sample": ("sample", "latest", "n=16"),
    "evaluate": ("evaluate", "latest", "n=20", "sets=5", "only=[reconstruction,speed]"),
    "encode": ("encode", "latest"),
    "report": ("report", "latest"),
    "compare": ("compare", "latest", "--no-figures"),
}


def expected(number: int) -> int:
    return 130 if number == signal.SIGINT else 143


def right(code: int, number: int, begun: bool = True) -> bool:
    """Whether an exit code is that of a signal, or of none that came in time; before our first line
    of code the system's own answer holds."""
    return code in (0, expected(number)) or (code == -number and not begun)


def quiet(said: str) -> None:
    for word in ("Traceback", "Error", "Exception", "failed"):
        assert word not in said, said


def stopped(
    server: Server, place: Path, whole: Whole, sent: list[tuple[float, int]], tally: Callable
) -> None:
    """Train, told to stop; resume, told again; resume to the end."""
    command, name = whole.command, signal.Signals(sent[0][1]).name.removeprefix("SIG")
    twice = len(sent) > 1
    for _ in range(2):
        done = server.run(place, *command, signals=sent)
        quiet(done.said)
        begun = bool(done.said or list(place.glob("outputs/*/*")))
        assert right(done.code, sent[0][1], begun), (done.code, done.said)
        if done.code:
            tally(f"{name}, twice" if twice else name)
        found = [p.parent for p in place.glob("outputs/*/*/config.yaml")]
        if not found:
            left = list(place.glob("outputs/*/*"))
            assert twice or not left, left
            return
        described = run_folder.read_json(found[0] / run_folder.RUN)
        if not twice and done.code >= 0:  # at once is at once: the lock tells that nobody is there
            waits = run_folder.unmeasured(run_folder.read_json(found[0] / run_folder.SUMMARY))
            ended = described["status"] == "finished"  # it is trained, and measured or not yet
            assert described["status"] == ("finished" if waits or not done.code else "interrupted")
            assert (ended and not waits) == (done.code == 0)
            assert not list(found[0].rglob(".*")), "half a file"
        command = ("resume", str(found[0].relative_to(place)))
    done = server.run(place, *command)
    assert done.code == 0, done.said
    assert_equal(whole.contents, folder_of(place))
    assert not list(folder_of(place).rglob(".*")), "half a file"


@pytest.fixture
def stop(
    server: Server, whole: Callable, tmp_path: Path, rng: random.Random, tally: Callable
) -> Callable[..., None]:
    """``stop(MODEL, SIGNAL)`` at a random moment; ``within``: seconds until a second one."""

    def at_random(model: str, number: int, within: float | None = None) -> None:
        run = whole(*words(model))
        sent = [(rng.uniform(0.0, run.seconds), number)]
        if within is not None:
            sent.append((sent[0][0] + rng.uniform(0, within), number))
        stopped(server, tmp_path, run, sent, tally)

    return at_random


@pytest.mark.parametrize("number", [signal.SIGTERM], ids=["TERM"])
def test_a_signal_at_a_random_moment(number: int, stop: Callable) -> None:
    stop("autoencoder", number)


@pytest.mark.torture
@pytest.mark.parametrize("turn", range(8))
@pytest.mark.parametrize("model", MODELS)
def test_signals_at_random_moments_in_every_family(model: str, turn: int, stop: Callable) -> None:
    stop(model, NUMBERS[turn % 4])


@pytest.mark.parametrize(
    "turn", [0, *(pytest.param(i, marks=pytest.mark.torture) for i in range(1, 16))]
)
def test_a_second_ctrl_c_leaves_at_once(turn: int, stop: Callable) -> None:
    stop("autoencoder", signal.SIGINT, within=0.05)


@pytest.fixture(scope="module")
def finished(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a finished run."""
    place = tmp_path_factory.mktemp("finished")
    done = server.run(place, *words("vae"))
    assert done.code == 0, done.said
    return place


@pytest.mark.parametrize(
    ("verb", "turns"),
    [("sample", 1), *(pytest.param(verb, 6, marks=pytest.mark.torture) for verb in READ)],
)
def test_verbs_that_read_leave_nothing_half(
    verb: str, turns: int, server: Server, finished: Path, rng: random.Random, tally: Callable
) -> None:
    folder = folder_of(finished)
    done = server.run(finished, *READ[verb])
    assert done.code == 0, done.said
    for turn in range(turns):
        before = {p for p in finished.rglob("*") if p.is_file()}
        number = NUMBERS[turn % 4]
        when = rng.uniform(0.0, 1.05 * done.seconds)
        again = server.run(finished, *READ[verb], signals=[(when, number)])
        quiet(again.said)
        assert right(again.code, number, bool(again.said)), (again.code, again.said)
        assert not list(folder.rglob(".*")), list(folder.rglob(".*"))
        if again.code:
            tally(f"{signal.Signals(number).name.removeprefix('SIG')} in {verb}")
            assert {p for p in finished.rglob("*") if p.is_file()} == before


@pytest.mark.torture
@pytest.mark.parametrize("turn", range(8))
def test_a_sweep_goes_on_where_it_was_told_to_stop(
    turn: int, server: Server, tmp_path: Path, rng: random.Random, tally: Callable
) -> None:
    command = (*words("autoencoder", epochs=2, figures=0), "seed=0,1,2", "-m")
    number = NUMBERS[turn % 4]
    done = server.run(tmp_path, *command, signals=[(rng.uniform(0.0, 2.5), number)])
    quiet(done.said)
    assert right(done.code, number, bool(done.said)), (done.code, done.said)
    if done.code:
        tally(f"{signal.Signals(number).name.removeprefix('SIG')} in a sweep")
    sweeps = list(tmp_path.glob("outputs/*/*"))
    if not sweeps:
        return
    (sweep,) = sweeps
    states = [
        run_folder.read_json(cell / run_folder.RUN)["status"] for cell in run_folder.cells(sweep)
    ]
    assert len(states) == 3
    assert set(states) <= {"finished", "interrupted"}
    done = server.run(tmp_path, "sweep", "resume", str(sweep.relative_to(tmp_path)))
    assert done.code == 0, done.said
    assert {
        run_folder.read_json(c / run_folder.RUN)["status"] for c in run_folder.cells(sweep)
    } == {"finished"}
