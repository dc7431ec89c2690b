"""`genai compare RUN… | SWEEP`: which model is right for which use, side by side on one ruler."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genai_cli.comparison import render
from genai_cli.comparison.read import Run, newest_number, read, settings_of
from genai_cli.comparison.rows import Comparison
from genai_cli.comparison.table import compare
from genai_cli.config.signatures import checked
from genai_cli.config.validation import FIGURES
from genai_cli.config.values import read_value
from genai_cli.errors import UserError, nearest
from genai_cli.store import lookup, run_folder
from genai_cli.system import atomic_write

FLAGS = ("--evaluate", "--md", "--csv", "--json", "--no-figures")
FORMS = {"--md": render.markdown, "--csv": render.comma_separated, "--json": render.json_text}
FILES = {"compare.md": render.markdown, "compare.csv": render.comma_separated,
         "compare.json": render.json_text}  # fmt: skip
SETTINGS = ("n", "sets", "features", "seed", "k", "draws", "checkpoint", "ema", "only")
HOW = ("device", "batch_size")  # of an evaluation, and no part of its settings
FOLDER = "compare"  # in a sweep


@dataclass
class Asked:
    """A line of `genai compare`."""

    references: list[str] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)  # of the evaluations
    apart: bool = False
    out: str | None = None
    outputs: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)  # what the line has of FIGURES

    @property
    def form(self) -> str | None:
        return next((flag for flag in self.flags if flag in FORMS), None)


def main(args: list[str]) -> int:
    """Compare; 0 done, 1 an evaluation failed, 2 a mistake, 130 or 143 stopped."""
    ask = parse(args)
    found = {ref: lookup.find_all(ref, ask.outputs) for ref in ask.references}
    folders = [folder for members in found.values() for folder in members]
    code = 0
    if "--evaluate" in ask.flags:
        code = evaluate(folders, ask)
        if code > 1:
            return code
    _check_keys(ask, folders)
    comparison = compare(folders, ask.apart, _values(ask))
    place = _place(folders, ask)
    try:
        for name, form in FILES.items():
            atomic_write.write_text(place / name, form(comparison))
        if ask.out is None and place.name == FOLDER:
            _clear(place, comparison, every="--no-figures" not in ask.flags)
    except OSError as error:
        raise _refused(place, error) from None
    print((FORMS[ask.form] if ask.form else render.plain)(comparison).rstrip("\n"), flush=True)
    pictures = [] if "--no-figures" in ask.flags else draw(place, comparison, ask.figures)
    stream = sys.stderr if ask.form else sys.stdout
    for path in pictures:
        print(f"  {path}", file=stream)
    print(f"{place}", file=stream)
    return code


def parse(args: Sequence[str]) -> Asked:
    """The words of a line.

    Raises:
        UserError: an unknown flag, a key given twice, no run.
    """
    ask = Asked()
    for word in args:
        key, equals, value = word.partition("=")
        if word.startswith("-"):
            if word not in FLAGS:
                raise UserError(f"unknown flag '{word}'{nearest(word, FLAGS)} (see --help)")
            ask.flags.append(word)
        elif not equals or Path(word).exists():
            ask.references.append(word)
        elif (
            key in ask.keys
            or key in ask.figures
            or (key in ("out", "outputs") and getattr(ask, key) is not None)
        ):
            raise UserError(f"{key} is given twice; keep one")
        elif key in ("out", "outputs"):
            if not value:
                raise UserError(f"{key}= names no folder; type {key}=DIR")
            setattr(ask, key, value)
        elif key in FIGURES:
            ask.figures[key] = checked(read_value(word, value), FIGURES[key], key)
        elif key == "seeds":
            if value not in ("apart", "together"):
                raise UserError(f"seeds={value} is not allowed: choose from apart, together")
            ask.apart = value == "apart"
        else:
            ask.keys[key] = value
    forms = [flag for flag in FORMS if flag in ask.flags]
    if len(forms) > 1:
        raise UserError(f"{' and '.join(forms)} together; print one of them (all are written)")
    if not ask.references:
        raise UserError("name runs or a sweep: genai compare RUN… (a path, a suffix or latest)")
    return ask


def _values(ask: Asked) -> dict[str, Any]:
    """The settings of evaluations to look at, as they are stored."""
    if not ask.keys:
        return {}
    settings = {key: text for key, text in ask.keys.items() if key not in HOW}
    values = {
        key: text if key in ("checkpoint", "features") else read_value(f"{key}={text}", text)
        for key, text in settings.items()
    }
    if isinstance(only := values.get("only"), str):  # one part is stored as a list of one, too
        values["only"] = [only]
    return values


def _check_keys(ask: Asked, folders: Sequence[Path]) -> None:
    """Every key is a setting of an evaluation; what no evaluation has is a mistake."""
    if not ask.keys:
        return
    found = [(run, e) for run in map(read, folders) for e in run.evaluations]
    options = [settings_of(e).get("options") for _, e in found]
    known = {
        *SETTINGS,
        *HOW,
        *(k for option in options if isinstance(option, dict) for k in option),
    }
    for key in ask.keys:
        if key not in known:
            taken = [*known, "out", "outputs", "seeds", *FIGURES]
            raise UserError(f"unknown key '{key}'{nearest(key, taken)} (see genai compare --help)")
    wanted = _values(ask)
    if not any(run.matches(e, wanted) for run, e in found):
        said = " ".join(f"{k}={v}" for k, v in wanted.items())
        raise UserError(f"no evaluation of these runs has {said}; add --evaluate to make it")


def evaluate(folders: Sequence[Path], ask: Asked) -> int:
    """`genai evaluate` for each run that lacks an evaluation so made; the worst of their codes.

    What it prints goes to stderr where stdout is for a program.
    """
    wanted = _values(ask)
    lacking = []
    for run in map(read, dict.fromkeys(folders)):
        if _evaluated(run, wanted):
            continue
        if (run.path / run_folder.CHECKPOINTS).is_dir():
            lacking.append(str(run.path))
        else:
            print(f"note: {run.reference} is {run.status} and has no weights to evaluate",
                  file=sys.stderr)  # fmt: skip
    if not lacking:
        return 0
    words = ["--brief", *(f"{k}={v}" for k, v in (ask.keys | ask.figures).items())]
    with contextlib.redirect_stdout(sys.stderr) if ask.form else contextlib.nullcontext():
        return _each(
            importlib.import_module("genai_cli.cli.commands.evaluate").main, lacking, words
        )


def _each(main: Callable[[list[str]], int], folders: Sequence[str], words: Sequence[str]) -> int:
    """All in one call, which then reads the real examples once; if one of them is refused before
    the others start, one by one without it."""
    try:
        return main([*folders, *words]) or 0
    except UserError:
        if len(folders) == 1:
            raise
    worst = 0
    refused: list[UserError] = []
    for folder in folders:
        try:
            code = main([folder, *words]) or 0
        except UserError as error:
            refused.append(error)
            print(f"genai compare: {folder} not evaluated: {error}", file=sys.stderr)
            code = 1
        if code > 1:
            return code
        worst = max(worst, code)
    if len(refused) == len(folders):
        raise refused[0]
    return worst


def _evaluated(run: Run, wanted: dict[str, Any]) -> bool:
    if not wanted:
        return run.complete
    return any(run.matches(e, wanted) and not run.stale(e) for e in run.evaluations)


def _place(folders: Sequence[Path], ask: Asked) -> Path:
    """Where the files go: out=DIR, the compare folder of one sweep, or a new folder.

    Raises:
        UserError: it cannot be made.
    """
    sweep = folders[0].resolve().parent
    if ask.out is not None:
        place = Path(ask.out)
    elif len(folders) > 1 and run_folder.is_sweep(sweep) and _whole(sweep, folders):
        place = folders[0].parent / FOLDER
    else:
        return run_folder.claim(run_folder.outputs_root(ask.outputs), FOLDER)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(place, error) from None
    return place


def _whole(sweep: Path, folders: Sequence[Path]) -> bool:
    """Whether these are all cells of a sweep: the folder in it, which its report shows, is of no
    fewer."""
    return {folder.resolve() for folder in folders} == set(run_folder.cells(sweep))


def _clear(place: Path, comparison: Comparison, every: bool) -> None:
    """Remove figures of an earlier comparison in a sweep: all, or those older than a number of its
    runs. What else stands there is the user's."""
    newest = max((newest_number(run.path) for run in comparison.runs), default=0.0)
    for path in place.glob("*.png"):
        if every or path.stat().st_mtime < newest:
            for suffix in (".png", ".pdf", ".svg"):
                path.with_suffix(suffix).unlink(missing_ok=True)


def _refused(place: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"cannot write into {place}: {reason}; set out=DIR")


def draw(place: Path, comparison: Comparison, figures: dict[str, Any]) -> list[Path]:
    """The figures; imports torch, so it comes last."""
    pictures = importlib.import_module("genai_cli.comparison.pictures")
    return pictures.draw(place, comparison, True, figures)
