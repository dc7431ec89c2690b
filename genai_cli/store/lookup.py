"""Find the runs and sweeps that a user means: a path, a suffix, ``latest``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from genai_cli.errors import UserError, nearest
from genai_cli.store.outputs import folders
from genai_cli.store.run_folder import (
    CONFIG,
    RUN,
    cells,
    is_run,
    is_sweep,
    outputs_root,
    path_exists,
    read_json,
    slug,
)


def all_runs(root: Path) -> Iterator[Path]:
    """Yield every run below an outputs folder, oldest first, with those of sweeps and lectures."""
    for path in folders(root):
        if is_sweep(path):
            yield from cells(path)
        elif is_run(path):
            yield path


def find_all(reference: str, outputs: str | None = None) -> list[Path]:
    """Find the runs that a reference names, in order: like `find`, and all cells of a sweep.

    ``latest`` is what was started last, be it a run or a sweep.

    Raises:
        UserError: nothing, or more than one run or sweep, answers to it.
    """
    if is_run(Path(reference)):
        return [Path(reference)]
    root = outputs_root(outputs)
    if is_sweep(Path(reference)):
        sweeps = [Path(reference)]
    elif reference == "latest":
        last = find(reference, outputs)
        sweeps = [last.parent] if is_sweep(last.parent) else []
        if not sweeps:
            return [last]
    else:
        sweeps = find_sweeps(root, reference)
    if not sweeps:
        return [find(reference, outputs)]
    if len(sweeps) > 1:
        raise UserError(f"'{reference}' means {len(sweeps)} sweeps; give more of the path")
    runs = cells(sweeps[0])
    if not runs:
        raise UserError(f"{sweeps[0]} is a sweep without a run")
    return runs


def find_sweeps(root: Path, reference: str) -> list[Path]:
    """Find the sweeps with this name or suffix."""
    named = (p for p in folders(root) if reference in (p.name, p.name.rsplit("-", 1)[-1]))
    return sorted(filter(is_sweep, named))


def find(reference: str, outputs: str | None = None) -> Path:
    """Find the run of a path, a folder's suffix (k3f9, k3f9/000), or ``latest``.

    Raises:
        UserError: nothing, or more than one run, answers to it.
    """
    root = outputs_root(outputs)
    if is_run(Path(reference)):
        return Path(reference)
    if is_sweep(Path(reference)):
        raise UserError(f"{reference} is a sweep of several runs; name one of its folders")
    runs = list(all_runs(root))
    if reference == "latest":
        started = [(str(read_json(run / RUN).get("started") or ""), run) for run in runs]
        if not started:
            raise UserError(f"no run in {root.absolute()} yet; start one with: genai train")
        return max(started)[1]
    sweep, _, cell = reference.partition("/")
    matches = [run for run in runs if run.name == reference or run.name.endswith(f"-{reference}")]
    if cell:
        matches += [
            run
            for run in runs
            if (run.parent.name.endswith(f"-{sweep}") or run.parent.name == sweep)
            and (run.name == cell or run.name.startswith(f"{cell}-"))
        ]
    if len(matches) == 1:
        return matches[0]
    if matches:
        names = ", ".join(str(m.relative_to(root)) for m in matches[:4])
        raise UserError(
            f"'{reference}' means {len(matches)} runs ({names} …); give more of the path"
        )
    sweeps = [p for p in folders(root) if p.name.endswith(f"-{reference}") and is_sweep(p)]
    if sweeps:
        raise UserError(
            f"'{reference}' is a sweep of several runs; name one of its cells, like {reference}/000"
        )
    for torso in (p for p in root.glob(f"*/*-{slug(reference)}") if p.is_dir() and not is_run(p)):
        command = read_json(torso / RUN).get("command") or "genai train …"
        raise UserError(
            f"{torso} was killed before its folder was whole; start it again: {command} "
            f"(and remove the rest: rm -r {torso})"
        )
    if reference and path_exists(Path(reference)):
        raise UserError(f"{reference} is no run: it has no readable {CONFIG}; see: genai runs")
    suffixes = [run.name.rsplit("-", 1)[-1] for run in runs]
    raise UserError(
        f"no run '{reference}' in {root.absolute()}{nearest(reference, suffixes)}; see: genai runs"
    )
