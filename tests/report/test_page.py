"""`genai report`: what the page says of runs and sweeps, and what it must not say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_folders import make_sweep, png

from genai_cli.report import curves
from genai_cli.report.private import without_paths
from genai_cli.report.render import clean, template_environment
from genai_cli.report.run_page import run_page
from genai_cli.report.sweep_page import sweep_page
from genai_cli.store import run_folder
from genai_cli.system.file_lock import lock


def text_of(page: str) -> str:
    """The words, without style and tags."""
    body = page.partition("</head>")[2]
    import html

    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_numbers_with_interval_floor_bound_and_reason(
    write: Callable[..., Path], evaluation: dict[str, Any]
) -> None:
    text = text_of(run_page(write(evaluations={"reference-n360-ab12": evaluation})))
    for words in (
        "MSE 0.009600 95 %: 0.008640 – 0.01056 PCA, 16 components: 0.008200",
        "bits/dim ≤ 3.260 bits",
        "NLL ↓ (lower is better) −log p of a test example – the density of greys is not defined",
        "How these were measured Ruler",
        "examples 360",
        "weights raw",
        "Some samples may be copies.",
        "0 40.0 % 50.0 %",
        "The weights of epoch 12 were kept: val/loss was 0.7083, its best.",
    ):
        assert words in text


def test_settings_differ_first(write: Callable[..., Path]) -> None:
    text = text_of(run_page(write()))
    changed = text.partition("Changed from the defaults")[2].partition("settings key")[0]
    assert re.search(r"model\.beta 4 1(\.0)? ", changed)
    for same in ("optimizer.lr", "bottleneck", "epochs", "model.name"):
        assert f" {same} " not in changed
        assert f" {same} " in text


def test_the_command_makes_it_again(write: Callable[..., Path]) -> None:
    assert "genai train model=vae model.beta=4 Key numbers" in text_of(run_page(write()))
    cell = make_sweep(write) / "001-bottleneck-8"
    assert "To make it again: genai train bottleneck=8 Key numbers" in text_of(run_page(cell))


@pytest.mark.parametrize(
    ("status", "log", "words"),
    [
        ("failed", 'File "/home/me/x/site-packages/torch/a.py"\nRuntimeError: boom', "boom"),
        ("interrupted", "", "genai resume k3f9"),
        ("running", "", "This run died."),  # nobody holds its log
        ("finished", "", "genai resume k3f9 epochs=100 schedule.horizon=100"),
    ],
)
def test_every_state(write: Callable[..., Path], status: str, log: str, words: str) -> None:
    page = run_page(write(said={"status": status}, log=log))
    assert words in text_of(page)
    assert "/home/me" not in page


def test_a_run_that_is_going_on(write: Callable[..., Path]) -> None:
    folder = write(said={"status": "running"}, metrics="epoch,step\n", pictures=())
    with open(folder / run_folder.LOG, "a") as held:
        assert lock(held)
        text = text_of(run_page(folder))
    assert "This run is still going on." in text
    assert "No epoch is complete yet." in text


def test_nothing_but_a_config(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / run_folder.CONFIG).write_text("model: [")
    assert "This folder is damaged." in text_of(run_page(tmp_path / "a"))


def test_a_horizon_that_is_no_number_is_left_out(write: Callable[..., Path]) -> None:
    changed = {"schedule": {"name": "onecycle", "horizon": "<b>"}}
    assert "genai resume k3f9 epochs=100 trains it" in text_of(run_page(write(changed=changed)))


def test_hostile_text_stays_text(hostile: Path) -> None:
    page = run_page(hostile)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "\x00" not in page
    assert "\x1b" not in page
    page.encode("utf-8")  # a lone surrogate would not
    assert "data:image/png" in page
    assert page.count("<figure><div") == 3  # samples, reconstructions, classes: none that is broken
    for tag in re.findall(r"<([a-z]+)", page):
        assert tag not in ("iframe", "object", "form", "base", "embed", "textarea", "audio")


def test_templates_clean_and_escape_content_and_attributes() -> None:
    template = template_environment().from_string(
        "{% macro bold(x) %}<b>{{ x }}</b>{% endmacro %}"
        '<p title="{{ title }}">{{ text }}{{ bold(text) }}{{ absent }}</p>'
    )
    assert template.render(title="\"'<>&\u202e", text="a<b\x07{{ 7 }}", absent=None) == (
        '<p title="&#34;&#39;&lt;&gt;&amp;[U+202E]">a&lt;b␇{{ 7 }}<b>a&lt;b␇{{ 7 }}</b></p>'
    )
    assert clean("a\x1b[31mb\x00c\u202ed\ud800\r\n") == "ab␀c[U+202E]d\ufffd\n"
    assert clean("مرحبا") == "مرحبا"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("init_from=/home/me/lab/outputs/k3f9", "init_from=…/k3f9"),
        (
            'File "/home/my name/x/genai_cli/cli/front_door.py", line 3',
            'File "genai_cli/cli/front_door.py", line 3',
        ),
        ("~/lab/photos and /tmp/x/y.png", "…/photos and …/y.png"),
        (r"C:\Users\me\lab\run", r"…\run"),
        ("802 images/s of train/loss at 7/10", "802 images/s of train/loss at 7/10"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("outputs=/srv/x failed", "outputs=…/x failed"),
    ],
)
def test_paths_of_the_machine_are_cut(text: str, left: str) -> None:
    assert without_paths(text, Path("/nowhere")) == left


def test_no_folder_of_the_machine_on_any_page(
    write: Callable[..., Path], tmp_path: Path, evaluation: dict[str, Any]
) -> None:
    sweep = make_sweep(write)
    log = f"run    {tmp_path}/outputs/x\n{Path.home()}/lab: No such file\n"
    said = {"status": "failed", "command": f"genai train dataset.path={Path.home()}/lab/photos"}
    run = write(said=said, log=log, evaluations={"n": evaluation},
                changed={"init_from": str(tmp_path / "outputs" / "k3f9")})  # fmt: skip
    for page in (sweep_page(sweep), run_page(run), run_page(sweep / "002-bottleneck-16")):
        for secret in (str(tmp_path), str(tmp_path.parent), f"{Path.home()}/"):
            assert secret not in page
    assert "dataset.path=…/photos" in run_page(run)


def test_a_sweep_compares_and_folds(write: Callable[..., Path]) -> None:
    sweep = make_sweep(write)
    page = sweep_page(sweep)
    text = text_of(page)
    for words in (
        "vae on digits: 3 runs",
        "2 finished, 1 failed",
        "To make it again: genai train -m bottleneck=2,8,16 ",
        "Not finished: 002-bottleneck-16 (failed)",
        "Reconstruction at bottleneck 2: only vae",
        "RuntimeError: no more memory",
        "genai report sw33/000",
    ):
        assert words in text
    assert 'href="#run-002"' in page
    assert 'id="run-002"' in page


def test_a_large_sweep_leaves_figures_out_and_says_so(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from genai_cli.report import sweep_page as module

    sweep = make_sweep(write)
    assert sweep_page(sweep).count("data:image/png") == 3
    monkeypatch.setattr(module, "BUDGET", 2 * len(png()))
    page = sweep_page(sweep)
    assert page.count("data:image/png") < 3
    assert "the figures of" in text_of(page)


def test_a_large_sweep_shows_some_cells_and_says_so(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are not done come first; a cell without a part of its own has no link."""
    from genai_cli.report import sweep_page as module

    sweep = make_sweep(write)
    monkeypatch.setattr(module, "MOST_CELLS", 2)
    page = sweep_page(sweep)
    assert "1 more runs stand in the table alone" in text_of(page)
    for index, shown in (("000", True), ("001", False), ("002", True)):
        assert (f'id="run-{index}"' in page) is shown
        assert (f'href="#run-{index}"' in page) is shown
    assert text_of(page).count("001") >= 1


