"""What the rules take for granted, and that every advice can be typed."""

from __future__ import annotations

import copy
import functools
import shlex

import numpy as np
import pytest
import yaml

from genai_cli.config import compose
from genai_cli.config.catalog import config_dir
from genai_cli.config.schema import TrainConfig
from genai_cli.doctor.advice import WORDS, command
from genai_cli.doctor.finding import PHRASES, Finding, below, beyond
from genai_cli.doctor.limits import ACTIVATIONS_OF_LOSS, ADAPTIVE, USUAL_RATE
from genai_cli.doctor.reading import Reading
from genai_cli.doctor.rules import examine
from genai_cli.losses import elementwise
from genai_cli.runner.prepare import prepare


def bare(train: np.ndarray, val: np.ndarray | None = None) -> list[Finding]:
    """What is said of a CSV."""
    val = train + 0.01 if val is None else val
    columns = {"epoch": np.arange(1.0, len(train) + 1), "train/loss": train, "val/loss": val}
    return examine(Reading("history.csv", columns))


def test_the_phrases_are_the_contracts() -> None:
    assert PHRASES == (
        "still learning", "converged", "learning rate too high", "learning rate too low", "jumps",
        "plateau then fall", "overfitting", "validation below training", "diverged",
        "mean collapse", "posterior collapse", "decoder ignores the code", "discriminator won",
        "generator vanishing", "mode collapse", "inverse error", "EMA too young",
        "loss does not fit the activation",
    )  # fmt: skip
    assert tuple(WORDS) == PHRASES


def test_the_pairs_are_those_of_the_losses() -> None:
    wanted: dict[str, set[str]] = {}
    for task in ("reconstruction", "regression", "binary", "multiclass"):
        for name, fits in elementwise.fitting(task, unit_interval=True).items():
            wanted.setdefault(name, set()).update(fits)
    assert {name: set(fits) for name, fits in ACTIVATIONS_OF_LOSS.items()} == wanted


def test_the_usual_rate_is_that_of_our_optimizers() -> None:
    for name in ADAPTIVE:
        text = (config_dir() / "optimizer" / f"{name}.yaml").read_text()
        assert USUAL_RATE <= yaml.safe_load(text)["lr"] <= 2 * USUAL_RATE


@pytest.mark.parametrize("epochs", [5, 20, 200, 2000])
def test_exponential_and_power_law_decay_are_healthy_at_every_length(epochs: int) -> None:
    t = np.arange(epochs) / epochs
    assert [f.phrase for f in bare(np.exp(-12 * t))] == ["converged"]
    assert [f.phrase for f in bare((1 + 9 * t) ** -0.7)] == ["still learning"]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("shift", [0.0, -50.0])
def test_units_and_offset_change_nothing(scale: float, shift: float) -> None:
    t = np.linspace(0, 1, 100)
    noise = 0.002 * np.random.default_rng(0).standard_normal((2, 100))
    train, val = np.exp(-6 * t) + noise[0], np.exp(-6 * t) + 0.4 * t**2 + noise[1]
    (found,) = bare(scale * (train + shift), scale * (val + shift))
    assert found.phrase == "overfitting"
    assert 42 <= found.since <= 52  # 6 exp(−6t) = 0.8 t at t = 0.46: epoch 47


def test_a_loss_that_is_no_number_has_diverged() -> None:
    for bad in (np.nan, np.inf):
        assert bare(np.array([1.0, 0.5, bad, bad]))[0].phrase == "diverged"
    assert bare(np.full(5, np.nan))[0].phrase == "diverged"
    assert bare(np.array([1.0, 0.5, 7.0, 900.0]))[0].phrase == "diverged"


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_very_short_curves_are_answered(n: int) -> None:
    assert bare(np.linspace(1, 0.5, n))[0].phrase == "still learning"


def test_confidence_is_a_half_at_the_limit_and_grows_beyond() -> None:
    assert beyond(1, 1) == below(1, 1) == 0.5
    assert beyond(2, 1) == 0.75
    assert below(0.5, 1) == 0.75
    assert below(0, 1) == 1


HOW = {  # what a run of a phrase may have been started with
    "posterior collapse": ["model=vae", "model.beta=100"],
    "decoder ignores the code": ["model=autoencoder"],
    "discriminator won": ["model=gan"],
    "generator vanishing": ["model=gan", "loss=minimax"],
    "mode collapse": ["model=gan", "bottleneck=1"],
    "inverse error": ["model=flow", "dataset=moons"],
    "EMA too young": ["model=ddpm"],
    "loss does not fit the activation": [
        *("model=autoencoder", "loss=bce", "model.output_activation=linear", "force_loss=true")
    ],
}


