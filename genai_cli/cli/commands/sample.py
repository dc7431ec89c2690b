"""`genai sample RUN [key=value …]` draws samples of a trained model into a folder of the run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genai_cli.cli.arguments import exit_on_signal, parse_arguments, report_failure
from genai_cli.errors import UserError
from genai_cli.runner.console import on_terminal, show
from genai_cli.store import lookup, run_folder
from genai_cli.system import atomic_write
from genai_cli.system.terminal import raw_stream
from genai_cli.system.text import format_number

if TYPE_CHECKING:
    from genai_cli.config.schema import TrainConfig
    from genai_cli.runner.load import Loaded
    from genai_cli.sampling.request import SampleRequest

SCHEMA = 1


def main(args: list[str]) -> int:
    """Sample from one run; 0 done, 1 the model failed, 2 a mistake, 130 or 143 stopped (nothing is
    left behind)."""
    from genai_cli.sampling.request import SampleRequest, resolve_request

    (run,), request, _ = parse_arguments(args, "sample", SampleRequest)
    folder = lookup.find(run, request.outputs)

    from genai_cli.models.build import model_class
    from genai_cli.runner import load
    from genai_cli.store import run_config
    from genai_cli.training import machine

    cfg = run_config.load_config(folder)
    name = cfg.model["name"]
    resolve_request(request, model_class(name), name)
    threads = run_folder.read_json(folder / run_folder.RUN).get("threads")
    with machine.numerics(cfg, threads):
        loaded = load.load(
            folder,
            checkpoint=request.checkpoint,
            ema=request.ema,
            device=request.device,
            outputs=request.outputs,
        )
        resolve_request(request, loaded.model, name, loaded.data.spec)
        return make(folder, request, loaded, cfg)


def make(folder: Path, request: SampleRequest, loaded: Loaded, cfg: TrainConfig) -> int:
    """Draw samples into a new folder and return the exit code."""
    from genai_cli.config import schema, validation
    from genai_cli.figures import style
    from genai_cli.sampling import draw, store
    from genai_cli.sampling.job import Job
    from genai_cli.sampling.request import labels

    model, data, _ = loaded
    name = cfg.model["name"]
    conditional = getattr(model, "conditional", cfg.model.get("conditional", False))
    y = labels(request, bool(conditional), name, data.spec)
    if not len(data.test) and request.what in ("interpolation", "traversal", "reconstruction"):
        raise UserError(f"what={request.what} starts from test examples, and this data has none")
    with exit_on_signal(), store.Folder(folder, request.what) as staging:
        try:
            drawn = validation.figure_keys(request), [schema.flatten(schema.to_dict(cfg))]
            with progress(request) as tick, style.output(**validation.figure_settings(*drawn)):
                job = Job(model, data, request, y, staging.path, f"{name} on {data.name}", tick)
                draw.draw(job)
                job.files = [f.name for file in job.files for f in style.output_files(Path(file))]
            atomic_write.write_json(
                staging.path / store.DESCRIBED, described(folder, request, job, cfg)
            )
        except Exception as error:
            return report_failure("sample", folder, error)
        written = staging.publish()
    rate = job.made / max(job.seconds, 1e-9)
    things = "images" if data.spec.is_image else "rows"
    show(f"{request.what}: {job.made:,} {things} in {format_number(job.seconds)} s ({rate:,.0f}/s)")
    if request.what == "reconstruction" and job.made < request.n:
        show(f"note: there are only {job.made:,} test examples")
    if job.broken:
        show(f"note: {job.broken:,} of them hold numbers that are not finite")
    for file in job.files:
        show(f"  {written / file}")
    show(f"{written}")
    return 0


def described(folder: Path, request: SampleRequest, job: Any, cfg: TrainConfig) -> dict[str, Any]:
    """Return the content of sample.json: the samples, their sampler and the speed."""
    from genai_cli.training import checkpoint, machine
    from genai_cli.version import __version__

    averaged = cfg.trainer.ema is not None if request.ema is None else request.ema
    path = checkpoint.named(folder / run_folder.CHECKPOINTS, request.checkpoint)
    device = next(job.model.parameters()).device
    chosen = {k: getattr(getattr(job.model, "settings", None), k, None) for k in request.options}
    options = {k: chosen[k] if v is None else v for k, v in request.options.items()}
    return {
        "schema": SCHEMA,
        "what": request.what,
        "run": folder.name,
        "checkpoint": path.name,
        "model": cfg.model["name"],
        "dataset": job.data.name,
        "seed": request.seed,
        "n": request.n,
        "batch_size": request.batch_size,
        "y": job.y,
        "player": {"ema": averaged, "checkpoint": path.name} | options,
        "made": job.made,
        "not_finite": job.broken,
        "seconds": round(job.seconds, 4),
        "per_second": round(job.made / max(job.seconds, 1e-9), 2),
        "device": machine.device_name(device),
        "version": __version__,
        "finished": run_folder.now(),
    }


@contextmanager
def progress(request: SampleRequest) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; call the result with the number of new samples."""
    if not on_terminal():
        yield lambda n: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    frames = request.options.get("frames", 1)
    passes = {"interpolation": 2 * frames, "traversal": frames}.get(request.what, 1)
    columns = (TextColumn(request.what), BarColumn(bar_width=24), MofNCompleteColumn())
    with Progress(
        *columns,
        TimeRemainingColumn(compact=True),
        console=Console(file=raw_stream(sys.stdout)),
        transient=True,
    ) as bar:
        task = bar.add_task(request.what, total=request.n * passes)
        yield lambda n: bar.update(task, advance=n)
