"""Scale-free features of a loss curve, as shares of its fall.

They work from 3 epochs to thousands. Levels are medians, so one wild epoch moves none of them.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

TAIL = 10  # the end of a curve is the last tenth of its epochs
BEHIND = 0.5  # of the fall behind a plateau: a VAE pauses at the mean image, with less behind it
WIDTH = 40  # a smoothed value is the median over a fortieth of the epochs to either side


class Curve:
    """Describe a loss by epoch; rows without a finite number are left out.

    Args:
        epochs: (n,) as the CSV counts them.
        values: (n,).
    """

    def __init__(self, epochs: np.ndarray, values: np.ndarray) -> None:
        finite = np.isfinite(values)
        self.epochs, self.values = epochs[finite], values[finite].astype(float)

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def smooth(self) -> np.ndarray:
        """Return the running median (n,).

        Below `WIDTH` epochs it is the curve itself, and its last value is always the level
        of the end.
        """
        half = len(self) // WIDTH
        if not half:
            return self.values
        padded = np.pad(self.values, half, mode="edge")
        return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)

    @property
    def start(self) -> float:
        return float(self.values[0])

    @cached_property
    def end(self) -> float:
        """Return the median of the last tenth."""
        return float(np.median(self.values[-max(1, len(self) // TAIL) :]))

    @cached_property
    def best(self) -> float:
        """Return the lowest smoothed value."""
        return float(self.smooth.min())

    @cached_property
    def best_epoch(self) -> int:
        return int(self.epochs[int(self.smooth.argmin())])

    @cached_property
    def fall(self) -> float:
        """Return the fall from the first value to the best, at least a tiny number."""
        return max(self.start - self.best, 1e-9 * max(abs(self.start), 1e-12))

    def level(self, share: float) -> float:
        """Return the smoothed value after a share of the epochs."""
        return float(self.smooth[round(share * (len(self) - 1))])

    @cached_property
    def steps(self) -> np.ndarray:
        """Return the changes (n − 1,) from epoch to epoch."""
        return np.diff(self.values)

    @cached_property
    def noise(self) -> float:
        """Return the standard deviation of an epoch about the trend.

        It comes from second differences, which are 0 on a straight line, in the half of the
        run with the smaller ones.
        """
        if len(self) < 4:
            return 0.0
        second = np.diff(self.values, 2)
        halves = (second[: len(second) // 2 + 1], second[len(second) // 2 :])
        return float(min(1.4826 * np.median(np.abs(half)) / np.sqrt(6) for half in halves))

    @cached_property
    def late(self) -> float:
        """Return the share of the fall that came in the second half of the epochs."""
        half = self.smooth[round(0.5 * (len(self) - 1)) :]
        return float(half[0] - half.min()) / self.fall

    @cached_property
    def ahead(self) -> float:
        """Return the share of the fall that as many epochs again can be expected to add.

        The gains of the last two quarters are continued as a geometric series that does not
        grow. Of fewer than 8 epochs it is the gain of the second half.
        """
        if len(self) < 8:
            return self.late
        quarter = self.smooth[round(0.75 * (len(self) - 1)) :]
        last = min(self.late, float(quarter[0] - quarter.min()) / self.fall)
        ratio = min(1.0, last / max(self.late - last, 1e-12))
        return last * sum(ratio**k for k in range(1, 5))

    @cached_property
    def unrest(self) -> float:
        """Return the 80th percentile of the rises from epoch to epoch, as a share of the fall.

        Only the second half counts; it is 0 for a curve that falls, or jumps now and then.
        """
        half = self.steps[len(self.steps) // 2 :]
        if len(half) < 3:
            return 0.0
        return max(0.0, float(np.quantile(half, 0.8))) / self.fall

    @cached_property
    def learned(self) -> int:
        """Return the first row with 19/20 of the fall.

        Later rows do not count for the length of a plateau.
        """
        return int(np.argmax(self.smooth <= self.start - 0.95 * self.fall))

    @cached_property
    def flat(self) -> tuple[int, int, float]:
        """Return the longest plateau with a fall behind it.

        The result is (first row, last row, share of the fall that came after the plateau).

        On a plateau the envelope (lowest value so far) loses less than a twentieth of the fall.
        """
        envelope = np.minimum.accumulate(self.smooth)
        n, longest = len(envelope), (0, 0, 0.0)
        last = np.searchsorted(-envelope, -(envelope - 0.05 * self.fall), side="right") - 1
        for first in range(n):
            end = int(last[first])
            behind = float(envelope[end] - envelope[-1]) / self.fall
            if behind > BEHIND and end - first > longest[1] - longest[0]:
                longest = (first, end, behind)
        return longest

    def spikes(self, size: float) -> list[int]:
        """Return the rows at which the curve leaps by ``size`` and falls back by half.

        The leap is taken from the level of the three rows before.
        """
        rows, i = [], 1
        while i < len(self):
            before = float(np.median(self.values[max(0, i - 3) : i]))
            height = self.values[i] - before
            if height > size:
                back = np.flatnonzero(self.values[i + 1 :] <= before + 0.5 * height)
                if len(back):
                    rows.append(i)
                    i += int(back[0]) + 1
            i += 1
        return rows
