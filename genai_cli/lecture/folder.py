"""Read and write a lecture's folder: lecture.json and one outputs folder for each item.

In the outputs folder of its own ``latest`` is what the item's last command made, whatever else is
trained on this machine meanwhile.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genai_cli.config.values import refuse_interpolation
from genai_cli.errors import UserError, nearest
from genai_cli.lecture.plan import Item
from genai_cli.store import outputs as output_folders
from genai_cli.store import run_folder
from genai_cli.store.links import refuse_links
from genai_cli.system import atomic_write
from genai_cli.system.file_lock import is_locked

LABEL = "lecture"
LOG = "lecture.log"
SCHEMA = 1


@dataclass
class Command:
    """One command of an item."""

    code: int | None = None  # None: it has not come to its end
    seconds: float = 0.0
    made: list[str] = field(default_factory=list)  # runs and sweeps, below the item's folder


@dataclass
class ItemState:
    """State of one item."""

    name: str
    folder: str
    commands: list[Command]
    left_out: list[str] = field(default_factory=list)  # words of the user
    status: str = "waiting"  # running finished failed interrupted

    @property
    def seconds(self) -> float:
        return sum(command.seconds for command in self.commands)


@dataclass
class State:
    """Content of lecture.json."""

    command: str  # as typed
    names: list[str]
    changes: list[str]
    parts: list[ItemState]
    started: str
    finished: str | None = None
    status: str = "running"  # finished failed interrupted


def new_state(
    command: str, names: Sequence[str], changes: Sequence[str], items: list[Item]
) -> State:
    """Create the state of a lecture that has not begun."""
    parts = []
    for i, item in enumerate(items, 1):
        name = f"{i:02d}-{run_folder.slug(item.experiment.name.rpartition('/')[2])}"
        commands = [Command() for _ in item.words]
        parts.append(ItemState(item.experiment.name, name, commands, [*item.left_out]))
    return State(command, [*names], [*changes], parts, run_folder.now())


def write(folder: Path, state: State) -> None:
    atomic_write.write_json(folder / output_folders.LECTURE, {"schema": SCHEMA} | asdict(state))


def read(folder: Path) -> State:
    """Read the state of a lecture's folder; its text is treated as untrusted data.

    Raises:
        UserError: lecture.json is damaged, or a newer version's.
    """
    path = folder / output_folders.LECTURE
    content = run_folder.read_json(path)
    try:
        if content.pop("schema") > SCHEMA:
            raise UserError(f"{folder} was made by a newer version of genai; update genai-cli")
        state = State(**content)
        state.parts = [_parse_item(part) for part in state.parts]
        lists = (state.names, state.changes, *(part.left_out for part in state.parts))
        texts = (state.command, state.status, state.started, *(p.status for p in state.parts))
        if not all(isinstance(w, str) for w in itertools.chain(texts, *lists)):
            raise TypeError
    except (KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is damaged; start a new one: genai lecture") from None
    return state


def _parse_item(content: Mapping[str, Any]) -> ItemState:
    part = ItemState(**content)
    part.commands = [Command(**command) for command in part.commands]
    if part.folder != run_folder.slug(part.folder) or not isinstance(part.name, str):
        raise TypeError
    for command in part.commands:
        command.seconds = float(command.seconds)
        if not all(isinstance(m, str) and ".." not in m.split("/") for m in command.made):
            raise TypeError
    return part


def refuse_untrusted(folder: Path, state: State) -> None:
    """Refuse a lecture.json, which may be a stranger's, that would write outside its folder.

    Raises:
        UserError: a word that leads elsewhere or looks something up; a link in the place of a file.
    """
    path = folder / output_folders.LECTURE
    refuse_interpolation(state.changes, path)
    for word in state.changes:
        key, equals, _ = word.partition("=")
        if not equals or key.startswith("-") or key == "outputs":
            raise UserError(f"{path}: '{word}' is no word of a lecture; start a new one")
    homes = [folder / part.folder for part in state.parts]
    days = [
        day for home in homes for day in output_folders.list_matching(home, output_folders.DAYS)
    ]
    for path_to_check in (folder, *homes, *days):
        refuse_links(path_to_check)


def read_status(folder: Path, state: State) -> str:
    """Return the status; a lecture marked running without a live process has died."""
    if state.status != "running":
        return state.status
    return "running" if is_running(folder) else "died"


def is_running(folder: Path) -> bool:
    """Return whether a process is running the lecture now."""
    try:
        with open(folder / LOG, encoding="utf-8") as file:
            return is_locked(file)
    except OSError:
        return False


def find(reference: str, outputs: str | None = None) -> Path:
    """Find a lecture by its path, its folder's suffix or name, or ``latest``.

    Raises:
        UserError: nothing, or more than one folder, answers to it.
    """
    if output_folders.is_lecture(Path(reference)):
        return Path(reference)
    root = run_folder.outputs_root(outputs)
    lectures = output_folders.lectures(root)
    if reference == "latest" and lectures:
        return lectures[-1]
    named = [p for p in lectures if reference in (p.name, p.name.rsplit("-", 1)[-1])]
    if len(named) == 1:
        return named[0]
    if named:
        raise UserError(f"'{reference}' means {len(named)} lectures; give more of the path")
    near = nearest(reference, [p.name.rsplit("-", 1)[-1] for p in lectures])
    searched = root.absolute()
    raise UserError(
        f"no lecture '{reference}' in {searched}{near}; start one with: genai lecture all"
    )


def list_made(item: Path) -> list[str]:
    """Return the runs, sweeps and comparisons in an item's folder, oldest first."""
    return [str(path.relative_to(item)) for path in output_folders.folders(item)]
