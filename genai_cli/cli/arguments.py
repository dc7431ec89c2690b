"""Declare and parse the command lines of the verbs that read run folders.

A dataclass declares what a verb takes: a field is a key (``n=64``; ``figures__scale`` is that of
``figures.scale=2``), and one of type ``bool`` a flag (``no_figures`` is ``--no-figures``). Its
annotation holds type, range, words and meaning, from which parsing, messages, ``--help`` and TAB
are made. Those of `genai sample`, `encode`, `evaluate` and `audit` stand in the rooms that use
them; no module that declares one imports torch.

argparse and click were looked at: they know ``--key value``, not ``key=value`` as Hydra reads it.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from genai_cli.audit.request import AuditRequest
from genai_cli.cli.command_table import USAGE
from genai_cli.config.catalog import Key
from genai_cli.config.schema import Figures, FiguresScale
from genai_cli.config.signatures import DEVICES, Help, NonNegative, OneOf, Outputs, validate
from genai_cli.config.values import read_value
from genai_cli.errors import UserError, in_one_line, listing, nearest
from genai_cli.evaluation.request import EvaluateRequest
from genai_cli.sampling.request import EncodeRequest, SampleRequest
from genai_cli.system.signals import handle_signals, raise_exit

SEVERAL = ("evaluate", "audit", "compare", "doctor")  # verbs that take several runs
SWEEPS = (*SEVERAL, "report")  # verbs that take a sweep


@dataclass
class ResumeRequest:
    """Holds the keys of `genai resume`, besides those of the run's config."""

    outputs: Outputs = None
    measure: Annotated[
        str | None,
        OneOf({"all": ""}),
        Help("measure the whole test split, however long it takes", "all"),
    ] = None


@dataclass
class ReplayRequest:
    """Holds the keys of `genai replay`."""

    precision: Annotated[
        str | None,
        OneOf(dict.fromkeys(("fp32", "bf16", "fp64"), "")),
        Help("or fp32, bf16: a second opinion; the run's own if not given", "fp64"),
    ] = None
    outputs: Outputs = None


@dataclass
class ReproduceRequest:
    """Holds the keys of `genai reproduce`."""

    rtol: Annotated[
        NonNegative,
        Help("difference within tolerance, as a share of the largest value of its column", "1e-3"),
    ] = 1e-3
    device: Annotated[str | None, DEVICES, Help("another device than the run's", "NAME")] = None
    outputs: Annotated[
        Outputs,
        Help("where the runs are and the new one goes, if not ./outputs or $GENAI_OUTPUTS", "DIR"),
    ] = None


@dataclass
class ReportRequest:
    """Holds the keys and flags of `genai report`."""

    out: Annotated[
        str | None, Help("where to; report.html in the folder if not given", "FILE.html")
    ] = None
    outputs: Outputs = None
    no_figures: Annotated[
        bool, Help("of a sweep: do not draw what genai compare would draw; this loads no model")
    ] = False


@dataclass
class CompareRequest:
    """Holds the keys and flags of `genai compare`, besides the keys of `genai evaluate`."""

    seeds: Annotated[
        str,
        OneOf({"together": "mean and interval", "apart": "a row each"}),
        Help("runs alike but for their seed are a row, with mean and interval; or apart"),
    ] = "together"
    out: Annotated[str | None, Help("where the files go", "DIR")] = None
    outputs: Outputs = None
    figures: Figures = None
    figures__scale: FiguresScale = None
    evaluate: Annotated[bool, Help("run genai evaluate first, for each run that lacks it")] = False
    md: Annotated[bool, Help("print Markdown instead of the tables, and nothing else")] = False
    csv: Annotated[bool, Help("print CSV instead of the tables, and nothing else")] = False
    json: Annotated[bool, Help("print JSON instead of the tables, and nothing else")] = False
    no_figures: Annotated[bool, Help("tables alone, without loading a model")] = False


@dataclass
class DoctorRequest:
    """Holds the keys and flags of `genai doctor`."""

    outputs: Outputs = None
    json: Annotated[
        bool, Help("for scripts: phrase, evidence, confidence, since, command, advice")
    ] = False


@dataclass
class RunsRequest:
    """Holds the keys and flags of `genai runs`, besides the filters."""

    outputs: Outputs = None
    all: Annotated[bool, Help("all of them, not only the newest 20")] = False
    json: Annotated[bool, Help("for scripts")] = False


@dataclass
class PruneRequest:
    """Holds the keys and flags of `genai runs prune`, besides the filters."""

    outputs: Outputs = None
    yes: Annotated[bool, Help("do it: without --yes, prune only says what it would remove")] = False


REQUESTS: dict[str, type] = {  # of the verbs that read run folders, and of `runs prune`
    "resume": ResumeRequest,
    "reproduce": ReproduceRequest,
    "replay": ReplayRequest,
    "sample": SampleRequest,
    "evaluate": EvaluateRequest,
    "encode": EncodeRequest,
    "audit": AuditRequest,
    "compare": CompareRequest,
    "report": ReportRequest,
    "doctor": DoctorRequest,
    "runs": RunsRequest,
    "prune": PruneRequest,
}


class Field(NamedTuple):
    """Describes a key or a flag of a verb, as its annotation declares it."""

    hint: Any
    default: Any
    help: Help
    is_flag: bool


