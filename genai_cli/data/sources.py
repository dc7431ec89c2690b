"""Load a `Dataset` from the YAML group ``dataset``; holds the table of all sources."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from genai_cli.config.signatures import Between, bind, signature_of, validate
from genai_cli.data.raw import one_line
from genai_cli.errors import UserError, listing, nearest

if TYPE_CHECKING:
    from genai_cli.data.dataset import Dataset


class Source(NamedTuple):
    """Module and function of a set, and its description for `genai data list`."""

    function: str  # "module:function" under genai_cli.data, imported when asked for
    kind: str  # image | table | points
    shape: str
    n: str
    origin: str  # scikit-learn | download | yours | drawn
    official_test: bool = False  # the source always brings its own test set


SOURCES = {
    "digits": Source("embedded:digits", "image", "1×8×8", "1797", "scikit-learn"),
    "mnist": Source("idx:mnist", "image", "1×28×28", "70000", "download", True),
    "fashion_mnist": Source("idx:fashion_mnist", "image", "1×28×28", "70000", "download", True),
    "kmnist": Source("idx:kmnist", "image", "1×28×28", "70000", "download", True),
    "cifar10": Source("cifar:cifar10", "image", "3×32×32", "60000", "download", True),
    "folder": Source("folder:folder", "image", "C×H×W", "any", "yours"),
    "table": Source("table:table", "table", "D", "any", "yours"),
    "diabetes": Source("embedded:diabetes", "table", "10", "442", "scikit-learn"),
    "breast_cancer": Source("embedded:breast_cancer", "table", "30", "569", "scikit-learn"),
    "wine": Source("embedded:wine", "table", "13", "178", "scikit-learn"),
    "moons": Source("toys:moons", "points", "2", "10000", "drawn"),
    "circles": Source("toys:circles", "points", "2", "10000", "drawn"),
    "swiss_roll": Source("toys:swiss_roll", "points", "2", "10000", "drawn"),
    "gaussians": Source("toys:gaussians", "points", "2", "10000", "drawn"),
    "checkerboard": Source("toys:checkerboard", "points", "2", "10000", "drawn"),
}


class DataNote(UserWarning):
    """Warning about data that was loaded nevertheless."""


def load(node: Mapping[str, Any], split_seed: int = 0) -> Dataset:
    """Load the data set that a YAML group describes, split and scaled, on the CPU.

    Args:
        node: the group as plain data: ``name`` and the keys of ``configs/dataset/NAME.yaml``.
        split_seed: what the splits depend on; the run's ``seed`` never does that.

    Raises:
        UserError: an unknown name or key, a wrong value, data that is missing or broken.
    """
    seed = validate(split_seed, Annotated[int, Between(0, 2**32 - 1)], "split_seed")
    name = source_name(node)
    source = SOURCES[name]
    keys = {key: value for key, value in node.items() if key != "name"}
    if keys.get("pair") is not None and source.kind != "image":
        images = [other for other, s in SOURCES.items() if s.kind == "image"]
        raise UserError(
            f"dataset.pair={one_line(keys['pair'])} needs images and {name} has none; leave it "
            f"out, or choose dataset from: {listing(images)}"
        )
    from genai_cli.data import splits  # imports torch

    module, function_name = source.function.split(":")
    function = getattr(importlib.import_module(f"genai_cli.data.{module}"), function_name)
    source_keys, _ = signature_of(function)
    shared = shared_keys(source)
    for key in keys:
        if key not in source_keys and key not in shared:
            choices = [*source_keys, *shared]
            raise UserError(
                f"unknown key 'dataset.{key}' of {name}{nearest(key, choices)} "
                f"(choose from: {listing(choices)})"
            )
    arguments = bind(function, {k: v for k, v in keys.items() if k in source_keys}, "dataset")
    common = bind(splits.CommonOptions, {k: v for k, v in keys.items() if k in shared}, "dataset")
    data = splits.assemble(function(**arguments), name, splits.CommonOptions(**common), seed)
    for note in data.notes:
        warnings.warn(DataNote(note), stacklevel=2)
    return data


def source_name(node: Mapping[str, Any]) -> str:
    """Return the ``name`` of a group after checking that the table has it."""
    name = node.get("name")
    if not isinstance(name, str) or name not in SOURCES:
        raise UserError(
            f"dataset.name={one_line(name)} is not known{nearest(str(name), SOURCES)} "
            f"(choose from: {listing(SOURCES)})"
        )
    return name


def present(node: Mapping[str, Any]) -> bool:
    """Return whether the set can be loaded without a download. Opens no data file."""
    from genai_cli.data import cifar, home, idx

    name = source_name(node)
    origin = SOURCES[name].origin
    if origin == "drawn":
        return True
    if origin == "scikit-learn":
        return home.sklearn_file("digits.csv.gz") is not None
    where = node.get("path" if origin == "yours" else "root")
    if origin == "yours":
        return bool(where) and Path(str(where)).expanduser().exists()
    roots = [Path(str(where)).expanduser()] if where else home.data_homes()
    if name == "cifar10":
        return any(cifar.locate(root, bool(where)) for root in roots)
    return any(idx.locate(name, root, bool(where)) for root in roots)


def shared_keys(source: Source) -> list[str]:
    """Return the keys of this source's YAML that are fields of `splits.CommonOptions`."""
    keys = ["val_fraction", "validation", "limit"]
    if not source.official_test:
        keys.append("test_fraction")
    if source.kind == "image":
        keys += ["pair", "factor", "flip", "shift"]
    if source.kind != "points":
        keys += ["rare", "rare_share", "balance"]
    return keys
