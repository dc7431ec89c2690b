"""No file of a run or a sweep reaches a shell, a search path or the environment."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from genai_cli.config import values
from genai_cli.errors import UserError
from genai_cli.launchers.script import render_script
from genai_cli.launchers.settings import Slurm
from genai_cli.store import run_folder
from genai_cli.sweeps.again import resolve_launcher
from genai_cli.system import subprocesses

# Each makes the file "fired" in the working directory if a shell ever reads it as its own.
SHELL = (
    "$(touch fired)",
    "`touch fired`",
    "'; touch fired; '",
    '"; touch fired; "',
    "a b && touch fired",
    "a | touch fired",
    "a > fired",
    "\\$(touch fired)",
    "${IFS}touch${IFS}fired",
    "!touch fired",
    "#\\\ntouch fired",
    "x\ntouch fired\n",
    "x\rtouch fired\r",
    "x\u2028touch fired",
    "x\x00touch fired",
)
KEYS = ("partition", "account", "qos", "constraint")


def run(where: Path, *texts: str) -> None:
    """Batch scripts as bash reads them, but for Python, which they end in."""
    for number, text in enumerate(texts):
        (where / f"{number}.sh").write_text(text)
    lines = [
        "exec() { printf '%s\\n' \"$@\" > words; }",
        'for each in *.sh; do (. "./$each"); done',
    ]
    subprocess.run(["bash"], input="\n".join(lines).encode(), cwd=where, check=False)
    for number in range(len(texts)):
        (where / f"{number}.sh").unlink()


@pytest.mark.parametrize("word", SHELL, ids=range(len(SHELL)))
def test_no_value_of_a_sweep_is_shell_in_its_batch_script(word: str, tmp_path: Path) -> None:
    """A stranger's sweep.yaml names the queue; a folder may be called anything."""
    texts = [render_script(Slurm(), tmp_path / "slurm" / "000.json", 2, word.replace("\n", ""))]
    for key in KEYS:
        try:
            how = resolve_launcher({"launcher": {"name": "slurm", key: word}}, [], [])
        except UserError:  # a line break would end the comment it stands in
            assert not word.isprintable() or "${" in word
            continue
        assert word.isprintable()
        texts.append(render_script(how, tmp_path / "sweep" / "slurm" / "000.json", 2, "genai"))
    try:
        texts.append(render_script(Slurm(), tmp_path / word / "slurm" / "000.json", 2, "genai"))
    except UserError:
        assert not word.isprintable()
        run(tmp_path, *texts)
    else:
        run(tmp_path, *texts)
        sheet = (tmp_path / "words").read_text().splitlines()[-1]
        assert sheet == str(tmp_path / word / "slurm" / "000.json")
    assert not (tmp_path / "fired").exists()


def test_the_script_of_a_test_does_fire(tmp_path: Path) -> None:
    """What `run` would do with shell that got through."""
    run(
        tmp_path,
        render_script(Slurm(setup=["touch fired"]), tmp_path / "slurm" / "0.json", 1, "genai"),
    )
    assert (tmp_path / "fired").exists()


@pytest.mark.parametrize(
    "stored",
    [
        {"name": "slurm", "setup": ["touch fired"]},
        {"name": "slurm", "setup": "touch fired"},
        {"name": "slurm", "setup": [["touch fired"]]},
        {"name": "slurm", "setup": {"a": "touch fired"}},
        {"name": "slurm", "setup": [], "_target_": "os.system"},
        {"name": "slurm", "minutes": "1; touch fired"},
        {"name": "slurm", "cpus": "$(touch fired)"},
        {"name": "slurm", "partition": ["$(touch fired)"]},
        {"name": "slurm", "partition": "${oc.env:HOME}"},
        {"name": "joblib", "workers": "${oc.decode:'1'}"},
    ],
)
def test_shell_of_a_strangers_sweep_is_never_taken_over(stored: dict[str, Any]) -> None:
    with pytest.raises(UserError) as refused:
        resolve_launcher({"launcher": stored}, [], [])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [["slurm"], {"a": 1}, None, 3, "os.system", "../slurm"])
def test_a_launcher_that_is_none_is_not_asked_for(name: object) -> None:
    assert resolve_launcher({"launcher": {"name": name, "setup": ["x"]}}, [], []).name == "serial"


# ---- ${…} --------------------------------------------------------------------------------------


LOOKUPS = (
    "tags=[${oc.env:GENAI_SECRET}]",
    "name=$\\{oc.env:GENAI_SECRET\\}",
    "name='${oc.env:GENAI_SECRET}'",
    'name="${oc.decode:${oc.env:GENAI_SECRET}}"',
    "name=x${oc.env:GENAI_SECRET,none}",
    "name=${oc.select:tags}",
    "name=$\\\\{oc.env:GENAI_SECRET}",
)


