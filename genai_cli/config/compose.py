"""Compose the checked config of each cell of a command line with Hydra.

Hydra's grammar, defaults lists, search path and typed merge are used; its run folders, job
logging and launch loop are not: a folder is claimed only after every cell was checked, and is
written whole before the work starts (store/run_folder.py).
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from genai_cli.config import sweep_lists
from genai_cli.config.catalog import config_dir, user_dirs
from genai_cli.config.compose_cache import Composer, search_path
from genai_cli.config.hydra_errors import raise_user_errors
from genai_cli.config.overrides import canonical, parse_overrides
from genai_cli.errors import UserError, nearest

SHOW = ("--cfg", "-c", "--info", "-i", "--resolve", "--package", "-p")  # flags that only print
TAKES_VALUE = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd")
FLAGS = ("-m", "--multirun", *SHOW, "-cd", "--config-dir")
REFUSED = {
    "-cn": "the config's name is the verb",
    "--config-name": "the config's name is the verb",
    "-cp": "put your own YAML in a folder and give it with -cd DIR or GENAI_PATH=DIR",
    "--config-path": "put your own YAML in a folder and give it with -cd DIR or GENAI_PATH=DIR",
    "--run": "it is the default",
    "-r": "it is the default",
    "--experimental-rerun": "it would run code from a pickle; use: genai resume RUN",
}


class CommandLine(NamedTuple):
    """Holds the parsed words of a command line."""

    overrides: list[str]  # key=value, in order
    multirun: bool
    config_dirs: list[str]  # of -cd
    show: list[str]  # flags of Hydra's that only print, with their values
    launcher: list[str]  # hydra/launcher=NAME and hydra.launcher.KEY=value
    sweep: list[str]  # sweep=NAME and sweep.KEY=value


class ComposedCell(NamedTuple):
    """Holds one composed config and the values that its sweep varies."""

    config: Any  # genai_cli.config.schema.TrainConfig
    swept: dict[str, str]  # key → value, of the keys that the sweep varies
    overrides: list[str]


def parse_line(args: Sequence[str]) -> CommandLine:
    """Parse flags and overrides in any order.

    Raises:
        UserError: an unknown flag, a flag without its value, or a word that is not key=value.
    """
    overrides: list[str] = []
    launcher: list[str] = []
    sweep: list[str] = []
    config_dirs: list[str] = []
    show: list[str] = []
    multirun = False
    words = list(args)
    while words:
        word = words.pop(0)
        flag, equals, value = word.partition("=")
        if not word.startswith("-"):
            if not equals or not flag:
                raise UserError(f"'{word}' is not key=value, like model=vae")
            if flag == "hydra/launcher" or flag.startswith("hydra.launcher."):
                launcher.append(word)
            elif flag == "sweep" or flag.startswith("sweep."):
                sweep.append(word)
            else:
                overrides.append(canonical(word))
        elif flag in REFUSED:
            raise UserError(f"{flag} is not used here: {REFUSED[flag]}")
        elif flag not in FLAGS:
            hint = f"; a key has no dashes: {flag.lstrip('-')}=…" if flag.startswith("--") else ""
            near = nearest(flag, [*FLAGS, "--help"]) or hint
            raise UserError(f"unknown flag '{flag}'{near} (see --help)")
        elif flag in ("-m", "--multirun"):
            multirun = True
        else:
            if flag in TAKES_VALUE and not equals:
                if not words or words[0].startswith("-"):
                    raise UserError(f"{flag} needs a value, like {_example(flag)}")
                value = words.pop(0)
            if flag in TAKES_VALUE and not value:
                raise UserError(f"{flag} needs a value, like {_example(flag)}")
            if flag in ("--info", "-i") and words and "=" not in words[0]:
                value = words.pop(0) if not words[0].startswith("-") else ""
            if flag in ("-cd", "--config-dir"):
                if not Path(value).is_dir():
                    raise UserError(f"-cd {value}: no such folder")
                config_dirs.append(str(Path(value).resolve()))
            else:
                show += [flag, value] if value else [flag]
    given = dict(itertools.pairwise(show))
    for names, allowed in (
        (("--cfg", "-c"), ("job", "hydra", "all")),
        (("--info", "-i"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")),
    ):
        for name in names:
            value = given.get(name, allowed[0])
            if value not in allowed and not value.startswith("-"):
                raise UserError(f"{name} {value}: choose from {', '.join(allowed)}")
    if show and not {"--cfg", "-c", "--info", "-i"} & set(show):
        raise UserError(f"{show[0]} goes with --cfg job")
    if multirun and show:
        raise UserError(f"{show[0]} shows one config; leave out -m")
    if sweep and not multirun:
        raise UserError(f"{sweep[0]} is for a sweep; add -m")
    return CommandLine(overrides, multirun, config_dirs, show, launcher, sweep)


def _example(flag: str) -> str:
    return {"--cfg": "--cfg job", "-c": "-c job"}.get(flag, f"{flag} VALUE")


def print_config(verb: str, line: CommandLine) -> int:
    """Print what ``--cfg job`` or ``--info`` asks for, by Hydra's own printing."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    whole = bool(experiment_sweep(line))
    with hydra_session(line, whole):
        parse_overrides(line.overrides)
        GlobalHydra.instance().clear()  # hydra.main makes its own
        sys.argv = [sys.argv[0], *line.overrides, *search_path(line.config_dirs), *line.show]
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # re-raise instead of print and exit
        with raise_user_errors():
            main = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=verb)
            main(_never)()
    return 0


