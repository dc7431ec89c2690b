"""Compute the TAB candidates: verbs, groups, options, keys, values, flags and runs.

The script of a shell (cli/commands/completion.py) asks ``genai _complete SHELL …``: a path that
imports the standard library only and answers in some 40 ms. A candidate is the whole word. It ends
in a space where the word is then complete, and in ``=``, ``.``, ``,`` or ``/`` where it goes on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from genai_cli.cli.arguments import REQUESTS, SEVERAL, SWEEPS, fields_of, keys_of
from genai_cli.cli.command_table import VERBS
from genai_cli.cli.completion.runs import lectures, names, run_folders, runs, sweeps
from genai_cli.cli.completion.shell import split_line
from genai_cli.cli.usage import ACTIONS, STATUSES, flags, options
from genai_cli.config.catalog import (
    GROUPS,
    ConfigTree,
    added_config_dirs,
    choices,
    chosen_options,
    read_config_file,
    user_dirs,
)
from genai_cli.config.signatures import allowed_words
from genai_cli.errors import UserError

Candidate = tuple[str, str]  # word, meaning

SHELLS = ("bash", "zsh", "fish")


def print_candidates(args: Sequence[str]) -> int:
    """Print the candidates, one a line, in the format of ``SHELL``.

    bash gives the line up to the cursor and its COMP_WORDBREAKS, for it replaces only what stands
    behind the last of these characters; zsh and fish give the words.
    """
    shell, *words = args or ["bash", ""]
    if shell == "bash":
        breaks = words[1] if len(words) > 1 else ""
        split, cut, quote = split_line(words[0], breaks)
        for word, _ in candidates(split[1:] or [""]):
            body = word[cut:]
            if quote:  # bash closes the quote itself
                print(body.rstrip(" "))
            else:
                end = " " if body.endswith(" ") else ""
                print(re.sub(r"([^\w@%+=:,./~-])", r"\\\1", body[: len(body) - len(end)]) + end)
        return 0
    words = words or [""]
    start = re.match(r"(?:.*[=,/])?", words[-1])
    for word, meaning in candidates(words):
        if shell == "fish":
            print(f"{word.rstrip(' ')}\t{meaning}")
        else:
            short = word[start.end() if start else 0 :].strip() or word.strip()
            print(f"{word}\t{short:<14}  {meaning}"[:200].rstrip())
    return 0


def candidates(words: Sequence[str]) -> list[Candidate]:
    """Return the completions of the last of ``words`` (those after ``genai``), with meanings."""
    *before, current = words
    return [c for c in _offers(before, current) if c[0].startswith(current)]


def _offers(before: Sequence[str], current: str) -> Iterable[Candidate]:
    if not before and current.startswith("-"):
        return _whole({"--help": "all verbs", "--version": ""})
    if not before or before == ["help"]:
        return _whole(VERBS)
    verb, *args = before
    if verb not in VERBS:
        return []
    if args and args[-1] in ("-cd", "--config-dir"):
        return _folders(current)
    if args and args[-1] in ("--cfg", "-c"):
        return _whole({"job": "the run's config", "all": "with Hydra's own", "hydra": ""})
    if current.startswith("-"):
        verb = "prune" if args[:1] == ["prune"] else verb
        return _whole(flags(verb) | {"--help": "what it takes"})
    positional = [a for a in args if "=" not in a and not a.startswith("-")]
    if verb in ("train", "plan"):
        return _assignments(_tree(args), args, current)
    if verb in REQUESTS and verb != "runs":
        known: Iterable[Candidate] = _request(args, current, verb) if positional else ()
        if verb == "resume" and positional:
            known = [*_resumable(_tree(args), args, positional[0], current), *known]
        if positional and verb not in SEVERAL:
            return known
        named = runs(args, current, sweeps=verb in SWEEPS)
        return [*known, *named, *(_folders(current) if current else [])]
    if verb == "lecture":
        return _lecture(args, positional, current)
    if verb == "runs":
        if current.startswith("status="):
            return _values("status", current.partition("=")[2], STATUSES, False)
        actions = [] if args else _whole(ACTIONS[verb])
        return [*actions, ("status=", "how it ended"), *_assignments(_tree(args), args, current)]
    if not positional:
        return _whole(ACTIONS[verb])
    if verb == "sweep":
        if len(positional) == 1:
            return [*sweeps(args), *(_folders(current) if current else [])]
        return [c for c in _assignments(_tree(args), args, current) if c[0].startswith("hydra/l")]
    if verb == "completion":
        return _whole(dict.fromkeys(SHELLS, "")) if len(positional) == 1 else []
    return _data(_tree(args), positional, current)


def _tree(args: Sequence[str]) -> ConfigTree:
    try:
        user = user_dirs()
    except UserError:  # the command itself will say so
        user = []
    return ConfigTree(user, added_config_dirs(args))


def _whole(words: Mapping[str, str]) -> list[Candidate]:
    return [(f"{word} ", meaning) for word, meaning in words.items()]


def _values(key: str, value: str, known: Mapping[str, str], sweep: bool) -> Iterator[Candidate]:
    """``key=a,b``: the last word of the list; in a sweep a comma may follow, so no space does."""
    listed, comma, _ = value.rpartition(",")
    for word, meaning in known.items():
        if word not in listed.split(","):
            yield f"{key}={listed}{comma}{word}{'' if sweep else ' '}", meaning


def _assignments(tree: ConfigTree, args: Sequence[str], current: str) -> Iterator[Candidate]:
    """``key=`` and ``key=value`` for a config composed from the words so far."""
    keys = tree.keys(tree.selected_options(chosen_options(args, tree.groups)))
    key, equals, value = current.partition("=")
    if equals:
        if key in tree.groups:
            files = tree.options(key)
            known = {option: tree.config_file(key, option).summary for option in files}
        elif key == "outputs":
            yield from _folders(value, f"{key}=")
            return
        elif key == "init_from":
            yield from ((f"{key}={run}", meaning) for run, meaning in runs(args, value))
            return
        else:
            known = dict.fromkeys(choices(keys[key]), "") if key in keys else {}
        yield from _values(key, value, known, not {"-m", "--multirun"}.isdisjoint(args))
        return
    used = {a.partition("=")[0] for a in args}
    for group in tree.groups:
        if group not in used and tree.options(group):
            yield f"{group}=", GROUPS.get(group, "")
    sections = {}
    for name, known_key in keys.items():
        section, dot, last = name.rpartition(".")
        if (dot and last == "name" and section in tree.groups) or name in used:
            continue
        if name.startswith(("sweep.over.", "sweep.cells.")):  # they are given as KEY=LIST
            continue
        if dot and not current.startswith(f"{section}."):
            sections[f"{name.split('.')[0]}."] = "keys of this choice"
        else:
            yield f"{name}=", f"{known_key.value}  {known_key.meaning}".strip()
    yield from sections.items()


def _resumable(
    tree: ConfigTree, args: Sequence[str], run: str, current: str
) -> Iterator[Candidate]:
    """The keys of its config that a resumed run may change; the choices are those of the config."""
    from genai_cli.config.resumable import NOTED, SAFE

    names = SAFE + NOTED
    folder = Path(run)
    for path, _, suffix, _ in run_folders(args):
        if suffix == run or run == "latest":
            folder = path
            break
    try:
        stored = read_config_file(folder / "config.yaml").keys
    except OSError:
        stored = {}
    given = [f"{g}={stored[f'{g}.name'].value}" for g in tree.groups if f"{g}.name" in stored]
    for word, meaning in _assignments(tree, [*given, *args], current):
        key = word.partition("=")[0]
        if key in names or (key.endswith(".") and any(name.startswith(key) for name in names)):
            yield word, meaning


def _request(args: Sequence[str], current: str, verb: str) -> Iterator[Candidate]:
    """The assignments that a verb's request declares, and those of the families."""
    verbs = (verb, "evaluate") if verb == "compare" else (verb,)
    key, equals, value = current.partition("=")
    if equals and key in ("out", "outputs"):
        yield from _folders(value, f"{key}=")
    elif equals:
        hints = {name: field.hint for v in verbs for name, field in fields_of(REQUESTS[v]).items()}
        yield from _values(key, value, allowed_words(hints.get(key)), False)
    else:
        used = {a.partition("=")[0] for a in args}
        rows = {k: f"{key.value}  {key.meaning}" for v in verbs for k, key in keys_of(v).items()}
        for v in verbs:
            rows |= options(v)
        yield from ((f"{k}=", text) for k, text in rows.items() if k not in used)


