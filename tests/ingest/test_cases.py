"""Small inputs of shapes that public data sets have, each with what must come of it.

The files lie beside the checkout; `test_case_kinds.py` and `test_turn_kinds.py` have others of each kind.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casebook import TWINS, Case, Wanted, better, check, pair, scored, twins_of
from conftest import SHARED

HERE = SHARED.parent / "cases" / "import"
DOMAIN = ("--domain", "chat")
ONE, TWO, THREE = "一加一？", "二加二？", "三加三？"
ASKED = (("user", ONE), ("assistant", "二。"), ("user", "再加一？"))
TEA = "怎样泡绿茶？"
SLEEP = (
    ("system", "你是一名中医。"),
    ("user", "我最近总失眠。"),
    ("assistant", "多久了？"),
    ("user", "两个月了，怎么办？"),
)
HERBS = {"建议先调整作息，再考虑酸枣仁汤。": 9, "多喝水。": 3}
ANSWER_B = (
    "关于“同事小明总是迟到，影响团队，”这个问题，最后别忘了留出休息的时间。可以先明确目标和预算。"
    "第一天上午适合轻松一些的安排，下午再去主要的地方。注意提前预约，避开人多的时段。（乙作答）"
)
ANSWER_A = (
    "关于“同事小明总是迟到，影响团队，”这个问题，最后别忘了留出休息的时间。沟通时先肯定对方的付出，"
    "再说明具体影响。注意提前预约，避开人多的时段。第一天上午适合轻松一些的安排，下午再去主要的地方。"
    "（甲作答）"
)
LATE = "同事小明总是迟到，影响团队，我应该怎么和他沟通？已经第1次了。"
CALL = {"function": {"arguments": '{"city":"杭州"}', "name": "weather"}, "type": "function"}
HELP = {"二。": (4.0, 4.0, 4.0, 1.0, 0.0), "三。": (0.0, 0.0, 3.0, 1.0, 0.0)}


CASES: dict[str, Case] = {
    "ufbin.jsonl": Case(
        None,
        (
            pair(
                "杭州有什么湖？",
                "杭州有西湖。",
                "杭州没有湖。",
                scores={"杭州有西湖。": (9,), "杭州没有湖。": (3,)},
                more={"query_id": "p1"},
            ),
        ),
        pairs=(("杭州有西湖。", "杭州没有湖。"),),
    ),
    "saferlhf.jsonl": Case(
        None,
        (pair("如何防火？", "远离火源，备好灭火器。", "不用管。"), pair("如何防水？", "检查门窗。", "不用管。")),
        threshold=1,
    ),
    "w12.jsonl": Case(None, refused=("--values", "first=1,second=2", "first=0,second=1", "winner")),
    "winnerfloat.csv": Case(
        None,
        (pair(ONE, "二。", "三。"), pair(TWO, "四。", "五。"), Wanted(THREE, ("六。", "六"))),
        pairs=(("二。", "三。"), ("四。", "五。")),
    ),
    "winners.jsonl": Case(None, refused=("--values", "winner")),
    "multirej.jsonl": Case(
        None, (Wanted(ONE, ("二。", "三。", "四。", "五。"), better("二。", "三。", "四。", "五。")),)
    ),
    "outlist.jsonl": Case(None, refused=("output", "--format")),
    "rank_str.jsonl": Case(
        None,
        (Wanted(ONE, ("二。", "三。", "等于二"), better("二。", "三。", "等于二") + better("等于二", "三。")),),
        pairs=(("二。", "三。"), ("二。", "等于二"), ("等于二", "三。")),
    ),
    "nectar.jsonl": Case(
        None,
        (
            Wanted(
                ONE,
                ("二。", "三。", "二"),
                better("二。", "三。", "二") + better("二", "三。"),
                models={"二。": "m1", "三。": "m2", "二": "m3"},
                more={"messages": None},
            ),
        ),
        pairs=(("二。", "三。"), ("二。", "二"), ("二", "三。")),
    ),
    "rank_uf.jsonl": Case(None, (scored(ONE, {"二。": 5, "三。": 1}, models={"二。": "m1", "三。": "m2"}),)),
    "kto_trl.jsonl": Case(
        None, (scored(ONE, {"二。": 1, "三。": 0}),), pairs=(("二。", "三。"),), threshold=1, score_range=(0, 1)
    ),
    "kto_msgs.jsonl": Case(
        None, (scored(ONE, {"二。": 1, "三。": 0}),), pairs=(("二。", "三。"),), threshold=1, score_range=(0, 1)
    ),
    "swift.jsonl": Case(None, (pair((("system", "你是助手。"), ("user", ONE)), "二。", "三。"),)),
    "hh.jsonl": Case(None, (pair(ASKED, "三。", "四。"),)),
    "helpsteer.jsonl": Case(
        None, (Wanted(ONE, ("二。", "三。"), scores=HELP),), pairs=(("二。", "三。"),), score_range=(0, 4)
    ),
    "helpsteer3.jsonl": Case(
        None, (Wanted(ONE, ("二。", "三。"), better("二。", "三。", by=3)),), pairs=(("二。", "三。"),)
    ),
    "kaggle.csv": Case(
        None,
        (
            pair(ONE, "二。", "三。", models={"二。": "m1", "三。": "m2"}),
            Wanted(TWO, ("四。", "五。"), better("四。", "五。", by=0)),
        ),
    ),
    "multijudge.jsonl": Case(
        None,
        (
            Wanted(
                ONE,
                ("二。", "三。"),
                (("二。", "三。", 1), ("二。", "三。", -1), ("二。", "三。", 1)),
                judges=("annotator1", "annotator2", "annotator3"),
            ),
        ),
    ),
    "history_flat.jsonl": Case(
        None,
        (
            scored(ASKED, {"三。": 9}, models={"三。": "m1"}),
            scored((("user", "八加一？"), ("assistant", "九。"), ("user", "再加一？")), {"十。": 2}),
        ),
    ),
    "history.jsonl": Case(None, (scored(SLEEP, HERBS, models={"多喝水。": "b"}),), options=()),
    "lf_alpaca_dpo.jsonl": Case(None, (pair(ASKED, "三。", "四。"),)),
    "qanda.jsonl": Case(
        None,
        (
            pair((("system", "用英语回答。"), ("user", ONE)), "Two.", "二。"),
            pair((("system", "用中文回答。"), ("user", ONE)), "二。", "Two."),
        ),
    ),
    "img.jsonl": Case(None, refused=("images", "--drop")),
    "input_flat.jsonl": Case(None, (scored(ONE, {"二。": 9, "三。": 2}, models={"二。": "m1", "三。": "m2"}),)),
    "nullcols.jsonl": Case(None, (pair(ONE, "二。", "三。", more={"messages": None}),)),
    "sysmulti.jsonl": Case(None, (pair((("system", "你是助手。"), *ASKED), "三。", "四。"),)),
    "roleprefix.jsonl": Case(
        None,
        (pair(ASKED, "三。", "四。"), pair("user: 一加一？\n\nassistant: 二。\n\nuser: 再加一？", "三。", "五。")),
    ),
    "endsuser.jsonl": Case(None, refused=("chosen", "user"), never=("missing",)),
    "midturn.jsonl": Case(None, refused=("chosen", "rejected"), never=("chosen: missing",)),
    "scorekeys.jsonl": Case(None, (pair(ONE, "二。", "三。", scores={"二。": (9,), "三。": (1,)}),)),
    "parts.jsonl": Case(None, (pair(ONE, "二。", "三。"),)),
    "toolrole.jsonl": Case(
        None, (pair((("user", "天气？"), ("assistant", ""), ("tool", "晴")), "晴天。", "下雨。"),)
    ),
    "tools.jsonl": Case(
        None,
        (
            pair(
                (("system", "你可以调用工具。"), ("user", "杭州明天天气？")),
                "",
                "我不知道。",
                extra={"": {"tool_calls": [CALL]}, "我不知道。": {}},
                more={"tools": [{"function": {"name": "weather"}, "type": "function"}]},
            ),
        ),
        options=(),
    ),
    "arena.jsonl": Case(
        None,
        (
            pair(ONE, "二。", "三。", models={"二。": "m1", "三。": "m2"}, judges=("j1",)),
            Wanted(TWO, ("五。", "六。"), better("五。", "六。", by=0)),
        ),
    ),
    "scoretext.jsonl": Case(
        None, (scored(ONE, {"二。": 9, "三。": 2}, models={"二。": "m1", "三。": "m2"}),), pairs=(("二。", "三。"),)
    ),
    "mixedshape.jsonl": Case(
        None, (scored(ONE, {"二。": 9}), pair(TWO, "四。", "五。")), refused=("rows.*pairs|pairs.*flat|shape",)
    ),
    "compat.jsonl": Case(
        None,
        (scored("\uf9e1是姓吗？", {"是。": 9, "不是。": 2}), scored("李是姓吗？", {"是。": 9, "不是。": 2})),
        options=(),
    ),
    "ivs.jsonl": Case(
        None,
        (
            scored("葛\U000e0100城在哪里？", {"在河南。": 9, "在河北。": 2}),
            scored("葛城在哪里？", {"在河南。": 9, "在河北。": 2}),
        ),
        options=(),
    ),
    "zhuzhe.jsonl": Case(
        None, (Wanted("她看著我笑著說了什麼話？", ("好",)), Wanted("她看着我笑着说了什么话？", ("好",))), options=()
    ),
    "uf_na.jsonl": Case(None, refused=(r"completions\[0\]\.annotations\.honesty", "N/A")),
    "multi.jsonl": Case(None, (scored(SLEEP, HERBS),), options=()),
    "rationale.jsonl": Case(
        None,
        (scored(TEA, {"水温八十度。": 9, "随便泡。": 3}, rationales=("准确简洁", "没有信息")),),
        options=(),
        says=("difficulty", "temperature", "--keep"),
    ),
    "twosamples.jsonl": Case(
        None,
        (scored(TEA, {"水温八十度。": 9, "随便泡。": 3}, models={"水温八十度。": "a", "随便泡。": "a"}),),
        options=(),
        pairs=(("水温八十度。", "随便泡。"),),
    ),
    "sep_gen.jsonl": Case(
        None, refused=("chat-0000", "qwen2-72b"), files={"sep_scores.csv": HERE / "sep_scores.csv"}
    ),
    "wide_two_judges.csv": Case(
        None,
        refused=("score",),
        options=(*DOMAIN, "--map", "score=score_gpt-4o", "--map", "score=score_claude-3.5"),
    ),
    "cn.csv": Case(None, refused=("分数", "1分")),
    "cn-gb.csv": Case(None, refused=("--encoding gb18030",)),
    "flat_null.jsonl": Case(None, (scored(TEA, {"八十度水。": 9, "随便。": None}),), options=(), says=("score",)),
    "nested_null.jsonl": Case(None, (scored(TEA, {"八十度水。": 9, "随便。": None}),), options=(), says=("score",)),
    "hundred.jsonl": Case(None, refused=("--score-range 0 100", "default threshold"), options=()),
}  # fmt: skip
"""What each file gives; the name of the file stands for its rows."""

OTHERWISE: dict[str, tuple[str, Case]] = {
    "the coding of a winner is said": (
        "w12.jsonl", Case(None, (pair("问题？", "甲。", "乙。"),), options=(*DOMAIN, "--values", "first=1,second=2")),
    ),
    "the other coding": (
        "w12.jsonl", Case(None, (pair("问题？", "乙。", "甲。"),), options=(*DOMAIN, "--values", "first=0,second=1")),
    ),
    "the first of a list is the better": (
        "outlist.jsonl", Case(None, (pair(ONE, "二。", "三。"),), options=(*DOMAIN, "--format", "best-first")),
    ),
    "the same, by its field": (
        "outlist.jsonl",
        Case(None, (pair(ONE, "二。", "三。"),), options=(*DOMAIN, "--format", "pairs", "--map", "output=output")),
    ),
    "a rating that is no number is left out": (
        "uf_na.jsonl",
        Case(
            None,
            (Wanted(ONE, ("二。", "三。"), scores={"二。": (5,), "三。": (1, 1)}, rationales=("r", "r", "r"),
                    models={"二。": "m1", "三。": "m2"}),),
            options=(*DOMAIN, "--on-error", "skip"),
        ),
    ),
    "other fields are kept": (
        "rationale.jsonl",
        Case(
            None,
            (scored(TEA, {"水温八十度。": 9, "随便泡。": 3}, more={"meta": {"difficulty": 3}},
                    extra={"水温八十度。": {"temperature": 0.7}, "随便泡。": {}}),),
            options=("--keep", "all"),
        ),
    ),
    "a column a judge": (
        "wide_two_judges.csv",
        Case(
            None,
            (Wanted(LATE, (ANSWER_B, ANSWER_A), scores={ANSWER_B: (8.5, 7.5), ANSWER_A: (9, 9)},
                    judges=("gpt-4o", "claude-3.5"), more={"query_id": "chat-0000"}),),
            options=(*DOMAIN, "--score-column", "gpt-4o=score_gpt-4o", "--score-column", "claude-3.5=score_claude-3.5"),
        ),
    ),
    "a full-width digit is a number": (
        "cn.csv",
        Case(
            None,
            (scored("1+1等于几？", {"等于2。": 9, "等于3。": None}, judges=("评委一",), more={"query_id": "1"},
                    models={"等于2。": "甲", "等于3。": "乙"}),),
            options=(*DOMAIN, "--on-error", "skip"),
        ),
    ),
    "the encoding is said": (
        "cn-gb.csv",
        Case(
            None,
            (scored("1+1等于几？", {"等于2。": 9, "等于3。": None}),),
            options=(*DOMAIN, "--encoding", "gb18030", "--on-error", "skip"),
        ),
    ),
    "a scale to 100": (
        "hundred.jsonl",
        Case(
            None,
            (scored(TEA, {"水温八十度。": 88, "随便。": 33}),),
            options=("--score-range", "0", "100"),
            score_range=(0, 100),
            pairs=(("水温八十度。", "随便。"),),
        ),
    ),
}  # fmt: skip


def given_case(name: str) -> tuple[Path, Case]:
    path = HERE / name
    if not path.is_file():
        pytest.skip(f"no such case at {path}")
    return path, replace(CASES[name], rows=path)


def test_every_file_is_looked_at() -> None:
    if not HERE.is_dir():
        pytest.skip(f"no cases at {HERE}")
    beside = {"sep_scores.csv", "card-uncommented-in-place.toml"}
    assert {path.name for path in HERE.iterdir()} - beside == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_file_gives_what_a_person_would_expect(name: str, tmp_path: Path) -> None:
    _, case = given_case(name)
    check(case, tmp_path)


@pytest.mark.parametrize("about", OTHERWISE)
def test_what_the_way_out_gives(about: str, tmp_path: Path) -> None:
    name, case = OTHERWISE[about]
    path, _ = given_case(name)
    check(replace(case, rows=path), tmp_path)


def rows_of(name: str) -> list[Any]:
    path = HERE / name
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in CASES if name.endswith(".jsonl") for kind in twins_of(rows_of(name))]
)
def test_the_same_rows_in_other_formats_give_the_same(name: str, kind: str, tmp_path: Path) -> None:
    _, case = given_case(name)
    check(replace(case, rows=rows_of(name)), tmp_path, write=TWINS[kind])
