"""What users and stores put into commands and messages: lists of names, numbers, paths, hostile names."""

from __future__ import annotations

import json
import shlex
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from commands import run
from hypothesis import example, given
from hypothesis import strategies as st

from coig_p.cli.main import cli
from coig_p.cli.options import Finite, split_list
from coig_p.cli.screen import json_text
from coig_p.core.text import counted
from coig_p.errors import StoreError, UnknownNameError

HOSTILE = "a\x1b[2J\u202e\x9b\r\nb\u2028\U000e0001"


def test_json_for_terminals_is_harmless_and_the_same() -> None:
    value = {"裁判": [HOSTILE, "\ud800\x7f", '\\ " /']}
    text = json_text(value)
    assert json.loads(text) == value
    assert "裁判" in text
    assert not {unicodedata.category(one) for one in text} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def test_a_store_with_hostile_names_cannot_reach_the_terminal(tmp_path: Path) -> None:
    source, store = tmp_path / "rows.jsonl", tmp_path / "store"
    responses = [
        {"model": f"{HOSTILE}{at}", "text": f"{at}", "scores": [{"judge": HOSTILE, "score": at}]} for at in (1, 9)
    ]
    source.write_text(json.dumps({"query_id": "1", "domain": "math", "query": "几？", "responses": responses}))
    run("import", source, "--out", store)
    for words in (["info", store], ["stats", store], ["check", store]):
        for shown in (run(*words).stdout, run(*words, "--json").stdout):
            assert not {one for one in shown if one != "\n" and not one.isprintable()}
    assert run("pairs", store, "--out", tmp_path / "p.jsonl", "--judges", "x", code=2).stderr.count("\n") == 1


def test_errors_are_harmless_as_text() -> None:
    for error in (
        UnknownNameError("judge", "x", [HOSTILE, "裁判", " sp "]),
        StoreError(f"{HOSTILE}/s", "is not there"),
    ):
        assert str(error).isprintable()
    assert "裁判" in str(UnknownNameError("judge", "x", ["裁判", " sp "]))
    assert "' sp '" in str(UnknownNameError("judge", "x", ["裁判", " sp "]))


@given(st.lists(st.text(min_size=1), min_size=1, unique=True))
def test_any_name_can_be_given(names: list[str]) -> None:
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    assert split_list([" , ".join(quoted)]) == split_list(quoted) == tuple(names)


@given(st.lists(st.text(st.characters(blacklist_characters=',"')).filter(str.strip), min_size=1, unique_by=str.strip))
def test_names_without_quotes_are_trimmed(names: list[str]) -> None:
    assert split_list([",".join(names)]) == tuple(name.strip() for name in names)


@given(st.lists(st.text(st.sampled_from('a", \r\n\0'))))
@example(["judge\r\nx"])
def test_any_other_value_is_names_or_an_error_of_use(values: list[str]) -> None:
    try:
        names = split_list(values)
    except click.BadParameter:
        return
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("value", "names"),
    [('a"b', ('a"b',)), ('"a,b', ('"a,b',)), ('"a"b,c', ('"a"b,c',)), (' " a" , b c ', (" a", "b c")), ("a,a", ("a",))],
)
def test_quotes_that_do_not_fit_belong_to_the_name(value: str, names: tuple[str, ...]) -> None:
    assert split_list([value]) == names


def options(command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from ((f"{name} {path}", option) for path, option in options(below))
    else:
        yield from ((str(option.opts[0]), option) for option in command.params)


def test_no_option_takes_infinity_or_nan() -> None:
    numbers = {path: option for path, option in options(cli) if isinstance(option.type, click.types.FloatParamType)}
    assert {"publish --timeout", "pairs --threshold", "annotate run --max-cost", "export --test-size"} <= set(numbers)
    kinds = {path: option.type for path, option in options(cli)}
    assert not [path for path, kind in kinds.items() if "float" in kind.name and not isinstance(kind, Finite)]
    pairs = {path for path, kind in kinds.items() if isinstance(kind, click.Tuple)}
    assert all(isinstance(part, Finite) for path in pairs for part in kinds[path].types)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["dedup", "--dry-run", "--similarity", "nan"], "--similarity"),
        (["dedup", "--dry-run", "--ngram", "0"], "--ngram"),
        (["dedup", "--dry-run", "--num-perm", "1"], "--num-perm"),
        (["contamination", "--against", "x", "--ngram", "0"], "--ngram"),
        (["contamination", "--against", "x", "--ngram", "13"], "--ngram"),
        (["publish", "o/n", "--timeout", "inf"], "--timeout"),
        (["publish", "o/n", "--timeout", "1e300"], "--timeout"),
        (["pairs", "--out", "p.parquet", "--threshold", "nan"], "--threshold"),
    ],
)
def test_messages_name_the_options_of_the_command(words: list[str], option: str, store: Path) -> None:
    assert f"'{option}'" in run(words[0], store, *words[1:], code=2).stderr


def test_a_command_to_paste_names_the_store_whatever_its_path(tmp_path: Path) -> None:
    source, store = tmp_path / "rows.jsonl", tmp_path / "路 径's" / "库"
    row = {"query_id": "1", "domain": "math", "query": "几？", "responses": [{"model": "a", "text": "</s>"}]}
    source.write_text(json.dumps(row))
    run("import", source, "--out", store)
    last = run("check", store, code=1).stdout.splitlines()[-1]
    assert shlex.split(last.partition("coigp ")[2]) == ["clean", str(store), "--out", "STORE2"]
    last = run("card", store, "--init").stdout.splitlines()[-1]
    assert shlex.split(last.partition(", then: coigp ")[2]) == ["card", str(store)]


def test_counts_agree_with_their_words() -> None:
    assert [counted(n, "query", "queries") for n in (0, 1, 1000)] == ["0 queries", "1 query", "1,000 queries"]


@pytest.mark.parametrize(("shell", "file"), [("bash", ".bashrc"), ("zsh", ".zshrc")])
def test_completion_in_a_home_with_an_apostrophe(
    shell: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "o'brien $x"
    home.mkdir()
    for name in ("XDG_DATA_HOME", "ZDOTDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    run("--install-completion", shell)
    (line,) = (home / file).read_text("utf-8").splitlines()
    said = f"printf '%s' {line.removeprefix('. ')}" if shell == "bash" else f"printf '%s' {line[8 : line.index(');')]}"
    done = subprocess.run(["sh", "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"{home}/")
    assert Path(done.stdout).exists()


def test_a_failed_import_stored_nothing(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text(
        '{"query_id": "1", "domain": "math", "query": "几？", "responses": [{"model": "a", "text": "b"}]}\n{\n'
    )
    found = json.loads(run("import", source, "--out", tmp_path / "s", "--json", code=1).stdout)
    assert all(list(counts) == ["read", "valid", "rejected", "merged"] for counts in found["accounting"].values())