@functools.cache
def composed(*words: str) -> TrainConfig:
    return compose.compose_cells("train", compose.parse_line(list(words)))[0].config


ADVISED = [p for p in PHRASES if p not in (*PHRASES[:2], "validation below training")]


@pytest.mark.parametrize(
    ("phrase", "known"),
    [
        *((phrase, False) for phrase in ADVISED),  # by its groups
        *((phrase, True) for phrase in ("overfitting", "mode collapse")),  # by its command
    ],
)
def test_the_next_command_is_one_that_genai_takes(phrase: str, known: bool) -> None:
    from genai_cli.config import schema

    words = HOW.get(phrase, ["model=autoencoder", "model.activation=sigmoid"])
    config = composed(*words)
    told = ["genai", "train", *words] if known else []
    r = Reading(
        "k3f9", {"step": np.array([40.0])}, schema.flatten(schema.to_dict(config)), command=told
    )
    genai, verb, *rest = shlex.split(command(phrase, r))
    assert (genai, verb) == ("genai", "train")
    prepare(copy.deepcopy(composed(*rest)), lambda text: None)


def test_a_warm_up_of_the_objective_is_no_overfitting() -> None:
    """The loss rises because the KL term does; what counts begins behind it."""
    t = np.arange(1, 41)
    loss = np.where(t <= 20, 1.0 + t / 10, 2.0 * np.exp(-(t - 20) / 3.0) + 1)
    columns = {"epoch": t, "step": 10.0 * t, "train/loss": loss - 0.02, "val/loss": loss}
    settings = {"model.name": "vae", "model.kl_warmup": 200}
    (found,) = examine(Reading("k3f9", columns, settings))
    assert found.phrase == "converged"


def test_a_flow_that_does_not_come_back_is_told_so() -> None:
    t = np.arange(1.0, 21)
    columns = {"epoch": t, "step": 10 * t, "train/loss": np.exp(-t), "val/loss": np.exp(-t) + 0.01}
    for error, phrase in ((0.5, "inverse error"), (1e-5, "converged")):
        r = Reading("k3f9", columns, {"model.name": "flow"}, {"inverse_error": error})
        assert [f.phrase for f in examine(r)] == [phrase]


def test_a_run_of_a_few_steps_is_not_told_to_have_collapsed() -> None:
    t = np.arange(1.0, 5)
    losses = {"epoch": t, "train/loss": 2 - t / 1000, "val/loss": 2 - t / 1000}
    numbers = {"own_mse": 1.0, "mean_mse": 1.0, "swapped_mse": 1.0, "code_deviation": 1.0}
    numbers |= {"sample_coverage": 0.0, "sample_spread": 0.0}
    for per_epoch, collapsed in ((3, False), (300, True)):
        r = Reading("k3f9", losses | {"step": per_epoch * t}, {"model.name": "gan"}, numbers)
        assert (examine(r)[0].phrase == "mode collapse") is collapsed


@pytest.mark.parametrize(("seed", "noisy"), [(0, False), (0, True), (1, True), (2, True)])
def test_a_loss_that_never_fell_is_told_without_a_claim(seed: int, noisy: bool) -> None:
    """A dead network and one that was done at once draw the same line."""
    noise = 1e-3 * np.random.default_rng(seed).standard_normal((2, 30)) * noisy
    (found,) = bare(2.3026 + noise[0], 2.3028 + noise[1])
    assert (found.phrase, found.confidence) == ("converged", 0.5)
    assert "nothing was learned, or all of it" in found.evidence


def test_a_classifier_that_says_the_shares_of_the_classes_has_collapsed_to_them() -> None:
    t = np.arange(1.0, 21)
    columns = {"epoch": t, "step": 12 * t, "train/loss": 2.303 + 0 * t, "val/loss": 2.3028 + 0 * t}
    for own, phrase in ((0.0899, "mean collapse"), (0.02, "converged")):
        numbers = {"test/accuracy": 0.1, "own_mse": own, "mean_mse": 0.09}
        (found,) = examine(Reading("k3f9", columns, {"model.name": "mlp"}, numbers))
        assert found.phrase == phrase
    numbers["own_mse"] = 0.09
    columns["val/loss"] = 2.3028 + 3e-4 * np.random.default_rng(0).standard_normal(20)
    (found,) = examine(Reading("k3f9", columns, {"model.name": "mlp"}, numbers))
    assert found.phrase == "mean collapse"  # the noise of a flat curve leads nowhere
    assert "the shares of the classes" in found.evidence


