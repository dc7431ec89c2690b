"""The compiled step: loss and gradient of each player in one torch.compile graph.

The gradient is taken inside the graph (torch.func.grad), so that autograd costs nothing at run
time. The optimizer stays outside: torch's fused one takes 0.13–0.20 ms of a step of 1–2 ms, a
rate that changes recompiles nothing, and its state is that of an eager run.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad

from genai_cli.data.dataset import Batch
from genai_cli.models.base import Model, Player
from genai_cli.system.library_messages import capture_stderr
from genai_cli.training.step import (
    Gradient,
    Terms,
    autocast,
    autograd,
    gradient_reduction,
    train_step,
)

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.training.state import Training


class NotCompiled(Exception):
    """Raised when torch.compile cannot make a graph of a loss; the message is one line."""


def unavailable(device: torch.device) -> str | None:
    """Return the reason why torch.compile cannot be used for ``device``; None where it can."""
    if device.type == "cpu":
        names = (os.environ.get("CXX"), "g++", "clang++", "c++", "cl")
        if not any(name and shutil.which(name) for name in names):
            return "there is no C++ compiler here (g++ or clang++)"
    elif device.type == "cuda":
        try:
            import triton  # noqa: F401
        except ImportError:
            return "triton is not installed"
    else:
        return f"torch does not compile for {device.type} reliably"
    return None


def cache() -> Path:
    """Return the cache folder of compiled code: in $GENAI_CACHE, or genai in the user's cache."""
    given = os.environ.get("GENAI_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "genai"
    return (Path(given) if given else home).expanduser() / "inductor"


class CompiledStep:
    """`train_step` with compiled gradients.

    A graph is made for one batch size. The ragged last batch of an epoch, and a shorter last
    micro-batch, take their gradient from autograd: a second graph, or one with a free batch size,
    would cost another compile and be called once an epoch.

    Attributes:
        uncompiled: the reason for each player whose loss makes no graph (a penalty that is itself
            a gradient, code that torch.compile cannot follow); autograd trains it.

    Raises:
        NotCompiled: at the first batch, where no player's loss makes a graph.
    """

    def __init__(self, run: Training, cfg: TrainConfig) -> None:
        self.run, self.cfg = run, cfg
        self.eager_gradient: Gradient = partial(autograd, run.model, run.players, cfg.precision)
        self.graphs: dict[str, Gradient] = {}
        self.uncompiled: dict[str, str] = {}
        # graphs of earlier runs in this process count towards a limit of eight: the ninth cell of
        # a sweep would be refused
        torch._dynamo.reset()

    def __call__(
        self, batch: Batch, noise: dict[str, Tensor], step: int, count: int | None = None
    ) -> Terms:
        return train_step(
            self.run.model,
            self.run.players,
            self.run.optimizers,
            batch,
            noise,
            step,
            precision=self.cfg.precision,
            accumulate=self.cfg.trainer.accumulate,
            clip=self.cfg.trainer.clip,
            gradient=self.gradient,
            count=count,
            reduce=gradient_reduction(self.run),
        )

    def gradient(self, player: Player, batch: Batch, noise: dict[str, Tensor], count: int) -> Terms:
        """A `step.Gradient`; compiles where ``player`` meets its first whole batch."""
        whole = count == self.cfg.batch_size or self.run.steps_per_epoch == 1
        # a smaller last batch of an epoch, or of its micro-batches, is another shape
        rows = self.run.ranks.count(count)  # of which a piece is one micro-batch
        if not whole or len(batch.x) != -(-rows // self.cfg.trainer.accumulate):
            return self.eager_gradient(player, batch, noise, count)
        if player.name not in self.graphs:
            return self._first(player, batch, noise, count)
        return self.graphs[player.name](player, batch, noise, count)

    def _first(self, player: Player, batch: Batch, noise: dict[str, Tensor], count: int) -> Terms:
        try:
            with capture_stderr():
                graph = Graph(self.run.model, player, self.cfg.precision, batch, noise, count)
        except Exception as error:  # torch.compile may raise anything on a model it cannot follow
            self.uncompiled[player.name] = reason(error)
            if len(self.uncompiled) == len(self.run.players):
                raise NotCompiled(self.uncompiled[player.name]) from error
            self.graphs[player.name] = self.eager_gradient
            return self.eager_gradient(player, batch, noise, count)
        self.graphs[player.name] = graph
        return graph(player, batch, noise, count)


class Graph:
    """The compiled loss and gradient of one player, a `step.Gradient` for one batch size.

    Only parameters that reach the loss are differentiated: another's ``.grad`` stays None, as
    after ``backward()``, and its optimizer passes it over.

    Raises:
        NotCompiled: its gradient on this batch is not autograd's.
        Exception: whatever torch.compile raises on a loss it cannot follow.
    """

    def __init__(
        self,
        model: Model,
        player: Player,
        precision: str,
        batch: Batch,
        noise: dict[str, Tensor],
        count: int,
    ) -> None:
        loss = _PlayerLoss(model, player.name, precision)
        player_ids = {id(p) for p in player.module.parameters() if p.requires_grad}
        mine = {k: p for k, p in loss.named_parameters() if id(p) in player_ids}
        with torch.enable_grad():
            total = loss(batch, noise)["loss"].sum()
            gradients = torch.autograd.grad(total, list(mine.values()), allow_unused=True)
        wanted = {k: g for k, g in zip(mine, gradients, strict=True) if g is not None}
        self.weights = {k: mine[k] for k in wanted}

        def total_and_terms(
            weights: dict[str, Tensor], batch: Batch, noise: dict[str, Tensor], count: int
        ) -> tuple[Tensor, Terms]:
            terms = functional_call(loss, weights, (batch, noise))
            return terms["loss"].sum() / count, terms

        differentiated = grad(total_and_terms, has_aux=True)

        def gradient(
            weights: dict[str, Tensor], batch: Batch, noise: dict[str, Tensor], count: int
        ) -> tuple[dict[str, Tensor], Terms]:
            return differentiated(weights, batch, noise, count)

        _keep_code()
        self.compiled = torch.compile(gradient, fullgraph=True, dynamic=False)
        with torch.no_grad():
            got, _ = self.compiled(self.weights, batch, noise, count)
        _hold_equal(got, {k: g / count for k, g in wanted.items()}, precision)

    def __call__(self, player: Player, batch: Batch, noise: dict[str, Tensor], count: int) -> Terms:
        with torch.no_grad():
            gradients, terms = self.compiled(self.weights, batch, noise, count)
            for name, p in self.weights.items():
                g = gradients[name]
                if g.stride() != p.stride():  # fused optimizers walk both through memory alike
                    g = torch.empty_like(p).copy_(g)
                p.grad = g if p.grad is None else p.grad.add_(g)
        return terms


class _PlayerLoss(nn.Module):
    """A player's loss as a module's forward, which is what functional_call calls."""

    def __init__(self, model: Model, player: str, precision: str) -> None:
        super().__init__()
        self.model, self.player, self.precision = model, player, precision

    def forward(self, batch: Batch, noise: dict[str, Tensor]) -> Terms:
        with autocast(self.precision, batch.x.device):
            return self.model.loss(batch, noise, self.player)


def _hold_equal(got: dict[str, Tensor], wanted: dict[str, Tensor], precision: str) -> None:
    """Refuse a graph that computes something else: a wrong kernel, or a loss that is not pure."""
    tolerance = {"fp32": 1e-3, "fp64": 1e-8, "bf16": 0.1}[precision]
    size = torch.stack([g.norm() for g in wanted.values()]).norm()
    apart = torch.stack([(got[k] - g).norm() for k, g in wanted.items()]).norm() / size
    if apart > tolerance:  # not for a gradient of nan, which is nan either way
        raise NotCompiled(f"the compiled gradient is {float(apart):.1e} off autograd's")


def reason(error: Exception) -> str:
    """The first telling line of what torch.compile raised, without the advice that follows."""
    if isinstance(error, NotCompiled):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or "no message"
    return f"{type(error).__name__}: {message}"[:160]


def _keep_code() -> None:
    """Compiled code goes to our cache, where the next run finds it, unless the user set another."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache()))
    os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")
    os.environ.setdefault("TORCHINDUCTOR_AUTOGRAD_CACHE", "1")
