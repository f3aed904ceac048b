"""The verdict in a judgement of two responses, as a careful reader takes it. What is not certain is no verdict.

1. Thinking is not read (`core.thinking`); a refusal, nothing, or an answer that was cut is no judgement.
2. A verdict is [[A]], [[B]] or [[C]], also in full width, in 【【】】, or with spaces, emphasis or backslashes in it.
3. What is quoted is not said: quotation marks, code and block quotes, unless they hold the last line, alone. Nor is a
   judgement that stands word for word in one of the responses.
4. All verdicts that stand there must be the same one, else "several"; where there is none, "none".
5. One of them must be given: on a line of its own, or first or last in its sentence, behind a label or words that lead
   to nothing else. Denied, on a condition, within other words, or called an example behind it, it is "unclear"
   (`coig_p.reward.judging.given`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from coig_p.annotate.asking.ledger import ANSWERED, INVALID
from coig_p.annotate.asking.message import Message, encodable, usable_text
from coig_p.annotate.asking.request import Messages, Outcome
from coig_p.annotate.examples import called_example
from coig_p.annotate.tasks.again import told_again
from coig_p.annotate.tasks.judge import read_judgement
from coig_p.reward.judging.given import is_given, is_given_alone, refuses

FIRST, SECOND, TIE = "first", "second", "tie"
MARKS = {FIRST: "[[A]]", SECOND: "[[B]]", TIE: "[[C]]"}
"""How a judge writes each verdict."""

SCORES = {FIRST: 1.0, SECOND: 0.0, TIE: 0.5}
"""What a verdict gives the response that was shown first: how the ledger keeps it."""

FILTERED = ("content_filter", "content-filter", "safety", "sensitive")
"""Why a server ended an answer that it kept back."""

_LETTERS = {"A": FIRST, "B": SECOND, "C": TIE}
_OPENS, _CLOSES = r"\\?[\[［【]\s{0,4}", r"\s{0,4}\\?[\]］】]"
_MARK = re.compile(rf"{_OPENS}{_OPENS}[*_`]{{0,3}}((?i:[ABCＡＢＣ]))[*_`]{{0,3}}{_CLOSES}{_CLOSES}")
_FULL_WIDTH = str.maketrans("ＡＢＣ", "ABC")
_FENCE_LINE = re.compile(r"[ \t]*(?:```|~~~)\w*[ \t]*")
_QUOTED = re.compile(
    r"^[ \t]*(?:```|~~~)[^\n]*\n.*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)|^[ \t]*>[^\n]*$|(`{1,3})[^`\n]+\1(?!`)|"
    r"“[^“”]{0,2000}”|「[^「」]{0,2000}」|『[^『』]{0,2000}』|‘[^‘’\n]{0,500}’|\"[^\"\n]*\"|(?<!\w)'[^'\n]*'(?!\w)",
    re.MULTILINE | re.DOTALL,
)
_MOST_MARKS = 100  # of one judgement that are looked at, the last ones
_LEAST_COPIED = 8  # characters beside the verdict: a bare one may well stand in a response by chance


class Parsed(NamedTuple):
    """A verdict, first, second or tie; or why there is none: none, several, quoted, unclear."""

    verdict: str | None
    reason: str | None


def parse_verdict(text: str, responses: Sequence[str] = ()) -> Parsed:
    """The verdict that a judgement says.

    Args:
        text: what the judge said, without its thinking.
        responses: what it judged: a judgement that stands in one of them is a quotation.
    """
    final = _last_line(text)
    bare = _QUOTED.sub(" ", text)
    marks = list(_MARK.finditer(bare))
    said = {_letter(found) for found in marks} | ({final} if final else set())
    if not said:
        return Parsed(None, "quoted" if _MARK.search(text) else "none")
    if len(said) > 1:
        return Parsed(None, "several")
    if len(_plain(_MARK.sub("", text))) >= _LEAST_COPIED and any(_plain(text) in _plain(one) for one in responses):
        return Parsed(None, "quoted")
    if marks and called_example(bare[marks[-1].end() - 1 :]):
        return Parsed(None, "unclear")
    if final is None and not any(is_given(bare, one.start(), one.end()) for one in marks[-_MOST_MARKS:]):
        return Parsed(None, "unclear")
    return Parsed(_LETTERS[said.pop()], None)


def _last_line(text: str) -> str | None:
    """The letter of a verdict that is the last line, alone, also one in quotation marks or code."""
    lines = [line for line in text.splitlines() if line.strip() and not _FENCE_LINE.fullmatch(line)]
    found = _MARK.search(lines[-1]) if lines else None
    if found is None or not is_given_alone(lines[-1], found.start(), found.end()):
        return None
    return _letter(found)


def _letter(found: re.Match[str]) -> str:
    return found[1].upper().translate(_FULL_WIDTH)


def _plain(text: str) -> str:
    return "".join(text.split())


def read_verdict(message: Message, *, responses: Sequence[str] = (), several_stay: bool = False) -> Outcome:
    """What a judge's answer says of two responses: usable where it is whole and has its one verdict.

    Args:
        several_stay: one with two verdicts counts as an answer, which has no score: it is not asked again.
    """
    text, reason = usable_text(message)
    if text is None:
        return why_without(message, Outcome(INVALID, reason))
    if message.cut:
        return Outcome(INVALID, f"cut: {message.cut}")
    verdict, reason = parse_verdict(text, responses)
    if verdict is None:
        found = Outcome(ANSWERED if several_stay and reason == "several" else INVALID, reason, text)
        return why_without(message, found)
    return Outcome(ANSWERED, None, text, SCORES[verdict])


def read_rating(message: Message, *, response: str) -> Outcome:
    """The rating that a judge gives one response, half points too: see `coig_p.annotate.scores`."""
    return why_without(message, read_judgement(message, half_points=True, response=response))


def why_without(message: Message, found: Outcome) -> Outcome:
    """The same, where nothing can be read: with "refused" of what a filter kept back, "refusal" where it says so."""
    if found.state != INVALID:
        return found
    if message.finish in FILTERED and not (message.text or "").strip():
        return found._replace(reason="refused")
    if found.reason in ("none", "empty") and refuses(message.text or ""):
        return found._replace(reason="refusal")
    return found


def read_for_a(message: Message) -> Outcome:
    """The same as RewardBench's code has it: [[A]] anywhere is for A, else [[B]] for B; all else is a tie."""
    text = encodable(message.text or "")
    verdict = FIRST if "[[A]]" in text else SECOND if "[[B]]" in text else TIE
    return Outcome(ANSWERED, None, text, SCORES[verdict])


