"""constraints.txt and pyproject.toml agree: every dependency is pinned, within its bounds."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PINNED = ("test", "optuna", "loggers", "audit")  # of the extras; bench has peers that disagree
PYTHONS = ("3.10.18", "3.11.7", "3.12.3", "3.13.1")
BY_TORCH = re.compile(r"(nvidia|cuda)-|triton")  # each build of it pins its own


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def asked() -> list[Requirement]:
    about = project()
    extras = about["optional-dependencies"]
    lists = [about["dependencies"], *(extras[name] for name in PINNED)]
    return [Requirement(word) for words in lists for word in words]


def pins(python: str) -> dict[str, list[Requirement]]:
    """The lines of constraints.txt that hold for a Python on Linux."""
    here = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    here |= {"sys_platform": "linux", "os_name": "posix"}
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            pin = Requirement(line)
            if pin.marker is None or pin.marker.evaluate(here):
                found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_pinned_once_within_its_bounds(python: str) -> None:
    known = pins(python)
    assert all(len(lines) == 1 for lines in known.values())
    for needed in asked():
        (pin,) = known[canonicalize_name(needed.name)]
        (version,) = re.findall(r"^==([^*,;]+)$", str(pin.specifier))
        assert needed.specifier.contains(version, prereleases=True), (needed, version)


def test_what_the_pinned_need_is_pinned() -> None:
    """The whole tree, as far as it is installed here."""
    known = pins(".".join(map(str, sys.version_info[:3])))
    looked = 0
    for name in known:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        looked += 1
        for needed in map(Requirement, needs):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                other = canonicalize_name(needed.name)
                assert other in known or BY_TORCH.match(other), f"{name} needs {needed}"
    assert looked > 40


def test_every_bound_says_what_it_is_for() -> None:
    """A dependency without a reason is one that nobody will dare to remove."""
    text = (ROOT / "pyproject.toml").read_text()
    lines = text.partition("\ndependencies = [")[2].partition("\n]")[0].strip().splitlines()
    assert all(re.search(r'[<>=]=?[\d.]+.*",? +# \w', line) for line in lines), lines


def test_what_is_imported_is_asked_for() -> None:
    """What we import we ask for; Hydra brings its parser, torch its compiler."""
    named = {canonicalize_name(r.name) for r in asked()}
    modules = importlib.metadata.packages_distributions() if sys.version_info >= (3, 10) else {}
    found = set()
    for file in (ROOT / "genai_cli").rglob("*.py"):
        found |= set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(), re.MULTILINE))
    for module in found - {"genai_cli"} - set(sys.stdlib_module_names):
        owners = {canonicalize_name(d) for d in modules.get(module, ())}
        if owners:  # the rest are words of docstrings
            assert owners & named or module in ("antlr4", "triton"), (module, owners)
