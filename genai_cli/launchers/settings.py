"""How the cells of a sweep are started: the keys of ``configs/hydra/launcher/NAME.yaml``, typed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Serial:
    """One after the other, in this process."""

    name: str = "serial"


@dataclass
class Joblib:
    """Several processes of this machine."""

    name: str = "joblib"
    workers: int | None = None


@dataclass
class Slurm:
    """Jobs of a Slurm cluster; the YAML says what each key means."""

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


Launcher = Serial | Joblib | Slurm
LAUNCHERS: dict[str, type[Launcher]] = {"serial": Serial, "joblib": Joblib, "slurm": Slurm}
