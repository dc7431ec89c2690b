"""Hold the help of each verb besides its keys and flags: usage, names, prose, examples.

Keys and flags of a verb that reads run folders are declared in its request (arguments.py). TAB
reads actions, flags and statuses here, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from genai_cli.cli.arguments import REQUESTS, fields_of, flags_of, has_options, keys_of
from genai_cli.config.resumable import NOTED, SAFE
from genai_cli.config.signatures import allowed_words

TRAIN_FLAGS = {
    "-m, --multirun": "train every combination of lists like bottleneck=8,16,32",
    "--cfg job|all": "print the composed config and stop; all adds Hydra's own",
    "-cd DIR": "look for more YAML in DIR, in folders named like the groups",
    "-h, --help": "this text; after GROUP=NAME, the keys of that choice",
}
ACTIONS = {  # first words of the verbs that have some, lecture's and runs' beside others
    "lecture": {"resume": "go on with what is missing; LECTURE is a folder, its suffix, or latest"},
    "sweep": {"resume": "train what is left of it"},
    "runs": {
        "prune": "remove the runs that match, status=failed if nothing is given; a sweep or a"
        " lecture goes only as a whole"
    },
    "data": {
        "list": "every data set: shape, size, origin, and whether it is on this machine",
        "fetch": "download one into $GENAI_DATA or ~/.cache/genai/data, or into DIR",
        "check": "load one and report sizes, ranges, duplicates, overlap and hashes; DIR is a"
        " folder of your own images, KEY a key of the data set",
    },
    "completion": {
        "install": "write the file that your shell reads; the shell is $SHELL if not given",
        "show": "print that file instead",
        "uninstall": "remove it; for all shells if none is given",
    },
}
STATUSES = {
    **dict.fromkeys(("running", "finished"), ""),
    **{"stopped": "early", "interrupted": "", "failed": "", "waiting": "not begun"},
    **{"died": "killed", "damaged": "no readable run.json"},
}
RUN = {
    "PATH": "a run's folder",
    "k3f9": "the end of its folder's name; k3f9/000 is a cell of a sweep",
    "latest": "the newest run",
}
RUN_OR_SWEEP = {
    "PATH": "the folder of a run, or of a sweep: then all its runs",
    "k3f9": "the end of its folder's name; k3f9/000 is a cell of a sweep",
    "latest": "what was started last, a run or a sweep",
}
FAMILY = {  # keys of verbs that sample, by the families that have them
    "temperature=1.0": "autoencoder, vae, latent_flow, flow, gan: less is nearer to the typical",
    "sampler, steps, eta, guidance": "ddpm: as in genai train model=ddpm --help",
}


class Page(NamedTuple):
    """Holds the help of a verb around its keys."""

    sections: Mapping[str, Mapping[str, str]]  # heading → rows, above the keys
    text: str  # paragraphs
    examples: Sequence[str]
    more: Mapping[str, Mapping[str, str]] = {}  # as sections, below the keys


def resumable_rows() -> dict[str, str]:
    """Return the help rows of the keys that a resumed run may change."""

    def of_trainer(names: tuple[str, ...]) -> str:
        return ", ".join(n.removeprefix("trainer.") for n in names if n.startswith("trainer."))

    return {
        "epochs=N": "train for longer; schedule.horizon=N stretches the schedule with it",
        "tags=[…]": "words to find it by",
        "trainer.*": f"{of_trainer(SAFE)}; and, with a note, {of_trainer(NOTED)}",
        "optimizer.*": "with a note, like schedule.*, device, precision and monitor: the rest of"
        " the run is then not as first planned",
    }


def _listed(words: Mapping[str, str]) -> str:
    return ", ".join(f"{word} ({text})" if text else word for word, text in words.items())


PAGES = {
    "plan": Page(
        {
            "words": {
                "GROUP=, KEY=": "those of genai train, lists with -m",
                "hydra/launcher=": "processes or slurm: how long it takes with that",
            },
            "flags": {
                **{flag: TRAIN_FLAGS[flag] for flag in ("-m, --multirun", "-cd DIR")},
                "--script": "print the batch script that Slurm would get, and nothing else",
            },
        },
        """For each shape: parameters, memory, seconds of a step, of an epoch and of a run, disk;
and for all cells the hours, one after the other and with the launcher. A few real steps, a
validation pass and a run's end are timed once for each shape, in a process of its own. Nothing is
launched, and nothing written to outputs.""",
        [
            "genai plan model=ddpm dataset=fashion_mnist",
            "genai plan -m model=vae,gan bottleneck=8,16,32 hydra/launcher=processes",
            "genai plan -m bottleneck=8,16,32 hydra/launcher=slurm --script",
        ],
    ),
    "resume": Page(
        {"RUN": RUN, "keys that may change": resumable_rows()},
        """Without changes, an interrupted run goes on from its last checkpoint and ends with the
