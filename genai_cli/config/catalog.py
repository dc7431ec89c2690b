"""Find the config files and read their keys, defaults and comments without a YAML library.

``--help`` and completion must answer in milliseconds, and a YAML library alone takes 40 ms. So the
files are read here for four things only: the description in the first comment, the defaults list,
the keys with their values, and the comment behind each key. Composing is Hydra's (compose.py).
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from genai_cli.errors import UserError

GROUPS = {
    "model": "what is trained",
    "dataset": "what it learns",
    "loss": "what it minimises",
    "optimizer": "how a step is taken",
    "schedule": "of the learning rate",
    "trainer": "limits, checkpoints, averaging",
    "figures": "files that are drawn",
    "experiment": "choices under one name",
    "sweep": "what -m varies",
    "hydra/launcher": "what starts runs, serial if not given",
}


def config_dir() -> Path:
    """Return the folder of the shipped configs: in the package (wheel) or beside it (checkout)."""
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "configs", here.parent / "configs"):
        if (folder / "train.yaml").is_file():
            return folder
    raise UserError(f"configs/train.yaml is not in {here} or beside it; install genai-cli again")


def user_dirs() -> list[Path]:
    """Return the folders of GENAI_PATH as absolute paths; the first one wins.

    Raises:
        UserError: one of them is not a folder.
    """
    folders = []
    for entry in os.environ.get("GENAI_PATH", "").split(os.pathsep):
        if not entry:
            continue
        folder = Path(entry).expanduser().absolute()
        if not folder.is_dir():
            raise UserError(
                f"GENAI_PATH={entry}: no such folder; make it, or correct GENAI_PATH"
                f" (folders separated by '{os.pathsep}')"
            )
        folders.append(folder)
    return folders


class Key(NamedTuple):
    """Holds one key of a config: ``bottleneck: 16  # size of the code``."""

    value: str
    meaning: str = ""


class ConfigFile(NamedTuple):
    """Holds the content of one YAML file; keys are dotted from the top of the config."""

    summary: str  # first comment line
    defaults: dict[str, str]  # group → option
    overrides: dict[str, str]  # group → option, of `- override /group: option`
    keys: dict[str, Key]


