"""Loss curves from every shape of metrics.csv."""

import numpy as np
import pytest
from PIL import Image

from genai_cli.figures.axes import log_axis
from genai_cli.figures.curves import _series, loss_curve

pytestmark = pytest.mark.filterwarnings("error")
NAN = float("nan")


def rows(n, shift=0.0, terms=(), lr=1e-3):
    fall = np.exp(-np.arange(n) / max(1, n / 5))
    out = [
        {
            "epoch": e + 1,
            "step": 9 * e,
            "lr": lr,
            "train/loss": f + shift,
            "val/loss": f + shift + 0.1,
        }
        for e, f in enumerate(fall)
    ]
    for row in out:
        row.update({f"{split}/{t}": row["train/loss"] for t in terms for split in ("train", "val")})
    return out


def gan(n):
    return [
        {
            "epoch": e,
            "lr": 1e-4,
            "train/generator/loss": 0.7,
            "train/discriminator/loss": 1.3 - e / 99,
        }
        | {"train/discriminator/real": 0.5, "val/discriminator/loss": 1.4}
        for e in range(n)
    ]


def decayed(n):
    return [row | {"lr": 1 / (i + 1)} for i, row in enumerate(rows(n, terms=list("abcdefghi")))]


def holes():
    table = rows(20)
    table[3]["val/loss"] = NAN
    table[5]["val/loss"] = NAN
    table[8]["train/loss"] = float("inf")
    table[9]["train/loss"] = 1e300
    del table[10]["train/loss"]
    table[11]["train/loss"] = None
    return table


CASES = {
    "none": [],
    "one epoch": rows(1),
    "2,000 epochs": rows(2000, terms=["kl", "reconstruction"]),
    "negative": rows(30, shift=-0.5),
    "all negative": rows(30, shift=-1400.0),
    "zero": [{"epoch": e, "train/loss": 0.0, "val/loss": 0.0} for e in range(3)],
    "gigantic": [{"epoch": e, "train/loss": 10.0 ** (20 * e)} for e in range(9)],
    "only nan": [{"epoch": 1, "train/loss": NAN, "val/loss": NAN}],
    "holes": holes(),
    "nine terms and a schedule": decayed(12),
    "players": gan(12),
}


LESS = ("2,000 epochs", "negative", "gigantic")  # another length, another offset, another scale


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] * (c in LESS)) for c in CASES]
)
def test_every_history_becomes_a_figure(case, tmp_path):
    path = tmp_path / "loss_curve.png"
    best = 1 if case in ("one epoch", "negative", "holes") else None
    loss_curve(path, CASES[case], title="VAE on digits", unit="nats per image", best_epoch=best)
    assert [p.name for p in tmp_path.iterdir()] == ["loss_curve.png"]
    assert 4_000 < path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert 1000 < image.width < 2000
        assert 400 < image.height < 1500
        assert len(image.convert("L").getcolors()) > 20


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in "ab":
        loss_curve(tmp_path / name, rows(3), title="t", unit="nats", best_epoch=7)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_column_is_split_player_term():
    found = {(s.split, s.player, s.term) for s in _series(gan(3))}
    assert ("train", "generator", "loss") in found
    assert ("train", "discriminator", "real") in found
    assert ("val", "discriminator", "loss") in found


@pytest.mark.parametrize(("shift", "scale"), [(0.0, "log"), (-0.5, "symlog")])
def test_a_loss_at_or_below_zero_gets_a_symlog_axis_that_says_so(shift, scale):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    table = rows(20, shift=shift)
    ax.plot([row["train/loss"] for row in table])
    log_axis(ax, [s.values for s in _series(table)])
    assert ax.get_yscale() == scale
    assert ax.get_title().startswith(f"{scale} axis")
    assert len(ax.get_yticks()) >= 3
