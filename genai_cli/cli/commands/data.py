"""`genai data list | fetch NAME | check NAME|DIR` lists, downloads and checks data sets."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.cli.help import verb_help
from genai_cli.config.values import read_value
from genai_cli.errors import UserError, listing, nearest
from genai_cli.system.terminal import raw_stream

if TYPE_CHECKING:
    from genai_cli.data.check import DataSummary
    from genai_cli.data.dataset import Dataset


def main(args: list[str]) -> int:
    """Run ``genai data`` and return the exit code."""
    actions = {"list": show, "fetch": fetch, "check": check}
    if not args:
        print(verb_help("data"))
        return 0
    action, *rest = args
    if action not in actions:
        raise UserError(
            f"genai data {action} is not known{nearest(action, actions)} "
            f"(choose from: {listing(actions)})"
        )
    return actions[action](rest)


def show(args: list[str]) -> int:
    """Print the table of all data sets, without downloading or loading any."""
    from rich.console import Console
    from rich.table import Table

    from genai_cli.config.catalog import read_config_file
    from genai_cli.data.home import data_home
    from genai_cli.data.sources import SOURCES, present

    if args:
        raise UserError(f"genai data list takes no words, got '{args[0]}'")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("dataset", "kind", "shape", "n", "from", "here"):
        table.add_column(column, no_wrap=True, justify="right" if column == "n" else "left")
    table.add_column("what")
    for name, file in configs().items():
        node = read_config(file)
        source = SOURCES.get(str(node.get("name")))
        if source is None:
            table.add_row(name, "?", "", "", "", "", f"name={node.get('name')} is not known")
            continue
        here = "yes" if present(node) else "give path" if source.origin == "yours" else "no"
        n = str(node["n"]) if "n" in node else source.n
        what = read_config_file(file).summary
        table.add_row(name, source.kind, source.shape, n, source.origin, here, what)
    # A pipe has no width of its own: in 80 columns the last one would break its lines.
    width = None if sys.stdout.isatty() else 160
    Console(file=raw_stream(sys.stdout), width=width).print(table)
    print(f"downloads go to {data_home()} (set GENAI_DATA to change it)")
    return 0


def fetch(args: list[str]) -> int:
    """Download a data set with torchvision."""
    from genai_cli.data.download import DOWNLOADS
    from genai_cli.data.download import fetch as download
    from genai_cli.data.home import data_home
    from genai_cli.data.sources import SOURCES, present

    names, keys = _parsed(args)
    if len(names) != 1:
        raise UserError(
            f"genai data fetch takes one name (choose from: {listing(DOWNLOADS)}), "
            f"got {len(names)}; type 'genai data fetch NAME [root=DIR]'"
        )
    name = names[0]
    if name in SOURCES and name not in DOWNLOADS:
        where = {"yours": "is your own data", "drawn": "is drawn when it is used"}
        print(f"{name} {where.get(SOURCES[name].origin, 'comes with scikit-learn')}: no download")
        return 0
    if name not in DOWNLOADS:
        raise UserError(
            f"data set '{name}' is not known{nearest(name, DOWNLOADS)} "
            f"(choose from: {listing(DOWNLOADS)})"
        )
    if keys.keys() - {"root"}:
        raise UserError(
            f"genai data fetch takes the key root, not {listing(keys.keys() - {'root'})}"
        )
    root = Path(str(keys["root"])).expanduser() if keys.get("root") else data_home()
    if present({"name": name, "root": keys.get("root")}):
        print(f"{name} is already in {root}")
        return 0
    print(f"fetched {name} into {download(name, root)}")
    return 0


def check(args: list[str]) -> int:
    """Load a data set and report what is in it."""
    from genai_cli.data.sources import load

    names, keys = _parsed(args)
    if len(names) != 1:
        raise UserError(
            f"genai data check takes one name or folder, got {len(names)}; type "
            "'genai data check NAME|DIR [key=value …]'"
        )
    node = _node(names[0])
    split_seed = keys.pop("split_seed", 0)
    if node.get("name") == "folder":
        node["allow_broken"] = True  # a check reports broken files where training refuses them
    node |= keys
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes are in the report
        dataset = load(node, split_seed)
    from genai_cli.data.check import examine

    print(report(dataset, examine(dataset)), end="")
    return 0


def report(dataset: Dataset, facts: DataSummary) -> str:
    """Format the facts as aligned plain text, one fact a line."""
    spec = dataset.spec
    target = spec.target
    if target == "labels":
        target = f"{len(spec.classes)} classes"
    elif target != "none":
        target = f"{target} {_times(spec.target_shape)}"
    levels = "" if spec.levels is None else f", {spec.levels} levels"
    rows = [
        ("dataset", dataset.name),
        ("x", f"{_times(spec.event_shape)}{levels}"),
        ("y", target),
    ]
    for name, split in facts.splits.items():
        entries = "" if split.n == 0 else f", x from {split.low:.6g} to {split.high:.6g}"
        rows.append((name, f"{split.n} examples{entries}"))
    for k, name in enumerate(spec.classes):
        counts = [split.class_counts[k] for split in facts.splits.values()]
        rows.append((f"class {name}", " + ".join(map(str, counts))))
    for note in dataset.notes:
        rows.append(("note", note))
    inside = " + ".join(str(split.duplicates) for split in facts.splits.values())
    rows.append(("exact duplicates", f"{inside} within train, val, test"))
    for (a, b), count in facts.overlap.items():
        rows.append((f"{b} also in {a}", f"{count} of {facts.splits[b].n}"))
    rows.append(("constant entries", f"{facts.constant} of {facts.entries}"))
    rows.append(("hash", dataset.hash))
    rows.append(("split hash", dataset.split_hash))
    width = max(len(key) for key, _ in rows) + 2
    return "".join(f"{key:<{width}}{value}\n" for key, value in rows)


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def configs() -> dict[str, Path]:
    """Return every data set's YAML file by name, ours and those under GENAI_PATH."""
    from genai_cli.config.catalog import ConfigTree, user_dirs

    return ConfigTree(user_dirs()).options("dataset")


def read_config(file: Path) -> dict[str, Any]:
    """Read the YAML file of a group as plain data."""
    from omegaconf import OmegaConf

    return dict(OmegaConf.to_container(OmegaConf.load(file)))  # type: ignore[arg-type]


def _node(word: str) -> dict[str, Any]:
    """The group a name or a folder stands for."""
    known = configs()
    if word in known:
        return read_config(known[word])
    if Path(word).expanduser().is_dir():
        return read_config(known["folder"]) | {"path": word}
    raise UserError(
        f"'{word}' is neither a data set nor a folder{nearest(word, known)} "
        f"(choose from: {listing(known)})"
    )


def _parsed(args: list[str]) -> tuple[list[str], dict[str, Any]]:
    """(plain words, keys): a key may be written with or without the prefix ``dataset.``."""
    words = [arg for arg in args if "=" not in arg]
    pairs = [arg.removeprefix("dataset.") for arg in args if "=" in arg]
    keys: dict[str, Any] = {}
    for pair in pairs:
        key, _, text = pair.partition("=")
        keys[key] = read_value(pair, text)
    return words, keys
