"""The page of a lecture: what it shows of each experiment, and what it does not hide."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from report_folders import ALL, png

from genai_cli.cli.commands import report
from genai_cli.report.figures import Picture
from genai_cli.report.lecture_page import lecture_page
from genai_cli.report.lecture_pictures import WIDEST, shrink
from genai_cli.store import outputs

DAY = "2026-11-24/00-31-07-lecture-k3f9"
WIDTH = "document.documentElement.scrollWidth"


@pytest.fixture
def lecture(write: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Write a lecture of two horrors, of which one run is there, and one of one's own."""

    def make(printed: str = "", **changed: Any) -> Path:
        run = write(f"{DAY}/01-mean_collapse/2026-11-24/00-31-08-vae-digits-ab12")
        place = tmp_path / "outputs" / DAY
        done = {"code": 0, "seconds": 8.5, "made": [str(run.relative_to(place / run.parts[-3]))]}
        waiting = {"code": None, "seconds": 0.0, "made": []}
        parts = [
            {"name": "horrors/mean_collapse", "folder": "01-mean_collapse", "status": "finished",
             "commands": [done]},
            {"name": "horrors/jumps", "folder": "02-jumps", "commands": [waiting]},
            {"name": "gone", "folder": "03-gone", "commands": [waiting]},
        ]  # fmt: skip
        state = {
            "schema": 1, "command": f"genai lecture all outputs={tmp_path}", "names": ["all"],
            "changes": [], "parts": parts, "started": "2026-11-24T00:31:07.000+00:00",
            "finished": None, "status": "interrupted",
        }  # fmt: skip
        (place / outputs.LECTURE).write_text(json.dumps(state | changed))
        (place / "01-mean_collapse" / "commands.log").write_text(printed, encoding="utf-8")
        return place

    return make


def test_question_command_picture_numbers_finding_and_lesson(
    lecture: Callable[..., Path], tmp_path: Path
) -> None:
    printed = "$ genai train x\nepoch 1\n$ genai audit latest\nclass 9: 0.1 %\n"
    text = lecture_page(lecture(printed, changes=["epochs=2"]))
    for part in (
        "What does an autoencoder paint when it may not remember anything?",
        "genai train experiment=lecture/horrors/mean_collapse",
        "mean_collapse</pre><p>Trained here with <code>epochs=2</code>.</p>",
        "every reconstruction is the mean digit",  # behind its picture
        "data:image/png;base64,",
        "0.009600",
        "Lesson: ",
        "optimizer.weight_decay=0</code>",
        "train 8.5 s",
        "class 9: 0.1 %",
        "genai lecture resume k3f9",
        "This experiment is waiting.",
        "Experiments that are gone",
        "The gallery of horrors",
    ):
        assert part in text, part
    assert text.count("data:image/png;base64,") == 1  # of samples and the others nothing is said
    assert "epoch 1" not in text
    assert str(tmp_path) not in text
    assert "<script" not in text


def test_a_run_that_contradicts_its_lesson_is_not_hidden(lecture: Callable[..., Path]) -> None:
    text = lecture_page(lecture())
    assert "This run contradicts the lesson." in text
    assert "not seen here: mean collapse; the doctor says" in text


@pytest.mark.browser
def test_what_others_wrote_is_text(browser: Any, lecture: Callable[..., Path]) -> None:
    attack = ALL.encode("utf-8", "replace").decode()
    place = lecture(f"$ genai audit x\n{attack}\n$ genai \n", command=attack, started=attack)
    assert report.main([str(place)]) == 0
    browser.open(place / "report.html")
    assert "<script>document.title='fired'</script>" in browser.value("document.body.textContent")
    assert browser.value("document.title") == "A lecture on generative models"
    assert browser.value("document.scripts.length") == 0
    assert browser.value("document.querySelectorAll('img[src=x], [onload], [onerror]').length") == 0


def test_pictures_are_small_and_as_wide_as_the_page_needs() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 3000, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    small = shrink(Picture(file.getvalue(), 3000, 300))
    assert (small.width, small.height) == (WIDEST, 120)
    assert len(small.data) < len(file.getvalue()) / 10
    tiny = Picture(png(), 4, 4)
    assert len(shrink(tiny).data) <= len(tiny.data)


@pytest.mark.browser
def test_it_is_read_on_a_phone_and_in_the_dark(browser: Any, lecture: Callable[..., Path]) -> None:
    place = lecture()
    report.main([str(place)])
    for width, dark in ((320, False), (1100, True)):
        browser.open(place / "report.html", width, 800, dark)
        assert browser.value(WIDTH) <= width
        assert browser.value("document.images.length") == 1
        assert browser.value("[...document.images].every(i => i.naturalWidth > 0)")
        links = "[...document.querySelectorAll('a[href^=\"#\"]')]"
        assert browser.value(f"{links}.every(a => document.getElementById(a.hash.slice(1)))")
        assert (browser.requests, browser.said) == ([], [])
