"""Diagnose a run in which no rule finds a fault: still learning, or converged."""

from __future__ import annotations

import numpy as np

from genai_cli.doctor import limits, signs
from genai_cli.doctor.advice import make_finding
from genai_cli.doctor.finding import Finding, below, beyond
from genai_cli.doctor.reading import Reading
from genai_cli.system.text import format_number


def healthy(r: Reading) -> Finding:
    c = r.val or r.train
    if c is None:
        return _adversarial(r)
    if len(c) < 3:
        return make_finding(
            "still learning", r, f"{len(c)} of at least 3 epochs; too early to see more", 0.5
        )
    if not signs.has_learned(r):
        evidence = (
            f"no fall beyond the noise: {format_number(c.start)} in the first epoch, "
            f"{format_number(c.end)} in the last; nothing was learned, "
            "or all of it within the first epoch"
        )
        return make_finding("converged", r, evidence, 0.5)
    error, mean = signs.errors(r)
    if error is not None and mean and error > limits.MEAN_ERROR * mean:
        evidence = f"the error is still {error / mean:.0%} of that of {signs.constant(r)}"
        return make_finding("still learning", r, evidence, 0.6)
    evidence = (
        f"{c.late:.1%} of the fall came in the second half of the epochs; "
        f"as many again may add {c.ahead:.1%}"
    )
    weight = max(c.ahead / limits.EXPECTED_GAIN, c.late / limits.LATE_FALL)
    if weight > 1:
        return make_finding("still learning", r, evidence, beyond(weight, 1))
    return make_finding(
        "converged", r, f"{evidence}; loss {format_number(c.end)}", below(weight, 1)
    )


def _adversarial(r: Reading) -> Finding:
    """Two players: their losses say whether they still move, not how good the samples are."""
    losses = [c for n in r.columns if n.endswith("/loss") and (c := r.curve(n)) is not None]
    if not losses:
        return make_finding("still learning", r, "no loss yet", 0.5)
    moved = max(
        abs(c.level(1) - c.level(0.5)) / max(np.abs(c.values).mean(), 1e-30) for c in losses
    )
    covered = r.number("sample_coverage")
    evidence = f"the players' losses moved by {moved:.0%} in the second half"
    if covered is not None:
        evidence += f"; samples reach {covered:.0%} of the test examples"
    if moved > 0.1:
        return make_finding("still learning", r, evidence, beyond(moved, 0.1))
    return make_finding("converged", r, evidence, below(moved, 0.1))
