"""Small files that would fill the memory, end the process or never end: refused in one line."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import yaml

from genai_cli.data import cifar
from genai_cli.errors import UserError
from genai_cli.store import run_folder, safe_yaml, sweep_table

LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
LONG = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"
BOMBS = {
    "laughs": LAUGHS,
    "long text": LONG,
    "itself": "a: &a [*a]\n",
    "brackets": "a: " + "[" * 100_000 + "]" * 100_000,
    "braces": "a: " + "{a: " * 20_000 + "1" + "}" * 20_000,
    "dashes": "a:\n" + "- " * 50_000 + "1\n",
    "questions": "? " * 50_000 + "a\n",
    "steps": "".join(" " * i + "a:\n" for i in range(400)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_yaml_bomb_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(yaml.YAMLError):
        safe_yaml.load(BOMBS[name])
    (tmp_path / run_folder.CONFIG).write_text(BOMBS[name])
    with pytest.raises(UserError, match=r"is not valid YAML: .+"):
        run_folder.read_config(tmp_path)
    (tmp_path / run_folder.SWEEP).write_text(BOMBS[name])
    with pytest.raises(UserError, match=r"is damaged$"):
        sweep_table.read(tmp_path)


def test_what_shares_and_nests_within_reason_is_read() -> None:
    text = "a: &a [1, 2]\nb: [*a, *a]\nc: {<<: {d: 1}}\n"
    assert safe_yaml.load(text) == {"a": [1, 2], "b": [[1, 2], [1, 2]], "c": {"d": 1}}
    deep = "a: " + "[" * 90 + "]" * 90
    assert safe_yaml.load(deep) == yaml.safe_load(deep)
    wide = "a: [" + "[], " * 5000 + "]"
    assert len(safe_yaml.load(wide)["a"]) == 5000


def test_json_of_a_hundred_thousand_brackets_is_damaged(tmp_path: Path) -> None:
    (tmp_path / run_folder.RUN).write_text("[" * 100_000)
    assert run_folder.read_json(tmp_path / run_folder.RUN) == {}
    (tmp_path / run_folder.RUN).write_text('{"a": ' * 100_000)
    assert run_folder.read_json(tmp_path / run_folder.RUN) == {}
    (tmp_path / run_folder.RUN).write_text(f'{{"a": {"9" * 100_000}}}')  # int() of it takes forever
    assert run_folder.read_json(tmp_path / run_folder.RUN) in ({}, {"a": int("9" * 4000)})


def test_a_cell_of_a_megabyte_hides_no_other_run(tmp_path: Path) -> None:
    (tmp_path / run_folder.METRICS).write_text("epoch,step\n1,1\n" + "9" * 1_000_000 + ",2\n")
    assert run_folder.read_metrics(tmp_path) == []


def test_members_of_an_archive_that_are_not_asked_for_are_never_unpacked(tmp_path: Path) -> None:
    """A tar of a hundred members of 127 MB is a few kilobytes; each would be held in memory."""
    place = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(place, "w:gz") as archive:
        for name in ("cifar-10-batches-py/other", "cifar-10-batches-py/data_batch_1"):
            member = tarfile.TarInfo(name)
            member.size = 10
            archive.addfile(member, io.BytesIO(b"0123456789"))
    contents, _ = cifar._open(place)
    assert contents("data_batch_1") == b"0123456789"
    with pytest.raises(UserError, match="other is not in it"):
        contents("other")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"dots"])
def test_no_member_of_an_archive_reaches_out_of_it(kind: bytes, tmp_path: Path) -> None:
    """Nothing is unpacked onto the disk; links and devices are no batches."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"mine")
    place = tmp_path / "set" / "cifar-10-python.tar.gz"
    place.parent.mkdir()
    with tarfile.open(place, "w:gz") as archive:
        for k in range(1, 6):
            name = f"cifar-10-batches-py/data_batch_{k}"
            member = tarfile.TarInfo("../../" + name if kind == b"dots" else name)
            if kind == b"dots":
                member.size = 4
                archive.addfile(member, io.BytesIO(b"evil"))
            else:
                member.type, member.linkname = kind, str(secret)
                archive.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=r"data_batch_1"):
        cifar.cifar10(root=str(place.parent))
    assert sorted(tmp_path.rglob("*")) == before
    assert json.dumps(secret.read_text()) == '"mine"'
