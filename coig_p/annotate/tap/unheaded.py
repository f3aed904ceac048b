"""A prompt that stands without its heading: behind a line that leads to it, between marks, in a conversation."""

from __future__ import annotations

import re

from coig_p.annotate.tap.lines import COLON
from coig_p.annotate.taxonomy.words import Words

_BEGIN = re.compile(
    r"^[^\w\n]{1,10}(?:(?:新|完整|补全)的?)?(?:指令|prompt|instruction)[ _]?(?:开始|起始|正文开始|begins?"
    r"|starts?)[^\w\n]{0,10}$"
    r"|^[^\w\n]{1,10}(?:开始|begin|start)[ _:]?(?:指令|prompt|instruction)[^\w\n]{1,10}$",
    re.IGNORECASE | re.MULTILINE,
)
_END = re.compile(
    r"^[^\w\n]{1,10}(?:(?:新|完整|补全)的?)?(?:指令|prompt|instruction)[ _]?(?:结束|完毕|终止|ends?)[^\w\n]{0,10}$"
    r"|^[^\w\n]{1,10}(?:结束|end)[ _:]?(?:(?:of )?(?:指令|prompt|instruction))?[^\w\n]{1,10}$",
    re.IGNORECASE | re.MULTILINE,
)
_ARROW = r"[ \t]*(?:→|⇒|[-=]{1,2}>|👉|➡)\ufe0f?[ \t]*"
_ARROWS = re.compile(
    rf"{_ARROW}(?:(?:新|完整|补全后?|修改后)的?)?(?:指令|prompt|instruction){_ARROW}(?=\S)", re.IGNORECASE
)
_DONE = r"(?:补全|补充|修改|改写|重写|修订|补正|完善|补好|改好)(?:后|了|过|好)?的?"
_WHAT = r"(?:指令|题目|提示词?|版本|文本|文字|问题|任务)"
# A clause that leads to the prompt: 完整的指令为：  我把它改成了下面这样：  补全后如下：
_LEADS = re.compile(
    rf"(?:^|(?<=[。！!；;，,]))[ \t]*(?:[^\n。！!；;，,{COLON}]{{0,12}}?(?:{_DONE}|完整的?|新的?){_WHAT}"
    r"|[^\n。！!；;，,：:]{0,8}?(?:改|补|改写|重写|补全|补充|修改|写)(?:成|为)了?"
    rf"|[^\n。！!；;，,{COLON}]{{0,4}}?{_DONE}(?=如下|是|为))"
    rf"(?:应?(?:如下|是|为|在此)|(?:如|像)?(?:下面|以下|这样|这个样子)(?:这样|这个样子|的样子)?"
    rf"|所示){{0,2}}[{COLON}][ \t]*",
    re.MULTILINE,
)
_ASKED = re.compile(rf"^[ \t]*(?:问|Q|用户|User)[ \t]*[{COLON}][^\n]*$", re.IGNORECASE | re.MULTILINE)
_ANSWERED = re.compile(rf"^[ \t]*(?:答|A|回答|助手|Assistant)[ \t]*[{COLON}][ \t]*", re.IGNORECASE | re.MULTILINE)


def with_heading(text: str, words: Words) -> str | None:
    """A text that has no heading of a prompt with one where its prompt begins; None where nothing says where."""
    heading = f"\n\n### {words.heading[0]}\n"
    begins, ends = [*_BEGIN.finditer(text)], [*_END.finditer(text)]
    if len(begins) == len(ends) == 1 and begins[0].end() < ends[0].start():
        behind = text[ends[0].end() :].strip()
        inner = text[begins[0].end() : ends[0].start()]
        return None if behind else f"{text[: begins[0].start()]}{heading}{inner}"
    arrows = [*_ARROWS.finditer(text)]
    if len(arrows) == 1:
        return f"{text[: arrows[0].start()]}{heading}{text[arrows[0].end() :]}"
    asked, answered = [*_ASKED.finditer(text)], [*_ANSWERED.finditer(text)]
    if (
        len(asked) == len(answered) == 2
        and asked[1].start() > answered[0].end()
        and not text[: asked[0].start()].strip()
    ):
        return f"{text[answered[0].end() : asked[1].start()]}{heading}{text[answered[1].end() :]}"
    leads = [*_LEADS.finditer(text)]
    if len(leads) == 1 and text[: leads[0].start()].strip():
        return f"{text[: leads[0].start()]}{heading}{text[leads[0].end() :]}"
    return None
