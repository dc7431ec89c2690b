"""Compare models that may differ only in numeric attributes, to stack them."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

REGISTRIES = tuple(k for k in vars(nn.Module()) if k.startswith("_"))


def differing_numbers(models: Sequence[nn.Module]) -> list[tuple[str, str]]:
    """(module's name, attribute) of every number in which models of one class differ.

    Raises:
        ValueError: they differ in more: layers, shapes, or an attribute that is no fraction.
    """
    trees = [dict(model.named_modules()) for model in models]
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in models]
    if any(tree.keys() != trees[0].keys() for tree in trees) or shapes.count(shapes[0]) != len(
        models
    ):
        raise ValueError("their weights have different shapes")
    numbers = []
    for name, module in trees[0].items():
        others = [tree[name] for tree in trees[1:]]
        for attribute, value in vars(module).items():
            if attribute in REGISTRIES or attribute == "training":
                continue
            values = [vars(other).get(attribute) for other in others]
            if all(same(value, v) for v in values):
                continue
            if not all(type(v) is float for v in (value, *values)):
                raise ValueError(f"they differ in {type(module).__name__}.{attribute}")
            numbers.append((name, attribute))
    return numbers


class given_numbers(nullcontext):
    """Within the block attributes of a model have other values: {"module/attribute": value}."""

    def __init__(self, model: nn.Module, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.places = []
        for key, value in values.items():
            name, _, attribute = key.rpartition("/")
            self.places.append((model.get_submodule(name), attribute, value))

    def __enter__(self) -> None:
        self.before = [getattr(module, attribute) for module, attribute, _ in self.places]
        for module, attribute, value in self.places:
            setattr(module, attribute, value)

    def __exit__(self, *_) -> None:
        for (module, attribute, _), value in zip(self.places, self.before, strict=True):
            setattr(module, attribute, value)


def same(a: Any, b: Any) -> bool:
    """Return whether two attributes are equal; objects that cannot be compared are not."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, nn.Module):
        return True  # a module of the tree, compared on its own
    if isinstance(a, Tensor):
        return a.shape == b.shape and bool((a == b).all())
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, functools.partial):
        return a.func is b.func and same(a.args, b.args) and same(a.keywords, b.keywords)
    if isinstance(a, types.FunctionType):  # a lambda made anew for each model
        cells = [[c.cell_contents for c in f.__closure__ or ()] for f in (a, b)]
        return a.__code__ is b.__code__ and same(a.__defaults__, b.__defaults__) and same(*cells)
    if isinstance(a, types.MethodType):
        return a.__func__ is b.__func__
    if type(a).__eq__ is not object.__eq__:
        return bool(a == b)
    return hasattr(a, "__dict__") and same(vars(a), vars(b))