numbers of an uninterrupted one. One that was stopped while it was measured is measured. A finished
run stays as it is (exit code 0). The end of a run takes a tenth of its training, 10 s at least, and
measures what fits of the test split; measure=all does the rest. figures=pdf|svg and
figures.scale=1.5 draw the figures of a finished run anew, from the same numbers.""",
        [
            "genai resume latest",
            "genai resume k3f9 epochs=60",
            "genai resume k3f9 measure=all",
            "genai resume k3f9 figures=pdf   # draw those of a finished run anew",
        ],
    ),
    "reproduce": Page(
        {"RUN": RUN},
        """It trains again in a folder of its own, with the recorded threads and kind of step, every
change of a resume at its step, and says: identical, within tolerance, or what differs first and by
how much, beside the versions and the machine of then and now. Exit code 1 where it differs. What
another machine, kernel or number of threads rounds otherwise grows from step to step: numbers that
agree to 1e-5 after a few steps may be 1e-3 apart at a run's end, hence the default. Where nothing
is listed as not the same, ask for rtol=0.""",
        ["genai reproduce latest", "genai reproduce k3f9 rtol=1e-5"],
    ),
    "replay": Page(
        {"RUN": RUN},
        """A run that fails because a loss, a gradient or an update is not finite keeps the step in
RUN/blackbox: weights and optimizer before it, batch and noise. It is taken again on the CPU, with
the range of every layer and the first that is not finite. Exit code 1 where it is finite here.""",
        ["genai replay latest", "genai replay k3f9 precision=fp64"],
    ),
    "sweep": Page(
        {
            "SWEEP": {
                "PATH": "the folder of a sweep",
                "k3f9": "the end of its folder's name",
                "latest": "the newest sweep",
            },
            "keys": {
                "hydra/launcher=NAME": "serial, processes or slurm, where its runs are to be"
                " started in another way than before",
                "hydra.launcher.KEY": "one setting of that, like hydra.launcher.minutes=120",
                "outputs=DIR": "where the sweeps are, if not ./outputs or $GENAI_OUTPUTS",
                "-cd DIR": "look for more YAML in DIR, like a launcher of your own",
            },
        },
        """Runs that are finished, or stopped early, stay as they are; the others go on from their
last checkpoint, or start. A run whose folder is gone or damaged is written again from sweep.yaml,
if it comes out as it was. sweep.csv and the exit code are those of a sweep.""",
        [
            "genai sweep resume latest",
            "genai sweep resume k3f9 hydra/launcher=processes hydra.launcher.workers=2",
        ],
    ),
    "sample": Page(
        {
            "RUN": RUN,
            "what=WORD": allowed_words(fields_of(REQUESTS["sample"])["what"].hint),
        },
        """It writes RUN/samples/TIME-WHAT-xxxx: grid.png, images/000000.png …, samples.npz,
sample.json, and a GIF where something moves. A run that is stopped leaves nothing.""",
        [
            "genai sample latest n=1000 seed=1",
            "genai sample k3f9 temperature=0.7",
            "genai sample k3f9 what=interpolation n=6",
        ],
    ),
    "evaluate": Page(
        {"RUN or SWEEP": RUN_OR_SWEEP | {"latest": "the newest run"}},
        """It writes RUN/evaluation/NAME/: evaluation.json, with the interval and the passport of
every number, and figures. The same settings again replace it with the same numbers; only speeds
differ. Several settings of a run stand side by side in genai compare.""",
        [
            "genai evaluate latest",
            "genai evaluate k3f9 n=10000 device=cuda",
            "genai evaluate k3f9 sampler=dpmpp steps=20",
        ],
    ),
    "encode": Page(
        {"RUN": RUN},
        """It writes RUN/codes/SPLIT.npz or .csv: the code of an autoencoder, the posterior mean of
a VAE, the normal numbers of a flow, the last hidden layer of an MLP. The index counts within the
split; values of a table are in its own units.""",
        ["genai encode latest", "genai encode k3f9 split=all format=csv"],
    ),
    "audit": Page(
        {"RUN or SWEEP": RUN_OR_SWEEP},
        """For every class: its share of the population (the test split), of training and of samples
with a 95 % interval; the error of its reconstructions, and which class they are taken for. A class
is marked where its share of samples differs beyond chance (5 % for all classes together) from what
the classifier would read off images drawn as in training, so that its own errors raise no alarm.

It reads classes with the reference classifier, which has seen the whole population. A picture of
which it is as unsure as of the most doubtful 5 % of test images is unclear. It writes RUN/audit:
audit.json, audit.csv, audit.png; of a sweep, these in its own folder, too. A class is made rare by
dataset.rare and dataset.rare_share.""",
        [
            "genai train model=vae dataset=digits dataset.rare=8",
            "genai audit latest",
            "genai audit k3f9 n=10000 --csv",
        ],
    ),
    "compare": Page(
        {"RUN or SWEEP": RUN_OR_SWEEP},
        """Numbers are ranked only where they were measured alike: the same test examples, n and