def test_a_search_is_shown_in_the_page_of_its_sweep(write: Callable[..., Path]) -> None:
    sweep = make_sweep(write)
    assert "The search" not in text_of(sweep_page(sweep))
    shutil.copy(next(sweep.glob("*/samples.png")), sweep / "search.png")
    page = sweep_page(sweep)
    assert page.count("data:image/png") == 4
    assert "what each trial gave" in text_of(page)


def test_a_long_run_stays_small_and_keeps_its_spike(write: Callable[..., Path]) -> None:
    rows = "".join(
        f"{e},{e},{e},{e},0.1,{99 if e == 7001 else 1 + 1 / e},2\n" for e in range(1, 20001)
    )
    folder = write(metrics="epoch,step,images,seconds,lr,train/loss,val/loss\n" + rows)
    page = run_page(folder)
    assert len(page) < 150_000
    points = [(float(e), 99.0 if e == 7001 else 1.0) for e in range(20000)]
    kept = curves.thinned(points, 0, 20000)
    assert len(kept) <= 4 * curves.COLUMNS + 4
    assert (7001.0, 99.0) in kept


def test_the_verb(write: Callable[..., Path], genai: Callable[..., Any], tmp_path: Path) -> None:
    folder = write()
    done = genai("report", "latest")
    assert (done.code, done.err) == (0, "")
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    done = genai("report", "k3f9", f"out={tmp_path / 'a.html'}")
    assert (tmp_path / "a.html").is_file()
    make_sweep(write)
    assert genai("report", "sw33", "--no-figures").code == 0
    assert genai("report", "sw33/001").code == 0
    assert (
        tmp_path / "outputs/2026-11-23/12-00-00-sweep-sw33/001-bottleneck-8/report.html"
    ).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("zzzz",), "no run 'zzzz'"),
        (("k3f9", "out=x.txt"), "out=x.txt is no HTML file"),
        (("k3f9", "out=no/such/x.html"), "cannot write no/such/x.html"),
        (("k3f9", "outputs="), "outputs= is empty"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_mistakes(
    write: Callable[..., Path], genai: Callable[..., Any], words: tuple[str, ...], said: str
) -> None:
    folder = write()
    before = sorted(folder.iterdir())
    done = genai("report", *words)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("\n") == 1
    assert sorted(folder.iterdir()) == before


def test_latest_is_the_newest_run_or_sweep(write: Callable[..., Path], tmp_path: Path) -> None:
    from genai_cli.cli.commands.report import find

    root = str(tmp_path / "outputs")
    sweep = make_sweep(write)
    old = write(said={"started": "2026-11-23T10:00:00+00:00"})
    assert find("latest", root) == sweep
    new = write(
        "2026-11-23/13-00-00-vae-digits-new1", said={"started": "2026-11-24T10:00:00+00:00"}
    )
    assert find("latest", root) == new
    assert find("k3f9", root) == old


def test_needs_no_torch(write: Callable[..., Path]) -> None:
    for folder in (write(), make_sweep(write)):
        code = (
            "import sys\nfrom genai_cli.cli.front_door import main\n"
            f"assert main(['report', {str(folder)!r}, '--no-figures']) == 0\n"
            "heavy = {'torch', 'matplotlib', 'numpy', 'hydra', 'sklearn', 'scipy'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr


def test_a_picture_must_be_whole_and_small(tmp_path: Path) -> None:
    from genai_cli.report import figures

    file = tmp_path / "samples.png"
    file.write_bytes(png(600, 100))
    (shown,) = figures.load_figures([file], "vae on digits")
    assert shown.alt == "Samples of vae on digits: new examples drawn from the model."
    assert shown.wide
    file.write_bytes(png()[:-4])
    assert figures.load_figures([file], "vae on digits") == []
    file.write_bytes(png() + b"\0" * figures.MOST_BYTES)
    assert figures.load_figures([file], "vae on digits") == []