@pytest.mark.parametrize("word", LOOKUPS)
def test_a_strangers_sweep_reads_no_environment(
    word: str, genai: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither where a lost cell is written again, nor in the trials of a search to come."""
    monkeypatch.setenv("GENAI_SECRET", "hunter2")
    sweep = tmp_path / "outputs" / "2026-01-01" / "00-00-00-sweep-abcd"
    sweep.mkdir(parents=True)
    cell = {"folder": "000-x", "overrides": [word], "config": "0" * 12}
    content: dict[str, Any] = {"command": "genai train -m", "varied": [], "cells": [cell]}
    search = {"sweep": {"search": "tpe"}, "line": {"overrides": [word], "config_dirs": []}}
    key, _, text = word.partition("=")
    over = {"search": "random", "over": {"bottleneck": [2, 3], key: text}}
    listed = {"sweep": over, "line": {"overrides": [], "config_dirs": []}}
    cells = {"search": "halving", "cells": [{"bottleneck": 2}, {"bottleneck": text}]}
    in_cells = {"sweep": cells, "line": {"overrides": [], "config_dirs": []}}
    for more in ({}, search, listed, in_cells):
        (sweep / run_folder.SWEEP).write_text(yaml.safe_dump(content | more))
        done = genai("sweep", "resume", str(sweep))
        assert done.code == 2
        assert "looks something up" in done.err
        assert "hunter2" not in done.out + done.err
    assert [p.name for p in sweep.iterdir() if "lock" not in p.name] == [run_folder.SWEEP]


def test_a_strangers_sweep_adds_no_folder_of_configs(genai: Callable, tmp_path: Path) -> None:
    sweep = tmp_path / "outputs" / "2026-01-01" / "00-00-00-sweep-abcd"
    sweep.mkdir(parents=True)
    line: dict[str, Any] = {"overrides": ["epochs=1"], "config_dirs": [str(sweep)]}
    content = {"varied": [], "cells": [], "sweep": {"search": "tpe"}, "line": line}
    (sweep / run_folder.SWEEP).write_text(yaml.safe_dump(content))
    done = genai("sweep", "resume", str(sweep))
    assert done.code == 2
    assert f"type: genai sweep resume {sweep} -cd {sweep}" in done.err
    for odd in ({"overrides": 3}, {"overrides": [3]}, {"config_dirs": [None]}, 3):
        broken = content | {"line": odd if odd == 3 else line | dict(odd)}  # type: ignore[call-overload]
        (sweep / run_folder.SWEEP).write_text(yaml.safe_dump(broken))
        done = genai("sweep", "resume", str(sweep))
        assert (done.code, done.err.count("\n")) == (2, 1), done.err


def test_a_plain_dollar_is_no_lookup(tmp_path: Path) -> None:
    values.refuse_interpolation(["name=5$", "tags=[$a,{b}]", "model=vae"], tmp_path)


# ---- where modules are found -------------------------------------------------------------------


def test_a_worker_imports_nothing_of_the_folder_it_is_started_in(tmp_path: Path) -> None:
    """`genai resume .` in a folder that a stranger sent."""
    for name in ("json", "yaml", "torch", "runpy", "genai_cli", "sitecustomize", "numpy"):
        (tmp_path / f"{name}.py").write_text("open('fired', 'w')\n")
    words = subprocesses.python_command("genai_cli.launchers.process")  # ends with its stdin
    about = {"cwd": tmp_path, "stdin": subprocess.DEVNULL, "capture_output": True}
    done = subprocess.run(words, check=False, **about)
    assert (done.returncode, done.stderr) == (143, b"")
    assert not (tmp_path / "fired").exists()
    subprocess.run([words[0], "-m", "genai_cli.launchers.process"], check=False, **about)
    assert (tmp_path / "fired").exists()  # the test would notice


def test_every_process_of_ours_is_started_so() -> None:
    package = Path(subprocesses.__file__).parents[1]
    ours = [f.relative_to(package) for f in package.rglob("*.py") if '"-m"' in f.read_text()]
    assert {str(f) for f in ours} <= {
        "cli/usage.py",
        "config/compose.py",
        "cli/completion/candidates.py",
        "doctor/read.py",
        "cli/commands/sweep.py",
    }
    for file in package.rglob("*.py"):
        text = file.read_text()
        for shell in ("shell=True", "os.system(", "os.popen(", "eval(", "exec("):
            found = [x for x in text.splitlines() if shell in x and ".eval(" not in x]
            found = [x for x in found if "run.eval" not in x and "def " not in x]
            assert not found, (file, found)


def test_after_a_config_was_shown_nothing_is_looked_up_in_hydra(capsys) -> None:
    from genai_cli.cli.front_door import main

    assert main(["train", "--cfg", "job"]) == 0
    assert main(["train", "name=${hydra:runtime.cwd}"]) == 2
    assert "HydraConfig was not set" in capsys.readouterr().err
