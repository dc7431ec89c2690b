"""The wheel works from any directory: configs inside, outputs in the caller's folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_wheel_finds_its_configs_from_anywhere(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    shipped = {
        str(p.relative_to(ROOT)) for p in (ROOT / "configs").rglob("*.yaml")
    }  # every YAML is inside, and nothing at the top level but the package
    assert {n.removeprefix("genai_cli/") for n in names if n.endswith(".yaml")} == shipped
    assert {n.split("/")[0].split("-")[0] for n in names} == {"genai_cli"}
    weights = "genai_cli/evaluation/weights"  # of the reference classifiers
    assert (
        {n for n in names if n.startswith(weights)}
        == {f"{weights}/{p.name}" for p in (ROOT / weights).glob("*.safetensors")}
        != set()
    )
    templates = "genai_cli/report/templates"
    assert {n for n in names if n.startswith(templates)} == {
        f"{templates}/{p.name}" for p in (ROOT / templates).iterdir()
    }
    code = "import sys; from genai_cli.cli.front_door import main; sys.exit(main(sys.argv[1:]))"
    for words in (["train", "epochs=1", "dataset.limit=64"], ["report", "latest"]):
        ran = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr
    assert len(list(elsewhere.glob("outputs/*/*/summary.json"))) == 1
