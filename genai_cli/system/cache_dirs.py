"""Give libraries a writable cache folder where the user's own cannot be used, and set how much
torch logs.

A container or a batch job may have no home, a home that cannot be written, or a user that has no
name. matplotlib then warns twice on stderr, and torch's compiler, which the first optimizer
imports, fails. They get a folder of this process instead, gone when it ends.
"""

from __future__ import annotations

import os

from genai_cli.errors import UserError

MATPLOTLIB, TORCH = "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"
CPP = "TORCH_CPP_LOG_LEVEL"  # of what its C++ writes to stderr, past Python: no warnings


def ensure_writable_dirs() -> None:
    """Set missing cache folders in the environment, for this process and its children.

    Raises:
        UserError: the working directory has been removed: no path that is not absolute means
            anything there.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("the folder you are in has been removed; cd to another one") from None
    os.environ.setdefault(CPP, "ERROR")
    if not _home():
        os.environ["HOME"] = _temporary_dir()
    given = os.environ.get(MATPLOTLIB)
    homes = [("XDG_CONFIG_HOME", "~/.config"), ("XDG_CACHE_HOME", "~/.cache")]
    usual = [os.environ.get(name) or os.path.expanduser(path) for name, path in homes]
    if not all(map(_usable, [given] if given else usual)):
        os.environ[MATPLOTLIB] = _temporary_dir()
    given = os.environ.get(TORCH)
    if not _usable(given) if given else not _named():
        os.environ[TORCH] = _temporary_dir()


def _home() -> bool:
    """Tell whether ~ means anything: $HOME, or what the system knows of the user."""
    return os.path.expanduser("~") != "~"


def _named() -> bool:
    """Tell whether the user has a name, from which torch makes that of its folder."""
    if any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        return True
    try:
        import pwd

        pwd.getpwuid(os.getuid())
    except (ImportError, KeyError):
        return False
    return True


def _usable(path: str) -> bool:
    """Tell whether a folder can be written or made, by trying: root is allowed all, and can not."""
    if os.path.isdir(path):
        return os.access(path, os.W_OK | os.X_OK)
    parent = os.path.dirname(os.path.abspath(path))
    while not os.path.exists(parent) and os.path.dirname(parent) != parent:
        path, parent = parent, os.path.dirname(parent)
    try:
        os.mkdir(path)
        os.rmdir(path)
    except FileExistsError:  # a file, or another process that asks the same
        return os.path.isdir(path)
    except OSError:
        return False
    return True


_made: list[str] = []


def _temporary_dir() -> str:
    """Return the temporary folder of this process; "" where nothing can be written."""
    if not _made:
        import atexit
        import shutil
        import tempfile

        try:
            _made.append(tempfile.mkdtemp(prefix="genai-"))
        except OSError:
            return ""
        owner, made = os.getpid(), _made[0]

        def remove() -> None:
            if os.getpid() == owner:  # not in a child that was forked
                shutil.rmtree(made, ignore_errors=True)

        atexit.register(remove)
    return _made[0]
