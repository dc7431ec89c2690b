"""Every shipped model on suitable data, in double precision."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from genai_cli.config import compose
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Batch, Dataset, Spec
from genai_cli.data.sources import load
from genai_cli.models.base import Model
from genai_cli.models.build import build_model, model_class
from genai_cli.rng import generator
from genai_cli.runner.prepare import prepare

MODELS = sorted(p.stem for p in (Path(__file__).parents[2] / "configs" / "model").glob("*.yaml"))
VECTORS = ("wine", "diabetes", "moons")
CONV = ("model.network=conv", "model.channels=[8,16]", "model.depth=1", "model.hidden=16")
DENSE = ("model.network=mlp", "model.widths=[16]")
SMALL = {  # what keeps a family's contract tests within seconds; a case's own words win
    "ddpm": {"model.timesteps": "10", "model.channels": "[8,8]", "bottleneck": "16"},
    "flow": {"model.steps": "2", "model.widths": "[48]"},
    "latent_flow": {"model.flow_steps": "2", "model.flow_widths": "[32]"},
}
CHOICES = [  # (model, data, words) besides every model's own defaults
    ("autoencoder", "digits", ("loss=bce",)),
    ("autoencoder", "digits", ("model.denoise=0.3",)),
    ("autoencoder", "digits", ("dataset.pair=superresolution", *CONV)),
    ("mlp", "digits", ("loss=kl", "model.label_smoothing=0.1", "model.input_noise=0.1")),
    ("mlp", "wine", ("loss=bce",)),
    ("mlp", "diabetes", ("loss=huber",)),
    ("vae", "digits", ("loss=logistic", "model.kl_warmup=5", "model.free_bits=0.1")),
    ("vae", "digits", ("loss=gaussian", "loss.sigma=learned")),
    ("vae", "digits", ("loss=bernoulli", "loss.binarise=true")),
    ("flow", "digits", ("model.layout=multiscale", "model.input=logit", "model.channels=4")),
    ("flow", "digits", ("model.dequantisation=variational", "model.steps=2")),
    ("flow", "wine", ("model.coupling=affine", "model.mixing=permute", "model.dropout=0.25")),
    ("gan", "digits", ("model.augment=[color,translation,cutout]", "loss=hinge")),
    ("gan", "digits", ("model.penalty_every=2", "model.r2=1", "loss=relativistic")),
    ("gan", "wine", ("loss=wgan_gp", "model.spectral_norm=true")),
    ("latent_flow", "digits", ("loss=bernoulli", "model.coupling=spline")),
    (
        "ddpm",
        "digits",
        (*DENSE, "loss=min_snr", "model.prediction=eps", "model.noise_schedule=linear"),
    ),
    ("ddpm", "digits", ("loss=vlb", "model.conditional=true", "model.sampler=dpmpp")),
    ("ddpm", "digits", (*DENSE, "model.prediction=edm", "model.sampler=heun")),
]
MORE = [  # in the slow run alone: a choice of which another stands in CHOICES
    *(("autoencoder", "digits", (f"loss={n}",)) for n in ("mae", "msle", "huber")),
    ("autoencoder", "digits", ("dataset.pair=superresolution",)),
    ("vae", "digits", ("loss=bernoulli",)),
    ("vae", "moons", ("loss=gaussian", "loss.sigma=0.5", "model.beta=2")),
    ("ddpm", "wine", ("model.sampler=ancestral", "model.prediction=eps")),
]


class Case(NamedTuple):
    """A model on a data set, with more words of the command line."""

    model: str
    dataset: str
    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join((self.model, self.dataset, *(w.split(".")[-1] for w in self.words)))


def _keys(model: str) -> set[str]:
    return set(inspect.signature(model_class(model)).parameters)


def _cases() -> list[Any]:
    """Every model on images and on one of the sets of vectors, in turn; the other sets are slow."""
    digits = [Case(m, "digits") for m in MODELS]
    vectors = [Case(m, d) for m, d in zip(MODELS, itertools.cycle(VECTORS), strict=False)]
    conv = [Case(m, "digits", CONV) for m in MODELS if {"network", "hidden"} <= _keys(m)]
    others = [
        c for c in itertools.starmap(Case, itertools.product(MODELS, VECTORS)) if c not in vectors
    ]
    others += [Case(*c) for c in MORE]
    slow = [pytest.param(c, marks=pytest.mark.slow) for c in others]
    return [*digits, *vectors, *conv, *(Case(*c) for c in CHOICES), *slow]


class Ready(NamedTuple):
    """A case with everything a test needs."""

    case: Case
    cfg: TrainConfig
    data: Dataset
    model: Model  # in training mode, dropout on where the family has it
    batch: Batch  # six examples

    def noise(self, n: int = 6, index: int = 0) -> dict[str, Tensor]:
        return self.model.noise(n, generator(0, "test", index))

    def losses(self, batch: Batch, noise: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms of all players."""
        return {
            f"{p.name}/{k}": v
            for p in self.model.players()
            for k, v in self.model.loss(batch, noise, p.name).items()
        }

    def built(self, seed: int = 0, **keys: Any) -> Model:
        """A fresh model of this case, for a seed the same weights, with keys set anew."""
        known = {k: v for k, v in keys.items() if k in self.cfg.model}
        self.cfg.model.update(known)
        torch.manual_seed(seed)
        model = build_model(self.cfg, self.data.spec)
        model.prepare(self.data.train.batch(torch.arange(100)))
        return model


@functools.cache
def _data(name: str, pair: str | None) -> Dataset:
    return load({"name": name} | ({"pair": pair} if pair else {}))


@functools.cache
def _composed(case: Case) -> tuple[TrainConfig, Dataset]:
    said = {word.partition("=")[0] for word in case.words}
    small = [f"{k}={v}" for k, v in SMALL.get(case.model, {}).items() if k not in said]
    line = [f"model={case.model}", f"dataset={case.dataset}", *small, *case.words]
    cell = compose.compose_cells(
        "train", compose.parse_line([*line, "precision=fp64", "device=cpu"])
    )[0]
    data = _data(case.dataset, cell.config.dataset.get("pair"))
    prepared = prepare(cell.config, lambda text: None, data)
    return prepared.cfg, prepared.data


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    """Doubles by default, and a global generator that no other test sees."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_default_dtype(before)


@pytest.fixture(params=_cases(), ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def prepare_case() -> Callable[[Case], Ready]:
    """A case made ready, in the default dtype of the moment."""

    def make(case: Case, rows: int = 6) -> Ready:
        cfg, data = _composed(case)
        cfg = TrainConfig(**(vars(cfg) | {"model": dict(cfg.model)}))
        ready = Ready(case, cfg, data, None, data.train.batch(torch.arange(rows)))
        return ready._replace(model=ready.built(dropout=0.25))

    return make


@pytest.fixture
def ready(case: Case, prepare_case: Callable[[Case], Ready]) -> Ready:
    return prepare_case(case)


@pytest.fixture
def build() -> Callable[..., Model]:
    """A shipped model from plain arguments, without the data set that a `Spec` would come from."""

    def make(name: str, data: Spec, loss: dict[str, Any], bottleneck: int = 3, **keys: Any):
        cfg = TrainConfig(model={"name": name} | keys, loss=loss, bottleneck=bottleneck)
        return build_model(cfg, data)

    return make
