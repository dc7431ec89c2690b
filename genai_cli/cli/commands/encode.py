"""`genai encode RUN [key=value …]` writes the codes of a split as an array or a table."""

from __future__ import annotations

import filecmp
from pathlib import Path
from typing import TYPE_CHECKING

from genai_cli.cli.arguments import exit_on_signal, parse_arguments, report_failure
from genai_cli.errors import UserError, listing
from genai_cli.runner.console import show
from genai_cli.sampling.request import EncodeRequest
from genai_cli.store import lookup, run_folder
from genai_cli.system.text import format_number

if TYPE_CHECKING:
    from genai_cli.data.dataset import Dataset
    from genai_cli.models.base import Model

CODES = "codes"  # folder in the run


def main(args: list[str]) -> int:
    """Encode a split of one run's data; 0 done, 1 the model failed, 2 a mistake, 130 or 143 stopped
    (an earlier file stays as it was)."""
    (run,), request, _ = parse_arguments(args, "encode", EncodeRequest)
    folder = lookup.find(run, request.outputs)

    from genai_cli.models.build import model_class
    from genai_cli.runner import load
    from genai_cli.store import run_config
    from genai_cli.training import machine

    cfg = run_config.load_config(folder)
    check_able(model_class(cfg.model["name"]), cfg.model["name"])
    threads = run_folder.read_json(folder / run_folder.RUN).get("threads")
    with machine.numerics(cfg, threads), exit_on_signal():
        model, data, _ = load.load(
            folder,
            checkpoint=request.checkpoint,
            ema=request.ema,
            device=request.device,
            outputs=request.outputs,
        )
        try:
            return write(folder, request, model, data)
        except Exception as error:
            return report_failure("encode", folder, error)


def check_able(model: type[Model], name: str) -> None:
    """Refuse a family without an encoder, and name those that have one."""
    from genai_cli.config.catalog import config_dir
    from genai_cli.models.build import model_class

    if not hasattr(model, "encode"):
        names = sorted(file.stem for file in (config_dir() / "model").glob("*.yaml"))
        have = [n for n in names if hasattr(model_class(n), "encode")]
        raise UserError(f"model={name} has no encoder; these have one: {listing(have)}")


def write(folder: Path, request: EncodeRequest, model: Model, data: Dataset) -> int:
    """Write the file of codes and return the exit code."""
    from genai_cli.sampling import codes as store

    splits = store.SPLITS if request.split == "all" else (request.split,)
    there = sum(len(getattr(data, name)) for name in splits)
    if not there:
        raise UserError(f"split={request.split}: this data has no such examples")
    n = min(request.n or there, there)
    codes = store.Codes(model, data, splits, n, request.batch_size)
    path = folder / CODES / f"{request.split}.{request.format}"
    with store.atomic_path(path) as part:
        width = (store.write_npz if request.format == "npz" else store.write_csv)(part, codes)
        replaced = path.exists() and not filecmp.cmp(part, path, shallow=False)
    if request.n is not None and n < request.n:
        show(f"note: there are only {n:,} examples in split={request.split}")
    if replaced:
        show("note: it takes the place of codes from other settings")
    if codes.broken:
        show(f"note: {codes.broken:,} of them hold numbers that are not finite")
    rate = n / max(codes.seconds, 1e-9)
    things = "images" if data.spec.is_image else "rows"
    show(
        f"{request.split}: {n:,} {things} as {n:,} × {width} numbers in "
        f"{format_number(codes.seconds)} s ({rate:,.0f}/s)"
    )
    show(f"{path}")
    return 0
