"""The requests of `genai sample` and `genai encode`, checked against the family."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from genai_cli.config.schema import Figures, FiguresScale
from genai_cli.config.signatures import (
    Averaged,
    BatchSize,
    Checkpoint,
    Count,
    Device,
    Help,
    Natural,
    OneOf,
    Outputs,
    validate,
)
from genai_cli.errors import UserError, listing, nearest
from genai_cli.models.abilities import ABILITIES, can, options_of

if TYPE_CHECKING:
    from genai_cli.data.dataset import Spec
    from genai_cli.models.base import Model

DEFAULT_N = {
    "samples": 64,
    "interpolation": 5,
    "traversal": 10,
    "trajectory": 16,
    "reconstruction": 10,
}
POINTS = {
    "samples": 2000,
    "trajectory": 1000,
    "reconstruction": 500,
}  # of data that are points or rows of a table
MOST = 1000  # of what is kept in memory whole: all but samples


@dataclass
class SampleRequest:
    """Hold the options of `genai sample`."""

    what: Annotated[
        str,
        OneOf(
            {
                "samples": "new images, single and on one sheet; the default",
                "interpolation": "from one code to another, straight and along an arc",
                "traversal": "one number of a code at a time, those that change the image most",
                "trajectory": "from noise to samples, step by step (ddpm, flow)",
                "reconstruction": "test examples and what the model makes of them",
            }
        ),
        Help("what to make"),
    ] = "samples"
    n: Annotated[
        Count | None, Help("how many: images, pairs, numbers of a code, test examples", "64")
    ] = None
    seed: Annotated[
        Natural, Help("the same seed, the same images, however they are cut into batches")
    ] = 0
    batch_size: BatchSize = 250
    y: Annotated[
        Any, Help("a label, its number, a list of them or all, for a conditional model", "NAME")
    ] = None
    checkpoint: Checkpoint = "best"
    ema: Averaged = None
    device: Device = "auto"
    outputs: Outputs = None
    figures: Figures = None
    figures__scale: FiguresScale = None
    options: dict[str, Any] = field(default_factory=dict)  # the family's own


@dataclass
class EncodeRequest:
    """Hold the options of `genai encode`."""

    split: Annotated[str, OneOf({"train": "", "val": "", "test": "", "all": "the three"})] = "test"
    format: Annotated[
        str,
        OneOf({"npz": "arrays", "csv": "a table"}),
        Help("or csv: index, label, z0, z1, …; npz: z, index, y"),
    ] = "npz"
    n: Annotated[Count | None, Help("only the first of the split", "N")] = None
    batch_size: BatchSize = 250
    checkpoint: Checkpoint = "best"
    ema: Averaged = None
    device: Device = "auto"
    outputs: Outputs = None


def resolve_request(
    request: SampleRequest, model: type[Model] | Model, name: str, spec: Spec | None = None
) -> None:
    """Check a request against a family and, where they are known, its data; fill in its defaults.

    Raises:
        UserError: the family or the data cannot do it, or an option it does not have.
    """
    able = [what for what in ABILITIES if can(model, what)]
    if not able:
        raise UserError(f"model={name} makes no samples: it predicts; see the run's figures")
    if request.what not in able:
        raise UserError(f"model={name} cannot do what={request.what}; it can do: {listing(able)}")
    hints, defaults = options_of(model, request.what)
    taken = [*SampleRequest.__dataclass_fields__, *hints]
    for key in request.options:
        if key not in hints:
            has = f"what={request.what} of model={name} takes {listing(hints)}" if hints else (
                f"what={request.what} of model={name} has no options of its own")  # fmt: skip
            raise UserError(f"unknown key '{key}'{nearest(key, taken)} ({has}; see --help)")
    request.options = defaults | {k: validate(v, hints[k], k) for k, v in request.options.items()}
    if spec is None:
        return
    plane = spec.event_shape == (2,)
    if not spec.is_image and not plane and request.what not in ("samples", "reconstruction"):
        rest = [what for what in able if what in ("samples", "reconstruction")]
        raise UserError(
            f"what={request.what} shows images or points in the plane, and this run's data are rows"
            f" of {spec.event_shape[0]} columns; it can do: {listing(rest)}"
        )
    if request.n is None:
        points = {} if spec.is_image else POINTS
        request.n = points.get(request.what, DEFAULT_N[request.what])
    if request.what != "samples" and request.n > MOST:
        raise UserError(f"n={request.n} is not allowed: at most {MOST} with what={request.what}")
    frames = request.options.get("frames", 1)
    if frames > MOST or frames * request.n > 100 * MOST:
        raise UserError(
            f"frames={frames} is not allowed with n={request.n}: at most {MOST}, and n times "
            f"frames at most {100 * MOST:,}"
        )


def takes_labels(call: Callable[..., Any]) -> bool:
    return "y" in inspect.signature(call).parameters


def labels(request: SampleRequest, conditional: bool, name: str, spec: Spec) -> list[int] | None:
    """Return the labels that ``y`` names, to be repeated over the samples; None without ``y``.

    Args:
        request: the request.
        conditional: the model makes use of labels.
        name: of the model, for messages.
        spec: of the data, with the names of its classes.

    Raises:
        UserError: the model knows no labels, or not these.
    """
    if request.y is None:
        return None
    if request.what == "reconstruction" or not conditional:
        raise UserError(
            f"y={request.y}: this model={name} makes no use of labels"
            if request.what != "reconstruction"
            else "what=reconstruction takes no y: test examples have their own labels"
        )
    classes = list(spec.classes)
    if request.y == "all":
        request.y = list(range(len(classes)))
    values = request.y if isinstance(request.y, list) else [request.y]
    if not values or (request.what in ("interpolation", "traversal") and len(values) > 1):
        wanted = "a label" if values else "a label or more"
        raise UserError(
            f"y={request.y} is not allowed: what={request.what} takes {wanted}, like y=3"
        )
    indices = []
    for value in values:
        if str(value) in classes:
            indices.append(classes.index(str(value)))
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(classes):
            indices.append(value)
        else:
            raise UserError(
                f"y={value} is no label{nearest(str(value), classes)} (choose from: all, 0 to"
                f" {len(classes) - 1}, or {', '.join(classes[:20])})"
            )
    return indices
