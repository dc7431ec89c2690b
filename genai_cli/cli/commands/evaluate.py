"""`genai evaluate RUN… [key=value …]` measures trained runs with one protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.cli.arguments import exit_on_signal, parse_arguments, report_failure
from genai_cli.config import validation
from genai_cli.errors import UserError
from genai_cli.runner.console import show
from genai_cli.runner.progress import Meter
from genai_cli.store import lookup, run_folder
from genai_cli.system import atomic_write
from genai_cli.system.text import format_table

if TYPE_CHECKING:
    from genai_cli.evaluation.job import Evaluation
    from genai_cli.evaluation.request import EvaluateRequest
    from genai_cli.evaluation.samples import TrainingReference

WITHIN = "evaluation"  # folder of a run
RESULT = "evaluation.json"


def main(args: list[str]) -> int:
    """Evaluate runs one after the other; 0 all done, 1 a model failed, 2 a mistake (before any
    starts), 130 or 143 stopped (nothing half is left behind)."""
    from genai_cli.evaluation.request import EvaluateRequest, resolve_requests

    names, request, _ = parse_arguments(args, "evaluate", EvaluateRequest)
    folders: dict[Path, None] = {}
    for name in names:
        newest = name == "latest"  # the newest run, as for every verb that reads one
        named = (
            [lookup.find(name, request.outputs)]
            if newest
            else lookup.find_all(name, request.outputs)
        )
        folders |= dict.fromkeys(named)
    requests = resolve_requests(list(folders), request)
    known: dict[Any, TrainingReference] = {}
    codes = []
    for i, folder in enumerate(folders):
        if i:
            show("")
        codes.append(evaluate(folder, requests[i], known))
    return max(codes)


def evaluate(folder: Path, request: EvaluateRequest, known: dict[Any, TrainingReference]) -> int:
    """Measure one run, write the folder of the result and return the exit code.

    Args:
        folder: of the run.
        request: settled.
        known: training sides already made, by data and extractor; filled here.
    """
    from genai_cli.config import schema
    from genai_cli.evaluation import evaluate as room
    from genai_cli.evaluation import features
    from genai_cli.evaluation.estimate import estimate
    from genai_cli.evaluation.job import Evaluation
    from genai_cli.evaluation.request import folder_name
    from genai_cli.figures import style
    from genai_cli.runner import load
    from genai_cli.sampling import store
    from genai_cli.store import run_config
    from genai_cli.training import checkpoint, machine

    cfg = run_config.load_config(folder)
    path = checkpoint.named(folder / run_folder.CHECKPOINTS, request.checkpoint)
    threads = run_folder.read_json(folder / run_folder.RUN).get("threads")
    with machine.numerics(cfg, threads):
        loaded = load.load(
            folder, checkpoint=request.checkpoint, ema=request.ema, device=request.device
        )
        model, data, _ = loaded
        if not len(data.test):
            raise UserError(f"{folder}: its data has no test split (dataset.test_fraction=0)")
        show(f"run    {folder}")
        show(f"       {cfg.model['name']} on {data.name}, weights of {path.name}")
        averaged = cfg.trainer.ema is not None if request.ema is None else request.ema
        n = room.number_of_samples(request, data)
        draws = hasattr(model, "sample")
        if draws and request.wants("samples") and n <= request.k:
            raise UserError(
                f"n={n} is not allowed with k={request.k}: more samples than neighbours"
            )
        name: str | None = None
        extractor = None
        if draws and (request.wants("samples") or request.wants("memorisation")):
            device = machine.pick_device(request.device)
            with exit_on_signal(), Meter() as meter:
                tick = meter.counted("reference classifier")
                extractor = features.make_extractor(
                    request.features, data, device=device, say=show, tick=tick
                )
            name = extractor.name
            show(extractor.note)
        with (
            exit_on_signal(),
            store.Folder(folder, "evaluation", WITHIN) as staging,
            Meter() as meter,
        ):
            job = Evaluation(
                *(folder, staging.path, model, data, cfg, replace(request), n, averaged, path.name)
            )

            def real() -> TrainingReference:
                return _reference(job, extractor, known, meter)

            try:
                if draws:
                    there = extractor is not None and _key(job, extractor) in known
                    show(f"time   {estimate(job, extractor, there)}")
                with style.output(
                    **validation.figure_settings(
                        validation.figure_keys(request), [schema.flatten(schema.to_dict(cfg))]
                    )
                ):
                    room.measure_run(job, real, meter.stage)
                    job.files = [
                        f.name for file in job.files for f in style.output_files(Path(file))
                    ]
            except Exception as error:
                return report_failure("evaluate", folder, error)
            atomic_write.write_json(staging.path / RESULT, job.to_json(name))
            meter.stop()
            written = staging.publish(folder_name(job.settings(name)))
    if request.brief:
        show(f"       {written}")
    else:
        _print(job, written)
    return 0


def _reference(
    job: Evaluation, extractor: Any, known: dict[Any, TrainingReference], meter: Meter
) -> TrainingReference:
    """The training side in the extractor's features, made once for all runs on the same data."""
    from genai_cli.evaluation.samples import TRAINING, TrainingReference

    data, key = job.data, _key(job, extractor)
    if key not in known:
        known.clear()  # one at a time: features of a large set are large
        n = min(len(data.train), TRAINING)
        tick = meter.stage(f"{extractor.name}: {n:,} training examples", n)
        known[key] = TrainingReference.make(data, extractor, job.request.k, tick)
    return known[key]


def _key(job: Evaluation, extractor: Any) -> tuple[object, ...]:
    import torch

    data, of = job.data, (extractor.name, extractor.hash, job.request.k)
    return data.hash, data.split_hash, str(data.spec), str(torch.get_default_dtype()), *of


def _print(job: Evaluation, written: Path) -> None:
    """The table of numbers, floors and reasons, and where everything lies."""
    from genai_cli.comparison.numbers import format_value
    from genai_cli.evaluation.measures import BY_NAME

    rows, reasons, beside = [], {}, {}
    for name, entry in job.metrics.items():
        if entry["value"] is None:
            reasons.setdefault(entry["reason"], []).append(name)
            continue
        low, high, floor = entry["low"], entry["high"], entry.get("floor")
        bound = entry["passport"]["player"].get("likelihood") == "bound"
        against = ""
        if floor:
            word = floor["what"].split()[0]
            against = f"{word} {format_value(floor['value'])}"
            n = "" if floor["n"] == entry["n"] else f", n = {floor['n']:,}"
            beside[word] = f"{floor['what']}{n}"
        rows.append(
            (
                name,
                ("≤ " if bound else "") + format_value(entry["value"]),
                "" if low is None else f"{format_value(low)} – {format_value(high)}",
                BY_NAME[name].unit,
                against,
            )
        )
    head = ("", "value", "95 % interval", "unit", "beside")
    show("")
    show(format_table(f"n = {job.n:,}", head, rows, left=(0, 3, 4)))
    for word, meaning in beside.items():
        show(f"  {word}: {meaning}")
    for reason, names in reasons.items():
        show(f"  not defined: {', '.join(names)}: {reason}")
    show("")
    for file in [*job.files, RESULT]:
        show(f"  {written / file}")
