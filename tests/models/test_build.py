"""`bind`: what a YAML group may say, and how a mistake is told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from genai_cli.config.schema import TrainConfig
from genai_cli.config.signatures import (
    Below,
    Between,
    Count,
    Device,
    Fraction,
    Natural,
    NonNegative,
    Positive,
    Rate,
    bind,
    validate,
)
from genai_cli.data.dataset import Spec
from genai_cli.errors import UserError
from genai_cli.models.build import build_model, model_class, takes_bottleneck

Refused = Callable[..., str]


@pytest.fixture
def refused() -> Refused:
    """Call something that must end in one line holding all ``words``; the line."""

    def call(what: Callable[[], Any], *words: str) -> str:
        with pytest.raises(UserError) as caught:
            what()
        line = str(caught.value)
        assert "\n" not in line
        for word in words:
            assert word in line, line
        return line

    return call


class Thing:
    """What a config may name."""

    def __init__(
        self,
        data: Spec,
        loss: dict[str, Any],
        size: Count,
        widths: list[Count] = (8,),
        kind: Literal["relu", "tanh"] = "relu",
        rate: Rate = 0.0,
        sigma: Positive | Literal["learned"] = "learned",
        limit: Natural | None = None,
        flag: bool = False,
        bit: Literal[0, 1] = 0,
        word: str = "a",
    ) -> None: ...


def test_fitting_values_come_back_unchanged():
    for hint, good in [
        (int, [-3, 0]),
        (Count, [1, 2**40]),
        (Natural, [0, 7]),
        (Positive, [1e-300, 5.0, 1e300]),
        (NonNegative, [0.0]),
        (Fraction, [0.0, 0.5, 1.0]),
        (Rate, [0.0, 0.999]),
        (bool, [True, False]),
        (str, ["", "a"]),
        (Any, [None, [1], "x"]),
        (Literal["a", 1], ["a", 1]),
        (Literal[True, "auto"], [True, "auto"]),
        (Count | None, [None, 3]),
        (int | str, [3, "3"]),
        (Positive | Literal["learned"], [0.5, "learned"]),
        (list[Count], [[], [1], [3, 2]]),
        (list[float], [[0.5]]),
        (Annotated[float, Between(-1, 1, open_low=True)], [1.0, -0.999]),
    ]:
        for value in good:
            found = validate(value, hint, "k")
            assert found == value, (hint, good)
            assert type(found) is type(value), (hint, good)


def test_other_values_are_refused_with_key_and_value(refused: Refused):
    for hint, bad in [
        (int, [1.0, "1", True, None, [1]]),
        (Count, [0, -1, 1.5, True]),
        (Natural, [-1]),
        (Positive, [0, -1e-9, math.nan, math.inf, "1", True, -math.inf]),
        (NonNegative, [-1e-9, math.nan]),
        (Fraction, [-0.1, 1.1, math.nan, math.inf]),
        (Rate, [1, 1.0, -0.1]),
        (bool, [0, 1, "true", None]),
        (str, [1, None, True]),
        (Literal[0, 1], [True, False, "0", 2, 1.0]),
        (Literal[True, False], [0, 1, "true"]),
        (Count | None, [0, "null", 1.5]),
        (Positive | Literal["learned"], [0.0, "learn", True, math.nan]),
        (list[Count], [8, "8", [0], [1, "2"], [1.5], None, [[1]]]),
        (Device, ["gpu", "cuda:", "cuda:1234", "cuda:1x", "CPU", 0, None]),
        (Device | None, ["gpu"]),  # on every Python, a union of words can be made
    ]:
        shown = {None: "null", True: "true", False: "false"}
        for value in bad:
            text = shown[value] if value is None or isinstance(value, bool) else str(value)
            refused(partial(validate, value, hint, "group.key"), f"group.key={text} is not")


def test_a_whole_number_becomes_the_float_a_signature_asks_for():
    for hint in (Positive, Positive | Literal["learned"], Positive | None):
        assert type(validate(2, hint, "k")) is float
    assert [type(v) for v in validate([1, 2], list[float], "k")] == [float, float]


def test_a_refusal_says_what_is_allowed(refused: Refused):
    for hint, value, words in [
        (Count, 0, (">= 1",)),
        (Rate, 1.0, (">= 0", "< 1")),
        (Fraction, 2.0, (">= 0", "<= 1")),
        (Positive, 0.0, ("> 0",)),
        (Literal["relu", "tanh"], "rleu", ("choose from relu, tanh", "did you mean 'relu'")),
        (list[Count], 8, ("a list like [8,16]",)),
        (list[Count], [8, 0], ("in the list", ">= 1")),
        (Count | None, "x", ("a whole number", "null")),
        (bool, 1, ("true or false",)),
        (Positive | Literal["learned"], "x", ("a number > 0", "one of learned")),
        (Positive, math.nan, ("nan", "a number")),
        (Annotated[Count | None, Below(31)], 2**31, ("below 2**31",)),
        (Annotated[Count | None, Below(31)], 10**20, ("below 2**31",)),
        (Count, 10**20, ("below 2**63",)),
        (Device, "cuad:1", ("choose from auto, cpu, cuda, mps, cuda:N", "did you mean 'cuda'")),
    ]:
        refused(partial(validate, value, hint, "k"), *words)


def test_bounds_are_closed_unless_said_open():
    closed, opened = Between(0, 1), Between(0, 1, open_low=True, open_high=True)
    assert [v in closed for v in (0, 1, -0.1, 1.1)] == [True, True, False, False]
    assert [v in opened for v in (0, 1, 0.5)] == [False, False, True]
    assert str(opened) == "> 0 and < 1"
    assert str(Between()) == ""


def test_bind_returns_the_checked_keys_and_no_defaults():
    values = {"size": 3, "widths": [4, 5], "rate": 0, "flag": True}
    bound = bind(Thing, values, "model", given=("data", "loss"))
    assert bound == {"size": 3, "widths": [4, 5], "rate": 0.0, "flag": True}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"size": 1, "widhts": [1]}, ("'model.widhts'", "did you mean 'widths'", "choose from")),
        ({"size": 1, "zzzz": 1}, ("'model.zzzz'", "bit, flag, kind")),
        ({}, ("model.size is missing", "model.size=…")),
        ({"size": 1, "data": 1}, ("'model.data'",)),
        ({"size": 1, "loss": {"name": "mse"}}, ("'model.loss'",)),
        ({"size": True}, ("model.size=true",)),
        ({"size": 1, "bit": True}, ("model.bit=true", "choose from 0, 1")),
        ({"size": 1, "self": 2}, ("'model.self'",)),
    ],
)
def test_bind_refuses_in_one_line(refused: Refused, values: dict[str, Any], words: tuple):
    refused(lambda: bind(Thing, values, "model", given=("data", "loss")), *words)


def test_only_plainly_typed_parameters_can_be_set(refused: Refused):
    line = refused(lambda: bind(Thing, {"nothing": 1}, "model"), "choose from")
    assert "data" not in line  # a Spec cannot be said in YAML


def test_functions_bind_like_classes(refused: Refused):
    def ramp(length: Count, *, start: Fraction = 0.0) -> None: ...

    assert bind(ramp, {"length": 2, "start": 1}, "schedule") == {"length": 2, "start": 1.0}
    refused(lambda: bind(ramp, {"start": 0.5}, "schedule"), "schedule.length is missing")


USER_MODEL = """
from genai_cli.models.base import Model

