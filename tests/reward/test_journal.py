"""What was scored survives a kill, batch by batch, and is of one thing only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.errors import DataError, UsageError
from coig_p.reward.journal import open_journal
from coig_p.reward.scorer import Scored

OF = {"bench": "abc", "scorer": {"name": "m", "sha256": None}}
ONE = {b"1" * 32: Scored(0.1 + 0.2, None, 12), b"2" * 32: Scored(None, "too-long", 5000)}
TWO = {b"3" * 32: Scored(-1e-300, None, None, True)}


def written(path: Path) -> bytes:
    with open_journal(path, OF) as journal:
        assert journal.known == {}
        journal.keep(ONE)
        journal.keep(TWO)
    return path.read_bytes()


def test_what_is_kept_is_known(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.jsonl"
    written(path)
    with open_journal(path, OF) as journal:
        assert journal.known == ONE | TWO
        assert list(journal.known.values()) == [*ONE.values(), *TWO.values()]  # to the last bit
        journal.remove()
    assert not path.exists()


@given(cut=st.integers(0, 10_000))
def test_a_kill_at_any_byte_loses_at_most_what_was_being_written(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("j") / "r.jsonl"
    content = written(path)
    path.write_bytes(content[: cut % (len(content) + 1)])
    lines = content[: cut % (len(content) + 1)].count(b"\n")
    with open_journal(path, OF) as journal:
        assert journal.known == [{}, {}, ONE, ONE | TWO][lines]
        if lines < 3:
            journal.keep(TWO)
    with open_journal(path, OF) as journal:
        assert journal.known == [TWO, TWO, ONE | TWO, ONE | TWO][lines]


def test_it_is_of_one_run(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    written(path)
    for of, words in (
        ({**OF, "bench": "x"}, r"another bench \('abc', now 'x'\): run that again, or delete the file"),
        ({**OF, "scorer": {"name": "m", "sha256": "f"}}, r"another scorer.sha256 \(None, now 'f'\)"),
        ({**OF, "more": 1}, r"another more \(None, now 1\)"),
    ):
        with pytest.raises(UsageError, match=words), open_journal(path, of):
            pass
    path.write_text('{"some": "file"}\n', encoding="utf-8")
    with pytest.raises(UsageError, match="a run with something else"), open_journal(path, OF):
        pass


def test_two_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    with open_journal(path, OF), pytest.raises(UsageError, match="another run is scoring"), open_journal(path, OF):
        pass


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"scored": 1}',
        '{"scored": [["ab", 1.0, null, 1, false]]}',
        json.dumps({"scored": [["31" * 32, None, None, 1, False]]}),
        json.dumps({"scored": [["31" * 32, 1.0, "too-long", 1, False]]}),
        json.dumps({"scored": [["31" * 32, True, None, 1, False]]}),
        json.dumps({"scored": [["31" * 32, 1.0, None, 1]]}),
        json.dumps({"scored": [["zz" * 32, 1.0, None, 1, False]]}),
        '{"scored": [["' + "31" * 32 + '", NaN, null, 1, false]]}',
        '{"scored": [["' + "31" * 32 + '", 1e999, null, 1, false]]}',
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "r.jsonl"
    content = written(path)
    path.write_bytes(content + line.encode() + b"\n")
    with (
        pytest.raises(DataError, match=r"r\.jsonl line 4: .*delete the file to score all anew"),
        open_journal(path, OF),
    ):
        pass


def test_a_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("", encoding="utf-8")
    (tmp_path / "r.jsonl").symlink_to(tmp_path / "theirs")
    with pytest.raises(UsageError, match="is a symbolic link"), open_journal(tmp_path / "r.jsonl", OF):
        pass
