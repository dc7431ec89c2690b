"""The abilities of model families, and the sampling options each of them takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_cli.config.signatures import Count, signature_of

if TYPE_CHECKING:
    from genai_cli.models.base import Model

ABILITIES = {  # what → the methods of which it needs all, the method whose options it takes
    "samples": (("sample",), "sample"),
    "interpolation": (("decode",), None),
    "traversal": (("decode",), None),
    "trajectory": (("trajectory",), "trajectory"),
    "reconstruction": (("reconstruct",), None),
}
RESERVED = (  # keys of every line of `genai sample`, which no option of a family is called
    *("n", "y", "what", "seed", "batch_size", "ema", "checkpoint", "device", "outputs"),
    "figures",
)
FRAMES = {"interpolation": 31, "traversal": 11, "trajectory": 31}


def can(model: type[Model] | Model, what: str) -> bool:
    """Return whether a family has the methods of an ability, codes to start from included."""
    needs, _ = ABILITIES[what]
    coded = what in ("interpolation", "traversal")
    starts = not coded or hasattr(model, "encode") or hasattr(model, "prior")
    return starts and all(hasattr(model, name) for name in needs)


def options_of(model: type[Model] | Model, what: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(annotations, defaults) of what a family takes besides `RESERVED`, the keys of every line."""
    _, method = ABILITIES[what]
    hints, defaults = {}, {}
    if method is not None:
        annotations, parameters = signature_of(getattr(model, method))
        hints = {k: h for k, h in annotations.items() if k not in RESERVED}
        defaults = {k: parameters[k].default for k in hints}
    if what in FRAMES:
        hints, defaults = hints | {"frames": Count}, defaults | {"frames": FRAMES[what]}
    return hints, defaults
