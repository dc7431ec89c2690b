"""Every YAML of the lecture has its parts, stands in one chapter and trains two steps."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch

from genai_cli.cli.command_table import VERBS
from genai_cli.config import compose, sweep_lists, validation
from genai_cli.config.catalog import config_dir
from genai_cli.config.schema import TrainConfig
from genai_cli.doctor.finding import PHRASES
from genai_cli.errors import UserError
from genai_cli.lecture import chapters, header
from genai_cli.lecture.plan import plan
from genai_cli.runner.prepare import prepare
from genai_cli.sweeps import given
from genai_cli.sweeps.settings import Sweep
from genai_cli.training import setup
from genai_cli.training.loop import train

FOLDER = config_dir() / "experiment" / chapters.GROUP
NAMES = sorted(str(p.relative_to(FOLDER).with_suffix("")) for p in FOLDER.rglob("*.yaml"))


def of(name: str) -> chapters.Experiment:
    (found,) = chapters.select_experiments([name])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_has_its_header(name: str) -> None:
    has_its_parts(name)


FIRST = {of(name).chapter.key: name for name in reversed(NAMES)}.values()  # one of each chapter


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in FIRST else [pytest.mark.slow]) for n in NAMES]
)
def test_an_experiment_trains_two_steps_on_digits(name: str) -> None:
    """Of a sweep its first cell; tests/config/test_configs.py has the other experiments."""
    for words in trainings(name):
        line = compose.parse_line(words)
        sweep = given.read_sweep(line) if line.multirun else Sweep()
        first = {key: values[0] for key, values in sweep.over.items()}
        first |= sweep.cells[0] if sweep.cells else {}
        own = sweep_lists.cell_words([first], (), line.overrides) if first else [()]
        (cell,) = compose.compose_cells("train", compose.parse_line([*line.overrides, *own[0]]))
        two_steps(cell.config)


def has_its_parts(name: str) -> None:
    """It asks a question, names its commands and says where to look."""
    read = of(name).header
    assert read.question.endswith("?")
    assert len(read.question) <= 200
    line = compose.parse_line(header.split_command(header.training_command(read.commands))[1:])
    assert f"experiment={chapters.GROUP}/{name}" in line.overrides
    assert line.multirun == bool(compose.experiment_sweep(line))
    for command in read.commands:
        assert command.split()[1] in VERBS, command
    assert read.fails or all(read.pictures.values()), "a picture without what to see in it"
    assert read.fails or read.pictures
    assert len(read.lesson) > 20


@pytest.mark.slow  # seconds for a sweep over many models
@pytest.mark.parametrize("part", range(4))
def test_every_cell_of_a_sweep_composes_on_digits(part: int) -> None:
    for words in (words for name in NAMES[part::4] for words in trainings(name)):
        line = compose.parse_line(words)
        if line.multirun:
            sweep = given.read_sweep(line)
            found = compose.compose_cells("train", line, sweep.over, None, sweep.cells)
            assert len(found) > 1, words
            for cell in found:
                validation.check(cell.config)


def trainings(name: str) -> list[tuple[str, ...]]:
    """The words behind ``genai train`` of each of an experiment's lines, on digits."""
    (item,) = plan([of(name)], ["dataset=digits"])
    return [words[1:] for words in item.words if words[0] == "train"]


def two_steps(config: TrainConfig) -> None:
    prepared = prepare(config, lambda _: None)
    cpu = torch.device("cpu")
    run = setup.new_training(prepared.cfg, prepared.data, cpu)
    for now in islice(train(run, prepared.data, prepared.cfg, cpu), 2):
        assert all(torch.isfinite(total) for total in now.means.sums.values())
    assert run.step == 2


def test_every_experiment_stands_in_one_chapter_once() -> None:
    listed = Counter(name for chapter in chapters.CHAPTERS for name in chapter.names)
    assert listed == Counter(NAMES)
    assert [each.name for each in chapters.list_experiments()] == [*listed]
    assert len({chapter.key for chapter in chapters.CHAPTERS}) == len(chapters.CHAPTERS)
    assert {*chapters.QUICK} <= {*NAMES}
    for chapter in chapters.CHAPTERS:
        assert 2 <= chapter.introduction.count(". ") + 1 <= 5, chapter.key
    assert len({name.rpartition("/")[2] for name in NAMES}) == len(NAMES)
    assert set(chapters.SHOWS.values()) <= {*PHRASES}
    assert set(chapters.SHOWS) <= {*NAMES}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# No question.\n# genai train experiment=lecture/x\n", "ends in '?'"),
        ("# A question?\n# Look at: x.png\n", "no line '# genai train"),
        ("# A question?\n# genai train a=b\n# and more\n", "between the commands"),
    ],
)
def test_what_is_wrong_with_a_header_is_told(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(f"# @package _global_\n{text}")
    with pytest.raises(UserError, match=why.replace("?", r"\?")):
        header.read(path)


def test_the_parts_of_a_header(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "# @package _global_\n# One line\n# and another?\n# genai train -m experiment=lecture/x\n"
        "# genai compare latest\n# Look at: first this. a.png: here: and\n#   here. b.png: there\n"
        "# Lesson: so it is.\n# Then: epochs=2 model.beta=0.5\nepochs: 3  # no header\n"
    )
    read = header.read(path)
    assert read.question == "One line and another?"
    assert read.commands == ("genai train -m experiment=lecture/x", "genai compare latest")
    assert read.pictures == {"a.png": "here: and here.", "b.png": "there"}
    assert (read.before_pictures, read.lesson) == ("first this.", "so it is.")
    assert read.next_command == "genai train -m experiment=lecture/x epochs=2 model.beta=0.5"
    assert not read._replace(then="try it, with more epochs=2").next_command
