"""`genai data`, the YAML files it lists, and downloads without a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from genai_cli.cli.commands import data as verb
from genai_cli.config.signatures import signature_of
from genai_cli.data import download
from genai_cli.data.sources import SOURCES, load, shared_keys
from genai_cli.errors import UserError

CONFIGS = verb.configs()


def _offline(class_name: str, root: Path) -> None:
    (root / class_name).mkdir(parents=True)
    (root / class_name / "half").write_text("")
    raise OSError("no\nnetwork")


def one_line(args: list[str]) -> str:
    with pytest.raises(UserError) as caught:
        verb.main(args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_source_has_its_yaml() -> None:
    assert set(CONFIGS) == set(SOURCES)


def test_yaml_lists_every_key_with_its_default() -> None:
    import importlib

    from genai_cli.data.splits import CommonOptions

    for name in CONFIGS:
        node = verb.read_config(CONFIGS[name])
        assert node.pop("name") == name, name
        module, function = SOURCES[name].function.split(":")
        own, parameters = signature_of(
            getattr(importlib.import_module(f"genai_cli.data.{module}"), function)
        )
        expected = {key: parameters[key].default for key in own}
        expected |= {key: getattr(CommonOptions(), key) for key in shared_keys(SOURCES[name])}
        assert node == expected, name
        first, *rest = CONFIGS[name].read_text(encoding="utf-8").splitlines()
        assert first.startswith("# "), name
        assert all("#" in line for line in rest if not line.startswith("name:")), name


def test_yaml_loads() -> None:
    for name in [n for n, s in SOURCES.items() if s.origin in ("scikit-learn", "drawn")]:
        dataset = load(verb.read_config(CONFIGS[name]))
        assert "×".join(map(str, dataset.spec.event_shape)) == SOURCES[name].shape, name
        assert sum(dataset.n.values()) == int(SOURCES[name].n), name


# ---- list, fetch, check ------------------------------------------------------------------------


def test_list(capsys, tmp_path: Path) -> None:
    assert verb.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines[1:-1]}
    assert set(rows) == set(SOURCES)
    assert rows["digits"].split()[1:6] == ["image", "1×8×8", "1797", "scikit-learn", "yes"]
    assert " no " in rows["mnist"]
    assert str(tmp_path / "data-home") in lines[-1]
    assert not (tmp_path / "data-home").exists()


def test_list_imports_no_torch() -> None:
    code = "import sys; from genai_cli.cli.commands.data import main; main(['list'])\n"
    code += "print({'torch', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "set()"


def test_fetch_and_load_offline_are_one_line(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(download, "_download", _offline)
    line = one_line(["fetch", "fashion_mnist", f"root={tmp_path / 'new' / 'deep'}"])
    assert "no network" in line
    assert "apt-get install dataset-fashion-mnist" in line
    assert not (tmp_path / "new").exists()  # nothing half done is left
    assert "genai data fetch cifar10" in one_line(["fetch", "cifar10"])
    with pytest.raises(UserError, match="genai data fetch mnist"):
        load({"name": "mnist"})


def test_fetch_brings_a_whole_set(monkeypatch, tmp_path: Path, capsys) -> None:
    def fake(class_name: str, root: Path) -> None:
        raw = root / class_name / "raw"
        raw.mkdir(parents=True)
        for stem, n in (("train", 40), ("t10k", 10)):
            images = bytes([0, 0, 8, 3]) + np.array([n, 28, 28], ">u4").tobytes() + bytes(n * 784)
            labels = bytes([0, 0, 8, 1]) + np.array([n], ">u4").tobytes() + bytes(n)
            (raw / f"{stem}-images-idx3-ubyte").write_bytes(images)
            (raw / f"{stem}-labels-idx1-ubyte").write_bytes(labels)

    monkeypatch.setattr(download, "_download", fake)
    assert verb.main(["fetch", "kmnist"]) == 0
    home = tmp_path / "data-home"
    assert str(home / "KMNIST") in capsys.readouterr().out
    assert [file.name for file in home.iterdir()] == ["KMNIST"]
    assert verb.main(["fetch", "kmnist"]) == 0
    assert "already" in capsys.readouterr().out
    assert load({"name": "kmnist"}).n == {"train": 36, "val": 4, "test": 10}
    assert load({"name": "mnist"}).n["test"] == 10  # downloaded by load


def test_fetch_of_what_needs_none(capsys) -> None:
    assert verb.main(["fetch", "digits"]) == 0
    assert "no download" in capsys.readouterr().out


def test_check_a_name(capsys) -> None:
    assert verb.main(["check", "digits"]) == 0
    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    facts = {key: value.strip() for key, value in facts.items()}
    assert facts["train"] == "1293 examples, x from 0 to 1"
    assert facts["constant entries"] == "3 of 64"
    assert facts["class 0"].count("+") == 2
    assert facts["hash"] == load({"name": "digits"}).hash
    assert verb.main(["check", "diabetes", "dataset.scale=none", "split_seed=3"]) == 0
    assert "values 1" in capsys.readouterr().out


@pytest.mark.parametrize("memory_mb", [0, 64])
def test_check_a_folder(capsys, tmp_path: Path, memory_mb: int) -> None:
    rng = np.random.RandomState(0)
    for part, count in (("train", 12), ("test", 4)):
        for k in range(count):
            pixels = rng.randint(256, size=(6, 6, 3)).astype(np.uint8)
            pixels[0, 0] = 9
            folder = tmp_path / part / "ab"[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{k:02d}.png")
    twin = (tmp_path / "train" / "a" / "00.png").read_bytes()
    (tmp_path / "train" / "a" / "twin.png").write_bytes(twin)
    (tmp_path / "test" / "b" / "twin.png").write_bytes(twin)
    (tmp_path / "test" / "b" / "text.png").write_text("no image")
    args = ["check", str(tmp_path), f"memory_mb={memory_mb}", "workers=0", "val_fraction=0"]
    assert verb.main(args) == 0
    out = capsys.readouterr().out
    for words in (
        "13 examples",
        "5 examples",
        "1 of 19 images cannot be read: test/b/text.png (not an image)",
        "1 + 0 + 0 within",
        "3 of 108",
    ):
        assert words in out, out
    rows = {line.rpartition("  ")[0].strip(): line.rpartition("  ")[2] for line in out.splitlines()}
    assert rows["test also in train"] == "1 of 5"
    assert rows["class a"] == "7 + 0 + 2"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["lst"], "did you mean 'list'"),
        (["list", "x"], "takes no words"),
        (["fetch"], "takes one name"),
        (["fetch", "mnits"], "did you mean 'mnist'"),
        (["fetch", "mnist", "dir=x"], "takes the key root"),
        (["check"], "one name or folder"),
        (["check", "digit"], "did you mean 'digits'"),
        (["check", "digits", "wine"], "got 2"),
        (["check", "digits", "limt=3"], "did you mean 'limit'"),
        (["check", "digits", "limit=[1"], "limit"),
    ],
)
def test_mistakes_are_one_line(args: list[str], words: str) -> None:
    assert words in one_line(args)


def test_usage(capsys) -> None:
    assert verb.main([]) == 0
    assert "genai data check NAME|DIR" in capsys.readouterr().out
