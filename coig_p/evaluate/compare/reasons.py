"""Why a number is not there, in Chinese: each reason is made in English, where the number would have been."""

from __future__ import annotations

import re

from coig_p.evaluate.compare.floor import NO_PAIR
from coig_p.evaluate.compare.measuring import NO_SHARED, NOTHING_HELD_OUT, ONE_LENGTH, UNDEFINED
from coig_p.stats.interval_alpha import NO_TWO

_WHOLE = {
    NO_PAIR: "按这些选项，没有一个问题有两个回答能组成偏好对",
    NOTHING_HELD_OUT: "问题太少，没有可以留出的",
    ONE_LENGTH: "每个偏好对的两个文本都一样长",
    NO_SHARED: "没有两位评审模型给同一对回答下过判断",
    UNDEFINED: "没有定义",
    NO_TWO: "没有一个回答有两位评审模型的评分",
    "all scores are equal": "所有评分都相等",
}
_WITH_NAMES = (
    (r"(?P<store>.*) has no floor: (?P<why>.*)", "{store} 没有简单特征的模型：{why}"),
    (r"it has no split (?P<split>.*): its splits are (?P<splits>.*)", "它没有划分 {split}，有的划分是 {splits}"),
    (r"its splits are (?P<splits>.*): name one with --split", "它的划分是 {splits}：用 --split 指定一个"),
    (r"no pair(?: .*)? with these options: .*", "按这些选项没有偏好对"),
)


def reason(why: str, language: str) -> str:
    """A reason in a language; one that has no translation, as of a damaged row, stays as it is."""
    if language == "en":
        return why
    if why in _WHOLE:
        return _WHOLE[why]
    for form, said in _WITH_NAMES:
        match = re.fullmatch(form, why, re.DOTALL)
        if match is not None:
            names = match.groupdict()
            return said.format(**(names | ({"why": reason(names["why"], language)} if "why" in names else {})))
    return why
