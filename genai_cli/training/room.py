"""Check that a model fits into memory, from its shapes, before it is allocated.

A width with a nought too many would otherwise be found out by the kernel, which ends the process.
"""

from __future__ import annotations

import os

import torch
from torch import nn

from genai_cli.errors import UserError


def check_memory(model: nn.Module, name: str, device: torch.device, here: bool = True) -> None:
    """Refuse a model whose weights alone are more than there is memory.

    Args:
        model: on the meta device.
        name: of its family, for the message.
        device: where it is to be trained; it is made on the CPU first.
        here: on this machine, and not on a node of a cluster, whose memory nobody knows here.

    Raises:
        UserError: weights, or on ``device`` weights and their gradient, do not fit.
    """
    parameters = sum(p.numel() for p in model.parameters())
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    buffers = sum(b.numel() * b.element_size() for b in model.buffers())
    needed, there = weights + buffers, _memory()
    if here:
        needed += weights  # their gradient
    if here and device.type == "cuda":
        there = min(there or needed, torch.cuda.get_device_properties(device).total_memory)
    if there is not None and needed > there:
        raise UserError(
            f"model={name} would have {parameters:.3g} parameters, which take "
            f"{needed / 1e9:.3g} GB, and there are {there / 1e9:.3g} GB here; choose a smaller "
            "bottleneck or smaller keys of model (widths, channels)"
        )


def _memory() -> int | None:
    """Bytes of this machine; None where it does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None
