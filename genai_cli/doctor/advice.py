"""Suggest the next command after a finding, with values near the run's."""

from __future__ import annotations

import shlex

from genai_cli.config.resumable import resume_command
from genai_cli.doctor.finding import Finding
from genai_cli.doctor.reading import Reading

WORDS = {
    "still learning": "train longer",
    "converged": "go on to evaluation",
    "learning rate too high": "divide the learning rate by 10",
    "learning rate too low": "multiply the learning rate by 10",
    "jumps": "clip the gradient, or halve the learning rate",
    "plateau then fall": "another activation or initialisation, or a higher rate at the start",
    "overfitting": "stop at the best epoch; fewer parameters, or more regularisation",
    "validation below training": "nothing is wrong: dropout, noise or augmentation act in training"
    " only; less of them if both losses are high",
    "diverged": "divide the learning rate by 10, and clip the gradient",
    "mean collapse": "a lower rate, less regularisation, another activation",
    "posterior collapse": "a smaller beta, KL warm-up or free bits",
    "decoder ignores the code": "check what the decoder is given; a lower rate",
    "discriminator won": "a gradient penalty, and a slower discriminator",
    "generator vanishing": "the non-saturating loss",
    "mode collapse": "a gradient penalty, a slower generator, a larger code",
    "inverse error": "a lower rate and a clipped gradient; fewer couplings",
    "EMA too young": "a shorter average, or a longer run",
    "loss does not fit the activation": "let the loss choose its activation",
}


def make_finding(
    phrase: str, r: Reading, evidence: str, confidence: float, since: float | None = None
) -> Finding:
    """Return a finding with the command and advice that follow from it."""
    epoch = None if since is None else int(since)
    return Finding(phrase, evidence, round(confidence, 2), epoch, command(phrase, r), WORDS[phrase])


def command(phrase: str, r: Reading) -> str:
    """Return the next command for a genai run, or "" for a CSV of another tool."""
    if not r.family:
        return ""
    if phrase == "still learning":
        epochs = 2 * int(r.setting("epochs", len(r.epochs)))
        return resume_command(r.name, epochs, r.setting("schedule.horizon"))
    if phrase in ("converged", "validation below training"):
        return f"genai evaluate {r.name}"
    return _again(r, _values(phrase, r))


def _values(phrase: str, r: Reading) -> dict[str, object]:
    """The keys to change, with their values."""
    lr = float(r.setting("optimizer.lr", 1e-3))
    epochs = int(r.setting("epochs", 60))
    if phrase == "learning rate too high":
        return {"optimizer.lr": f"{lr / 10:g}"}
    if phrase == "learning rate too low":
        return {"optimizer.lr": f"{lr * 10:g}"}
    if phrase == "diverged":
        return {"optimizer.lr": f"{lr / 10:g}", "trainer.clip": 1}
    if phrase == "jumps":
        return {"trainer.clip": 1, "optimizer.lr": f"{lr / 2:g}"}
    if phrase == "plateau then fall":
        if r.setting("model.activation") in ("sigmoid", "tanh"):
            return {"model.activation": "relu"}
        return {"trainer.init": "he_normal"}
    if phrase == "overfitting":
        values: dict[str, object] = {"trainer.patience": max(5, epochs // 10)}
        if r.setting("model.dropout") is not None:
            values["model.dropout"] = 0.2
        return values
    if phrase == "mean collapse":
        if float(r.setting("optimizer.weight_decay") or 0) > 0.01:
            return {"optimizer.weight_decay": 0}
        if r.setting("model.activation") in ("sigmoid", "tanh"):
            return {"model.activation": "relu"}
        return {"optimizer.lr": f"{lr / 10:g}"}
    if phrase == "posterior collapse":
        beta = float(r.setting("model.beta") or 1)
        if beta > 1:
            return {"model.beta": 1}
        bits = {"model.free_bits": 0.1} if "model.free_bits" in r.config else {}
        return {"model.kl_warmup": 500} | bits
    if phrase == "decoder ignores the code":
        return {"optimizer.lr": f"{lr / 10:g}"}
    if phrase == "discriminator won":
        rate = float(r.setting("model.generator_lr") or lr)
        return {"model.r1": 1, "model.discriminator_lr": f"{rate:g}", "model.generator_lr": "null"}
    if phrase == "generator vanishing":
        return {"loss": "nonsaturating", "model.r1": 1}
    if phrase == "mode collapse":
        values = {"model.r1": 1, "model.generator_lr": "null"}
        if int(r.setting("bottleneck") or 32) < 8 and r.setting("dataset.name") != "gaussians":
            values["bottleneck"] = 32
        return values
    if phrase == "inverse error":
        return {"optimizer.lr": f"{lr / 10:g}", "trainer.clip": 10}
    if phrase == "EMA too young":
        return {"trainer.ema": f"{max(0.5, 1 - 20 / max(1.0, r.steps)):.3g}"}
    assert phrase == "loss does not fit the activation", phrase
    return {"model.output_activation": "auto", "force_loss": "false"}


def _again(r: Reading, values: dict[str, object]) -> str:
    """The command that started the run, with these values; of a sweep's cell by its groups."""
    words = [w for w in r.command if w.partition("=")[0] not in values]
    if not words:
        groups = [g for g in ("dataset", "model", "loss") if f"{g}.name" in r.config]
        words = ["genai", "train", *(f"{g}={r.config[f'{g}.name']}" for g in groups)]
        words = [w for w in words if w.partition("=")[0] not in values]
    return shlex.join([*words, *(f"{k}={v}" for k, v in values.items())])
