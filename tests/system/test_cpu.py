"""A container's quota and a job's CPUs bound what is used of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from genai_cli.system import cpu


@pytest.mark.parametrize(
    ("text", "found"),
    [("200000 100000", 2), ("150000 100000", 2), ("20000 100000", 1), ("max 100000", None)],
)
def test_a_quota_of_version_2(tmp_path: Path, text: str, found: int | None) -> None:
    (tmp_path / "cpu.max").write_text(f"{text}\n")
    assert cpu.quota(tmp_path) == found


@pytest.mark.parametrize(("text", "found"), [("400000", 4), ("-1", None)])
def test_a_quota_of_version_1(tmp_path: Path, text: str, found: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{text}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu.quota(tmp_path) == found


def test_no_group_is_no_limit(tmp_path: Path) -> None:
    assert cpu.quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("nonsense")
    assert cpu.quota(tmp_path) is None


def test_the_least_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "CGROUP", tmp_path)
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for name in ("SLURM_CPUS_PER_TASK", "GENAI_CORES"):
        monkeypatch.delenv(name, raising=False)
    assert cpu.cores() == 8
    (tmp_path / "cpu.max").write_text("400000 100000")
    assert cpu.cores() == 4
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "2")
    assert cpu.cores() == 2
