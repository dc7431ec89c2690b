"""Run a lecture: every command in a process of its own, as if typed, in its item's folder.

GENAI_OUTPUTS says where that is, so a command stands in run.json as its header has it. One item
that fails does not stop the others. A signal is handed to the command at work, which saves itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from genai_cli.errors import UserError
from genai_cli.lecture import folder as folders
from genai_cli.lecture import header
from genai_cli.lecture.folder import Command, ItemState, State
from genai_cli.lecture.plan import Item
from genai_cli.store import run_folder
from genai_cli.system.atomic_write import append
from genai_cli.system.file_lock import LocksUnsupported, lock
from genai_cli.system.signals import exit_code, handle_signals
from genai_cli.system.subprocesses import python_command

COMMANDS_LOG = "commands.log"  # in an item's folder: what its commands printed
PROMPT = "$ genai "
POLL = 0.5  # seconds between two looks at a run that another process still trains


class LectureRunner:
    """Runs the commands of one lecture.

    Args:
        folder: its folder.
        state: as it stands; kept current in lecture.json.
        items: what was planned, one for each part of the state.
    """

    def __init__(self, folder: Path, state: State, items: Sequence[Item]) -> None:
        self.folder, self.state, self.items = folder, state, items
        self.code = 0  # of the signal that came
        self.child: subprocess.Popen[bytes] | None = None
        self.describe: Callable[[ItemState], str] = lambda part: part.status

    def play(self) -> int:
        """Run the unfinished items and return the exit code.

        Raises:
            UserError: another process is at work in the folder.
        """
        with open(self.folder / folders.LOG, "a", encoding="utf-8") as log:
            try:
                if not lock(log):
                    raise UserError(f"another process is at work in {self.folder}")
            except LocksUnsupported:  # a second process would not be kept out
                pass
            with handle_signals(self._heard):
                return self._play()

    def _play(self) -> int:
        self._now("running")
        n = len(self.items)
        for i, (item, part) in enumerate(zip(self.items, self.state.parts, strict=True), 1):
            if self.code or part.status == "finished":
                continue
            print(f"{i:3d}/{n}  {part.name:<34}", end="", flush=True)
            part.status = "running"
            folders.write(self.folder, self.state)
            self._item(item, part)
            line = f"{part.seconds:7.1f} s  {self.describe(part)}"
            print(line, flush=True)
            append(self.folder / folders.LOG, f"{i:3d}/{n}  {part.name:<34}{line}\n")
            folders.write(self.folder, self.state)
        bad = any(part.status != "finished" for part in self.state.parts)
        self._now("interrupted" if self.code else "failed" if bad else "finished")
        return self.code or int(bad)

    def _now(self, status: str) -> None:
        self.state.status = status
        self.state.finished = None if status == "running" else run_folder.now()
        folders.write(self.folder, self.state)

    def _item(self, item: Item, part: ItemState) -> None:
        """The commands of one item that are not done, until one fails."""
        home = self.folder / part.folder
        home.mkdir(exist_ok=True)
        fails = item.experiment.header.fails
        for command, typed, words in zip(part.commands, item.commands, item.words, strict=True):
            expected = int(fails and header.is_training(typed))
            if command.code == expected:
                continue
            known = {name for other in part.commands for name in other.made}
            began = time.monotonic()
            try:
                code = self._run(home, self._again(home, known, typed, command) or [*words])
            finally:
                command.seconds += round(time.monotonic() - began, 3)
                command.made += [name for name in folders.list_made(home) if name not in known]
            if self.code and code != expected:
                part.status = "interrupted"
                return
            command.code = code
            if code != expected:
                part.status = "failed"
                return
        part.status = "finished"

    def _again(self, home: Path, known: set[str], typed: str, command: Command) -> list[str]:
        """How a training goes on that was interrupted or killed; [] where it begins anew."""
        begun = [
            name for name in folders.list_made(home) if name not in known or name in command.made
        ]
        if command.code is not None or not begun or not header.is_training(typed):
            return []
        path = home / begun[-1]
        whole = (
            run_folder.cells(path)
            if run_folder.is_sweep(path)
            else [path] * run_folder.is_run(path)
        )
        while (
            any(map(run_folder.is_training, whole)) and not self.code
        ):  # what a killed lecture left at work
            time.sleep(POLL)
        if not whole:
            return []
        return (
            ["sweep", "resume", str(path)] if run_folder.is_sweep(path) else ["resume", str(path)]
        )

    def _run(self, home: Path, words: list[str]) -> int:
        """One command, its output in a file; the exit code, of one that was killed 128 + signal."""
        if self.code:
            return self.code
        with open(home / COMMANDS_LOG, "ab") as log:
            log.write(f"{PROMPT}{' '.join(words)}\n".encode())
            log.flush()
            self.child = subprocess.Popen(
                [*python_command("genai_cli"), *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"GENAI_OUTPUTS": str(home)},
                start_new_session=True,  # a terminal's Ctrl-C comes to us, and we hand it on once
            )
            if self.code:  # it came while the process was made
                self._pass_on()
            code = self.child.wait()
        self.child = None
        return code if code >= 0 else 128 - code

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self.code = exit_code(number)
        self._pass_on()

    def _pass_on(self) -> None:
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGINT if self.code == 130 else signal.SIGTERM)


def read_output(home: Path) -> list[tuple[str, list[str]]]:
    """Return (command without genai, its lines) of each command that ran in an item's folder."""
    try:
        text = (home / COMMANDS_LOG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    commands: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith(PROMPT) and line.removeprefix(PROMPT).strip():
            commands.append((line.removeprefix(PROMPT), []))
        elif commands and line.strip():
            commands[-1][1].append(line)
    return commands


def last_output_line(home: Path) -> str:
    """Return the last line that an item's last command printed: the reason of a failure."""
    commands = read_output(home)
    return commands[-1][1][-1].strip() if commands and commands[-1][1] else ""
