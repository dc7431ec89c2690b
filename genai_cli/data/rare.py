"""Make a class rare in the training split, and balance classes again by oversampling.

Validation and test keep the shares of the population: they are the world that the model will meet,
and the same examples for every `rare`, so that curves of a biased and an unbiased run compare.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from genai_cli.data.raw import Raw, one_line
from genai_cli.errors import UserError, listing, nearest


def class_index(name: int | str, classes: Sequence[str]) -> int:
    """Return the label of the class ``name``, or of that number where no class has the name.

    Raises:
        UserError: there is no such class.
    """
    if str(name) in classes:
        return list(classes).index(str(name))
    if isinstance(name, int) and 0 <= name < len(classes):
        return name
    raise UserError(
        f"dataset.rare={one_line(name)} is no class{nearest(str(name), classes)} "
        f"(choose from: {listing(list(classes)[:20])}, or 0 to {len(classes) - 1})"
    )


def require_labels(raw: Raw, key: str) -> np.ndarray:
    """Return the labels (n,) that ``dataset.key`` needs.

    Raises:
        UserError: there are none.
    """
    if raw.y is None or not raw.has_labels:
        raise UserError(f"dataset.{key} needs labels and this data has none; leave it out")
    return raw.y


def thin_class(
    index: np.ndarray, labels: np.ndarray, label: int, share: float, limit: int | None
) -> np.ndarray:
    """Thin out a class: return ``index`` (n,) in order with ``label`` at the fraction ``share``.

    All other examples stay, or with ``limit`` the first of them that leave room: exactly ``limit``
    examples, so that runs at different shares take the same number of steps. A smaller share keeps
    the first examples of the class that a larger one has.

    Args:
        index: shuffled.
        labels: of all examples of the source.

    Raises:
        UserError: the data has too few examples of the class, or of the others.
    """
    is_rare = labels[index] == label
    have, others = int(is_rare.sum()), int((~is_rare).sum())
    if limit is None:
        wanted, rest = round(others * share / (1 - share)), others
    else:
        wanted = round(limit * share)
        rest = limit - wanted
    if wanted > have:
        most = have / (have + others) if limit is None else have / limit
        raise UserError(
            f"dataset.rare_share={share:g} needs {wanted:,} examples of the class and the training "
            f"split has {have:,}; choose at most {int(most * 10000) / 10000:g}"
        )
    if rest > others:
        raise UserError(
            f"dataset.limit={limit} needs {rest:,} examples of other classes than dataset.rare and "
            f"the training split has {others:,}; choose at most {int(others / (1 - share)):,}"
        )
    kept = np.where(is_rare, np.cumsum(is_rare) <= wanted, np.cumsum(~is_rare) <= rest)
    return index[kept]


def describe_imbalance(
    raw: Raw, train: np.ndarray, label: int | None, balance: bool
) -> tuple[str, ...]:
    """Describe the class imbalance, a line each: the counts, and classes without examples.

    Args:
        train: indices of the training split.
        label: of the rare class, if there is one.
        balance: classes are drawn equally often.
    """
    y, lines = require_labels(raw, "rare"), []
    have = np.bincount(y[train], minlength=len(raw.classes))
    if label is not None:
        share = have[label] / max(1, len(train))
        lines.append(
            f"{one_line(raw.classes[label], 40)} is rare in training: {have[label]:,} of "
            f"{len(train):,} examples ({100 * share:.3g} %; {100 * np.mean(y == label):.3g} % of "
            "all data); validation and test keep theirs"
        )
    gone = [raw.classes[k] for k in np.flatnonzero(have == 0)] if balance else []
    if gone:
        lines.append(
            "dataset.balance=true cannot bring back what is not there: no training example of "
            f"{one_line(', '.join(gone), 80)}"
        )
    return tuple(lines)