def _lecture(args: Sequence[str], positional: Sequence[str], current: str) -> Iterable[Candidate]:
    """Chapters and experiments, then the keys that all of them have; of resume, the lectures."""
    from genai_cli.lecture.chapters import list_words

    if "=" in current:
        return _assignments(_tree(args), [a for a in args if "=" in a], current)
    if positional[:1] == ["resume"]:
        return [*lectures(args), *(_folders(current) if current else [])]
    words = {word: text for word, text in list_words().items() if word not in positional}
    keys = _assignments(_tree(args), [a for a in args if "=" in a], current) if positional else ()
    return [*_whole(words if positional else words | ACTIONS["lecture"]), *keys]


def _data(tree: ConfigTree, words: Sequence[str], current: str) -> Iterator[Candidate]:
    action, *named = words
    sets = {option: tree.config_file("dataset", option) for option in tree.options("dataset")}
    key, equals, value = current.partition("=")
    if action == "fetch":
        sets = {name: sheet for name, sheet in sets.items() if "dataset.root" in sheet.keys}
    if action not in ("fetch", "check"):
        return
    if not named:
        yield from _whole({name: sheet.summary for name, sheet in sets.items()})
        if action == "check" and current:
            yield from _folders(current)
        return
    sheet = sets.get(named[0], tree.config_file("dataset", "folder"))
    keys = {k.removeprefix("dataset."): v for k, v in sheet.keys.items()}
    if equals and key in ("root", "path"):
        yield from _folders(value, f"{key}=")
    elif equals and key in keys:
        yield from _values(key, value, dict.fromkeys(choices(keys[key]), ""), False)
    elif action == "fetch":
        yield "root=", "download into this folder"
    else:
        yield from ((f"{k}=", v.meaning) for k, v in keys.items() if k != "name")


def _folders(text: str, head: str = "") -> Iterator[Candidate]:
    folder, slash, last = text.rpartition("/")
    prefix = folder + slash
    for name in sorted(names(Path(prefix or ".").expanduser())):
        if last.startswith(".") or not name.startswith("."):
            yield f"{head}{prefix}{name}/", ""
