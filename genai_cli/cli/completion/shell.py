"""Split an unfinished command line as bash does."""

from __future__ import annotations


def split_line(line: str, breaks: str) -> tuple[list[str], int, str]:
    """Split a command line into words as bash would; the last word may be unfinished.

    Returns:
        the words without quotes; how much of the last stands before the part that bash replaces;
        the quote left open, if any.
    """
    words, cut, quote, escaped, inside = [""], 0, "", False, False
    for c in line:
        if escaped:
            words[-1] += c
            escaped = False
        elif c == "\\" and quote != "'":
            escaped = inside = True
        elif quote:
            quote = "" if c == quote else quote
            words[-1] += c if quote else ""
        elif c in "'\"":
            quote, cut, inside = c, len(words[-1]), True
        elif c.isspace():
            if words[-1] or inside:
                words.append("")
            cut, inside = 0, False
        else:
            words[-1] += c
            cut = len(words[-1]) if c in breaks else cut
    return words, cut, quote
