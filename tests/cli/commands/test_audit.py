"""`genai audit`: what it counts, writes, prints and refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from genai_cli.audit import measure, say, world
from genai_cli.data.dataset import Batch, Dataset
from genai_cli.evaluation.reference import reference
from genai_cli.models.base import Model

pytestmark = [
    pytest.mark.usefixtures("undrawn"),
    pytest.mark.filterwarnings("ignore::genai_cli.data.sources.DataNote"),
]

QUICK = ("dataset=digits", "dataset.limit=200", "device=cpu", "batch_size=50")
RARE = ("dataset.rare=8", "dataset.rare_share=0.02")
TRAINED = {
    "autoencoder": ("model=autoencoder", "epochs=20", *RARE),
    "pair": ("model=autoencoder", "dataset.pair=inpaint", *RARE, "dataset.balance=true"),
    "gan": ("model=gan",),
    "mlp": ("model=mlp", *RARE),
    "labelled": ("model=ddpm", "model.conditional=true", "model.network=mlp",
                 "model.widths=[16]", "bottleneck=16", "model.timesteps=4"),
    "flow": ("model=flow", "model.steps=1", "model.widths=[8]"),
}  # fmt: skip


class Mirror(Model):
    """Draws the population itself, class 8 at ``share``; gives images back, or 8s as 3s."""

    def __init__(self, data: Dataset, share: float | None = None, turns: bool = False) -> None:
        super().__init__()
        self.data, self.share, self.turns = data, share, turns
        self.level = torch.nn.Parameter(torch.zeros(()))

    def loss(self, batch: Batch, noise: dict, player: str = "model") -> dict[str, Tensor]:
        return {"loss": self.level.expand(len(batch.x))}

    def sample(self, n: int, y: Tensor | None = None, generator: object = None) -> Tensor:
        assert self.data.test.y is not None
        w = torch.ones(len(self.data.test))
        if self.share is not None:
            eights = self.data.test.y == 8
            w = torch.where(eights, self.share / eights.sum(), (1 - self.share) / (~eights).sum())
        draws = torch.Generator().manual_seed(self._calls)
        self._calls += 1
        return self.data.test.batch(w.multinomial(n, True, generator=draws)).x

    _calls = 0

    def reconstruct(self, x: Tensor) -> Tensor:
        if not self.turns:
            return x
        eights = self.data.test.batch((self.data.test.y == 8).nonzero()[:, 0]).x
        three = self.data.test.batch((self.data.test.y == 3).nonzero()[:1, 0]).x
        same = (x[:, None] == eights).flatten(2).all(2).any(1)
        return torch.where(same[:, None, None, None], three, x)


@pytest.fixture(scope="module")
def here() -> world.Population:
    from genai_cli.data.sources import load

    data = load({"name": "digits"})
    reader = world.RejectingClassifier(reference(data), 0.8)
    read = reader(data.test.batch(torch.arange(len(data.test))).x)
    assert data.test.y is not None
    return world.Population(data, data.test.y.numpy(), reader, "", read)


def audited(
    here: world.Population, shares: np.ndarray | None = None, **mirror: object
) -> measure.Audit:
    """A mirror that should draw ``shares``, those of the test split if not given."""
    shares = here.shares if shares is None else shares
    biased = world.TrainingClasses((10_000 * shares).astype(int), shares, None)
    model = Mirror(here.data, **mirror)
    how = {"n": 2000, "seed": 0, "options": {}, "batch_size": 500}
    return measure.audit(model, here.data, here, biased, how, lambda name, n: lambda done: None)


def test_the_population_itself_raises_no_alarm(here: world.Population) -> None:
    found = audited(here)
    assert found.samples is not None
    assert not found.samples.marks.any()
    assert found.outcomes is not None
    assert not found.outcomes.lost().any()
    words = say.verdict(found)
    assert words[0].startswith("no class is drawn more or less often than in training")
    assert words[1] == "no class comes back as itself less often than its originals, beyond chance"


def test_a_class_it_leaves_out_is_marked_and_no_other(here: world.Population) -> None:
    found = audited(here, share=0.02)
    assert found.samples is not None
    assert np.flatnonzero(found.samples.marks == -1).tolist() == [8]
    assert "under-represented in samples, beyond chance: 8 0." in say.verdict(found)[0]


def test_a_rare_class_drawn_as_rarely_is_none(here: world.Population) -> None:
    rare = np.full(10, 0.99 / 9)
    rare[8] = 0.01
    found = audited(here, rare, share=0.01)
    assert found.samples is not None
    assert not found.samples.marks.any()


def test_a_class_that_turns_into_another_is_told(here: world.Population) -> None:
    found = audited(here, turns=True)
    assert found.outcomes is not None
    assert np.flatnonzero(found.outcomes.lost()).tolist() == [8]
    top, share, _ = found.outcomes.into()
    assert (top[8], share.value[8]) == (3, 1.0)
    assert found.focus == 8
    assert any("8 comes back as 8 in 0.0 %" in line for line in say.verdict(found))


def test_of_no_clear_sample_no_share_is_told(here: world.Population) -> None:
    found = audited(here)
    found.samples = measure.summarize_counts(found, np.r_[np.zeros(10, int), 2000])
    assert say.verdict(found)[0].startswith("0 samples of a clear class are too few")
    assert all(row["samples"] is None for row in say.rows(found))
    assert "nan" not in say.table(found)


# ---- the verb


@pytest.fixture(autouse=True)
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test looks at the figure of an audit, which takes most of its time."""
    if request.node.name != "test_it_writes_numbers_table_and_figure":
        monkeypatch.setattr("genai_cli.audit.figure.plot_run", lambda *about, title: None)


