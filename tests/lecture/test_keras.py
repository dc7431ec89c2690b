"""The lecture's autoencoders step as Keras does: its layers, losses and update rules, restated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from genai_cli.config import compose
from genai_cli.config.schema import TrainConfig
from genai_cli.data.dataset import Dataset, Spec
from genai_cli.models import build
from genai_cli.runner.prepare import prepare
from genai_cli.training import setup
from genai_cli.training.loop import train
from genai_cli.training.machine import numerics

PARAMETERS = {
    "ae64_linear_mse_adadelta": 218_192,
    "ae64_linear_mse_adam": 218_192,
    "ae64_sigmoid_mse": 218_192,
    "ae64_sigmoid_bce": 218_192,
    "ae16_sigmoid_bce": 223_456,
    "ae16_overfit": 223_456,
}
STEPS = 12
CPU = torch.device("cpu")
Weights = list[np.ndarray]


def composed(name: str, *words: str) -> TrainConfig:
    line = compose.parse_line([f"experiment=lecture/{name}", "dataset=digits", *words])
    return compose.compose_cells("train", line)[0].config


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_lectures_layers_have_the_lectures_parameters(name: str) -> None:
    with torch.device("meta"):
        model = build.build_model(composed(name), Spec((1, 28, 28), unit_interval=True))
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


def gradients(weights: Weights, x: np.ndarray, output: str, loss: str) -> Weights:
    """Of the mean loss over examples and elements; ``weights`` are W (in, out), b (out,), W, …"""
    inputs = [x]
    for w, b in zip(weights[::2], weights[1::2], strict=True):
        inputs.append(np.maximum(inputs[-1] @ w + b, 0))
    raw = inputs[-2] @ weights[-2] + weights[-1]
    out = raw if output == "linear" else 1 / (1 + np.exp(-raw))
    slope = out - x if loss == "bce" else 2 * (out - x)
    if output == "sigmoid" and loss == "mse":
        slope = slope * out * (1 - out)
    slope, found = slope / x.size, []
    for k in reversed(range(len(weights) // 2)):
        found = [inputs[k].T @ slope, slope.sum(0), *found]
        slope = (slope @ weights[2 * k].T) * (inputs[k] > 0)
    return found


def adadelta(w: Weights, rule: dict[str, Any]) -> Iterator[Weights]:
    """Keras's: both averages of squares from 0, eps inside the roots. Is sent gradients."""
    squares, deltas = ([np.zeros_like(p) for p in w] for _ in range(2))
    rho, eps = rule["rho"], rule["eps"]
    while True:
        found = yield w
        for i, g in enumerate(found):
            squares[i] = rho * squares[i] + (1 - rho) * g**2
            delta = -np.sqrt(deltas[i] + eps) * g / np.sqrt(squares[i] + eps)
            deltas[i] = rho * deltas[i] + (1 - rho) * delta**2
            w[i] = w[i] + rule["lr"] * delta


def adam(w: Weights, rule: dict[str, Any], hat: bool) -> Iterator[Weights]:
    """Kingma & Ba 2015, algorithm 1; with ``hat`` as Keras has it (their section 2, last lines):
    eps is added before the bias of the squares is taken away."""
    first, second = ([np.zeros_like(p) for p in w] for _ in range(2))
    (b1, b2), t = rule["betas"], 0
    while True:
        found = yield w
        t += 1
        for i, g in enumerate(found):
            first[i] = b1 * first[i] + (1 - b1) * g
            second[i] = b2 * second[i] + (1 - b2) * g**2
            root = math.sqrt(1 - b2**t)
            eps = rule["eps"] / root if hat else rule["eps"]
            step = first[i] / (1 - b1**t) / (np.sqrt(second[i]) / root + eps)
            w[i] = w[i] - rule["lr"] * step


def weights_of(model: torch.nn.Module) -> Weights:
    """As Keras keeps them: a matrix has its inputs first."""
    return [p.detach().numpy().copy().T for p in model.parameters()]


def ours(cfg: TrainConfig, data: Dataset) -> tuple[Weights, Weights]:
    """The weights before the first and after the last of the steps."""
    run = setup.new_training(cfg, data, CPU)
    before = weights_of(run.model)
    assert sum(1 for _ in islice(train(run, data, cfg, CPU), STEPS)) == STEPS
    return before, weights_of(run.model)


def keras(cfg: TrainConfig, data: Dataset, start: Weights, hat: bool) -> Weights:
    """The weights after the same steps from ``start``, by the rules above."""
    rule, w = cfg.optimizer, [p.copy() for p in start]
    rules = adadelta(w, rule) if rule["name"] == "adadelta" else adam(w, rule, hat)
    next(rules)
    orders = [data.order(cfg.seed, epoch).split(cfg.batch_size) for epoch in range(2)]
    for index in [*orders[0], *orders[1]][:STEPS]:
        x = data.train.batch(index).x.flatten(1).numpy()
        w = rules.send(gradients(w, x, cfg.model["output_activation"], cfg.loss["name"]))
    return w


CASES = [(name, None) for name in PARAMETERS] + [("ae64_sigmoid_mse", 1e-14)]


@pytest.mark.parametrize(("name", "eps"), CASES)
def test_a_run_takes_the_steps_of_keras(name: str, eps: float | None) -> None:
    """Adadelta's to the last digits. Keras's Adam adds its eps elsewhere, √(1 − β₂ᵗ) times as
    strong: ours is the paper's with the lecture's eps, and Keras's where eps does not count."""
    words = [] if eps is None else [f"optimizer.eps={eps}"]
    cfg = composed(name, "precision=fp64", "dataset.limit=700", "trainer.step=eager", *words)
    with numerics(cfg):
        prepared = prepare(cfg, lambda _: None)
        cfg, data = prepared.cfg, prepared.data
        start, end = ours(cfg, data)
        expected = keras(cfg, data, start, hat=eps is not None)
    for w, b in zip(start[::2], start[1::2], strict=True):
        limit = math.sqrt(6 / sum(w.shape))
        assert 0.9 * limit < np.abs(w).max() <= limit  # Glorot & Bengio 2010, eq. 16
        assert not b.any()
    for before, found, right in zip(start, end, expected, strict=True):
        moved = np.linalg.norm(right - before)
        assert moved > 0
        assert np.linalg.norm(found - right) < (1e-9 if eps is None else 1e-4) * moved
