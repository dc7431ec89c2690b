"""Pages in a real browser: nothing fires, nothing is fetched, all is seen, at every width."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_folders import make_sweep

from genai_cli.cli.commands import report

pytestmark = pytest.mark.browser

LOADED = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture
def page(write: Callable[..., Path], evaluation: dict[str, Any]) -> Path:
    folder = write(evaluations={"reference-n360-ab12": evaluation})
    assert report.main([str(folder)]) == 0
    return folder / "report.html"


@pytest.fixture
def attacked(hostile: Path, tmp_path: Path) -> Path:
    assert report.main([str(hostile), f"out={tmp_path / 'attacked.html'}"]) == 0
    return tmp_path / "attacked.html"


def test_whole_and_silent(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.value("document.title") == "vae on digits"
    assert browser.value("document.images.length") == 3
    assert browser.value(LOADED)
    assert browser.value("document.querySelectorAll('svg path').length") >= 4
    assert (browser.requests, browser.said) == ([], [])


def test_nothing_fires(browser: Any, attacked: Path) -> None:
    browser.open(attacked)
    told = browser.value("document.body.textContent")
    assert "<script>document.title='fired'</script> on " in browser.value("document.title")
    for text in ("onerror=", "</style></title>", "${oc.env:HOME}", "[U+202E]gnp.exe"):
        assert text in told
    assert browser.value("document.scripts.length") == 0
    assert browser.value("document.querySelectorAll('img[src=x], [onload], [onerror]').length") == 0
    assert browser.value("document.querySelectorAll('a[href^=javascript], b b').length") == 0
    assert browser.value(
        "[...document.querySelectorAll('*')].every(e => ![...e.attributes].some(a => "
        "a.name.startsWith('on')))"
    )
    assert browser.value(LOADED)  # the false pictures were left out
    assert (browser.requests, browser.said) == ([], [])


def test_the_policy_stops_what_would_be_written_in(browser: Any, page: Path) -> None:
    """The second wall: were markup to get through, it could neither run nor fetch."""
    attack = "<script>document.title='fired'</script><img src=x onerror=\"document.title='fired'\">"
    attack += '<img src="https://example.org/x.png"><link rel=stylesheet href=https://example.org>'
    text = page.read_text(encoding="utf-8").replace("<footer>", f"{attack}<footer>")
    page.with_name("broken.html").write_text(text, encoding="utf-8")
    browser.open(page.with_name("broken.html"))
    assert browser.value("document.title") == "vae on digits"
    assert any("Content Security Policy" in line for line in browser.said)


@pytest.mark.parametrize("name", ["page", "attacked", "sweep"])
def test_fits_a_phone(browser: Any, name: str, request: pytest.FixtureRequest) -> None:
    browser.open(request.getfixturevalue(name), width=320)
    assert browser.value(WIDTH) <= 320
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.value(WIDTH) <= 320
    small = "[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect().height)"
    assert min(browser.value(small)) >= 9  # pixels a line of a chart's words


def test_words_of_a_chart_stay_inside_and_apart(browser: Any, write: Callable[..., Path]) -> None:
    names = [f"{s}/{p}/loss" for p in ("discriminator", "generator") for s in ("train", "val")]
    rows = "".join(f"{e},{e},1.2345,1.2344,0.000012345,1.2346\n" for e in range(1, 9))
    folder = write(metrics=f"epoch,step,{','.join(names)}\n{rows}")
    assert report.main([str(folder)]) == 0
    for width in (320, 1100):
        browser.open(folder / "report.html", width=width)
        assert "discriminator" in browser.value("document.querySelector('svg').textContent")
        outside = browser.value(
            "[...document.querySelectorAll('svg text')].filter(t => { const a ="
            " t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();"
            " return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1;"
            "}).map(t => t.textContent)"
        )
        assert outside == []
        overlapping = browser.value(
            "[...document.querySelectorAll('svg')].flatMap(s => { const b = [...s.querySelectorAll("
            "'text')].map(t => [t.textContent, t.getBoundingClientRect()]); return b.flatMap((p, i)"
            " => b.slice(i + 1).filter(q => Math.min(p[1].right, q[1].right) - Math.max(p[1].left,"
            " q[1].left) > 1 && Math.min(p[1].bottom, q[1].bottom) - Math.max(p[1].top, q[1].top)"
            " > 5).map(q => [p[0], q[0]]))})"
        )
        assert overlapping == []


def test_dark_and_light(browser: Any, page: Path) -> None:
    seen = {}
    for dark in (False, True):
        browser.open(page, dark=dark)
        seen[dark] = browser.value("getComputedStyle(document.body).backgroundColor")
        paper = "getComputedStyle(document.querySelector('.paper')).backgroundColor"
        assert browser.value(paper) == "rgb(255, 255, 255)"  # figures are drawn for white
    assert seen == {False: "rgb(255, 255, 255)", True: "rgb(18, 21, 26)"}
    shot = browser.picture()
    browser.media("screen", dark=False)
    assert struct.unpack(">I", shot[16:20])[0] == 1100
    assert browser.picture() != shot


def test_in_print_all_parts_are_open(browser: Any, page: Path) -> None:
    browser.open(page, dark=True)
    hidden = "[...document.querySelectorAll('details > :not(summary)')].filter("
    hidden += "e => !e.closest('.screen') && !e.checkVisibility()).length"
    assert browser.value(hidden) > 0
    browser.media("print", dark=True)
    assert browser.value(hidden) == 0
    ink = browser.value("getComputedStyle(document.body).color")
    assert ink == "rgb(26, 31, 41)"  # dark on white, whatever the screen had
    assert browser.value("getComputedStyle(document.querySelector('nav')).display") == "none"
    assert browser.printed().startswith(b"%PDF")


def test_read_without_eyes(browser: Any, page: Path) -> None:
    browser.open(page)
    levels = browser.value("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    for question in (
        "document.documentElement.lang == 'en'",
        "document.querySelectorAll('main').length == 1",
        "[...document.images].every(i => i.alt.length > 20)",
        "[...document.querySelectorAll('svg')].every(s => s.getAttribute('role') == 'img' &&"
        " s.getAttribute('aria-labelledby').split(' ').every(i => document.getElementById(i)))",
        "[...document.querySelectorAll('table')].every(t => t.caption && [...t.tHead.rows[0].cells]"
        ".every(c => c.scope == 'col' && c.textContent) && [...t.tBodies[0].rows].every(r =>"
        " r.cells[0].scope == 'row'))",
        "[...document.querySelectorAll('a[href]')].every(a => document.getElementById("
        "a.getAttribute('href').slice(1)))",
        "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size =="
        " document.querySelectorAll('[id]').length",
    ):
        assert browser.value(question), question


def test_focus_is_seen(browser: Any, page: Path) -> None:
    browser.open(page)
    key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    for _ in range(3):
        browser.call("Input.dispatchKeyEvent", type="keyDown", **key)
        browser.call("Input.dispatchKeyEvent", type="keyUp", **key)
    outline = browser.value("getComputedStyle(document.activeElement).outlineWidth")
    assert browser.value("document.activeElement.tagName") == "A"
    assert outline == "3px"


@pytest.fixture
def sweep(write: Callable[..., Path]) -> Path:
    folder = make_sweep(write)
    assert report.main([str(folder), "--no-figures"]) == 0
    return folder / "report.html"


def test_a_sweep(browser: Any, sweep: Path) -> None:
    browser.open(sweep)
    assert browser.value("document.title") == "vae on digits: 3 runs"
    assert browser.value("document.querySelectorAll('#runs > details').length") == 3
    assert browser.value("document.querySelectorAll('#curves svg').length") == 1
    assert browser.value(
        "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size =="
        " document.querySelectorAll('[id]').length"
    )
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.value(LOADED)
    assert (browser.requests, browser.said) == ([], [])
