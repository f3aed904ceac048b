"""The score in a judgement, as a careful reader takes it. What is not certain is no score.

1. Thinking is not read (`core.thinking`); a block of it that never closes is "unfinished".
2. What is quoted never sets a score (`quoting`), nor does a score that stands word for word in the response, its
   label included: "quoted".
3. A judgement that is a JSON object, or ends with one, says its score under a name of the overall score, or "score"
   (`structured`).
4. Else scores are looked for in three ways (`scores`), and the first that finds one is believed: behind a label of
   the overall score (总体评分, overall score), wherever it stands, full marks, a grade or deductions told before it,
   or in its row or below it in a table (`tables`); behind a plain label where a line or clause begins (评分, score),
   or in a sentence that gives it; alone on the last line, a bare number where a paragraph ends before it, or on the
   first before reasons. A clause that tells what the response says or wants gives none (`quoting.told_of`), nor does
   one that supposes or refuses, that speaks of a part or of somebody else's, or that is called an example behind it
   (`examples`). What they are called stands in
   `labels`, and `plain` brings a text into one form first.
5. All that this way finds must be the same number, and none that a later way finds behind it may be another, nor
   may a word of correction follow with another, nor may two responses have a score each: "several".
6. A number may stand in any brackets, with 分, /10, "out of 10", emphasis, and a remark behind a comma. Two numbers
   are a "range"; "about", "or more" what is no number, and sums but a mean that comes
   out are "malformed"; a scale other than ten is "other-scale",
   unless it is converted to ten at once, or the fraction of ten that equals it stands behind it (80%, i.e. 8/10);
   a digit that touches the bracket is "glued". Numbers that nothing makes a score of are "not-final".
7. It must lie from 1 to 10, else "out-of-range", and be whole, or half where half points are allowed, else
   "off-step".
"""

from __future__ import annotations

import re
from itertools import islice
from typing import NamedTuple

from coig_p.annotate.labels import RESPONSE, RESPONSE_EN
from coig_p.annotate.plain import plain
from coig_p.annotate.quoting import unmarked, unquoted
from coig_p.annotate.score_tables import tabled
from coig_p.annotate.scores import alone, closed, given, labelled
from coig_p.annotate.structured import as_json, of_json
from coig_p.annotate.values import Found
from coig_p.core.thinking import told

LOW, HIGH = 1, 10
"""The lowest and the highest score (COIG-P, section 3.3)."""

_MOST = 64  # scores in one judgement; more are no judgement of one response
_CORRECTS = re.compile(
    r"修正|更正|订正|改为|改成|应为|应该是|不对|重新|更新|correction|corrected|revis|instead|update", re.IGNORECASE
)
# Words that correct only where a score is given behind them.
_THINKS_AGAIN = re.compile(
    r"(?:等等|等一下|再想|再考虑|转念|\b(?:wait|hmm|actually|on second thought|on reflection)\b)[^\n]{0,60}?"
    r"(?:[为是给打到]|\b(?:be|is|to|it|an?)\b) {0,3}\[?([0-9]{1,2}(?:\.[0-9])?)(?=\]|分| ?/ ?10|[。.!！]?(?:\s|\Z))",
    re.IGNORECASE,
)
_NUMBERS = re.compile(r"[\[:为是 ]([0-9]{1,9}(?:\.[0-9]{1,9})?)(?=[\]分 。.]|$)")
# Scores of several responses.
_EACH_ITS_OWN = re.compile(
    rf"(?:{RESPONSE}|模型|助手|选项|\b(?:{RESPONSE_EN}|assistant|model|candidate) ?)"
    r"([A-D甲乙丙]|[1-4](?![0-9.]| ?分| ?/)|[一二三四](?!分))"
    r"(?:[的'’s ]{0,3}(?:总体|综合|最终|overall |final )?(?:评分|得分|总分|分数|score|"
    r"rating))?[ *_:为是]{1,6}\[{0,2}[0-9]",
    re.IGNORECASE,
)
_BRACKET = re.compile(r"(?<![A-Za-z0-9_)\]])\[[^\[\]\n]{0,200}?[0-9][^\[\]\n]{0,200}\](?![(:])")
_FENCE_OF_ALL = re.compile(r"```\w{0,20} {0,9}\n(.*)\n {0,9}```", re.DOTALL)
_MARKS = re.compile(r"[\s*_`>\"']+")  # they make no other phrase
_BEGINS_BARE = re.compile(r"[\[({<*$ 0-9]")


class Parsed(NamedTuple):
    """A score, or why there is none: exactly one of the two is set."""

    score: float | None
    reason: str | None


