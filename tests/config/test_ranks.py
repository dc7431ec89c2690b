"""How many ranks there can be, and where: every mistake is one line before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from genai_cli.config import compose, ranks
from genai_cli.config.schema import TrainConfig
from genai_cli.errors import UserError
from genai_cli.runner.prepare import prepare

COUPLED = """
from torch import nn
from genai_cli.models.base import Model

class Coupled(Model):
    batch_dependent = True

    def __init__(self, data):
        super().__init__()
        self.layer = nn.Linear(64, 1)

    def loss(self, batch, noise, player="model"):
        out = self.layer(batch.x.flatten(1)).squeeze(1)
        return {"loss": out.square() / out.detach().square().mean()}
"""


def config(*words: str) -> TrainConfig:
    return compose.compose_cells("train", compose.parse_line(list(words)))[0].config


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what torchrun would."""

    def started(world: int, rank: int = 0, here: int | None = None) -> None:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(here or world))

    return started


def test_alone_is_rank_0_of_1(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (ranks.rank(), ranks.world_size(), ranks.local_world_size()) == (0, 1, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")  # of somebody else's: torchrun sets RANK, too
    assert ranks.world_size() == 1


def test_torchrun_says_how_many(torchrun: Callable[..., None]) -> None:
    torchrun(4, rank=3, here=2)
    assert (ranks.rank(), ranks.world_size(), ranks.local_world_size()) == (3, 4, 2)
    assert not ranks.is_supervised()
    assert ranks.with_world_size(config()).trainer.devices == 4
    assert ranks.with_world_size(config("trainer.devices=4")).trainer.devices == 4
    with pytest.raises(UserError, match=r"trainer\.devices=2, but torchrun started 4"):
        ranks.with_world_size(config("trainer.devices=2"))


def test_a_sweep_under_torchrun_is_refused(genai: Callable, torchrun: Callable[..., None]) -> None:
    torchrun(2)
    for words in (["-m", "bottleneck=2,3"], ["hydra/launcher=slurm"]):
        ran = genai("train", *words)
        assert (ran.code, ran.folders) == (2, [])
        assert "type trainer.devices=2" in ran.err


def test_another_rank_says_who_it_is(genai: Callable, torchrun: Callable[..., None]) -> None:
    torchrun(2, rank=1)
    assert genai("train", "epochs=0").err.startswith("genai train: [rank 1] epochs=0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.devices=0"], "trainer.devices=0 is not allowed"),
        (["trainer.devices=2", "batch_size=1"], "raise batch_size"),
        (["trainer.devices=2", "model=coupled"], "has no set_all_reduce(); use trainer.devices=1"),
    ],
)
def test_what_ranks_cannot_do_is_one_line(
    genai: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: list[str],
    said: str,
) -> None:
    own = tmp_path / "mine"
    (own / "models").mkdir(parents=True)
    (own / "configs" / "model").mkdir(parents=True)
    (own / "models" / "coupled.py").write_text(COUPLED)
    yaml = "# @package _global_\n# Coupled\nmodel:\n  name: coupled\n"
    (own / "configs" / "model" / "coupled.yaml").write_text(yaml)
    monkeypatch.setenv("GENAI_PATH", str(own))
    ran = genai("train", *words)
    assert (ran.code, ran.folders) == (2, [])
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_ranks_need_a_gpu_each(
    monkeypatch: pytest.MonkeyPatch, torchrun: Callable[..., None]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks.check(config("trainer.devices=2"), torch.device("cuda"))
    with pytest.raises(UserError, match=r"there are 2 GPUs here for 4 ranks"):
        ranks.check(config("trainer.devices=4"), torch.device("cuda"))
    with pytest.raises(UserError, match="one GPU; use device=cuda"):
        ranks.check(config("trainer.devices=2", "device=cuda:1"), torch.device("cuda:1"))
    with pytest.raises(UserError, match="graph is the step of one device"):
        ranks.check(config("trainer.devices=2", "trainer.step=graph"), torch.device("cuda"))
    with pytest.raises(UserError, match="Apple's GPU is one device"):
        ranks.check(config("trainer.devices=2"), torch.device("mps"))
    torchrun(4, here=2)  # two machines
    ranks.check(config("trainer.devices=4"), torch.device("cuda"))


def test_more_ranks_than_cores_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "cores", lambda: 2)
    told: list[str] = []
    prepared = prepare(config("trainer.devices=3", "loss=bernoulli"), told.append)
    assert told == ["trainer.devices=3: the ranks share 2 cores"]
    assert prepared.run_info["devices"] == 3
