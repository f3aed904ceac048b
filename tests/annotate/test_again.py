"""A judge whose judgement could not be used is asked with what it lacked, and nobody pays twice for what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from annotating import endpoint, rows_of, select, write_run

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, LedgerWriter, Taken
from coig_p.annotate.asking.message import Message
from coig_p.annotate.asking.request import asks, outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import estimate
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.tasks.again import judged_again
from coig_p.annotate.tasks.judge import judge_request, read_judgement

ANSWER = "把茶放进杯子，加热水。"


def body(text: str) -> str:
    return json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


def keep(ledger: LedgerWriter, request: Any, ask: int, text: str) -> None:
    found = request.read(Message(text, "stop", None, None, None))
    key = request.key(ask)
    taken = Taken(found.state, found.reason, found.score, None, None, 0, "stop", body(text))
    ledger.answered(ledger.begin(request.entry(ask, key), 1, 0), key, taken, 0.1, 1)


class Judges:
    """A server whose judge gives no score until it is asked again so many times; what it was sent."""

    def __init__(self, bad: int) -> None:
        self.bad = bad
        self.sent: list[list[dict[str, str]]] = []

    def __call__(self, request: Mapping[str, Any]) -> str:
        text = scripted_answer(request)
        if request["model"] != "j":
            return text
        self.sent.append(request["messages"])
        return "写得不错，各方面都好。" if len(self.sent) <= self.bad else text


def one_run(folder: Path, url: str, **tables: Any) -> RunConfig:
    (folder / "queries.jsonl").write_text('{"query": "怎样泡茶？", "domain": "chat", "query_id": "q"}\n', "utf-8")
    endpoints = [endpoint("m", url), endpoint("j", url, generates=False, judges=True)]
    return write_run(folder, endpoints, judging={"judges_per_response": 1, **tables})


def test_a_judge_is_told_what_was_missing_and_its_second_judgement_counts(tmp_path: Path) -> None:
    judges = Judges(bad=2)
    with ScriptedServer(judges) as server:
        config = one_run(tmp_path, server.base_url)
        report = run_stages(config)
        assert report.stored is not None
        first, second, third = judges.sent
        assert [message["role"] for message in third] == ["user", "assistant", "user", "assistant", "user"]
        assert [first, second] == [third[:1], third[:3]], "the same words at temperature 0 would bring the same answer"
        assert second[1]["content"] == "写得不错，各方面都好。"
        assert second[2]["content"].startswith("上面没有写出总体评分。")
        assert second[2]["content"].endswith("总体评分：[分数]")
        assert [one["judge"] for one in rows_of(config)[0]["responses"][0]["scores"]] == ["j"]
        assert sorted(select(config, "SELECT ask, state FROM requests WHERE kind = 'judge'")) == [
            *[(0, "invalid"), (1, "invalid"), (2, "answered")]
        ]
        before = len(judges.sent)
        assert run_stages(config).sent == {}
        assert len(judges.sent) == before


@pytest.mark.parametrize("old", [1, 2])
def test_a_ledger_in_which_the_same_bytes_were_asked_again_still_counts(tmp_path: Path, old: int) -> None:
    """As version 1.0 asked: every ask with the first one's messages."""
    judges = Judges(bad=0)
    with ScriptedServer(judges) as server:
        config = one_run(tmp_path, server.base_url)
        run_stages(config, ("queries", "generate"))
        with LedgerWriter.open(config.folder) as ledger:
            query = next(ledger.queries())
            text = scripted_answer({"model": "m", "messages": [{"role": "user", "content": query.query}]})
            request = judge_request(config, config.by_name["j"], query, "m", text)
            for ask in range(old):
                keep(ledger, request, ask, "没有评分")
            keep(ledger, request, old, "总体评分：[7]")
            assert outcome(ledger, request).score == 7
        assert run_stages(config).sent == {}
    assert not judges.sent
    assert rows_of(config)[0]["responses"][0]["scores"][0]["score"] == 7