class Trained(dict):
    """The folder of each run, trained when it is asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __missing__(self, name: str) -> Path:
        from genai_cli.cli.front_door import main

        epochs = () if name == "autoencoder" else ("epochs=1",)
        words = (*TRAINED[name], *QUICK, *epochs, f"name={name}", f"outputs={self.root}")
        assert main(["train", *words]) == 0
        self[name] = next(self.root.glob(f"*/*-{name}-*"))
        return self[name]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("runs"))


def one(folder: Path) -> dict:
    return json.loads((folder / "audit" / "audit.json").read_text())


def test_it_writes_numbers_table_and_figure(genai: Callable, folders: Trained) -> None:
    folder = folders["autoencoder"]
    ran = genai("audit", str(folder), "n=200")
    assert ran.code == 0
    names = {"audit.json", "audit.csv", "audit.png"}
    assert {p.name for p in (folder / "audit").iterdir()} == names
    assert not list(folder.glob(".*part"))
    found = one(folder)
    assert found["rare"] == {"class": "8", "share": 0.02}
    eight = found["classes"][8]
    assert eight["training"] == pytest.approx(0.02)
    assert eight["population"] == pytest.approx(35 / 360)
    assert eight["samples_low"] <= eight["samples"] <= eight["samples_high"]
    assert eight["error_low"] <= eight["error"] <= eight["error_high"]
    shares = [row["samples"] for row in found["classes"]]
    assert sum(shares) == pytest.approx(1)
    ratios = [row["error_ratio"] for row in found["classes"]]
    assert np.mean(ratios) == pytest.approx(1)
    ruler = found["samples"]["passport"]["ruler"]
    assert ruler["n"] == 200
    assert len(ruler["extractor_hash"]) == 16
    rows = list(csv.DictReader((folder / "audit" / "audit.csv").open()))
    assert [row["class"] for row in rows] == [str(k) for k in range(10)]
    assert float(rows[8]["training"]) == pytest.approx(0.02)
    assert "2.0 %" in ran.out
    assert np.sum(found["samples"]["counts"]) == 200


@pytest.mark.slow
def test_the_same_line_gives_the_same_numbers(genai: Callable, folders: Trained) -> None:
    folder, took = folders["autoencoder"], []
    for words in (("n=100",), ("n=100", "batch_size=64"), ("n=100", "seed=1")):
        assert genai("audit", str(folder), *words).code == 0
        took.append([row["samples"] for row in one(folder)["classes"]])
    assert took[0] == took[1]
    assert took[0] != took[2]


def test_pairs_are_audited_by_their_images(genai: Callable, folders: Trained) -> None:
    assert genai("audit", str(folders["pair"]), "n=64").code == 0
    found = one(folders["pair"])
    assert found["balance"] is True
    assert [row["drawn"] for row in found["classes"]] == pytest.approx([0.1] * 10)
    assert found["classes"][8]["training"] == pytest.approx(0.02)
    assert found["classes"][8]["error"] > 0
    counts = found["fates"]["counts"]
    assert np.sum(counts) == 360


@pytest.mark.parametrize(
    ("name", "part", "reason"),
    [
        ("gan", "reconstruction", "no encoder"),
        pytest.param("flow", "reconstruction", "invertible", marks=pytest.mark.slow),
        ("mlp", "samples", "no sample"),
    ],
)
def test_what_a_family_lacks_has_a_reason(
    genai: Callable, folders: Trained, name: str, part: str, reason: str
) -> None:
    ran = genai("audit", str(folders[name]), "n=64")
    assert ran.code == 0
    assert reason in one(folders[name])["reasons"][part]
    assert f"no {part}: " in ran.out


def test_of_a_classifier_the_classes_it_finds(genai: Callable, folders: Trained) -> None:
    ran = genai("audit", str(folders["mlp"]))
    assert "8 is predicted to be 8 in" in ran.out
    assert "originals" not in ran.out  # which the reader reads, by a ruler of its own
    row = one(folders["mlp"])["classes"][8]
    assert row["error"] is row["kept_real"] is None
    assert 0 <= row["kept_low"] <= row["kept"] <= row["kept_high"] <= 1


@pytest.mark.slow
def test_a_conditional_model_is_asked_for_every_class(genai: Callable, folders: Trained) -> None:
    ran = genai("audit", str(folders["labelled"]), "n=100")
    assert "100 samples without a label" in ran.out
    found = one(folders["labelled"])
    assert np.sum(found["asked"]["counts"], axis=1).tolist() == [10] * 10
    assert all(0 <= row["asked"] <= 1 for row in found["classes"])


def test_several_runs_stand_in_one_table(genai: Callable, folders: Trained) -> None:
    pair = str(folders["autoencoder"]), str(folders["gan"])
    ran = genai("audit", *pair, "n=64", "--json")
    assert [each["model"] for each in json.loads(ran.out)] == ["autoencoder", "gan"]
    assert "8 in 2 runs, 9.7 % of the population" in ran.err
    assert "no reconstructions: a GAN has no encoder" in ran.err


@pytest.mark.slow
def test_for_a_spreadsheet_stdout_is_rows(genai: Callable, folders: Trained) -> None:
    pair = str(folders["autoencoder"]), str(folders["gan"])
    rows = list(csv.DictReader(genai("audit", *pair, "n=64", "--csv").out.splitlines()))
    assert len(rows) == 20
    assert {row["model"] for row in rows} == {"autoencoder", "gan"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("latest", "foo=1"), "unknown key 'foo'"),
        (("latest", "sets=5"), "unknown key 'sets'"),
        (("latest", "n=9"), "n=9 is not allowed"),
        (("latest", "--csv", "--json"), "print one of them"),
        (("latest", "guidance=2"), "unknown key 'guidance'"),
    ],
)
def test_mistakes_are_one_line(
    genai: Callable, folders: Trained, words: tuple[str, ...], said: str
) -> None:
    named = [str(folders["gan"]) if word == "latest" else word for word in words]
    ran = genai("audit", *named)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_data_without_labels_are_refused(genai: Callable, tmp_path: Path) -> None:
    words = ("model=autoencoder", "dataset=swiss_roll", "epochs=1", "dataset.limit=100")
    assert genai("train", *words, "model.widths=[8]", "bottleneck=1").code == 0
    ran = genai("audit", "latest")
    assert ran.code == 2
    assert "swiss_roll has no labels" in ran.err
