"""What the doctor's collection is made of: command lines, what each should show, and who judges."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """One command line; a run of it for every seed."""

    name: str
    judge: str
    words: tuple[str, ...]
    usual: float = 0.0  # too_high, too_low: a rate that works
    kicks: tuple[float, ...] = ()  # shares of the run after which the weights are thrown off
    kick: float = 1.0
    cut: bool = False  # the decoder's input is set to 0
    without: Mapping[str, object] = field(default_factory=dict)  # plateau: the run that has none
    says: str = ""  # won: the phrase
    seeds: tuple[int, ...] = ()  # only these; all if empty


def case(name: str, judge: str, words: str, **more: object) -> Case:
    return Case(name, judge, tuple(words.split()), **more)


FASHION = "dataset=fashion_mnist dataset.root=/usr/share/datasets/fashion-mnist dataset.limit=1000"
AE, VAE, LATENT = (f"model={name} batch_size=128" for name in ("autoencoder", "vae", "latent_flow"))
MOONS = "dataset=moons dataset.n=1000"
RING = "dataset=gaussians dataset.n=2000"
SGD = "optimizer=sgd"
DDPM = "model=ddpm model.network=mlp batch_size=128"
SIGMOID = "model.activation=sigmoid"
LONG = (1, 4)  # seeds of the runs of 1,000 epochs and more: their lines are long

HEALTHY = [
    case("healthy-ae-5", "healthy", f"{AE} epochs=5"),
    case("healthy-ae-30", "healthy", f"{AE} epochs=30"),
    case("healthy-ae-60", "healthy", f"{AE} bottleneck=4 epochs=60"),
    case("healthy-ae-sgd", "healthy", f"{AE} {SGD} optimizer.lr=0.5 epochs=20"),
    case("healthy-ae-cosine", "healthy", f"{AE} schedule=cosine epochs=25"),
    case("healthy-ae-bce", "healthy", f"{AE} loss=bce epochs=20"),
    case("healthy-ae-fashion", "healthy", f"{AE} {FASHION} epochs=6"),
    case(
        "healthy-ae-long",
        "healthy",
        f"model=autoencoder {MOONS} bottleneck=2 epochs=1000 batch_size=1000 model.widths=[16]",
        seeds=LONG,
    ),
    case("healthy-vae-5", "healthy", f"{VAE} epochs=5"),
    case("healthy-vae-25", "healthy", f"{VAE} epochs=25"),
    case("healthy-vae-bernoulli", "healthy", f"{VAE} loss=bernoulli epochs=15"),
    case("healthy-latent", "healthy", f"{LATENT} epochs=10"),
    case(
        "healthy-flow-moons",
        "healthy",
        f"model=flow {MOONS} model.steps=4 trainer.ema=0.9 epochs=12",
    ),
    case(
        "healthy-flow-affine",
        "healthy",
        f"model=flow {RING} model.steps=4 model.coupling=affine trainer.ema=null epochs=10",
    ),
    case("healthy-ddpm-moons", "healthy", f"{DDPM} {MOONS} trainer.ema=0.95 epochs=30"),
    case("healthy-ddpm-digits", "healthy", f"{DDPM} trainer.ema=0.95 epochs=10"),
    case("healthy-mlp-digits", "healthy", "model=mlp epochs=8"),
    case(
        "healthy-mlp-decay",
        "healthy",
        "model=mlp optimizer=adamw optimizer.weight_decay=0.5 schedule=cosine epochs=20",
    ),
    case(
        "healthy-mlp-wine",
        "healthy",
        "model=mlp dataset=wine model.widths=[16] bottleneck=16 epochs=25",
    ),
    case(
        "healthy-mlp-diabetes",
        "healthy",
        "model=mlp dataset=diabetes model.widths=[16] bottleneck=8 epochs=20",
    ),
    case(
        "healthy-mlp-moons",
        "healthy",
        f"model=mlp {MOONS} model.widths=[32] bottleneck=32 epochs=60",
    ),
    case("healthy-gan-digits", "healthy_pair", "model=gan epochs=40"),
    case("healthy-gan-hinge", "healthy_pair", "model=gan loss=hinge epochs=40"),
    case(
        "healthy-gan-ring",
        "healthy_pair",
        f"model=gan {RING} loss=relativistic bottleneck=2 batch_size=128 epochs=80",
    ),
]
RATES = [
    case("high-ae", "too_high", f"{AE} optimizer.lr=0.1 epochs=20", usual=1e-3),
    case("high-ae-sgd", "too_high", f"{AE} {SGD} optimizer.lr=30 epochs=20", usual=0.5),
    case("high-mlp-mild", "too_high", "model=mlp optimizer.lr=0.05 epochs=15", usual=1e-3),
    case(
        "high-ddpm-mild",
        "too_high",
        f"{DDPM} {MOONS} trainer.ema=null optimizer.lr=0.05 epochs=20",
        usual=1e-3,
    ),
    case("high-vae-mild", "too_high", f"{VAE} optimizer.lr=0.02 epochs=25", usual=1e-3),
    case(
        "high-flow-mild",
        "too_high",
        f"model=flow {RING} model.steps=4 trainer.ema=null optimizer.lr=0.03 epochs=10",
        usual=1e-3,
    ),
    case("high-ae-5", "too_high", f"{AE} optimizer.lr=0.3 epochs=5", usual=1e-3),
    case("high-vae", "too_high", f"{VAE} optimizer.lr=0.05 epochs=20", usual=1e-3),
    case("high-mlp", "too_high", "model=mlp optimizer.lr=0.3 epochs=15", usual=1e-3),
    case("high-mlp-sgd", "too_high", f"model=mlp {SGD} optimizer.lr=2 epochs=15", usual=1e-2),
    case(
        "high-mlp-diabetes",
        "too_high",
        "model=mlp dataset=diabetes optimizer.lr=0.5 epochs=40",
        usual=1e-3,
    ),
    case(
        "high-flow",
        "too_high",
        f"model=flow {MOONS} model.steps=4 trainer.ema=null optimizer.lr=0.1 epochs=12",
        usual=1e-3,
    ),
    case(
        "high-ddpm",
        "too_high",
        f"{DDPM} {MOONS} trainer.ema=0.9 optimizer.lr=0.3 epochs=20",
        usual=1e-3,
    ),
    case("high-latent", "too_high", f"{LATENT} optimizer.lr=0.05 epochs=12", usual=1e-3),
    case("low-ae", "too_low", f"{AE} optimizer.lr=1e-5 epochs=25", usual=1e-3),
    case("low-ae-5", "too_low", f"{AE} optimizer.lr=3e-6 epochs=5", usual=1e-3),
    case("low-ae-sgd", "too_low", f"{AE} {SGD} optimizer.lr=1e-3 epochs=20", usual=0.5),
    case("low-vae", "too_low", f"{VAE} optimizer.lr=1e-5 epochs=20", usual=1e-3),
    case("low-mlp", "too_low", "model=mlp optimizer.lr=1e-5 epochs=20", usual=1e-3),
    case(
        "low-mlp-wine", "too_low", "model=mlp dataset=wine optimizer.lr=1e-5 epochs=100", usual=1e-3
    ),
    case(
        "low-flow",
        "too_low",
        f"model=flow {MOONS} model.steps=4 trainer.ema=null optimizer.lr=3e-6 epochs=12",
        usual=1e-3,
    ),
    case(
        "low-ddpm",
        "too_low",
        f"{DDPM} {MOONS} trainer.ema=0.9 optimizer.lr=1e-5 epochs=20",
        usual=1e-3,
    ),
    case(
        "low-long",
        "too_low",
        f"{AE} dataset.limit=64 optimizer.lr=1e-6 epochs=1500",
        usual=1e-3,
        seeds=LONG,
    ),
]
SHAPES = [
    case("jumps-ae", "jumps", f"{AE} epochs=40", kicks=(0.4, 0.6, 0.8)),
    case("jumps-vae", "jumps", f"{VAE} epochs=30", kicks=(0.5, 0.8)),
    case(
        "jumps-mlp",
        "jumps",
        "model=mlp dataset.limit=600 epochs=40",
        kicks=(0.3, 0.55, 0.75),
        kick=0.8,
    ),
    case(
        "jumps-flow",
        "jumps",
        f"model=flow {MOONS} model.steps=4 trainer.ema=null epochs=25 dataset.noise=0.2",
        kicks=(0.45, 0.7),
        kick=1.0,
    ),
    case(
        "jumps-ddpm",
        "jumps",
        f"{DDPM} {MOONS} trainer.ema=0.9 epochs=40",
        kicks=(0.6, 0.8),
        kick=1.3,
    ),
    case(
        "plateau-mlp-moons",
        "plateau",
        f"model=mlp {MOONS} {SIGMOID} model.widths=[32,32]"
        f" bottleneck=32 {SGD} optimizer.lr=0.1 epochs=60",
        without={"model.activation": "relu"},
    ),
    case(
        "plateau-circles",
        "plateau",
        f"model=mlp dataset=circles dataset.n=1000 {SIGMOID}"
        f" model.widths=[32] bottleneck=32 {SGD} optimizer.lr=0.3 epochs=80",
        without={"model.activation": "relu"},
    ),
    case(
        "plateau-cancer",
        "plateau",
        f"model=mlp dataset=breast_cancer {SIGMOID} bottleneck=32"
        f" model.widths=[32,32] {SGD} optimizer.lr=0.1 epochs=40",
        without={"model.activation": "relu"},
    ),
    case(
        "plateau-adam",
        "plateau",
        f"model=mlp {SIGMOID} model.widths=[64,64,64,64] bottleneck=64 batch_size=128 epochs=60",
        without={"model.activation": "relu"},
    ),
    case("overfit-mlp", "overfitting", "model=mlp dataset.limit=60 epochs=200 optimizer.lr=1e-2"),
    case(
        "overfit-mlp-diabetes",
        "overfitting",
        "model=mlp dataset=diabetes epochs=60 optimizer.lr=3e-3",
    ),
    case(
        "overfit-mlp-cancer",
        "overfitting",
        "model=mlp dataset=breast_cancer epochs=60 optimizer.lr=3e-3",
    ),
    case(
        "overfit-vae",
        "overfitting",
        f"{VAE} dataset.limit=30 model.beta=0.1 epochs=300 optimizer.lr=3e-3",
    ),
    case(
        "overfit-flow",
        "overfitting",
        f"model=flow {MOONS} dataset.limit=60 trainer.ema=null epochs=80",
    ),
    case(
        "overfit-fashion",
        "overfitting",
        "model=mlp dataset=fashion_mnist epochs=60"
        " dataset.root=/usr/share/datasets/fashion-mnist dataset.limit=200 optimizer.lr=3e-3",
    ),
    case(
        "overfit-long",
        "overfitting",
        "model=mlp dataset=diabetes dataset.limit=100 batch_size=100 epochs=2000",
        seeds=LONG,
    ),
    case("below-ae", "below", f"{AE} model.dropout=0.6 epochs=20"),
    case("below-ae-5", "below", f"{AE} model.dropout=0.7 epochs=8"),
    case(
        "below-mlp",
        "below",
        "model=mlp model.dropout=0.6 model.widths=[64] bottleneck=32 epochs=15",
    ),
    case("below-noise", "below", "model=mlp model.input_noise=2 epochs=12"),
    case("below-vae", "below", f"{VAE} model.dropout=0.8 model.widths=[256] epochs=25"),
    case("below-latent", "below", f"{LATENT} model.dropout=0.8 model.widths=[256] epochs=25"),
    case(
        "diverged-ae",
        "diverged",
        f"{AE} {SGD} optimizer.lr=1000 model.output_activation=linear epochs=10",
    ),
    case("diverged-vae", "diverged", f"{VAE} {SGD} optimizer.lr=1 epochs=10"),
    case("diverged-mlp", "diverged", f"model=mlp dataset=diabetes {SGD} optimizer.lr=2 epochs=10"),
    case(
        "diverged-late",
        "diverged",
        f"{AE} epochs=30 {SGD} optimizer.lr=100 model.output_activation=linear schedule.warmup=25",
    ),
]
INSIDE = [
    case("mean-ae", "mean", "model=autoencoder optimizer.weight_decay=0.003 epochs=30"),
    case("mean-ae-tanh", "mean", f"model=autoencoder {SIGMOID} model.widths=[32,32,32] epochs=15"),
    case(
        "mean-ae-sgd",
        "mean",
        f"{AE} {SIGMOID} {SGD} model.widths=[64,64] optimizer.lr=0.2 epochs=15",
    ),
    case("mean-mlp", "mean", "model=mlp dataset=diabetes optimizer.weight_decay=10 epochs=40"),
    case("posterior-vae", "posterior", "model=vae model.beta=200 epochs=20"),
    case("posterior-vae-5", "posterior", f"{VAE} model.beta=1000 loss=bernoulli epochs=5"),
    case("posterior-latent", "posterior", f"{LATENT} model.beta=300 epochs=15"),
    case("ignored-ae", "ignored", f"{AE} epochs=15", cut=True),
    case("ignored-moons", "ignored", f"{AE} {MOONS} bottleneck=2 epochs=15", cut=True),
    case(
        "won-gan",
        "won",
        "model=gan model.r1=0 model.discriminator_lr=3e-3 epochs=25 model.generator_lr=1e-5",
        says="discriminator won",
    ),
    case(
        "won-gan-steps",
        "won",
        "model=gan model.r1=0 model.discriminator_steps=10 epochs=20"
        " optimizer=adam model.generator_lr=1e-5",
        says="discriminator won",
    ),
    case(
        "vanishing-gan",
        "won",
        "model=gan loss=minimax model.r1=0 model.discriminator_lr=3e-3"
        " model.generator_lr=3e-5 epochs=25",
        says="generator vanishing",
    ),
    case(
        "vanishing-gan-ring",
        "won",
        f"model=gan {RING} loss=minimax model.r1=0"
        " dataset.noise=0.01 model.discriminator_steps=5 model.discriminator_lr=3e-3 epochs=25",
        says="generator vanishing",
    ),
    case(
        "modes-ring",
        "few_modes",
        f"model=gan {RING} model.r1=0 optimizer=adam bottleneck=2"
        " model.generator_lr=5e-3 model.discriminator_lr=1e-3 batch_size=128 epochs=40",
    ),
    case(
        "modes-ring-hinge",
        "few_modes",
        f"model=gan {RING} loss=hinge model.r1=0 bottleneck=2"
        " optimizer=adam model.generator_lr=1e-2 batch_size=128 epochs=30",
    ),
    case(
        "modes-ring-1",
        "few_modes",
        f"model=gan {RING} model.r1=0 optimizer=adam bottleneck=1"
        " model.generator_lr=3e-3 batch_size=128 epochs=30",
    ),
    case(
        "modes-gan",
        "few_modes",
        "model=gan model.r1=0 optimizer=adam epochs=40"
        " model.generator_lr=5e-3 model.discriminator_lr=5e-4",
    ),
    case(
        "inverse-flow",
        "inverse",
        f"model=flow {MOONS} model.coupling=affine trainer.clip=null"
        " trainer.ema=null optimizer.lr=0.1 epochs=8",
    ),
    case(
        "inverse-circles",
        "inverse",
        "model=flow dataset=circles dataset.n=1000 epochs=6"
        " model.coupling=affine trainer.clip=null trainer.ema=null optimizer.lr=0.1",
    ),
    case("young-fashion", "young", f"{AE} {FASHION} trainer.ema=0.9999 epochs=2"),
    case("young-latent", "young", f"{LATENT} trainer.ema=0.9999 epochs=2"),
    case("young-ae", "young", f"{AE} trainer.ema=0.9999 epochs=2"),
    case("young-mlp", "young", "model=mlp trainer.ema=0.9999 epochs=2 batch_size=128"),
    case(
        "unfit-ae",
        "unfit",
        f"{AE} loss=bce model.output_activation=linear force_loss=true epochs=10",
    ),
    case(
        "unfit-mlp",
        "unfit",
        "model=mlp loss=cce model.output_activation=linear force_loss=true epochs=10",
    ),
    case(
        "unfit-mlp-mse",
        "unfit",
        "model=mlp loss=mse model.output_activation=softmax force_loss=true epochs=10",
    ),
]
CASES = HEALTHY + RATES + SHAPES + INSIDE
