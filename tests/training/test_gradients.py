"""How hard the loss pulls at a generator: measured without a trace, and as the theory says."""

import math

import pytest
import torch

from genai_cli.cli.front_door import main
from genai_cli.config import compose
from genai_cli.figures import generator
from genai_cli.losses import adversarial
from genai_cli.rng import generator as draws_of
from genai_cli.runner.prepare import prepare
from genai_cli.store import run_folder
from genai_cli.training import setup
from genai_cli.training.gradients import EXAMPLES, grad_norms


def gan(loss: str = "minimax"):
    """(state, data, cfg) of a GAN of few weights before its first step."""
    words = ["model=gan", f"loss={loss}", "bottleneck=2", "model.widths=[8]", "dataset.limit=100"]
    cfg = compose.compose_cells("train", compose.parse_line(words))[0].config
    prepared = prepare(cfg, lambda note: None)
    state = setup.new_training(prepared.cfg, prepared.data, torch.device("cpu"))
    return state, prepared.data, prepared.cfg


def test_it_is_the_norm_of_the_gradient_that_a_step_would_take():
    state, data, cfg = gan()
    found = grad_norms(state, data, cfg.seed)
    assert [*found] == ["generator/gradient"]  # the discriminator's says nothing of the generator
    batch = data.train.batch(torch.arange(EXAMPLES))
    noise = state.model.noise(EXAMPLES, draws_of(cfg.seed, "gradient", 0))
    state.model.loss(batch, noise, "generator")["loss"].mean().backward()
    whole = torch.cat([p.grad.flatten() for p in state.model.generator.parameters()])
    assert found["generator/gradient"] == pytest.approx(float(whole.norm()), rel=1e-5)


def test_measuring_leaves_no_trace():
    state, data, cfg = gan()
    before = {k: v.clone() for k, v in state.model.state_dict().items()}
    drawn = torch.get_rng_state()
    assert grad_norms(state, data, cfg.seed) == grad_norms(state, data, cfg.seed)
    assert all(p.grad is None and p.requires_grad for p in state.model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(v, before[k]) for k, v in state.model.state_dict().items())


def test_a_sure_discriminator_leaves_minimax_no_gradient():
    """With every score lowered by 10, minimax has e⁻¹⁰ of the pull that nonsaturating has."""
    pulls = {}
    for loss in ("minimax", "nonsaturating"):
        state, data, cfg = gan(loss)
        last = [m for m in state.model.discriminator.modules() if isinstance(m, torch.nn.Linear)]
        with torch.no_grad():
            last[-1].bias -= 10
        pulls[loss] = grad_norms(state, data, cfg.seed)["generator/gradient"]
    ratio = pulls["minimax"] / pulls["nonsaturating"]
    assert math.exp(-12) < ratio < math.exp(-8)


@pytest.mark.parametrize("loss", generator.SLOPES)
def test_the_drawn_slopes_are_those_of_the_losses(loss):
    a = torch.linspace(-9, 9, 50, dtype=torch.float64, requires_grad=True)
    total = adversarial.make({"name": loss}).generator(torch.zeros_like(a), a).sum()
    (slope,) = torch.autograd.grad(total, a)
    drawn = generator.SLOPES[loss](a.detach().sigmoid())
    torch.testing.assert_close(drawn, slope.abs())


def test_a_run_records_and_draws_it(tmp_path):
    line = ["train", "model=gan", "epochs=2", "dataset.limit=64", f"outputs={tmp_path}"]
    assert main([*line, "model.widths=[8]"]) == 0
    (folder,) = tmp_path.glob("*/*")
    values = [row["train/generator/gradient"] for row in run_folder.read_metrics(folder)]
    assert len(values) == 2
    assert min(values) > 0
    assert (folder / "generator.png").stat().st_size > 10_000
