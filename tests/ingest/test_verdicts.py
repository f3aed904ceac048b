"""Who won, in every coding: words, and numbers by all of their column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from verdict_rows import comparisons, shaped

from coig_p.errors import UnknownNameError
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.values import Rejected
from coig_p.ingest.verdicts import FIRST, IN_LIST, SECOND, TIE, Sides, Verdict, verdict_of

LETTERS, NUMBERS, FROM_ZERO = Sides(("a", "b")), Sides(("1", "2")), Sides(("0", "1"))

WORDS: list[tuple[Sides, str, Verdict]] = [
    *(
        (LETTERS, word, FIRST)
        for word in ("A", "a", "model_a", "Response A", "assistant_a", "[[A]]", "answer-a", "A 胜")
    ),
    *(
        (LETTERS, word, FIRST)
        for word in ("left", "左", "左边", "first", "the first", "前者", "回答A", "选项 A", "A wins.")
    ),
    *((LETTERS, word, FIRST) for word in ("A>B", "B<A", "Ａ\uff1eＢ", "Model A > Model B")),
    *((LETTERS, word, SECOND) for word in ("B", "model_b", "[[B]]", "右", "second", "B>A", "A<B", "response_b")),
    *((LETTERS, word, TIE) for word in ("tie", "Tie", "draw", "equal", "same", "both", "both_good", "both bad")),
    *(
        (LETTERS, word, TIE)
        for word in ("tie (bothbad)", "neither", "平局", "平手", "一样", "C", "[[C]]", "A=B", "都不好")
    ),
    *((LETTERS, word, FIRST) for word in ("A is slightly better", "A-is-clearly-better", "A略好", "A明显优于B")),
    *((LETTERS, word, SECOND) for word in ("A is worse than B", "回答A不如回答B", "B is much better than A")),
    (LETTERS, "A>>B", (2.0, 0.0)),
    (LETTERS, "B>>A", (0.0, 2.0)),
    (LETTERS, "A≫B", (2.0, 0.0)),
    *((NUMBERS, word, FIRST) for word in ("response_1", "Answer 1", "model1", "回答1", "1>2", "[[Assistant 1]]")),
    *((NUMBERS, word, SECOND) for word in ("response_2", "output_2", "1<2", "右")),
    *((FROM_ZERO, word, FIRST) for word in ("response_0", "completion 0")),
    (FROM_ZERO, "response_1", SECOND),
    (Sides(("一", "二")), "回答二", SECOND),
    (Sides(("一", "二")), "一样", TIE),
    (Sides(("甲", "乙")), "甲", FIRST),
    (Sides(("甲", "乙")), "乙更好", SECOND),
    (Sides(("left", "right")), "right", SECOND),
    (Sides(("a", "b"), ("gpt-4", "qwen")), "qwen", SECOND),
    (Sides(("1", "2"), ("gpt-4", "qwen")), "gpt-4", FIRST),
]


@pytest.mark.parametrize(("sides", "word", "verdict"), WORDS, ids=[f"{s.names[0]}-{w}" for s, w, _ in WORDS])
def test_words(sides: Sides, word: str, verdict: Verdict) -> None:
    assert verdict_of(word, "winner", sides) == verdict


@pytest.mark.parametrize(
    ("sides", "word"),
    [
        *(
            (LETTERS, word)
            for word in (
                "none",
                "unknown",
                "invalid",
                "c>d",
                "A>A",
                "D",
                "A is worse",
                "A is not better",
                "model_1",
                "甲",
                "不知道",
                "ab",
            )
        ),
        *((NUMBERS, word) for word in ("A", "[[B]]", "C", "model_a", "response_3", "A>B", "1>3")),
        (FROM_ZERO, "response_2"),
        (Sides(("a", "b"), ("b", "a")), "a"),  # the model that is called a stands on side b
        (Sides(("a", "b"), ("gpt-4", "gpt-4")), "gpt-4"),
        (LETTERS, "a" * 200),
    ],
)
def test_words_that_are_not_certain(sides: Sides, word: str) -> None:
    with pytest.raises(Rejected) as refused:
        verdict_of(word, "winner", sides)
    assert (refused.value.field, refused.value.reason) == ("winner", "bad-winner")
    assert word[:20] in refused.value.message
    assert "--values" in refused.value.message or "--drop winner" in refused.value.message


CODINGS: list[tuple[str, Sides, list[float], dict[float, Verdict]]] = [
    ("winner", FROM_ZERO, [0, 1], {0: FIRST, 1: SECOND}),
    ("winner", FROM_ZERO, [1], {1: SECOND}),
    ("winner", FROM_ZERO, [0, 0.5, 1], {0.5: TIE}),
    ("better_response_id", LETTERS, [0, 1], {0: FIRST, 1: SECOND}),
    ("winner", NUMBERS, [1, 2], {1: FIRST, 2: SECOND}),
    ("winner", LETTERS, [1, 1.5, 2], {1: FIRST, 1.5: TIE, 2: SECOND}),
    ("preference", NUMBERS, [1.1, 1.9], {1.1: (0.9, 0.1), 1.9: (0.1, 0.9)}),
    ("overall_preference", NUMBERS, [-3, 0, 2], {-3: (3, 0), 0: TIE, 2: (0, 2), -1: (1, 0)}),
    ("preference_strength", NUMBERS, [-1, 3], {3: (0, 3)}),
    ("choice", Sides(IN_LIST), [0, 1], {0: FIRST, 1: SECOND}),
    ("choice", Sides(IN_LIST), [1, 2], {1: FIRST, 2: SECOND}),
]


@pytest.mark.parametrize(("column", "sides", "found", "wanted"), CODINGS)
def test_numbers_that_are_certain(
    column: str, sides: Sides, found: list[float], wanted: Mapping[float, Verdict]
) -> None:
    for number, verdict in wanted.items():
        for given_as in (number, str(number), float(number)):
            assert verdict_of(given_as, column, sides, found) == verdict


@pytest.mark.parametrize(
    ("column", "sides", "found", "ways"),
    [
        ("winner", NUMBERS, [1], ["first=1,second=2", "first=0,second=1"]),
        ("winner", LETTERS, [2], ["first=1,second=2", "first=2,second=1"]),
        ("winner", LETTERS, [0, 1], ["first=0,second=1", "first=1,second=0"]),
        ("winner", NUMBERS, [0, 1], ["first=0,second=1", "first=1,second=0"]),
        ("better_response_id", NUMBERS, [0, 1], ["first=0,second=1", "first=1,second=0"]),
        ("winner", NUMBERS, [0, 1, 2], ["first=1,second=2,tie=0", "first=0,second=1,tie=2"]),
        ("winner", NUMBERS, [1, 2, 3], ["first=1,second=2,tie=3"]),
        ("winner", NUMBERS, [-1, 1], ["first=negative,second=positive", "first=positive,second=negative"]),
        ("winner", FROM_ZERO, [0, 1, 2], ["tie=2"]),
        ("winner", FROM_ZERO, [1, 2, 1], ["first=1,second=2"]),  # they do not count as the columns do
        ("overall_preference", NUMBERS, [1, 2], ["first=negative,second=positive"]),
        ("overall_preference", NUMBERS, [1, 2, 3], ["first=negative,second=positive"]),
        ("preference_strength", NUMBERS, [2], ["first=negative,second=positive"]),
        ("preference_strength", LETTERS, [3], ["first=negative,second=positive"]),
        ("preference_strength", LETTERS, [0, 3], ["first=negative,second=positive"]),
        ("overall_preference", NUMBERS, [-4, 4], ["first=negative"]),
        ("choice", Sides(IN_LIST), [1], ["first=1,second=2", "first=0,second=1"]),
    ],
)
def test_numbers_that_are_not_certain(column: str, sides: Sides, found: list[float], ways: list[str]) -> None:
    with pytest.raises(Rejected) as refused:
        verdict_of(found[-1], column, sides, found)
    assert refused.value.reason == "bad-winner"
    assert all(f"{number:g}" in refused.value.message for number in found)
    assert all(way in refused.value.message for way in ways)


def test_a_sign_of_the_sign() -> None:
    """HelpSteer's column by itself may be another's; with a field of HelpSteer beside it, it is not."""
    assert verdict_of(1, "overall_preference", NUMBERS, [1], beside=("context",)) == (0, 1)
    row = {"response_1": "好", "response_2": "坏", "overall_preference": 2}
    context = [{"role": "user", "content": "问"}]
    assert comparisons(row | {"context": context}) == [("unknown", "overall", 0, 2)]
    with pytest.raises(Rejected, match="first=negative"):  # a passage is no sign
        shaped(row | {"prompt": "问", "context": "一段文字"}, FormConfig(drop=("context",)))
    with pytest.raises(Rejected, match="first=negative"):
        shaped(row | {"prompt": "问", "context": "一段文字"}, FormConfig(fields={"input": "context"}))


@pytest.mark.parametrize(
    ("values", "value", "verdict"),
    [
        ({"first": "1", "second": "0"}, 0, SECOND),
        ({"first": "1", "second": "0"}, "1.0", FIRST),
        ({"first": "0", "second": "1", "tie": "2"}, 2, TIE),
        ({"first": "1|2", "second": "4|5", "tie": "3"}, 5, SECOND),
        ({"first": "negative", "second": "positive"}, -2, (2, 0)),
        ({"first": "positive", "second": "negative"}, -2, (0, 2)),
        ({"first": "negative", "second": "positive"}, 0, TIE),
        ({"first": "true", "second": "false"}, False, SECOND),
        ({"tie": "none"}, "None", TIE),
        ({"first": "好", "second": "坏"}, "坏", SECOND),
        ({"first": "1", "second": "2"}, "tie", TIE),  # words stay certain
        ({"tie": "0"}, 1, FIRST),  # what is left of the column, 1 and 2, is certain
    ],
)
def test_what_the_user_says_of_the_coding(values: Mapping[str, str], value: Any, verdict: Verdict) -> None:
    assert verdict_of(value, "winner", LETTERS, [0, 1, 2], values) == verdict


def test_a_number_that_the_user_does_not_name_is_refused() -> None:
    with pytest.raises(Rejected, match="3 is none of the values"):
        verdict_of(3, "winner", LETTERS, [1, 2, 3], {"first": "1", "second": "2"})
    with pytest.raises(UnknownNameError):
        FormConfig(values={"left": "1"})


def test_a_number_off_the_grid() -> None:
    with pytest.raises(Rejected, match=r"1\.0000556221 has more than 4 decimals") as refused:
        verdict_of(1.0000556221, "preference", NUMBERS, [1.0000556221, 1.9])
    assert refused.value.reason == "off-grid"


@pytest.mark.parametrize("value", [True, False, 10**400, float("inf"), [1], {"a": 1}])
def test_values_that_are_no_verdict(value: Any) -> None:
    with pytest.raises(Rejected):
        verdict_of(value, "winner", LETTERS, [1, 2])


READINGS: list[dict[int, Verdict]] = [
    {0: FIRST, 1: SECOND},
    {1: FIRST, 0: SECOND},
    {1: FIRST, 2: SECOND},
    {1: FIRST, 2: SECOND, 0: TIE},
    {0: FIRST, 1: SECOND, 2: TIE},
    {1: FIRST, 2: SECOND, 3: TIE},
    {-1: FIRST, 1: SECOND},
    {1: FIRST, -1: SECOND},
]
"""How data sets count, two sides of every one of them seen somewhere."""


@given(st.sets(st.integers(-1, 3), min_size=1), st.sampled_from([LETTERS, NUMBERS]))
@example({0, 1, 2}, NUMBERS)
def test_a_number_is_read_only_as_every_possible_reading_has_it(found: set[int], sides: Sides) -> None:
    possible = [
        reading
        for reading in READINGS
        if found <= reading.keys() and {number for number, who in reading.items() if who != TIE} <= found
    ]
    for number in found:
        try:
            read = verdict_of(number, "winner", sides, found)
        except Rejected:
            continue
        assert {reading[number] for reading in possible} == {read}