features. * marks the best, ≈ what cannot be told from it at 95 %, ≤ a bound, – what is not measured
yet. The tables, the verdict and the figures are written to SWEEP/compare, or for other runs to a
folder of their own in outputs.""",
        [
            "genai compare latest",
            "genai compare k3f9 --evaluate n=500",
            "genai compare k3f9/000 p0d1 --md --no-figures",
        ],
        {
            "keys of genai evaluate": {
                "n=, features=, sets= …": "of --evaluate, or which evaluations to look at"
            }
        },
    ),
    "report": Page(
        {"RUN or SWEEP": RUN_OR_SWEEP | {"PATH": "the folder of a run, a sweep or a lecture"}},
        """The page is one file: numbers with intervals and how they were measured, loss curves,
figures, settings that differ from the defaults, environment. It loads nothing from a network, runs
no script, and shows no folder of this machine but the run's own name. A run that is still going on,
or has failed, gets a page, too.""",
        ["genai report latest", "genai report k3f9 out=vae.html"],
    ),
    "lecture": Page(
        {
            "words": {
                "without any": "list the experiments: question and commands",
                "all": "run every one, in the lecture's order",
                "quick": "those that take seconds on a small data set",
                "CHAPTER": "autoencoders, restoring, losses, size, generative, bias, horrors",
                "NAME": "an experiment, as it is listed",
                **ACTIONS["lecture"],
            },
            "keys": {
                "dataset=digits": "where Fashion-MNIST is not on this machine",
                "KEY=VALUE": "any other key of a training; it goes to the experiments that have it"
                " and leave it open, and the others are named",
                "outputs=DIR": "where the lecture's folder goes, if not ./outputs or"
                " $GENAI_OUTPUTS",
            },
        },
        """Every command runs as its YAML in configs/experiment/lecture has it, in a process of its
own; one that fails does not stop the others. The folder holds lecture.json, lecture.log, an outputs
folder for each experiment, and at the end report.html: question, command, pictures, numbers,
finding and lesson of each.""",
        ["genai lecture quick", "genai lecture all dataset=digits"],
    ),
    "doctor": Page(
        {
            "RUN, SWEEP or FILE": RUN_OR_SWEEP
            | {"FILE.csv": "a loss curve of any tool, with epoch,loss,val_loss"}
        },
        """A finding is one of: still learning, converged, learning rate too high or too low, jumps,
plateau then fall, overfitting, validation below training, diverged, mean collapse, posterior
collapse, decoder ignores the code, discriminator won, generator vanishing, mode collapse, inverse
error, EMA too young, loss does not fit the activation. A healthy run gets one of the first two and
nothing else. A CSV is judged by its curves alone; a run also by its settings and by what was
measured at its end.

CSV files of Keras' and Lightning's CSVLogger are read as they are. The confidence is 50 % just
beyond a rule's limit, 75 % at twice the limit; the limits stand in genai_cli/doctor/limits.py.""",
        ["genai doctor latest", "genai doctor k3f9", "genai doctor history.csv --json"],
    ),
    "runs": Page(
        {
            "words": {
                "KEY=VALUE": "only runs with it: status=finished, dataset=digits, model=vae,mlp;"
                " KEY is status, a group, or a key of their configs",
            }
            | ACTIONS["runs"],
        },
        f"status is {_listed(STATUSES)}.",
        ["genai runs model=vae status=finished", "genai runs prune status=failed,died --yes"],
        {"flags of prune": flags_of("prune")},
    ),
    "data": Page(
        {"words": ACTIONS["data"]},
        "",
        ["genai data fetch mnist", "genai data check ./photos size=64"],
    ),
    "completion": Page(
        {"words": ACTIONS["completion"]},
        "",
        ["genai completion install", "genai completion show zsh > _genai"],
    ),
}


def sections(verb: str) -> dict[str, Mapping[str, str]]:
    """Return all sections of a verb's help in order: heading → rows."""
    page, declared = PAGES[verb], {}
    if verb in REQUESTS:
        keys = {f"{name}={key.value}": key.meaning for name, key in keys_of(verb).items()}
        declared = {"keys": keys, "keys of a family": _family(verb), "flags": flags_of(verb)}
    merged = {**page.sections, **declared, **page.more}
    return {heading: rows for heading, rows in merged.items() if rows}


def _family(verb: str) -> dict[str, str]:
    frames = {"frames=31": "of an interpolation, a traversal or a trajectory"}
    return ((frames if verb == "sample" else {}) | FAMILY) if has_options(REQUESTS[verb]) else {}


def options(verb: str) -> dict[str, str]:
    """Return the keys of a verb that only some families have, for TAB."""
    rows = _family(verb).items()
    return {name.partition("=")[0]: text for key, text in rows for name in key.split(", ")}


def flags(verb: str) -> dict[str, str]:
    """Return the flags of a verb for TAB, from its request or from the rows of its page."""
    if verb in REQUESTS:
        return flags_of(verb)
    pages = [TRAIN_FLAGS] if verb == "train" else sections(verb).values()
    rows = {key: text for page in pages for key, text in page.items() if key.startswith("-")}
    names = {key.replace(",", " ").split()[0]: text for key, text in rows.items()}
    return {flag: text for flag, text in names.items() if flag != "-h"}
