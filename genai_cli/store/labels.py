"""Find the keys in which runs differ, and make a short label for each run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genai_cli.store import run_folder

UNINTERESTING = ("outputs", "name", "tags", "schedule.horizon", "init_from")
UNINTERESTING += ("figures.name", "figures.scale")
LONGEST = 36  # characters of a label; a longer one is the model and the run's reference


def reference(path: Path) -> str:
    """Return the short name of a run on a command line: its suffix, or SWEEP/INDEX for a cell."""
    if run_folder.is_sweep(path.parent):
        return f"{path.parent.name.rsplit('-', 1)[-1]}/{path.name.split('-', 1)[0]}"
    return path.name.rsplit("-", 1)[-1]


def differing_keys(configs: Sequence[dict[str, Any]]) -> list[str]:
    """Return keys with more than one value among runs that chose the same option of the group."""
    seen: dict[str, dict[str, set[str]]] = {}
    for config in configs:
        for key, value in config.items():
            group = key.split(".")[0]
            choice = str(config.get(f"{group}.name", ""))
            seen.setdefault(key, {}).setdefault(choice, set()).add(str(value))
    return [
        key
        for key, choices in seen.items()
        if (
            key not in ("model.name", "dataset.name", *UNINTERESTING)
            and any(len(values) > 1 for values in choices.values())
        )
        or (
            key in ("loss.name", "optimizer.name", "schedule.name")
            and len({v for values in choices.values() for v in values}) > 1
        )
    ]


def format_value(value: Any) -> str:
    """Format any value of a config as one short line."""
    text = "[" + ",".join(map(str, value)) + "]" if isinstance(value, list) else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def labels(
    models: Sequence[str], configs: Sequence[dict[str, Any]], references: Sequence[str]
) -> list[str]:
    """Make a short, unique label for each run: the model, and what differs among its runs.

    Args:
        models: family of each.
        configs: flat config of each, without what is not to tell them apart (a seed).
        references: what to type for each; taken where the settings do not tell two apart.
    """
    family: dict[str, list[dict[str, Any]]] = {}
    for model, config in zip(models, configs, strict=True):
        family.setdefault(model, []).append(config)
    differ = {model: differing_keys(same) for model, same in family.items()}
    out = []
    for model, config in zip(models, configs, strict=True):
        keys = [k for k in differ[model] if config.get(k) is not None]
        out.append(" ".join([model, *(f"{_last(k)}={format_value(config[k])}" for k in keys)]))
    count = Counter(out)
    return [
        f"{model} {ref}" if count[label] > 1 or len(label) > LONGEST else label
        for label, model, ref in zip(out, models, references, strict=True)
    ]


def _last(key: str) -> str:
    """``model.beta`` is beta; ``loss.name`` is loss."""
    group, _, last = key.rpartition(".")
    return group if last == "name" and group else last


def address(folder: Path) -> str:
    """Return the name of a run on a command line in this folder: its suffix, or else its path."""
    known = folder.resolve().parents[1] == run_folder.outputs_root().resolve()
    return reference(folder) if known and not run_folder.is_sweep(folder.parent) else str(folder)
