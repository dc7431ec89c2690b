"""Format numbers and tables as plain text."""

from __future__ import annotations

from collections.abc import Sequence

from genai_cli.system.terminal import escape_control


def format_number(value: float) -> str:
    """Format a number with four significant digits, without an exponent where it reads well."""
    if value != value or abs(value) in (float("inf"),):
        return str(value)
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        digits = max(0, 4 - len(str(int(abs(value)))) if abs(value) >= 1 else _after_point(value))
        return f"{value:,.{digits}f}"
    return f"{value:.3e}"


def _after_point(value: float) -> int:
    """Decimals that show four digits of a number below 1."""
    if value == 0:
        return 1
    zeros = 0
    size = abs(value)
    while size < 0.1:
        size, zeros = size * 10, zeros + 1
    return 4 + zeros


def csv_cell(text: str) -> str:
    """Escape ``text`` for a CSV that a spreadsheet may open. A name that begins like a formula gets
    an apostrophe before it, a number does not. A carriage return would end the row: Python's csv
    quotes it only where it is its own line end.
    """
    text = escape_control(text)
    if text[:1] not in ("=", "+", "-", "@", "\t"):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def format_table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)
) -> str:
    """Format a table as plain text, with ``left`` columns aligned left."""
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]

    def cells(row: Sequence[str]) -> str:
        padded = [
            str(c).ljust(w) if i in left else str(c).rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return "  " + "  ".join(padded).rstrip()

    rule = "  " + "  ".join("─" * w for w in widths)
    return "\n".join([title, cells(head), rule, *(cells(r) for r in rows)])
