"""A store, a trainer's file, a store again: the same pairs, turn for turn, with the tools."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from anyrows import answers, as_messages, text, turns
from hypothesis import given
from hypothesis import strategies as st
from oracle import oracle_pairs
from strategies import examples

from coig_p.export.trainers import TRAINERS
from coig_p.export.write import ExportConfig, export_store
from coig_p.ingest.accounting import ImportFailed
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.pairs.config import PairConfig
from coig_p.store.store import Store

Row = dict[str, Any]
REFERENCES = {
    "trl-grpo",
    "openrlhf-ppo",
    "verl",
}  # prompts with a reference alone: no answer to a query is in them
NO_PAIRS = {*REFERENCES, "trl-sft", "llama-factory-sft", "ms-swift-sft"}  # nor a rejected one in these
TOOLS = {name for name, trainer in TRAINERS.items() if trainer.tools is not None}
LABELS = {name for name, trainer in TRAINERS.items() if trainer.form.label is not None}


def call(rng: Random) -> Row:
    arguments = json.dumps({"city": rng.choice(["杭州", "北京"]), "days": rng.randint(1, 3)}, ensure_ascii=False)
    return {"type": "function", "function": {"name": rng.choice(["weather", "time"]), "arguments": arguments}}


def conversation(rng: Random, at: int, *, with_tools: bool, one_call: bool = False, answers_call: bool = True) -> Row:
    """A nested row: one user's text or turns before the answers, perhaps with calls of tools.

    Args:
        one_call: a turn has one call and no text beside it, as LLaMA-Factory's must.
        answers_call: an answer may be a call, which ms-swift's KTO cannot read.
    """
    said = as_messages(rng, turns(rng, f"第{at}题？"), "openai")
    row: Row = {"query_id": f"q-{at}"}
    responses: list[Row] = [{"text": one} for one in answers(rng, rng.randint(2, 4))]
    if with_tools and rng.random() < 0.6:
        row["tools"] = [{"type": "function", "function": {"name": name}} for name in ("weather", "time")]
        if rng.random() < 0.6:
            calls = [call(rng) for _ in range(1 if one_call else rng.randint(1, 3))]
            beside = "" if one_call else rng.choice(["", "我查一下。"])
            said.append({"role": "assistant", "content": beside, "tool_calls": calls})
            said += [{"role": "tool", "content": text(rng, "晴。")} for _ in calls]
        if answers_call and rng.random() < 0.6:
            beside = "" if one_call else rng.choice(["", "我查一下。"])
            responses[rng.randrange(len(responses))] = {"text": beside, "extra": {"tool_calls": [call(rng)]}}
    for nth, response in enumerate(responses):
        response["model"] = f"m{nth}" if rng.random() < 0.8 else "m"  # several samples of one model
        response["scores"] = [{"judge": "j", "score": (10, 1)[nth] if nth < 2 else rng.choice([1, 3, 5.5, 9])}]
    if len(said) == 1 and "tools" not in row:
        return row | {"query": said[0]["content"], "responses": responses}
    return row | {"messages": said, "responses": responses}


def written(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(store: Store) -> list[Row]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


def calls_of(extra: str | None) -> list[tuple[str, str]]:
    """What is called with what; the form of a trainer may have no place for the ids of calls."""
    given = json.loads(extra)["tool_calls"] if extra else []
    return [(one["function"]["name"], json.dumps(json.loads(one["function"]["arguments"]))) for one in given]


def shown(row: Row) -> str:
    """Everything that comes before the answer."""
    said = [(one["role"], one["content"], calls_of(one["extra"])) for one in row["messages"] or ()]
    return repr((said or row["query"], json.loads(row["tools"]) if row["tools"] else None))


def pairs(rows: list[Row], threshold: float) -> set[tuple[str, str, str]]:
    """Every pair as what comes before, the better answer and the worse one."""
    found = set()
    for row in rows:
        # Texts that are blank are told apart by their calls.
        marked = [
            response | {"text": repr((response["text"], calls_of(response["extra"])))} for response in row["responses"]
        ]
        for one in oracle_pairs([row | {"responses": marked}], threshold=threshold):
            found.add((shown(row), one["chosen"], one["rejected"]))
    return found


def there_and_back(trainer: str, seed: int, number: int, folder: Path, *, with_tools: bool) -> None:
    rng = Random(seed)
    one_call = trainer.startswith("llama-factory")
    answers_call = trainer != "ms-swift-kto"
    made = [
        conversation(rng, at, with_tools=with_tools, one_call=one_call, answers_call=answers_call)
        for at in range(number)
    ]
    store, _ = import_files([written(folder / "x.jsonl", made)], folder / "store", ImportConfig(domain="chat"))
    holds = store.manifest.conversations("chat")
    wanted = pairs(rows_of(store), 2)
    conversational = bool(holds) and TRAINERS[trainer].conversational is not None and not TRAINERS[trainer].by_itself
    export = ExportConfig(trainer, PairConfig(threshold=2), conversational=conversational)
    export_store(store, folder / "out", export)
    files = sorted(path for path in (folder / "out").rglob("*") if path.suffix in (".jsonl", ".parquet"))
    again, report = import_files(files, folder / "again", ImportConfig(domain="chat", default_threshold=1))
    assert not report.reasons
    if trainer not in LABELS:
        assert pairs(rows_of(again), 1 if trainer != "nemo-rl" else 0.0001) == wanted
        return
    # Each answer once, good where it is chosen more often than not.
    labelled = {
        (shown(row), repr((one["text"], calls_of(one["extra"])))): [score["score"] for score in one["scores"]]
        for row in rows_of(again)
        for one in row["responses"]
    }
    wins: Counter[tuple[str, str]] = Counter()
    for before, chosen, rejected in wanted:
        wins[before, chosen] += 1
        wins[before, rejected] -= 1
    assert labelled == {answer: [float(times > 0)] for answer, times in wins.items()}


@pytest.mark.parametrize("trainer", [name for name in TRAINERS if name not in NO_PAIRS])
def test_a_trainers_file_comes_back_to_the_same_pairs(trainer: str, tmp_path_factory: Any) -> None:
    @examples(15)
    @given(seed=st.integers(0, 2**32), number=st.integers(1, 5), with_tools=st.booleans())
    def each(seed: int, number: int, with_tools: bool) -> None:
        folder = tmp_path_factory.mktemp("there")
        there_and_back(trainer, seed, number, folder, with_tools=with_tools and trainer in TOOLS)

    each()


@pytest.mark.parametrize("trainer", sorted(NO_PAIRS - REFERENCES))
def test_rows_to_finetune_on_come_back_as_responses_without_scores(trainer: str, tmp_path: Path) -> None:
    made = [conversation(Random(at), at, with_tools=False) for at in range(5)]
    store, _ = import_files([written(tmp_path / "x.jsonl", made)], tmp_path / "store", ImportConfig(domain="chat"))
    there = export_store(
        store, tmp_path / "out", ExportConfig(trainer, PairConfig(threshold=2), conversational=trainer == "trl-sft")
    )
    again, _ = import_files(sorted((tmp_path / "out").glob("train/*")), tmp_path / "again", ImportConfig(domain="chat"))
    best = {one["text"] for row in rows_of(store) for one in row["responses"]}
    found = [one for row in rows_of(again) for one in row["responses"]]
    assert len(found) == there.splits["train"].rows
    assert all(one["text"] in best and not one["scores"] for one in found)


@pytest.mark.parametrize("trainer", sorted(REFERENCES))
def test_a_file_without_pairs_is_refused(trainer: str, tmp_path: Path) -> None:
    made = [conversation(Random(at), at, with_tools=False) for at in range(5)]
    store, _ = import_files([written(tmp_path / "x.jsonl", made)], tmp_path / "store", ImportConfig(domain="chat"))
    conversational = trainer.startswith("trl-")
    export_store(store, tmp_path / "out", ExportConfig(trainer, PairConfig(threshold=2), conversational=conversational))
    files = sorted((tmp_path / "out").glob("train/*"))
    with pytest.raises(ImportFailed) as failed:
        import_files(files, tmp_path / "again", ImportConfig(domain="chat"))
    assert set(failed.value.report.reasons) == {"no-form"}
