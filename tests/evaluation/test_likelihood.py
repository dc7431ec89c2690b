"""Likelihoods of every family: the same whatever the batch, bounds in order, spaces named."""

from __future__ import annotations

import copy
import functools
import math

import pytest
import torch
from torch import Tensor, nn

from genai_cli.config import compose
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset
from genai_cli.data.sources import load
from genai_cli.evaluation import passport
from genai_cli.evaluation.chosen import subset
from genai_cli.evaluation.likelihood import Likelihood, likelihood
from genai_cli.models.base import Model
from genai_cli.models.build import build_model
from genai_cli.rng import RowGenerator

SMALL = {
    "vae": ("model.widths=[16]", "bottleneck=4"),
    "latent_flow": ("model.widths=[16]", "model.flow_steps=2", "bottleneck=4"),
    "flow": ("model.steps=2", "model.widths=[16]"),
    "ddpm": ("model.timesteps=30", "model.channels=[8]", "model.widths=[16]", "bottleneck=8"),
    "gan": ("model.widths=[16]",),
    "autoencoder": ("model.widths=[16]",),
}


@functools.cache
def made(line: str) -> tuple[TrainConfig, Dataset, Model]:
    from genai_cli.runner.prepare import prepare

    name = line.split()[0]
    words = [f"model={name}", *SMALL.get(name, ()), *line.split()[1:], "device=cpu"]
    cell = compose.compose_cells("train", compose.parse_line(words))[0]
    cfg = prepare(cell.config, lambda text: None).cfg
    data = load(cfg.dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(cfg, data.spec)
        model.prepare(data.train.batch(torch.arange(200)))
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.02 * torch.randn_like(p))
    return cfg, data, model.eval()


class Case:
    """A model with random weights, and its data."""

    def __init__(self, line: str) -> None:
        self.cfg, self.data, model = made(line)
        self.model = copy.deepcopy(model)

    def __call__(self, **options) -> Likelihood:
        given = {"n": 40, "draws": 5, "seed": 0, "batch": 16, "tick": lambda n: None}
        return likelihood(self.model, self.data, self.cfg, **given | options)

    def x(self, n: int = 40) -> Tensor:
        return self.data.test.batch(subset(self.data.test, n)).x


LINES = [
    "vae dataset=digits",
    "vae dataset=digits loss=logistic",
    "vae dataset=digits loss=bernoulli",
    "vae dataset=digits loss=bernoulli loss.binarise=true",
    "vae dataset=moons",
    "latent_flow dataset=digits",
    "flow dataset=digits",
    "flow dataset=digits model.dequantisation=variational",
    "flow dataset=moons",
    "ddpm dataset=digits",
    "ddpm dataset=digits model.conditional=true",
    "ddpm dataset=diabetes",
]


@pytest.mark.parametrize("line", LINES)
def test_numbers_are_the_examples_own_whatever_the_batch_and_their_space_is_said(line: str):
    case, ticks = Case(line), []
    whole = case(batch=100, tick=ticks.append)
    assert ticks == [40]
    parts = case(batch=7)
    assert set(whole.values) | set(whole.reasons) >= {"nats", "bits_per_dim"}
    assert not set(whole.values) & set(whole.reasons)
    for name, values in whole.values.items():
        assert values.shape == (40,)
        assert values.dtype == torch.float64
        assert values.isfinite().all()
        assert values.std() > 0
        torch.testing.assert_close(parts.values[name], values, rtol=1e-5, atol=1e-5)
    few = case(n=9)
    torch.testing.assert_close(few.values["nats"], whole.values["nats"][:9], rtol=1e-5, atol=1e-5)
    if whole.kind == "bound":  # what is drawn is drawn by the seed
        assert not torch.equal(case(seed=1).values["nats"], whole.values["nats"])
    what_was_drawn_and_in_which_space_is_said(line, case, whole)


def what_was_drawn_and_in_which_space_is_said(line: str, case: Case, found: Likelihood) -> None:
    levels = case.data.spec.levels
    own = passport.ruler("nats", case.data, case.cfg, 40)["data_space"]
    bernoulli = "loss=bernoulli" in line
    space = own if not bernoulli else "binarised" if "binarise=" in line else "Bernoulli-on-grey"
    assert set(found.spaces.values()) == {space}
    assert set(found.spaces) == set(found.values)
    assert found.kind == ("exact" if line == "flow dataset=moons" else "bound")
    family = line.split()[0]
    wanted = {"vae": {"draws": 5}, "latent_flow": {"draws": 5}, "ddpm": {"steps": 30}}
    flow = {} if levels is None else {"draws": 5}
    assert found.player == wanted.get(family, flow)
    assert ("bits_per_dim" in found.values) == (levels is not None and not bernoulli)
    if "bits_per_dim" in found.values:
        bits = found.values["nats"] / (64 * math.log(2))
        torch.testing.assert_close(found.values["bits_per_dim"], bits)
    else:
        word = "cross-entropy" if space == "Bernoulli-on-grey" else "levels"
        assert word in found.reasons["bits_per_dim"]
    assert ("elbo" in found.values) == (family in ("vae", "latent_flow"))


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith(("vae", "latent"))])
def test_the_elbo_is_no_better_than_the_bound_of_its_own_samples(line: str):
    case = Case(line)
    single = case(draws=1)
    torch.testing.assert_close(single.values["elbo"], single.values["nats"])
    found = case(draws=20)
    assert (found.values["elbo"] >= found.values["nats"]).all()
    assert found.values["elbo"].mean() > found.values["nats"].mean()


