"""What is shaped as a list of question types and is none: taken back, a plan, questions, data of a catalogue."""

from __future__ import annotations

import re

from coig_p.annotate.tap.lines import COLON, QUOTES
from coig_p.annotate.tap.reads import QuestionType

_ABOVE = r"(?:以上|上述|上面|前面|刚才|前述|这些|它们|(?<![一-鿿])其中|\b(?:the above|these)\b)"
_BACK = (
    r"作废|撤回|收回|不作数|不算数|无效|(?:请勿|不要|别|勿)(?:使用|采用|采纳|当真|录用)|(?:请|可以?)(?:予以)?(?:忽略|无视)"
    r"|(?:不(?:是|属于|算)|并非)(?![^。，\n]{0,10}(?:全部|所有|唯一|仅有|固定))"
    r"(?:真正|正式|最终|本|该|此|[^。，\n]{0,12}(?:题型|类型|学|专业|领域|types?\b))"
    r"|(?:随手|随便|胡乱|临时)(?:写|编)|编造|杜撰|虚构|瞎编|(?:都|全部?|均)(?:不对|有误|错了?|删)"
    r"|\b(?:withdraw|disregard|ignore|invalid|made up|do not use)\b"
)
_TAKES_BACK = re.compile(
    rf"{_ABOVE}[^。\n]{{0,30}}?(?:{_BACK})|(?:全部|一律|统统|全都)(?:作废|撤回|收回|删除|取消)", re.IGNORECASE
)
_SUPPOSES = re.compile(r"如|若|假|可能|是否|\b(?:if|may)\b", re.IGNORECASE)
_OF_ONE = re.compile(
    r"第[一二三四五六七八九十\d]{1,3}[个条种项类]?[^。\n]{0,15}?(?:作废|撤回|收回|不作数|不算数|删除|删掉|去掉|划掉|忽略|重复)"
)
# Before a list, what it is of.
_OF_WHAT = (
    r"(?:步骤|计划|流程|安排|原因|理由|信息|资料|教材|书目|文献|建议|事项|课程|目标|特点|要求|知识点|章节|目录"
    r"|问题|情况|条件)"
)
_LEADS_ELSEWHERE = re.compile(
    rf"^(?![^\n]*(?:题型|类型|types?\b))[^\n]{{0,60}}{_OF_WHAT}[^\n{COLON}]{{0,6}}(?:如下|包括|有)?[^\n{COLON}。]{{0,4}}"
    rf"[{COLON}]\s*$",
    re.MULTILINE | re.IGNORECASE,
)
_ASKS = re.compile(
    r"(?:先|需要?|想|请)[^。\n]{0,10}(?:确认|告诉我|告知|问一?下?[您你]|向[您你])"
    r"|请[您你]?先?(?:回答|提供|确认|补充)|需要[您你]先?(?:回答|提供|确认|补充)"
    r"|\bcould you (?:tell|clarify|confirm)|\bbefore I (?:list|start)",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\A\W*(?:很|非常|十分|实在)?(?:抱歉|对不起|不好意思|遗憾|(?:I['’]m |I am )?sorry\b|I can(?:no"
    r"|['’])t\b)[^\n]{0,80}?"
    r"(?:不能|无法|不便|不会|拒绝|不可以|cannot|can['’]t|unable|not able|won['’]t)(?![^\n]*(?:但|不过|仍"
    r"|\bbut\b|however))",
    re.IGNORECASE,
)
_COUNT = r"\s?[一二三四五六七八九十\d]{0,3}"
# Names of what a plan, a catalogue, a conversation, an exercise or a notice consists of.
_NAMES = re.compile(
    r"(?:第[一二三四五六七八九十\d]{1,3}(?:步|阶段|天|周|月|学期|章|节|讲|课|轮)|.{0,4}步骤|(?:准备|实施|总结|前期|中期|后期)阶段"
    r"|(?:所属)?(?:专业|学科|学位|课程|学校|院系|学院|门类)(?:名称|代码|简介|概述|概况|门类|类别|级别|设置|体系|特色|介绍|层次)"
    r"|(?:专业|学科|课程|学位|国标)?(?:代码|编号|代号)|(?:基本)?(?:修业|学习)年限|(?:基本)?学制|授予学位|学位授予.{0,2}|学分|学时|开设.{0,4}|所属.{1,6}|[一二]级学科"
    r"|(?:培养|教学|课程|学习|毕业|就业)(?:目标|要求|规格|方向|前景|大纲|去向|内容|模式|计划|单位|领域)"
    r"|(?:主要|核心|主干|先修|相关|必修|选修)(?:课程|教材|学科|专业)|参考(?:书目?|文献|资料|教材)|考核(?:方式|形式)|考研方向|研究(?:方向|对象|领域)|修读年限|招生.{0,4}"
    r"|(?:问题?|答案?|回答|题目|题干|练习|习题|例题|输入|输出|解析|解答?|选项|指令|Q|A|question|answer|exercise|prompt|instruction)"
    r"|(?:用户|系统|助手|客服|学生|老师|教师|模型)(?:提示|消息|通知|公告)?|(?:系统|服务|温馨|重要|安全|友情|网站|平台|版权|免责|注意)?(?:提示|公告|声明|警告|通知|公示|须知)|(?:系统|服务器?|网络|请求)错误"
    r"|step|phase|stage|week|degree|credits?|prerequisites?|notice|warning|error)",
    re.IGNORECASE,
)
_QUESTION = re.compile(r"[?？][”\"』」）)]*\Z")
_BYTES = (
    "\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc"
    "\u2013-\u2026\u2030\u2039\u203a\u20ac\u2122"
)
_MISREAD = re.compile(f"[\u00e3-\u00ef][{_BYTES}]{{2}}")  # UTF-8 that was read as Latin-1


def is_misread(text: str) -> bool:
    """Whether a text is Chinese in UTF-8 whose bytes were read as letters of Latin-1."""
    return _MISREAD.search(text) is not None


def without_taken_back(text: str) -> str | None:
    """What stands behind a line that takes back all above it; None where it takes back a part, which nobody can say."""
    last = 0
    quoted = 0
    at = 0
    for line in text.split("\n"):
        at += len(line) + 1
        inside, quoted = bool(quoted % 2) or QUOTES in line, quoted + line.count(QUOTES)
        if inside:
            continue
        if (found := _TAKES_BACK.search(line)) is not None and not _SUPPOSES.search(line[: found.end()]):
            last = at
        elif (found := _OF_ONE.search(line)) is not None and not _SUPPOSES.search(line[: found.end()]):
            return None
    return text[last:] if last else text


def is_of_something_else(types: tuple[QuestionType, ...], text: str, *, quoted: bool) -> bool:
    """Whether a list is no list of question types, by its names, its descriptions and what leads to it.

    Args:
        quoted: whether triple quotes stand around its items, as asked for: then questions alone speak against it.
    """
    asks = [_QUESTION.search(one.description) is not None for one in types]
    if all(asks) and (not quoted or any(re.search("[您你]", one.description) for one in types)):
        return True
    if quoted:
        return False
    if any(_NAMES.fullmatch(re.sub(rf"{_COUNT}\Z", "", one.name) or one.name) for one in types):
        return True
    first = text.find(types[0].name)
    before = text[: first if first >= 0 else 0]
    before = before[: before.rfind("\n") + 1]
    if _REFUSES.match(text) or _ASKS.search(before):
        return True
    lead = before.rstrip().rpartition("\n")[2]
    return _LEADS_ELSEWHERE.search(lead) is not None


def is_cut(types: tuple[QuestionType, ...], text: str) -> bool:
    """Whether a text ends with the last description, and that ends within a sentence, as those before do not."""
    *above, last = (one.description for one in types)
    if not text.rstrip(" *`\n").endswith(last):
        return False
    if last[-1] in "，、（(,—" or any(
        last.count(one) > last.count(other) for one, other in ("（）", "《》", "“”", "「」")
    ):
        return True
    return len(above) > 1 and last[-1].isalnum() and all(one[-1] in "。.！!" for one in above)
