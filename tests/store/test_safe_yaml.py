"""A config read key by key is what a YAML library reads."""

from __future__ import annotations

import yaml

from genai_cli.config.catalog import config_dir
from genai_cli.store import safe_yaml

TEXTS = {
    "scalars": "a: 1\nb: 1e-3\nc: 1.5e-3\nd: null\ne: true\nf: 'x y'\ng: ~\nh: on\n",
    "list without indentation": "tags:\n- a\n- b\nseed: 3\n",
    "nested": "model:\n  name: vae\n  widths: [8, 4]\n  more:\n    deep: {a: 1}\nseed: 1\n",
    "empty": "",
    "a comment first": "# words\na: 1\n# more\nb: 2 # behind\n",
    "a word alone": "words\n",
    "a list": "- a: 1\n- b\n",
    "anchors": "a: &x [1]\nb: *x\n",
    "merge": "a: &x {k: 1}\nb:\n  <<: *x\n",
    "quote over lines": "a: 'one\n\n  two'\nb: 2\n",
    "quote with a key in it": 'a: "one\nb: two"\nc: 3\n',
    "list over lines": "a: [1,\n2,\nb: 3]\nc: 4\n",
    "block of text": "a: |\n  b: 1\n  c: 2\nd: 3\n",
    "twice": "a: 1\nb: 2\na: 3\n",
    "odd keys": "1: 2\n'a b': 3\n? c\n: 4\nd: 5\n",
    "colon without a space": "a:1\nb: 2\n",
    "documents": "a: 1\n---\nb: 2\n",
    "a tag": "a: !!str 1\nb: 2\n",
    "a dangerous tag": "a: !!python/object/apply:os.system [touch x]\n",
    "torn": "a: [1\nb: 2\n",
    "windows": "a: 1\r\nb:\r\n  c: 2\r\n",
    "empty values": "a:\nb:\n  c:\nd: ''\n",
}


def read(load, text: str) -> object:
    try:
        return repr(load(text))
    except yaml.YAMLError:
        return "no YAML"


def test_a_text_is_what_the_library_reads() -> None:
    for name in TEXTS:
        for _ in range(2):  # the second time from what was kept
            assert read(safe_yaml.load, TEXTS[name]) == read(yaml.safe_load, TEXTS[name]), name


def test_every_shipped_yaml() -> None:
    for path in config_dir().rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert safe_yaml.load(text) == yaml.safe_load(text)


def test_what_was_read_can_be_changed() -> None:
    first = safe_yaml.load("a: [1]\n")
    first["a"].append(2)
    assert safe_yaml.load("a: [1]\n") == {"a": [1]}


def test_what_is_written_is_read_back_in_its_order() -> None:
    value = {"b": [1, [2, None]], "a": {"z": 1e-4, "ä": "é: #", "n": True}, "empty": {}, "l": []}
    text = safe_yaml.dump(value)
    assert list(yaml.safe_load(text)) == list(value)
    assert yaml.safe_load(text) == value
