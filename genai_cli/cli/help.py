"""Write the texts of ``genai --help`` and ``genai VERB --help`` without Hydra, in milliseconds.

Choices, defaults and meanings are read where they are declared: those of a training in the YAML
files (catalog.py), those of a verb that reads run folders in its request (arguments.py). A new
file or key, ours or a user's, is in the help as soon as it exists.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from genai_cli.cli.command_table import USAGE, VERBS
from genai_cli.config.catalog import (
    GROUPS,
    ConfigTree,
    Key,
    added_config_dirs,
    chosen_options,
    user_dirs,
)
from genai_cli.errors import UserError, listing, nearest

LEFT = 28  # widest left column; a longer entry takes a line of its own


def overview() -> str:
    """Return the text of ``genai --help``: verbs, examples, and the folder of the results."""
    root = os.environ.get("GENAI_OUTPUTS") or "outputs"
    commands = [
        "genai train model=vae bottleneck=16",
        "genai train -m model=vae,autoencoder bottleneck=8,16,32",
        "genai resume latest epochs=60",
    ]
    return _page(
        [
            *_text("genai: train, measure and compare every family of generative model"),
            "",
            "  genai VERB KEY=VALUE …",
            *_heading("verbs"),
            *_rows(VERBS),
            *_heading("help"),
            *_rows(
                {
                    "genai VERB --help": "what a verb takes: choices, keys, defaults",
                    "genai train model=vae --help": "the keys of one choice",
                    "genai --version": "the version",
                }
            ),
            *_heading("examples"),
            *(f"  {c}" for c in commands),
            "",
            *_text(
                f"A run is written to {root}/DATE/TIME-MODEL-DATASET-xxxx; GENAI_OUTPUTS or"
                " outputs=DIR names another folder than outputs. xxxx names the run from then on."
            ),
        ]
    )


def verb_help(verb: str, args: Sequence[str] = ()) -> str:
    """Return the text of ``genai VERB --help``; ``args`` are the other words of the line.

    Raises:
        UserError: ``args`` name a choice that does not exist.
    """
    lines = _text(f"genai {verb}: {VERBS[verb]}")
    if verb == "train":
        return _page([*lines, *_train(args)])
    from genai_cli.cli.usage import PAGES, sections  # 20 ms that `genai --help` need not wait for

    page = PAGES[verb]
    lines += ["", *(f"  {line}" for line in USAGE[verb].splitlines())]
    for heading, rows in sections(verb).items():
        lines += [*_heading(heading), *_rows(rows)]
    for paragraph in filter(None, page.text.split("\n\n")):
        lines += ["", *_text(paragraph)]
    return _page([*lines, *_heading("examples"), *(f"  {line}" for line in page.examples)])


def _train(args: Sequence[str]) -> list[str]:
    from genai_cli.cli.usage import TRAIN_FLAGS

    tree = ConfigTree(user_dirs(), added_config_dirs(args))
    given = chosen_options(args, tree.groups)
    for group, options in given.items():
        known = tree.options(group)
        for option in options:
            if option not in known:
                raise UserError(
                    f"unknown {group} '{option}'{nearest(option, known)} "
                    f"(choose from: {listing(known)})"
                )
    taken = tree.selected_options(given)
    keys = tree.keys(taken)
    lines = ["", "  genai train [GROUP=NAME …] [KEY=VALUE …] [flags]"]
    for group, options in given.items():
        for option in options:
            lines += _choice(tree, group, option)
    known = [g for g in GROUPS if g in tree.groups]
    order = known + [g for g in tree.groups if g not in known]
    lines += _heading("groups: GROUP=NAME, * is what this command takes")
    lines += _compact(tree, order, taken) if given else _groups(tree, order, taken)
    lines += _heading("keys: KEY=VALUE")
    lines += _rows(_assignments({k: v for k, v in keys.items() if "." not in k}))
    if not given:
        nested = sorted({k.split(".")[0] for k in keys if "." in k and not k.endswith(".name")})
        text = ", ".join(f"{group}.*" for group in nested)
        lines += ["", *_text(f"And the keys of the choices, {text}: see them with GROUP=NAME, as")]
        lines += ["  genai train model=vae --help"]
    lines += [*_heading("flags"), *_rows(TRAIN_FLAGS), *_heading("examples")]
    lines += [
        "  genai train model=vae bottleneck=32 epochs=60 optimizer.lr=3e-4",
        "  genai train -m model=vae,autoencoder bottleneck=8,16,32",
        "  GENAI_PATH=~/lab genai train model=mine",
        "",
        *_text(
            "GENAI_PATH=DIR adds your own models, DIR/models/NAME.py with"
            " DIR/configs/model/NAME.yaml, and more YAML for every group in DIR/configs/GROUP."
        ),
        "",
    ]
    return lines + _text(
        "Exit codes: 0 done, 1 failed after the start, 2 a mistake on the command line (nothing is"
        " written), 130 or 143 interrupted and saved: genai resume goes on."
    )


def _choice(tree: ConfigTree, group: str, option: str) -> list[str]:
    """The keys of one option, and what else its file sets."""
    sheet = tree.config_file(group, option)
    inside = {k: v for k, v in sheet.keys.items() if "." in k and not k.endswith(".name")}
    others = {k: v.value for k, v in sheet.keys.items() if "." not in k}
    lines = _heading(f"{group}={option}: {sheet.summary}".rstrip(": "))
    lines += _rows(_assignments(inside)) if inside else ["  It has no keys of its own."]
    if group == "experiment" and any(key.startswith("sweep.") for key in inside):
        lines += _text(f"It is a sweep: genai train -m {group}={option}", indent=2)
    also = " ".join(f"{k}={v}" for k, v in (others | sheet.overrides).items())
    return lines + (_text(f"It also sets {also}", indent=2) if also else [])


def _groups(tree: ConfigTree, groups: Iterable[str], taken: dict[str, list[str]]) -> list[str]:
    lines = []
    for group in groups:
        rows = {}
        for option, file in tree.options(group).items():
            mark = "*" if option in taken.get(group, ()) else " "
            yours = " (yours)" if tree.is_user_file(file) else ""
            rows[f"{mark} {option}"] = tree.config_file(group, option).summary + yours
        about = [GROUPS.get(group, ""), "" if group in taken or "/" in group else "none by default"]
        if rows:
            lines += [f"  {_bold(group)}  {'; '.join(filter(None, about))}", *_rows(rows)]
    return lines


def _compact(tree: ConfigTree, groups: Iterable[str], taken: dict[str, list[str]]) -> list[str]:
    rows = {}
    for group in groups:
        names = [f"*{o}" if o in taken.get(group, ()) else o for o in tree.options(group)]
        if names:
            rows[group] = ", ".join(names)
    return _rows(rows)


def _assignments(keys: dict[str, Key]) -> dict[str, str]:
    return {f"{k}={v.value.replace(', ', ',')}": v.meaning for k, v in keys.items()}


def _width() -> int:
    return min(max(shutil.get_terminal_size().columns, 60), 100)


def _bold(text: str) -> str:
    no_color = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    tty = sys.stdout is not None and sys.stdout.isatty()
    return f"\033[1m{text}\033[0m" if tty and not no_color else text


def _heading(text: str) -> list[str]:
    lines = textwrap.wrap(text, _width(), subsequent_indent="  ")
    return ["", *(_bold(line) for line in lines)]


def _text(text: str, indent: int = 0) -> list[str]:
    pad = " " * indent
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=pad,
        subsequent_indent=pad,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _rows(rows: dict[str, str]) -> list[str]:
    """Two columns, the right one wrapped."""
    column = 4 + min(max(map(len, rows), default=0), LEFT)
    lines = []
    for left, right in rows.items():
        wrapped = textwrap.wrap(right, _width() - column, break_on_hyphens=False) or [""]
        if len(left) > LEFT and wrapped != [""]:
            lines.append(f"  {left}")
            left = ""
        lines.append(f"  {left:<{column - 2}}{wrapped[0]}")
        lines += [" " * column + line for line in wrapped[1:]]
    return lines


def _page(lines: list[str]) -> str:
    return "\n".join(line.rstrip() for line in lines)
