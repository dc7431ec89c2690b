"""A rare class keeps its exact share in training alone; balancing draws all equally often."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

from genai_cli.data.dataset import Dataset
from genai_cli.data.rare import thin_class
from genai_cli.data.sources import DataNote, load
from genai_cli.errors import UserError
from genai_cli.rng import balanced_order, permutation

pytestmark = pytest.mark.filterwarnings("ignore::genai_cli.data.sources.DataNote")


def digits(**keys: Any) -> Dataset:
    return load({"name": "digits", **keys})


@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.09])
def test_the_share_is_exact_and_the_rest_untouched(share: float) -> None:
    for limit in [None, 100, 1000]:
        whole, biased = digits(), digits(rare=8, rare_share=share, limit=limit)
        y = biased.train.y
        assert y is not None, limit
        assert whole.train.y is not None, limit
        n = len(y)
        assert n == limit or limit is None, limit
        assert int((y == 8).sum()) == round(share * n), limit
        others = whole.train.x[whole.train.y != 8]
        assert torch.equal(biased.train.x[y != 8], others[: n - round(share * n)]), limit
        own = whole.train.x[whole.train.y == 8]
        assert torch.equal(biased.train.x[y == 8], own[: round(share * n)]), limit


def test_validation_test_and_content_stay() -> None:
    whole, biased = digits(), digits(rare=8)
    for split in ("val", "test"):
        assert torch.equal(getattr(whole, split).x, getattr(biased, split).x)
    assert whole.hash == biased.hash
    hashes = [digits(**k).split_hash for k in ({}, {"rare": 8}, {"rare": 7}, {"rare_share": 0.5})]
    assert len({*hashes}) == 3
    assert hashes[0] == hashes[3]
    assert digits(rare=8, rare_share=0).split_hash not in hashes


def test_who_is_left_depends_on_the_split_seed() -> None:
    def rare(seed: int) -> torch.Tensor:
        data = load({"name": "digits", "rare": 8}, split_seed=seed)
        assert data.train.y is not None
        return data.train.x[data.train.y == 8]

    assert torch.equal(rare(0), rare(0))
    assert not torch.equal(rare(0), rare(1))


def test_of_pairs_the_same_images_are_left() -> None:
    plain, pairs = digits(rare=3, limit=200), digits(rare=3, limit=200, pair="superresolution")
    assert pairs.split_hash == plain.split_hash
    assert torch.equal(pairs.train.y, plain.train.x)  # type: ignore[arg-type]


def test_a_name_goes_before_a_number() -> None:
    wine = load({"name": "wine", "rare": "class_1", "rare_share": 0.1})
    assert wine.split_hash == load({"name": "wine", "rare": 1, "rare_share": 0.1}).split_hash


def test_counts_are_told() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        data = digits(rare=8, rare_share=0.0, balance=True)
    first, second = data.notes
    assert "0 of 1,168" in first
    assert "9.68 % of all" in first
    assert "cannot bring back" in second
    assert second.endswith(" 8")
    assert [str(w.message) for w in said if w.category is DataNote] == [first, second]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"rare": 11}, "dataset.rare=11 is no class"),
        ({"rare": "nine"}, "choose from: 0, 1, 2"),
        ({"rare": -1}, "dataset.rare=-1 is no class"),
        ({"rare": True}, "dataset.rare=true is not allowed"),
        ({"rare": 8, "rare_share": 0.5}, "choose at most 0.0"),
        ({"rare": 8, "rare_share": 1.0}, "must be >= 0 and < 1"),
        ({"rare": 8, "limit": 1290}, "of other classes"),
    ],
)
def test_mistakes_are_one_line(keys: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        digits(**keys)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_what_a_mistake_offers_is_allowed() -> None:
    with pytest.raises(UserError) as error:
        digits(rare=8, rare_share=0.5)
    digits(rare=8, rare_share=float(str(error.value).rpartition(" ")[2]))
    with pytest.raises(UserError) as error:
        digits(rare=8, limit=1290)
    digits(rare=8, limit=int(str(error.value).rpartition(" ")[2].replace(",", "")))


@pytest.mark.parametrize("keys", [{"rare": 0}, {"balance": True}])
def test_labels_are_needed(keys: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="needs labels and this data has none"):
        load({"name": "diabetes", **keys})


def test_thinning_keeps_the_order() -> None:
    labels = np.random.default_rng(0).integers(3, size=300)
    index = np.random.default_rng(1).permutation(300)
    kept = thin_class(index, labels, 2, 0.1, None)
    assert list(kept) == [i for i in index if i in set(kept.tolist())]


# ---- balance


@pytest.mark.parametrize("counts", [[500, 3, 40], [5, 0, 5], [1, 1, 1, 1], [7], [0, 2000, 1]])
def test_an_epoch_holds_every_class_equally_often(counts: list[int]) -> None:
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    order = balanced_order(labels, 0, 3)
    assert len(order) == sum(counts)
    present = [k for k, n in enumerate(counts) if n]
    seen = torch.bincount(labels[order], minlength=len(counts))
    assert seen.sum() == len(labels)
    assert all(abs(int(seen[k]) - len(labels) / len(present)) < 1 for k in present)
    for k in present:  # within a class, every example as often as every other
        often = torch.bincount(order, minlength=len(labels))[labels == k]
        assert often.max() - often.min() <= 1
    assert torch.equal(order, balanced_order(labels, 0, 3))
    if len(labels) > 4:
        assert not torch.equal(order, balanced_order(labels, 0, 4))
        assert not torch.equal(order, balanced_order(labels, 1, 3))


def test_the_rare_class_is_spread_over_the_epoch() -> None:
    labels = torch.tensor([0] * 990 + [1] * 10)
    order = balanced_order(labels, 0, 0)
    halves = labels[order].view(2, 500).sum(1)
    assert (halves - 250).abs().max() < 60  # five standard deviations


def test_without_balance_the_order_is_the_permutation() -> None:
    data = digits(rare=8)
    assert torch.equal(data.order(5, 2), permutation(len(data.train), 5, 2))


def test_balance_is_of_the_images_behind_pairs() -> None:
    data = digits(rare=8, pair="inpaint", balance=True)
    assert data.balance is not None
    of_images = digits(rare=8).train.y
    assert torch.equal(data.balance, of_images)  # type: ignore[arg-type]
    assert data.split_hash == digits(rare=8).split_hash


def test_balance_reads_labels_of_a_streamed_folder(tmp_path: Any) -> None:
    from PIL import Image

    for k, n in enumerate((30, 10)):
        (tmp_path / f"c{k}").mkdir()
        for i in range(n):
            Image.new("L", (8, 8), 20 * k + i).save(tmp_path / f"c{k}" / f"{i}.png")
    node = {"name": "folder", "path": str(tmp_path), "size": 8, "channels": 1, "balance": True}
    resident, streamed = load(node), load({**node, "memory_mb": 0})
    assert type(streamed.train) is not type(resident.train)
    assert torch.equal(streamed.order(0, 0), resident.order(0, 0))
    chosen = resident.order(0, 0)[:7]
    assert torch.equal(streamed.train.batch(chosen).x, resident.train.batch(chosen).x)
