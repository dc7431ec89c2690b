"""The frameworks' own training calls, with their epochs as turns of a race. Not a script.

Progress bars, loggers and checkpoints are switched off where a framework lets one: what is timed
is its training alone, its best case.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from entrants import counted
from race import version
from torch import Tensor, nn
from turns import Turns


class Epochs:
    """Something to iterate over more than once."""

    def __init__(self, epoch: Callable[[], Iterable[Tensor]]) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.epoch())


def lightning_fit(
    args: argparse.Namespace,
    turns: Turns,
    net: nn.Module,
    loss: Callable[[nn.Module, Tensor], Tensor],
    epoch: Callable[[], Iterable[Tensor]],
    x: Tensor,
) -> None:
    """``Trainer.fit``; an epoch is a round."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def training_step(self, batch: Tensor) -> Tensor:
            return loss(self.net, batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    class Turn(lightning.Callback):
        def on_train_epoch_start(self, *_: Any) -> None:
            turns.start()

        def on_train_epoch_end(self, *_: Any) -> None:
            turns.stop()

    torch.set_num_threads(args.threads)
    trainer = lightning.Trainer(
        max_epochs=turns.rounds,
        accelerator="gpu" if args.device.startswith("cuda") else "cpu",
        devices=1,
        precision="bf16-mixed" if args.precision == "bf16" else "32-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[Turn()],
    )
    first = x[: args.batch].cpu()
    turns.ready(
        version=version("lightning"),
        parameters=sum(p.numel() for p in net.parameters()),
        images=len(x),
        **counted(net, lambda: loss(net, first), len(first)),
    )
    trainer.fit(Module(), Epochs(epoch))


def pythae_fit(
    args: argparse.Namespace,
    turns: Turns,
    kind: str,
    encoder: nn.Module,
    decoder: nn.Module,
    code: int,
    x: Tensor,
) -> None:
    """``TrainingPipeline`` of pythae with our layers in its models; an epoch is a round.

    Args:
        kind: AE (mean squared error) or VAE (Bernoulli; the encoder gives mean and log-variance).
        encoder: (B, *event) to (B, code), or (B, 2 · code) for a VAE.
        decoder: (B, code) to (B, *event) or (B, D), within [0, 1].
    """
    from pythae import models
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    shape = tuple(x.shape[1:])

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = encoder

        def forward(self, x: Tensor) -> ModelOutput:
            out = self.net(x)
            if kind == "AE":
                return ModelOutput(embedding=out)
            mean, logvar = out.chunk(2, dim=1)
            return ModelOutput(embedding=mean, log_covariance=logvar)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.net = decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z).reshape(len(z), *shape))

    class Turn(TrainingCallback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            turns.start()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            turns.stop()

    torch.set_num_threads(args.threads)
    if kind == "AE":
        encoder = nn.Sequential(nn.Flatten(), encoder)
    options = {} if kind == "AE" else {"reconstruction_loss": "bce"}
    config = getattr(models, f"{kind}Config")(input_dim=shape, latent_dim=code, **options)
    model = getattr(models, kind)(config, encoder=Encoder(), decoder=Decoder())
    first = x[: args.batch].cpu()
    turns.ready(
        version=version("pythae"),
        parameters=sum(p.numel() for p in model.parameters()),
        images=len(x),
        **counted(model, lambda: model({"data": first}).loss, len(first)),
    )
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=turns.rounds,
            learning_rate=1e-3,
            per_device_train_batch_size=args.batch,
            no_cuda=not args.device.startswith("cuda"),
            amp=args.precision == "bf16",
        )
        TrainingPipeline(model=model, training_config=settings)(
            train_data=x.cpu(), callbacks=[Turn()]
        )


def keras_fit(
    args: argparse.Namespace,
    turns: Turns,
    pairs: Sequence[tuple[int, int]],
    activations: Sequence[str],
    x: Any,
    fused: int,
) -> None:
    """``Model.fit`` of Keras on TensorFlow; an epoch is a round.

    Args:
        pairs: (in, out) of each dense layer.
        x: (n, D) array, input and target.
        fused: steps in one execution (Keras's ``steps_per_execution``).
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow

    tensorflow.config.threading.set_intra_op_parallelism_threads(args.threads)
    tensorflow.config.threading.set_inter_op_parallelism_threads(args.threads)
    gpus = tensorflow.config.list_physical_devices("GPU")
    if args.device.startswith("cuda") and not gpus:
        raise RuntimeError("this TensorFlow sees no GPU")
    if not args.device.startswith("cuda"):
        tensorflow.config.set_visible_devices([], "GPU")
    if args.precision == "bf16":
        keras.mixed_precision.set_global_policy("mixed_bfloat16")

    class Turn(keras.callbacks.Callback):
        def on_epoch_begin(self, *_: Any) -> None:
            turns.start()

        def on_epoch_end(self, *_: Any) -> None:
            turns.stop()

    dense = [
        keras.layers.Dense(n, activation=activation)
        for (_, n), activation in zip(pairs, activations, strict=True)
    ]
    model = keras.Sequential([keras.Input((pairs[0][0],)), *dense])
    model.compile(keras.optimizers.Adam(1e-3), loss="mse", steps_per_execution=fused)
    turns.ready(
        version=f"{version('keras')}/{tensorflow.__version__}",
        parameters=model.count_params(),
        images=len(x),
        flops=sum(2 * m * n * (3 if i else 2) for i, (m, n) in enumerate(pairs)),
    )
    model.fit(x, x, batch_size=args.batch, epochs=turns.rounds, verbose=0, callbacks=[Turn()])
