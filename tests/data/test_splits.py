"""Splits equal scikit-learn's, cover everything once, and depend on split_seed alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genai_cli.data.holdout import holdout
from genai_cli.data.raw import Raw, content_hash
from genai_cli.data.sources import DataNote, load
from genai_cli.data.splits import CommonOptions, assemble, split_indices
from genai_cli.errors import UserError

rng = np.random.RandomState(7)
LABELS = {
    "digits-like": rng.randint(10, size=1797),
    "unbalanced": np.repeat([0, 1, 2], [400, 31, 5]),
    "gaps in labels": rng.choice([3, 7, 50], size=211, p=[0.5, 0.3, 0.2]),
    "ties": np.tile(np.arange(7), 9),
    "two": np.array([1, 0] * 11),
}


ENOUGH = [  # scikit-learn refuses a test split of fewer examples than classes
    (name, fraction)
    for name, labels in LABELS.items()
    for fraction in (0.1, 0.2, 0.37, 0.5)
    if int(np.ceil(fraction * len(labels))) >= len(np.unique(labels))
]


def test_stratified_holdout_is_sklearns() -> None:
    from sklearn.model_selection import train_test_split

    for name, fraction in ENOUGH:
        labels = LABELS[name]
        for seed in (0, 1, 42, 2**32 - 1):
            train, test = train_test_split(
                np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=seed
            )
            kept, held = holdout(len(labels), fraction, seed, labels)
            np.testing.assert_array_equal(kept, train)
            np.testing.assert_array_equal(held, test)


@pytest.mark.parametrize("n", [2, 17, 442, 10007])
def test_plain_holdout_is_sklearns(n: int) -> None:
    from sklearn.model_selection import train_test_split

    for seed, fraction in ((0, 0.2), (5, 0.1), (123, 0.49)):
        train, test = train_test_split(np.arange(n), test_size=fraction, random_state=seed)
        kept, held = holdout(n, fraction, seed)
        np.testing.assert_array_equal(kept, train)
        np.testing.assert_array_equal(held, test)


@pytest.mark.parametrize("seed", [0, 3])
def test_digits_test_set_is_sklearns(seed: int) -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    _, x, _, y = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=seed)
    test = load({"name": "digits"}, split_seed=seed).test
    np.testing.assert_array_equal(test.x.flatten(1).numpy(), x)
    np.testing.assert_array_equal(test.y.numpy(), y)


def test_a_class_of_one_is_no_error() -> None:
    labels = np.array([0] * 50 + [1])
    kept, held = holdout(51, 0.2, 0, labels)
    assert sorted([*kept, *held]) == list(range(51))


@pytest.mark.parametrize("name", ["digits", "diabetes", "wine", "swiss_roll", "moons"])
def test_splits_are_disjoint_and_complete(name: str) -> None:
    import importlib

    from genai_cli.data.sources import SOURCES

    module, function = SOURCES[name].function.split(":")
    raw = getattr(importlib.import_module(f"genai_cli.data.{module}"), function)()
    members = split_indices(raw, CommonOptions(), 0)
    together = np.concatenate(members)
    assert sorted(together) == list(range(len(raw.x)))
    dataset = load({"name": name})
    assert dataset.n == {k: len(v) for k, v in members._asdict().items()}
    assert dataset.n["test"] == int(np.ceil(0.2 * len(raw.x)))


def test_official_sets_stay() -> None:
    x = np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1)
    raw = Raw(x, np.arange(100) % 2, classes=("a", "b"), max_level=255, n_val=15, n_test=10)
    dataset = assemble(raw, "made", CommonOptions(), 0)
    assert dataset.test.x.flatten().tolist() == list(range(90, 100))
    assert dataset.val.x.flatten().tolist() == list(range(75, 90))
    train = dataset.train.x.flatten().tolist()
    assert sorted(train) == list(range(75))
    assert train != list(range(75))  # shuffled, for `limit`


def test_a_limit_beyond_the_data_takes_all_and_says_so() -> None:
    with pytest.warns(DataNote, match="dataset.limit=20000 is more than the 1293 .* all"):
        data = load({"name": "digits", "limit": 20000})
    assert data.split_hash == load({"name": "digits"}).split_hash


def test_limit_takes_the_first_of_the_same_order() -> None:
    whole = load({"name": "digits"})
    short = load({"name": "digits", "limit": 100})
    assert torch.equal(short.train.x, whole.train.x[:100])
    assert torch.equal(short.val.x, whole.val.x)
    assert torch.equal(short.test.x, whole.test.x)
    assert short.hash == whole.hash
    assert short.split_hash != whole.split_hash


def test_hashes_follow_content_and_membership() -> None:
    one, again = load({"name": "wine"}), load({"name": "wine"})
    assert (one.hash, one.split_hash) == (again.hash, again.split_hash)
    other = load({"name": "wine"}, split_seed=1)
    assert other.hash == one.hash
    assert other.split_hash != one.split_hash
    scaled = load({"name": "wine", "scale": "minmax"})
    assert (scaled.hash, scaled.split_hash) == (one.hash, one.split_hash)
    assert load({"name": "wine", "val_fraction": 0.2}).split_hash != one.split_hash


def test_known_hashes() -> None:
    """Written down once: these must never change, on any machine or numpy."""
    assert load({"name": "digits"}).hash == "2e0d8c948353f01e"
    assert load({"name": "digits"}).split_hash == "0363799e1c2b4f92"
    # diabetes is not among them: scikit-learn 1.7 and 1.9 ship different files


def test_content_hash_knows_no_dtype() -> None:
    x, y = rng.randint(256, size=(30, 4)), rng.randint(3, size=30)
    one = content_hash(Raw(x.astype(np.uint8), y))
    assert one == content_hash(Raw(x.astype(np.int32), y.astype(np.int8)))
    assert one == content_hash(Raw(x.astype(">i8"), y))
    changed = x.copy()
    changed[17, 2] ^= 1
    assert one != content_hash(Raw(changed, y))
    assert one != content_hash(Raw(x, 1 - y))
    assert one != content_hash(Raw(x.reshape(30, 2, 2), y))
    real = rng.normal(size=(20, 3)).astype(np.float32)
    assert content_hash(Raw(real)) == content_hash(Raw(np.asfortranarray(real, np.float64)))
    assert content_hash(Raw(np.zeros(3))) == content_hash(Raw(-np.zeros(3)))


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({}, ["dataset.name=None"]),
        ({"name": "digit"}, ["dataset.name=digit", "did you mean 'digits'"]),
        ({"name": ["digits"]}, ["dataset.name"]),
        ({"name": "digits", "lmit": 3}, ["dataset.lmit", "did you mean 'limit'"]),
        ({"name": "digits", "limit": 0}, ["dataset.limit=0"]),
        ({"name": "digits", "limit": "many"}, ["dataset.limit=many"]),
        ({"name": "digits", "val_fraction": 1.0}, ["dataset.val_fraction=1.0"]),
        ({"name": "digits", "test_fraction": -0.1}, ["dataset.test_fraction=-0.1"]),
        ({"name": "digits", "val_fraction": 0.9999, "test_fraction": 0.9}, ["none to train on"]),
        ({"name": "mnist", "test_fraction": 0.3}, ["dataset.test_fraction", "of mnist"]),
        ({"name": "moons", "n": 1}, ["none to train on"]),
        ({"name": "moons", "noise": -1}, ["dataset.noise=-1"]),
        ({"name": "wine", "scale": "log"}, ["dataset.scale=log", "standard"]),
        ({"name": "moons", "pair": "inpaint"}, ["dataset.pair=inpaint", "digits"]),
        ({"name": "digits", "pair": "blur"}, ["dataset.pair=blur"]),
    ],
)
def test_mistakes_are_one_line(node, words, refused) -> None:
    refused(node, *words)


@pytest.mark.parametrize("seed", [-1, 2**32, "a"])
def test_a_wrong_split_seed_is_one_line(seed) -> None:
    with pytest.raises(UserError, match="split_seed"):
        load({"name": "digits"}, split_seed=seed)
