"""Refuse run folders that hold links out of the folder, as a stranger's may."""

from __future__ import annotations

import os
from pathlib import Path

from genai_cli.errors import UserError
from genai_cli.store import run_folder

INNER = (
    run_folder.CHECKPOINTS,
    "evaluation",
    "samples",
    "tensorboard",
)  # folders that verbs write into


def refuse_links(run: Path) -> None:
    """Refuse a run folder that holds links, pipes or devices.

    A ``train.log`` that is a link to ``~/.bashrc`` would get lines of the stranger's choice,
    ``checkpoints`` that is a link would lose folders to the limit on what is kept, and a pipe
    would wait for ever.

    Raises:
        UserError: an entry of the run, or of a folder in it, is a link, a pipe or a device.
    """
    if run.is_symlink() and run_folder.is_sweep(run.parent):
        raise _refusal(run)
    for folder in (run, *(run / name for name in INNER)):
        try:
            with os.scandir(folder) as entries:
                odd = [e.path for e in entries if not (_is_file_or_folder(e))]
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise UserError(f"{folder} cannot be read: {error.strerror or error}") from None
        if odd:
            raise _refusal(Path(min(odd)))


def _is_file_or_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False)


def _refusal(path: Path) -> UserError:
    kind = "a link" if path.is_symlink() else "no file"
    return UserError(
        f"{path} is {kind}, and what is written to it would go elsewhere; a run folder holds its "
        "own files: copy it with cp -rL FOLDER COPY and look at what is in the copy"
    )
