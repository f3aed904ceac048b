"""Addresses of object stores where a command takes a path: one error that names them whole, and no folder s3:."""

from __future__ import annotations

import pickle
from pathlib import Path

import click
import pytest
from commands import TREE, run

from coig_p.cli.paths import Here, Place
from coig_p.core.objects import is_object, url_of
from coig_p.errors import UsageError
from coig_p.store.locate import BUNDLED

PATHS = [(words, one) for words, command in TREE.items() for one in command.params if isinstance(one.type, click.Path)]


@pytest.mark.parametrize(("words", "one"), PATHS, ids=[f"{words} {one.name}" for words, one in PATHS])
def test_a_path_of_this_machine_is_no_url(words: str, one: click.Parameter, tmp_path: Path) -> None:
    assert isinstance(one.type, (Here, Place))
    context = click.Context(TREE[words])
    (tmp_path / "a b").write_text("{}")
    assert one.type.convert(f"file://{tmp_path}/a%20b", one, context) == tmp_path / "a b"
    if isinstance(one.type, Place):
        named = one.type.convert("hf://datasets/org/name@v1", one, context)
        assert isinstance(named, Path)
        assert f"{named} {pickle.loads(pickle.dumps(named))} {named / 'x'}".count("hf://datasets/org/name@v1") == 3
        assert is_object(one.type.convert("s3://bucket/a", one, context))
        return
    with pytest.raises(UsageError, match="s3://bucket/a is the address of an object store") as caught:
        one.type.convert("s3://bucket/a", one, context)
    assert str(caught.value).startswith(one.opts[0] if isinstance(one, click.Option) else one.make_metavar(context))


def test_nothing_is_written_to_a_folder_that_is_called_as_a_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said = run("keygen", "s3://bucket/key", "--no-password", code=2).stderr
    assert said.startswith("error: OUT: s3://bucket/key is the address")
    assert list(tmp_path.iterdir()) == []


def test_both_slashes_are_shown() -> None:
    assert url_of(Path("s3://bucket/a")) == "s3://bucket/a"
    assert url_of(Path("hf://datasets/org/name@v1")) == "hf://datasets/org/name@v1"
    assert url_of(Path("file:///srv/a")) == "file:///srv/a"
    assert url_of(Path("/srv/a:/b")) == "/srv/a:/b"


def test_nothing_is_written_to_a_folder_that_is_called_as_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["clean", BUNDLED], ["export", BUNDLED, "--for", "trl-dpo"], ["pairs", BUNDLED]):
        for name in ("hf://datasets/org/new.jsonl", "modelscope://org/new.jsonl"):
            said = run(*words, "--out", name, code=2).stderr
            assert said.startswith(f"error: {name} is the address of a repository")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_may_be_called_as_a_url_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrow takes a relative path that begins so for a URL."""
    monkeypatch.chdir(tmp_path)
    for name in ("s3:a", "run:1"):
        run("clean", BUNDLED, "--out", name)
        run("check", name, "--report", f"{name}/../{name}-report")
        run("pairs", name, "--out", f"{name}.parquet")
        run("import", f"{name}.parquet", "--out", f"{name}-back")
        run("export", name, "--for", "trl-dpo", "--num-proc", "1", "--out", f"{name}-dpo")
