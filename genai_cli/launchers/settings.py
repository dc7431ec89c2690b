"""Settings of the launchers: the keys of ``configs/hydra/launcher/NAME.yaml``, typed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genai_cli.errors import UserError

if TYPE_CHECKING:
    from genai_cli.config.compose import CommandLine


@dataclass
class Serial:
    """Settings of the serial launcher: one cell after the other, in this process."""

    name: str = "serial"


@dataclass
class Processes:
    """Settings of several worker processes; the YAML documents each key."""

    name: str = "processes"
    workers: int | None = None
    per_gpu: int | None = 1

    def __post_init__(self) -> None:
        _check_minimum(self, 1, "workers", "per_gpu")


@dataclass
class Slurm:
    """Settings of jobs of a Slurm cluster; the YAML documents each key."""

    name: str = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int = 1
    gpus: int = 0
    cpus: int = 1
    memory_gb: float | None = None
    minutes: int = 60
    notice: int = 120
    parallel: int | None = None
    wait: bool = True
    setup: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for key in ("partition", "account", "qos", "constraint"):
            value = getattr(self, key)
            if value is not None and not value.isprintable():  # a line of the batch script
                raise UserError(f"hydra.launcher.{key}={value!r} is not allowed: one line of text")
        _check_minimum(self, 1, "nodes", "cpus", "minutes", "notice", "parallel")
        _check_minimum(self, 0, "gpus")
        if self.memory_gb is not None and self.memory_gb <= 0:
            raise UserError(
                f"hydra.launcher.memory_gb={self.memory_gb:g} is not allowed: a number above 0"
            )
        if self.notice >= 60 * self.minutes:
            raise UserError(
                f"hydra.launcher.notice={self.notice} is not allowed: below the time limit of "
                f"{self.minutes} minutes, {60 * self.minutes} s"
            )


Launcher = Serial | Processes | Slurm


def gpus_of(launcher: Launcher | None) -> int | None:
    """Return the GPUs of a run on its node; None if it runs on this machine."""
    return launcher.gpus if isinstance(launcher, Slurm) else None


LAUNCHERS: dict[str, type[Launcher]] = {"serial": Serial, "processes": Processes, "slurm": Slurm}
ALIASES = {"joblib": "processes"}  # its name in version 0.1, in lines, YAMLs and sweep.yaml


def read_launcher(line: CommandLine) -> Launcher:
    """Read the launcher of a line with -m.

    Raises:
        UserError: an unknown launcher or key, or a value that is not allowed.
    """
    return read_choice(line.launcher, line.config_dirs)


def read_choice(words: Sequence[str], folders: Sequence[str], default: str = "serial") -> Launcher:
    """Read the launcher of ``hydra/launcher=NAME`` and ``hydra.launcher.KEY=value``.

    Args:
        words: of the line, those of this group.
        folders: of ``-cd``.
        default: the launcher where the words name none.

    Raises:
        UserError: an unknown launcher or key, or a value that is not allowed.
    """
    from genai_cli.config import groups

    return groups.read_settings(
        "hydra/launcher", LAUNCHERS, default, words, folders, aliases=ALIASES
    )


def read_run_launcher(line: CommandLine) -> Launcher | None:
    """Read the launcher of a line without -m: Slurm, or None for this process.

    Raises:
        UserError: as `read_launcher`; or a launcher of several processes, which one run has no use
            for.
    """
    launcher = read_launcher(line)
    if isinstance(launcher, Processes):
        raise UserError(f"{line.launcher[0]} is for a sweep; add -m, or leave it out for one run")
    return launcher if isinstance(launcher, Slurm) else None


def _check_minimum(settings: Any, least: int, *keys: str) -> None:
    for key in keys:
        value = getattr(settings, key)
        if value is not None and value < least:
            raise UserError(
                f"hydra.launcher.{key}={value} is not allowed: a whole number, {least} or more"
            )
