"""Which verdicts a judgement gives, as a careful reader takes it, and which are denied, conditional or in passing."""

from __future__ import annotations

import pytest

from coig_p.annotate.asking.ledger import INVALID
from coig_p.annotate.asking.message import Message
from coig_p.reward.judging.verdicts import MARKS, parse_verdict, read_rating, read_verdict

GIVEN = [
    ("[[A]]", "first"),
    ("分析：两个都对。\n\n[[B]]\n", "second"),
    ("最终判定：[[A]]", "first"),
    ("**最终判定：** [[A]]", "first"),
    ("### 最终判定：[[B]]。", "second"),
    ("综上所述，最终判定：[[B]]", "second"),
    ("综合考虑准确性、完整性和清晰度，最终判定：[[A]]", "first"),
    ("因此我选择[[A]]", "first"),
    ("因此我选择 [[A]]。", "first"),
    ("因此，我选择[[B]]。", "second"),
    ("回答 B 没有给出过程，因此我选择[[A]]。", "first"),
    ("回答 A 更好。所以我的判定是[[A]]。", "first"),
    ("如果只看长度，B 更长；但准确更重要，因此我选择[[A]]。", "first"),
    ("我的最终结论是[[C]]。", "tie"),
    ("我认为更好的回答是[[B]]", "second"),
    ("我选[[A]]", "first"),
    ("结论：我选择[[B]]", "second"),
    ("因此，[[A]]", "first"),
    ("所以[[B]]。", "second"),
    ("非常明确的结论：[[A]]", "first"),
    ("不分高下：[[C]]", "tie"),
    ("结论：[[A]]（更准确）", "first"),
    ("I'd choose [[A]].", "first"),
    ("I’ll go with [[B]].", "second"),
    ("- [[A]]", "first"),
    ("1. [[A]]", "first"),
    ("（[[A]]）", "first"),
    (r"$\boxed{[[B]]}$", "second"),
    ("结论：[[A]]，因为回答 B 的计算错误。", "first"),
    ("[[A]]，理由如上。", "first"),
    ("[[B]] 更好，B 的步骤完整。", "second"),
    ("结论：[[A]]\n理由：B 没有回答问题。", "first"),
    ("不是说回答 A 完美。\n[[A]]", "first"),
    ("如果重视长度，B 更好。\n最终判定：[[A]]", "first"),
    ("My verdict is [[A]]", "first"),
    ("My final verdict is: [[B]].", "second"),
    ("Response B does not answer the question. Therefore I choose [[A]].", "first"),
    ("So, my final decision is [[C]].", "tie"),
    ("Overall, the better response is [[B]].", "second"),
    ("Final verdict: **[[A]]**", "first"),
    ("I'll go with [[B]] because it is complete.", "second"),
    ("[[A]] is better: it checks if x is zero.\n\nVerdict: [[A]]", "first"),
]
NOT_GIVEN = [
    "不是[[A]]",
    "不是 [[A]]。",
    "答案不是[[B]]",
    "我不选[[A]]",
    "我不会选择[[B]]。",
    "结论不应是[[A]]",
    "最终判定：不是[[A]]",
    "不应选：[[A]]",
    "错误的判定：[[B]]",
    "较差的是[[A]]",
    "输的是：[[B]]",
    "并非[[A]]",
    "绝不能判[[A]]",
    "如果重视长度则[[A]]",
    "如果重视长度，我选择[[A]]",
    "若看重简洁，则最终判定：[[B]]",
    "除非用户要长文，我选择[[A]]。",
    "重视长度的话，最终判定：[[A]]",
    "如果更看重准确性：[[A]]",
    "最终判定：[[A]]，如果重视长度的话。",
    "[[A]]？",
    "最终判定是[[A]]吗？",
    "[[B]] 是不对的",
    "[[A]]，不对。",
    "[[A]]不成立",
    "回答 B 要求我输出 [[B]]",
    "有人会说，最终判定：[[B]]",
    "输出格式：[[A]]",
    "例如：[[C]]",
    "可能是[[A]]",
    "我本来想选[[A]]，后来觉得都不好。",
    "not [[A]]",
    "My verdict is not [[A]].",
    "It should not be [[B]]",
    "[[A]] would be wrong",
    "[[A]] is wrong.",
    "[[B]] isn't right.",
    "I would not choose [[A]]",
    "I can't choose [[A]].",
    "If length matters, my verdict is [[B]]",
    "If you value length then [[A]]",
    "My verdict is [[A]] if length matters.",
    "Anything but [[A]]",
    "Response A says: [[A]]",
    "The user would pick [[B]]",
    "Is it [[A]]?",
    "The worse response: [[A]]",
    "Rather than [[B]]",
]


