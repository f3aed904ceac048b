"""A store scored: every response once, whatever stops it; and nothing of the store changes before all is there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make import make_old_store, make_rows, make_store, twin
from making import CARD
from rewarding import with_given
from scoring import Fake, rule

from coig_p.core.progress import no_bar
from coig_p.errors import StoreError, UsageError
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.reward.score import ScoreConfig, asked_of, score_store
from coig_p.reward.scorer import Asked, Scored
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.changes import Change
from coig_p.store.manifest import MANIFEST
from coig_p.store.rewards import read_rewards, reward_files
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store, shard_batches

CRM = ScoreConfig("crm", tokens_per_batch=400)
SMALL = {"math": 25, "chat": 7}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(make_store(tmp_path / "store", make_rows(SMALL)))


def rewards_of(store: Store, name: str = "crm") -> list[tuple[Any, ...]]:
    files = reward_files(store.manifest, name, store.data_files(), store.path)
    columns = ("query_id", "model", "sample", "reward", "reason", "truncated")
    return [
        tuple(row[column] for column in columns)
        for file in files
        for row in pq.read_table(store.path / file.path).to_pylist()
    ]


def slowly(store: Store, scorer: Fake) -> list[tuple[Any, ...]]:
    found = []
    for batch in store.batches():
        for row in batch.to_pylist():
            turns = row["messages"] or [{"role": "user", "content": row["query"], "extra": None}]
            plain = tuple({"role": turn["role"], "content": turn["content"]} for turn in turns)
            for one in row["responses"] or ():
                more = row["tools"] or one["extra"] or any(turn["extra"] for turn in turns)
                said = Scored(None, "not-text", None) if more else scorer.score([Asked(plain, one["text"])])[0]
                found.append((row["query_id"], one["model"], one["sample"], said.reward, said.reason, said.truncated))
    return found


def contents(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("truncate", [None, "left"])
def test_every_response_has_the_reward_that_it_has_alone(store: Store, truncate: str | None) -> None:
    scored = score_store(store, Fake(most=60, truncate=truncate), CRM)
    expected = slowly(store, Fake(most=60, truncate=truncate))
    assert rewards_of(scored.store) == expected
    assert scored.store.verify() == []
    told = Store.open(store.path).manifest.rewards["crm"]
    assert told["model"] == "fake"
    assert told["responses"] == len(expected)
    assert told["scored"] == sum(row[3] is not None for row in expected)
    assert told["truncated"] == sum(row[5] for row in expected)
    assert told["without"] == dict(Counter(row[4] for row in expected if row[3] is None))
    assert {name: told[name] for name in ("kind", "dtype", "max_length", "truncate", "template_sha256")} == {
        "kind": "model",
        "dtype": "float32",
        "max_length": 60,
        "truncate": truncate,
        "template_sha256": "1" * 64,
    }
    given = [row[3] for row in expected if row[3] is not None]
    assert (scored.lowest, scored.highest) == (min(given), max(given))
    assert scored.mean == pytest.approx(np.mean(given))


def test_the_data_is_as_it_was_and_nothing_lies_about(store: Store) -> None:
    before = contents(store.path)
    score_store(store, Fake(), CRM)
    after = contents(store.path)
    assert {name: data for name, data in after.items() if not name.startswith("rewards/")} == {
        **before,
        MANIFEST: after[MANIFEST],
    }
    assert [path.name for path in store.path.parent.iterdir()] == ["store"]


def test_what_is_more_than_text_is_not_scored_and_counted(tmp_path: Path) -> None:
    rows = make_rows({"math": 6})
    rows[0]["messages"] = [
        {"role": "system", "content": "简答。", "extra": None},
        {"role": "user", "content": "问题", "extra": None},
    ]
    rows[1]["tools"] = "[]"
    rows[2]["messages"] = [{"role": "user", "content": "问", "extra": '{"name":"a"}'}]
    rows[3]["responses"][0]["extra"] = '{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}'
    rows[4]["responses"] = []
    store = Store.open(make_store(tmp_path / "store", rows))
    scorer = Fake()
    scored = score_store(store, scorer, CRM)
    assert rewards_of(scored.store) == slowly(store, Fake())
    lost = len(rows[1]["responses"]) + len(rows[2]["responses"]) + 1
    assert scored.told["without"] == {"not-text": lost}
    first = next(one for batch in scorer.batches for one in batch if len(one.messages) == 2)
    assert first.messages == ({"role": "system", "content": "简答。"}, {"role": "user", "content": "问题"})


def test_one_text_is_asked_once_in_the_whole_store(tmp_path: Path) -> None:
    rows = make_rows({"math": 12})
    for row in rows:
        row["query"] = "同一个问题"
        for at, one in enumerate(row["responses"]):
            one["text"] = f"回答{at % 2}"
    store = Store.open(make_store(tmp_path / "store", rows, rows_per_shard=4))
    assert len(store.data_files()) == 3
    scorer = Fake()
    scored = score_store(store, scorer, CRM)
    assert [one.response for batch in scorer.batches for one in batch] == ["回答0", "回答1"]
    assert scored.asked == 2
    assert rewards_of(scored.store) == slowly(store, Fake())


def test_batches_hold_about_as_many_tokens(store: Store) -> None:
    scorer = Fake()
    score_store(store, scorer, CRM)
    assert len(scorer.batches) > 3
    for batch in scorer.batches:
        assert len(batch) == 1 or max(map(scorer.length, batch)) * len(batch) <= 400


def test_progress_comes_to_the_number_of_responses(store: Store) -> None:
    done: list[int] = []
    asked: list[tuple[str, int, str]] = []

    def bar(what: str, total: int, unit: str = "bytes") -> Any:
        asked.append((what, total, unit))
        from contextlib import nullcontext

        return nullcontext(done.append)

    score_store(store, Fake(), CRM, bar=bar)
    number = sum(file.responses or 0 for file in store.data_files())
    assert asked == [("Scoring", number, "responses")]
    assert sum(done) == number
    assert len(done) > 3


class Stopped(Exception):
    pass


@pytest.mark.parametrize("batches", [0, 1, 4])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["in its place", "out"])
def test_a_run_that_was_stopped_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, batches: int, elsewhere: bool
) -> None:
    def place(name: str) -> tuple[Store, Path | None]:
        own = Store.open(make_store(tmp_path / name / "store", make_rows(SMALL)))
        return own, own.path.with_name("out") if elsewhere else None

    whole, out = place("whole")
    uncut = Fake(noise=1e-6)
    expected = contents(score_store(whole, uncut, CRM, out=out).store.path)
    store, out = place("cut")
    untouched = contents(store.path)
    asked: list[Asked] = []

    def stop(batch: Sequence[Asked]) -> None:
        if len(first.batches) == batches:
            raise Stopped

    first = Fake(noise=1e-6, before=stop)
    with pytest.raises(Stopped):
        score_store(store, first, CRM, out=out)
    assert contents(store.path) == untouched
    assert out is None or not out.exists()
    journal = next(path for path in store.path.parent.iterdir() if path.name.endswith(".crm.scored.jsonl"))
    assert journal.name == ("out" if elsewhere else "store") + ".crm.scored.jsonl"
    with journal.open("ab") as stream:
        stream.write(b'{"scored": [["00')
    second = Fake(noise=1e-6)
    scored = score_store(store, second, CRM, out=out)
    assert contents(scored.store.path) == expected
    asked = [one for scorer in (first, second) for batch in scorer.batches for one in batch]
    assert sorted(map(repr, asked)) == sorted(repr(one) for batch in uncut.batches for one in batch)
    assert not journal.exists()


ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
KILLED = """
import os, signal, sys
from pathlib import Path
from unittest import mock
from scoring import Fake
from coig_p.reward import score
from coig_p.store.store import Store, shard_batches

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

