"""The step captured as a CUDA graph, whose kernels are launched together.

Everything a replay reads lies at fixed addresses: the batch and the noise are copied there, the
rates are tensors on the device. Capturing runs nothing, so no state has to be put back: the first
steps are taken one by one (they warm up cuBLAS and make the optimizer's buffers), the next one is
captured and replayed, and so are all that follow. A ragged batch is taken one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from genai_cli.data.dataset import Batch
from genai_cli.errors import UserError
from genai_cli.training.step import Step, Terms, eager_step

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.training.state import Training

WARM_UP = 3  # steps of one kind before it is captured; PyTorch's notes on CUDA graphs take as many
ON_THE_HOST = ("adagrad",)  # optimizers that read a rate or a step number there


def unavailable(device: torch.device, optimizer: str) -> str | None:
    """Return the reason why a step with this optimizer cannot be captured; None where it can."""
    if device.type != "cuda":
        return f"CUDA graphs need a CUDA device, and this run is on {device.type}"
    if optimizer in ON_THE_HOST:
        return f"optimizer={optimizer} works on the host and cannot be captured"
    return None


class GraphStep:
    """`train_step` replayed from a CUDA graph.

    Which players are due differs between steps (lazy regularisation), so there is one graph for
    each set of due players; they share their memory.

    Args:
        run: its optimizers are made capturable: rates and step numbers become tensors.
        cfg: precision, micro-batches, clipping.
        device: a CUDA device.

    Raises:
        UserError: another device, or an optimizer that works on the host.
    """

    def __init__(self, run: Training, cfg: TrainConfig, device: torch.device) -> None:
        refusal = unavailable(device, cfg.optimizer["name"])
        if refusal:
            raise UserError(f"trainer.step=graph: {refusal}; use trainer.step=eager")
        self.run, self.device = run, device
        self.whole = cfg.batch_size
        self.eager_step = eager_step(run, cfg)
        self.rates = [_capturable(o, device) for o in run.optimizers.values()]
        self.seen: dict[tuple[str, ...], int] = {}
        self.captured: dict[tuple[str, ...], Captured] = {}
        self.stream = torch.cuda.Stream(device)  # warm-up and capture: not the default stream
        self.pool: tuple[int, int] | None = None

    def __call__(self, batch: Batch, noise: dict[str, Tensor], step: int) -> Terms:
        for o, rates in zip(self.run.optimizers.values(), self.rates, strict=True):
            for group, rate in zip(o.param_groups, rates, strict=True):
                if group["lr"] is not rate:  # the loop has written a number over it
                    rate.fill_(group["lr"])
                    group["lr"] = rate
        due = tuple(p.name for p in self.run.players if step % p.every == 0)
        if len(batch.x) != self.whole and self.run.steps_per_epoch > 1:
            return self._one_by_one(batch, noise, step)
        if due not in self.captured:
            self.seen[due] = self.seen.get(due, 0) + 1
            if self.seen[due] <= WARM_UP:
                return self._one_by_one(batch, noise, step)
            try:
                captured = Captured(self.eager_step, batch, noise, step, self.stream, self.pool)
            except RuntimeError as error:  # a loss that copies from the host, or waits for it
                message = " ".join(str(error).split())[:200]
                raise UserError(
                    f"trainer.step=graph: this step cannot be captured ({message}); "
                    "use trainer.step=eager"
                ) from error
            self.captured[due] = captured
            self.pool = self.captured[due].graph.pool()
        return self.captured[due].replay(batch, noise)

    def _one_by_one(self, batch: Batch, noise: dict[str, Tensor], step: int) -> Terms:
        """On the stream that is captured later, whose buffers autograd then knows."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            terms = self.eager_step(batch, noise, step)
        current.wait_stream(self.stream)
        for tensor in terms.values():
            tensor.record_stream(current)
        return terms


class Captured:
    """One CUDA graph with its static input and output buffers."""

    def __init__(
        self,
        step_function: Step,
        batch: Batch,
        noise: dict[str, Tensor],
        step: int,
        stream: torch.cuda.Stream,
        pool: tuple[int, int] | None,
    ) -> None:
        y = None if batch.y is None else batch.y.clone()
        self.batch = Batch(batch.x.clone(), y)
        self.noise = {k: v.clone() for k, v in noise.items()}
        self.inputs = _tensors(self.batch, self.noise)
        self.graph = torch.cuda.CUDAGraph()
        # thread_local: a thread that prefetches the data may call CUDA meanwhile
        mode = {"capture_error_mode": "thread_local"}
        with torch.cuda.graph(self.graph, pool=pool, stream=stream, **mode):
            self.terms = step_function(self.batch, self.noise, step)

    def replay(self, batch: Batch, noise: dict[str, Tensor]) -> Terms:
        """The terms (B,), valid until the next replay."""
        for buffer, value in zip(self.inputs, _tensors(batch, noise), strict=True):
            buffer.copy_(value, non_blocking=True)
        self.graph.replay()
        return self.terms


def _tensors(batch: Batch, noise: dict[str, Tensor]) -> list[Tensor]:
    return [batch.x, *([] if batch.y is None else [batch.y]), *noise.values()]


def _capturable(optimizer: Optimizer, device: torch.device) -> list[Tensor]:
    """Rates and step numbers as tensors on the device; the rate tensor of each group."""
    rates = []
    for group in optimizer.param_groups:
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.get_default_dtype(), device=device)
        rates.append(group["lr"])
        if "capturable" in group:
            group["capturable"] = True
    for state in optimizer.state.values():  # of a resumed run
        if isinstance(state.get("step"), Tensor):
            state["step"] = state["step"].to(device)
    return rates
