"""Values and words that nobody chose: a line is accepted, or refused in one line that names it.

The key's annotation says what it takes; of every other kind there are values that must be refused.
"""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from corpus import in_parts, one_line, tell, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genai_cli.config import compose, overrides, schema
from genai_cli.config.schema import hint_of
from genai_cli.config.signatures import signature_of
from genai_cli.models.build import model_class

FAMILIES = ("vae", "autoencoder", "mlp", "flow", "latent_flow", "gan", "ddpm")
WORD, LIST, MAP = "hello", "[1,2]", "{a:1}"
ODD = ("nan", "inf", "1e400", str(2**70), "''", "'ü'", "'🙈'", "'שלום'", "'a\nb'", "'a\0b'")
NEVER = {  # of a kind of key, what it cannot take
    int: (WORD, "1.5", LIST, MAP, "true", "1e5", *ODD),
    float: (WORD, LIST, MAP, "true", *ODD),
    bool: (WORD, LIST, MAP, "1.5", "3", *ODD),
    list: (WORD, MAP, "true", "3", "[[]]", "[null]", "[{a:1}]", *ODD),
    typing.Literal: ("no-such-choice", LIST, MAP, *ODD),
}


def kind_of(hint: Any) -> Any:
    """int, float, bool, list or Literal; None of what takes a word or several kinds."""
    if get_origin(hint) is typing.Annotated:
        return kind_of(get_args(hint)[0])
    if get_origin(hint) in (list, tuple):
        return list
    if get_origin(hint) is typing.Literal:
        return typing.Literal
    inner = [h for h in get_args(hint) if h is not type(None)]
    if get_origin(hint) is not None and len(inner) == 1:
        return kind_of(inner[0])
    return hint if hint in NEVER else None


def keys() -> list[tuple[str, str, Any]]:
    """(family, key, kind) of every key of the top level and the trainer, and of every model."""
    found = []
    for family in FAMILIES:
        line = compose.parse_line([f"model={family}"])
        config = schema.flatten(schema.to_dict(compose.compose_cells("train", line)[0].config))
        hints, _ = signature_of(model_class(family))
        for key in config:
            group, _, name = key.rpartition(".")
            hint = hints.get(name) if group == "model" else hint_of(key)
            if (group == "model" or family == "vae") and name != "name":
                found.append((family, key, kind_of(hint)))
    return found


KEYS = [(f, k, kind) for f, k, kind in keys() if kind is not None and k != "tags"]
ANY_SIZE = ("trainer.clip", "trainer.min_delta")  # 2**70 is one of the numbers they take
ALL = [
    (f, k, value)
    for f, k, kind in KEYS
    for value in NEVER[kind]
    if not (k in ANY_SIZE and value == str(2**70))
]
FEW = [(f, k, NEVER[kind][n % len(NEVER[kind])]) for n, (f, k, kind) in enumerate(KEYS)]


def never(family: str, key: str, value: str, folder: Path, capfd) -> None:
    before = tree(folder)
    one_line(tell(["train", f"model={family}", f"{key}={value}"], capfd), key)
    assert tree(folder) == before


@pytest.mark.parametrize("some", in_parts(FEW[::3], ALL))
def test_a_key_refuses_another_kind(some, here: Path, capfd):
    for family, key, value in some:
        never(family, key, value, here, capfd)


def test_there_are_enough_of_them():
    assert len(KEYS) >= 90
    assert len(ALL) >= 1000


# ---- lines -------------------------------------------------------------------------------------

NAMES = [*dict.fromkeys(k for _, k, _ in keys()), *overrides.GROUPS, "sweep", "hydra/launcher"]
PIECES = ["", "0", "-1", "1", "nan", "[", "]", "{", "}", "'", '"', "\\", ",", "=", "$", "${", "a*"]
PIECES += [
    "vae",
    "mse",
    "null",
    "true",
    "1e400",
    "🙈",
    "\0",
    "\n",
    " ",
    "~",
    "+",
    "@",
    "range(1,3)",
]
VALUES = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(repr),
)
PAIRS = st.builds("{}={}".format, st.one_of(st.sampled_from(NAMES), st.text(max_size=6)), VALUES)
FLAGS = st.sampled_from(["-m", "--cfg", "job", "-cd", "--all", "--json", "--yes", "--", "-"])
WORDS = st.one_of(PAIRS, PAIRS, FLAGS, VALUES, st.text(max_size=8))
TRAIN = st.lists(WORDS, min_size=1, max_size=2).map(lambda words: ["train", *words])
OTHERS = st.tuples(
    st.sampled_from(["resume", "sample", "evaluate", "encode", "compare", "report", "runs"]),
    st.lists(WORDS, min_size=1, max_size=3),
).map(lambda pair: [pair[0], *pair[1]])


def check(words: list[str], folder: Path, capfd) -> None:
    before = tree(folder)
    told = tell(words, capfd)
    if told.code == 2:
        one_line(told)
    else:
        assert told.code in (0, "accepted"), (words, told)
        assert told.noise == [], (words, told)
    assert tree(folder) == before, words


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
fast = settings(derandomize=True, deadline=None, database=None, suppress_health_check=QUIET)


@settings(fast, max_examples=40)
@given(TRAIN)
def test_a_line_to_train_by_chance(here: Path, capfd, words):
    check(words, here, capfd)


@settings(fast, max_examples=80)
@given(OTHERS)
def test_a_line_of_another_verb_by_chance(here: Path, capfd, words):
    check(words, here, capfd)


@pytest.mark.torture
@settings(fast, max_examples=2000)
@given(TRAIN)
def test_many_lines_to_train_by_chance(here: Path, capfd, words):
    check(words, here, capfd)


@pytest.mark.torture
@settings(fast, max_examples=4000)
@given(OTHERS)
def test_many_lines_of_other_verbs_by_chance(here: Path, capfd, words):
    check(words, here, capfd)
