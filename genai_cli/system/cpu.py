"""Count the CPU cores this process may use: fewer than the machine's in a container or a job."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Return the least of the CPU affinity, the container's quota and the Slurm job's CPUs.

    GENAI_CORES is what a sweep gives each of several workers.
    """
    if hasattr(os, "sched_getaffinity"):
        known = [len(os.sched_getaffinity(0))]
    else:
        known = [os.cpu_count() or 1]
    known.append(quota(CGROUP) or known[0])
    for name in ("SLURM_CPUS_PER_TASK", "GENAI_CORES"):
        granted = os.environ.get(name, "")
        if granted.isdigit() and int(granted):
            known.append(int(granted))
    return min(known)


def quota(root: Path) -> int | None:
    """Return the cores that a control group grants, rounded up; None where it sets no limit.

    Version 2 writes ``cpu.max`` ("200000 100000": microseconds in each period, or "max"), version 1
    two files of one number (-1 for no limit). A container sees its own group at the root.
    """
    try:
        granted, period = (root / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            granted, period = ((root / "cpu" / n).read_text(encoding="ascii") for n in names)
        except (OSError, ValueError):
            return None
    try:
        share = float(granted) / float(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return None
    return max(1, math.ceil(share)) if share > 0 else None
