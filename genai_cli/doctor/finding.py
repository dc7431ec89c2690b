"""Findings of the doctor: phrases from a closed list, each with its evidence."""

from __future__ import annotations

from dataclasses import dataclass

PHRASES = (  # the contract's
    "still learning",
    "converged",
    "learning rate too high",
    "learning rate too low",
    "jumps",
    "plateau then fall",
    "overfitting",
    "validation below training",
    "diverged",
    "mean collapse",
    "posterior collapse",
    "decoder ignores the code",
    "discriminator won",
    "generator vanishing",
    "mode collapse",
    "inverse error",
    "EMA too young",
    "loss does not fit the activation",
)
HEALTHY = PHRASES[:2]


@dataclass(frozen=True)
class Finding:
    """One phrase with evidence, confidence and advice.

    Attributes:
        phrase: of `PHRASES`.
        evidence: the numbers, in words.
        confidence: 0.5 where the evidence is just beyond its limit, 0.75 at twice the limit, near
            1 far from it.
        since: the epoch from which on it shows, where there is one.
        command: what to type next; "" for a CSV of another tool, whose advice is in ``advice``.
        advice: the same in words.
    """

    phrase: str
    evidence: str
    confidence: float
    since: int | None = None
    command: str = ""
    advice: str = ""


def beyond(value: float, limit: float) -> float:
    """Return the confidence that a value is above its limit (both positive)."""
    return 1 - 0.5 * min(1.0, limit / max(value, 1e-30))


def below(value: float, limit: float) -> float:
    """Return the confidence that a value is below its limit."""
    return 1 - 0.5 * min(1.0, max(value, 0.0) / limit)
