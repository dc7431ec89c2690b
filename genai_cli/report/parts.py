"""Parts that a run's page and a cell of a sweep share: state, warnings, figures, environment."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from genai_cli.config.resumable import train_longer
from genai_cli.report import figures
from genai_cli.report.facts import Facts, mapping, number
from genai_cli.report.markup import Html, details, el, join, table
from genai_cli.report.numbers import newest_entries, pairs_list, plain, tables
from genai_cli.report.page import duration, when
from genai_cli.report.private import without_paths
from genai_cli.store import run_folder
from genai_cli.system.text import short

SAFE = re.compile(r"[\w@%+=:,./-]+")
SIGNS = {"finished": "good", "stopped": "good", "failed": "bad", "died": "bad", "damaged": "bad"}
WORDS = {
    "finished": "finished",
    "stopped": "stopped early",
    "running": "running",
    "interrupted": "interrupted",
    "failed": "failed",
    "died": "died",
    "waiting": "waiting",
    "damaged": "damaged",
}
LOG_LINES = 25
SHEETS = 3  # of `genai sample`, the newest
RARE = 0.01  # a p-value below which a set of samples counts as copied


def state(facts: Facts) -> Html:
    """How the run stands, in a word; the colour repeats the word."""
    word = WORDS.get(facts.status, facts.status)
    return el("span", word, class_=f"status {SIGNS.get(facts.status, 'warn')}")


def meta(facts: Facts) -> Html:
    """Status, date, time, size, in one line."""
    parameters = number(facts.described.get("parameters"))
    epoch = number(facts.summary.get("epoch")) or (facts.rows[-1]["epoch"] if facts.rows else None)
    asked = number(facts.config.get("epochs"))
    items = [
        state(facts),
        when(facts.described.get("started")),
        f"{epoch:,.0f} of {asked:,.0f} epochs" if epoch and asked else "",
        duration(facts.seconds),
        f"{parameters:,.0f} parameters" if parameters else "",
        str(facts.described.get("device") or ""),
    ]
    return el("ul", *(el("li", i) for i in items if i), class_="meta")


def command(facts: Facts) -> str:
    """The command that makes this run again elsewhere: without the folder for the results."""
    overrides = _overrides(facts)
    text = shlex.join(overrides) if overrides else str(facts.described.get("command") or "")
    return without_outputs(text)


def without_outputs(command: str) -> str:
    """A command line without ``outputs=`` and without paths of the machine."""
    try:
        words = [w for w in shlex.split(command) if not w.startswith("outputs=")]
        # quoted as a reader would: brackets and globs, not every = and comma
        command = " ".join(w if SAFE.fullmatch(w) else shlex.quote(w) for w in words)
    except ValueError:  # a quote without its end
        pass
    return without_paths(command, Path.home())


def _overrides(facts: Facts) -> list[str]:
    """``genai train`` and the settings of one cell, where the run is one of a sweep."""
    try:
        asked = yaml.safe_load((facts.path.parent / run_folder.SWEEP).read_text(encoding="utf-8"))
        cells = {c["folder"]: c["overrides"] for c in asked["cells"]}
        return ["genai", "train", *map(str, cells[facts.name])]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []


def warnings(facts: Facts) -> Html:
    """What a reader must know before the numbers."""
    ref, notes = facts.reference, []
    if facts.status == "failed":
        why = next((x for x in reversed(facts.log) if x.strip()), "")
        why = re.sub(r"^genai_cli[\w.]*: ", "", why)  # our own exceptions say enough
        notes.append(_note("bad", "This run failed.", facts.public(why), _log(facts)))
    elif facts.status == "died":
        said = "Its process ended without a word: killed, perhaps for memory, or the power failed."
        on = f"What was saved goes on with: genai resume {ref}"
        notes.append(_note("bad", "This run died.", said, on, _log(facts)))
    elif facts.status == "interrupted":
        on = f"It was stopped and saved itself; it goes on with: genai resume {ref}"
        notes.append(_note("warn", "This run is not finished.", on))
    elif facts.unmeasured:
        on = f"It was stopped after its training; its test split is measured by: genai resume {ref}"
        notes.append(_note("warn", "This run is not measured yet.", on))
    elif facts.status == "running":
        said = "This page shows what stood in its folder when the page was made."
        notes.append(_note("warn", "This run is still going on.", said))
    elif facts.status == "waiting":
        notes.append(_note("warn", "This run has not begun.", ""))
    elif facts.status == "damaged":
        said = "config.yaml or run.json of this run cannot be read."
        notes.append(_note("bad", "This folder is damaged.", said))
    copied = mapping(newest_entries(facts).get("memorisation/p"))
    p = number(copied.get("value"))
    if p is not None and p < RARE:
        said = f"They lie closer to training examples than held-out examples do (p = {short(p)})."
        notes.append(_note("warn", "Some samples may be copies.", said))
    return join(*notes)


def _note(kind: str, title: str, *content: object) -> Html:
    said = [c if isinstance(c, Html) else el("p", c) for c in content if c]
    return el("div", el("p", el("strong", title)), *said, class_=f"note {kind}")


def _log(facts: Facts) -> Html:
    lines = facts.log[-LOG_LINES:]
    if not lines:
        return Html("")
    return details("The last lines of train.log", el("pre", facts.public("\n".join(lines))))


def pictures(facts: Facts, names: tuple[str, ...] = figures.OF_A_RUN) -> Html:
    """The figures of the end of a run, then the newest sheets of `genai sample`."""
    parts = [figures.figure(facts.path / f"{name}.png", facts.title) for name in names]
    sheets = sorted((facts.path / "samples").glob("*/grid.png"), reverse=True)[:SHEETS]
    parts += [figures.figure(f, facts.title, note=f.parent.name) for f in sheets]
    return join(*parts)


def evaluations(facts: Facts) -> Html:
    """Each evaluation with its tables and figures, the newest first; the last one is open."""
    parts = []
    for i, (name, content) in enumerate(reversed(facts.evaluations)):
        settings = mapping(content.get("settings"))
        told = [(k.replace("_", " "), plain(v)) for k, v in settings.items() if v is not None]
        inner = join(
            pairs_list([("measured", when(content.get("finished"))), *told]),
            tables(mapping(content.get("metrics"))),
            _extra(mapping(content.get("tables"))),
            *(
                figures.figure(file, facts.title)
                for file in sorted(
                    (facts.path / "evaluation" / name).glob("*.png"), key=figures.place
                )
            ),
        )
        parts.append(details(el("h3", name), inner, open=i == 0, class_="box"))
    return join(*parts)


def _extra(more: dict[str, object]) -> Html:
    """Shares of classes, confusions and calibration as tables, for those who do not see figures."""
    parts = []
    shares = mapping(more.get("classes"))
    names, drawn, real = (shares.get(k) for k in ("names", "samples", "real"))
    if all(isinstance(v, list) for v in (names, drawn, real)):
        rows = [[n, _percent(a), _percent(b)] for n, a, b in zip(names, drawn, real, strict=False)]
        shown = table("Share of each class", ["class", "samples", "real"], rows)
        parts.append(details("Classes as a table", shown, class_="screen"))
    confusion = more.get("confusion")
    if isinstance(confusion, list) and all(isinstance(r, list) for r in confusion):
        labels = names if isinstance(names, list) else list(range(len(confusion)))
        rows = [[label, *map(plain, r)] for label, r in zip(labels, confusion, strict=False)]
        head = ["true", *map(str, labels)]
        shown = table("Predicted classes (columns) of the true ones (rows)", head, rows)
        parts.append(details("Confusions as a table", shown, class_="screen"))
    return join(*parts)


def _percent(value: object) -> str:
    share = number(value)
    return "–" if share is None else f"{100 * share:.1f} %"


def environment(facts: Facts) -> Html:
    """What the run ran on and with, and the hashes of its data."""
    d, data = facts.described, mapping(facts.described.get("dataset"))
    pairs = [
        ("device", d.get("device")),
        ("threads", d.get("threads")),
        ("precision", d.get("precision")),
        ("step", d.get("step_kind")),
        *((k.replace("_", "-"), v) for k, v in mapping(d.get("versions")).items()),
        ("git", d.get("git")),
        ("seed", d.get("seed")),
        ("data", data.get("name")),
        ("data hash", data.get("hash")),
        ("split hash", data.get("split_hash")),
        ("validation", data.get("validation")),
        ("shape", " × ".join(map(plain, data.get("event_shape") or []))),
        ("examples", plain(mapping(data.get("n"))) if data.get("n") else None),
        ("started", when(d.get("started"))),
        ("ended", when(d.get("finished"))),
        ("folder", facts.name),
    ]
    return pairs_list([(k, facts.public(plain(v))) for k, v in pairs if v not in (None, "")])


def next_commands(facts: Facts) -> Html:
    """What to type next, of the verbs there are."""
    from genai_cli.cli.command_table import VERBS

    ref, epochs = facts.reference, number(facts.config.get("epochs")) or 0
    samples = facts.model != "mlp"
    lines = []
    if facts.status in ("interrupted", "died"):
        lines.append((f"genai resume {ref}", "goes on from the last checkpoint"))
    elif facts.unmeasured:
        lines.append((f"genai resume {ref}", "measures its test split"))
    elif facts.status in ("finished", "stopped") and epochs:
        horizon = mapping(facts.config.get("schedule")).get("horizon")
        lines.append((train_longer(ref, int(2 * epochs), horizon), "trains it for longer"))
    if facts.status in ("finished", "stopped", "interrupted", "died"):
        if "evaluate" in VERBS and not facts.evaluations:
            lines.append((f"genai evaluate {ref}", "measures it with one ruler for all families"))
        if samples:
            lines.append((f"genai sample {ref} n=100", "draws from it"))
    if "compare" in VERBS:
        lines.append((f"genai compare {ref} OTHER", "puts it beside another run"))
    rows = [[el("code", c), m] for c, m in lines]
    return table("To go on", ["command", "what it does"], rows, left=(0, 1)) if rows else Html("")
