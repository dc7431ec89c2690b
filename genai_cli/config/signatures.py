"""Check the keys of a YAML group against the signature of the class it names (`bind`).

A signature holds a key's type and range: ``dropout: Rate = 0.0`` in a constructor is the key
``model.dropout``, at least 0 and below 1. The fields of a dataclass do the same for the keys of a
verb (cli/arguments.py) and of the trainer (schema.py), with their meaning in a `Help`.
"""

from __future__ import annotations

import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from genai_cli.errors import UserError, in_one_line, listing, nearest


class Between(NamedTuple):
    """Bounds a number in a signature: ``Annotated[float, Between(0, 1, open_high=True)]``."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        assert isinstance(value, int | float)
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        low = "" if self.low == -math.inf else f"{'>' if self.open_low else '>='} {self.low:g}"
        high = "" if self.high == math.inf else f"{'<' if self.open_high else '<='} {self.high:g}"
        return " and ".join(part for part in (low, high) if part)


class Below(NamedTuple):
    """Limits a number to less than a power of two: ``Annotated[int, Below(31)]``."""

    exponent: int

    def __contains__(self, value: object) -> bool:
        assert isinstance(value, int | float)
        return value < 2**self.exponent

    def __str__(self) -> str:
        return f"below 2**{self.exponent}"


class OneOf(NamedTuple):
    """Lists the words of a key: ``Annotated[str, OneOf({"npz": "arrays", "csv": "a table"})]``."""

    words: Mapping[str, str]  # with their meanings, "" where the word says it
    others: str = ""  # pattern of what else is allowed
    written: str = ""  # how a message writes that: "cuda:N"

    def __hash__(self) -> int:  # a union of annotations hashes them, up to Python 3.13
        return hash((tuple(self.words), self.others))

    def __contains__(self, value: object) -> bool:
        known = value in self.words
        return known or bool(self.others and re.fullmatch(self.others, str(value)))

    def __str__(self) -> str:
        return ", ".join(filter(None, (*self.words, self.written)))


class Help(NamedTuple):
    """Holds the meaning of a key, for ``--help`` and TAB."""

    text: str
    value: str = ""  # what help writes behind the = of a key that has no default


Count = Annotated[int, Between(1)]
Natural = Annotated[int, Between(0)]
Positive = Annotated[float, Between(0, open_low=True)]
NonNegative = Annotated[float, Between(0)]
Repeats = Annotated[int, Between(0, 1000)]  # of a layer; a million would take an hour to build
Layers = Annotated[int, Between(1, 1000)]
Fraction = Annotated[float, Between(0, 1)]
Rate = Annotated[float, Between(0, 1, open_high=True)]
DEVICES = OneOf(dict.fromkeys(("auto", "cpu", "cuda", "mps"), ""), r"cuda:\d{1,3}", "cuda:N")
Device = Annotated[str, DEVICES]

# Keys that several verbs have
Outputs = Annotated[
    str | None, Help("where the runs are, if not ./outputs or $GENAI_OUTPUTS", "DIR")
]
Checkpoint = Annotated[
    str,
    OneOf({"best": "", "last": ""}, ".+", "a name like step-000600"),
    Help("or last, or a name like step-000600"),
]
Averaged = Annotated[
    bool | None, Help("averaged weights or raw ones; averaged where the run has them", "true|false")
]
BatchSize = Annotated[Count, Help("examples in the model at once; no result depends on it")]


def bind(
    target: Callable[..., Any], values: Mapping[str, Any], group: str, given: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the keyword arguments ``values`` give to ``target``, checked against its annotations.

    Args:
        target: a class or function; its annotated parameters are what is allowed.
        values: the keys of one YAML group, without ``name``.
        group: the group's name, for messages ("model").
        given: parameters the caller supplies itself; no config may set them.

    Raises:
        UserError: an unknown key, a missing one, a wrong type or a value out of range.
    """
    hints, parameters = signature_of(target)
    hints = {k: h for k, h in hints.items() if k not in given}
    required = [k for k in hints if parameters[k].default is parameters[k].empty]
    return bind_hints(hints, values, group, required)


def bind_hints(
    hints: Mapping[str, Any], values: Mapping[str, Any], group: str, required: Sequence[str] = ()
) -> dict[str, Any]:
    """Check values like `bind`, against a mapping key → annotation."""
    out = {}
    for key, value in values.items():
        if key not in hints:
            raise UserError(
                f"unknown key '{group}.{key}'{nearest(key, hints)} (choose from: {listing(hints)})"
            )
        out[key] = validate(value, hints[key], f"{group}.{key}")
    for key in required:
        if key not in out:
            raise UserError(f"{group}.{key} is missing; add {group}.{key}=…")
    return out