def fields_of(request: type) -> dict[str, Field]:
    """Return the keys and flags of a request by name, but ``options``, which a family declares."""
    hints = typing.get_type_hints(request, include_extras=True)
    fields = {}
    for each in dataclasses.fields(request):
        hint = hints[each.name]
        helps = [a for a in typing.get_args(hint) if isinstance(a, Help)]
        listed = [str(a) for a in typing.get_args(hint) if isinstance(a, OneOf)]
        text = helps[-1] if helps else Help("".join(listed))
        fields[each.name.replace("__", ".")] = Field(
            hint, each.default, text, _kinds(hint) == {bool}
        )
    fields.pop("options", None)
    return fields


def has_options(request: type) -> bool:
    """Tell whether a request takes keys that only some families have."""
    return any(each.name == "options" for each in dataclasses.fields(request))


def keys_of(verb: str) -> dict[str, Key]:
    """Return the keys of a verb with default and meaning, like `config.catalog` for a YAML file."""
    return {
        name: Key(field.help.value or str(field.default), field.help.text)
        for name, field in fields_of(REQUESTS[verb]).items()
        if not field.is_flag
    }


def flags_of(verb: str) -> dict[str, str]:
    """Return the flags of a verb with their meanings."""
    fields = fields_of(REQUESTS[verb]).items()
    return {_flag(name): field.help.text for name, field in fields if field.is_flag}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


class Arguments(NamedTuple):
    """Holds the parsed words that follow a verb."""

    names: list[str]  # of runs: paths, suffixes, latest
    request: Any  # of the class that was asked for
    others: list[str]  # key=value words of other keys


def parse_arguments(
    args: Sequence[str], verb: str, request: type, others: bool = False
) -> Arguments:
    """Parse the words after a verb into names of runs and a request; a path may hold an =.

    Args:
        args: the words behind the verb.
        verb: for messages, and for how many names it takes.
        request: declares the keys and flags.
        others: give other keys back. Without, they are a mistake, or options of a family where the
            request has ``options``.

    Raises:
        UserError: an unknown flag or key, a key given twice, a value that cannot be read or is not
            allowed, no name or too many.
    """
    flags = {_flag(name): name for name, field in fields_of(request).items() if field.is_flag}
    names, words, flag_values = [], [], {}
    for word in args:
        if word.startswith("-"):
            if word not in flags:
                near = nearest(word, flags)
                raise UserError(f"unknown flag '{word}'{near} (see genai {verb} --help)")
            flag_values[flags[word]] = True
        else:
            is_key = "=" in word and (verb == "runs" or not Path(word).exists())
            (words if is_key else names).append(word)
    if verb != "runs" and (not names or (len(names) > 1 and verb not in SEVERAL)):
        wanted = "a run or more" if verb in SEVERAL else "one run"
        raise UserError(f"name {wanted}: {USAGE[verb]} (a path, a suffix or latest)")
    known = fields_of(request)
    rest = [word for word in words if word.partition("=")[0] not in known] if others else []
    kept = [word for word in words if word not in rest]
    return Arguments(
        names, dataclasses.replace(parse_keys(kept, verb, request), **flag_values), rest
    )


def parse_keys(words: Sequence[str], verb: str, request: type) -> Any:
    """Build a request from ``key=value`` words; unknown keys go to ``options`` where it has them.

    Raises:
        UserError: an unknown key, one given twice, a value that cannot be read or is not allowed.
    """
    hints = {k: field.hint for k, field in fields_of(request).items() if not field.is_flag}
    values: dict[str, Any] = {}
    options: dict[str, Any] = {}
    keys = [word.partition("=")[0] for word in words]
    for key, word in zip(keys, words, strict=True):
        if keys.count(key) > 1:
            raise UserError(f"{key} is given twice; keep one")
        if key in hints:
            values[key.replace(".", "__")] = _value(word, hints[key])
        elif has_options(request):
            _refuse_empty(word)
            options[key] = read_value(word, word.partition("=")[2])
        else:
            near = nearest(key, hints)
            raise UserError(f"unknown key '{key}'{near} (genai {verb} takes {listing(hints)})")
    return request(**values, **({"options": options} if options else {}))


def _value(word: str, hint: Any) -> Any:
    """The value of ``key=value``: words as they stand, the rest as YAML, a list also without []."""
    key, _, text = word.partition("=")
    kinds = _kinds(hint)
    _refuse_empty(word)
    if text == "null" and type(None) in kinds:
        return None
    value = text if str in kinds else read_value(word, text)
    return validate([value] if list in kinds and isinstance(value, str) else value, hint, key)


def _refuse_empty(word: str) -> None:
    """Refuse ``key=`` without a value, as an unset variable of the shell leaves it."""
    if word.endswith("="):
        raise UserError(f"{word} is empty; give it a value or leave it out")


def _kinds(hint: Any) -> set[Any]:
    """The plain types of an annotation: ``{str, NoneType}`` of ``str | None``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _kinds(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return {kind for argument in arguments for kind in _kinds(argument)}
    return {origin or hint}


def report_failure(verb: str, folder: Path, error: Exception) -> int:
    """Print a model's exception as one line and return the exit code 1.

    Call it in the ``except``: a user's mistake is raised on, and anything if GENAI_TRACEBACK=1.
    """
    if isinstance(error, UserError) or os.environ.get("GENAI_TRACEBACK") == "1":
        raise error
    print(
        f"genai {verb}: {folder} failed: {type(error).__name__}: {in_one_line(error, 300)}"
        " (GENAI_TRACEBACK=1 shows where)",
        file=sys.stderr,
    )
    return 1


@contextmanager
def exit_on_signal() -> Iterator[None]:
    """Exit with the signal's code within the block, so that half-written files are removed."""
    with handle_signals(raise_exit):
        yield
