"""Cells composed once for each choice of groups are what Hydra composes for each one's words."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from genai_cli.config import compose, groups
from genai_cli.config.compose_cache import Composer
from genai_cli.config.hydra_errors import raise_user_errors
from genai_cli.errors import UserError
from genai_cli.sweeps.settings import Sweep

pytestmark = pytest.mark.usefixtures("undrawn")

LINES = {
    "groups": ["model=vae,gan", "seed=1,2"],
    "some families": ["model=glob(*,exclude=*o*)", "bottleneck=range(2,3)"],
    "group and its keys": ["optimizer=adam,sgd", "optimizer.lr=1e-3", "seed=7"],
    "keys before their group": ["schedule.warmup=0,0.5", "schedule=cosine", "schedule.final=0.1"],
    "experiments": ["experiment=digits_gan,digits_ddpm", "epochs=3"],
    "experiment or none": ["experiment=fashion_conv_vae,null", "model.depth=1"],
    "experiments in a list": ["experiment=[digits_gan],[]", "batch_size=16"],
    "the line beats the experiment": ["experiment=ring_gan", "model=vae,gan", "bottleneck=3"],
    "lists": ["model.widths=[8],[16,8],[]", "model.activation=tanh", "tags=[a,b]"],
    "null": ["trainer.patience=null,3", "trainer.clip=null", "monitor=null"],
    "numbers": ["optimizer.lr=1e-3,.01,1", "trainer.min_delta=0", "epochs=1_000"],
    "words": ["device='cpu'", "init_from='a b','a,b',null", "name=x"],
    "true and false": ["force_loss=true,false", "trainer.deterministic=TRUE"],
    "a dictionary": ["model={beta:2.0},{beta:3.0,depth:1}", "model.beta=4"],
    "interpolation": ["batch_size=4,8", "bottleneck=${batch_size}"],
    "interpolation into a group": ["model.beta=1,2", "optimizer.lr=${model.beta}"],
    "functions": ["seed=sort(3,1)", "bottleneck=choice(2)", "epochs=range(1,4,2)"],
    "wrong type": ["bottleneck=4,abc,2.5", "epochs=x"],
    "unknown group": ["model=vae,gna", "seed=1"],
    "unknown key": ["modle=1,2"],
    "unknown key of a group": ["optimizer.lrr=1,2"],
    "key of one choice alone": ["model=vae,gan", "model.beta=1"],
    "key of another loss": ["model=autoencoder", "loss=huber,mse", "loss.delta=1"],
    "missing value": ["dataset=table,digits", "seed=1"],
    "interpolation of nothing": ["epochs=${nothing},2", "seed=1"],
    "interpolation of the wrong type": ["model=vae", "batch_size=${device},2"],
    "a list for a number": ["bottleneck=[1],2"],
    "a word for a list": ["model.widths=8,[8]", "tags=a"],
    "a value below a value": ["seed.x=1,2"],
}


@functools.cache
def of_ours(name: str) -> list[tuple[dict[str, str], str]]:
    return every(LINES[name])


def every(words: Sequence[str]) -> list[tuple[dict[str, str], str]]:
    """What each cell of a line comes to: its config, or why it has none."""
    out: list[tuple[dict[str, str], str]] = []
    line = compose.parse_line(["-m", *words])
    try:
        cells = compose.compose_cells(
            "train", line, refuse=lambda s, e: out.append((dict(s), str(e)))
        )
    except UserError as error:
        return [({}, str(error))]
    return out + [(c.swept, repr(dataclasses.asdict(c.config))) for c in cells]


def one_by_one(self: Composer, overrides: Sequence[str]) -> Any:
    """The same by Hydra's compose alone."""
    from hydra import compose as whole
    from omegaconf import OmegaConf

    with raise_user_errors():
        config = whole(self.verb, [*overrides, *self.words])
        missing = sorted(OmegaConf.missing_keys(config))
        if missing:
            raise UserError(f"{missing[0]} has no value; add {missing[0]}=…")
        return OmegaConf.to_object(config).of_run()


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, n in enumerate(LINES)],
)
def test_cells_are_what_hydra_composes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = of_ours(name)
    monkeypatch.setattr(Composer, "config", one_by_one)
    assert ours == every(LINES[name])
    assert len(ours) > 1 or "unknown" in ours[0][1]


@pytest.mark.slow
def test_the_lines_hold_configs_and_mistakes() -> None:
    """Two lists of refusals alone would be equal, too."""
    results = {name: of_ours(name) for name in LINES}
    composed = {n for n, r in results.items() if any(text.startswith("{") for _, text in r)}
    refused = {n for n, r in results.items() if any(not text.startswith("{") for _, text in r)}
    assert len(composed) > 15
    assert len(refused) > 10
    assert "'bottleneck': 8" in results["interpolation"][1][1]