class ConfigTree:
    """Looks up the groups and options of all config folders, ours and the user's."""

    def __init__(self, user: Iterable[Path] = (), added: Iterable[Path] = ()) -> None:
        """``user``: folders of GENAI_PATH, before ours; ``added``: folders of -cd, after."""
        self.shipped = config_dir()
        self.folders = [*(u / "configs" for u in user), self.shipped, *added]
        self._sheets: dict[tuple[str, str], ConfigFile] = {}
        self.train = read_config_file(self.shipped / "train.yaml")
        names = {name for folder in self.folders for name in _groups(folder)}
        first = {g for g in self.train.defaults if g in names or self.train.defaults[g] != "null"}
        self.groups = [g for g in self.train.defaults if g in first] + sorted(names - first)

    def options(self, group: str) -> dict[str, Path]:
        """Return the files of a group by option, sorted; the first folder that has one wins.

        A file in a folder of the group is named with it: experiment=record/fashion_flow.
        """
        files: dict[str, Path] = {}
        for folder in self.folders:
            for name in _yaml(folder / group):
                files.setdefault(name[: -len(".yaml")], folder / group / name)
        return dict(sorted(files.items(), key=lambda item: (item[0].count("/"), item[0])))

    def is_user_file(self, file: Path) -> bool:
        """Tell whether a file is a user's own, not a shipped one."""
        return self.shipped not in file.parents

    def config_file(self, group: str, option: str) -> ConfigFile:
        """Return the file of an option, with the keys it inherits from its defaults list."""
        if (group, option) not in self._sheets:
            file = self.options(group).get(option)
            empty = ConfigFile("", {}, {}, {})
            self._sheets[group, option] = empty  # ends a circle of defaults
            if file is not None:
                sheet, bases = _read(file, group)
                keys = {
                    k: v for base in bases for k, v in self.config_file(group, base).keys.items()
                }
                for name, key in sheet.keys.items():
                    known = keys.get(name, key)
                    keys[name] = Key(key.value, key.meaning or known.meaning)
                self._sheets[group, option] = sheet._replace(keys=keys)
        return self._sheets[group, option]

    def selected_options(self, given: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Return the options in force, by group, where the command line gives ``given``.

        What a model's or experiment's file overrides counts, as in Hydra: the command line beats
        the experiment, the experiment the model, the model train.yaml.
        """
        taken = {g: [d] for g, d in self.train.defaults.items() if d not in ("null", "[]")}
        taken.update({group: list(options) for group, options in given.items()})
        settled = set(given)
        for group in reversed(self.groups):
            for option in taken.get(group, ())[:1]:
                for other, choice in self.config_file(group, option).overrides.items():
                    if other not in settled:
                        taken[other] = [choice]
                        settled.add(other)
        return taken

    def keys(self, taken: Mapping[str, Sequence[str]]) -> dict[str, Key]:
        """Return every key of the composed config, dotted, with its value and meaning."""
        keys = dict(self.train.keys)
        for group in self.groups:
            for option in taken.get(group, ()):
                for name, key in self.config_file(group, option).keys.items():
                    meaning = key.meaning or (keys[name].meaning if name in keys else "")
                    keys[name] = Key(key.value, meaning)
        return {k: v for k, v in keys.items() if not k.startswith("hydra.")}


def _yaml(folder: Path) -> list[str]:
    """YAML files of a folder and of all folders in it, as paths below it."""
    files = []
    with suppress(OSError), os.scandir(folder) as entries:
        for e in entries:
            if e.name.endswith(".yaml"):
                files.append(e.name)
            elif e.name.isidentifier() and e.is_dir():
                files += [f"{e.name}/{name}" for name in _yaml(Path(e.path))]
    return files


def _groups(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if e.is_dir() and e.name.isidentifier()]
            return ["hydra/launcher" if name == "hydra" else name for name in names]
    except OSError:
        return []


_KEY = re.compile(r"( *)(?:- +)?(?:(override|optional) +)?/?([\w./-]+)(?:@[\w.]+)?:(?:\s+(.*))?$")
_COMMENT = re.compile(r"(?:^|\s+)#\s?(.*)$")
_QUOTED = re.compile(r"""^(?:"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')""")


def read_config_file(file: Path) -> ConfigFile:
    """Read one file without those it inherits from; keys stand as they are written."""
    return _read(file, None)[0]


def _read(file: Path, group: str | None) -> tuple[ConfigFile, list[str]]:
    """The sheet of a file, and the options of its own group it inherits from."""
    sheet = ConfigFile("", {}, {}, {})
    bases: list[str] = []
    group = group and group.replace("/", ".")
    summary, package, last = "", group, ""  # last: the key that comments and items belong to
    above: list[tuple[int, str]] = []  # indent and name of the keys around this line
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.strip()
        indent = len(line) - len(line.lstrip())
        if text.startswith("#"):
            words = text.lstrip("# ")
            if words.startswith("@package"):
                name = words.removeprefix("@package").strip()
                package = {"_global_": None, "_group_": group}.get(name, name)
            elif not summary and not last:
                summary = words
            elif last in sheet.keys and indent >= 8:  # the comment of the line above goes on
                value, meaning = sheet.keys[last]
                sheet.keys[last] = Key(value, f"{meaning} {words}")
            continue
        match = _KEY.match(line)
        if match and indent == 0 and not text.startswith("- "):
            above, last = [], match[3]
            if last == "defaults":
                continue
        if last == "defaults":
            if match and not match[3].startswith("hydra/"):
                listed = sheet.overrides if match[2] == "override" else sheet.defaults
                listed[match[3]] = _split(match[4] or "")[0]
            elif text.startswith("- ") and not match:
                bases.append(_split(text[2:])[0])
        elif text.startswith("- ") and last in sheet.keys:  # a list, an item a line
            value, meaning = sheet.keys[last]
            items = [v for v in (value.strip("[]"), _split(text[2:])[0]) if v]
            sheet.keys[last] = Key(f"[{', '.join(items)}]", meaning)
        elif match:
            while above and above[-1][0] >= indent:
                above.pop()
            around = above[-1][1] if above else package
            last = f"{around}.{match[3]}" if around else match[3]
            above.append((indent, last))
            sheet.keys.pop(around or "", None)  # it holds keys, so it is none itself
            sheet.keys[last] = Key(*_split(match[4] or ""))
    return sheet._replace(summary=summary), [b for b in bases if b != "_self_"]


def _split(text: str) -> tuple[str, str]:
    """A YAML value and the comment behind it."""
    quoted = _QUOTED.match(text)
    start = quoted.end() if quoted else 0
    comment = _COMMENT.search(text, start)
    value = (text[: comment.start()] if comment else text).strip()
    if quoted and quoted.end() == len(value):
        value = value[1:-1]
    value = re.sub(r"\$\{oc\.env:\w+,([^{}]*)\}", r"\1", value)
    return value, comment[1].strip() if comment else ""


_WORD = re.compile(r"[a-z][\w-]*$")
_PROSE = {"the", "of", "a", "an", "in", "on", "to", "with", "for", "and", "that", "is", "as"}


def choices(key: Key) -> list[str]:
    """Return the words that a key's comment lists as its values, else nothing.

    ``auto | cpu | cuda: the device``, ``relu gelu silu``, ``fc (widths) or conv`` and
    ``linear, sigmoid; auto = what fits`` are lists; the value in the file must be among them.
    """
    if key.value in ("true", "false"):
        return ["true", "false"]
    clause, _, rest = re.sub(r"\([^)]*\)", "", key.meaning).partition(";")
    if "|" in clause:
        words = re.split("[:,]", clause)[0].split("|")
    elif not _WORD.match(key.value) or key.value == "null":
        return []
    else:
        words = re.split(r",| or |\s+", clause.replace(" a number", ""))
        if rest.strip().startswith(f"{key.value} "):
            words.append(key.value)
    words = [w.strip() for w in words]
    words = [w for w in words if w not in ("", "or") and not re.search("[:A-Z]", w)]  # not cuda:N
    good = all(_WORD.match(w) or w.isdigit() for w in words) and not _PROSE & set(words)
    return words if good and len(words) > 1 and key.value in words else []


def chosen_options(words: Sequence[str], groups: Iterable[str]) -> dict[str, list[str]]:
    """Return the options a command line names, by group: two of ``model`` for ``model=vae,gan``."""
    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in groups and value:
            given[key] = [v for v in value.strip("[]").split(",") if v]
    return given


def added_config_dirs(words: Sequence[str]) -> list[Path]:
    """Return the folders of ``-cd DIR`` and ``--config-dir=DIR``."""
    flags = ("-cd", "--config-dir")
    values = [after for flag, after in itertools.pairwise(words) if flag in flags]
    values += [w.partition("=")[2] for w in words if w.startswith(tuple(f"{f}=" for f in flags))]
    return [Path(folder).absolute() for folder in values if folder]
