"""Findings as text: a line each, the rows of a table, and a note in a figure."""

from __future__ import annotations

from collections.abc import Sequence

from genai_cli.doctor.finding import HEALTHY, Finding

MOST = 3  # lines at the end of `genai train`


def lines(findings: Sequence[Finding]) -> list[str]:
    """One line for each of the first findings; the next command behind it."""
    out = []
    for f in findings[:MOST]:
        since = "" if f.since is None else f" from epoch {f.since}"
        then = f.command or f.advice
        out.append(f"doctor   {f.phrase}{since}: {f.evidence} → {then}")
    return out


def pages(name: str, findings: Sequence[Finding]) -> list[str]:
    """A run by itself: phrase and confidence, then evidence and what to do, a line each."""
    out = [name]
    for f in findings:
        since = "" if f.since is None else f" from epoch {f.since}"
        out.append(f"  {f.phrase}{since}  ({f.confidence:.0%} sure)")
        out.append(f"    {f.evidence}")
        out.append(f"    {f.advice}{': ' + f.command if f.command else ''}")
    return out


def row(name: str, findings: Sequence[Finding]) -> tuple[str, str, str, str, str]:
    """Of the table of several runs: the first finding, and how many others there are."""
    first = findings[0]
    more = f" (+{len(findings) - 1})" if len(findings) > 1 else ""
    since = "" if first.since is None else str(first.since)
    return name, first.phrase + more, since, f"{first.confidence:.0%}", first.evidence


def note(findings: Sequence[Finding]) -> tuple[str, int | None]:
    """What loss_curve.png says, and the epoch it points at; of a healthy run only the phrase."""
    words = " · ".join(
        f.phrase if f.since is None else f"{f.phrase} from epoch {f.since}" for f in findings[:MOST]
    )
    since = next(
        (f.since for f in findings if f.phrase not in HEALTHY and f.since is not None), None
    )
    return words, since
