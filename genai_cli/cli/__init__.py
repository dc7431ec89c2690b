"""Parse the command line, print help and completions, and run the verbs."""

from __future__ import annotations


def main(argv: list[str] | None = None) -> int:
    """Run ``genai``: scripts that an installation wrote, of version 0.1 too, import this name."""
    from genai_cli.cli import front_door

    return front_door.main(argv)
