"""Load the data sets that come with scikit-learn from its files, without importing it."""

from __future__ import annotations

import functools

import numpy as np

from genai_cli.data.home import sklearn_text
from genai_cli.data.raw import Raw
from genai_cli.data.scale import Scale, TargetScale

# The files carry no column names; these are the names scikit-learn gives them.
_DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
_WINE = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)
_NUCLEUS = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_CANCER = (
    *(f"mean {name}" for name in _NUCLEUS),
    *(f"{name} error" for name in _NUCLEUS),
    *(f"worst {name}" for name in _NUCLEUS),
)


def digits() -> Raw:
    """Load 1797 handwritten digits of 8×8 pixels with 17 grey levels (Alpaydin & Kaynak 1998)."""
    table = _numbers(sklearn_text("digits.csv.gz").replace(",", " ")).astype(np.uint8)
    return Raw(
        table[:, :-1].reshape(-1, 1, 8, 8),
        table[:, -1].astype(np.int64),
        classes=tuple("0123456789"),
        max_level=16,
    )


def diabetes(*, scale: Scale = "standard", target_scale: TargetScale = "standard") -> Raw:
    """Load 442 patients, 10 measurements, disease progression a year on (Efron et al. 2004)."""
    x = _numbers(sklearn_text("diabetes_data_raw.csv.gz"))
    y = _numbers(sklearn_text("diabetes_target.csv.gz"))
    return Raw(
        x,
        y,
        features=_DIABETES,
        targets=("disease progression",),
        scale=scale,
        target_scale=target_scale,
    )


def breast_cancer(*, scale: Scale = "standard") -> Raw:
    """Load 569 tumours, 30 measurements of nuclei, malignant or benign (Street et al. 1993)."""
    return _classes("breast_cancer.csv", _CANCER, scale)


def wine(*, scale: Scale = "standard") -> Raw:
    """Load 178 wines of three growers, 13 chemical measurements (Aeberhard & Forina 1991)."""
    return _classes("wine_data.csv", _WINE, scale)


def _classes(name: str, features: tuple[str, ...], scale: str) -> Raw:
    """A file whose first line is "rows,columns,class names…" and whose last column is the class."""
    head, body = sklearn_text(name).split("\n", 1)
    table = _numbers(body.replace(",", " "))
    return Raw(
        table[:, :-1],
        table[:, -1].astype(np.int64),
        classes=tuple(head.strip().split(",")[2:]),
        features=features,
        scale=scale,
    )


def _numbers(text: str) -> np.ndarray:
    """Lines of numbers between blanks → (n, D) float64."""
    return _parsed(text).copy()


@functools.lru_cache(maxsize=4)  # 8 ms for digits, and a sweep of 100 cells checks each
def _parsed(text: str) -> np.ndarray:
    return np.array([line.split() for line in text.splitlines() if line.strip()], np.float64)
