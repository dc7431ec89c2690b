"""Adding a model takes one .py and one .yaml in a folder of one's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import genai_cli

pytestmark = pytest.mark.usefixtures("undrawn")

MODEL = '''
"""Rebuilds an image from its mean and a learned template."""
from typing import Annotated
import torch
from torch import nn
from genai_cli import Between, Model

class Template(Model):
    def __init__(self, data, bottleneck: int, gain: Annotated[float, Between(0, 2)] = 1.0):
        super().__init__()
        self.template = nn.Parameter(torch.zeros(bottleneck, *data.event_shape))
        self.mix = nn.Linear(1, bottleneck)
        self.gain = gain

    def reconstruct(self, x):
        weights = self.mix(x.flatten(1).mean(1, keepdim=True))
        return self.gain * torch.einsum("bk,k...->b...", weights, self.template)

    def loss(self, batch, noise, player="model"):
        error = (self.reconstruct(batch.x) - batch.x).square().flatten(1).mean(1)
        return {"loss": error}
'''
EARLIER_IMPORTS = (
    "from genai_cli.knobs import Between",
    "from genai_cli.models.base import Batch, Model",
    "from genai_cli.training.randomness import normal",
)
EARLIER_METHODS = """
    def couple(self, total):
        self.total = total

    def sample(self, n, y=None, generator=None):
        return normal(n, self.template.shape[1:], generator, self.template)
"""
YAML = """# @package _global_
# A template of one's own
bottleneck: 3
model:
  name: template
  gain: 1.0   # factor on everything
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "mine"
    (folder / "models").mkdir(parents=True)
    (folder / "configs" / "model").mkdir(parents=True)
    (folder / "models" / "template.py").write_text(MODEL)
    (folder / "configs" / "model" / "template.yaml").write_text(YAML)
    monkeypatch.setenv("GENAI_PATH", str(folder))
    return folder


def test_a_model_for_version_0_1_goes_on(own: Path, genai: Callable) -> None:
    """Its imports, and attributes that have other names now, of the class and of the object."""
    old = MODEL.replace("from genai_cli import Between, Model", "\n".join(EARLIER_IMPORTS))
    names = '    rising = ("error",)\n    watched = ("model",)\n\n    def __init__'
    old = old.replace("    def __init__", names, 1)
    gain = "        self.gain = gain\n"
    old = old.replace(gain, f"{gain}        self.couples_examples = True\n") + EARLIER_METHODS
    (own / "models" / "template.py").write_text(old)
    done = genai("train", "model=template", "dataset.limit=64", "epochs=1")
    assert done.code == 0, done.err
    assert "train/model/gradient" in (done.folders[0] / "metrics.csv").read_text()
    model = genai_cli.load(done.folders[0]).model
    assert (model.batch_dependent, model.higher_is_better) == (True, ("error",))
    assert model.set_all_reduce.__func__ is type(model).couple
    refused = genai("train", "model=template", "trainer.accumulate=2")
    assert "trainer.accumulate=2 would change this loss" in refused.err


def test_it_trains_resumes_and_loads_like_a_shipped_one(
    own: Path, drawn: None, genai: Callable
) -> None:
    done = genai("train", "model=template", "epochs=2", "dataset.limit=64", "model.gain=1.5")
    assert done.code == 0, done.err
    folder = done.folders[0]
    assert "-template-digits-" in folder.name
    assert str(own) not in (folder / "config.yaml").read_text()
    assert (folder / "reconstructions.png").is_file()
    assert genai("resume", "latest", "epochs=3").code == 0
    model, data, config = genai_cli.load(folder)
    assert type(model).__name__ == "Template"
    assert (model.gain, config.bottleneck) == (1.5, 3)
    assert model.reconstruct(data.test.batch(torch.arange(2)).x).shape == (2, 1, 8, 8)


def test_its_keys_are_checked_by_its_annotations(own: Path, genai: Callable) -> None:
    for word, said in (("model.gain=3", "<= 2"), ("model.gain=x", "a number")):
        done = genai("train", "model=template", word)
        assert (done.code, done.outputs.exists()) == (2, False)
        assert said in done.err


