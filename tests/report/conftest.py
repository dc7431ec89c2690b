"""Run folders in any state, a hostile one, and a browser to look at their pages."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from report_folders import ALL, PAYLOADS, PLAYER, RULER, entry, png

from genai_cli.store import run_folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a run folder; what is given replaces what a quiet run of a VAE holds."""
    config = {
        "dataset": {"name": "digits"},
        "model": {"name": "vae", "beta": 4.0},
        "loss": {"name": "logistic"},
        "optimizer": {"name": "adam", "lr": 0.01},
        "schedule": {"name": "onecycle", "horizon": 50.0},
        "trainer": {"ema": None},
        "bottleneck": 8,
        "epochs": 50,
        "seed": 0,
        "outputs": str(tmp_path / "outputs"),
        "tags": [],
    }
    described = {
        "schema": 1,
        "status": "finished",
        "command": f"genai train model=vae model.beta=4 outputs={tmp_path / 'outputs'}",
        "parameters": 104_288,
        "device": "cpu x86_64",
        "precision": "fp32",
        "threads": 1,
        "versions": {"genai_cli": "0.1.0", "torch": "2.15.0"},
        "git": "5b878f3edcb5-dirty",
        "dataset": {
            "name": "digits",
            "hash": "2e0d",
            "split_hash": "0363",
            "event_shape": [1, 8, 8],
        },
        "seed": 0,
        "started": "2026-11-23T12:40:46.360+00:00",
        "finished": "2026-11-23T12:44:52.469+00:00",
    }
    header = "epoch,step,images,seconds,lr,train/loss,val/loss,train/kl,val/kl\n"
    curve = "".join(
        f"{e},{21 * e},{1293 * e},{e},0.001,{8 / e},{8.5 / e},{e / 9},{e / 10}\n"
        for e in range(1, 13)
    )
    summary = {
        "schema": 1,
        "epoch": 12,
        "seconds": 21.5,
        "monitor": {"name": "val/loss", "value": 0.7083, "epoch": 12},
        "metrics": {"test/loss": entry(0.7), "test/mse": entry(0.0096)},
    }

    def run(
        name: str = "2026-11-23/12-40-46-vae-digits-k3f9",
        *,
        changed: dict[str, Any] | None = None,
        said: dict[str, Any] | None = None,
        done: dict[str, Any] | None = None,
        metrics: str = header + curve,
        log: str = "epoch 12/60  train 0.66\n",
        evaluations: dict[str, dict[str, Any]] | None = None,
        pictures: tuple[str, ...] = ("samples", "reconstructions"),
    ) -> Path:
        folder = tmp_path / "outputs" / name
        folder.mkdir(parents=True)
        (folder / run_folder.CONFIG).write_text(
            yaml.safe_dump(config | (changed or {}), allow_unicode=True), encoding="utf-8"
        )
        (folder / run_folder.RUN).write_text(json.dumps(described | (said or {})))
        if done is not None or (said or {}).get("status", "finished") == "finished":
            (folder / run_folder.SUMMARY).write_text(json.dumps(done or summary))
        (folder / run_folder.METRICS).write_text(metrics)
        (folder / run_folder.LOG).write_text(log)
        for picture in pictures:
            (folder / f"{picture}.png").write_bytes(png())
        for place, content in (evaluations or {}).items():
            (folder / "evaluation" / place).mkdir(parents=True)
            file = folder / "evaluation" / place / "evaluation.json"
            file.write_text(json.dumps({"schema": 1} | content))
            (file.parent / "classes.png").write_bytes(png())
        return folder

    return run


@pytest.fixture
def evaluation() -> dict[str, Any]:
    """An evaluation with a floor, a bound, a reason and tables."""
    floor = {"value": 0.0082, "low": 0.008, "high": 0.0084, "n": 360, "what": "PCA, 16 components"}
    bound = {
        "ruler": RULER | {"metric": "bits_per_dim"},
        "player": PLAYER | {"likelihood": "bound"},
    }
    absent = {"value": None, "low": None, "high": None, "n": 0}
    return {
        "finished": "2026-11-23T13:00:00+00:00",
        "settings": {"n": 360, "sets": 5, "features": "reference", "options": {"steps": 50}},
        "metrics": {
            "reconstruction/mse": entry(0.0096, floor=floor),
            "likelihood/bits_per_dim": entry(3.26, passport=bound),
            "likelihood/nats": absent | {"reason": "the density of greys is not defined"},
            "memorisation/p": entry(0.0001),
        },
        "tables": {
            "classes": {"names": ["0", "1"], "samples": [0.4, 0.6], "real": [0.5, 0.5]},
            "confusion": [[35, 1], [2, 34]],
        },
    }


@pytest.fixture
def hostile(write: Callable[..., Path]) -> Path:
    """A run whose every text is an attack, and whose files are broken in part."""
    metrics = {
        f"test/{ALL}": entry(1.0, passport={"ruler": {ALL: ALL}, "player": {ALL: ALL}}),
        "test/mse": {"value": "NaN", "low": [], "passport": ALL},
        "test/loss": ALL,
        "test/kl": entry(1.0, floor={"value": 1, "what": ALL}),
    }
    attack = {
        "finished": ALL,
        "settings": {ALL: ALL},
        "metrics": {
            f"x/{ALL}": entry(1.0),
            "samples/frechet": {"value": None, "reason": ALL},
            "reconstruction/mse": entry(0.1, floor={"value": 1, "what": ALL}),
        },
        "tables": {
            "classes": {"names": [ALL], "samples": [0.1], "real": [ALL]},
            "confusion": [[ALL]],
        },
    }
    folder = write(
        "2026-11-23/12-40-46-<b>'\"&{}-k3f9",
        changed={
            "tags": [*PAYLOADS[:4], PAYLOADS[5], PAYLOADS[6][:8]],  # a config with ${ is no config
            "name": PAYLOADS[0],
            PAYLOADS[1]: PAYLOADS[3],
            "model": {"name": PAYLOADS[0], "x": PAYLOADS[3]},
            "dataset": {"name": PAYLOADS[1], "path": "/home/secret/photos"},
        },
        said={
            "status": "failed",
            "command": f"genai train name={ALL}",
            "device": ALL,
            "git": ALL,
            "versions": {ALL: ALL},
            "dataset": {"name": ALL, "event_shape": [ALL], "n": {ALL: ALL}},
            "started": ALL,
        },
        done={"metrics": metrics, "monitor": {"name": ALL, "value": 1.0, "epoch": 2}, "seconds": 1},
        metrics=f'epoch,step,train/loss,val/loss,"train/{PAYLOADS[0]}"\n1,2,3,nan,5\n2,4,inf,1,1\n',
        log=f"Traceback\n{ALL.encode('utf-8', 'replace').decode()}\n",
        evaluations={"<i>": attack},
    )
    (folder / "latent.png").write_bytes(b"<script>document.title='fired'</script>")
    (folder / "density.png").write_bytes(png()[:-20])  # half written
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium; without one the test is skipped, in CI it fails."""
    from report_browser import Browser, executable

    if executable() is None:
        message = "no Chromium (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()
