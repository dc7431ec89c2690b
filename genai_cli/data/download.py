"""Find data sets that are downloaded once, or fetch them with torchvision."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from genai_cli.data.home import data_home, data_homes, user_path
from genai_cli.data.raw import one_line
from genai_cli.errors import UserError, listing

# name → (class in torchvision.datasets, the folder it makes under its root)
DOWNLOADS = {
    "mnist": ("MNIST", "MNIST"),
    "fashion_mnist": ("FashionMNIST", "FashionMNIST"),
    "kmnist": ("KMNIST", "KMNIST"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py"),
}
_TIMEOUT = 30.0  # seconds of silence from a server


def find_or_download(
    name: str, root: str | None, locate: Callable[[Path, bool], Path | None]
) -> Path:
    """Return the folder that holds the set's files; download them if they are missing.

    Args:
        name: of the set.
        root: the key ``dataset.root``: there and nowhere else. None: the data folder, the
            system's (`home.data_homes`), and a download into the first where they are missing.
        locate: (folder, whether the user named it) → where in it the files are, or None.
    """
    if root is not None:
        given = user_path(root, "dataset.root", "DIR")
        path = locate(given, True)
        if path is None:
            raise UserError(
                f"dataset.root={one_line(root)} holds no files of {name}; give the folder they are "
                f"in, or type 'genai data fetch {name} root={one_line(root)}'"
            )
        return path
    home = data_home()
    path = next(
        filter(None, (locate(home_candidate, False) for home_candidate in data_homes())), None
    )
    if path is None:
        fetch(name, home)
        path = locate(home, False)
    if path is None:
        raise UserError(f"{name} was downloaded to {one_line(home)} but its files are not there")
    return path


def fetch(name: str, root: Path) -> Path:
    """Download ``name`` into ``root`` and return its folder there.

    Downloads beside and renames: other processes see a whole set or none, and an interrupted
    download leaves nothing that looks like one.
    """
    if name not in DOWNLOADS:
        raise UserError(f"'{one_line(name)}' is not downloaded (choose from: {listing(DOWNLOADS)})")
    class_name, folder = DOWNLOADS[name]
    partial = root / f".partial-{name}-{os.getpid()}"
    made = [parent for parent in (root, *root.parents) if not parent.exists()]
    try:
        partial.mkdir(parents=True, exist_ok=True)
        _download(class_name, partial)
        if not (root / folder).exists():
            with contextlib.suppress(FileExistsError):  # another process was faster
                (partial / folder).rename(root / folder)
    except Exception as error:  # torchvision, urllib and ssl raise nearly anything offline
        raise UserError(
            f"{name} is not in {one_line(root)} and cannot be downloaded ({_reason(error)}); "
            f"{_otherwise(name)}"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        for empty in made:
            with contextlib.suppress(OSError):  # it holds the set, or was never made
                empty.rmdir()
    return root / folder


def _download(class_name: str, root: Path) -> None:
    import torchvision

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    # torchvision prints each mirror it fails at; a terminal may see its bar, a log needs neither.
    quiet = contextlib.nullcontext() if sys.stderr.isatty() else _silence()
    try:
        with quiet:
            getattr(torchvision.datasets, class_name)(str(root), download=True)
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _silence():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _reason(error: Exception) -> str:
    """The cause: torchvision lists every mirror it tried, the last one's trouble says it all."""
    words = " ".join(str(error).split()) or type(error).__name__
    return one_line(words.rpartition("] ")[2].rstrip(">") if "urlopen" in words else words, 100)


def _otherwise(name: str) -> str:
    if name == "fashion_mnist":
        return (
            "on Debian type 'apt-get install dataset-fashion-mnist' and add "
            "dataset.root=/usr/share/datasets/fashion-mnist, or type "
            "'genai data fetch fashion_mnist' on a machine with a network and copy the folder"
        )
    return (
        f"type 'genai data fetch {name}' on a machine with a network and copy the folder, then "
        "add dataset.root=DIR"
    )