def test_it_sweeps_beside_shipped_ones(own: Path, genai: Callable) -> None:
    done = genai("train", "-m", "model=template,vae", "trainer.max_steps=1", "dataset.limit=64")
    assert done.code == 0, done.err
    assert len([p for p in done.folders[0].iterdir() if p.is_dir()]) == 2


def test_a_family_without_the_knob_collapses_in_a_sweep(own: Path, genai: Callable) -> None:
    text = MODEL.replace("bottleneck: int, ", "").replace("bottleneck", "3")
    (own / "models" / "plain.py").write_text(text.replace("class Template", "class Plain"))
    (own / "configs" / "model" / "plain.yaml").write_text(
        YAML.replace("name: template", "name: plain").replace("bottleneck: 3", "bottleneck: null")
    )
    alone = genai("train", "model=plain", "bottleneck=4")
    assert alone.code == 2
    assert "plain has no bottleneck" in alone.err
    done = genai("train", "-m", "model=plain,vae", "bottleneck=2,4,8", "trainer.max_steps=1",
                 "dataset.limit=64")  # fmt: skip
    assert done.code == 0, done.err
    assert "plain has no bottleneck: 1 run, not 3" in done.err
    cells = [p.name for p in done.folders[0].iterdir() if p.is_dir()]
    assert len(cells) == 4
    assert "000-plain" in cells


def test_a_shipped_name_is_not_shadowed(own: Path, genai: Callable) -> None:
    (own / "models" / "vae.py").write_text(MODEL)
    done = genai("train", "model=vae", "trainer.max_steps=1")
    assert done.code == 2
    assert "give yours another name" in done.err


def test_yaml_alone_in_cd_adds_an_option(tmp_path: Path, genai: Callable) -> None:
    folder = tmp_path / "extra"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "tiny.yaml").write_text(
        "# @package _global_\n# A small vae\ndefaults:\n  - vae\nmodel:\n  widths: [4]\n"
    )
    done = genai("train", "model=tiny", "-cd", str(folder), "trainer.max_steps=1")
    assert done.code == 0, done.err


def test_the_readme_s_own_model_trains(
    tmp_path: Path, genai: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    part = text.partition("## Add a model")[2]
    for language, name in (("python", "models/mine.py"), ("yaml", "configs/model/mine.yaml")):
        assert f"`{name}`" in part  # where the block is to be pasted, whole
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(part.split(f"```{language}\n")[1].split("```")[0])
    monkeypatch.setenv("GENAI_PATH", str(tmp_path))
    done = genai("train", "model=mine", "epochs=1", "dataset.limit=64")
    assert done.code == 0, done.err


def test_what_it_may_import_stands_in_the_package() -> None:
    """Every public name is there, without torch where that needs none, and no other is."""
    code = (
        "import sys, genai_cli\n"
        "types = [getattr(genai_cli, n) for n in genai_cli.__all__ if n in ('Count', 'Between')]\n"
        "assert len(types) == 2 and 'torch' not in sys.modules\n"
        "from genai_cli import *\n"
        "assert {n for n in genai_cli.__all__ if n in globals()} == {*genai_cli.__all__}\n"
        "assert issubclass(Model, sys.modules['torch'].nn.Module) and Batch(1, None).x == 1\n"
        "assert not hasattr(genai_cli, 'Modle')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:", "SyntaxError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        (MODEL.replace("super().__init__()", "pass"), "cannot be built"),
        (MODEL.replace('{"loss": error}', '{"error": error}'), "among them"),
        (MODEL.replace('{"loss": error}', '{"loss": error.mean()}'), "among them"),
        (MODEL.replace("return {", "raise KeyError('x'); return {"), "fails on one example"),
    ],
)
def test_a_broken_model_is_one_line_and_leaves_nothing(
    own: Path, genai: Callable, text: str, said: str
) -> None:
    (own / "models" / "template.py").write_text(text)
    done = genai("train", "model=template", "dataset.limit=64")
    assert (done.code, done.err.count("\n"), done.outputs.exists()) == (2, 1, False), done.err
    assert said in done.err
