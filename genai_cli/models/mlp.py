"""Multilayer perceptron: a vector or image in, a class or a value out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from genai_cli.config.signatures import Count, NonNegative, Rate
from genai_cli.data.dataset import Batch, Spec
from genai_cli.errors import UserError, in_one_line
from genai_cli.losses import elementwise
from genai_cli.models.base import Model
from genai_cli.networks.mlp import MLP as Network
from genai_cli.networks.mlp import Activation
from genai_cli.networks.pair import dropout_masks


class MLP(Model):
    """Minimises ``loss(f(x), y)`` for a fully connected f.

    Args:
        data: shapes and kind of target; labels are predicted as classes, values as numbers.
        loss: mse mae msle huber (values), cce bce kl (labels); see losses/elementwise.py.
        bottleneck: width of the last hidden layer, after ``widths``.
        widths: the hidden layers before it.
        activation: of the hidden layers.
        output_activation: of the last layer; ``auto`` takes the one that goes with the loss.
        dropout: probability that a hidden unit is dropped in training.
        label_smoothing: share of a label's probability spread over all classes in training
            (Szegedy et al. 2016, section 7).
        standardise: subtract the training data's mean from x and divide by its standard deviation,
            one of each for all elements; both are measured once before the first step.
        input_noise: standard deviation of Gaussian noise added to x, after that, in training.

    Raises:
        UserError: the data has no target, or the target is an image.
    """

    higher_is_better = ("accuracy",)

    def __init__(
        self,
        data: Spec,
        loss: Mapping[str, Any],
        bottleneck: Count,
        widths: list[Count],
        activation: Activation = "relu",
        output_activation: Literal["auto", "linear", "sigmoid", "softmax"] = "auto",
        dropout: Rate = 0.0,
        label_smoothing: Rate = 0.0,
        standardise: bool = True,
        input_noise: NonNegative = 0.0,
    ) -> None:
        super().__init__()
        output_activation = elementwise.output_activation(
            output_activation, loss["name"], self.objectives(data)
        )
        task = self.task(data)
        outputs = data.target_shape[0] if task == "regression" else len(data.classes)
        if loss["name"] == "bce" and task == "binary":
            outputs = 1  # one logit, P(second class)
        self.classes = len(data.classes)
        if label_smoothing and not self.classes:
            raise UserError(
                f"model.label_smoothing={label_smoothing} needs labels, this data has values; "
                "leave it out"
            )
        self.smoothing = label_smoothing
        self.dropout, self.input_noise = dropout, input_noise
        self.output_activation, self.standardise = output_activation, standardise
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.per_example = elementwise.make(dict(loss), output_activation)
        sizes = [math.prod(data.event_shape), *widths, bottleneck, outputs]
        self.network = Network(sizes, activation)

    @staticmethod
    def task(data: Spec) -> elementwise.Task:
        if data.target == "values":
            return "regression"
        if data.target == "labels" and len(data.classes) >= 2:
            return "binary" if len(data.classes) == 2 else "multiclass"
        if data.target == "labels":
            have = f"1: {in_one_line(data.classes[0], 40)}" if data.classes else "none"
            raise UserError(
                f"model=mlp tells classes apart and this data set has {have}; choose another "
                "dataset, or model=autoencoder"
            )
        raise UserError(
            "model=mlp predicts labels or values and this data set has none; "
            "choose another dataset, or model=autoencoder"
        )

    @classmethod
    def objectives(cls, data: Spec) -> dict[str, tuple[str, ...]]:
        return elementwise.fitting(cls.task(data), unit_interval=False)

    def prepare(self, batch: Batch) -> None:
        if self.standardise:
            self.mean.copy_(batch.x.mean())
            self.std.copy_(batch.x.std().clamp_min(1e-6))

    def noise(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        if not self.training:
            return {}
        noise = dropout_masks(n, self.dropout, [self.network], generator)
        if self.input_noise:
            d = self.network.layers[0].in_features
            noise["eps"] = torch.randn(n, d, generator=generator, device=generator.device)
        return noise

    def loss(
        self, batch: Batch, noise: dict[str, Tensor], player: str = "model"
    ) -> dict[str, Tensor]:
        x = self._scaled(batch.x)  # (B, D)
        if "eps" in noise:
            x = x + self.input_noise * noise["eps"]
        raw = self.network(x, noise.get("keep")).to(x.dtype)  # half precision ends here
        target = self._target(batch.y, raw)
        terms = {"loss": self.per_example(raw, target)}
        if self.classes:
            terms["accuracy"] = (self._winner(raw) == batch.y).to(raw.dtype)
        return terms

    def predict(self, x: Tensor) -> Tensor:
        """(B, *event) to class probabilities (B, classes), or values (B, K)."""
        p = elementwise.activate(self.network(self._scaled(x)), self.output_activation)
        if self.classes and p.shape[1] == 1:
            p = torch.cat([1 - p, p], 1)
        return p

    def encode(self, x: Tensor) -> Tensor:
        """The last hidden layer (B, bottleneck)."""
        h = self._scaled(x)
        for layer in self.network.layers[:-1]:
            h = self.network.activation(layer(h))
        return h

    def _scaled(self, x: Tensor) -> Tensor:
        """(B, *event) in data space to (B, D) for the network."""
        return (x.flatten(1) - self.mean) / self.std

    def _target(self, y: Tensor, raw: Tensor) -> Tensor:
        """Values as they are, labels as one (smoothed) probability for each output."""
        if not self.classes:
            return y
        if raw.shape[1] == 1:
            one = y.to(raw.dtype)[:, None]
        else:
            # not one_hot, of which torch 2.6 cannot compile a graph
            one = (y[:, None] == torch.arange(self.classes, device=y.device)).to(raw.dtype)
        if not (self.smoothing and self.training):
            return one
        return one * (1 - self.smoothing) + self.smoothing / self.classes

    def _winner(self, raw: Tensor) -> Tensor:
        """(B,) the predicted class."""
        if raw.shape[1] > 1:
            return raw.argmax(1)
        return (elementwise.activate(raw, self.output_activation) > 0.5).long()[:, 0]
