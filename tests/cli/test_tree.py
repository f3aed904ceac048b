"""The tree of commands: help, options that all have, lists, the store from the environment."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import click
import pytest
from commands import TREE, run
from hypothesis import given
from hypothesis import strategies as st

from coig_p.cli.main import COMMANDS
from coig_p.cli.options import config_options, split_list
from coig_p.errors import StoreError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.splits import SplitConfig


def test_every_field_of_the_configs_is_an_option() -> None:
    every = [PairConfig, SplitConfig, ShardConfig]
    taken: dict[str, list[type[Any]]] = {"pairs": [PairConfig], "export": every, "plan": every}
    for name, configs in taken.items():
        options = {option.name for option in TREE[name].params} | {"format"}  # which export has another option for
        for config in configs:
            assert {option.name for option in fields(config)} <= options


@pytest.mark.parametrize("words", sorted(TREE))
def test_every_command_says_what_it_does(words: str) -> None:
    command = TREE[words]
    assert command.help is not None
    assert f"coigp {words}".strip() in command.help, "no example"
    assert not command.get_short_help_str(200).endswith("...")
    options = {name for option in command.params for name in option.opts}
    assert {"-v", "-q"} <= options
    if not isinstance(command, click.Group):
        assert ("--json" in options) != ("No --json:" in command.help)
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{words} {option.name} has no help"
            if option.multiple:
                commas = "no commas" in option.help.lower() or "..." in str(option.metavar)
                assert commas, f"{words} {option.name}: repeatable, and without commas"
    if any(isinstance(option, click.Option) and option.name == "out" for option in command.params):
        assert "--overwrite" in options or words == "annotate demo"
    if "--threshold" in options:
        assert (
            next(one for one in command.params if "--threshold" in one.opts).help
            == PairConfig.__dataclass_fields__["threshold"].metadata["help"]
        )
    assert "Usage: coigp" in run(*words.split(), "--help").stdout


def test_the_commands_stand_under_headings() -> None:
    shown = run("-h").stdout
    headings = re.findall(r"^(\w[\w ]*):$", shown, flags=re.MULTILINE)
    assert headings == ["Options", *COMMANDS]
    names = re.findall(r"^  ([a-z]+) +[A-Z]", shown, flags=re.MULTILINE)
    assert names == [name for rows in COMMANDS.values() for name, _, _ in rows]


def test_options_are_made_of_resolved_hints() -> None:
    @dataclass
    class Config:
        name: str | None = field(default=None, metadata={"help": "A name."})
        size: float | None = field(default=None, metadata={"help": "A size."})
        number: int = field(default=3, metadata={"help": "A number."})
        many: tuple[str, ...] | None = field(default=None, metadata={"help": "Names."})
        flag: bool = field(default=False, metadata={"help": "A flag."})
        kind: str = field(default="a", metadata={"help": "A kind.", "choices": ("a", "b")})

    found: list[dict[str, Any]] = []

    @click.command()
    @config_options(Config)
    def command(**options: Any) -> None:
        found.append(options)

    command.main([], standalone_mode=False)
    assert found.pop() == {"name": None, "size": None, "number": 3, "many": None, "flag": False, "kind": "a"}
    words = ["--name", "x", "--size", ".5", "--number", "4", "--many", "a,b", "--many", "c", "--flag", "--kind", "b"]
    command.main(words, standalone_mode=False)
    assert found.pop() == {
        "name": "x", "size": 0.5, "number": 4, "many": ("a", "b", "c"), "flag": True, "kind": "b"
    }  # fmt: skip


@given(
    st.lists(st.text(st.characters(exclude_characters='\r\n"', exclude_categories=["C", "Z"]), min_size=1), min_size=1)
)
def test_lists_take_commas_repetition_and_quotes(names: list[str]) -> None:
    wanted = tuple(dict.fromkeys(names))
    quoted = [f'"{name}"' if "," in name else name for name in names]
    assert split_list([",".join(quoted)]) == wanted
    assert split_list([", ".join(quoted)]) == wanted
    assert split_list(quoted) == wanted
    for broken in (["a,"], [""], ["a", " "]):
        with pytest.raises(click.BadParameter):
            split_list(broken)


def test_lists_of_a_command_take_commas(store: Path, tmp_path: Path) -> None:
    both = run("pairs", store, "--out", "-", "--domain", "math,chat", "--judges", "judge-a,judge-b").stdout
    repeated = ("--domain", "math", "--domain", "chat", "--judges", "judge-a", "--judges", "judge-b")
    assert both == run("pairs", store, "--out", "-", *repeated).stdout
    assert "unknown rule 'b'" in run("clean", store, "--out", tmp_path / "s", "--rule", "mobile,b", code=2).stderr
    source = tmp_path / "rows.csv"
    source.write_text('问题,"a,b",m,s\nx,y,z,3\n', encoding="utf-8")
    mapped = "query=问题,text=a,b,model=m,score=s"
    run("import", source, "--out", tmp_path / "mapped", "--domain", "math", "--map", mapped, "--format", "flat")
    assert json.loads(run("info", tmp_path / "mapped", "--json").stdout)["models"] == {"z": 1}


def test_the_store_may_be_left_out(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shown = run("info", store).stdout
    monkeypatch.setenv("COIGP_STORE", str(store))
    assert run("info").stdout == shown
    assert run("check", "--json", code=1).stdout == run("check", store, "--json", code=1).stdout
    monkeypatch.setenv("COIGP_STORE", str(tmp_path))
    assert run("info", store).stdout == shown, "what is typed counts more"
    assert "no manifest.json" in run("info", code=1).stderr
    # A name alone is a repository's, a directory alone a store whose repository was forgotten.
    assert "no manifest.json" in run("publish", "org/name", "--version", "1.0.0", code=1).stderr
    assert "Missing arguments" in run("publish", store, "--version", "1.0.0", code=2).stderr


@pytest.mark.parametrize("words", [["-v", "{0}", "{1}"], ["{0}", "-v", "{1}"], ["-q", "{0}", "{1}", "-v"]])
def test_verbose_before_or_after(words: list[str], store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []

    def info(_: Path) -> None:
        levels.append(logging.getLogger("coig_p").level)
        raise StoreError("x", "y")

    monkeypatch.setattr("coig_p.stats.info.store_info", info)
    before = logging.getLogger("coig_p").level
    run(*(word.format("info", store) for word in words), code=1)
    assert levels == [logging.INFO]
    assert logging.getLogger("coig_p").level == before, "left as it was"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["inof"], "No such command 'inof'. Did you mean 'info'?"),
        (["export", "STORE", "--for", "trl-dp"], "'nemo-rl'. Did you mean 'trl-dpo'?"),
        (["annotate", "stats"], "No such command 'stats'. Did you mean 'status'?"),
        (["zzzzz"], "No such command 'zzzzz'."),
    ],
)
def test_a_misspelt_word_is_told_what_it_may_have_been(words: list[str], hint: str, store: Path) -> None:
    done = run(*(word.replace("STORE", str(store)) for word in words), code=2)
    assert done.stderr.splitlines()[-1].endswith(hint)
