"""The embedded sets are scikit-learn's, bit by bit, without importing it; scaling is exact."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from genai_cli.data import embedded
from genai_cli.data.raw import Raw
from genai_cli.data.scale import fit_scaling
from genai_cli.data.sources import load
from genai_cli.data.splits import CommonOptions, assemble


def test_digits_are_sklearns() -> None:
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), embedded.digits()
    np.testing.assert_array_equal(ours.x[:, 0], theirs.images)
    np.testing.assert_array_equal(ours.y, theirs.target)
    dataset = load({"name": "digits"})
    assert dataset.spec.event_shape == (1, 8, 8)
    assert dataset.spec.levels == 17
    assert dataset.spec.unit_interval
    assert dataset.train.x.dtype == torch.uint8
    batch = dataset.train.batch(torch.arange(5))
    assert batch.x.dtype == torch.float32
    assert torch.equal(batch.x * 16, dataset.train.x[:5].float())


@pytest.mark.parametrize("name", ["diabetes", "breast_cancer", "wine"])
def test_tables_are_sklearns(name: str) -> None:
    from sklearn import datasets

    extra = {"scaled": False} if name == "diabetes" else {}
    theirs = getattr(datasets, f"load_{name}")(**extra)
    ours = getattr(embedded, name)()
    np.testing.assert_array_equal(ours.x, theirs.data)
    np.testing.assert_array_equal(ours.y.reshape(-1), theirs.target)
    assert list(ours.features) == list(theirs.feature_names)
    assert list(ours.classes) == list(theirs.get("target_names", []))


def test_imports_nothing_heavy() -> None:
    code = (
        "import sys; from genai_cli.data.sources import load\n"
        "for name in ('digits', 'diabetes', 'breast_cancer', 'wine'): load({'name': name})\n"
        "heavy = {'sklearn', 'torchvision', 'PIL', 'scipy', 'pandas', 'hydra', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_scaling_is_fitted_on_the_training_split_alone() -> None:
    dataset = load({"name": "breast_cancer"})
    x = dataset.train.x.double()
    torch.testing.assert_close(x.mean(0), torch.zeros(30).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(x.std(0, correction=0), torch.ones(30).double(), atol=1e-6, rtol=0)
    assert dataset.test.x.mean(0).abs().max() > 1e-3
    assert not dataset.spec.unit_interval
    assert dataset.train.x.dtype == torch.float32
    short = load({"name": "breast_cancer", "limit": 50})
    torch.testing.assert_close(short.train.x.mean(0), torch.zeros(30), atol=1e-5, rtol=0)


def test_minmax_claims_the_unit_interval_only_where_it_holds() -> None:
    spread = load({"name": "wine", "scale": "minmax"})
    assert spread.train.x.min() == 0
    assert spread.train.x.max() == 1
    beyond = bool((spread.test.x > 1).any() or (spread.test.x < 0).any())
    beyond |= bool((spread.val.x > 1).any() or (spread.val.x < 0).any())
    assert spread.spec.unit_interval is not beyond
    two = Raw(np.array([[0.0], [1.0]] * 50), scale="minmax")
    assert assemble(two, "two", CommonOptions(), 0).spec.unit_interval


def test_whitening_gives_unit_covariance() -> None:
    x = load({"name": "wine", "scale": "whiten"}).train.x.double()
    covariance = x.T @ x / len(x)
    torch.testing.assert_close(covariance, torch.eye(13).double(), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["standard", "minmax", "whiten"])
def test_constant_and_repeated_columns_stay_finite(kind: str) -> None:
    x = np.random.RandomState(0).normal(size=(50, 2))
    x = np.concatenate([x, x[:, :1], np.full((50, 1), 0.1)], 1)
    scaled = fit_scaling(x, kind)(x)
    assert np.isfinite(scaled).all()
    assert (scaled[:, 3] == 0).all()
    assert np.abs(scaled).max() < 20


def test_values_can_be_brought_back() -> None:
    raw, scaled = (
        load({"name": "diabetes", "target_scale": kind}) for kind in ("none", "standard")
    )
    assert raw.spec.target == "values"
    assert raw.spec.target_shape == (1,)
    assert raw.spec.targets == ("disease progression",)
    assert (raw.spec.target_mean, raw.spec.target_std) == ((0.0,), (1.0,))
    assert scaled.train.y.mean().abs() < 1e-6
    back = scaled.test.y * scaled.spec.target_std[0] + scaled.spec.target_mean[0]
    torch.testing.assert_close(back, raw.test.y)
    assert scaled.hash == raw.hash
