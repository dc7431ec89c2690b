"""The help says what the YAML says, and the line reader agrees with YAML and Hydra."""

from __future__ import annotations

import itertools
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from genai_cli.cli.command_table import VERBS
from genai_cli.cli.help import overview, verb_help
from genai_cli.config import catalog
from genai_cli.config.catalog import ConfigTree, Key, choices, config_dir, read_config_file
from genai_cli.errors import UserError

CONFIGS = config_dir()
OPTIONS = sorted(
    f"{f.parent.name}={f.stem}"
    for f in CONFIGS.glob("*/*.yaml")
    if f.parent.name in ConfigTree().groups
    and f.parent.name != "sweep"  # no part of a run's config
)


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    monkeypatch.delenv("GENAI_PATH", raising=False)
    monkeypatch.delenv("GENAI_OUTPUTS", raising=False)


def flat(node: dict, head: str = "") -> dict[str, object]:
    out: dict[str, object] = {}
    for key, value in node.items():
        inside = isinstance(value, dict) and value
        out.update(flat(value, f"{head}{key}.") if inside else {f"{head}{key}": value})
    return out


def test_line_reader_agrees_with_yaml():
    """Every key and value of every shipped file."""
    import yaml

    files = sorted(CONFIGS.rglob("*.yaml"))
    assert len(files) > 100
    for file in files:
        expected = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
        expected.pop("defaults", None)
        sheet = read_config_file(file)
        assert sheet.summary, file
        assert {k: yaml.safe_load(v.value) for k, v in sheet.keys.items()} == flat(expected), file


def rows(options: list[str]) -> Iterator[tuple[str, ...]]:
    """Lines in which every option stands once, with one of each other group."""
    groups = [[o for o in options if o.startswith(f"{g}=")] for g in ConfigTree().groups]
    for line in itertools.zip_longest(*filter(None, groups)):
        yield tuple(filter(None, line))


EXPERIMENTS = [o for o in OPTIONS if o.startswith("experiment=")]
LINES = [(), *rows([o for o in OPTIONS if o not in EXPERIMENTS])]
LINES += [
    pytest.param((o,), marks=[pytest.mark.slow] * (k % 8 > 0)) for k, o in enumerate(EXPERIMENTS)
]


