"""Format findings as lines, as rows of a table, and as a note in a figure."""

from __future__ import annotations

from collections.abc import Sequence

from genai_cli.doctor.finding import HEALTHY, Finding

MOST = 3  # lines at the end of `genai train`


def lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line for each of the first findings, with the next command behind it."""
    out = []
    for f in findings[:MOST]:
        since = "" if f.since is None else f" from epoch {f.since}"
        then = f.command or f.advice
        out.append(f"doctor   {f.phrase}{since}: {f.evidence} → {then}")
    return out


def pages(name: str, findings: Sequence[Finding]) -> list[str]:
    """Format a single run: phrase and confidence, then evidence and advice, a line each."""
    out = [name]
    for f in findings:
        since = "" if f.since is None else f" from epoch {f.since}"
        out.append(f"  {f.phrase}{since}  ({f.confidence:.0%} sure)")
        out.append(f"    {f.evidence}")
        out.append(f"    {f.advice}{': ' + f.command if f.command else ''}")
    return out


def row(name: str, findings: Sequence[Finding]) -> tuple[str, str, str, str, str]:
    """Return a run's row in the table of several: its first finding and the number of others."""
    first = findings[0]
    more = f" (+{len(findings) - 1})" if len(findings) > 1 else ""
    since = "" if first.since is None else str(first.since)
    return name, first.phrase + more, since, f"{first.confidence:.0%}", first.evidence


def note(findings: Sequence[Finding]) -> tuple[str, int | None]:
    """Return the note in loss_curve.png and the epoch it points at."""
    words = " · ".join(
        f.phrase if f.since is None else f"{f.phrase} from epoch {f.since}" for f in findings[:MOST]
    )
    since = next(
        (f.since for f in findings if f.phrase not in HEALTHY and f.since is not None), None
    )
    return words, since
