"""Dispatch ``genai VERB key=value …`` to the module of the verb.

Start-up time lives here. At the top level stands the standard library's cheapest part only; a verb
is imported when it is called, and ``--help`` and completion never import one.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys

from genai_cli.cli.command_table import VERBS

HELP = ("-h", "--help")
NO_PATH = (errno.ENAMETOOLONG, errno.ELOOP)  # errors of names that no path can have
GONE = (errno.EPIPE, errno.EIO)  # a pipe's reader, a terminal
WRITING = ("data", "compare", "report")  # verbs that import while a file is half written


def main(argv: list[str] | None = None) -> int:
    """Run one command line (``sys.argv`` without its first word) and return its exit code.

    Returns:
        0 done; 1 failed after the start; 2 a user's mistake, told in one line; 130 interrupted;
        141 the reader of our output has gone.

    Raises:
        SystemExit: 143, on TERM, USR1 or HUP.
    """
    if argv is not None:
        return _run(list(argv))
    _open_standard()
    try:
        return _run(sys.argv[1:])
    finally:
        from genai_cli.system.signals import ignore_signals

        ignore_signals()


def _open_standard() -> None:
    """Open the null device for closed standard streams (``>&-``). The next file to be opened would
    otherwise take their number, and what libraries print would go into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the least number that is free: this one


def _run(words: list[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a locale without "→" prints "?" and goes on
            stream.reconfigure(errors="replace")
    try:
        code = _call(words)
        if sys.stdout is not None:
            sys.stdout.flush()  # a closed pipe shows here, not in the interpreter's shutdown
        return code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error, OSError) and error.errno in GONE and _reader_left():
            return 141
        from genai_cli.errors import UserError, in_one_line

        if isinstance(error, OSError) and error.errno in NO_PATH:
            error = UserError(f"{error.filename}: {error.strerror}; give another path")
        if not isinstance(error, UserError):
            from genai_cli.system.disk_errors import explain_in_one_line

            message = explain_in_one_line(error)
            if message is None:
                raise
            print(f"genai: {message}", file=sys.stderr)
            return 1
        if os.environ.get("GENAI_TRACEBACK") == "1":
            import traceback

            traceback.print_exc()
        command = " ".join(["genai", *(w for w in words[:1] if w in VERBS)])
        from genai_cli.config.ranks import rank

        where = f"[rank {rank()}] " if rank() else ""
        print(f"{command}: {where}{in_one_line(error)}", file=sys.stderr)
        return error.code


def _call(words: list[str]) -> int:
    verb, *args = words or ["--help"]
    if verb == "_complete":  # what the shell asks behind a TAB
        from genai_cli.cli.completion.candidates import print_candidates

        return print_candidates(args)
    if verb == "--version":
        from genai_cli.version import __version__

        print(f"genai {__version__}")
        return 0
    if verb in HELP or verb == "help":
        from genai_cli.cli.help import overview, verb_help

        named = [w for w in args if w not in HELP]
        print(verb_help(_known(named[0]), named[1:]) if named else overview())
        return 0
    if verb not in VERBS:
        _known(verb, args)
    if any(flag in args for flag in HELP):
        from genai_cli.cli.help import verb_help

        print(verb_help(verb, [a for a in args if a not in HELP]))
        return 0
    from genai_cli.system.cache_dirs import ensure_writable_dirs
    from genai_cli.system.library_messages import capture_messages
    from genai_cli.system.signals import exit_now, handle_signals, raise_exit
    from genai_cli.system.terminal import escape_output

    ensure_writable_dirs()
    listens = handle_signals(raise_exit if verb in WRITING else exit_now)
    with listens, escape_output(), capture_messages():
        return importlib.import_module(f"genai_cli.cli.commands.{verb}").main(args) or 0


def _known(verb: str, args: list[str] | None = None) -> str:
    """Return ``verb`` if it exists, else raise a `UserError` that names the nearest."""
    from genai_cli.errors import UserError, listing, nearest

    if verb in VERBS:
        return verb
    if not verb.startswith("-") and "=" not in verb:
        raise UserError(
            f"unknown verb '{verb}'{nearest(verb, VERBS)} (choose from: {listing(VERBS)})"
        )
    kind = "flag" if verb.startswith("-") else "key"
    named = next((a for a in args or [] if a in VERBS), None)
    moved = " ".join([named or ("train" if kind == "key" else "VERB"), verb])
    rest = " …" if len(args or []) > (named is not None) else ""
    raise UserError(f"the verb comes first, then the {kind} '{verb}'; type: genai {moved}{rest}")


def _reader_left() -> bool:
    """Tell whether stdout's or stderr's reader has gone; a worker's broken pipe does not count."""
    import select

    if not hasattr(select, "poll"):  # Windows
        return True
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            number = stream.fileno()
        except (AttributeError, OSError, ValueError):  # closed, or a test's
            continue
        poll = select.poll()
        poll.register(number, 0)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            gone = True
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)  # what is still buffered goes nowhere, without a message
            os.close(null)
    return gone