def test_a_continuous_flow_is_its_log_prob():
    case = Case("flow dataset=moons")
    with torch.no_grad():
        wanted = -case.model.log_prob(case.x())
    # single precision, and batches of another size
    torch.testing.assert_close(case().values["nats"], wanted.double(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loss", ["gaussian", "logistic"])
def test_a_vae_on_levels_is_measured_by_their_mass(loss: str):
    """A decoder that knows nothing but the mean: −log P of each pixel from the distribution."""
    case = Case(f"vae dataset=digits loss={loss}")
    model, x = case.model, case.x().double()
    with torch.no_grad():
        for p in model.decoder.parameters():
            p.zero_()  # a mean of one half, whatever z
        for p in [model.encoder.mlp.layers[-1].weight, model.encoder.mlp.layers[-1].bias]:
            p.zero_()  # q(z | x) is the prior
        if loss == "gaussian":
            model.likelihood.log_var.fill_(2 * math.log(0.3))
            cdf = torch.distributions.Normal(0.5, torch.tensor(0.3, dtype=torch.float64)).cdf
        else:
            model.likelihood.log_scale.fill_(math.log(0.3))

            def cdf(v: Tensor) -> Tensor:
                return ((v - 0.5) / 0.3).sigmoid()

    k, half = (x * 16).round(), 0.5 / 16
    above = torch.where(k == 16, 1.0, cdf(x + half))
    below = torch.where(k == 0, 0.0, cdf(x - half))
    wanted = -(above - below).log().flatten(1).sum(1)
    for name in ("nats", "elbo"):
        torch.testing.assert_close(case().values[name], wanted, rtol=1e-5, atol=1e-4)


def test_fewer_steps_of_a_ddpm_estimate_the_sum_of_all():
    case = Case("ddpm dataset=digits")
    whole = case(steps=None).values["nats"]
    assert case(steps=None).player == {"steps": 30}
    assert case(steps=8).player == {"steps": 8}
    few = torch.stack([case(steps=8, seed=s).values["nats"] for s in range(16)])
    again = torch.stack([case(steps=None, seed=s).values["nats"] for s in range(1, 6)])
    error = ((few.var(0) / 16 + again.var(0) / 5) / 40).mean().sqrt()
    assert abs(few.mean() - again.mean()) < 5 * error
    assert few.std(0).mean() > 0
    assert torch.equal(case(steps=10_000).values["nats"], whole)


def test_a_conditional_model_is_given_the_label():
    case = Case("ddpm dataset=digits model.conditional=true")
    batch = case.data.test.batch(subset(case.data.test, 40))
    wanted = -case.model.log_prob(
        batch.x, RowGenerator(0, "likelihood", 0, 40), y=batch.y, steps=30
    )
    torch.testing.assert_close(case().values["nats"], wanted.double(), rtol=1e-5, atol=1e-5)
    blind = -case.model.log_prob(batch.x, RowGenerator(0, "likelihood", 0, 40), steps=30)
    assert not torch.allclose(blind.double(), wanted.double())


class Bare(Model):
    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))

    def loss(self, batch, noise, player="model"):
        raise AssertionError("measuring asks for no loss")


class Unit(Bare):
    log_prob_kind = "exact"

    def log_prob(self, x: Tensor) -> Tensor:
        return -x.flatten(1).sum(1)


def test_families_without_a_density_say_so():
    said = {"gan": "a GAN has no density", "autoencoder": "is no distribution"}
    for family, words in said.items():
        found = Case(f"{family} dataset=digits")()
        assert (found.values, found.spaces) == ({}, {})
        assert set(found.reasons) == {"nats", "bits_per_dim"}
        assert all(words in reason for reason in found.reasons.values())
    case = Case("vae dataset=digits")
    case.model = Bare()
    assert case().reasons["nats"] == "its class defines no log_prob"


def test_a_users_log_prob_needs_no_keyword():
    case = Case("vae dataset=digits")
    case.model = Unit()
    found = case()
    assert (found.kind, found.player, set(found.values)) == ("exact", {}, {"nats", "bits_per_dim"})
    torch.testing.assert_close(found.values["nats"], case.x().double().flatten(1).sum(1))
