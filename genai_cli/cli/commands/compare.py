"""`genai compare RUN… | SWEEP` ranks runs that were measured with the same protocol."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genai_cli.cli.arguments import CompareRequest, keys_of, parse_arguments, parse_keys
from genai_cli.comparison import render
from genai_cli.comparison.output import (
    FOLDER,
    make_output_folder,
    remove_stale_figures,
    write_error,
)
from genai_cli.comparison.read import Run, read, settings_of
from genai_cli.comparison.rows import Comparison
from genai_cli.comparison.table import compare
from genai_cli.config import validation
from genai_cli.errors import UserError, nearest
from genai_cli.store import lookup, run_folder
from genai_cli.system import atomic_write

FORMS = {"md": render.markdown, "csv": render.comma_separated, "json": render.json_text}
HARDWARE_KEYS = ("device", "batch_size", "options")  # of an evaluation, and no part of its settings


@dataclass
class EvaluationFilter:
    """Selects evaluations by their settings, and keeps the words that gave them."""

    words: list[str]
    settings: dict[str, Any]  # as they are stored


def main(args: list[str]) -> int:
    """Compare runs; 0 done, 1 an evaluation failed, 2 a mistake, 130 or 143 stopped."""
    names, request, words = parse_arguments(args, "compare", CompareRequest, others=True)
    form = _form(request)
    wanted = _filter(words)
    matches = {name: lookup.find_all(name, request.outputs) for name in names}
    folders = [folder for members in matches.values() for folder in members]
    code = 0
    if request.evaluate:
        code = evaluate(folders, wanted, form, validation.figure_keys(request))
        if code > 1:
            return code
    _check_keys(wanted, folders)
    comparison = compare(folders, request.seeds == "apart", wanted.settings)
    target = make_output_folder(folders, request.out, request.outputs)
    try:
        for ending, text in FORMS.items():
            atomic_write.write_text(target / f"compare.{ending}", text(comparison))
        if request.out is None and target.name == FOLDER:
            remove_stale_figures(target, comparison, every=not request.no_figures)
    except OSError as error:
        raise write_error(target, error) from None
    print((FORMS[form] if form else render.render_text)(comparison).rstrip("\n"), flush=True)
    pictures = (
        []
        if request.no_figures
        else plot_figures(target, comparison, validation.figure_keys(request))
    )
    stream = sys.stderr if form else sys.stdout
    for path in pictures:
        print(f"  {path}", file=stream)
    print(f"{target}", file=stream)
    return code


def _form(request: CompareRequest) -> str | None:
    """Return the format that replaces the tables, or None."""
    forms = [form for form in FORMS if getattr(request, form)]
    if len(forms) > 1:
        flags = " and ".join(f"--{form}" for form in forms)
        raise UserError(f"{flags} together; print one of them (all are written)")
    return forms[0] if forms else None


def _filter(words: list[str]) -> EvaluationFilter:
    """Parse and check the keys of `genai evaluate` on the line."""
    if not words:
        return EvaluationFilter([], {})
    from genai_cli.evaluation.request import EvaluateRequest

    request = parse_keys(words, "compare", EvaluateRequest)
    keys = [word.partition("=")[0] for word in words]
    settings = {k: v for k, v in vars(request).items() if k in keys and k not in HARDWARE_KEYS}
    return EvaluationFilter(words, settings | request.options)


def _check_keys(wanted: EvaluationFilter, folders: Sequence[Path]) -> None:
    """Refuse keys that are no setting of any evaluation of these runs."""
    if not wanted.words:
        return
    evaluations = [(run, e) for run in map(read, folders) for e in run.evaluations]
    known = set(keys_of("evaluate"))
    for _, evaluation in evaluations:
        options = settings_of(evaluation).get("options")
        known |= set(options) if isinstance(options, dict) else set()
    for key in (word.partition("=")[0] for word in wanted.words):
        if key not in known:
            near = nearest(key, [*known, *keys_of("compare")])
            raise UserError(f"unknown key '{key}'{near} (see genai compare --help)")
    if not any(run.matches(e, wanted.settings) for run, e in evaluations):
        text = " ".join(f"{k}={v}" for k, v in wanted.settings.items())
        raise UserError(f"no evaluation of these runs has {text}; add --evaluate to make it")


def evaluate(
    folders: Sequence[Path], wanted: EvaluationFilter, form: str | None, figures: Mapping[str, Any]
) -> int:
    """Run `genai evaluate` for each run that lacks such an evaluation; return the worst exit code.

    What it prints goes to stderr where stdout is for a program.
    """
    lacking = []
    for run in map(read, dict.fromkeys(folders)):
        if _evaluated(run, wanted.settings):
            continue
        if (run.path / run_folder.CHECKPOINTS).is_dir():
            lacking.append(str(run.path))
        else:
            print(f"note: {run.reference} is {run.status} and has no weights to evaluate",
                  file=sys.stderr)  # fmt: skip
    if not lacking:
        return 0
    words = ["--brief", *wanted.words, *(f"{key}={value}" for key, value in figures.items())]
    with contextlib.redirect_stdout(sys.stderr) if form else contextlib.nullcontext():
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


def plot_figures(folder: Path, comparison: Comparison, figures: dict[str, Any]) -> list[Path]:
    """Draw the figures last, because this imports torch."""
    pictures = importlib.import_module("genai_cli.comparison.pictures")
    return pictures.draw(folder, comparison, True, figures)
