"""Image pairs: the input is what the words say, the target is the image itself."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from genai_cli.data.sources import load


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_superresolution_is_the_area_mean(factor: int) -> None:
    plain = load({"name": "digits"})
    paired = load({"name": "digits", "pair": "superresolution", "factor": factor})
    side = 8 // factor
    assert paired.spec.event_shape == (1, side, side)
    assert paired.spec.target == "image"
    assert paired.spec.target_shape == (1, 8, 8)
    assert paired.spec.classes == ()
    assert paired.spec.levels is None
    assert paired.spec.unit_interval
    index = torch.tensor([3, 1, 4])
    image, (x, y) = plain.train.batch(index).x, paired.train.batch(index)
    assert torch.equal(y, image)
    torch.testing.assert_close(x, avg_pool2d(image, factor))
    assert paired.train.y.dtype == torch.uint8
    assert (paired.hash, paired.split_hash) == (plain.hash, plain.split_hash)


def test_inpainting_empties_the_middle() -> None:
    plain, paired = load({"name": "digits"}), load({"name": "digits", "pair": "inpaint"})
    assert paired.spec.event_shape == paired.spec.target_shape == (1, 8, 8)
    assert paired.spec.levels == 17
    x, y = paired.test.batch(torch.arange(360))
    image = plain.test.batch(torch.arange(360)).x
    assert torch.equal(y, image)
    assert (x[..., 2:6, 2:6] == 0).all()
    hole = torch.zeros(8, 8, dtype=torch.bool)
    hole[2:6, 2:6] = True
    assert torch.equal(x[..., ~hole], image[..., ~hole])


@pytest.mark.parametrize("factor", [3, 16])
def test_a_factor_that_does_not_divide_is_one_line(factor: int, refused) -> None:
    node = {"name": "digits", "pair": "superresolution", "factor": factor}
    refused(node, f"dataset.factor={factor} does not divide", "8×8", "2, 4, 8")
    assert load(node | {"pair": "inpaint"}).n["test"] == 360
