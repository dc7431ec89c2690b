"""Faster steps are the plain step: the same losses, weights and moments, for every family."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from genai_cli.config import compose
from genai_cli.config.catalog import config_dir
from genai_cli.errors import UserError
from genai_cli.runner.prepare import Prepared, prepare
from genai_cli.training import machine, setup
from genai_cli.training.loop import train
from genai_cli.training.state import Training
from genai_cli.training.step import Step
from genai_cli.training.step_kinds import compiled, graph
from genai_cli.training.step_kinds.make import make_step

pytestmark = pytest.mark.slow  # compiling; test_step.py compiles one net in every run

CPU = torch.device("cpu")
CUDA = pytest.param(torch.device("cuda"), marks=pytest.mark.gpu)
FAMILIES = sorted(p.stem for p in (config_dir() / "model").glob("*.yaml"))
COMPILED = ("ddpm", "flow", "gan", "vae")  # a network of every kind, two players, a whole batch
SMALL = {  # few operators: a compile takes seconds
    "autoencoder": "model.widths=[8] model.dropout=0.2 schedule=cosine optimizer=rmsprop",
    "ddpm": "model.network=mlp model.widths=[8] model.timesteps=20",
    "flow": "model.layout=flat model.steps=1 model.bins=2 model.widths=[8]",
    "gan": "model.widths=[8] model.penalty_every=3",
    "latent_flow": "model.widths=[8] model.flow_steps=1 model.flow_widths=[8]",
    "mlp": "model.widths=[8]",
    "vae": "model.widths=[8] model.kl_warmup=4",
}
# 70 examples in batches of 32: a ragged one of 6
TRAINED = "dataset.limit=70 batch_size=32 epochs=2 trainer.ema=0.9 trainer.clip=1"


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


def prepared(words: str) -> Prepared:
    cells = compose.compose_cells("train", compose.parse_line(words.split()))
    return prepare(cells[0].config, lambda text: None)


def trained(kind: str, ready: Prepared, device: torch.device = CPU) -> tuple[Training, Step, dict]:
    """(the run after its last step, its step, the means of its last epoch's terms)."""
    with machine.numerics(ready.cfg, 1):
        data = ready.data.to(device)
        run = setup.new_training(ready.cfg, data, device)
        step = make_step(kind, run, ready.cfg, device)
        for _ in train(run, data, ready.cfg, device, step):
            pass
    return run, step, run.means.means()


def assert_same(kind: str, words: str, tolerance: float, device: torch.device = CPU) -> Step:
    ready = prepared(words)
    plain, _, wanted = trained("eager", ready, device)
    run, step, means = trained(kind, ready, device)
    assert list(means) == list(wanted)
    assert means == pytest.approx(wanted, rel=tolerance)
    for (name, p), q in zip(
        run.model.state_dict().items(), plain.model.state_dict().values(), strict=True
    ):
        assert_near(p, q, tolerance, name)
    for name in run.optimizers:
        moments, others = (
            o[name].state_dict()["state"] for o in (run.optimizers, plain.optimizers)
        )
        assert moments.keys() == others.keys()
        for index, values in moments.items():
            assert values.keys() == others[index].keys()
            for key, value in values.items():
                if isinstance(value, torch.Tensor):
                    assert_near(value, others[index][key], 10 * tolerance, f"{name} {index} {key}")
    return step


def assert_near(one: torch.Tensor, other: torch.Tensor, tolerance: float, name: str) -> None:
    """Close beside the largest entry: a single one may have cancelled to nearly nothing."""
    one, other = one.double().cpu(), other.double().cpu()
    size = other.abs().max().clamp_min(1e-12) if other.numel() else 1.0
    assert float((one - other).abs().max() if one.numel() else 0.0) <= tolerance * size, name


@pytest.mark.parametrize("device", [CPU, CUDA], ids=str)
@pytest.mark.parametrize("family", COMPILED)
def test_compiled_is_the_plain_step(family: str, device: torch.device) -> None:
    words = f"model={family} {SMALL.get(family, '')} {TRAINED} precision=fp64"
    step = assert_same("compiled", words, 1e-9, device)
    # a penalty is a gradient itself, and its gradient is not compiled
    assert set(step.uncompiled) == ({"penalty"} if family == "gan" else set())


def test_compiled_micro_batches_in_half_precision() -> None:
    words = f"model=autoencoder model.widths=[8] {TRAINED} trainer.accumulate=3 precision=bf16"
    assert_same("compiled", words, 3e-2)


def test_a_parameter_that_reaches_no_loss_keeps_no_gradient() -> None:
    """As after backward(): an optimizer with weight decay would move it otherwise."""
    ready = prepared(f"model=mlp model.widths=[8] {TRAINED}")
    run = setup.new_training(ready.cfg, ready.data, CPU)
    run.model.register_parameter("idle", nn.Parameter(torch.ones(3)))
    step = make_step("compiled", run, ready.cfg, CPU)
    batch = ready.data.train.batch(torch.arange(32))
    step(batch, run.model.noise(32, torch.Generator()), 0)
    assert run.model.idle.grad is None
    assert all(p.grad is not None for n, p in run.model.named_parameters() if n != "idle")


def test_a_gradient_that_is_not_autograds_is_refused() -> None:
    right = {"a": torch.ones(3), "b": torch.ones(2)}
    wrong = {"a": torch.ones(3), "b": torch.ones(2) * 1.01}
    compiled._hold_equal(right, right, "fp64")
    with pytest.raises(compiled.NotCompiled, match="off autograd's"):
        compiled._hold_equal(wrong, right, "fp32")
    lost = {"a": torch.full((3,), torch.nan), "b": torch.ones(2)}
    compiled._hold_equal(lost, lost, "fp32")  # a diverged run is told elsewhere


def test_a_graph_needs_cuda_and_an_optimizer_on_the_device() -> None:
    assert "need a CUDA device" in str(graph.unavailable(CPU, "adam"))
    cuda = torch.device("cuda")
    assert graph.unavailable(cuda, "adam") is None
    assert "optimizer=adagrad" in str(graph.unavailable(cuda, "adagrad"))
    ready = prepared(f"model=mlp model.widths=[8] {TRAINED}")
    run = setup.new_training(ready.cfg, ready.data, CPU)
    with pytest.raises(UserError, match=r"trainer.step=graph.*use trainer.step=eager"):
        make_step("graph", run, ready.cfg, CPU)


@pytest.mark.gpu
@pytest.mark.parametrize("family", FAMILIES)
def test_captured_is_the_plain_step(family: str) -> None:
    """More steps than the warm-up of every set of players; the same kernels in one launch."""
    words = f"model={family} {SMALL.get(family, '')} {TRAINED} epochs=8 precision=fp64"
    words = words.replace("epochs=2 ", "")
    step = assert_same("graph", words, 1e-9, torch.device("cuda"))
    assert step.captured
