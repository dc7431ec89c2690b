"""The passport of a number; two numbers are ranked only where their rulers agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.data.dataset import Dataset

VERSION = 1  # of what the metrics mean; a change of a definition raises it
VALIDATED_ON_TEST = "best epoch and early stopping have seen the test set"
SHAPING = ("scale", "target_scale", "size", "channels", "crop", "pair", "factor")  # dataset keys


def ruler(
    metric: str, data: Dataset, cfg: TrainConfig, n: int, space: str | None = None, **more: Any
) -> dict[str, Any]:
    """Return the ruler: the metric, the examples, their number and space, the extractor.

    Args:
        metric: its name, with the objective or the condition in it where that is part of it.
        data: reference examples.
        cfg: of the run, for what shaped the data.
        n: examples measured.
        space: in which a density is one, if not the data's own.
        **more: extractor_hash, k, …
    """
    seen = {} if data.validation == "split" else {"validation": VALIDATED_ON_TEST}
    data_space = (
        "continuous" if data.spec.levels is None else f"{data.spec.levels} levels in [0, 1]"
    )
    shaped = {k: cfg.dataset[k] for k in SHAPING if cfg.dataset.get(k) is not None}
    if "pair" not in shaped:
        shaped.pop("factor", None)
    return {
        "metric": metric,
        "version": VERSION,
        "n": n,
        "reference_split_hash": data.split_hash,
        "extractor_hash": None,
        "preprocessing": shaped or None,
        "data_space": space or data_space,
        **seen,
        **more,
    }


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields in which two rulers disagree, with both values; {} means that numbers compare."""
    return {k: (a.get(k), b.get(k)) for k in dict.fromkeys([*a, *b]) if a.get(k) != b.get(k)}