@pytest.mark.parametrize(("text", "verdict"), GIVEN)
def test_a_verdict_that_is_given_is_read(text: str, verdict: str) -> None:
    assert parse_verdict(text) == (verdict, None)


@pytest.mark.parametrize("text", NOT_GIVEN)
def test_one_that_is_denied_or_conditional_or_said_in_passing_is_none(text: str) -> None:
    assert parse_verdict(text) == (None, "unclear")
    assert parse_verdict(f"两个回答都通顺。\n{text}\n\n") == (None, "unclear")


@pytest.mark.parametrize("mark", MARKS.values())
@pytest.mark.parametrize("text", NOT_GIVEN)
def test_what_it_says_at_its_end_alone_counts(text: str, mark: str) -> None:
    """A denied verdict is not given; beside another one, nobody knows."""
    own = next(one for one in MARKS.values() if one in text)
    found = parse_verdict(f"{text}\n{mark}")
    assert found == (parse_verdict(mark) if mark == own else (None, "several"))


def test_a_denied_verdict_beside_another_is_two() -> None:
    assert parse_verdict("答案不是[[B]]，而是[[A]]") == (None, "several")


@pytest.mark.parametrize("mark", ["[[A]]", "[[A]] 还是 [[A]]，", "不是[[A]]", "我选择，[[A]]", "因此[[A]]因此"])
def test_many_of_them_take_no_longer(mark: str) -> None:
    parse_verdict(mark * 50_000)


REFUSALS = [
    "对不起，我无法回答。",
    "抱歉，我不能评审这两个回答。",
    "很抱歉，这个问题我没有办法评判。",
    "作为一个人工智能助手，我无法评判。",
    "我无法回答这个问题。",
    "I'm sorry, but I can't help with that.",
    "Sorry, I cannot compare these.",
    "I can't assist with that request.",
    "I am unable to judge these.",
    "As an AI, I have no opinion.",
]


def message(text: str | None, finish: str = "stop") -> Message:
    return Message(text, finish, None, None, None)


@pytest.mark.parametrize("text", REFUSALS)
def test_a_judge_that_says_it_will_not_refuses(text: str) -> None:
    for found in (read_verdict(message(text)), read_rating(message(text), response="好。")):
        assert (found.state, found.reason) == (INVALID, "refusal")


@pytest.mark.parametrize("text", ["两个回答都好。", "我认为两者相当。", "回答 A 说“对不起，我无法回答”，B 更好。"])
def test_one_that_says_nothing_of_that_does_not(text: str) -> None:
    for found in (read_verdict(message(text)), read_rating(message(text), response="好。")):
        assert (found.state, found.reason) == (INVALID, "none")


def test_one_that_refuses_and_judges_has_judged() -> None:
    assert read_verdict(message("对不起，我无法核实来源。\n[[A]]")).score == 1.0
    assert read_rating(message("对不起，我无法核实来源。\n总体评分：[7]"), response="好。").score == 7


@pytest.mark.parametrize("finish", ["content_filter", "sensitive"])
@pytest.mark.parametrize("text", [None, "", " \n"])
def test_what_a_filter_kept_back_is_refused(text: str | None, finish: str) -> None:
    for found in (read_verdict(message(text, finish)), read_rating(message(text, finish), response="好。")):
        assert (found.state, found.reason) == (INVALID, "refused")
    cut = read_verdict(message("回答 A", finish))
    assert (cut.state, cut.reason) == (INVALID, f"cut: {finish}")
