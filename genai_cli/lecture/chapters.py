"""Define the chapters of the lecture: introductions and the experiments of each.

An experiment is ``configs/experiment/lecture/NAME.yaml``; what it asks, runs and shows stands in
its first comment (header.py). A file that no chapter names, a user's own, comes at the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from genai_cli.config.catalog import ConfigTree, user_dirs
from genai_cli.errors import UserError, nearest
from genai_cli.lecture.header import Header, read

GROUP = "lecture"  # the folder of configs/experiment


class Chapter(NamedTuple):
    """A part of the lecture."""

    key: str  # what to type for it
    title: str
    introduction: str
    names: tuple[str, ...]


CHAPTERS = (
    Chapter(
        "autoencoders",
        "Autoencoders",
        "An autoencoder has to say an image in few numbers and to paint it again from them. Nobody"
        " tells it what the numbers mean. The same network learns next to nothing or nearly"
        " everything, depending on its last activation, its loss and its optimizer; the loss curve"
        " tells which of the two happened before any picture does.",
        (
            "ae64_linear_mse_adadelta",
            "ae64_linear_mse_adam",
            "ae64_sigmoid_mse",
            "ae64_sigmoid_bce",
            "ae16_sigmoid_bce",
            "ae16_overfit",
            "bottleneck",
        ),
    ),
    Chapter(
        "restoring",
        "Restoring images",
        "Give the network a damaged image and ask for the whole one, and an autoencoder becomes a"
        " tool. What it adds it has not seen in this image but in the others: a guess that looks"
        " like a memory.",
        ("superresolution", "denoise", "inpaint"),
    ),
    Chapter(
        "losses",
        "Losses and optimizers",
        "The loss says what counts as wrong, and it must fit the task and the last activation. The"
        " optimizer says how to walk downhill, the rate how far at a time. A wrong choice of any of"
        " the three looks like a network that cannot learn.",
        ("loss_table", "optimizer_table", "learning_rate"),
    ),
    Chapter(
        "size",
        "How large, how fast, how long",
        "Wider, deeper, smaller batches, more epochs: each buys something and costs something."
        " These sweeps change one thing at a time, so that the price can be read off.",
        ("batch_size", "width_depth", "activation", "epochs"),
    ),
    Chapter(
        "generative",
        "Generative models",
        "An autoencoder repeats; a generative model makes what was never there. The families pay"
        " for that in different coin: blurred images, slow samples, a training that may fail. Which"
        " one is right depends on what it is for.",
        ("gan_minimax", "gan_nonsaturating", "generative_comparison"),
    ),
    Chapter(
        "bias",
        "Bias",
        "Models are neutral, it is said, and the bias is in the data. Here one class is made rare"
        " and we look at what becomes of it: in samples, in reconstructions, in images made"
        " sharper, and after the training set was balanced again.",
        ("biased_data",),
    ),
    Chapter(
        "horrors",
        "The gallery of horrors",
        "Everything that goes wrong with a loss curve, made on purpose, small and fast. Look at the"
        " curve first, name the trouble, then read what the doctor says and try what is proposed.",
        tuple(
            f"horrors/{name}"
            for name in (
                *("rate_too_high", "rate_too_low", "jumps", "diverged", "plateau"),
                *("overfitting", "validation_below_training", "mean_collapse"),
                *("loss_does_not_fit", "ema_too_young", "posterior_collapse"),
                *("discriminator_won", "generator_vanishing", "mode_collapse"),
            )
        ),
    ),
)
MORE = Chapter("more", "More experiments", "These stand in a folder of your own.", ())
QUICK = CHAPTERS[-1].names  # that take seconds each on digits
_FULL = {
    "rate_too_high": "learning rate too high",
    "rate_too_low": "learning rate too low",
    "plateau": "plateau then fall",
    "ema_too_young": "EMA too young",
    "loss_does_not_fit": "loss does not fit the activation",
}
SHOWS = {  # what the doctor finds in a run that shows its lesson
    name: _FULL.get(horror, horror.replace("_", " "))
    for name in CHAPTERS[-1].names
    for horror in [name.rpartition("/")[2]]
}


class Experiment(NamedTuple):
    """One experiment of the lecture."""

    name: str  # ae64_sigmoid_bce, horrors/jumps
    path: Path
    chapter: Chapter

    @property
    def header(self) -> Header:
        return read(self.path)


def list_experiments() -> list[Experiment]:
    """Return all experiments in the lecture's order, then the user's own by name."""
    files = {
        option.removeprefix(f"{GROUP}/"): path
        for option, path in ConfigTree(user_dirs()).options("experiment").items()
        if option.startswith(f"{GROUP}/")
    }
    ordered = [
        Experiment(name, files.pop(name), chapter)
        for chapter in CHAPTERS
        for name in chapter.names
        if name in files
    ]
    return ordered + [Experiment(name, path, MORE) for name, path in files.items()]


def list_words() -> dict[str, str]:
    """Return the words that `select_experiments` takes, with descriptions for TAB completion."""
    words = {"all": "every experiment", "quick": "those that take seconds"}
    words |= {chapter.key: chapter.title for chapter in CHAPTERS}
    return words | {each.name: each.chapter.title for each in list_experiments()}


def select_experiments(names: list[str]) -> list[Experiment]:
    """Select the experiments of ``names``, in the lecture's order, each once: ``all``, ``quick``,
    a chapter's key, or an experiment with or without its folder.

    Raises:
        UserError: a word means nothing here.
    """
    known = list_experiments()
    words: dict[str, set[str]] = {"all": {e.name for e in known}, "quick": {*QUICK}}
    for e in known:
        words.setdefault(e.chapter.key, set()).add(e.name)
        for word in (e.name, e.name.rpartition("/")[2], f"{GROUP}/{e.name}"):
            words.setdefault(word, {e.name})
    for name in names:
        if name not in words:
            raise UserError(
                f"no experiment '{name}' in the lecture{nearest(name, words)}; genai lecture lists"
                " them"
            )
    wanted = {name for word in names for name in words[word]}
    return [e for e in known if e.name in wanted]
