"""Submit jobs to Slurm: sheets of cells and their batch scripts, in FOLDER/slurm.

A sheet is written, with a name that no other job has, before sbatch is asked. So a job whose
number never came back (a controller that is busy, a process that was killed) is found again, and
no cell is submitted twice.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import shutil
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.errors import UserError
from genai_cli.launchers import queue
from genai_cli.launchers.script import render_script
from genai_cli.launchers.settings import Slurm
from genai_cli.launchers.share import needs
from genai_cli.store import run_folder
from genai_cli.store.outputs import list_matching
from genai_cli.system import atomic_write

Job = Sequence[Path]  # the cells of one task


class Array(NamedTuple):
    """Tasks of one Slurm job number."""

    number: str
    jobs: list[Job]

    def name(self, task: int) -> str:
        return self.number if len(self.jobs) == 1 else f"{self.number}_{task}"


class Submitted(NamedTuple):
    """Result of a submission."""

    arrays: list[Array]
    left: list[Job]  # that Slurm did not take
    why: str  # it did not, or ""


def submit(folder: Path, jobs: Sequence[Job], launcher: Slurm) -> Submitted:
    """Submit jobs as one array, or as several where MaxArraySize is smaller.

    Several arrays of a sweep with ``parallel`` wait for each other, so that together they keep to
    it. Where Slurm takes only so many jobs of a user, as many as it takes are handed in.

    Raises:
        UserError: it takes none (`queue.Refused`), or does not say (`queue.Unanswered`).
    """
    most = queue.read_max_array_size() if len(jobs) > 1 else 1
    waiting = deque(list(jobs[i : i + most]) for i in range(0, len(jobs), most))
    arrays: list[Array] = []
    while waiting:
        part = waiting.popleft()
        after = arrays[-1].number if arrays and launcher.parallel else None
        try:
            arrays.append(Array(_submit_array(folder, part, launcher, after), part))
        except (queue.Refused, queue.Unanswered) as error:
            half = len(part) // 2
            if half and isinstance(error, queue.Refused) and error.too_many:
                waiting.extendleft([part[half:], part[:half]])
                continue
            if not arrays:
                raise
            return Submitted(arrays, [job for rest in (part, *waiting) for job in rest], str(error))
    return Submitted(arrays, [], "")


def _submit_array(folder: Path, jobs: Sequence[Job], launcher: Slurm, after: str | None) -> str:
    """Write sheet and script, and submit them; the job's number."""
    sheets = folder.resolve() / "slurm"
    sheets.mkdir(exist_ok=True)
    taken = [
        int(p.stem) for p in list_matching(sheets, "*.json") if re.fullmatch("[0-9]{1,9}", p.stem)
    ]
    sheet = sheets / f"{max(taken, default=-1) + 1:03d}.json"  # one may have been removed by hand
    name = f"genai-{folder.resolve().name.rpartition('-')[2]}-{secrets.token_hex(4)}"
    names = [[os.path.relpath(cell, folder) for cell in job] for job in jobs]
    content = {"schema": run_folder.SCHEMA, "name": name, "job": None, "jobs": names}
    atomic_write.write_json(sheet, content)
    ranks = needs(cell for job in jobs for cell in job).ranks // launcher.nodes
    text = render_script(launcher, sheet, len(jobs), name, ranks, after)
    atomic_write.write_text(sheet.with_suffix(".sh"), text)
    try:
        number = queue.submit(text, name)
    except queue.Refused:
        sheet.unlink()
        sheet.with_suffix(".sh").unlink()
        raise
    atomic_write.write_json(sheet, content | {"job": number})
    return number


def list_queued(folder: Path) -> dict[Path, str]:
    """Return the cells of a sweep that are queued or running in Slurm, and the job of each.

    A machine without Slurm's commands has a copy of the folder, which no job trains.

    Raises:
        UserError: Slurm does not answer, so that nobody knows.
    """
    cells: dict[Path, str] = {}
    sheets = list_matching(folder / "slurm", "*.json")
    if sheets and not shutil.which("squeue"):
        print(f"note: no Slurm here: no job of {folder / 'slurm'} is looked for", file=sys.stderr)
        return cells
    for path in sheets:
        sheet = run_folder.read_json(path)
        number = sheet.get("job") or _recover_number(path, sheet)
        if not number:
            continue
        states = queue.read_states(str(number))
        if states is None:
            raise _unanswered_error(f"job {number}", path)
        for task, (state, _) in states.items():
            if state not in queue.FINAL_STATES:
                cells |= {(folder / name).resolve(): str(number) for name in sheet["jobs"][task]}
    return cells


def refuse_queued(run: Path) -> None:
    """Refuse to resume a run here while a Slurm job is to train it.

    Raises:
        UserError: it is queued or running there, or nobody knows.
    """
    for folder in (run, run.parent):  # a run alone, a cell of a sweep
        number = list_queued(folder).get(run.resolve())
        if number:
            raise UserError(
                f"{run} is in Slurm's queue, job {number}; wait for it, or type first: "
                f"scancel {number}"
            )


def _recover_number(path: Path, sheet: Mapping[str, Any]) -> str:
    """The number of a job that was handed in, as its sheet does not know; "" if it was not."""
    name = sheet.get("name")
    if not name:
        return ""
    number = queue.find_job(str(name))
    if number is None:
        raise _unanswered_error(f"job {name}", path)
    if number:
        atomic_write.write_json(path, {**sheet, "job": number})
    return number


def _unanswered_error(job: str, sheet: Path) -> UserError:
    return UserError(
        f"squeue does not answer for {job}, which may still be queued; try again when it does, or "
        f"if you know that the job is over type first: rm {shlex.quote(str(sheet))}"
    )