def signature_of(target: Callable[..., Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the annotations and parameters that a config may set: those of plain types."""
    function = target.__init__ if inspect.isclass(target) else target
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = {
        k: p
        for k, p in inspect.signature(function).parameters.items()
        if k in hints and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    return {k: hints[k] for k in parameters if _is_plain(hints[k])}, parameters


def validate(value: Any, hint: Any, key: str) -> Any:
    """Convert ``value`` to the type ``hint``, or raise a `UserError` that says what is allowed."""
    try:
        return _convert(value, hint)
    except _Mismatch as mismatch:
        raise UserError(f"{key}={_format_value(value)} is not allowed: {mismatch}") from None


class _Mismatch(Exception):
    pass


def _convert(value: Any, hint: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    limits = [b for b in arguments if isinstance(b, Below)]
    for limit in (*limits, Below(63)):  # no tensor and no float of C holds 2**63
        if isinstance(value, int) and abs(value) not in limit:
            raise _Mismatch(f"it must be {limit}")
    if origin is Annotated:
        try:
            value = _convert(value, arguments[0])
        except _Mismatch:
            if typing.get_origin(arguments[0]) is not None:  # of a list or a union: it says more
                raise
            raise _Mismatch(f"it must be {describe_type(hint)}") from None
        for bound in arguments[1:]:
            if value is None or not isinstance(bound, Between | OneOf) or value in bound:
                continue
            if isinstance(bound, OneOf):
                verb = "choose from" if len(bound.words) > 1 else "it must be"
                raise _Mismatch(f"{verb} {bound}{nearest(value, bound.words)}")
            raise _Mismatch(f"it must be {bound}")
        return value
    if origin is Literal:
        if not any(value == a and type(value) is type(a) for a in arguments):  # True is not 1
            raise _Mismatch(
                f"choose from {', '.join(map(str, arguments))}"
                f"{nearest(str(value), map(str, arguments))}"
            )
        return value
    if origin in (typing.Union, types.UnionType):
        for option in sorted(arguments, key=lambda o: o is not type(None)):
            try:
                return _convert(value, option)
            except _Mismatch:
                if isinstance(value, list) and typing.get_origin(option) is list:
                    raise  # it says what is wrong in the list
        raise _Mismatch(f"it must be {describe_type(hint)}")
    if origin in (list, tuple):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise _Mismatch(f"it must be {describe_type(hint)}")
        inner = arguments[0] if arguments else Any
        try:
            return origin(_convert(v, inner) for v in value)
        except _Mismatch as mismatch:
            raise _Mismatch(f"in the list, {mismatch}") from None
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise _Mismatch("it must be a finite number")
    if hint is type(None):
        hint = types.NoneType
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _Mismatch(f"it must be {describe_type(hint)}")
    return value


_PLAIN_TYPES = (int, float, bool, str, types.NoneType, Any)


def _is_plain(hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _is_plain(arguments[0])
    if origin is Literal:
        return True
    if origin in (typing.Union, types.UnionType, list, tuple):
        return all(_is_plain(a) for a in arguments if a is not Ellipsis)
    return hint in _PLAIN_TYPES


def describe_type(hint: Any) -> str:
    """Describe an annotation in words: ``int | None`` is "a whole number or null"."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        listed = next((b for b in arguments[1:] if isinstance(b, OneOf)), None)
        if listed is not None:
            return f"one of {listed}"
        bounds = " and ".join(str(b) for b in arguments[1:] if isinstance(b, Between))
        return f"{describe_type(arguments[0])} {bounds}".strip()
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_type(a) for a in arguments)
    if origin in (list, tuple):
        return f"a list like [8,16] of {describe_type(arguments[0])}"
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return "null" if hint is types.NoneType else names.get(hint, str(hint))


def allowed_words(hint: Any) -> dict[str, str]:
    """Return the words that an annotation lists, with their meanings."""
    if hint is bool:
        return {"true": "", "false": ""}
    listed = next((a for a in typing.get_args(hint) if isinstance(a, OneOf)), None)
    if listed is not None:
        return dict(listed.words)
    return {word: text for a in typing.get_args(hint) for word, text in allowed_words(a).items()}


def _format_value(value: Any, most: int = 100) -> str:
    """``value`` as it is typed; the middle of a long one is left out."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return in_one_line(value, most)
