"""The folder that a comparison is written into."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from genai_cli.comparison.read import newest_number
from genai_cli.comparison.rows import Comparison
from genai_cli.errors import UserError
from genai_cli.store import run_folder

FOLDER = "compare"  # in a sweep


def make_output_folder(folders: Sequence[Path], out: str | None, outputs: str | None) -> Path:
    """Choose the output folder: out=DIR, the compare folder of one sweep, or a new folder.

    Raises:
        UserError: it cannot be made.
    """
    sweep = folders[0].resolve().parent
    if out is not None:
        target = Path(out)
    elif len(folders) > 1 and run_folder.is_sweep(sweep) and _whole(sweep, folders):
        target = folders[0].parent / FOLDER
    else:
        return run_folder.claim(run_folder.outputs_root(outputs), FOLDER)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(target, error) from None
    return target


def _whole(sweep: Path, folders: Sequence[Path]) -> bool:
    """Whether these are all cells of a sweep: the folder in it, which its report shows, is of no
    fewer."""
    return {folder.resolve() for folder in folders} == set(run_folder.cells(sweep))


def remove_stale_figures(folder: Path, comparison: Comparison, every: bool) -> None:
    """Remove figures of an earlier comparison in a sweep: all, or those older than a number of its
    runs. What else stands there is the user's."""
    newest = max((newest_number(run.path) for run in comparison.runs), default=0.0)
    for path in folder.glob("*.png"):
        if every or path.stat().st_mtime < newest:
            for suffix in (".png", ".pdf", ".svg"):
                path.with_suffix(suffix).unlink(missing_ok=True)


def write_error(folder: Path, error: OSError) -> UserError:
    reason = error.strerror or str(error)
    return UserError(f"cannot write into {folder}: {reason}; set out=DIR")