class {name}(Model):
    def __init__(self, data, scale: float = 1.0):
        super().__init__()
        self.data, self.scale = data, scale

    def loss(self, batch, noise, player="model"):
        return {{"loss": batch.x.flatten(1).mean(1) * self.scale}}
"""


@pytest.fixture
def user_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Write models/NAME.py in a folder that GENAI_PATH names."""

    def write(name: str, text: str) -> None:
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / "models" / f"{name}.py").write_text(text)

    monkeypatch.setenv("GENAI_PATH", str(tmp_path))
    return write


@pytest.mark.parametrize("name", ["mlp", "autoencoder", "vae"])
def test_shipped_models_are_found_by_name(name: str):
    assert model_class(name).__module__ == f"genai_cli.models.{name}"


def test_a_users_model_is_found_by_name_and_built_from_its_keys(user_model):
    user_model("mine", USER_MODEL.format(name="Mine"))
    cfg = TrainConfig(model={"name": "mine", "scale": 3}, bottleneck=None)
    data = Spec(event_shape=(2,))
    model = build_model(cfg, data)
    assert (type(model).__name__, model.scale, model.data) == ("Mine", 3.0, data)
    assert model_class("mine") is type(model)  # imported once
    assert not takes_bottleneck("mine")
    assert takes_bottleneck("vae")


def test_a_bottleneck_must_be_given_where_there_is_one_and_only_there(refused, user_model):
    user_model("flat", USER_MODEL.format(name="Flat"))
    data = Spec(event_shape=(2,))
    with_one = TrainConfig(model={"name": "flat"}, bottleneck=4)
    refused(lambda: build_model(with_one, data), "flat has no bottleneck", "bottleneck=4")
    without = TrainConfig(model={"name": "autoencoder"}, loss={"name": "mse"})
    refused(lambda: build_model(without, data), "needs a bottleneck")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("vae", USER_MODEL.format(name="Own"), ("'vae' is a shipped model",)),
        ("none", "x = 1", ("must define one Model", "defines 0")),
        ("two", "\n".join(USER_MODEL.format(name=n) for n in "AB"), ("defines 2",)),
    ],
)
def test_a_users_model_file_must_be_one_new_model(refused, user_model, name, text, words):
    user_model(name, text)
    refused(lambda: model_class(name), *words)


@pytest.mark.parametrize("name", ["../vae", "a.b", "os/path", "", "1a", "vae.py"])
def test_a_models_name_is_never_a_path(refused: Refused, name: str):
    refused(lambda: model_class(name), "is not a name")


def test_an_unknown_model_says_where_one_would_be_found(refused: Refused):
    refused(lambda: model_class("wavenet"), "models/wavenet.py", "GENAI_PATH")


def test_every_shipped_constructor_refuses_its_given_arguments_as_keys(refused: Refused):
    cfg = TrainConfig(model={"name": "mlp", "bottleneck": 3}, loss={"name": "mse"}, bottleneck=3)
    data = Spec(event_shape=(2,), target="values", target_shape=(1,))
    refused(lambda: build_model(cfg, data), "'model.bottleneck'")
    cfg = dataclasses.replace(cfg, model={"name": "mlp"})
    refused(lambda: build_model(cfg, data), "model.widths is missing")
