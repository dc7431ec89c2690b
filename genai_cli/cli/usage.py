"""What the help of each verb says: (heading, rows or text), in order."""

from __future__ import annotations

from genai_cli.cli.usages_again import AGAIN, FIGURES, RUN
from genai_cli.cli.usages_audit import AUDIT
from genai_cli.cli.usages_doctor import DOCTOR
from genai_cli.cli.usages_lecture import LECTURE
from genai_cli.cli.usages_sweeps import SWEEPS

TRAIN_FLAGS = {
    "-m, --multirun": "train every combination of lists like bottleneck=8,16,32",
    "--cfg job|all": "print the composed config and stop; all adds Hydra's own",
    "-cd DIR": "look for more YAML in DIR, in folders named like the groups",
    "-h, --help": "this text; after GROUP=NAME, the keys of that choice",
}

USAGES: dict[str, list[tuple[str, object]]] = {
    **SWEEPS,
    **AUDIT,
    **DOCTOR,
    **LECTURE,
    **AGAIN,
    "sample": [
        ("", "genai sample RUN [KEY=VALUE …]"),
        ("RUN", RUN),
        (
            "what=WORD",
            {
                "samples": "new images, single and on one sheet; the default",
                "interpolation": "from one code to another, straight and along an arc",
                "traversal": "one number of a code at a time, those that change the image most",
                "trajectory": "from noise to samples, step by step (ddpm, flow)",
                "reconstruction": "test examples and what the model makes of them",
            },
        ),
        (
            "keys",
            {
                "n=64": "how many: images, pairs, numbers of a code, test examples",
                "seed=0": "the same seed, the same images, however they are cut into batches",
                "batch_size=250": "examples in the model at once",
                "y=NAME": "a label, its number, a list of them or all, for a conditional model",
                "checkpoint=best": "or last, or a name like step-000600",
                "ema=true|false": "averaged weights or raw ones; averaged where the run has them",
                "device=auto": "auto cpu cuda cuda:0 mps",
                "outputs=DIR": "where the runs are, if not ./outputs or $GENAI_OUTPUTS",
                **FIGURES,
                "frames=31": "of an interpolation, a traversal or a trajectory",
            },
        ),
        (
            "keys of a family",
            {
                "temperature=1.0": "autoencoder, vae, latent_flow, flow, gan: less is nearer to the"
                " typical",
                "sampler, steps, eta, guidance": "ddpm: as in genai train model=ddpm --help",
            },
        ),
        (
            "",
            "It writes RUN/samples/TIME-WHAT-xxxx: grid.png, images/000000.png …, samples.npz,"
            " sample.json, and a GIF where something moves. A run that is stopped leaves nothing.",
        ),
        (
            "examples",
            [
                "genai sample latest n=1000 seed=1",
                "genai sample k3f9 temperature=0.7",
                "genai sample k3f9 what=interpolation n=6",
            ],
        ),
    ],
    "encode": [
        ("", "genai encode RUN [KEY=VALUE …]"),
        ("RUN", RUN),
        (
            "keys",
            {
                "split=test": "train val test all",
                "format=npz": "or csv: index, label, z0, z1, …; npz: z, index, y",
                "n=1000": "only the first of the split",
                "batch_size=250": "examples in the model at once",
                "checkpoint=best": "or last, or a name like step-000600",
                "ema=true|false": "averaged weights or raw ones; averaged where the run has them",
                "device=auto": "auto cpu cuda cuda:0 mps",
                "outputs=DIR": "where the runs are, if not ./outputs or $GENAI_OUTPUTS",
            },
        ),
        (
            "",
            "It writes RUN/codes/SPLIT.npz or .csv: the code of an autoencoder, the posterior mean"
            " of a VAE, the normal numbers of a flow, the last hidden layer of an MLP. The index"
            " counts within the split; values of a table are in its own units.",
        ),
        (
            "examples",
            ["genai encode latest", "genai encode k3f9 split=all format=csv"],
        ),
    ],
    "compare": [
        ("", "genai compare RUN…|SWEEP… [KEY=VALUE …] [FLAGS]"),
        (
            "RUN or SWEEP",
            {
                "PATH": "the folder of a run, or of a sweep: then all its runs",
                "k3f9": "the end of its folder's name; k3f9/000 is a cell of a sweep",
                "latest": "what was started last, a run or a sweep",
            },
        ),
        (
            "flags",
            {
                "--evaluate": "run genai evaluate first, for each run that lacks it",
                "--md, --csv, --json": "print that instead of the tables, and nothing else",
                "--no-figures": "tables alone, without loading a model",
            },
        ),
        (
            "keys",
            {
                "n=, features=, sets= …": "keys of genai evaluate: of --evaluate, or which"
                " evaluations to look at",
                "seeds=apart": "a row for each seed; together if not given: runs alike but for"
                " their seed are a row, with mean and interval",
                "out=DIR": "where the files go",
                "outputs=DIR": "where the runs are, if not ./outputs or $GENAI_OUTPUTS",
                **FIGURES,
            },
        ),
        (
            "",
            "Numbers are ranked only where they were measured alike: the same test examples, n and"
            " features. * marks the best, ≈ what cannot be told from it at 95 %, ≤ a bound, – what"
            " is not measured yet. The tables, the verdict and the figures are written to"
            " SWEEP/compare, or for other runs to a folder of their own in outputs.",
        ),
        (
            "examples",
            [
                "genai compare latest",
                "genai compare k3f9 --evaluate n=500",
                "genai compare k3f9/000 p0d1 --md --no-figures",
            ],
        ),
    ],
    "report": [
        ("", "genai report RUN|SWEEP [KEY=VALUE …] [--no-figures]"),
        (
            "RUN or SWEEP",
            {
                "PATH": "the folder of a run, or of a sweep",
                "k3f9": "the end of its folder's name; k3f9/000 is a cell of a sweep",
                "latest": "the newest run or sweep",
            },
        ),
        (
            "keys",
            {
                "out=FILE.html": "where to; report.html in the folder if not given",
                "outputs=DIR": "where the runs are, if not ./outputs or $GENAI_OUTPUTS",
                "--no-figures": "of a sweep: do not draw what genai compare would draw; this loads"
                " no model",
            },
        ),
        (
            "",
            "The page is one file: numbers with intervals and how they were measured, loss curves,"
            " figures, settings that differ from the defaults, environment. It loads nothing from"
            " a network, runs no script, and shows no folder of this machine but the run's own"
            " name. A run that is still going on, or has failed, gets a page, too.",
        ),
        ("examples", ["genai report latest", "genai report k3f9 out=vae.html"]),
    ],
    "evaluate": [
        ("", "genai evaluate RUN… [KEY=VALUE …] [--brief]"),
        (
            "RUN",
            {
                "PATH": "a run's folder, or a sweep's: all its runs",
                "k3f9": "the end of a folder's name; k3f9/000 is a cell of a sweep",
                "latest": "the newest run",
            },
        ),
        (
            "keys",
            {
                "n=N": "samples of a set, and test examples looked at; as many as there are test"
                " examples, 2000 at most, if not given. A small n is fast",
                "sets=5": "fresh sets of samples, 5 at least: the intervals of distances",
                "features=auto": "reference: a small classifier of the data itself; inception: the"
                " network of the FID (GENAI_INCEPTION=FILE gives its weights); pixels; auto is"
                " reference where images have labels",
                "only=[…]": "reconstruction likelihood samples memorisation speed prediction cost",
                "k=5": "neighbours of precision, recall, density and coverage",
                "draws=64": "importance samples of a VAE's bound",
                "seed=0": "of the first set; the next ones count up. Set s is what"
                " genai sample RUN seed=s draws",
                "batch_size=512": "examples in the model at once; the numbers do not depend on it",
                "checkpoint=best": "or last, or a name like step-000600",
                "ema=true|false": "averaged weights or raw ones; averaged where the run has them",
                "device=auto": "auto cpu cuda cuda:0 mps",
                "outputs=DIR": "where the runs are, if not ./outputs or $GENAI_OUTPUTS",
                **FIGURES,
                "--brief": "say where the numbers are, do not print them",
            },
        ),
        (
            "keys of a family",
            {
                "temperature, sampler, steps, eta, guidance": "how samples are drawn, as in genai"
                " sample; several settings of a run stand side by side in genai compare",
            },
        ),
        (
            "",
            "It writes RUN/evaluation/NAME/: evaluation.json, with the interval and the passport of"
            " every number, and figures. The same settings again replace it with the same numbers;"
            " only speeds differ.",
        ),
        (
            "examples",
            [
                "genai evaluate latest",
                "genai evaluate k3f9 n=10000 device=cuda",
                "genai evaluate k3f9 sampler=dpmpp steps=20",
            ],
        ),
    ],
    "runs": [
        ("", "genai runs [KEY=VALUE …] [--all] [--json]"),
        ("", "genai runs prune [KEY=VALUE …] [--yes]"),
        (
            "words",
            {
                "KEY=VALUE": "only runs with it: status=finished, dataset=digits, model=vae,mlp;"
                " KEY is status, a group, or a key of their configs",
                "--all": "all of them, not only the newest 20",
                "--json": "for scripts",
                "prune": "remove the runs that match, status=failed if nothing is given; a sweep"
                " or a lecture goes only as a whole",
                "--yes": "do it: without --yes, prune only says what it would remove",
            },
        ),
        (
            "",
            "status is running, finished, stopped (early), interrupted, failed, waiting (not"
            " begun), died (killed) or damaged (no readable run.json).",
        ),
        (
            "examples",
            ["genai runs model=vae status=finished", "genai runs prune status=failed,died --yes"],
        ),
    ],
    "data": [
        ("", "genai data list"),
        ("", "genai data fetch NAME [root=DIR]"),
        ("", "genai data check NAME|DIR [KEY=VALUE …]"),
        (
            "words",
            {
                "list": "every data set: shape, size, origin, and whether it is on this machine",
                "fetch": "download one into $GENAI_DATA or ~/.cache/genai/data, or into DIR",
                "check": "load one and report sizes, ranges, duplicates, overlap and hashes;"
                " DIR is a folder of your own images, KEY a key of the data set",
            },
        ),
        ("examples", ["genai data fetch mnist", "genai data check ./photos size=64"]),
    ],
    "completion": [
        ("", "genai completion install|show|uninstall [bash|zsh|fish]"),
        (
            "words",
            {
                "install": "write the file that your shell reads; the shell is $SHELL if not given",
                "show": "print that file instead",
                "uninstall": "remove it; for all shells if none is given",
            },
        ),
        ("examples", ["genai completion install", "genai completion show zsh > _genai"]),
    ],
}
