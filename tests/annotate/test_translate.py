"""Queries in English are turned into Chinese before anything else is made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from annotating import check_accounts, endpoint, rows_of, select, write_run

from coig_p.annotate.asking.ledger import LedgerWriter
from coig_p.annotate.batch_stages import batch_in, batch_out
from coig_p.annotate.config import RunConfig, load_config
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.annotate.stages import STAGES, run_stages
from coig_p.annotate.tasks.queries import collect, decide
from coig_p.annotate.watching import asked_first, planned_of
from coig_p.errors import DataError, UsageError

EGGS = "Janet has 16 eggs and eats 3. How many are left?"
CAKE = "How do I bake a cake?"
CHINESE = {EGGS: "珍妮特有16个蛋，吃掉3个，还剩几个？", CAKE: "怎样烤蛋糕？"}


class Translator:
    """Translates as `CHINESE` has it; the first `bad` answers to each query have no numbers."""

    def __init__(self, bad: int = 0, texts: Mapping[str, str] = CHINESE) -> None:
        self.bad, self.texts = bad, texts
        self.sent: list[list[dict[str, str]]] = []

    def __call__(self, request: Mapping[str, Any]) -> str:
        if request["model"] != "t":
            return scripted_answer(request)
        messages = request["messages"]
        self.sent.append(messages)
        original = next(text for text in self.texts if text in messages[0]["content"])
        return "有些蛋，还剩几个？" if len(messages) // 2 < self.bad and original == EGGS else self.texts[original]


def write(folder: Path, url: str, rows: list[dict[str, Any]], more: str = "", **tables: Any) -> RunConfig:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "english.jsonl").write_text(text, "utf-8")
    (folder / "queries.jsonl").write_text('{"query": "怎样泡茶？", "domain": "chat", "query_id": "q"}\n', "utf-8")
    endpoints = [
        endpoint("m", url),
        endpoint("j", url, generates=False, judges=True),
        endpoint("t", url, generates=False, parameters={"temperature": 0}),
    ]
    source = 'inputs = ["english.jsonl"]\nsource = "gsm8k"\nlicense = "MIT"\ndomain = "math"\ntranslate = true\n'
    return write_run(
        folder,
        endpoints,
        f'[translate]\nendpoint = "t"\n{more}\n[[sources]]\n{source}',
        judging={"judges_per_response": 1},
        **tables,
    )


ROWS = [{"query_id": "eggs", "query": EGGS}, {"query_id": "cake", "query": CAKE}, {"query": "1+1=?", "query_id": "sum"}]


def test_translations_take_the_place_of_their_originals_which_stay_known(tmp_path: Path) -> None:
    translator = Translator()
    with ScriptedServer(translator) as server:
        config = write(tmp_path, server.base_url, ROWS)
        report = run_stages(config)
        assert report.stored is not None
        assert report.queries == {"passed": 4}
        assert [message["role"] for message in translator.sent[0]] == ["user"]
        assert len(translator.sent) == 2, "what has no words is not translated, nor what is Chinese"
        rows = {row["query_id"]: row for row in rows_of(config)}
        assert {name: row["query"] for name, row in rows.items()} == {
            "q": "怎样泡茶？",
            "eggs": CHINESE[EGGS],
            "cake": CHINESE[CAKE],
            "sum": "1+1=?",
        }
        told = {"license": "MIT", "translated_from": EGGS}
        assert json.loads(rows["eggs"]["meta"]) == told
        assert rows["eggs"]["source"] == "gsm8k"
        assert rows["eggs"]["domain"] == "math"
        assert run_stages(config).sent == {}
    assert len(translator.sent) == 2
    check_accounts(config)


def test_a_translation_that_lost_something_is_asked_again_with_what_was_missing(tmp_path: Path) -> None:
    translator = Translator(bad=1)
    with ScriptedServer(translator) as server:
        config = write(tmp_path, server.base_url, ROWS[:1])
        run_stages(config, ("queries",))
    assert [message["role"] for message in translator.sent[1]] == ["user", "assistant", "user"]
    assert "数字和原文不一致（缺少的，以及前面有 + 号的多出来的）：16、3" in translator.sent[1][2]["content"]
    assert select(config, "SELECT ask, state, reason FROM requests ORDER BY ask") == [
        (0, "invalid", "numbers: 16, 3"),
        (1, "answered", None),
    ]
    lines = (config.folder / "queries.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[1])["query"] == CHINESE[EGGS]
    assert json.loads(lines[1])["translated_from"] == EGGS


def test_a_query_that_nobody_can_translate_is_dropped_with_the_reason(tmp_path: Path) -> None:
    translator = Translator(bad=9)
    with ScriptedServer(translator) as server:
        config = write(tmp_path, server.base_url, ROWS[:2], more="asks = 2")
        report = run_stages(config, ("queries",))
    assert report.queries == {"passed": 2, "untranslated": 1}
    dropped = [json.loads(line) for line in (config.folder / "dropped.jsonl").read_text("utf-8").splitlines()]
    assert dropped == [{"reason": "untranslated", "query_id": "eggs", "query": EGGS, "why": "numbers: 16, 3"}]
    assert len(translator.sent) == 3


def test_what_is_not_translated_yet_waits_and_comes_in_later(tmp_path: Path) -> None:
    config = write(tmp_path, "http://127.0.0.1:1/v1", ROWS[:2])
    with LedgerWriter.open(config.folder) as ledger:
        collect(config, ledger)
        assert decide(config, ledger) == {"passed": 1, "not-translated-yet": 2}
    dropped = [json.loads(line) for line in (config.folder / "dropped.jsonl").read_text("utf-8").splitlines()]
    assert dropped[0] == {"reason": "not-translated-yet", "query_id": "eggs", "query": EGGS}
    with ScriptedServer(Translator()) as server:
        config = write(tmp_path, server.base_url, ROWS[:2])
        assert run_stages(config).queries == {"passed": 3}


def test_a_run_of_the_first_queries_translates_no_more_than_it_needs(tmp_path: Path) -> None:
    translator = Translator()
    with ScriptedServer(translator) as server:
        config = write(tmp_path, server.base_url, ROWS[:2])
        with LedgerWriter.open(config.folder) as ledger:
            assert asked_first(config, ledger, STAGES, 2) == {"t": 1}
            assert asked_first(config, ledger, STAGES) == {"t": 2}
            assert asked_first(config, ledger, ("generate",)) == {}
        run_stages(config, limit=2)
        assert len(translator.sent) == 1
        assert run_stages(config).queries == {"passed": 3}


def test_a_run_of_the_first_queries_leaves_the_store_whole_where_queries_came_in_anew(tmp_path: Path) -> None:
    with ScriptedServer(Translator()) as server:
        config = write(tmp_path, server.base_url, ROWS[:2])
        run_stages(config)
        assert len(rows_of(config)) == 3
        rows, more = (tmp_path / "queries.jsonl"), '{"query": "怎样酿酒？", "domain": "chat", "query_id": "z"}\n'
        rows.write_text(rows.read_text("utf-8") + more, "utf-8")
        run_stages(load_config(tmp_path / "run.toml"), limit=1)
        assert len(rows_of(config)) == 3


def test_two_queries_with_one_translation_are_one(tmp_path: Path) -> None:
    texts = {CAKE: "怎样烤蛋糕？", "How to make a cake?": "怎样烤蛋糕？"}
    with ScriptedServer(Translator(texts=texts)) as server:
        config = write(tmp_path, server.base_url, [{"query": text} for text in texts])
        assert run_stages(config, ("queries",)).queries == {"passed": 2, "exact": 1}


def test_translations_go_through_batch_files_too(tmp_path: Path) -> None:
    config = write(tmp_path, "http://127.0.0.1:1/v1", ROWS[:2])
    with LedgerWriter.open(config.folder) as ledger:
        stage, written = batch_out(config, ledger, tmp_path / "out")
        assert stage == "translate"
        (path,) = written
        answers = []
        for line in path.read_text("utf-8").splitlines():
            request = json.loads(line)
            text = next(CHINESE[text] for text in CHINESE if text in request["body"]["messages"][0]["content"])
            body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
            answers.append({"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}})
        (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, answers)), "utf-8")
        assert batch_in(config, ledger, [tmp_path / "in.jsonl"]).counts == {"answered": 2}
        stage, _ = batch_out(config, ledger, tmp_path / "out")
        assert stage == "generate"
        assert {query.query for query in ledger.queries()} == {"怎样泡茶？", *CHINESE.values()}


def test_batch_files_count_in_the_currency_of_the_folder(tmp_path: Path) -> None:
    with LedgerWriter.open(write(tmp_path, "http://h/v1", ROWS, run={"currency": "CNY"}).folder) as ledger:
        ledger.count_in("CNY")
        other = write(tmp_path, "http://h/v1", ROWS, run={"currency": "USD"})
        (tmp_path / "in.jsonl").write_text("{}\n", "utf-8")
        with pytest.raises(UsageError, match=r"its costs are in CNY, and run\.currency is USD"):
            batch_in(other, ledger, [tmp_path / "in.jsonl"])
        with pytest.raises(UsageError, match="its costs are in CNY"):
            batch_out(other, ledger, tmp_path / "out")


def test_a_conversation_in_a_source_that_is_translated_is_named(tmp_path: Path) -> None:
    talk = [{"role": role, "content": "hello"} for role in ("user", "assistant", "user")]
    config = write(tmp_path, "http://127.0.0.1:1/v1", [{"messages": talk}])
    with pytest.raises(DataError, match=r"english.jsonl:1 messages: a conversation is not translated"):
        run_stages(config, ("queries",))


def test_a_budget_needs_a_bound_for_translations(tmp_path: Path) -> None:
    config = write(tmp_path, "http://127.0.0.1:1/v1", ROWS)
    path = config.path
    text = path.read_text("utf-8").replace('name = "t"', 'output_price = 1.0\nname = "t"')
    path.write_text(text.replace("[run]", "[run]\nmax_cost = 1.0"), "utf-8")
    with pytest.raises(UsageError, match="'t': a budget can be kept only where parameters has max_tokens"):
        load_config(path)
    path.write_text(path.read_text("utf-8").replace("[translate]", "[translate]\nparameters = { max_tokens = 9 }"))
    assert load_config(path).translate is not None


def test_what_follows_a_translation_is_planned_before_it_is_there(tmp_path: Path) -> None:
    rows = [{"query_id": "e", "query": EGGS}, {"query_id": "c", "query": CAKE}]
    with ScriptedServer(Translator()) as server:
        config = write(tmp_path, server.base_url, rows)
        with LedgerWriter.open(config.folder) as ledger:
            collect(config, ledger)
            before = planned_of(config, ledger, STAGES)
            assert (before["m"], before["j"]) == (3, 3)
            assert planned_of(config, ledger, STAGES, 2)["m"] == 2
        run_stages(config)
        with LedgerWriter.open(config.folder) as ledger:
            assert planned_of(config, ledger, ("generate",))["m"] == 0, "all of them are through"
            assert len(list(ledger.queries())) == before["m"]
