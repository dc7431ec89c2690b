"""The races run, at the smallest size and without the peers: nothing here is timed."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # processes that import torch, one after the other

FOLDER = Path(__file__).parents[1] / "benchmarks"
SMALL = ["--rounds", "1", "--warmup", "0", "--limit", "40", "--batch", "20"]

RACES = {
    "vae": ["--dataset=digits", "--channels", "2", "4", "--only", "eager"],
    "diffusion": ["--dataset=digits", "--channels", "8", "--depth=1", "--only", "eager"],
    "diffusion_sampling": [
        *("--dataset=digits", "--channels", "8", "--depth=1", "--steps=2"),
        *("--only", "genai-cli"),
    ],
    "flow": ["--points=100", "--couplings=2", "--widths", "4", "--only", "eager"],
    "sweep": ["--seeds=1", "--epochs=1", "--only", "single"],
}


def race(name: str, *words: str) -> tuple[str, list[dict[str, str]]]:
    """What a script prints, and the rows of its CSV."""
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = Path(words[words.index("--csv") + 1])
    with rows.open(newline="", encoding="utf-8") as file:
        return done.stdout, list(csv.DictReader(file))


@pytest.mark.parametrize("name", RACES)
def test_a_race_ends_with_a_row_for_each_entrant(name: str, tmp_path: Path) -> None:
    said, rows = race(name, *SMALL, "--csv", str(tmp_path / "rows.csv"), *RACES[name])
    assert rows, said
    assert "left out" not in said
    for row in rows:
        assert row["entrant"] in said
        assert float(row["median"]) > 0
        assert int(row["images"]) > 0
        assert int(row["peak_mib"]) > 0
    assert float(rows[0]["ratio"]) == 1


def test_flops_of_the_autoencoder_are_those_of_its_matrix_products(tmp_path: Path) -> None:
    """Ours, a plain torch loop's and the bound's are the same number of operations."""
    words = [*SMALL, "--dataset=digits", "--csv", str(tmp_path / "rows.csv"), "--only"]
    said, rows = race("autoencoder", *words, "eager", "loop, in memory", "products", "machine")
    counted = {row["entrant"]: float(row["mflop_per_image"]) for row in rows}
    products = {"matrix products", "matrix products, batch, Adam"}
    assert set(counted) == {"genai-cli, eager", "loop, in memory", *products}
    by_hand = 6 * (64 * 128 + 2 * 128 * 64 + 128 * 64) - 2 * 64 * 128  # no gradient of the input
    assert counted == dict.fromkeys(counted, pytest.approx(by_hand / 1e6))
    assert "MFLOP a step" in said
    assert "of the rate" in said


def test_first_step_is_told_and_nothing_after_it_happens(tmp_path: Path) -> None:
    """Of the very function that `genai train` calls after a step."""
    words = ["--rounds=1", "--warmup=0", "--only", "genai train", "--csv", str(tmp_path / "r.csv")]
    said, rows = race("startup", *words)
    seconds = {row["entrant"]: float(row["median"]) for row in rows}
    assert set(seconds) == {"genai train", "genai train --help"}, said
    assert 0 < seconds["genai train --help"] < seconds["genai train"]


def test_a_peer_that_fails_is_left_out_in_one_line(tmp_path: Path) -> None:
    """Also in mid-race; the others go on."""
    script = tmp_path / "own.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(FOLDER)!r})\n"
        "from race import Entrant, main, parser\n"
        "def good(args, turns):\n"
        "    print('chatter of a library')\n"
        "    turns.ready(images=1)\n"
        "    for _ in range(turns.rounds):\n"
        "        turns.start()\n"
        "        turns.stop(seconds=2.0)\n"
        "def late(args, turns):\n"
        "    turns.ready(images=1)\n"
        "    turns.start()\n"
        "    raise ValueError('no more')\n"
        "def early(args, turns):\n"
        "    raise ValueError('not even once')\n"
        "absent = Entrant(good, needs=('no_such_package',))\n"
        "all = {'good': Entrant(good), 'late': Entrant(late), 'early': Entrant(early),\n"
        "       'absent': absent}\n"
        "sys.exit(main('test', parser(None).parse_args(), all))\n"
    )
    done = subprocess.run(
        [sys.executable, script, "--rounds=3", "--csv", tmp_path / "rows.csv"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "late: stopped, ValueError: no more" in done.stdout
    assert "early: left out, ValueError: not even once" in done.stdout
    assert "absent: left out, no_such_package is not installed" in done.stdout
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["entrant"], row["rounds"], float(row["median"])) == ("good", "3", 2.0)


def test_our_own_failure_fails_the_race(tmp_path: Path) -> None:
    script = tmp_path / "own.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(FOLDER)!r})\n"
        "from race import Entrant, main, parser\n"
        "def ours(args, turns):\n"
        "    raise ValueError('broken')\n"
        "sys.exit(main('test', parser(None).parse_args(), {'ours': Entrant(ours, fail=True)}))\n"
    )
    done = subprocess.run(
        [sys.executable, script, "--rounds=1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ours: left out, ValueError: broken" in done.stdout


def test_bytes_of_a_step_are_counted_by_hand() -> None:
    """Ten numbers a parameter; what autograd keeps, once in and once out."""
    code = (
        f"import sys; sys.path.insert(0, {str(FOLDER)!r})\n"
        "import json, torch\n"
        "from entrants import counted\n"
        "net = torch.nn.Linear(3, 2, bias=False)\n"
        "x = torch.rand(5, 3)\n"
        "print(json.dumps(counted(net, lambda: net(x).sum(), 5)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    kept = 5 * 3 * 4  # x, for the gradient of the weights
    assert found["bytes"] == 10 * 6 * 4 + 2 * kept
    assert math.isclose(found["flops"], 2 * 2 * 6)  # forward and the gradient of the weights
