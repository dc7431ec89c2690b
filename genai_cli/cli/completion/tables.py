"""What a TAB offers behind each verb besides the keys of the YAML: flags, words, keys, values.

Tests hold these tables equal to what the verbs take; they are written here because a TAB must not
import the verbs.
"""

from __future__ import annotations

from genai_cli.evaluation.measures import GROUPS

FLAGS = {
    "train": {"-m": "sweep over lists", "--cfg": "print the config", "-cd": "folder of more YAML"},
    "plan": {"-m": "sweep over lists", "--script": "print Slurm's", "-cd": "folder of more YAML"},
    "runs": {"--all": "not only the newest", "--json": "for scripts"},
    "compare": {
        **{"--evaluate": "measure what is missing", "--no-figures": "tables alone"},
        **{"--md": "print Markdown", "--csv": "print CSV", "--json": "print JSON"},
    },
    "evaluate": {"--brief": "no table"},
    "report": {"--no-figures": "draw nothing new"},
    "doctor": {"--json": "for scripts"},
    "audit": {"--csv": "print CSV", "--json": "print JSON"},
    "sweep": {"-cd": "folder of more YAML"},
    "prune": {"--yes": "remove, not only say what would be"},
}
ACTIONS = {
    "lecture": {"resume": "go on with what is missing"},
    "sweep": {"resume": "train what is left of it"},
    "runs": {"prune": "remove runs"},
    "data": {"list": "all data sets", "fetch": "download one", "check": "load one and report"},
    "completion": {"install": "write the file", "show": "print it", "uninstall": "remove it"},
}
STATUSES = (
    *("running", "finished", "stopped", "interrupted", "failed"),
    *("waiting", "died", "damaged"),
)
RESUMABLE = (  # what a resumed run may change: SAFE and NOTED of changes.py
    *("epochs", "tags", "device", "precision", "monitor"),
    *("dataset.path", "dataset.root", "dataset.workers", "dataset.memory_mb"),
    *("optimizer.lr", "optimizer.weight_decay", "optimizer.betas", "optimizer.eps"),
    *("optimizer.rho", "optimizer.alpha", "schedule.horizon", "schedule.final"),
    *("schedule.every", "schedule.gamma", "schedule.factor", "schedule.patience"),
    *("schedule.min_delta", "schedule.floor"),
    *("trainer.accumulate", "trainer.clip", "trainer.deterministic", "trainer.devices"),
    *("trainer.figures_every", "trainer.loggers", "figures.name", "figures.scale"),
    *("trainer.keep", "trainer.max_steps", "trainer.min_delta", "trainer.patience"),
    *("trainer.rollback", "trainer.save_every", "trainer.step", "trainer.threads"),
)
FIGURES = {"figures": "the run's", "figures.scale": "1.5: larger type"}  # of verbs that draw
FORMATS = {"figures": {"png": "", "pdf": "beside the PNG", "svg": "beside the PNG"}}
SAMPLE = {  # keys of `genai sample`: those of sampling/request.py, then those of the families
    **{"what": "samples", "n": "how many", "seed": "0", "batch_size": "250"},
    **{"checkpoint": "best", "ema": "averaged weights", "device": "auto", "y": "label or all"},
    **{"outputs": "folder of runs", "frames": "of what moves", "temperature": "1.0"},
    **{"sampler": "ddpm", "steps": "ddpm", "eta": "ddpm", "guidance": "ddpm"},
    **FIGURES,
}
SAMPLE_VALUES = {
    "what": {
        "samples": "single images and a sheet",
        "interpolation": "from one code to another",
        "traversal": "one number of a code at a time",
        "trajectory": "from noise to sample",
        "reconstruction": "of test examples",
    },
    "checkpoint": {"best": "", "last": ""},
    "ema": {"true": "", "false": ""},
    "device": {"auto": "", "cpu": "", "cuda": "", "mps": ""},
    **FORMATS,
}
ENCODE = {  # keys of `genai encode`
    **{"split": "test", "format": "npz", "n": "how many", "batch_size": "250"},
    **{"checkpoint": "best", "ema": "averaged weights", "device": "auto"},
    **{"outputs": "folder of runs"},
}
ENCODE_VALUES = {
    "split": {"train": "", "val": "", "test": "", "all": "the three"},
    "format": {"npz": "arrays", "csv": "a table"},
    **{key: SAMPLE_VALUES[key] for key in ("checkpoint", "ema", "device")},
}
COMPARE = {  # keys of `genai compare`: its own, then those of `genai evaluate`
    **{"seeds": "together", "out": "folder", "outputs": "folder of runs", "n": "samples"},
    **{"features": "auto", "sets": "of samples", "checkpoint": "best", "ema": "averaged weights"},
    **FIGURES,
}
COMPARE_VALUES = {
    "seeds": {"together": "mean and interval", "apart": "a row each"},
    "features": {"auto": "", "reference": "", "inception": "", "pixels": ""},
    **{key: SAMPLE_VALUES[key] for key in ("checkpoint", "ema", "figures")},
}
EVALUATE = {  # keys of `genai evaluate`: those of evaluation/request.py, then the families'
    **{"n": "samples of a set", "sets": "of samples, 5 or more", "features": "auto", "k": "5"},
    **{"only": "some of the parts", "draws": "64", "seed": "0", "batch_size": "512"},
    **{key: SAMPLE[key] for key in ("checkpoint", "ema", "device", "outputs", "temperature")},
    **{key: SAMPLE[key] for key in ("sampler", "steps", "eta", "guidance", *FIGURES)},
}
EVALUATE_VALUES = {
    "features": COMPARE_VALUES["features"],
    "only": dict.fromkeys(GROUPS, ""),
    **{key: SAMPLE_VALUES[key] for key in ("checkpoint", "ema", "device", "figures")},
}
AUDIT = {  # keys of `genai audit`
    **{"n": "2000", "seed": "0", "batch_size": "512"},
    **{key: EVALUATE[key] for key in ("checkpoint", "ema", "device", "outputs", "temperature")},
    **{key: SAMPLE[key] for key in ("sampler", "steps", "eta", "guidance", *FIGURES)},
}
REPLAY = {"precision": "the run's", "outputs": "folder of runs"}
REPRODUCE = {"rtol": "1e-3", "device": "the run's", "outputs": "folder of runs"}
REPORT = {"out": "FILE.html", "outputs": "folder of runs"}  # keys of `genai report`
DOCTOR = {"outputs": "folder of runs"}  # keys of `genai doctor`
READERS = {  # verbs that take one run: their keys and what is known of the values
    "sample": (SAMPLE, SAMPLE_VALUES),
    "encode": (ENCODE, ENCODE_VALUES),
    "replay": (REPLAY, {"precision": dict.fromkeys(("fp32", "bf16", "fp64"), "")}),
    "reproduce": (REPRODUCE, {"device": SAMPLE_VALUES["device"]}),
}
MEASURERS = {  # verbs that take several runs, or sweeps: their keys and values
    **{"evaluate": (EVALUATE, EVALUATE_VALUES), "compare": (COMPARE, COMPARE_VALUES)},
    "audit": (
        AUDIT,
        {key: SAMPLE_VALUES[key] for key in ("checkpoint", "ema", "device", "figures")},
    ),
    "doctor": (DOCTOR, {}),
}
