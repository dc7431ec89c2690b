"""Make the labelled curves that `genai doctor` is held against (tests/doctor/curves/).

Real runs of all families, healthy ones and horrors. The label is fixed by the construction and
by a judge that does not know the doctor's rules: it sees the test loss of every epoch, the same
run at its usual rate, the same run trained twice as long, the labels of its samples. A run
of which the judge is not sure is left out; the doctor is never asked.

    python benchmarks/doctor_curves.py --seeds 0 --out tests/doctor/curves/design.jsonl
    python benchmarks/doctor_curves.py --seeds 6 7 8 --out tests/doctor/curves/held_out.jsonl

A line is a run: labels (any of which is right), what the rules ask of its config and summary.json,
and rows of metrics.csv in five digits (four, of more than 50; three, of more than 500). Some
seconds each on a CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from doctor_cases import CASES, Case
from doctor_judge import Run, labels

from genai_cli.config import compose, schema
from genai_cli.evaluation import evidence, summary
from genai_cli.runner.prepare import prepare
from genai_cli.training import machine, progress, setup
from genai_cli.training.finite import Diverged, check_finite
from genai_cli.training.loop import calibrate, evaluate, finish, train

JUDGED = 40  # points of the test curve
KEPT = (  # columns of metrics.csv besides the losses
    *("train/discriminator/d_real", "train/discriminator/d_fake"),
    *("train/generator/loss", "train/discriminator/loss"),
)
READ = (  # what the rules ask of a config
    *("model.name", "model.output_activation", "model.beta", "model.dropout"),
    *("model.denoise", "model.input_noise", "model.label_smoothing", "model.generator_lr"),
    *("loss.name", "optimizer.name", "optimizer.lr", "optimizer.weight_decay", "trainer.ema"),
    *("dataset.name", "epochs", "bottleneck"),
)
NUMBERS = (  # and of a summary
    *("test/kl", "test/active_units", "test/r2", "test/accuracy", "own_mse", "mean_mse"),
    *("swapped_mse", "code_deviation", "inverse_error", "sample_spread", "sample_coverage"),
    "raw_loss",
)
_memory: dict[tuple[Any, ...], Run] = {}


def trained(words: Sequence[str], seed: int, case: Case | None = None) -> Run:
    """Train in memory, as `genai train` does in a folder; the test loss of some epochs beside."""
    key = (*words, seed, case.name if case and (case.kicks or case.cut) else "")
    if key in _memory:
        return _memory[key]
    judged = case is not None and case.judge == "healthy" and "schedule=cosine" not in words
    line = compose.parse_line([*words, f"seed={seed}", "device=cpu"])
    prepared = prepare(compose.compose_cells("train", line)[0].config, lambda text: None)
    cfg, data = prepared.cfg, prepared.data
    longer = dataclasses.replace(cfg, epochs=2 * cfg.epochs) if judged else cfg
    device = machine.pick_device("cpu")
    data = data.to(device)
    state = setup.new_training(cfg, data, device)
    if case and case.cut:  # the decoder never sees the code
        decoder = state.model.decoder.forward
        state.model.decoder.forward = lambda z, *rest: decoder(0 * z, *rest)
    run = Run(cfg, data, state.model, longer=judged)
    run.test[0] = tested(state, data, cfg)
    try:
        follow(run, state, longer, case)
    except Diverged as error:
        run.status, run.failure = "failed", str(error)
    _memory[key] = run
    return run


def follow(run: Run, state: Any, longer: Any, case: Case | None) -> None:
    """Train, epoch by epoch, as long as the judge wants to see."""
    cfg, data = run.cfg, run.data
    stride = max(1, cfg.epochs // JUDGED)
    kicked = {
        round(share * cfg.epochs) * state.steps_per_epoch for share in (case.kicks if case else ())
    }
    weights = None
    for now in train(state, data, longer, machine.pick_device("cpu")):
        if now.step in kicked:
            kick(now, case.kick)
        if not now.at_epoch_end:
            continue
        if now.epoch > cfg.epochs:  # the judge's alone
            if now.epoch % stride == 0:
                run.later.append(tested(now, data, cfg))
            continue
        with now.averaged():
            calibrate(now, data, cfg.seed)
            row = progress.epoch_row(now, evaluate(now, data.val, cfg.seed, "validation", "fp32"))
        check_finite(row)
        run.rows.append(row)
        if now.epoch % stride == 0 or now.epoch == cfg.epochs:
            run.test[now.epoch] = tested(now, data, cfg)
        if progress.is_best(now, row, cfg):
            weights = weights_of(now)
        if now.epoch == cfg.epochs:
            conclude(run, now, weights)


def conclude(run: Run, state: Any, weights: dict[str, Any] | None) -> None:
    """The numbers at the end of `genai train`, of the best weights; then training can go on."""
    cfg, data, model = run.cfg, run.data, run.model
    averaged = run.rows[-1].get("val/loss", math.nan)
    run.evidence = evidence.unaveraged_loss(state, data, cfg.seed, "fp32", averaged)
    run.train_loss = evaluate(state, data.train, cfg.seed, "judge", "fp32").get("loss")
    own = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(weights or weights_of(state))
    model.step.fill_(state.step)
    finish(model, data)
    found, _ = summary.metrics(model, data, cfg, {})
    run.metrics = {name: entry["value"] for name, entry in found.items()}
    run.evidence |= evidence.measure(model, data, cfg.seed)
    if run.longer:
        model.load_state_dict(own)


def kick(now: Any, size: float) -> None:
    """Throw all weights off by ``size`` of their own deviation, as a broken batch would."""
    with torch.no_grad():
        draws = torch.Generator().manual_seed(now.step)
        for p in now.model.parameters():
            p += size * p.std(correction=0) * torch.randn(p.shape, generator=draws)


def weights_of(now: Any) -> dict[str, Any]:
    with now.averaged():
        return {k: v.clone() for k, v in now.model.state_dict().items()}


def tested(now: Any, data: Any, cfg: Any) -> float:
    """Test loss of the weights that are evaluated; nan for two players."""
    with now.averaged():
        return evaluate(now, data.test, cfg.seed, "judge", "fp32").get("loss", math.nan)


def short(value: float, digits: int = 5) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def record(case: Case, seed: int, run: Run, right: Sequence[str]) -> dict[str, Any]:
    """A line of the collection."""
    columns: dict[str, Any] = {}
    digits = 5 - sum(len(run.rows) > n for n in (50, 500))
    for name in ("train/loss", "val/loss", *KEPT):
        values = [short(row[name], digits) for row in run.rows if name in row]
        if values:
            columns[name] = values
    flat = schema.flatten(schema.to_dict(run.cfg))
    config = {k: flat[k] for k in READ if flat.get(k) not in (None, False, [], 0.0)}
    return {
        "case": case.name,
        "seed": seed,
        "labels": list(right),
        "config": config,
        "status": run.status,
        "failure": run.failure,
        "steps": int(run.rows[-1]["step"]) if run.rows else 0,
        "epochs": len(run.rows),
        "columns": columns,
        "numbers": {
            k: short(v, 8) for k, v in (run.metrics | run.evidence).items() if k in NUMBERS
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="cases whose names start with one of these")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    left_out = kept = 0
    with asked.out.open("a", encoding="utf-8") as file:
        for seed in asked.seeds:
            for case in CASES:
                if asked.only and not case.name.startswith(tuple(asked.only)):
                    continue
                if case.seeds and seed not in case.seeds:
                    continue
                began = time.monotonic()
                run = trained(case.words, seed, case)
                right, why = labels(case, run, lambda words, seed=seed: trained(words, seed))
                seconds = time.monotonic() - began
                print(
                    f"{seconds:5.1f} s  seed {seed}  {case.name}: {right or 'left out'}; {why}",
                    flush=True,
                )
                if not right:
                    left_out += 1
                    continue
                kept += 1
                file.write(json.dumps(record(case, seed, run, right), separators=(",", ":")) + "\n")
                file.flush()
            _memory.clear()
    print(f"{kept} runs, {left_out} left out by the judge")


if __name__ == "__main__":
    main()
