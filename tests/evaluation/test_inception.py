"""Inception by torch-fidelity: what it is given, whose weights, and what is said without them."""

from __future__ import annotations

import hashlib
import pickle
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as theirs

from genai_cli.data.dataset import Dataset
from genai_cli.data.sources import load
from genai_cli.errors import UserError
from genai_cli.evaluation.features import make_extractor
from genai_cli.evaluation.inception import bytes_of

FILE = "weights-inception-2015-12-05-6726825d.pth"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load({"name": "digits"})


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the right names and shapes; the features mean nothing."""
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(theirs, "load_state_dict_from_url", lambda *a, **k: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda *a: None)
        network = theirs.FeatureExtractorInceptionV3("random", ["2048"])
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):  # so that features are about 1 after 20 layers
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(autouse=True)
def _own_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No weights on this machine, and no network."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    monkeypatch.delenv("GENAI_INCEPTION", raising=False)

    def offline(*args: Any, **kwargs: Any) -> Any:
        raise OSError("no network here")

    monkeypatch.setattr(torch.hub, "urlopen", offline)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    yield
    torch.hub.set_dir(before)


def test_features_are_torch_fidelitys(
    digits: Dataset, random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENAI_INCEPTION", str(random_weights))
    found = make_extractor("inception", digits, say=pytest.fail)
    x = digits.test.batch(torch.arange(2)).x
    features = found.features(x)
    network = theirs.FeatureExtractorInceptionV3(
        "random", ["2048"], feature_extractor_weights_path=str(random_weights)
    )
    expected = network((x * 255).round().to(torch.uint8).repeat(1, 3, 1, 1))[0]
    assert features.shape == (2, 2048) == (2, found.width)
    assert torch.equal(features, expected)
    assert features.std(0).mean() > 1e-3  # images differ
    parts = replace(found, batch=1).features(x)
    assert torch.allclose(parts, features, rtol=1e-4, atol=1e-5)
    assert found.predicted(x) is None
    digest = hashlib.sha256(random_weights.read_bytes()).hexdigest()[:16]
    assert found.passport() == {
        "extractor": "inception",
        "extractor_hash": digest,
        "extractor_accuracy": None,
    }


def test_images_become_bytes_of_three_channels() -> None:
    grey = torch.tensor([-0.2, 0.0, 0.5, 0.999, 1.3]).view(1, 1, 1, 5)
    assert bytes_of(grey)[0, :, 0].tolist() == [[0, 0, 128, 255, 255]] * 3
    colour = torch.rand(2, 3, 4, 4)
    assert torch.equal(bytes_of(colour), (colour * 255).round().to(torch.uint8))


def test_a_file_on_disk_needs_no_network(
    digits: Dataset, random_weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / FILE).symlink_to(random_weights)
    assert make_extractor("inception", digits, say=pytest.fail).hash


def test_without_file_and_network_it_names_both_file_and_address(
    digits: Dataset, tmp_path: Path
) -> None:
    said: list[str] = []
    with pytest.raises(UserError) as error:
        make_extractor("inception", digits, say=said.append)
    line = str(error.value)
    path = tmp_path / "hub" / "checkpoints" / FILE
    assert str(path) in line
    assert theirs.URL_INCEPTION_V3 in line
    assert "no network here" in line
    assert "GENAI_INCEPTION=FILE" in line
    assert "\n" not in line
    assert said == [f"fetching Inception's weights (96 MB) to {path}"]
    assert not path.exists()
    assert list(path.parent.iterdir()) == []  # nothing half fetched


def test_a_given_file_that_is_not_there(
    digits: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GENAI_INCEPTION", str(tmp_path / "no.pth"))
    with pytest.raises(UserError, match=r"GENAI_INCEPTION=\S+no\.pth is not a file"):
        make_extractor("inception", digits, say=pytest.fail)


class Harmful:
    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)

    def __init__(self, path: Path) -> None:
        self.path = str(path)


@pytest.mark.parametrize("content", ["text", "other", "harmful"])
def test_a_file_that_is_something_else(
    content: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    if content == "text":
        path.write_text("hello")
    elif content == "other":
        torch.save({"a": torch.zeros(3)}, path)
    else:
        path.write_bytes(pickle.dumps(Harmful(trace)))
    monkeypatch.setenv("GENAI_INCEPTION", str(path))
    with pytest.raises(UserError, match=r"weights\.pth does not hold Inception's weights") as error:
        make_extractor("inception", digits, say=pytest.fail)
    assert "\n" not in str(error.value)
    assert not trace.exists()


def test_images_of_two_channels_are_refused(digits: Dataset) -> None:
    two = replace(digits, spec=digits.spec._replace(event_shape=(2, 8, 8)))
    with pytest.raises(UserError, match="digits has images of 2 channels; use features=pixels"):
        make_extractor("inception", two)