def test_a_users_yaml_that_refers_to_a_swept_key_follows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n# Mine\nbottleneck: ${batch_size}\ntags: [a]\n"
    )
    words = ["-cd", str(tmp_path), "experiment=mine,digits_gan", "batch_size=3,5"]
    ours = every(words)
    assert ["'bottleneck': 3," in text for _, text in ours] == [True, False, False, False]
    monkeypatch.setattr(Composer, "config", one_by_one)
    assert ours == every(words)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What Hydra is asked to compose, in a process that has composed nothing."""
    import hydra

    asked: list[list[str]] = []
    whole = hydra.compose
    monkeypatch.setattr(hydra, "compose", lambda verb, o: asked.append(o) or whole(verb, o))
    monkeypatch.setattr("genai_cli.config.compose_cache._SHIPPED", {})
    return asked


def test_groups_are_composed_once(asked: list[list[str]]) -> None:
    line = compose.parse_line(["-m", "model=vae,gan", "seed=range(20)", "optimizer.lr=1e-3,1e-2"])
    assert len(compose.compose_cells("train", line)) == 80
    assert asked == [["model=vae"], ["model=gan"]]


def test_they_are_composed_once_in_a_process(asked: list[list[str]]) -> None:
    for seed in (1, 2):
        (cell,) = compose.compose_cells("train", compose.parse_line(["model=vae", f"seed={seed}"]))
        assert cell.config.seed == seed
    assert asked == [["model=vae"]]


def test_a_hundredth_line_searches_no_more_folders_than_the_first() -> None:
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    found = []
    for _ in range(3):
        with compose.hydra_session(compose.parse_line(["seed=1"])):
            found.append(len(list(Plugins.instance().discover(SearchPathPlugin))))
    assert found[0] == found[1] == found[2] > 0


def test_a_users_yaml_is_read_again(tmp_path: Path, asked: list[list[str]]) -> None:
    (tmp_path / "experiment").mkdir()
    for epochs in (3, 4):
        text = f"# @package _global_\n# Mine\nepochs: {epochs}\n"
        (tmp_path / "experiment" / "mine.yaml").write_text(text)
        line = compose.parse_line(["-cd", str(tmp_path), "experiment=mine"])
        assert compose.compose_single("train", line).config.epochs == epochs
    assert len(asked) == 4  # each for the experiment's own sweep, too


def test_a_cell_is_nobody_elses() -> None:
    line = compose.parse_line(["-m", "seed=1,2"])
    first, second = compose.compose_cells("train", line)
    first.config.model["widths"].append(99)
    assert 99 not in second.config.model["widths"]


NAMED = sorted(groups.option_files("sweep"))


@pytest.mark.parametrize("name", NAMED)
def test_every_named_sweep_says_its_question_and_composes(name: str) -> None:
    path = groups.option_files("sweep")[name]
    sweep = groups.read_settings("sweep", Sweep, "none", [f"sweep={name}"])
    head = path.read_text().split("\nover:")[0]
    assert head.startswith("# ")
    if name != "none":
        assert "?" in head
        assert f"genai train -m sweep={name}" in head
    if not sweep.over:
        return
    line = compose.parse_line(["-m", f"sweep={name}"])
    cells = compose.compose_cells("train", line, sweep.over)
    expected = 1
    for values in sweep.over.values():
        expected *= len(values)
    assert len(cells) == expected > 1
    assert {key for cell in cells for key in cell.swept} == set(sweep.over)


def test_the_line_wins_over_a_named_sweep() -> None:
    sweep = groups.read_settings("sweep", Sweep, "none", ["sweep=bottleneck"])
    line = compose.parse_line(["-m", "sweep=bottleneck", "model=gan"])
    cells = compose.compose_cells("train", line, sweep.over)
    assert {c.config.model["name"] for c in cells} == {"gan"}
    assert [c.config.bottleneck for c in cells] == sweep.over["bottleneck"]


def test_a_sweep_of_ones_own(genai: Callable, tmp_path: Path) -> None:
    (tmp_path / "mine" / "sweep").mkdir(parents=True)
    (tmp_path / "mine" / "sweep" / "odd.yaml").write_text(
        "# Is three enough?\nover:\n  bottleneck: range(2,4)\n  model.widths: [[8], [9, 8]]\n"
        "  trainer.clip: [null]\n"
    )
    words = ("epochs=1", "dataset.limit=64", "trainer.max_steps=1")
    done = genai("train", "-m", "sweep=odd", "-cd", str(tmp_path / "mine"), *words)
    assert done.code == 0, done.err
    assert len([p for p in done.folders[0].iterdir() if p.is_dir()]) == 4
