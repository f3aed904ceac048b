"""The score parser against rules written out, and against a slow oracle of its own."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_oracle import oracle

from coig_p.annotate.parsing import HIGH, LOW, parse_score

CASES = [
    ("分析：很好。\n总体评分：[8]", 8, None),
    ("[1]", 1, None),
    ("[10]", 10, None),
    ("总体评分：［８］", 8, None),
    ("总体评分：【7.5】", 7.5, None),
    ("评分【７．５】。", 7.5, None),
    ("[8]/10", 8, None),
    ("**[8]**/10 分", 8, None),
    ("[8/10]", 8, None),
    ("[8分]", 8, None),
    ("[**9**]", 9, None),
    ("[8.0]", 8, None),
    ("[8]分。", 8, None),
    ("有用[7]，正确[9]。\n总体评分：[8]", 8, None),
    ("属于[7-8]这一档。\n[8]", 8, None),
    ("**总体评分**：[8]\n\n理由：清楚。", 8, None),
    ("Final score: [6]\nBecause it is clear.", 6, None),
    ("<think>也许[3]？</think>[8]", 8, None),
    ("a[3] 越界。\n[5]", 5, None),
    ("见 [2](http://x)。[5]", 5, None),
    ("[8] 前后都是 [8]", 8, None),
    ("", None, "none"),
    ("很好，8分", None, "none"),
    ("[八]", None, "none"),
    ("1[0]", None, "none"),
    ("a[1]", None, "none"),
    ("a[1][2]", None, "none"),
    ("[1]0", None, "glued"),
    ("[1]０", None, "glued"),
    ("[8].5", None, "glued"),
    ("[1][0]", None, "not-final"),
    ("[1 0]", None, "malformed"),
    ("[1O]", None, "malformed"),
    ("[1,0]", None, "malformed"),
    ("[-8]", None, "malformed"),
    ("[08]", None, "malformed"),
    ("[1e1]", None, "malformed"),
    ("[７－８]", None, "malformed"),
    ("[7-8]", None, "range"),
    ("[7分到8分]", None, "range"),
    ("[7]-[8]", None, "several"),
    ("总体评分：[7]-[8]", None, "several"),
    ("总体评分：[7]\n总体评分：[8]", None, "several"),
    ("[7] 和 [8]", None, "several"),
    ("[8] 因为答案正确", None, "not-final"),
    ("总体评分：[8]，因为答案正确", None, "not-final"),
    ("参考文献[3]说得对，这个回答很好", None, "not-final"),
    ("[8]/5", None, "other-scale"),
    ("[80/100]", None, "other-scale"),
    ("[0]", None, "out-of-range"),
    ("[11]", None, "out-of-range"),
    ("[100]", None, "out-of-range"),
    ("[7.25]", None, "off-step"),
    ("<think>还在想[8]", None, "unfinished"),
]


@pytest.mark.parametrize(("text", "score", "reason"), CASES)
def test_the_rules_by_example(text: str, score: float | None, reason: str | None) -> None:
    assert parse_score(text) == (score, reason)
    assert oracle(text) == (score, reason)


def test_half_points_only_where_they_are_allowed() -> None:
    assert parse_score("[7.5]", half_points=False) == (None, "off-step")
    assert parse_score("[7.0]", half_points=False) == (7, None)


def judgement(rng: random.Random) -> str:
    """A judgement of an odd kind: parts that models really write, put together at random."""

    def number() -> str:
        return rng.choice(
            [
                *(str(rng.randint(0, 12)), f"{rng.randint(0, 10)}.{rng.choice(['5', '0', '25', ''])}", "1 0", "08"),
                *("-3", "１０", "８", "７．５", "8/10", "8 / 10分", "80/100", "7-8", "7～8", "八", "n", "9分"),
                *("**6**", "1O", ""),
            ]
        )

    def bracket() -> str:
        opening, closing = rng.choice(
            [("[", "]")] * 4 + [("［", "］"), ("【", "】"), ("[", ""), ("(", ")"), ("[[", "]]")]
        )
        return opening + number() + closing

    label = [
        "总体评分：",
        "总体评分:",
        "**总体评分**：",
        "总分",
        "得分：",
        "Overall score: ",
        "FINAL SCORE is ",
        "有用：",
        "",
    ]
    after = [
        "",
        "",
        "",
        "/10",
        " /10",
        "/5",
        "/１０分",
        "分",
        "。",
        "**",
        "\n",
        "\n理由：清楚。",
        "，因为很好",
        "0",
        ".5",
        "-",
        "~",
    ]
    filler = [
        "分析：条理清楚。",
        "\n",
        "\n\n",
        "属于[7-8]档",
        "arr[1]",
        "[2](x)",
        "[注1]",
        "```\n",
        "<think>",
        "</think>",
        " ",
    ]
    parts = []
    for _ in range(rng.randint(1, 5)):
        if rng.random() < 0.5:
            parts.append(rng.choice(filler))
        else:
            parts.append(rng.choice(label) + bracket() + rng.choice(after))
    return "".join(parts)


def test_ten_thousand_judgements_of_odd_kinds_equal_the_oracle() -> None:
    rng = random.Random(20250407)
    outcomes: dict[str, int] = {}
    for _ in range(10_000):
        text, half = judgement(rng), rng.random() < 0.5
        parsed = parse_score(text, half_points=half)
        assert parsed == oracle(text, half), text
        outcomes[parsed.reason or "score"] = outcomes.get(parsed.reason or "score", 0) + 1
    # Every outcome is really reached, so that the equality says something.
    assert outcomes.keys() == {
        *("score", "none", "malformed", "range", "several", "glued", "not-final"),
        *("other-scale", "out-of-range", "off-step", "unfinished"),
    }
    assert outcomes["score"] > 500


PIECES = [
    "[",
    "]",
    "【",
    "］",
    "1",
    "0",
    "10",
    "８",
    ".",
    "5",
    "/",
    "10",
    "分",
    "总体评分",
    "：",
    "-",
    "\n",
    " ",
    "*",
    "a",
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join)), st.booleans())
def test_any_text_gives_a_score_or_a_reason_as_the_oracle_says(text: str, half: bool) -> None:
    parsed = parse_score(text, half_points=half)
    assert (parsed.score is None) != (parsed.reason is None)
    assert parsed.score is None or LOW <= parsed.score <= HIGH
    assert parsed == oracle(text, half)


@given(
    st.text(alphabet="析好 。\n：*", max_size=20), st.sampled_from(["[{}]", "［{}］", "总体评分：[{}]/10", "[{} ]分"])
)
def test_a_one_never_becomes_a_ten(before: str, form: str) -> None:
    assert parse_score(before + form.format(1)).score == 1
    assert parse_score(before + form.format(10)).score == 10
    for odd in ("1[0]", "[1]0", "[1 0]", "[1][0]", "[1]\n[0]", "[1.0]", "[1O]", "[01]", "[1]/0"):
        assert parse_score(before + odd).score in (None, 1)


def test_long_hostile_text_takes_no_long_time() -> None:
    for hostile in ("[" + "1" * 200_000, "[" * 200_000, "总分" + " " * 200_000 + "[8]", "[8]" * 60_000, "[1" * 100_000):
        parse_score(hostile)
