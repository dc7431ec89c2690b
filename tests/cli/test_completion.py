"""TAB: in a real bash, and the candidates behind it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from genai_cli.cli.command_table import VERBS
from genai_cli.cli.commands.completion import SCRIPTS
from genai_cli.cli.completion.candidates import SHELLS, candidates
from genai_cli.cli.completion.shell import split_line
from genai_cli.config.catalog import ConfigTree

BREAKS = " \t\n\"'><=;|&(:"  # bash's own COMP_WORDBREAKS


@pytest.fixture(autouse=True)
def _place(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("GENAI_PATH", "GENAI_OUTPUTS"):
        monkeypatch.delenv(name, raising=False)


def offered(line: str) -> list[str]:
    """The candidates for a line that ends where the cursor is."""
    return [word for word, _ in candidates(split_line(f"genai {line}", BREAKS)[0][1:])]


@pytest.fixture
def tab(tmp_path, clean_env):
    """Press TAB in a real bash: the script is sourced, the function called, COMPREPLY printed."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin/genai"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m genai_cli "$@"\n')
    command.chmod(0o755)
    (tmp_path / "genai.bash").write_text(SCRIPTS["bash"])

    def press(line: str, breaks: str = BREAKS, after: str = "", name: str = "genai") -> list[str]:
        script = f"""
            source {tmp_path}/genai.bash
            complete -p genai >/dev/null || exit 9
            COMP_WORDBREAKS="$2" COMP_LINE="$1$3" COMP_POINT=${{#1}}
            COMP_WORDS=($1) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
            _genai "$4" "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
            printf '%s|\\n' "${{COMPREPLY[@]}}"
        """
        env = clean_env | {"PATH": f"{command.parent}:{clean_env['PATH']}", "HOME": str(tmp_path)}
        done = subprocess.run(
            ["bash", "--norc", "-c", script, "bash", line, breaks, after, name],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [reply[:-1] for reply in done.stdout.splitlines() if reply != "|"]

    return press


def test_bash_completes_a_verb(tab):
    assert tab("genai tr") == ["train "]
    assert tab("genai ") == [f"{verb} " for verb in VERBS]


def test_bash_replaces_only_what_stands_behind_its_word_breaks(tab):
    assert tab("genai train model=va") == ["vae "]
    assert tab("genai train model=va", breaks=" \t\n") == ["model=vae "]
    assert "vae,mlp" in tab("genai train -m model=vae,")
    assert "model=vae,mlp" in tab("genai train -m model=vae,", breaks=" \t\n")


def test_bash_completes_where_the_cursor_is(tab):
    assert tab("genai train model=va", after=" epochs=3") == ["vae "]


def test_bash_quotes(tab, tmp_path):
    (tmp_path / "my runs").mkdir()
    assert tab("genai train outputs=my") == [r"my\ runs/"]
    assert tab("genai train 'outputs=my") == ["outputs=my runs/"]
    assert tab("genai train outputs='my") == ["my runs/"]
    assert tab(r"genai train outputs=my\ r") == [r"my\ runs/"]


def test_bash_finds_the_command_as_it_was_typed(tab, tmp_path):
    assert tab("~/bin/genai tr", name="~/bin/genai") == ["train "]
    assert tab("bin/genai tr", name="bin/genai") == ["train "]
    assert tab("nosuch/genai tr", name="nosuch/genai") == []


@pytest.mark.parametrize(
    "shell", ["bash", *(pytest.param(s, marks=pytest.mark.shells) for s in SHELLS if s != "bash")]
)
def test_script_is_valid(tmp_path, shell):
    if not shutil.which(shell):
        message = f"no {shell} (apt-get install {shell})"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    file = tmp_path / "script"
    file.write_text(SCRIPTS[shell])
    done = subprocess.run([shell, "-n", str(file)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_groups_keys_and_sections():
    found = offered("train ")
    tree = ConfigTree()
    for group in (g for g in tree.groups if tree.options(g)):
        assert f"{group}=" in found
    for key in tree.train.keys:
        assert f"{key}=" in found
    assert {"model.", "optimizer.", "trainer."} <= set(found)
    assert "model.name=" not in offered("train model.")


def test_options_of_every_group():
    tree = ConfigTree()
    for group in tree.groups:
        assert offered(f"train {group}=") == [f"{group}={o} " for o in tree.options(group)]


def test_list_of_a_sweep_leaves_out_what_is_in_it():
    found = offered("train -m model=vae,")
    assert "model=vae,mlp" in found
    assert "model=vae,vae" not in found


def test_keys_follow_the_chosen_option():
    assert "model.label_smoothing=" in offered("train model=mlp model.")
    assert "model.label_smoothing=" not in offered("train model=vae model.")
    assert "model.beta=" in offered("train model.")
    assert {"model.beta=", "model.label_smoothing="} <= set(
        offered("train -m model=vae,mlp model.")
    )
    assert "optimizer.momentum=" in offered("train optimizer=sgd optimizer.mo")


def test_a_key_is_offered_once():
    assert "epochs=" not in offered("train epochs=3 ")
    assert "model=" not in offered("train model=vae ")


def test_values_that_are_known():
    assert offered("train device=") == [f"device={d} " for d in ("auto", "cpu", "cuda", "mps")]
    known = ("fp32", "bf16", "fp64", "auto")
    assert offered("train precision=") == [f"precision={p} " for p in known]
    assert offered("train precision=b") == ["precision=bf16 "]
    assert offered("train trainer.deterministic=t") == ["trainer.deterministic=true "]
    assert offered("train model.network=") == ["model.network=fc ", "model.network=conv "]
    assert offered("train epochs=") == []


def test_flags():
    assert {"-m ", "--cfg ", "-cd ", "--help "} <= set(offered("train -"))
    assert offered("train --cfg j") == ["job "]
    assert offered("--v") == ["--version "]
    assert offered("runs --j") == ["--json "]


def test_users_own_options(tmp_path, monkeypatch):
    (tmp_path / "lab/configs/model").mkdir(parents=True)
    (tmp_path / "lab/configs/model/mine.yaml").write_text("# Mine\nname: mine\nsize: 3\n")
    assert offered("train -cd lab/configs model=mi") == ["model=mine "]
    assert offered("train -cd la") == ["lab/"]
    monkeypatch.setenv("GENAI_PATH", "lab")
    assert offered("train model=mi") == ["model=mine "]
    assert offered("train model=mine model.") == ["model.size="]
    monkeypatch.setenv("GENAI_PATH", "/not/here")
    assert offered("train model=v") == ["model=vae "]


@pytest.fixture
def outputs(tmp_path) -> Path:
    root = tmp_path / "outputs"
    for name in (
        "2026-11-21/09-00-00-mlp-digits-aaaa",
        "2026-11-22/14-03-07-vae-digits-k3f9",
        "2026-11-22/15-00-00-sweep-sw33/000-vae-bottleneck-8",
        "2026-11-22/15-00-00-sweep-sw33/001-mlp-bottleneck-8",
        "notes/14-03-07-vae-digits-zzzz",
    ):
        (root / name).mkdir(parents=True)
    config = root / "2026-11-21/09-00-00-mlp-digits-aaaa/config.yaml"
    config.write_text("optimizer:\n  name: sgd\n  lr: 0.1\nmodel:\n  name: mlp\nepochs: 3\n")
    return root


def test_runs_to_resume(outputs, tmp_path, monkeypatch):
    assert offered("resume ") == ["latest ", "sw33/", "k3f9 ", "aaaa "]
    assert offered("resume k") == ["k3f9 "]
    assert offered("resume sw33/") == ["sw33/000 ", "sw33/001 "]
    assert offered("resume outputs/2026-11-21/") == ["outputs/2026-11-21/09-00-00-mlp-digits-aaaa/"]
    outputs.rename(tmp_path / "elsewhere")
    assert offered("resume ") == ["latest "]
    monkeypatch.setenv("GENAI_OUTPUTS", str(tmp_path / "elsewhere"))
    assert offered("resume a") == ["aaaa "]


def test_what_a_resumed_run_may_change(outputs):
    found = offered("resume k3f9 ")
    assert {"epochs=", "device=", "trainer.", "optimizer."} <= set(found)
    assert not {"model=", "seed=", "optimizer=", "model."} & set(found)
    assert "trainer.ema=" not in offered("resume k3f9 trainer.")
    assert offered("resume k3f9 device=cp") == ["device=cpu "]
    assert "optimizer.lr=" in offered("resume aaaa optimizer.")
    path = "outputs/2026-11-21/09-00-00-mlp-digits-aaaa"
    assert "optimizer.lr=" in offered(f"resume {path} optimizer.")


def test_other_verbs():
    assert offered("help res") == ["resume "]
    assert offered("report k3f9 o") == ["out=", "outputs="]
    assert offered("completion install ") == ["bash ", "zsh ", "fish "]
    assert offered("completion un") == ["uninstall "]
    assert offered("runs status=fi") == ["status=finished "]
    assert offered("runs model=v") == ["model=vae "]
    assert offered("runs model=vae model.be") == ["model.beta="]
    assert "--yes " in offered("runs prune -")
    assert "--yes " not in offered("runs -")
    assert offered("runs pru") == ["prune "]
    assert offered("data fe") == ["fetch "]
    assert offered("nosuch ") == []


def test_data_sets():
    assert offered("data check digi") == ["digits "]
    assert "mnist " in offered("data fetch ")
    assert "digits " not in offered("data fetch ")  # inside scikit-learn: nothing to fetch
    assert "limit=" in offered("data check digits ")
    assert offered("data list ") == []


def test_zsh_and_fish_get_the_meaning(genai_process):
    zsh = genai_process("_complete", "zsh", "train", "model=v").stdout
    assert zsh.startswith("model=vae \tvae ")
    fish = genai_process("_complete", "fish", "train", "model=v").stdout
    assert fish.startswith("model=vae\tVariational autoencoder")


@pytest.mark.parametrize(
    ("line", "words", "cut", "quote"),
    [
        ("genai train", ["genai", "train"], 0, ""),
        ("genai  train ", ["genai", "train", ""], 0, ""),
        ("genai a=b", ["genai", "a=b"], 2, ""),
        ("genai a='b c", ["genai", "a=b c"], 2, "'"),
        ('genai "a b"', ["genai", "a b"], 0, ""),
        (r"genai a\ b", ["genai", "a b"], 0, ""),
        ("genai '' ", ["genai", "", ""], 0, ""),
        ("genai '\\", ["genai", "\\"], 0, "'"),
    ],
)
def test_the_line_as_the_shell_reads_it(line, words, cut, quote):
    assert split_line(line, BREAKS) == (words, cut, quote)
