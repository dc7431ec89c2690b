"""A clock that is set back: seconds never run backward, and a resumed run is the run."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from genai_cli.runner.console import Reporter
from genai_cli.store import lookup, run_folder

pytestmark = pytest.mark.usefixtures("undrawn")

WORDS = ("train", "model=mlp", "epochs=4", "dataset.limit=60", "batch_size=32",
         "trainer.save_every=1", "trainer.figures_every=0")  # fmt: skip


class Back(datetime):
    """Each look at it is five hours earlier than the one before."""

    hours = 0

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        cls.hours += 5
        return datetime.now(tz) - timedelta(hours=cls.hours)


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_clock_set_back_in_a_run_and_between_its_sessions(
    genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = genai(*WORDS, "name=whole").folders[0]
    monkeypatch.setattr(run_folder, "datetime", Back)
    monkeypatch.setattr("time.time", lambda: -1e9 * Back.hours)
    plain = Reporter.step

    def dying(self: Reporter, now: object) -> None:
        plain(self, now)
        if now.step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Reporter, "step", dying)
        assert genai(*WORDS, "name=cut").code == 130
    folder = next(f for f in genai("runs").folders if "-cut-" in f.name)
    before = float(rows(folder)[-1]["seconds"])
    assert genai("resume", folder.name[-4:]).code == 0
    found = rows(folder)
    seconds = [float(row.pop("seconds")) for row in found]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] <= before
    assert found == [{k: v for k, v in row.items() if k != "seconds"} for row in rows(whole)]
    assert run_folder.read_json(folder / "summary.json")["seconds"] >= seconds[-1]
    described = run_folder.read_json(folder / "run.json")
    assert described["finished"] < described["started"]  # it did run backward
    for verb in (("runs",), ("report", str(folder)), ("resume", str(folder))):
        assert genai(*verb).code == 0
    # the newest start time, by contract: the one that the clock calls newest
    assert lookup.find("latest") == whole.relative_to(whole.parents[2])