def _never(config: Any) -> None:
    raise AssertionError("Hydra was asked to print, not to run")


def compose_cells(
    verb: str,
    line: CommandLine,
    over: Mapping[str, Any] | None = None,
    refuse: Callable[[Mapping[str, str], UserError], None] | None = None,
    listed: Sequence[Any] = (),
) -> list[ComposedCell]:
    """Compose every cell of the line: one without -m, the product of all lists with it.

    Args:
        verb: whose YAML is the root.
        line: as parsed.
        over: more keys with their values, as a sweep's YAML has them; the line wins.
        refuse: is told what is varied in a cell that cannot be composed, and why; it is then left
            out, unless this raises.
        listed: cells of a sweep's YAML, each combined with every other list; the line wins.

    Raises:
        UserError: any mistake in any cell, before anything is written.
    """
    listed_cells = sweep_lists.cell_words(listed, over or {}, line.overrides)
    words = [*sweep_lists.over_words(over or {}, line.overrides), *line.overrides]
    with hydra_session(line):
        overrides = parse_overrides(words)
        for cell in listed_cells:
            sweep_lists.check_words(cell)
        choices: list[Sequence[sweep_lists.CellWords]] = [listed_cells] if listed_cells else []
        varied = list(
            dict.fromkeys(word.partition("=")[0] for cell in listed_cells for word in cell)
        )
        for override in overrides:
            key = override.get_key_element()
            if not override.is_sweep_override():
                choices.append([(override.input_line,)])
                continue
            if not override.is_discrete_sweep():
                raise UserError(
                    f"{override.input_line}: give a list, like {key}=8,16,32, or a range"
                )
            values = [(f"{key}={value}",) for value in sweep_lists.sweep_values(override)]
            if not values:
                raise UserError(f"{override.input_line} holds no value at all")
            if not line.multirun:
                raise UserError(f"{override.input_line} is a sweep of {len(values)} runs; add -m")
            choices.append(values)
            varied.append(key)
        if line.multirun and not varied:
            raise UserError("-m needs a list to sweep over, like model=vae,gan or bottleneck=8,16")
        composer = Composer(verb, line.config_dirs)
        out = []
        for combination in itertools.product(*choices):
            given = [*itertools.chain(*combination)]
            swept = {k: v for k, _, v in (word.partition("=") for word in given) if k in varied}
            try:
                config = composer.config(given)
                refuse_nested_sweep(composer, swept.get("experiment"))
                out.append(ComposedCell(config, swept, given))
            except UserError as error:
                if refuse is None:
                    raise
                refuse(swept, error)
        return out


def compose_single(verb: str, line: CommandLine) -> ComposedCell:
    """Compose the config of a line that is one run.

    Raises:
        UserError: as `compose_cells`; its experiment is a sweep.
    """
    (cell,) = compose_cells(verb, line)
    if experiment_sweep(line):
        (word,) = _experiment(line)
        raise UserError(f"{word} is a sweep; add -m")
    return cell


def experiment_sweep(line: CommandLine) -> dict[str, Any]:
    """Return the ``sweep:`` of the experiment that a line names; {} where it has none.

    Raises:
        UserError: the experiment cannot be composed.
    """
    words = _experiment(line)
    if not words:
        return {}
    with hydra_session(line):
        swept = any(override.is_sweep_override() for override in parse_overrides(words))
        return {} if swept else Composer("train", line.config_dirs).sweep(words)


def refuse_nested_sweep(composer: Composer, experiment: str | None) -> None:
    """Raise UserError where one of several experiments is a sweep itself."""
    if experiment and composer.sweep([f"experiment={experiment}"]):
        raise UserError(
            f"experiment={experiment} is a sweep itself; name it alone: -m experiment={experiment}"
        )


def _experiment(line: CommandLine) -> list[str]:
    return [word for word in line.overrides if word.startswith("experiment=")]


@functools.cache  # registered again, every folder would be searched once more
def _find_user_configs() -> None:
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.plugins import Plugins
    from hydra.plugins.search_path_plugin import SearchPathPlugin

    class UserConfigs(SearchPathPlugin):
        """Puts GENAI_PATH/configs before ours in Hydra's search path."""

        def manipulate_search_path(self, search_path: Any) -> None:
            for folder in user_dirs():
                if (folder / "configs").is_dir():
                    search_path.prepend(
                        "genai-user",
                        f"file://{folder / 'configs'}",
                        SearchPathQuery(provider="main"),
                    )

    Plugins.instance().register(UserConfigs)


@contextlib.contextmanager
def hydra_session(line: CommandLine, sweeps: bool = True) -> Iterator[None]:
    """Initialise Hydra with our configs, the user's and the typed schema within the block. With
    ``sweeps``, an experiment may say what -m varies.
    """
    from hydra import initialize_config_dir
    from hydra.core.config_store import ConfigStore
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    from genai_cli.config.schema import Composed, TrainConfig

    ConfigStore.instance().store(name="train_schema", node=Composed if sweeps else TrainConfig)
    _find_user_configs()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().clear()
        HydraConfig.instance().cfg = (
            None  # `print_config` sets it; nothing may look anything up in it
        )
