"""Which figures a comparison gets, and what the runs' files put into them."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from genai_cli.comparison import charts, codes, pictures
from genai_cli.comparison.read import read
from genai_cli.store.labels import labels

pytestmark = pytest.mark.filterwarnings("error")


def compared(folders):
    found = [read(folder) for folder in folders]
    models, configs = [r.model for r in found], [r.config for r in found]
    for run, label in zip(
        found, labels(models, configs, [r.reference for r in found]), strict=True
    ):
        run.label = label
    return SimpleNamespace(runs=found)


def measured(made, quality, rate, device="cpu", n=360):
    floor = (4.0, "test against training images")
    return {
        "samples/frechet": made(
            quality, 0.5, ruler={"n": n, "extractor": "reference"}, floor=floor
        ),
        "speed/many": made(rate, ruler={"metric": "speed", "device": device, "threads": 1}),
    }


@pytest.fixture
def drawn(monkeypatch):
    """What the drawing functions are given."""
    seen = {}
    for room, name in ((charts.frontier, "frontier"), (charts, "overlay"),
                       (charts.rate_distortion, "rate_distortion")):  # fmt: skip
        monkeypatch.setattr(room, name, lambda *a, _n=name, **k: seen.update({_n: (a, k)}))
    return seen


def test_each_pair_of_rulers_has_a_panel(outputs, made, drawn, tmp_path):
    a = outputs.run("vae", measured(made, 40, 1e5))
    b = outputs.run("gan", measured(made, 20, 5e4))
    c = outputs.run("flow", measured(made, 10, 1e3, device="cuda"))
    d = outputs.run("ddpm", measured(made, 9, 2e3, n=100))
    files = charts.quality_speed(tmp_path, compared([a, b, c, d]).runs)
    assert [f.name for f in files] == ["quality_speed.png"]
    (_, panels), more = drawn["frontier"]
    assert [[p.label for p in panel.points] for panel in panels] == [["vae", "gan"]]
    assert panels[0].points[0].seconds == pytest.approx(1e-5)
    assert panels[0].floor == 4.0
    assert more["detail"].endswith("left out, no other on their ruler: flow, ddpm")


def test_settings_of_one_run_are_points_on_its_line(outputs, made, drawn, tmp_path):
    run = outputs.run("ddpm")
    for i, steps in enumerate((10, 50)):
        how = {"options": {"sampler": "ddim", "steps": steps, "eta": None}}
        found = measured(made, 30 - steps / 5, 1e4 / steps)
        outputs.evaluate(run, found, name=f"e{i}", settings=how)
    how = {"options": {"sampler": "ddim", "steps": 10, "eta": None}}
    again, when = measured(made, 1.0, 1e3), "2026-11-24T00:00:00"
    outputs.evaluate(run, again, name="later", finished=when, settings=how)
    other = outputs.run("vae", measured(made, 40, 1e5))
    charts.quality_speed(tmp_path, compared([run, other]).runs)
    (_, (panel,)), _ = drawn["frontier"]
    names = {p.label: p.quality for p in panel.points}
    assert names == {"ddpm, ddim, 10 steps": 1.0, "ddim, 50 steps": 20.0, "vae": 40}
    assert len({p.run for p in panel.points}) == 2


def test_a_default_that_is_named_is_the_same_point(outputs, made, drawn, tmp_path):
    run = outputs.run("ddpm")
    for name, asked in (("a", None), ("b", 50)):
        found = measured(made, 3.0, 30.0)
        found["samples/frechet"]["passport"]["player"] = {"steps": 50, "seed": 0}
        outputs.evaluate(run, found, name=name, settings={"options": {"steps": asked}})
    charts.quality_speed(tmp_path, compared([run]).runs)
    (_, (panel,)), _ = drawn["frontier"]
    assert len(panel.points) == 1


def test_without_quality_or_speed_there_is_no_such_figure(outputs, made, tmp_path):
    a = outputs.run("vae", {"samples/frechet": made(3.0), "speed/many": made(None)})
    b = outputs.run("gan", {"samples/frechet": made(None), "speed/many": made(3.0)})
    c = outputs.run("flow")
    assert charts.quality_speed(tmp_path, compared([a, b, c]).runs) == []


def sweep(outputs, made, model="vae", ks=(2, 4, 8), seeds=(0,), floor=True, **keys):
    for k in ks:
        for seed in seeds:
            held = (1 / (k + 1), f"PCA with {k} components") if floor else None
            mse = made(1 / k + 0.01 * seed, 0.005, floor=held)
            yield outputs.run(model, {"reconstruction/mse": mse}, bottleneck=k, seed=seed, **keys)


def test_seeds_are_averaged_and_settings_are_curves(outputs, made, drawn, tmp_path):
    folders = [*sweep(outputs, made, seeds=(0, 1, 2)), *sweep(outputs, made, model__beta=4),
               *sweep(outputs, made, "autoencoder", ks=(2, 4))]  # fmt: skip
    assert charts.bottlenecks(tmp_path, compared(folders).runs)
    (_, curves, floor), more = drawn["rate_distortion"]
    assert [c.label for c in curves] == ["VAE beta=1", "VAE beta=4"]  # two points are no curve
    np.testing.assert_allclose(curves[0].k, [2, 4, 8])
    np.testing.assert_allclose(curves[0].mse, 1 / curves[0].k + 0.01)
    half = 4.3027 * 0.01 / np.sqrt(3)  # Student's t, 2 degrees of freedom
    np.testing.assert_allclose(curves[0].high - curves[0].mse, half, rtol=1e-4)
    np.testing.assert_allclose(curves[1].high - curves[1].mse, 0.005)
    np.testing.assert_allclose(floor[1], [1 / 3, 1 / 5, 1 / 9])
    assert not more["psnr"]


def test_bottlenecks_of_two_rulers_do_not_mix(outputs, made, drawn, tmp_path):
    folders = list(sweep(outputs, made, ks=(2, 4)))
    other = made(0.1, ruler={"n": 100})
    folders.append(outputs.run("vae", {"reconstruction/mse": other}, bottleneck=8))
    assert charts.bottlenecks(tmp_path, compared(folders).runs) == []


def test_a_floor_that_entries_lack_is_filled_in(outputs, made, drawn, tmp_path):
    runs = compared(list(sweep(outputs, made, floor=False))).runs
    charts.bottlenecks(tmp_path, runs, {2: 0.5, 4: 0.25})
    np.testing.assert_allclose(drawn["rate_distortion"][0][2], [[2, 4], [0.5, 0.25]])
    charts.bottlenecks(tmp_path, runs)
    assert drawn["rate_distortion"][0][2] is None


def metrics_csv(folder, columns):
    names = ["epoch", "step", "images", "seconds", *columns]
    rows = [[e, 10 * e, 100 * e, 0.5 * e, *(v / e for v in columns.values())] for e in (1, 2, 3)]
    text = "\n".join(",".join(map(str, row)) for row in [names, *rows])
    (folder / "metrics.csv").write_text(text + "\n")


def test_one_objective_is_one_row_whatever_the_family(outputs, drawn, tmp_path):
    folders = [
        outputs.run("vae", loss__name="gaussian"),
        outputs.run("latent_flow", loss__name="gaussian"),
        outputs.run("vae", loss__name="gaussian", model__beta=4),
        outputs.run("autoencoder", loss__name="mse"),
    ]
    for folder in folders:
        metrics_csv(folder, {"train/loss": 3, "val/loss": 2, "val/kl": 1})
    gan = outputs.run("gan", loss__name="nonsaturating")
    metrics_csv(gan, {"val/discriminator/loss": 1, "val/generator/loss": 2})
    assert charts.overlay_losses(tmp_path, compared([*folders, gan, outputs.run("flow")]).runs)
    (_, rows), _ = drawn["overlay"]
    assert [(r.title, len(r.curves), r.falls) for r in rows] == [
        ("gaussian loss on digits", 2, True),
        ("gaussian loss on digits (beta=4)", 1, True),
        ("mse loss on digits", 1, True),
        ("discriminator, nonsaturating loss on digits", 1, False),
        ("generator, nonsaturating loss on digits", 1, False),
    ]
    np.testing.assert_allclose(rows[0].curves[0].seconds, [0.5, 1, 1.5])


def test_families_stand_beside_each_other_at_the_bottleneck_most_have():
    def run(model, k):
        return SimpleNamespace(model=model, config={"bottleneck": k}, predicts=False)

    runs = [run(m, k) for m in ("autoencoder", "vae", "latent_flow") for k in (2, 4, 8)][:-1]
    chosen = codes.choose_runs(runs)
    assert [(r.model, r.config["bottleneck"]) for r in chosen] == [
        ("autoencoder", 4), ("vae", 4), ("latent_flow", 4)]  # fmt: skip
    alone = codes.choose_runs([run("vae", k) for k in range(1, 21)])
    assert len(alone) == codes.MOST
    assert alone[0].config["bottleneck"] == 1
    assert alone[-1].config["bottleneck"] == 20


def test_the_text_on_codes_claims_what_is_measured():
    assert "Mismatch" in codes.EXPLAINED
    for claim in ("blur", "avoid", "because", "why"):  # nothing here measures what draws decode to
        assert claim not in codes.EXPLAINED


def test_charts_alone_load_no_torch(outputs, made, tmp_path):
    folders = [str(f) for f in sweep(outputs, made)]
    metrics_csv(outputs.run("vae"), {"val/loss": 1})
    code = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
from genai_cli.comparison import pictures
from genai_cli.comparison.read import read
runs = SimpleNamespace(runs=[read(Path(f)) for f in {folders!r}])
files = pictures.draw(Path({str(tmp_path)!r}), runs, loads=False)
assert [f.name for f in files] == ["rate_distortion.png"], files
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_runs_without_weights_leave_the_charts(outputs, made, tmp_path):
    comparison = compared(list(sweep(outputs, made)))
    files = pictures.draw(tmp_path, comparison, loads=True)
    assert [f.name for f in files] == ["rate_distortion.png"]


@pytest.mark.slow
def test_trained_runs_are_drawn_whole(tmp_path):
    from genai_cli.cli.front_door import main
    from genai_cli.store.lookup import all_runs

    root = tmp_path / "o"
    line = ["train", "-m", "model=vae,autoencoder", "bottleneck=2,4,8", "epochs=1"]
    assert main([*line, f"outputs={root}"]) == 0
    comparison = compared(list(all_runs(root)))
    files = pictures.draw(tmp_path, comparison)
    assert sorted(f.name for f in files) == [
        "curves.png", "losses.png", "posterior_prior.png", "rate_distortion.png",
        "reconstructions_sheet.png", "samples_sheet.png", "table.png"]  # fmt: skip
    assert all(f.stat().st_size > 10_000 for f in files)
