"""The request of `genai audit`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from genai_cli.config.schema import Figures, FiguresScale
from genai_cli.config.signatures import (
    Averaged,
    BatchSize,
    Between,
    Checkpoint,
    Device,
    Help,
    Natural,
    Outputs,
)


@dataclass
class AuditRequest:
    """Hold the options of `genai audit`."""

    n: Annotated[int, Between(10), Help("samples whose classes are read")] = 2000  # 1 % ± 0.5 %
    seed: Annotated[Natural, Help("of the samples")] = 0
    batch_size: BatchSize = 512
    checkpoint: Checkpoint = "best"
    ema: Averaged = None
    device: Device = "auto"
    outputs: Outputs = None
    csv: Annotated[bool, Help("print a row for each class")] = False
    json: Annotated[bool, Help("print all of it")] = False
    figures: Figures = None
    figures__scale: FiguresScale = None
    options: dict[str, Any] = field(default_factory=dict)  # the family's own, of sample()
