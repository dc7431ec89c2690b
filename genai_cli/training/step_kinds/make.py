"""Make the step of a run: eager, compiled, or captured as a CUDA graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from genai_cli.training.step import Step, eager_step

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.training.state import Training


def make_step(kind: str, run: Training, cfg: TrainConfig, device: torch.device) -> Step:
    """The step of a run: ``eager``, ``compiled`` or ``graph``.

    Args:
        kind: as in run.json; how ``auto`` becomes one of them stands in choose.py.
        run: whose players are trained; its state is moved by every call.
        cfg: precision, micro-batches and clipping.
        device: where the run is.

    Raises:
        compiled.NotCompiled: no player's loss can be compiled.
        UserError: the device has no such kind, or the optimizer cannot be captured.
    """
    if kind == "compiled":
        from genai_cli.training.step_kinds.compiled import CompiledStep

        return CompiledStep(run, cfg)
    if kind == "graph":
        from genai_cli.training.step_kinds.graph import GraphStep

        return GraphStep(run, cfg, device)
    return eager_step(run, cfg)
