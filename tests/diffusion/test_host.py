"""A sampler's numbers stay in the memory of the CPU: on the device there are only examples."""

from __future__ import annotations

import itertools
import typing

import pytest
import torch
from torch import Tensor, nn

from genai_cli.diffusion import denoiser as denoisers
from genai_cli.diffusion.denoiser import Denoiser, SamplerSettings
from genai_cli.diffusion.objective import Prediction
from genai_cli.diffusion.samplers import Sampler
from genai_cli.diffusion.schedule import Schedule

CLASSES = 3


class Network(nn.Module):
    """Tells the batch it was called with; its answer depends on every input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.sizes: list[int] = []

    def forward(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        assert x.device == t.device == y.device == self.weight.device
        self.sizes.append(len(x))
        return 0.3 * x * self.weight + t[:, None] / 1000 + y[:, None] / 10


def denoiser(prediction: Prediction) -> Denoiser:
    return Denoiser(Network(), Schedule("cosine", 20), prediction, CLASSES, (2,), True, True)


@pytest.mark.parametrize("prediction", typing.get_args(Prediction))
def test_a_walk_reads_no_number_off_the_device(
    prediction: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Schedule("cosine", 20)
    monkeypatch.setattr(Schedule, "on_host", lambda self: host)
    x, y = torch.empty(4, 2, device="meta"), torch.zeros(4, dtype=torch.int64, device="meta")
    for sampler, guidance in itertools.product(typing.get_args(Sampler), (1.0, 2.0)):
        model = denoiser(prediction)
        model.to("meta")  # has no numbers: reading one is an error, and so is a second device
        how = SamplerSettings(sampler, 3, guidance=guidance)
        states = list(model.denoise_chain(x, y, how, lambda: torch.empty_like(x)))
        assert [(s.shape, s.device) for s in states] == [(x.shape, x.device)] * 3, sampler
        # off the CPU both halves of guidance are one call
        assert set(model.network.sizes) == {4 if guidance == 1 else 8}, sampler


@pytest.mark.parametrize("prediction", typing.get_args(Prediction))
def test_one_call_for_both_halves_gives_what_two_give(
    prediction: Prediction, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, y = denoiser(prediction), torch.tensor([0, 1, 2, 1])
    x = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    at = (torch.tensor(7.0), model.schedule.alpha(7), model.schedule.sigma(7))
    two = model.x0(x, *at, y, 2.5)
    assert model.network.sizes == [4, 4]
    monkeypatch.setattr(denoisers, "APART", ())
    torch.testing.assert_close(model.x0(x, *at, y, 2.5), two)
    assert model.network.sizes == [4, 4, 8]