def verdict_of(score: float) -> str:
    """The verdict that the ledger keeps as a score."""
    return next(verdict for verdict, known in SCORES.items() if known == score)


# By the reason for which a judgement is invalid.
_LACKS = {
    "cut": "上一次的评审没有写完就断了。请写得简短些。",
    "unfinished": "上一次只有思考，没有写出评审。",
    "empty": "上一次没有写出评审。",
    "none": "上面没有写出结论。",
    "several": "上面的结论不止一个。",
    "quoted": "上面只有照抄自材料的结论，没有你自己的结论。",
    "unclear": "上面的结论被否定、带条件，或者夹在句子里。",
}
_SAME = {"refusal": "empty", "refused": "empty"}
_FORM = (
    "请重新评审这两个回答：先写简要的分析，最后另起一行，只写一个结论：回答 A 更好，写 [[A]]；回答 B 更好，写 [[B]]；"
    "不分高下，写 [[C]]。"
)


def asked_again(sent: Messages, message: Message, reason: str) -> list[Messages]:
    """What a judge is sent once more whose verdict could not be read: for this reason, and for every other one.

    Args:
        sent: what it was sent before.
        message: its answer to that.
        reason: why that is invalid.
    """
    return told_again(sent, message, reason, lacks=_LACKS, same=_SAME, form=_FORM)