store, where = Store.open(sys.argv[1]), sys.argv[2]
again = len(sys.argv) > 3
scorer = Fake(noise=1e-6)
scorer.before = lambda _: where == "scoring" and len(scorer.batches) == 3 and die()
config = score.ScoreConfig("crm", tokens_per_batch=400, again=again)
with mock.patch.object(score, "_check_unchanged", die if where == "writing" else lambda _: None):
    if where == "ending":
        real = score.write_manifest
        score.write_manifest = lambda root, manifest: die() if manifest.rewards else real(root, manifest)
    score.score_store(store, scorer, config)
"""


@pytest.mark.parametrize("where", ["scoring", "writing", "ending"])
def test_a_kill_leaves_a_whole_store_and_the_same_command_ends_it(tmp_path: Path, where: str) -> None:
    whole = Store.open(make_store(tmp_path / "whole", make_rows(SMALL)))
    expected = contents(score_store(whole, Fake(noise=1e-6), CRM).store.path)
    store = Store.open(make_store(tmp_path / "cut", make_rows(SMALL)))
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.path), where], check=False, env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL
    left = Store.open(store.path)
    assert left.manifest.rewards == {}
    scorer = Fake(noise=1e-6)
    scored = score_store(left, scorer, CRM)
    assert contents(scored.store.path) == expected
    assert (where == "scoring") == bool(scorer.batches)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


def test_a_kill_while_rewards_are_replaced_loses_none_that_were_given(tmp_path: Path) -> None:
    store = score_store(Store.open(make_store(tmp_path / "store", make_rows(SMALL))), Fake(), CRM).store
    expected = contents(store.path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.path), "ending"], check=False, env=ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL
    scorer = Fake()
    assert contents(score_store(Store.open(store.path), scorer, CRM).store.path) == expected
    assert scorer.batches == []


def test_the_same_scorer_is_asked_for_what_is_new_alone(tmp_path: Path) -> None:
    rows = make_rows({"math": 12})
    old = score_store(Store.open(make_store(tmp_path / "old", rows)), Fake(most=60), CRM).store
    changed = make_rows({"math": 15})
    changed[0]["responses"][0]["text"] = "改过的回答"
    changed[1]["query"] = "改过的问题"
    new = Store.open(make_store(tmp_path / "new", changed))
    for file in old.manifest.files:  # as whoever edits a store by hand might
        if file.role == "rewards":
            (new.path / file.path).parent.mkdir(parents=True, exist_ok=True)
            (new.path / file.path).write_bytes((old.path / file.path).read_bytes())
    fields = json.loads((new.path / MANIFEST).read_text("utf-8"))
    theirs = json.loads((old.path / MANIFEST).read_text("utf-8"))
    fields["files"] += [file for file in theirs["files"] if file["role"] == "rewards"]
    fields["rewards"] = theirs["rewards"]
    (new.path / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")
    scorer = Fake(most=60)
    scored = score_store(Store.open(new.path), scorer, CRM)
    known = {(row["query"], one["text"]) for row in rows for one in row["responses"]}
    asked = [(one.messages[0]["content"], one.response) for batch in scorer.batches for one in batch]
    every = [(row["query"], one["text"]) for row in changed for one in row["responses"]]
    assert sorted(asked) == sorted(pair for pair in every if pair not in known)
    assert scored.asked == len(asked) > len(changed[1]["responses"])
    assert rewards_of(scored.store) == slowly(scored.store, Fake(most=60))
    assert scored.store.verify() == []
    nothing = Fake(most=60)
    assert score_store(scored.store, nothing, CRM).asked == 0
    assert nothing.batches == []


def test_what_a_rewritten_store_lacks_is_scored_by_the_same_command(store: Store, tmp_path: Path) -> None:
    scored = score_store(store, Fake(), CRM).store
    gone = {"math-0003": Change(row="bad"), "math-0004": Change(responses={0: "bad"})}
    left = rewrite_store(
        scored, tmp_path / "left", lambda _, query: gone.get(query), step="tests", record=lambda _: {}
    ).store
    nothing = Fake()
    assert rewards_of(score_store(left, nothing, CRM).store) == slowly(left, Fake())
    assert nothing.batches == []


def test_another_scorer_needs_another_name_or_to_begin_anew(store: Store) -> None:
    scored = score_store(store, Fake(), CRM).store
    with pytest.raises(UsageError, match=r"rewards called crm by another scorer \(another name\): choose another"):
        score_store(scored, Fake("other"), CRM)
    with pytest.raises(UsageError, match=r"\(another max_length and truncate\)"):
        score_store(scored, Fake(most=9, truncate="left"), CRM)
    both = score_store(scored, Fake("other"), ScoreConfig("other")).store
    assert set(both.manifest.rewards) == {"crm", "other"}
    assert both.verify() == []
    anew = score_store(both, Fake("third"), ScoreConfig("crm", again=True))
    assert anew.told["model"] == "third"
    assert set(anew.store.manifest.rewards) == {"crm", "other"}
    assert anew.store.verify() == []


def test_a_copy_has_the_rewards_and_the_store_has_not(store: Store, tmp_path: Path) -> None:
    with_given(store.path, "old", lambda *_: 1.0)
    before = contents(store.path)
    scored = score_store(Store.open(store.path), Fake(), CRM, out=tmp_path / "copy")
    assert contents(store.path) == before
    copy = contents(tmp_path / "copy")
    assert {name: data for name, data in copy.items() if not name.startswith("rewards/crm/")} == {
        **before,
        MANIFEST: copy[MANIFEST],
    }
    assert scored.store.verify() == []
    assert set(scored.store.manifest.rewards) == {"old", "crm"}


def test_a_release_stays_as_it_is_and_becomes_a_store_elsewhere(tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", twin())
    (path / "card.toml").write_text(CARD, encoding="utf-8")
    released = write_release(Store.open(path), tmp_path / "release", ReleaseConfig("1.0.0"))
    with pytest.raises(UsageError, match="is a release, to which nothing is added: write a store of it with --out"):
        score_store(released, Fake(), CRM)
    scored = score_store(released, Fake(), CRM, out=tmp_path / "scored")
    assert scored.store.manifest.release == {}
    assert scored.store.verify() == []
    assert {file.role for file in scored.store.manifest.files} == {"data", "rewards", "readme"}
    assert write_release(scored.store, tmp_path / "next", ReleaseConfig("1.1.0")).verify() == []


@pytest.mark.parametrize("name", ["", "CRM", "../crm", ".crm", "a b", "a/b", "奖励", "crm.", "x" * 65])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be what rewards are kept as: made of a-z"):
        ScoreConfig(name)


def test_a_store_that_changes_meanwhile_is_told_and_nothing_is_lost(store: Store) -> None:
    text = (store.path / MANIFEST).read_text("utf-8")

    def change(_: Sequence[Asked]) -> None:
        (store.path / MANIFEST).write_text(text.replace('"tool": "', '"tool": "another '), encoding="utf-8")

    with pytest.raises(StoreError, match=r"its manifest\.json was changed while it was scored: run the same again"):
        score_store(store, Fake(before=change), CRM)
    assert not (store.path / "rewards" / "crm").exists()
    scorer = Fake()
    assert score_store(Store.open(store.path), scorer, CRM).store.verify() == []
    assert scorer.batches == []


def test_a_run_of_another_scorer_or_store_does_not_go_on(store: Store) -> None:
    def stop(_: Sequence[Asked]) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        score_store(store, Fake(before=stop), CRM)
    with pytest.raises(UsageError, match=r"store\.crm\.scored\.jsonl is of a run with another"):
        score_store(store, Fake("other"), CRM)


def test_what_is_looked_at_again_is_the_same_every_time(store: Store) -> None:
    seen: list[list[tuple[Asked, Scored]]] = []
    for again in (False, True):
        score_store(
            Store.open(store.path),
            Fake(most=60),
            ScoreConfig("crm", again=again),
            check=lambda some: seen.append([*some]),
        )
    assert seen[0] == seen[1]
    assert len(seen[0]) == len({repr(one) for one, _ in seen[0]}) == 20
    assert all(said.reward == rule(one) for one, said in seen[0])


def test_a_check_that_fails_writes_nothing_and_keeps_what_was_said(store: Store) -> None:
    def fail(_: Any) -> None:
        raise Stopped

    before = contents(store.path)
    with pytest.raises(Stopped):
        score_store(store, Fake(), CRM, check=fail)
    assert contents(store.path) == before
    scorer = Fake()
    score_store(store, scorer, CRM, bar=no_bar)
    assert scorer.batches == []


def test_asked_of_follows_the_rows_of_a_slice() -> None:
    batch = pa.RecordBatch.from_pylist(make_rows({"math": 6}), schema=PAIRING_SCHEMA)
    whole = asked_of(batch)
    sizes = [len(row["responses"]) for row in batch.to_pylist()]
    assert asked_of(batch.slice(2, 3)) == whole[sum(sizes[:2]) : sum(sizes[:5])]


def test_shards_without_any_response_have_a_file_without_rows(tmp_path: Path) -> None:
    rows = make_rows({"math": 20})
    for row in rows[:10]:
        row["responses"] = []
    store = Store.open(make_store(tmp_path / "store", rows))
    scored = score_store(store, Fake(), CRM).store
    assert next(file.rows for file in scored.manifest.files if file.role == "rewards") == 0
    assert rewards_of(scored) == slowly(scored, Fake())
    shards = scored.data_files()
    for shard, file in zip(shards, reward_files(scored.manifest, "crm", shards, scored.path), strict=True):
        for batch in shard_batches(scored.path, shard, 100, PAIRING_SCHEMA):
            assert len(read_rewards(scored.path / file.path).of(batch).reward) == file.rows
    assert scored.verify() == []
    gone = {row["query_id"]: Change(row="bad") for row in rows[10:]}
    left = rewrite_store(scored, tmp_path / "left", lambda _, at: gone.get(at), step="tests", record=lambda _: {}).store
    assert left.manifest.rewards["crm"]["responses"] == 0
    none = score_store(left, Fake("other"), ScoreConfig("other"))
    assert (none.lowest, none.mean, none.highest) == (None, None, None)


def test_a_store_of_version_1_is_scored_as_it_is(tmp_path: Path) -> None:
    rows = make_rows(SMALL)
    store = Store.open(make_old_store(tmp_path / "store", rows))
    assert store.manifest.schema_version == 1
    for out in (tmp_path / "copy", None):
        scored = score_store(store, Fake(), CRM, out=out).store
        assert rewards_of(scored) == slowly(scored, Fake())
        assert scored.manifest.schema_version == 1
        assert scored.verify() == []
