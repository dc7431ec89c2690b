"""`genai sweep resume DIR` trains the unfinished cells of a sweep."""

from __future__ import annotations

from pathlib import Path

from genai_cli.cli.usage import ACTIONS
from genai_cli.errors import UserError, nearest
from genai_cli.store import lookup, run_folder
from genai_cli.store import outputs as output_folders


def main(args: list[str]) -> int:
    """Resume a sweep; 0 done or nothing left, 1 a cell failed, 2 a mistake, 130 or 143 stopped."""
    action, *words = args or [""]
    if action not in ACTIONS["sweep"]:
        near = nearest(action, ACTIONS["sweep"]) if action else ""
        raise UserError(f"type: genai sweep resume DIR{near} (a path, a suffix or latest)")
    from genai_cli.config import compose

    names = [w for w in words if Path(w).is_dir() or not (w.startswith("-") or "=" in w)]
    outputs = [w for w in words if w.startswith("outputs=")]
    line = compose.parse_line([w for w in words if w not in names and w not in outputs])
    if len(names) != 1:
        raise UserError("name one sweep: genai sweep resume DIR (a path, a suffix or latest)")
    if len(outputs) > 1:
        raise UserError("outputs is given twice; keep one")
    if line.overrides or line.sweep or line.show or line.multirun:
        word = [*line.overrides, *line.sweep, *line.show, "-m"][0]
        raise UserError(
            f"{word} is not for a sweep that is there: its cells are as they were asked for; "
            "hydra/launcher=NAME and hydra.launcher.KEY=value start them in another way"
        )
    folder = find(names[0], outputs[0].partition("=")[2] if outputs else None)
    from genai_cli.sweeps.again import resume

    return resume(folder, line.launcher, line.config_dirs)


def find(reference: str, outputs: str | None = None) -> Path:
    """Find the sweep of a path, a folder's suffix or name, or ``latest``.

    Raises:
        UserError: nothing, or more than one sweep, answers to it.
    """
    if run_folder.is_sweep(Path(reference)):
        return Path(reference)
    if run_folder.is_run(Path(reference)):
        raise UserError(f"{reference} is one run; go on with: genai resume {reference}")
    if Path(reference).is_dir():
        raise UserError(
            f"{reference} has no {run_folder.SWEEP}: it is no sweep, or was ended before anything "
            "of it was written; nothing is lost, start it again with: genai train -m …"
        )
    root = run_folder.outputs_root(outputs)
    sweeps = sorted(
        (p for p in output_folders.folders(root) if run_folder.is_sweep(p)),
        key=output_folders.start_key,
    )
    if reference == "latest" and sweeps:
        return sweeps[-1]
    named = lookup.find_sweeps(root, reference)
    if len(named) == 1:
        return named[0]
    if named:
        raise UserError(f"'{reference}' means {len(named)} sweeps; give more of the path")
    near = nearest(reference, [p.name.rsplit("-", 1)[-1] for p in sweeps])
    path = root.absolute()
    raise UserError(f"no sweep '{reference}' in {path}{near}; start one with: genai train -m")
