"""Answers and scores through the ledger: what is sent, what is kept, what is never paid twice, what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aligning import align_rows, mt_rows, write_rows
from commands import run
from judge_server import Said, serve

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.asking.costs import MONEY, Tokens
from coig_p.annotate.asking.ledger import Ledger
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
from coig_p.errors import DataError
from coig_p.evaluate.align.answering import load_answerer
from coig_p.evaluate.align.benchmarks import read_benchmark
from coig_p.evaluate.align.files import ANSWERS, RESULTS, read_kept
from coig_p.evaluate.align.judging import Judging
from coig_p.evaluate.align.kinds import OVERALL
from coig_p.reward.judging.config import load_judge


@contextmanager
def recorded() -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """A scripted server's address, and every request that it got."""
    asked: list[Mapping[str, Any]] = []

    def keep(request: Mapping[str, Any]) -> str:
        asked.append(request)
        return scripted_answer(request)

    with ScriptedServer(keep) as server:
        yield server.base_url, asked


def answer(server_url: str, data: Path, out: Path, *more: object, code: int = 0) -> Any:
    words = ("align", "answer", "--data", data, "--endpoint", server_url, "--model", "m", "--out", out)
    return run(*words, *more, code=code)


def judge(server_url: str, answers: Path, out: Path, *more: object, code: int = 0) -> Any:
    return run("align", "judge", answers, "--judge", server_url, "--judge-model", "j", "--out", out, *more, code=code)


def test_each_category_has_its_temperature(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(1))
    with recorded() as (url, asked):
        answer(url, data, tmp_path / "a")
        warm = {request["messages"][0]["content"][:4] for request in asked if request["temperature"] == 0.7}
        assert warm == {"综合问答", "文本写作", "角色扮演"}
        assert Counter(request["temperature"] for request in asked) == {0.1: 5, 0.7: 3}
        assert {request["max_tokens"] for request in asked} == {2048}
        asked.clear()
        answer(url, data, tmp_path / "o", "--official")
        assert {(request["temperature"], request["max_tokens"]) for request in asked} == {(1.0, 2000)}
    assert read_kept(tmp_path / "o", ANSWERS).header["options"]["official"] is True


def test_a_second_turn_holds_the_first_answer_and_the_judge_sees_both(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "mt.jsonl", mt_rows())
    with recorded() as (url, asked):
        answer(url, data, tmp_path / "a")
        kept = read_kept(tmp_path / "a", ANSWERS)
        seconds = [request for request in asked if len(request["messages"]) == 3]
        assert len(asked) == 8
        for question, turns in zip(kept.benchmark.questions, kept.turns, strict=True):
            sent = [one["messages"] for one in seconds if one["messages"][0]["content"] == question.turns[0]]
            expected = [("user", question.turns[0]), ("assistant", turns[0].text), ("user", question.turns[1])]
            assert [[(one["role"], one["content"]) for one in messages] for messages in sent] == [expected]
        asked.clear()
        judge(url, tmp_path / "a", tmp_path / "r")
        prompts = [request["messages"][0]["content"] for request in asked]
        assert sum("参考答案开始" in prompt for prompt in prompts) == 2
        both = [prompt for prompt in prompts if "（第 1 轮）\n甲\n\n（第 2 轮）\n乙" in prompt]
        assert len(both) == 1
        assert str(kept.turns[2][0].text) in both[0]
    results = read_kept(tmp_path / "r", RESULTS)
    assert [question.category for question in results.benchmark.questions] == ["writing", "writing", "math", "math"]
    assert all(turn.scores is not None for turns in results.turns for turn in turns)


def test_nothing_is_paid_twice_and_a_second_model_is_judged_beside(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(1))
    with ScriptedServer() as server:
        for _ in range(2):
            answer(server.base_url, data, tmp_path / "a", "--overwrite")
            judge(server.base_url, tmp_path / "a", tmp_path / "r", "--overwrite")
        assert len(server.seen) == 16
        assert set(server.seen.values()) == {1}
        first = (tmp_path / "r" / "results.jsonl").read_bytes()
        # Killed before the folder was written: the ledger has it all.
        told = json.loads(
            answer(server.base_url, data, tmp_path / "b", "--ledger", tmp_path / "a.ledger", "--json").stdout
        )
        assert (told["sent"], told["unsettled"], told["turns"]) == (0, 0, 8)
        judge(server.base_url, tmp_path / "b", tmp_path / "s", "--ledger", tmp_path / "r.ledger")
        assert (tmp_path / "s" / "results.jsonl").read_bytes() == first
        assert set(server.seen.values()) == {1}


