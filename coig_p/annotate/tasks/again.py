"""What a judge is told whose judgement could not be used: what it lacked, and how a score is written.

The same bytes at temperature 0 would bring the same judgement once more. So its own text is sent back, with a
message behind it.
"""

from __future__ import annotations

from collections.abc import Mapping

from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Messages, assistant_message, user_message

_NOTHING = "（没有内容）"
_CUT = "（没有写完）"
# By the reason for which a judgement is invalid.
_LACKS = {
    "cut": "上一次的评审没有写完就断了。请写得简短些。",
    "unfinished": "上一次只有思考，没有写出评审。",
    "empty": "上一次没有写出评审。",
    "none": "上面没有写出总体评分。",
    "quoted": "上面只有照抄自材料的分数，没有你自己的总体评分。",
    "several": "上面的总体评分不止一个，或者前后不一致。",
    "out-of-range": "上面的总体评分不在 1 到 10 之间。",
    "off-step": "上面的总体评分不是所要求的整数或半分。",
    "other-scale": "上面的总体评分不是十分制。",
    "malformed": "上面的总体评分不是一个单独的数字。",
}
_SAME = {"refusal": "empty", "not-final": "none", "range": "several", "glued": "malformed"}
_WHOLE = "一个 1 到 10 的整数"
_HALF = "一个 1 到 10 的数字（整数或半分）"
_FORM = "请重新评审这份材料：先写分析，最后另起一行，只写总体评分，把{number}放在方括号里：\n总体评分：[分数]"
_JSON = "请重新评审这份材料，以 JSON 作答：analysis 里写分析，score 里只写总体评分，{number}。"


def judged_again(
    sent: Messages, message: Message, reason: str, *, half_points: bool, structured: bool = False
) -> list[Messages]:
    """What a judge is sent once more: for this reason, and for every other one.

    Args:
        sent: what it was sent before.
        message: its answer to that.
        reason: why that is invalid.
        structured: whether the judgement is to be JSON.
    """
    form = (_JSON if structured else _FORM).format(number=_HALF if half_points else _WHOLE)
    return told_again(sent, message, reason, lacks=_LACKS, same=_SAME, form=form)


def told_again(
    sent: Messages, message: Message, reason: str, *, lacks: Mapping[str, str], same: Mapping[str, str], form: str
) -> list[Messages]:
    """The same of any judgement.

    Args:
        lacks: what a judgement lacks, by the reason for which it is invalid; "empty" and "none" are among them.
        same: reasons that are told as another one.
        form: how it is to be written.
    """
    text, _ = usable_text(message)
    said = _CUT if message.cut else _NOTHING if text is None else text
    why = reason.partition(":")[0]
    why = same.get(why, why if why in lacks else "empty" if text is None else "none")
    words = [lacks[why], *(other for other in lacks.values() if other != lacks[why])]
    return [(*sent, assistant_message(said), user_message(each + form)) for each in words]
