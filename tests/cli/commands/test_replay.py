"""What `genai replay` refuses: no black box, a damaged one, one of other code, wrong words."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a black box, not to be changed."""
    from genai_cli.cli.front_door import main

    root = tmp_path_factory.mktemp("box")
    words = (
        "train",
        "model=mlp",
        "epochs=2",
        "dataset.limit=64",
        "batch_size=32",
        "optimizer.lr=1e18",
        f"outputs={root}",
    )
    assert main(list(words)) == 1
    return next(root.glob("*/*"))


def no_box(folder: Path) -> None:
    shutil.rmtree(folder / "blackbox")


def other_batch(folder: Path) -> None:
    path = folder / "blackbox" / "batch.safetensors"
    save_file({k: v + 1 for k, v in load_file(path).items()}, path)


def torn_weights(folder: Path) -> None:
    path = next((folder / "blackbox").glob("step-*")) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-9])


def edited(**values: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "blackbox" / "report.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return edit


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (no_box, (), "has no black box; a run gets one when"),
        (other_batch, (), "is damaged (ValueError: batch.safetensors is not what was written)"),
        (torn_weights, (), "weights.safetensors"),
        (edited(schema=2), (), "was written by genai 0."),
        (edited(spec={"event_shape": 3, "x": 1}), (), "is damaged (TypeError"),
        (edited(spec=None), (), "is damaged"),
        (edited(cuts=["a"]), (), "is damaged (ValueError"),
        (edited(threads="many", steps_per_epoch=None), (), "is damaged (TypeError"),
        (
            edited(versions={"genai_cli": "0.0.1"}, spec={"event_shape": [3]}),
            (),
            "was written by genai 0.0.1, this is",
        ),
        (lambda _: None, ("precision=fp8",), "choose from fp32, bf16, fp64"),
        (lambda _: None, ("device=cpu",), "unknown key 'device'"),
    ],
)
def test_what_replay_refuses_in_one_line(
    change: Callable, words: tuple, said: str, box: Path, tmp_path: Path, genai: Callable
) -> None:
    folder = tmp_path / "outputs" / "2026-11-23" / box.name
    shutil.copytree(box, folder)
    change(folder)
    done = genai("replay", "latest", *words)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
