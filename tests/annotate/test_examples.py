"""Words behind a judgement by which it is only an example: no reader takes a score from above them."""

from __future__ import annotations

import pytest

from coig_p.annotate.examples import called_example
from coig_p.annotate.parsing import parse_score
from coig_p.evaluate.align.kinds import DIMENSIONS, FACTS
from coig_p.evaluate.align.reading import read_rating, read_scores
from coig_p.reward.judging.verdicts import parse_verdict

OBJECT = "{'事实正确性': 9, '满足用户需求': 8, '清晰度': 7, '完备性': 6, '综合得分': 8}"
SCORES = ("总体评分：[8]", "理由充分。\n评分：8分", '{"score": 8}', '```json\n{"score": 8}\n```', "Overall score: [8]")
EXAMPLES = (
    *("以上为示例", "以上为示例。", "仅为示例格式", "（仅为示例格式）", "以上仅为格式示例，不是真实评分。", "（示例）"),
    *("以上评分仅作示例，实际评分见后。", "上述内容只是一个例子。", "这只是示例。", "这是一个格式示例。", "此为示例。"),
    *("上面的JSON仅供示例", "以上只是输出模板。", "以上是示例格式，并非最终评分", "**仅为示例**"),
    *("This is only an example.", "The above is an example format.", "(example only)", "Just an example."),
    *("The above scores are just placeholder values.", "for illustration only"),
)
OTHERS = (
    *("以上是我的评分。", "回答只是示例，不够完整。", "回答给出了示例。", "以上不是示例。", "该回答提供的示例很好。"),
    *("这只是一个例子，不能说明问题。", "以上评分仅供参考。", "以上是对示例回答的评分。", "以上评分依据示例给出。"),
    *("这为示例代码加了注释。", "改进建议（示例）：加上结论。"),
    *("The answer gives only an example.", "It contains an example.", "This example is good.", "Thanks."),
)


@pytest.mark.parametrize("words", EXAMPLES)
def test_what_is_called_an_example_gives_no_score(words: str) -> None:
    assert called_example(f"]\n{words}")
    for between in ("", "\n", "\n\n"):
        for score in SCORES:
            assert parse_score(f"{score}{between}{words}").score is None, (score, between)
        assert read_scores(f"{OBJECT}{between}{words}", DIMENSIONS[FACTS]).reason == "not-given", between
        assert read_rating(f"很好。\n[[8]]{between}{words}").reason == "not-given", between
        assert parse_verdict(f"两个都好。\n[[A]]{between}{words}").reason == "unclear", between


@pytest.mark.parametrize("words", OTHERS)
def test_words_on_an_answer_s_examples_leave_the_score(words: str) -> None:
    assert not called_example(f"]\n{words}")
    for between in ("\n", "\n\n"):
        for score in SCORES[:3]:
            assert parse_score(f"{score}{between}{words}").score == 8, (score, between)
        assert read_scores(f"{OBJECT}{between}{words}", DIMENSIONS[FACTS]).overall == 8, between
        assert read_rating(f"很好。\n[[8]]{between}{words}").overall == 8, between
        assert parse_verdict(f"两个都好。\n[[A]]{between}{words}").verdict == "first", between
