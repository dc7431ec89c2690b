"""Format numbers with intervals; the digits follow from the width of the interval."""

from __future__ import annotations

import math

from genai_cli.system.text import format_number


def decimals(half: float) -> int:
    """Return the decimals that a half-width supports: two digits of it if it starts with 1 or 2.

    Negative where it supports none, and hundreds or thousands are rounded.
    """
    exponent = math.floor(math.log10(half))
    return -exponent + (1 if half / 10**exponent < 2.95 else 0)


def half_width(value: float, low: float, high: float) -> float:
    """Return the wider side of an interval."""
    return max(high - value, value - low, 0.0)


def format_rounded(value: float, digits: int) -> str:
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def format_value(value: float) -> str:
    """Format a number without an interval."""
    return (
        f"{int(value):,}"
        if float(value).is_integer() and abs(value) < 1e15
        else format_number(value)
    )


def format_plus_minus(value: float, low: float | None, high: float | None) -> str:
    """Format as ``12.3 ±0.4``, ``10 ±0`` where nothing varied, or a number without interval."""
    if low is None or high is None:
        return format_value(value)
    half = half_width(value, low, high)
    if half <= 1e-12 * abs(value):
        return f"{format_value(value)} ±0"
    digits = decimals(half)
    if digits > 5:
        return f"{value:.1e} ±{half:.0e}"
    return f"{format_rounded(value, digits)} ±{format_rounded(half, digits)}"


def format_interval(value: float, low: float | None, high: float | None) -> str:
    """Format as ``1.88 (1.86–1.91)``, for a sentence."""
    if low is None or high is None:
        return format_value(value)
    half = half_width(value, low, high)
    if half <= 1e-12 * abs(value):
        return format_value(value)
    digits = decimals(half)
    if digits > 5:
        return f"{value:.2e} ({low:.1e} to {high:.1e})"
    dash = "–" if low >= 0 else " to "
    middle, lower, upper = (format_rounded(x, digits) for x in (value, low, high))
    return f"{middle} ({lower}{dash}{upper})"
