"""Whether a verdict that stands in a judgement is given by it, as a careful reader takes it; and whether it refuses.

A verdict is given where it stands alone on a line, or ends a sentence behind a label (`最终判定：`) or words that lead
to a choice and nothing else (`因此我选择`, `My verdict is`), or begins one that goes on with a reason. It is not where
it is denied, asked, or holds on a condition, and not within other words, which may be anybody's.
"""

from __future__ import annotations

import re

_WINDOW = 200  # characters before and behind that are looked at
_DECORATION = re.compile(
    r"\\(?:boxed|text|textbf|mathbf|fbox)\b|[*_`#$~{}()（）\[\]［］【】\"“”「」『』|\t\u3000 ]|(?<!\w)['‘’]|['‘’](?!\w)"
)
_BULLET = re.compile(r"^\s*(?:[-•·+]|\d{1,2}[.)、])\s*")
_BRACKET = re.compile(r"^[\s*_`]*[(（]")
_ENDS = re.compile(r"[。！？!?\n]|\.(?=\s)")
_CLAUSES = re.compile(r"[，,；;、]|——?|—")

_CONDITION = re.compile(
    r"如果|假如|假设|假使|倘若|若是|要是|若(?!干)|除非|万一|的话|否则|取决于|视.{0,12}而定|只要|只有.{0,12}才|"
    r"前提(?:是|下)|当.{0,20}时|按.{0,12}标准|单看|仅看|只看|就.{0,12}而言|"
    r"\bif\b|\bunless\b|\bassuming\b|\bprovided\b|\bsuppos(?:e|ing)\b|\botherwise\b|\bdepend(?:s|ing)\b|\bin case\b|"
    r"\bwhen\b|\bwere\b|\bhad\b|\bshould you\b|\bwould have\b",
    re.IGNORECASE,
)
_DENIAL = re.compile(
    r"不(?!分|相上下)|没(?!有(?:明显)?的?(?:差别|区别|高下))|非(?!常)|未|无|别|勿|莫|错|误|反对|排除|放弃|拒绝|避免|除了|而非|差的|劣|败|输(?!出)|"
    r"\b(?:not|never|no|nor|neither|cannot|without|wrong|incorrect|false|worse|worst|bad|weaker|los(?:er|es|ing)|"
    r"reject(?:ed|s)?|against|except|instead|rather|avoid|hardly)\b|n['’]t\b",
    re.IGNORECASE,
)
_OTHERS = re.compile(
    r"要求|请|例如|比如|示例|样例|格式|假装|声称|宣称|自称|写道|写着|有人|可能|也许|或许|大概|原本|本来|差点|曾|以为|"
    r"说|问|用户|回答\s?[ABＡＢ]|若|则|还是|or\b|\b(?:example|format|template|e\.g|maybe|perhaps|might|could|possibly|"
    r"says?|said|claims?|asks?|user|instructs?|told|output)\b|[?？]",
    re.IGNORECASE,
)
_SO = (
    r"(?:所以|因此|因而|故此?|于是|综上(?:所述)?|总之|总的来说|总体(?:而言|来看|上)?|综合(?:来看|考虑|以上|比较)?|最后|据此|"
    r"由此(?:可见)?|可见)"
)
_RESULT = re.compile(rf"\s*(?:{_SO}|\b(?:so|therefore|thus|hence|overall|in conclusion|consequently)\b)", re.IGNORECASE)
_NOUN = r"(?:判定|判断|判决|结论|答案|选择|评审|评判|评价|裁决|裁定|评定|决定|意见|结果|投票|一票|胜者|赢家)"
_VERB = r"(?:选择?|判定?|判断|投(?:票)?给?|给出?|支持|认为|裁定|评定?|更?喜欢|更?偏好|推荐|更?倾向于?)"
_LEADS = re.compile(
    rf"\s*(?:{_SO}\s*)*(?:我们?|本人|本评审|本评委|评审)?\s*(?:的|最终|最后|将|会|还是|应该?|就|要|仍|给出|做出|作出)*"
    rf"\s*(?:{_NOUN}|{_VERB}|更[好优]的?(?:回答|一方|答案)?|胜出的?(?:回答|一方)?){{1,3}}\s*(?:的?是|为|应为|应是|就是|如下)?\s*|"
    r"\s*(?:(?:so|therefore|thus|hence|overall|in conclusion|to conclude|in summary|finally|consequently|and)\s+)*"
    r"(?:(?:my|the|our)?\s*(?:final|overall)?\s*"
    r"(?:verdict|decision|choice|answer|judge?ment|conclusion|vote|pick|winner|preference|result)\s*"
    r"(?:is|goes\s+to|=)?|"
    r"(?:i|we)\s*(?:will|shall|would|do|['’](?:ll|d))?\s*(?:therefore|finally|thus|also|clearly)?\s*"
    r"(?:choose|pick|select|prefer|go\s+with|vote\s+for|favou?r|give|conclude|judge|declare)\s*(?:that|it\s+is|for)?|"
    r"the\s+(?:better|best|stronger|winning)\s+(?:response|answer|one|assistant)?\s*(?:overall)?\s*is)\s*",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"\s*(?:[，,。.;；!！:：、—–-]|因为|由于|理由|because\b|since\b|as\b|更[好优佳]|[较略稍]?[好优胜]|明显更|胜出|获胜|"
    r"is\s+(?:clearly\s+|much\s+|slightly\s+)?(?:the\s+)?(?:better|best|winner|stronger)\b|wins\b)",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(
    r"\W{0,3}(?:(?:这|那|我|它)?(?:是|就|并|都|也|显然|其实|可能)?(?:不对|不是|不成立|不正确|不合适|不妥|不可取|不行|并不|错|有误|有问题)|"
    r"(?:才怪|吗|么|呢|与否|还是|或者?)|(?:is|are|was|would|might|may|could|should|or|isn['’]t|not|wrong|incorrect|no|nope|right)\b"
    r"(?!\s+(?:clearly\s+|much\s+|slightly\s+)?(?:the\s+)?(?:better|best|winner|stronger)\b))",
    re.IGNORECASE,
)
_REFUSES = re.compile(
    r"\W*(?:(?:非常|很|十分|实在)?(?:抱歉|对不起|很遗憾|不好意思)[^\n]{0,40}(?:不能|无法|不会|不便|没有办法|没办法)|"
    r"(?:作为|身为)[^\n]{0,30}(?:不能|无法|不便|不会)|我(?:无法|不能|不便|没办法|拒绝)|无法(?:回答|评审|评判|协助|提供)|"
    r"(?:i['’]?\s?a?m\s+(?:very\s+|really\s+)?)?sorry\b|my\s+apologies|i\s+apologi[sz]e|"
    r"i\s+(?:can\s?not|can['’]t|won['’]t|must\s+decline|(?:a|['’])?m\s+(?:not\s+able|unable))|as\s+an?\s+ai\b)",
    re.IGNORECASE,
)
_LONGEST_REFUSAL = 300  # characters
_LONGEST_LABEL = 24


def refuses(text: str) -> bool:
    """Whether a text without a verdict says that none will be given."""
    return len(text.strip()) <= _LONGEST_REFUSAL and _REFUSES.match(text.strip()) is not None


def is_given_alone(line: str, start: int, end: int) -> bool:
    """Whether a verdict is all of a line but for decoration, and a label before it."""
    if _bare(line[end:]).strip("。.!！"):
        return False
    before = _spoken(_BULLET.sub("", line[:start])).strip()
    return not before or (before[-1] in ":：" and _is_label(before[:-1]))


def is_given(text: str, start: int, end: int) -> bool:
    """Whether a text gives the verdict that stands in it from `start` to `end`."""
    before, behind = text[max(0, start - _WINDOW) : start], text[end : end + _WINDOW]
    line = _BULLET.sub("", before.rpartition("\n")[2])
    rest = behind.partition("\n")[0]
    if not _bare(line) and not _bare(rest).strip("。.!！"):
        return True
    rest = _BRACKET.sub("，", rest)
    ends = list(_ENDS.finditer(line))
    sentence = _spoken(line[ends[-1].end() :] if ends else line)
    return _is_led_to(sentence) and _is_left(sentence, _spoken(rest))


def _is_led_to(sentence: str) -> bool:
    """Whether what stands in its sentence before a verdict leads to it."""
    if not sentence.strip():
        return True
    *earlier, last = _CLAUSES.split(sentence)
    label, colon, words = last.replace("：", ":").rpartition(":")
    if not last.strip():  # a comma, and the verdict behind it
        return bool(earlier) and _RESULT.fullmatch(earlier[-1].rstrip()) is not None
    if not _RESULT.match(last) and (_CONDITION.search(sentence) or any(_OTHERS.search(one) for one in earlier)):
        return False
    if not colon:
        return any(one.fullmatch(last.rstrip()) for one in (_LEADS, _RESULT))
    return _is_label(label) and (not words.strip() or _LEADS.fullmatch(words) is not None)


def _is_label(label: str) -> bool:
    """Whether words before a colon name what follows them, and deny nothing."""
    label = label.strip()
    right = len(label) <= _LONGEST_LABEL and ":" not in label.replace("：", ":")
    return right and not any(one.search(label) for one in (_DENIAL, _CONDITION, _OTHERS))


def _is_left(sentence: str, rest: str) -> bool:
    """Whether what stands behind a verdict leaves it as it is."""
    end = _ENDS.search(rest)
    own = rest if end is None else rest[: end.start()]
    if (end is not None and end[0] in "?？") or _CONDITION.search(own) or _TAKEN_BACK.match(own):
        return False
    return not own.strip() or _GOES_ON.match(own) is not None


def _spoken(text: str) -> str:
    """Without what only decorates it."""
    return _DECORATION.sub(" ", text)


def _bare(text: str) -> str:
    return _DECORATION.sub("", text).strip()