@pytest.mark.parametrize("line", LINES, ids=str)
def test_composed_keys_agree_with_hydra(line):
    """Defaults, inheritance and overrides of every option, against a real composition."""
    import yaml
    from hydra import compose, initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    from genai_cli.config.schema import TrainConfig

    ConfigStore.instance().store(name="train_schema", node=TrainConfig)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose("train", list(line))
    GlobalHydra.instance().clear()
    tree = ConfigTree()
    named = {group: [name] for group, _, name in (option.partition("=") for option in line)}
    keys = tree.keys(tree.selected_options(named))
    expected = flat(OmegaConf.to_container(config, resolve=True))
    found = {k: yaml.safe_load(v.value) for k, v in keys.items()}
    assert {k: v for k, v in found.items() if v != expected.get(k)} == {}
    assert {k for k in expected if expected[k] != {} and k not in found} == set()


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A small config tree with one of every form the reader knows."""
    files = {
        "train.yaml": """
            # Train it.
            defaults:
              - train_schema
              - _self_
              - loss: auto  # which
              - optional model: vae@model
              - experiment: null
              - override hydra/job_logging: none
            bottleneck: null   # size of the code
            url: 'a # b'       # in quotes
            name: null         # long,
                               # longer
            hydra:
              mode: x
        """,
        "loss/auto.yaml": "# What fits\nname: auto\n",
        "loss/mse.yaml": "# Squares\nname: mse\n",
        "model/base.yaml": """
            # Any
            width: 8           # of a layer
            widths:
              - 3              # first
              - 4
            deep:
              er: 1            # nested
        """,
        "model/vae.yaml": """
            # A VAE
            defaults: [ignored]
            name: vae
        """,
        "model/big.yaml": """
            # Bigger
            defaults:
              - base
              - _self_
            width: 64
        """,
        "experiment/paper.yaml": """
            # @package _global_
            # As in the paper
            defaults:
              - override /model: big
              - override /loss: mse
            bottleneck: 2
            model:
              width: 99
        """,
    }
    for name, text in files.items():
        file = tmp_path / "configs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    monkeypatch.setattr(catalog, "config_dir", lambda: tmp_path / "configs")
    return tmp_path / "configs"


def test_forms_of_the_yaml(tree):
    found = ConfigTree()
    assert found.groups == ["loss", "model", "experiment"]
    keys = found.train.keys
    assert keys["bottleneck"] == Key("null", "size of the code")
    assert keys["url"] == Key("a # b", "in quotes")
    assert keys["name"] == Key("null", "long, longer")
    base = found.config_file("model", "base")
    assert base.keys["model.widths"].value == "[3, 4]"
    assert base.keys["model.deep.er"] == Key("1", "nested")
    assert found.config_file("model", "big").keys["model.width"] == Key("64", "of a layer")
    assert found.config_file("model", "nothing").keys == {}


def test_experiment_beats_default_and_line_beats_experiment(tree):
    found = ConfigTree()
    taken = found.selected_options({"experiment": ["paper"]})
    assert taken == {"loss": ["mse"], "model": ["big"], "experiment": ["paper"]}
    keys = found.keys(taken)
    assert keys["bottleneck"] == Key("2", "size of the code")
    assert keys["model.width"] == Key("99", "of a layer")
    assert not any(k.startswith("hydra") for k in keys)
    assert found.selected_options({"experiment": ["paper"], "loss": ["auto"]})["loss"] == ["auto"]


def test_train_help_of_that_tree(tree):
    text = verb_help("train", ["experiment=paper"])
    assert "experiment=paper: As in the paper" in text
    assert "  model.width=99" in text
    assert "bottleneck=2 model=big loss=mse" in text
    assert "auto, *mse" in text
    assert "url=a # b" in text


def test_defaults_are_marked_and_users_options_named(tree, tmp_path, monkeypatch):
    mine = tmp_path / "mine"
    (mine / "configs/model").mkdir(parents=True)
    (mine / "configs/model/own.yaml").write_text("# My own\nname: own\n")
    (mine / "configs/model/vae.yaml").write_text("# My VAE\nname: vae\n")
    monkeypatch.setenv("GENAI_PATH", str(mine))
    text = verb_help("train")
    assert "* auto  What fits\n" in text
    assert "    own   My own (yours)\n" in text
    assert "  * vae   My VAE (yours)" in text or "    vae   My VAE (yours)" in text
    added = verb_help("train", ["-cd", str(mine / "configs")])
    assert "own   My own (yours)" in added


def test_unknown_option_is_a_mistake(tree):
    with pytest.raises(UserError, match=r"unknown loss 'msee'; did you mean 'mse'\?"):
        verb_help("train", ["loss=mse,msee"])


def test_help_of_every_shipped_option():
    for option in OPTIONS:
        text = verb_help("train", [option])
        group, _, name = option.partition("=")
        assert f"{option}: " in text
        for key in ConfigTree().config_file(group, name).keys:
            assert f"{key}=" in text or key == f"{group}.name", option


def test_train_help_names_every_group_key_and_option():
    text = verb_help("train")
    for option in OPTIONS:
        group, _, name = option.partition("=")
        assert f"\n  {group}  " in text
        assert f" {name} " in text
    for key in ConfigTree().train.keys:
        assert f"  {key}=" in text


@pytest.mark.parametrize("columns", [20, 60, 80, 300])
def test_pages_fit_the_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    width = min(max(columns, 60), 100)
    pages = [overview(), verb_help("train", ["model=vae"]), *map(verb_help, VERBS)]
    for line in "\n".join(pages).splitlines():
        assert len(line) <= width or line.startswith("  genai "), line


def test_bold_only_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033" not in overview()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\033[1mverbs\033[0m" in overview()
    monkeypatch.setenv("TERM", "dumb")
    assert "\033" not in overview()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in overview()


@pytest.mark.parametrize(
    ("value", "meaning", "words"),
    [
        ("auto", "auto, cpu, cuda, cuda:N or mps", "auto cpu cuda mps"),
        ("fp32", "fp32, bf16 (mixed), fp64, or auto (the faster)", "fp32 bf16 fp64 auto"),
        ("relu", "relu gelu silu", "relu gelu silu"),
        ("auto", "linear sigmoid; auto = the one that fits", "linear sigmoid auto"),
        ("null", "null | crop | pad: what is done", "null crop pad"),
        ("optimal", "optimal (of the batch), learned, or a number", "optimal learned"),
        ("1", "1 | 3", "1 3"),
        ("false", "whether", "true false"),
        ("null", "largest gradient norm; null = no clipping", ""),
        ("0", "epochs between figures; 0 = only at the end", ""),
        ("mean", "the mean of the data", ""),
        ("val/loss", "column that best follows", ""),
    ],
)
def test_choices_are_read_from_the_comment(value, meaning, words):
    assert choices(Key(value, meaning)) == words.split()


def test_configs_are_found_inside_an_installed_package(genai_process, tmp_path):
    """As in a wheel: configs/ lies in the package, and nothing lies beside it."""
    site = tmp_path / "site-packages"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(catalog.__file__).parents[1], site / "genai_cli", ignore=ignored)
    shutil.copytree(CONFIGS, site / "genai_cli/configs", dirs_exist_ok=True)
    done = genai_process("train", "model=vae", "--help", PYTHONPATH=str(site))
    assert (done.returncode, done.stderr) == (0, "")
    assert "model.beta=" in done.stdout
    shutil.rmtree(site / "genai_cli/configs")
    done = genai_process("train", "--help", PYTHONPATH=str(site))
    assert done.returncode == 2
    assert "install genai-cli again" in done.stderr
