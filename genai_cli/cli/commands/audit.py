"""`genai audit RUN…` counts the classes that a model's samples and reconstructions keep."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.audit.request import AuditRequest
from genai_cli.cli.arguments import exit_on_signal, parse_arguments, report_failure
from genai_cli.config import validation
from genai_cli.errors import UserError
from genai_cli.runner.console import show
from genai_cli.runner.progress import Meter
from genai_cli.store import lookup, run_folder
from genai_cli.system import atomic_write

if TYPE_CHECKING:
    from genai_cli.audit.measure import Audit
    from genai_cli.audit.world import Population

FOLDER = "audit"  # in a run, and in a sweep
JSON, CSV, FIGURE = "audit.json", "audit.csv", "audit.png"


@dataclass
class AuditedRun:
    """Holds one run with the result of its audit."""

    folder: Path
    result: Audit
    described: dict[str, Any]
    config: dict[str, Any]


def main(args: list[str]) -> int:
    """Audit runs, or the cells of a sweep; 0 done, 1 a model failed, 2 a mistake, 130 or 143
    stopped (nothing half is left behind)."""
    names, request, _ = parse_arguments(args, "audit", AuditRequest)
    if request.csv and request.json:
        raise UserError("--csv and --json together; print one of them (both are written)")

    from genai_cli.evaluation.request import resolve_requests

    matches = {name: lookup.find_all(name, request.outputs) for name in names}
    folders = list(dict.fromkeys(folder for members in matches.values() for folder in members))
    requests = resolve_requests(folders, request)
    done: list[AuditedRun] = []
    worlds: dict[str, Population] = {}
    for_a_program = request.csv or request.json
    quiet = contextlib.redirect_stdout(sys.stderr) if for_a_program else contextlib.nullcontext()
    with quiet:
        for folder, run_request in zip(folders, requests, strict=True):
            code, audited = audit(folder, run_request, worlds, single=len(folders) == 1)
            if audited is None:
                return code
            done.append(audited)
        if len(done) > 1:
            _together(done, validation.figure_keys(request))
    if for_a_program:
        _print(request, done)
    return 0


def audit(
    folder: Path, request: AuditRequest, worlds: dict[str, Population], single: bool = True
) -> tuple[int, AuditedRun | None]:
    """Measure one run, write RUN/audit and print the verdict.

    Args:
        folder: of the run.
        request: settled.
        worlds: populations already read, filled here.
        single: print the table, not the verdict alone.
    """
    from genai_cli.audit import figure as figures
    from genai_cli.audit import measure, say, world, written
    from genai_cli.config import schema
    from genai_cli.figures import style
    from genai_cli.runner import load
    from genai_cli.sampling import store
    from genai_cli.store import run_config
    from genai_cli.training import machine

    cfg = run_config.load_config(folder)
    threads = run_folder.read_json(folder / run_folder.RUN).get("threads")
    with machine.numerics(cfg, threads), exit_on_signal(), Meter() as meter:
        model, data, _ = load.load(
            folder, checkpoint=request.checkpoint, ema=request.ema, device=request.device
        )
        show(f"run    {folder}")
        population = world.load_population(cfg, worlds, show)
        biased = world.count_training_classes(cfg)
        settings = written.settings(folder, cfg, request)
        sampling = {key: settings[key] for key in ("n", "seed", "options")}
        sampling["batch_size"] = request.batch_size
        with store.Folder(folder, FOLDER, within="") as staging:
            try:
                result = measure.audit(model, data, population, biased, sampling, meter.stage)
            except Exception as error:
                return report_failure("audit", folder, error), None
            described = written.describe(folder, cfg, result, settings)
            title = f"{cfg.model['name']} on {data.name}"
            atomic_write.write_json(staging.path / JSON, described)
            atomic_write.write_text(
                staging.path / CSV, written.comma_separated([(folder, described)])
            )
            config = schema.flatten(schema.to_dict(cfg))
            with style.output(
                **validation.figure_settings(validation.figure_keys(request), [config])
            ):
                figures.plot_run(staging.path / FIGURE, result, title=title)
                drawn = style.output_files(folder / FOLDER / FIGURE)
            meter.stop()
            staging.publish(FOLDER)
    if single:
        show("")
        show(say.table(result))
        show("")
    for line in described["verdict"]:
        show(f"audit  {line}")
    if single:
        for path in (folder / FOLDER / JSON, folder / FOLDER / CSV, *drawn):
            show(f"  {path}")
    return 0, AuditedRun(folder, result, described, config)


def _together(done: Sequence[AuditedRun], figures: Mapping[str, Any]) -> None:
    """Print the table of several runs and, for a whole sweep, write its files."""
    from genai_cli.audit import several, sweep_figure, written
    from genai_cli.figures import style

    labels = several.labels([one.folder for one in done], [one.result for one in done])
    label = several.focus([one.result for one in done])
    rows = [several.row(name, one.result, label) for name, one in zip(labels, done, strict=True)]
    show("")
    show(several.table(rows, done[0].result.population.classes[label]))
    sweep = done[0].folder.parent
    if not run_folder.is_sweep(sweep) or {one.folder for one in done} != set(
        run_folder.cells(sweep)
    ):
        return
    target = sweep / FOLDER
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None
    atomic_write.write_json(target / JSON, [one.described for one in done])
    everything = [(one.folder, one.described) for one in done]
    atomic_write.write_text(target / CSV, written.comma_separated(everything))
    title = (
        f"{done[0].result.population.classes[label]}: how often it is drawn, and what becomes of it"
    )
    readings = done[0].result.population.readings
    with style.output(**validation.figure_settings(figures, [one.config for one in done])):
        sweep_figure.plot_sweep(target / FIGURE, rows, readings, label, title=title)
        drawn = style.output_files(target / FIGURE)
    show("")
    for path in (target / JSON, target / CSV, *drawn):
        show(f"  {path}")


def _print(request: AuditRequest, done: Sequence[AuditedRun]) -> None:
    import json

    from genai_cli.audit import written

    if request.json:
        print(json.dumps([one.described for one in done], indent=2, ensure_ascii=False))
    else:
        rows = written.comma_separated([(one.folder, one.described) for one in done])
        print(rows, end="")