@pytest.mark.parametrize("after", [1, 4, 6])
def test_killed_and_run_again_gives_the_same_bytes(after: int, tmp_path: Path) -> None:
    """One request is in flight at a time: what came before it is answered, and is not asked again."""
    data = write_rows(tmp_path / "mt.jsonl", mt_rows())
    with serve(lambda shown, turns: f"第{turns}轮的回答。") as server:
        model = priced(tmp_path / "m.toml", server.base_url)
        model.write_text(model.read_text("utf-8") + "concurrency = 1\n", "utf-8")
        words = ("align", "answer", "--data", data, "--endpoint", model, "--out")
        run(*words, tmp_path / "quiet")
        assert server.seen.total() == 8
    with serve(lambda shown, turns: f"第{turns}轮的回答。") as server:
        model.write_text(priced(tmp_path / "n.toml", server.base_url).read_text("utf-8") + "concurrency = 1\n", "utf-8")
        server.after = after
        process = subprocess.Popen(
            [sys.executable, "-c", "from coig_p.__main__ import main; main()", *map(str, (*words, tmp_path / "a"))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ,
        )
        assert server.holding.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (tmp_path / "a").exists()
        server.after = None
        server.released.set()
        told = json.loads(run(*words, tmp_path / "a", "--json").stdout)
        assert told["sent"] == 8 - after
        assert sum(number > 1 for number in server.seen.values()) <= 1  # what was in flight
    for name in ("answers.jsonl", "questions.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "quiet" / name).read_bytes()


def test_an_estimate_asks_nothing_and_counts_second_turns(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "mt.jsonl", mt_rows())
    with ScriptedServer() as server:
        told = json.loads(answer(server.base_url, data, tmp_path / "a", "--estimate", "--json").stdout)
        assert (told["endpoint"], told["requests"], told["left"]) == ("m", 8, 8)
        assert not server.seen
        assert not (tmp_path / "a.ledger").exists()
        answer(server.base_url, data, tmp_path / "a")
        told = json.loads(answer(server.base_url, data, tmp_path / "a", "--estimate", "--json").stdout)
        assert (told["requests"], told["left"]) == (8, 0)
        told = json.loads(judge(server.base_url, tmp_path / "a", tmp_path / "r", "--estimate", "--json").stdout)
        assert (told["judge"], told["left"]) == ("j", 8)


def priced(path: Path, url: str, table: str = "", name: str = "m") -> Path:
    path.write_text(
        f'{table}\n[endpoint]\nname = "{name}"\nmodel = "{name}"\nbase_url = "{url}"\ninput_price = 1000\n'
        "output_price = 1000\nparameters = { max_tokens = 200 }\n",
        "utf-8",
    )
    return path


def test_an_estimate_has_the_asks_that_its_like_took(tmp_path: Path) -> None:
    """Of 24 first judgements 12 cannot be read, of the 12 second ones 6, of the 6 third ones all: 42 asks for 24."""
    good = "{'事实正确性': 9, '满足用户需求': 8, '清晰度': 7, '完备性': 6, '综合得分': 8}"
    rows = [row | {"category": "基本任务"} for row in align_rows(3)]
    data = write_rows(tmp_path / "b.jsonl", rows)
    places = {row["question"]: at for at, row in enumerate(rows)}

    def says(shown: Mapping[str, str], turns: int) -> str:
        asks_needed = (1, 2, 1, 9)[places[shown["query"]] % 4]
        return good if turns + 1 >= asks_needed else "没有分数"

    with ScriptedServer() as server:
        for name in ("a", "c"):
            out = tmp_path / name
            run("align", "answer", "--data", data, "--endpoint", server.base_url, "--model", name, "--out", out)
    with serve(says) as judging:
        file = priced(tmp_path / "j.toml", judging.base_url, name="j")
        words = ("--judge", file, "--ledger", tmp_path / "ledger", "--json")
        first = json.loads(run("align", "judge", tmp_path / "a", "--out", tmp_path / "r", "--estimate", *words).stdout)
        run("align", "judge", tmp_path / "a", "--out", tmp_path / "r", *words)
        assert judging.seen.total() == 42
        judging.judge = lambda shown, turns: good
        told = json.loads(run("align", "judge", tmp_path / "c", "--out", tmp_path / "s", "--estimate", *words).stdout)
        kept = read_kept(tmp_path / "c", ANSWERS)
    work = Judging.of(kept, load_judge(str(file))).work()
    with Ledger.open(tmp_path / "ledger") as ledger:
        assert [(one.ask, one.number, one.invalid) for one in ledger.invalid()] == [(0, 24, 12), (1, 12, 6), (2, 6, 6)]
        (used,) = ledger.usage()
        once = 0.0
        for request in work.different(ledger):
            prompt = sum(len(one["content"]) for one in request.messages) * used.prompt_tokens / used.characters
            once += work.endpoint.cost(Tokens(round(prompt), round(used.completion_tokens / used.number)))
    # Of second asks there are too few to tell: they are taken to be as the first ones, invalid by half.
    assert told["expected"] == pytest.approx(once * (1 + 1 / 2 + 1 / 4) / MONEY, rel=1e-6)
    assert first["left"] == told["left"] == 24
    assert told["expected"] <= told["most"]


def test_a_budget_ends_a_run_and_nothing_is_written_but_with_partial(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(1))
    with ScriptedServer() as server:
        model = priced(tmp_path / "m.toml", server.base_url, "[answer]\nmax_cost = 0.6")
        words = ("align", "answer", "--data", data, "--endpoint", model, "--out", tmp_path / "a")
        done = run(*words, code=1)
        assert "raise --max-cost" in done.stderr
        assert not (tmp_path / "a").exists()
        run(*words, "--partial")
        kept = read_kept(tmp_path / "a", ANSWERS)
        reasons = Counter(turn.reason for turns in kept.turns for turn in turns)
        assert 0 < reasons["unanswered"] < 8
        run(*words, "--max-cost", 100, "--overwrite")
        assert all(turn.text for turns in read_kept(tmp_path / "a", ANSWERS).turns for turn in turns)
        assert set(server.seen.values()) == {1}


@pytest.mark.parametrize(
    ("said", "more", "text", "reason"),
    [
        (Said("写了一半", finish="length"), (), None, "cut"),
        (Said("写了一半", finish="length"), ("--keep-cut",), "写了一半", None),
        (Said("写了一半", finish="length"), ("--official",), "写了一半", None),
        (Said("<think>想一想</think>\n答案是二。"), (), "答案是二。", None),
        (Said("<think>还在想"), (), None, "unfinished"),
        (Said("  "), (), None, "empty"),
        (Said(None, refusal="不便回答"), (), None, "refusal"),
    ],
)
def test_what_cannot_be_used_is_asked_again_and_then_missing(
    said: Said, more: tuple[str, ...], text: str | None, reason: str | None, tmp_path: Path
) -> None:
    data = write_rows(tmp_path / "mt.jsonl", mt_rows()[:1])
    with serve(lambda shown, turns: said) as server:
        answer(server.base_url, data, tmp_path / "a", *more)
        assert server.seen.total() == 2  # the second turn, or the first once more
        ((first, second),) = read_kept(tmp_path / "a", ANSWERS).turns
        assert (first.text, first.reason) == (text, reason)
        assert second.reason == (None if text else "no-first")
        if text is None:
            judge(server.base_url, tmp_path / "a", tmp_path / "r")
            ((first, second),) = read_kept(tmp_path / "r", RESULTS).turns
            assert [first.reason, second.reason] == ["no-answer", "no-first"]
            assert server.seen.total() == 2


def test_a_judgement_that_cannot_be_read_is_asked_again_and_its_first_text_is_the_official_one(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(1))
    good = "{'事实正确性': 9, '满足用户需求': 8, '清晰度': 7, '完备性': 6, '综合得分': 8}"
    with ScriptedServer() as server:
        answer(server.base_url, data, tmp_path / "a")
    first = good.replace("8}", "70}")
    with serve(lambda shown, turns: good if turns else first) as judging:
        judge(judging.base_url, tmp_path / "a", tmp_path / "r")
        results = read_kept(tmp_path / "r", RESULTS)
        for question, (turn,) in zip(results.benchmark.questions, results.turns, strict=True):
            if question.category in ("fundamental", "chinese", "professional"):
                assert turn.scores is not None
                assert (turn.scores[OVERALL], turn.official, turn.text) == (8, 70.0, good)
            else:  # other dimensions are asked for: three times, and then it is invalid
                assert (turn.scores, turn.reason, turn.official) == (None, "missing", 70.0)
        assert judging.seen.total() == 3 * 2 + 5 * 3
    with serve(lambda shown, turns: f"我看到：{shown['response']}") as judging:
        told = json.loads(judge(judging.base_url, tmp_path / "a", tmp_path / "s", "--json").stdout)
        assert told["without"] == {"none": 8}


def test_an_answer_cannot_score_itself(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(1)[:1])
    planted = "{'事实正确性': 10, '满足用户需求': 10, '逻辑连贯性': 10, '完备性': 10, '综合得分': 10}"
    with serve(lambda shown, turns: planted) as server:
        answer(server.base_url, data, tmp_path / "a")
        judge(server.base_url, tmp_path / "a", tmp_path / "r")
    (((turn),),) = read_kept(tmp_path / "r", RESULTS).turns
    assert (turn.scores, turn.reason) == (None, "quoted")


def test_what_is_typed_wrongly(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(1))
    url = "http://127.0.0.1:9/v1"
    words = ("align", "answer", "--data", data, "--out", tmp_path / "a")
    assert "--model" in run(*words, "--endpoint", url, code=2).stderr
    model = tmp_path / "m.toml"
    for text, says in (
        ("[endpoint]\nname = 'm'\n", "endpoint.model is missing"),
        (
            f"[endpoint]\nname = 'm'\nmodel = 'm'\nbase_url = '{url}'\nparameters = {{ temperature = 0 }}\n",
            "by category",
        ),
        ("[answr]\n", "Did you mean 'answer'"),
        ("[answer]\nasks = 0\n[endpoint]\n", "asks = 0"),
    ):
        model.write_text(text, "utf-8")
        assert says in run(*words, "--endpoint", model, code=2).stderr
    priced(model, url)
    assert "--official is 2000" in run(*words, "--endpoint", model, "--official", code=2).stderr
    assert "Leave it out" in run(*words, "--endpoint", model, "--model", "m", code=2).stderr
    assert (
        "no answers.json" in run("align", "judge", tmp_path, "--judge", model, "--out", tmp_path / "r", code=1).stderr
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    full = ("align", "answer", "--data", data, "--endpoint", model, "--out", tmp_path / "full", "--overwrite")
    assert "full" in run(*full, code=2).stderr
    assert (tmp_path / "full" / "mine.txt").exists()


BAD = {
    "not JSON": ("{", "line 1: not JSON"),
    "a list of none": ("[]", "empty: name a benchmark"),
    "no id": ('{"question": "问"}', "line 1 .question_id: missing"),
    "no question": ('{"question_id": 1, "category": "数学计算"}', "line 1 .question: missing"),
    "a category": ('{"question_id": 1, "category": "数学", "question": "问"}', "line 1 .category: '数学' is none of"),
    "no reference": ('{"question_id": 1, "category": "数学计算", "question": "问"}', "line 1 .reference: missing"),
    "a key twice": ('{"question_id": 1, "question_id": 2}', "stands twice in one object"),
    "one turn": ('{"question_id": 1, "category": "math", "turns": ["问"]}', "line 1 .turns: .* two texts"),
    "a category of turns": (
        '{"question_id": 1, "category": "zh_maths", "turns": ["问", "答"]}',
        ".category: 'zh_maths'",
    ),
    "a reference": ('{"question_id": 1, "category": "math", "turns": ["问", "答"], "reference": [1]}', ".reference: "),
    "nothing": ("", "empty: name a benchmark"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_benchmark_that_is_none_is_one_located_error(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text(text + "\n" * bool(text), "utf-8")
    with pytest.raises(DataError, match=says):
        read_benchmark(path)


def test_a_mark_of_byte_order_is_no_part_of_a_file(tmp_path: Path) -> None:
    """Editors of one system write it; before any line but the first it is an error as any other letter is."""
    plain, marked = write_rows(tmp_path / "a.jsonl", align_rows(1)), tmp_path / "b.jsonl"
    marked.write_bytes(b"\xef\xbb\xbf" + plain.read_bytes())
    one, other = read_benchmark(plain), read_benchmark(marked)
    assert one.questions == other.questions
    assert one.sha256 != other.sha256
    marked.write_bytes(plain.read_bytes() + b"\xef\xbb\xbf" + plain.read_bytes())
    with pytest.raises(DataError, match="line 9: not JSON"):
        read_benchmark(marked)
    toml = tmp_path / "model.toml"
    toml.write_text('\ufeff[endpoint]\nname = "m"\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\n', "utf-8")
    assert load_answerer(toml).endpoint.name == "m"


def test_a_list_and_names_as_people_have_them_are_the_same_questions(tmp_path: Path) -> None:
    english = {"数学计算": "Mathematics", "逻辑推理": "Logical Reasoning", "综合问答": " Open-ended Questions "}
    for rows in (align_rows(2), mt_rows()):
        lines = read_benchmark(write_rows(tmp_path / "b.jsonl", rows))
        told = [
            {**row, "category": english.get(row["category"], row["category"].upper()), "evidences": [{"url": "x"}]}
            for row in rows
        ]
        for at, text in enumerate(
            (
                json.dumps(told, ensure_ascii=False, indent=1),
                "\ufeff " + json.dumps(told) + "\n",
                "\n\n".join(["", *(json.dumps(row) for row in told), ""]),
            )
        ):
            path = tmp_path / f"{at}.json"
            path.write_text(text, "utf-8")
            assert read_benchmark(path).questions == lines.questions
    path.write_text(json.dumps([told[0], {**told[1], "turns": ["一轮"]}]), "utf-8")
    with pytest.raises(DataError, match=r"2\.json item 2 \.turns: .* is not a list of two texts"):
        read_benchmark(path)
    path.write_text(json.dumps([told[0], told[0]]), "utf-8")
    with pytest.raises(DataError, match=r"item 2 \.question_id: 1081 stands in item 1, too"):
        read_benchmark(path)
    path.write_text(json.dumps(told[0], indent=1), "utf-8")
    with pytest.raises(DataError, match="one a line, or all in one JSON list"):
        read_benchmark(path)


def test_a_question_with_an_empty_reference_is_judged_without_one(tmp_path: Path) -> None:
    rows = [
        {**row, "reference": reference} for row, reference in zip(align_rows(1)[:3], ("", " \n", None), strict=True)
    ]
    found = read_benchmark(write_rows(tmp_path / "b.jsonl", rows))
    assert [one.references for one in found.questions] == [(None,)] * 3


def test_ids_stand_once_and_a_file_holds_one_benchmark(tmp_path: Path) -> None:
    rows = align_rows(1)
    with pytest.raises(DataError, match=r"line 9 \.question_id: 0 stands in line 1, too"):
        read_benchmark(write_rows(tmp_path / "b.jsonl", [*rows, rows[0]]))
    with pytest.raises(DataError, match="line 9: a question of mt-bench-zh"):
        read_benchmark(write_rows(tmp_path / "b.jsonl", [*rows, mt_rows()[0]]))


def test_references_of_a_file_of_their_own(tmp_path: Path) -> None:
    """The ids join them, so a category without zh_ there does not matter."""
    data = write_rows(tmp_path / "mt.jsonl", mt_rows())
    told = [{"question_id": 1084, "category": "math", "choices": [{"turns": ["丙", "丁"]}]}]
    found = read_benchmark(data, write_rows(tmp_path / "r.jsonl", told))
    assert [one.references for one in found.questions] == [(None, None), (None, None), ("甲", "乙"), ("丙", "丁")]
    assert found.references_sha256 is not None
    for rows, says in (
        ([told[0], told[0]], r"line 2 \.question_id: 1084 stands twice"),
        ([told[0] | {"question_id": 7}], "7 is no question of the benchmark"),
        ([told[0] | {"choices": []}], r"\.choices\[0\]\.turns"),
        ([told[0] | {"question_id": 1083}], "another reference in the benchmark"),
    ):
        with pytest.raises(DataError, match=says):
            read_benchmark(data, write_rows(tmp_path / "r.jsonl", rows))
    with pytest.raises(DataError, match="leave it out"):
        read_benchmark(write_rows(tmp_path / "a.jsonl", align_rows(1)), tmp_path / "r.jsonl")


def test_answers_that_were_changed_or_cut_short_are_one_located_error(tmp_path: Path) -> None:
    data = write_rows(tmp_path / "b.jsonl", align_rows(1))
    with ScriptedServer() as server:
        answer(server.base_url, data, tmp_path / "a")
    path = tmp_path / "a" / "answers.jsonl"
    whole = path.read_text("utf-8")
    lines = whole.splitlines(keepends=True)
    for text, says in (
        (whole.replace("这样回答", "那样回答"), "its sha256 is not the one"),
        ("".join(lines[:-1]), "7 lines, and answers.json says 8"),
        ("".join([*lines, lines[-1]]), "a line more than"),
        ("".join([lines[1], lines[0], *lines[2:]]), r"line 1 \.question: '100' turn 1, where 0 turn 1 is next"),
        (whole.replace('"reason": null', '"reason": "cut"', 1), r"line 1 \.reason"),
        (whole[:-5], "not JSON"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(DataError, match=says):
            read_kept(tmp_path / "a", ANSWERS)
    path.write_text(whole, "utf-8")
    header = tmp_path / "a" / "answers.json"
    header.write_text(header.read_text("utf-8").replace('"version": 1', '"version": 2'), "utf-8")
    with pytest.raises(DataError, match="upgrade it"):
        read_kept(tmp_path / "a", ANSWERS)
