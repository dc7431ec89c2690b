"""Verbs are found, mistakes are one line, and nothing heavy is imported on the way."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import time

import pytest

from genai_cli.cli.command_table import VERBS
from genai_cli.version import __version__

HEAVY = ["torch", "torchvision", "matplotlib", "hydra", "omegaconf", "numpy", "yaml", "rich", "PIL"]

FAKE = """
import sys, types
from genai_cli.cli.front_door import main
def verb(args):
    {body}
module = types.ModuleType("genai_cli.cli.commands.runs")
module.main = verb
sys.modules["genai_cli.cli.commands.runs"] = module
sys.exit(main(["runs", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_overview_lists_every_verb(genai_process, words):
    done = genai_process(*words)
    assert (done.returncode, done.stderr) == (0, "")
    for verb, meaning in VERBS.items():
        assert f"  {verb} " in done.stdout
        assert meaning in done.stdout


def test_version(genai_process):
    assert genai_process("--version").stdout == f"genai {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        "--help",
        "train --help",
        "train model=vae --help",
        "help resume",
        "completion show bash",
        "trian",
        "_complete bash 'genai train -m model=vae,' '='",
        "_complete zsh resume ''",
    ],
)
def test_answers_without_heavy_imports(python, words):
    done = python(
        "import sys; from genai_cli.cli.front_door import main\n"
        f"main({shlex.split(words)!r})\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    assert done.stderr.splitlines()[-1] == "[]"


def test_the_door_itself_imports_almost_nothing(python):
    done = python(
        "import sys; before = set(sys.modules); import genai_cli.cli.front_door\n"
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})"
    )
    light = {"genai_cli", "__future__", "importlib", "warnings", "errno"}
    assert set(done.stdout.split()) <= light


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("trian model=vae", ["unknown verb 'trian'", "did you mean 'train'?", "completion, data"]),
        ("help trian", ["unknown verb 'trian'", "did you mean 'train'?"]),
        ("-m train model=vae", ["verb comes first", "'-m'", "genai train -m …"]),
        ("-m train", ["verb comes first", "genai train -m"]),
        ("--foo", ["verb comes first", "genai VERB --foo"]),
        ("model=vae", ["verb comes first", "genai train model=vae"]),
        ("train model=vea --help", ["genai train: unknown model 'vea'", "did you mean 'vae'?"]),
    ],
)
def test_mistakes_are_one_line(genai_process, words, parts):
    done = genai_process(*words.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("genai")
    assert done.stderr.count("\n") == 1
    for part in parts:
        assert part in done.stderr


def test_missing_folder_of_genai_path(genai_process, tmp_path):
    (tmp_path / "here").mkdir()
    done = genai_process("train", "--help", GENAI_PATH=f"{tmp_path / 'here'}:/not/here")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "GENAI_PATH=/not/here: no such folder" in done.stderr


def test_user_error_is_one_line_and_code_2(python):
    body = "from genai_cli.errors import UserError; raise UserError('a\\n  b\\n\\nc')"
    done = python(FAKE.format(body=body))
    assert (done.returncode, done.stderr) == (2, "genai runs: a b c\n")
    traced = python(FAKE.format(body=body), GENAI_TRACEBACK="1")
    assert traced.returncode == 2
    assert "Traceback" in traced.stderr


@pytest.mark.parametrize(("body", "code"), [("return None", 0), ("return 7", 7), ("1 / 0", 1)])
def test_exit_code_is_the_verbs(python, body, code):
    assert python(FAKE.format(body=body)).returncode == code


def test_arguments_reach_the_verb_unchanged(python):
    done = python(
        "import sys, types\nfrom genai_cli.cli.front_door import main\n"
        "sys.modules['genai_cli.cli.commands.runs'] = types.SimpleNamespace(main=print)\n"
        "main(['runs', 'a=[1, 2]', '-m', '', 'π'])"
    )
    assert done.stdout == "['a=[1, 2]', '-m', '', 'π']\n"


def test_interrupt_is_quiet_and_130(clean_env):
    body = "print('ready', flush=True); import time; time.sleep(30)"
    process = subprocess.Popen(
        [sys.executable, "-c", FAKE.format(body=body)],
        env=clean_env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")


@pytest.mark.parametrize("body", ["print('x' * 10**6)", "print('x')"])
def test_reader_that_leaves_is_no_error(clean_env, body):
    """As in ``genai runs | head -1``: nothing on stderr, whether the write or the flush fails."""
    process = subprocess.Popen(
        [sys.executable, "-c", FAKE.format(body=f"sys.stdin.read(); {body}")],
        env={k: v for k, v in clean_env.items() if k != "PYTHONUNBUFFERED"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdin is not None
    process.stdout.close()
    process.stdin.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 141


def test_another_broken_pipe_is_not_hidden(python):
    body = "import os; r, w = os.pipe(); os.close(r); os.write(w, b'x')"
    done = python(FAKE.format(body=body))
    assert done.returncode == 1
    assert "BrokenPipeError" in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_printing_survives_other_encodings(genai_process, encoding):
    done = genai_process("train", "--help", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    failed = genai_process("trxn", PYTHONIOENCODING=encoding)
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1


def test_closed_stdout_is_no_error(clean_env):
    line = f"exec {shlex.quote(sys.executable)} -m genai_cli --help >&-"
    done = subprocess.run(["bash", "-c", line], env=clean_env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_scripts_of_earlier_installations_find_it(python):
    done = python("from genai_cli.cli import main; raise SystemExit(main(['--version']))")
    assert (done.returncode, done.stdout) == (0, f"genai {__version__}\n")