def test_what_is_read_otherwise_now_is_not_asked_anew(tmp_path: Path) -> None:
    """The reason of an invalid judgement may change with the parser; what was sent then had words for the old one."""
    config = one_run(tmp_path, "http://127.0.0.1:1/v1")
    with LedgerWriter.open(config.folder) as ledger:
        from coig_p.annotate.tasks.queries import collect

        collect(config, ledger)
        query = next(ledger.queries(passed=False))
        request = judge_request(config, config.by_name["j"], query, "m", ANSWER)
        keep(ledger, request, 0, "没有评分")
        second = next(asked for ask, asked in asks(ledger, request) if ask == 1)
        keep(ledger, second, 1, "总体评分：[7]")
        with_reason = "UPDATE requests SET reason = 'several' WHERE ask = 0"
        ledger._write.execute(with_reason)
        assert ledger.get(request.key(0)).reason == "several"  # type: ignore[union-attr]
        assert outcome(ledger, request).score == 7


def test_the_first_ask_keeps_its_key_and_the_others_differ_by_what_was_missing(tmp_path: Path) -> None:
    config = one_run(tmp_path, "http://127.0.0.1:1/v1")
    with LedgerWriter.open(config.folder) as ledger:
        from coig_p.annotate.tasks.queries import collect

        collect(config, ledger)
        query = next(ledger.queries(passed=False))
        request = judge_request(config, config.by_name["j"], query, "m", ANSWER)
        assert next(iter(asks(ledger, request))) == (0, request)
        keep(ledger, request, 0, "总体评分：[7] 或 总体评分：[8]")
        told = dict(asks(ledger, request))
        assert "不止一个" in told[1].messages[-1]["content"]
        assert told[1].key(1) != request.key(1)


@pytest.mark.parametrize(
    ("text", "finish", "said", "words"),
    [
        ("都好", "stop", "都好", "没有写出总体评分"),
        ("总体评分：[7-8]", "stop", "总体评分：[7-8]", "不止一个"),
        ("总体评分：[12]", "stop", "总体评分：[12]", "不在 1 到 10 之间"),
        ("总体评分：[7.3]", "stop", "总体评分：[7.3]", "整数或半分"),
        ("总体评分：[8]/20", "stop", "总体评分：[8]/20", "十分制"),
        ("总体评分：[1]0", "stop", "总体评分：[1]0", "单独的数字"),
        ("分析：写到一", "length", "（没有写完）", "没有写完就断了"),
        (" ", "stop", "（没有内容）", "没有写出评审"),
        (None, "stop", "（没有内容）", "没有写出评审"),
        ("<think>想", "stop", "（没有内容）", "只有思考"),
        ("<think>想</think>都好", "stop", "都好", "没有写出总体评分"),
    ],
)
def test_every_reason_has_words(text: str | None, finish: str, said: str, words: str) -> None:
    message = Message(text, finish, "不" if text is None else None, None, None)
    found = read_judgement(message, half_points=True)
    assert found.state == INVALID
    forms = judged_again(({"role": "user", "content": "题"},), message, str(found.reason), half_points=True)
    assert [one["content"] for one in forms[0][:2]] == ["题", said]
    assert words in forms[0][2]["content"]
    assert len({form[2]["content"] for form in forms}) == len(forms)


def test_the_most_that_is_estimated_holds_what_asking_again_may_take(tmp_path: Path) -> None:
    judges = Judges(bad=9)
    with ScriptedServer(judges) as server:
        config = one_run(tmp_path, server.base_url)
        run_stages(config, ("queries", "generate"))
        with LedgerWriter.open(config.folder) as ledger:
            query = next(ledger.queries())
            text = scripted_answer({"model": "m", "messages": [{"role": "user", "content": query.query}]})
            request = judge_request(config, config.by_name["j"], query, "m", text)
            assert {name: one.requests for name, one in estimate(config, ledger).items()} == {"j": 1}
            most = request.most_in_all()
        report = run_stages(config)
        assert report.sent == {"j": 3}
    with LedgerWriter.open(config.folder) as ledger:
        used = next(one for one in ledger.usage() if one.kind == "judge")
        assert used.prompt_tokens <= most.prompt
        assert outcome(ledger, request).state == INVALID != ANSWERED
