"""`genai completion install`: the file lands where the shell reads it, and goes again."""

from __future__ import annotations

import pytest

from genai_cli.cli.commands.completion import SCRIPTS


def test_install_show_uninstall(genai_process, tmp_path):
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "ZDOTDIR": ""}
    files = {
        "bash": tmp_path / ".local/share/bash-completion/completions/genai",
        "zsh": tmp_path / ".zfunc/_genai",
        "fish": tmp_path / ".config/fish/completions/genai.fish",
    }
    for shell, file in files.items():
        done = genai_process("completion", "install", SHELL=f"/usr/bin/{shell}", **home)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"wrote {file}\n" in done.stdout
        assert file.read_text() == SCRIPTS[shell]
        assert genai_process("completion", "show", shell, **home).stdout == SCRIPTS[shell]
    assert "compinit" in genai_process("completion", "install", "zsh", **home).stdout
    (tmp_path / ".zshrc").write_text("fpath=(~/.zfunc $fpath)\nautoload -Uz compinit && compinit\n")
    assert "compinit" not in genai_process("completion", "install", "zsh", **home).stdout
    done = genai_process("completion", "uninstall", **home)
    assert done.stdout.count("removed") == 3
    assert not any(file.exists() for file in files.values())
    assert "no completion was installed" in genai_process("completion", "uninstall", **home).stdout


def test_install_follows_xdg(genai_process, tmp_path):
    genai_process(
        "completion", "install", "bash", HOME=str(tmp_path), XDG_DATA_HOME=f"{tmp_path}/data"
    )
    assert (tmp_path / "data/bash-completion/completions/genai").is_file()


@pytest.mark.parametrize(
    ("words", "shell", "part"),
    [
        ("install", "", "$SHELL is not set"),
        ("install", "/bin/tcsh", "$SHELL is tcsh"),
        ("install fihs", "", "unknown shell 'fihs'; did you mean 'fish'?"),
        ("instal", "", "'instal' is not known; did you mean 'install'?"),
        ("", "", "genai completion install|show|uninstall"),
        ("show bash zsh", "", "one shell at a time"),
    ],
)
def test_mistakes(genai_process, words, shell, part):
    done = genai_process("completion", *words.split(), SHELL=shell)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert part in done.stderr


def test_a_place_that_cannot_be_written_is_one_line(genai_process, tmp_path):
    (tmp_path / ".zfunc").write_text("a file is in the way")
    done = genai_process("completion", "install", "zsh", HOME=str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
