"""What is held against a restored image: interpolation, a smooth fill, the noisy input."""

import json

import pytest
import torch

from genai_cli.cli.front_door import main
from genai_cli.data.dataset import Batch, Spec
from genai_cli.data.pairs import Degradation, hole
from genai_cli.evaluation import run_figures
from genai_cli.models import restoration


def degraded(image: torch.Tensor, kind: str) -> torch.Tensor:
    levels = (255 * image).round().to(torch.uint8)
    x = Degradation(kind, 2, 255).degrade(levels)
    return x.double() / 255 if x.dtype == torch.uint8 else x.double()


@pytest.mark.parametrize("shape", [(28, 28), (9, 14), (4, 5), (2, 2), (1, 3)])
def test_a_hole_in_a_plane_is_filled_with_that_plane(shape):
    """A linear image solves Laplace's equation; what is known stays as it is."""
    down, across = (torch.arange(n, dtype=torch.float64) for n in shape)
    image = ((down[:, None] + 2 * across + 1) / 100)[None, None]
    holed = image.clone()
    holed[(..., *hole(*shape))] = 0
    found = restoration.filled(holed)
    inside = min(shape) >= 4  # else the hole reaches the edge, beyond which it is black
    if inside:
        torch.testing.assert_close(found, image)
    outside = torch.ones(shape, dtype=torch.bool)
    outside[hole(*shape)] = False
    assert torch.equal(found[..., outside], image[..., outside])


def test_every_filled_pixel_is_the_mean_of_its_four_neighbours():
    image = torch.rand(3, 2, 12, 10, dtype=torch.float64)
    found = restoration.filled(image)
    rows, columns = hole(12, 10)
    around = torch.nn.functional.pad(found, (1, 1, 1, 1))
    mean = around[..., 2:, 1:-1] + around[..., :-2, 1:-1] + around[..., 1:-1, 2:]
    mean = (mean + around[..., 1:-1, :-2]) / 4
    torch.testing.assert_close(found[..., rows, columns], mean[..., rows, columns])


def test_enlarging_keeps_what_is_level_and_gives_the_targets_size():
    x = torch.full((2, 1, 4, 4), 0.3)
    torch.testing.assert_close(restoration.enlarged(x, (1, 8, 8)), torch.full((2, 1, 8, 8), 0.3))


def test_a_pair_is_told_by_its_shapes():
    image = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    for kind, way in (("superresolution", restoration.BICUBIC), ("inpaint", restoration.MEMBRANE)):
        x = degraded(image, kind)
        spec = Spec(tuple(x.shape[1:]), target="image", target_shape=(1, 8, 8), unit_interval=True)
        plain, found = restoration.of_pair(Batch(x, image), spec)
        assert (found, plain.shape) == (way, image.shape)


@pytest.mark.parametrize(
    ("name", "what", "line"),
    [
        ("test/mse", "bicubic interpolation", ["dataset.pair=superresolution"]),
        ("test/mse", "smooth filling of the hole", ["dataset.pair=inpaint"]),
        ("test/denoised_mse", "noisy input itself", ["model.denoise=0.5"]),
    ],
)
def test_a_run_that_restores_says_what_it_is_held_against(
    name, what, line, tmp_path, capsys, monkeypatch
):
    for other in ("_loss_curve", "_samples", "_latent"):
        monkeypatch.setattr(run_figures, other, lambda folder, *about: folder)
    common = ["train", "model=autoencoder", "epochs=1", "dataset.limit=64", f"outputs={tmp_path}"]
    assert main([*common, *line]) == 0
    (folder,) = tmp_path.glob("*/*")
    entry = json.loads((folder / "summary.json").read_text())["metrics"][name]
    floor = entry["floor"]
    assert (floor["what"], floor["n"]) == (what, entry["n"])
    assert 0 < floor["low"] < floor["value"] < floor["high"] < 1
    assert what in capsys.readouterr().out
    assert (folder / "reconstructions.png").stat().st_size > 10_000
    if name == "test/denoised_mse":  # clipped, so less than the variance of the noise
        assert 0.08 < floor["value"] < 0.25