def parse_score(text: str, *, half_points: bool = True, response: str = "") -> Parsed:
    """The one score of a judgement under the rules above. Never raises.

    Args:
        half_points: whether a score may end in a half.
        response: what was judged: a score phrase that stands in it is a quotation.
    """
    said = told(text).said
    if said is None:
        return Parsed(None, "unfinished")
    parsed = _read(plain(unmarked(said)), _Response(response))
    if parsed.score is None:
        return parsed
    if not LOW <= parsed.score <= HIGH:
        return Parsed(None, "out-of-range")
    if (parsed.score * (2 if half_points else 1)) % 1:
        return Parsed(None, "off-step")
    return parsed


def repeats(text: str, response: str) -> bool:
    """Whether a judgement holds a score, with its label, that stands word for word in the response."""
    said = told(text).said
    if said is None or not response:
        return False
    said, of = plain(said), _Response(response)
    value, said = as_json(closed(said))
    ways = of_json(value, said) if value is not None else _ways(said)
    return any(of.holds(at) for way in ways for at in way)


class _Response:
    """A response in which score phrases are looked up."""

    def __init__(self, text: str) -> None:
        text = plain(text) if text else ""
        self._text = _MARKS.sub("", text)
        self._lines = {_MARKS.sub("", line) for line in text.splitlines()}

    def holds(self, at: Found) -> bool:
        """Whether a score stands in it with its label; one without a label: as a line of its own."""
        phrase = _MARKS.sub("", at.phrase)
        if not phrase:
            return False
        if _BEGINS_BARE.match(at.phrase):
            return phrase in self._lines
        return re.search(re.escape(phrase) + r"(?!\.?[0-9])", self._text) is not None


def _read(said: str, response: _Response) -> Parsed:
    value, said = as_json(closed(said))
    if value is not None:
        return _first(of_json(value, said), response) or Parsed(None, "none")
    unfenced = _FENCE_OF_ALL.fullmatch(said)
    if unfenced is not None and "```" not in unfenced[1]:
        said = unfenced[1]
    said = unquoted(said)
    if len({one[1].lower() for one in _EACH_ITS_OWN.finditer(said)}) > 1:
        return Parsed(None, "several")
    ways = _ways(said)
    found = _first(ways, response)
    if found is None:
        return Parsed(None, "not-final" if _BRACKET.search(said) else "none")
    if found.score is None:
        return found
    chosen = next(way for way in ways if any(at.number == found.score for at in way))
    end = min(at.end for at in chosen if not response.holds(at))
    if _corrected(said, end, found.score):
        return Parsed(None, "several")
    return found


def _ways(said: str) -> list[list[Found]]:
    """What each way finds, without what a way before it found."""
    ways: list[list[Found]] = []
    taken: list[Found] = []
    for way in (
        [labelled(said, overall=True), tabled(said)],
        [labelled(said, overall=False), given(said)],
        [alone(said)],
    ):
        ways.append([])
        for some in way:
            found = [at for at in islice(some, _MOST) if not _overlaps(at, taken)]
            ways[-1] += found
            taken += found
    return ways


def _overlaps(at: Found, others: list[Found]) -> bool:
    return any(other.start < at.end and at.start < other.end for other in others)


def _first(ways: list[list[Found]], response: _Response) -> Parsed | None:
    """What the first way says that finds a score of the judge's own; None where none does."""
    quoted = False
    for place, way in enumerate(ways):
        ours = [at for at in way if not response.holds(at)]
        quoted = quoted or len(ours) < len(way)
        if not ours:
            continue
        unread = [at.reason for at in ours if at.reason is not None]
        if unread:
            return Parsed(None, unread[-1])
        end = min(at.end for at in ours)
        later = [at for after in ways[place + 1 :] for at in after if at.start >= end and not response.holds(at)]
        numbers = {at.number for at in (*ours, *later) if at.number is not None}
        return Parsed(numbers.pop(), None) if len(numbers) == 1 and len(ours) < _MOST else Parsed(None, "several")
    return Parsed(None, "quoted") if quoted else None


def _corrected(said: str, end: int, number: float) -> bool:
    """Whether a word of correction follows, and behind it in its line another number."""
    for word in islice(_CORRECTS.finditer(said, end), _MOST):
        line = said[word.end() - 1 : word.end() + 200].partition("\n")[0]
        if any(float(other) != number for other in _NUMBERS.findall(line)):
            return True
    return any(float(again[1]) != number for again in islice(_THINKS_AGAIN.finditer(said, end), _MOST))
