"""`genai lecture` lists the lecture's experiments, or runs them one after the other."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from genai_cli.errors import UserError

if TYPE_CHECKING:
    from genai_cli.lecture.folder import State
    from genai_cli.lecture.plan import Item

USAGE = "genai lecture all|quick|CHAPTER|NAME… [KEY=VALUE …]"
FILE = "report.html"


def main(args: list[str]) -> int:
    """List, run or go on: 0 done, 1 an experiment failed, 2 a mistake, 130 or 143 stopped."""
    for flag in (a for a in args if a.startswith("-")):
        raise UserError(f"unknown flag '{flag}'; type: {USAGE}")
    names = [a for a in args if "=" not in a or Path(a).is_dir()]
    words = [a for a in args if a not in names]
    given = [word.partition("=")[0] for word in words]
    for key in given:
        if given.count(key) > 1:
            raise UserError(f"{key} is given twice; keep one")
    outputs = next((w.partition("=")[2] for w in words if w.startswith("outputs=")), None)
    changes = [w for w in words if not w.startswith("outputs=")]
    if names[:1] == ["resume"]:
        return resume(names[1:], changes, outputs)
    if not names:
        if changes or outputs is not None:
            raise UserError(f"name what to run: {USAGE}; genai lecture lists it")
        print("\n".join(list_experiments()))
        return 0
    return start(names, changes, outputs, shlex.join(["genai", "lecture", *args]))


def list_experiments() -> list[str]:
    """List every experiment with its question and commands, by chapter."""
    from genai_cli.lecture.chapters import list_experiments

    lines: list[str] = []
    title = ""
    for each in list_experiments():
        if each.chapter.title != title:
            title = each.chapter.title
            lines += [*([""] * bool(lines)), f"{title}  (genai lecture {each.chapter.key})"]
        lines += ["", f"  {each.name}"]
        try:
            read = each.header
        except UserError as error:  # one's own file, which does not keep the others from showing
            lines.append(f"    {error}")
            continue
        lines += [f"    {read.question}", *(f"      {command}" for command in read.commands)]
    return [*lines, "", "genai lecture all runs them in this order, genai lecture NAME one of them"]


def start(names: list[str], changes: list[str], outputs: str | None, command: str) -> int:
    """Plan all experiments, claim a folder and run them."""
    from genai_cli.lecture import folder
    from genai_cli.lecture.chapters import select_experiments
    from genai_cli.lecture.plan import plan
    from genai_cli.store import run_folder

    items = plan(select_experiments(names), changes)
    path = run_folder.claim(run_folder.outputs_root(outputs), folder.LABEL)
    state = folder.new_state(command, names, changes, items)
    folder.write(path, state)
    for line in left_out(items):
        print(line)
    return _play(path, state, items)


def left_out(items: list[Item]) -> list[str]:
    """Explain which changes an experiment does not take, one line for each reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for item in items:
        for change, why in item.left_out.items():
            reasons.setdefault((change, why), []).append(item.experiment.name)
    return [
        f"{change} is left out of {', '.join(names)}: {why}"
        for (change, why), names in reasons.items()
    ]


def resume(names: list[str], changes: list[str], outputs: str | None) -> int:
    """Run the unfinished experiments of a lecture."""
    from genai_cli.lecture import folder
    from genai_cli.lecture.chapters import select_experiments
    from genai_cli.lecture.plan import plan

    if len(names) != 1:
        raise UserError("name one lecture: genai lecture resume DIR (a path, a suffix or latest)")
    if changes:
        raise UserError(f"{changes[0]} is not for a lecture that has begun; start a new one")
    path = folder.find(names[0], outputs)
    state = folder.read(path)
    folder.refuse_untrusted(path, state)
    items = plan(select_experiments(state.names), state.changes)
    if [i.experiment.name for i in items] != [p.name for p in state.parts]:
        raise UserError(f"the lecture has other experiments than {path} began with; start anew")
    for item, part in zip(items, state.parts, strict=True):
        if len(part.commands) != len(item.words):
            raise UserError(f"{part.name} has other commands than {path} began with; start anew")
    if all(part.status == "finished" for part in state.parts):
        print(f"{path} is finished: nothing left to do")
        return 0
    return _play(path, state, items)


def _play(path: Path, state: State, items: list[Item]) -> int:
    from genai_cli.lecture.finding import summarize
    from genai_cli.lecture.play import LectureRunner

    many = f"{len(items)} experiment{'s' * (len(items) > 1)}"
    print(f"lecture  {path}  ({many})", flush=True)
    player = LectureRunner(path, state, items)
    player.describe = lambda part: summarize(path / part.folder, part)
    code = player.play()
    write_page(path)
    if code:
        print(f"to go on: genai lecture resume {path.name.rsplit('-', 1)[-1]}")
    return code


def write_page(path: Path) -> None:
    """Write report.html of a lecture and print its path."""
    from genai_cli.report.lecture_page import lecture_page
    from genai_cli.system import atomic_write

    text = lecture_page(path)
    atomic_write.write_text(path / FILE, text)
    print(f"report   {path / FILE} ({len(text.encode()) / 1e6:.1f} MB, whole in itself)")
