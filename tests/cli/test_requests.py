"""What a verb declares is what it takes, what its help says and what TAB offers."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from genai_cli.cli.arguments import (
    REQUESTS,
    SEVERAL,
    CompareRequest,
    PruneRequest,
    fields_of,
    flags_of,
    keys_of,
    parse_arguments,
)
from genai_cli.cli.command_table import VERBS
from genai_cli.cli.completion.candidates import candidates
from genai_cli.cli.help import verb_help
from genai_cli.config.catalog import ConfigTree, choices
from genai_cli.config.schema import TrainConfig, flatten, iter_keys
from genai_cli.config.signatures import allowed_words, validate
from genai_cli.errors import UserError

READERS = [verb for verb in VERBS if verb in REQUESTS]
WORDS = [
    (verb, key, word)
    for verb in READERS
    for key, field in fields_of(REQUESTS[verb]).items()
    if not field.is_flag
    for word in allowed_words(field.hint)
]


def parse(verb: str, *words: str):
    names = [] if verb == "runs" else ["k3f9"]
    return parse_arguments([*names, *words], verb, REQUESTS[verb]).request


def tab(verb: str, word: str) -> list[str]:
    return [found.rstrip() for found, _ in candidates([verb, "k3f9", word])]


def test_every_verb_that_reads_runs_declares_what_it_takes():
    assert set(VERBS) - set(READERS) == {"train", "plan", "sweep", "lecture", "data", "completion"}
    assert len(WORDS) > 50


@pytest.mark.parametrize("verb", READERS)
def test_help_and_tab_have_every_key_and_flag_with_a_meaning(verb):
    page = verb_help(verb)
    for key, (default, meaning) in keys_of(verb).items():
        assert f"  {key}={default}" in page
        assert default not in ("", "None")
        assert meaning
        if verb != "runs":
            assert f"{key}=" in tab(verb, key[0])
    for flag, meaning in flags_of(verb).items():
        assert f"  {flag} " in page
        assert meaning
        assert flag in tab(verb, "-")


@pytest.mark.parametrize(("verb", "key", "word"), WORDS)
def test_every_listed_word_is_taken_and_offered(verb, key, word):
    value = getattr(parse(verb, f"{key}={word}"), key)
    assert value == {"true": True, "false": False}.get(word, [word] if key == "only" else word)
    assert f"{key}={word}" in tab(verb, f"{key}={word}")


@pytest.mark.parametrize("verb", READERS)
def test_a_default_is_of_its_own_type_and_range(verb):
    for key, field in fields_of(REQUESTS[verb]).items():
        assert validate(field.default, field.hint, key) == field.default or field.default is None
    assert parse(verb) == REQUESTS[verb]()


@pytest.mark.parametrize("verb", READERS)
def test_mistakes_name_key_value_and_what_is_allowed(verb):
    for words, message in (
        (["--josn"], f"unknown flag '--josn'.*see genai {verb} --help"),
        (["outputs="], "outputs= is empty"),
        (["outputs=a", "outputs=b"], "outputs is given twice"),
    ):
        with pytest.raises(UserError, match=message):
            parse(verb, *words)
    names = ["a", "b"] if verb not in SEVERAL else []
    if verb != "runs":
        with pytest.raises(UserError, match=f"name .*: genai {verb} RUN"):
            parse_arguments(names, verb, REQUESTS[verb])
    if verb in ("encode", "replay", "report", "doctor", "reproduce"):
        with pytest.raises(UserError, match="unknown key 'outpts'; did you mean 'outputs'"):
            parse(verb, "outpts=a")


def test_other_keys_are_given_back_or_are_options_of_a_family(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b").mkdir()
    line = ["a=b", "n=20", "--json", "seeds=apart"]
    names, request, others = parse_arguments(line, "compare", CompareRequest, others=True)
    assert (names, others) == (["a=b"], ["n=20"])
    assert request == CompareRequest(seeds="apart", json=True)
    assert parse("sample", "temperature=0.5", "n=3").options == {"temperature": 0.5}
    assert parse("evaluate", "only=speed").only == ["speed"]
    assert parse_arguments(["--yes"], "runs", PruneRequest).request.yes


def test_the_yaml_files_list_the_words_of_the_schema_and_its_defaults():
    keys = ConfigTree().keys(ConfigTree().selected_options({"model": ["mlp"]}))
    groups = (
        ConfigTree().config_file("trainer", "default").keys
        | ConfigTree().config_file("figures", "png").keys
    )
    sheet = ConfigTree().train.keys | groups
    config = flatten(dataclasses.asdict(TrainConfig()))
    assert {key for key, _ in iter_keys()} == {k for k in sheet if "." not in k or k in groups}
    for key, hint in iter_keys():
        assert yaml.safe_load(sheet[key].value) == config[key], key
        words = set(allowed_words(hint)) - {"true", "false"}
        if words and key not in ("trainer.pack", "figures.name"):  # "N" too; a file each
            assert set(choices(keys[key])) == words, key
