"""Do samples of a small image set cover it, hold every class, and are they new?

    genai train model=ddpm dataset=digits name=digits
    python benchmarks/samples_digits.py RUN …           # seconds a run, once it is drawn

For each run and sample seed, n samples, rounded to the data's levels, in two spaces: pixels and
the 128 features of the reference classifier (evaluation/reference.py).

- coverage, density: of the training images by the samples, k = 5 (evaluation/fidelity.py). The
  row "test images" is the real test split at its own size; cover_ratio is over that, so 1 means
  as good as real images. It is left out where n differs from the test split's: coverage grows
  with n.
- p_copied: that samples are nearer to training images than test images are
  (evaluation/memorisation.py); small is bad. closer: how often a sample is the nearer one.
- classes: how many the classifier sees among the samples; shares are printed below the table.
"""

from __future__ import annotations

import sys
from typing import Any

from drawing import Clock, append, heading, opened, parser, table, whole
from torch import Tensor

from genai_cli.data.dataset import Dataset
from genai_cli.errors import UserError
from genai_cli.evaluation.drawing import quantize
from genai_cli.evaluation.extractor import Extractor
from genai_cli.evaluation.features import make_extractor
from genai_cli.evaluation.fidelity import neighbourhoods
from genai_cli.evaluation.memorisation import Memorisation, closest, memorisation
from genai_cli.evaluation.modes import class_shares


def measure(images: Tensor, data: Dataset, extractor: Extractor) -> list[dict[str, Any]]:
    """One row for pixels, one for features. ``images`` may be the test split itself."""
    train, test = whole(data.train), whole(data.test)
    rows = []
    for space, of in (("pixels", lambda x: x), ("features", extractor.features)):
        near = neighbourhoods(of(train), of(images))
        copied = memorisation(of(images), of(train), of(test))
        rows.append(
            {
                "space": space,
                "n": len(images),
                "coverage": near.coverage,
                "density": near.density,
                "p_copied": copied.p,
                "closer": copied.closer,
                "pairs": _pairs(copied),
            }
        )
    return rows


def _pairs(found: Memorisation, most: int = 3) -> str:
    """The closest pairs as sample:training example=distance."""
    pairs = closest(found.near, most).tolist()
    return " ".join(f"{i}:{j}={found.near.distance[i]:.2f}" for i, j in pairs)


def main(words: list[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--n", type=int, help="samples of a set (default: the test split's)")
    arguments.add_argument("--seeds", type=int, default=5, help="sets of samples, seeds 0 …")
    args = arguments.parse_args(words)
    heading(args)
    rows: list[dict[str, Any]] = []
    shares: list[str] = []
    known: dict[str, Extractor] = {}
    floors: dict[str, list[dict[str, Any]]] = {}
    clock = Clock()
    for run in opened(args):
        data, key = run.data, f"{run.data.hash} {run.data.split_hash}"
        classes = len(data.spec.classes)
        if key not in known:
            known[key] = make_extractor("reference", data)
            print(known[key].note)
            real = whole(data.test)
            floors[key] = measure(real, data, known[key])
            spread = class_shares(known[key].predicted(real), classes)
            shares.append(f"{'test images':32} {_percent(spread)}")
            for row in floors[key]:
                start = {"run": "test images", "seed": "-", "dataset": data.name}
                rows.append(start | row | _last(1.0, spread, known[key], 0.0))
        extractor = known[key]
        for seed in range(args.seeds):
            clock.lap()
            samples = quantize(run.draw(args.n or len(data.test), seed), data.spec)
            seconds = clock.lap()
            spread = class_shares(extractor.predicted(samples), classes)
            shares.append(f"{f'{run.name} seed {seed}':32} {_percent(spread)}")
            measured = measure(samples, data, extractor)
            for row, floor in zip(measured, floors[key], strict=True):
                equal = row["n"] == floor["n"]
                ratio = row["coverage"] / floor["coverage"] if equal else ""
                start = {"run": run.name, "seed": seed, "dataset": data.name}
                rows.append(start | row | _last(ratio, spread, extractor, seconds))
    table(rows)
    print("shares of the classes in %")
    print("\n".join(shares))
    append(args.csv, rows)
    return 0


def _last(
    ratio: float | str, shares: Tensor, extractor: Extractor, seconds: float
) -> dict[str, Any]:
    return {
        "cover_ratio": ratio,
        "classes": int((shares > 0).sum()),
        "smallest_share": shares.min().item(),
        "extractor": extractor.hash,
        "seconds": seconds,
    }


def _percent(shares: Tensor) -> str:
    return " ".join(f"{100 * share:5.1f}" for share in shares.tolist())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:
        sys.exit(f"samples_digits: {error}")