def test_a_blast_of_our_own_is_told_though_the_loss_came_back() -> None:
    """SGD at 2 on digits; a CSV may have a target in large units."""
    t = np.arange(1.0, 16)
    noise = 0.02 * np.random.default_rng(0).standard_normal(15)
    columns = {"epoch": t, "step": 12 * t, "train/loss": np.where(t < 2, 2.7e8, 2.35 + noise),
               "val/loss": np.where(t < 2, 6.5, 2.36 - noise)}  # fmt: skip
    settings = {"model.name": "mlp", "optimizer.name": "sgd", "optimizer.lr": 2.0}
    assert examine(Reading("k3f9", columns, settings))[0].phrase == "learning rate too high"
    assert examine(Reading("history.csv", columns))[0].phrase != "learning rate too high"


@pytest.mark.parametrize("after", [0, 100, 2000])
def test_a_plateau_is_one_however_long_the_run_goes_on(after: int) -> None:
    t = np.arange(40.0 + after)
    (found,) = bare(0.69 / (1 + np.exp(np.minimum(t, 60) - 18)) + 1e-3)
    assert found.phrase == "plateau then fall"
    assert 12 <= found.since <= 18


def test_an_exploded_first_epoch_hides_no_unrest_after_it() -> None:
    """What Keras logs of a rate far too high: 28, then a fall of a half that is nothing but noise;
    as shares of 28 its leaps would be none."""
    leaps = 0.15 * np.random.default_rng(1).standard_normal((2, 20))
    train = np.concatenate([[28.0], 1.0 - 0.01 * np.arange(19) + leaps[0, 1:]])
    val = 1.2 - 0.02 * np.arange(20) + leaps[1]
    assert bare(train, val)[0].phrase == "learning rate too high"


def test_a_loss_that_climbs_before_it_falls_had_too_high_a_rate() -> None:
    t = np.arange(1.0, 21)
    train = np.where(t < 4, 30.0 * t**2, 1 + 10 * np.exp(4 - t))
    columns = {"epoch": t, "step": 40 * t, "train/loss": train, "val/loss": train}
    settings = {"model.name": "ddpm", "optimizer.name": "adam", "optimizer.lr": 0.05}
    assert examine(Reading("k3f9", columns, settings))[0].phrase == "learning rate too high"
    settings["optimizer.lr"] = 1e-3
    assert examine(Reading("k3f9", columns, settings))[0].phrase != "learning rate too high"


@pytest.mark.parametrize("family", ["", "mlp", "autoencoder", "vae", "flow", "gan", "ddpm"])
def test_no_numbers_make_a_rule_fail(family: str) -> None:
    """A finished run must not be lost to them: whatever the columns hold, there is an answer."""
    draws = np.random.default_rng(len(family))
    odd = np.array([0.0, 1.0, -1.0, 1e-300, 1e300, np.nan, np.inf, -np.inf])
    names = ("train/loss", "val/loss", "train/generator/loss", "train/discriminator/d_real",
             "train/discriminator/d_fake")  # fmt: skip
    for _ in range(300):
        n = int(draws.integers(0, 14))
        columns = {"epoch": np.arange(1.0, n + 1), "step": 60.0 * np.arange(1, n + 1)}
        for name in draws.permutation(names)[: draws.integers(0, 6)]:
            known = draws.standard_normal(n) * 10.0 ** draws.integers(-9, 9)
            columns[name] = np.where(draws.random(n) < 0.3, draws.choice(odd, n), known)
        settings = {"model.name": family, "trainer.ema": 0.99, "optimizer.name": "adam"}
        settings |= {"optimizer.lr": draws.choice([1e-6, 1e-3, 1.0]), "loss.name": "minimax"}
        keys = draws.permutation([
            *("own_mse", "mean_mse", "swapped_mse", "code_deviation", "inverse_error", "raw_loss"),
            *("sample_coverage", "sample_spread", "test/r2", "test/kl", "test/active_units"),
        ])[: draws.integers(0, 12)]  # fmt: skip
        numbers = {str(k): float(draws.choice(odd)) for k in keys}
        found = examine(Reading("k3f9", columns, settings if family else {}, numbers))
        assert found
        assert all(f.phrase in PHRASES and 0.5 <= f.confidence <= 1 for f in found)
