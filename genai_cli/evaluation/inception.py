"""The Inception network of the FID, through torch-fidelity: 2,048 features of an image.

Its weights are those of the original FID (Heusel et al. 2017), converted by torch-fidelity, which
also resizes as TensorFlow 1 did: numbers compare with published ones at the same n and reference.
"""

from __future__ import annotations

import hashlib
import os
import socket
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import (
    URL_INCEPTION_V3,
    FeatureExtractorInceptionV3,
)

from genai_cli.data.dataset import Dataset
from genai_cli.data.raw import one_line
from genai_cli.errors import UserError
from genai_cli.evaluation.extractor import Extractor, drawn_shape
from genai_cli.evaluation.reference import Say

WIDTH, BATCH = 2048, 32
_TIMEOUT = 30.0  # seconds of silence from a server


def inception(data: Dataset, device: torch.device | str = "cpu", say: Say = print) -> Extractor:
    """Return the Inception extractor for ``data``'s images.

    Raises:
        UserError: no grey or colour images; weights that are missing and cannot be fetched, or
            that are those of another network.
    """
    shape = drawn_shape(data)
    if not data.spec.is_image or shape[0] not in (1, 3):
        has = f"images of {shape[0]} channels" if data.spec.is_image else "no images"
        raise UserError(
            f"features=inception takes grey or colour images and {data.name} has {has}; "
            "use features=pixels"
        )
    path = weights(say)
    network = _network(path).to(device)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return Extractor(
        "inception",
        WIDTH,
        "8 bits, grey repeated to 3 channels, resized to 299×299 as in TensorFlow 1",
        f"features: {WIDTH:,} of Inception v3, weights {digest}",
        lambda x: network(bytes_of(x).to(device))[0],
        hash=digest,
        batch=BATCH,
    )


def bytes_of(x: Tensor) -> Tensor:
    """Convert images (B, 1 or 3, H, W) in [0, 1] to uint8 (B, 3, H, W)."""
    levels = (x.clamp(0, 1) * 255).round().to(torch.uint8)
    return levels.expand(-1, 3, -1, -1)


def weights(say: Say = print) -> Path:
    """Return the file of weights: $GENAI_INCEPTION, or torch hub's, downloaded where missing.

    Raises:
        UserError: it is not there and cannot be fetched.
    """
    given = os.environ.get("GENAI_INCEPTION")
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise UserError(f"GENAI_INCEPTION={one_line(given)} is not a file; {_get('there')}")
        return path
    path = Path(torch.hub.get_dir()) / "checkpoints" / URL_INCEPTION_V3.rpartition("/")[2]
    if not path.is_file():
        say(f"fetching Inception's weights (96 MB) to {one_line(path)}")
        _fetch(path)
    return path


def _fetch(path: Path) -> None:
    """Download beside and rename, as torch hub does; its name holds the start of its hash."""
    start = path.stem.rpartition("-")[2]
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(path), start, progress=False)
    except Exception as error:  # urllib, ssl and torch raise nearly anything offline
        reason = one_line(" ".join(str(error).split()) or type(error).__name__, 100)
        raise UserError(
            f"Inception's weights {one_line(path)} are missing and cannot be downloaded "
            f"({reason}); {_get('there, or set GENAI_INCEPTION=FILE')}; or use features=pixels"
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _get(where: str) -> str:
    return f"on a machine with a network get {URL_INCEPTION_V3} and put it {where}"


def _network(path: Path) -> FeatureExtractorInceptionV3:
    """Built from ``path``, which is proven to hold tensors alone before torch-fidelity opens it:
    that would run whatever else a pickle holds."""
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")  # of torch, on how the file was pickled
            torch.load(path, map_location="cpu", weights_only=True)
            return FeatureExtractorInceptionV3(
                "inception-v3", ["2048"], feature_extractor_weights_path=str(path)
            )
    except Exception as error:  # torch's unpickler raises nearly anything
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__, 80)
        raise UserError(
            f"{one_line(path)} does not hold Inception's weights ({reason}); {_get('there')}"
        ) from None
