"""Curves of Keras and Lightning with the lecture's horrors, for tests/doctor/other_tools/.

They are kept apart: no limit of the doctor was set on them. The files are what the tools' own
CSVLoggers write; the name says the tool, the phrase by construction, and the case.

    python benchmarks/doctor_other_tools.py keras tests/doctor/other_tools      (or lightning)
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
from sklearn.datasets import load_diabetes, load_digits, make_moons


def scaled(x: np.ndarray) -> np.ndarray:
    return ((x - x.mean(0)) / np.maximum(x.std(0), 1e-6)).astype("float32")


def split(x: np.ndarray, y: np.ndarray, n: int | None = None) -> tuple[np.ndarray, ...]:
    """(x, y) for training and validation; n of the first."""
    order = np.random.default_rng(0).permutation(len(x))
    cut = int(0.8 * len(x))
    first, second = order[: min(cut, n or cut)], order[cut:]
    return x[first], y[first], x[second], y[second]


def sets() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    images, labels = load_digits(return_X_y=True)
    values, target = load_diabetes(return_X_y=True)
    plane, moon = make_moons(1000, noise=0.05, random_state=0)
    return {
        "digits": ((images / 16).astype("float32"), labels),
        "images": ((images / 16).astype("float32"), (images / 16).astype("float32")),
        "diabetes": (scaled(values), scaled(target[:, None])),
        "moons": (plane.astype("float32"), moon),
    }


CASES = [  # phrase, case, data, widths, activation, last, loss, optimizer, rate, epochs, more
    ("still_learning", "images", "images", [128, 16, 128], "relu", (64, "sigmoid"), "mse",
     "adam", 1e-3, 25, {}),
    ("still_learning", "images-5", "images", [128, 16, 128], "relu", (64, "sigmoid"), "mse",
     "adam", 1e-3, 5, {}),
    ("converged_or_still_learning", "digits", "digits", [32], "relu", (10, "softmax"), "cce",
     "adam", 1e-3, 15, {"l2": 1e-3}),
    ("converged_or_still_learning", "moons", "moons", [32, 32], "relu", (2, "softmax"), "cce",
     "adam", 3e-3, 60, {}),
    ("overfitting", "digits", "digits", [256, 256], "relu", (10, "softmax"), "cce",
     "adam", 1e-2, 150, {"n": 60}),
    ("overfitting", "diabetes", "diabetes", [256, 128], "relu", (1, None), "mse",
     "adam", 3e-3, 60, {}),
    ("learning_rate_too_low", "images", "images", [128, 16, 128], "relu", (64, "sigmoid"), "mse",
     "adam", 1e-5, 20, {}),
    ("learning_rate_too_low", "digits", "digits", [256], "relu", (10, "softmax"), "cce",
     "sgd", 1e-4, 20, {}),
    ("learning_rate_too_high", "digits", "digits", [256], "relu", (10, "softmax"), "cce",
     "adam", 0.3, 20, {}),
    ("diverged", "diabetes", "diabetes", [64], "relu", (1, None), "mse", "sgd", 3.0, 10, {}),
    ("plateau_then_fall", "moons", "moons", [32, 32, 32], "sigmoid", (2, "softmax"), "cce",
     "sgd", 0.1, 80, {}),
    ("validation_below_training", "digits", "digits", [64, 32], "relu", (10, "softmax"), "cce",
     "adam", 1e-3, 20, {"dropout": 0.6}),
]  # fmt: skip


def keras_run(path: Path, case: tuple) -> None:
    import keras

    _, _, data, widths, activation, (out, last), loss, optimizer, rate, epochs, more = case
    keras.utils.set_random_seed(0)
    x, y, xv, yv = split(*sets()[data], more.get("n"))
    layers = []
    for width in widths:
        penalty = keras.regularizers.L2(more["l2"]) if "l2" in more else None
        layers.append(keras.layers.Dense(width, activation, kernel_regularizer=penalty))
        if "dropout" in more:
            layers.append(keras.layers.Dropout(more["dropout"]))
    model = keras.Sequential([*layers, keras.layers.Dense(out, last)])
    chosen = {
        "adam": keras.optimizers.Adam(rate),
        "sgd": keras.optimizers.SGD(rate, momentum=0.9),
    }[optimizer]
    name = {"cce": "sparse_categorical_crossentropy"}.get(loss, loss)
    model.compile(chosen, name)
    log = keras.callbacks.CSVLogger(str(path))
    model.fit(x, y, 64, epochs, verbose=0, validation_data=(xv, yv), callbacks=[log])


def lightning_run(path: Path, case: tuple) -> None:
    import lightning
    import torch
    from lightning.pytorch.loggers import CSVLogger
    from torch import nn

    _, _, data, widths, activation, (out, last), loss, optimizer, rate, epochs, more = case
    lightning.seed_everything(0, verbose=False)
    arrays = [torch.from_numpy(np.asarray(a)) for a in split(*sets()[data], more.get("n"))]
    steps = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            layers: list[nn.Module] = []
            for width in widths:
                layers += [nn.LazyLinear(width), steps[activation]()]
                layers += [nn.Dropout(more["dropout"])] if "dropout" in more else []
            layers += [nn.LazyLinear(out)] + ([nn.Sigmoid()] if last == "sigmoid" else [])
            self.body = nn.Sequential(*layers)
            self.body(arrays[0][:2])
            self.measure = nn.CrossEntropyLoss() if loss == "cce" else nn.MSELoss()

        def training_step(self, batch, _):
            value = self.measure(self.body(batch[0]), batch[1])
            self.log("train_loss", value, on_step=False, on_epoch=True)
            return value

        def validation_step(self, batch, _):
            self.log("val_loss", self.measure(self.body(batch[0]), batch[1]))

        def configure_optimizers(self):
            if optimizer == "adam":
                return torch.optim.Adam(self.parameters(), rate)
            return torch.optim.SGD(self.parameters(), rate, momentum=0.9)

    def batches(x, y, shuffle=False):
        data = torch.utils.data.TensorDataset(x, y)
        return torch.utils.data.DataLoader(data, 64, shuffle=shuffle)

    with tempfile.TemporaryDirectory() as folder:
        logger = CSVLogger(folder)
        trainer = lightning.Trainer(
            max_epochs=epochs, logger=logger, accelerator="cpu", enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(Net(), batches(*arrays[:2], shuffle=True), batches(*arrays[2:]))
        shutil.copyfile(Path(logger.log_dir) / "metrics.csv", path)


def main(tool: str, folder: Path) -> None:
    run = {"keras": keras_run, "lightning": lightning_run}[tool]  # they do not load together
    for case in CASES:
        if tool == "lightning" and "l2" in case[-1]:
            continue
        path = folder / f"{tool}-{case[0]}-{case[1].replace('-', '_')}.csv"
        run(path, case)
        print(path.name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
