"""Whether a translation into Chinese still asks what its original asks: what must stay is there, and nothing is new.

Each check is a plain rule over the two texts, stated in docs/annotate.md. None looks at meaning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from coig_p.annotate.numbers import chinese_numbers, english_numbers
from coig_p.validation.checks.script import traditional_share

# What stays as it is, letter by letter.
_FENCED = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`)[^\n]+?(?<!`)\1(?!`)")
_FORMULA = re.compile(
    r"\$\$.+?\$\$|\\\(.+?\\\)|\\\[.+?\\\]|(?<![\\$\w])\$(?![\s$])(?=[^$\n]*[\\^_={}+<>|]|[A-Za-z]\w{0,2}\$)[^$\n]*?"
    r"(?<![\s\\])\$(?![\d$])",
    re.DOTALL,
)
_TEXT_IN_FORMULA = re.compile(r"\\(?:text|mathrm|textbf|mbox)\{[^{}]*\}|\s+")
_ADDRESS = re.compile(
    r"https?://[^\s<>\"'）)，。]+[^\s<>\"'）)，。.,;:!?]|\bwww\.[\w.-]+\.\w{2,}[\w/]*|[\w.+-]+@[\w-]+\.[\w.-]*\w"
)
_PLACEHOLDER = re.compile(r"\{\{\s*\w+\s*\}\}|\{\w+\}|(?<!\w)%[sd](?!\w)|</?[A-Za-z][\w-]*/?>|\[[A-Z][A-Z_]{2,}\]")
_VERSION = re.compile(r"\bv?\d+(?:\.\d+){2,}\b")

# Names.
_WORD = r"[A-Z][\w’'.&-]*[\w]|[A-Z]\."
_NAME = re.compile(rf"(?<![\w-])(?:{_WORD})(?: (?:(?:de|da|van|von|der|la|du|&) )?(?:{_WORD}))+")
_STARTS = re.compile(r"(?:\A|[.!?:;\n\"“(*#>•-])\s*\Z")
_MARKED = re.compile(  # iPhone, GPT-4, NASA, foo_bar, main()
    r"(?<![\w-])(?:[a-z]+[A-Z]\w*|[A-Z][a-z]+(?:[A-Z][a-z]*)+\w*|[A-Za-z]+-?\d[\w-]*|[A-Za-z]\w*_\w+(?:\(\))?|[A-Za-z]\w*\(\)|"
    r"(?![IVXLC]+(?!\w))[A-Z][A-Z&]*[A-Z]s?)(?![\w-]|\(\))"
)
_COMMON = frozenset(
    re.findall(
        r"\S+",
        "a about after all also although am an and any are as ask at based be because before being both but by "
        "calculate can choose compare compute consider convert could create define describe design determine develop "
        "did discuss do does during each either every evaluate explain find first for from generate give given had "
        "has have he her here his how however i if imagine implement in into is it its let list make many may more "
        "most much must my name no not now of on one only or our outline please prove provide question rewrite say "
        "select she should show simplify since so solve some suggest summarize suppose tell than that the their then "
        "there these they this those though to translate true under until use using was we were what when where "
        "whether which while who whom whose why will with would write yes you your dear hello hi mr mrs ms dr prof "
        "sir st vs etc ok okay tv us usa uk eu un am pm bc ad bce ce dvd cd id q d faq diy monday tuesday wednesday "
        "thursday friday saturday sunday january february march april june july august september october november "
        "december ",
    )
)
_KNOWN = frozenset(
    re.findall(
        r"[^|]+",
        "united states|united kingdom|united nations|european union|soviet union|new york|new york city|"
        "new zealand|hong kong|los angeles|san francisco|great britain|south korea|north korea|south africa|"
        "north america|south america|latin america|saudi arabia|middle east|world war|world war i|"
        "world war ii|white house|new year|christmas eve|christmas day|chinese new year|mother's day|"
        "nobel prize|olympic games|world cup|wall street|pacific ocean|atlantic ocean|indian ocean|"
        "great wall|great depression|middle ages|cold war|old testament|new testament|santa claus|big bang|"
        "milky way|solar system|las vegas|washington d.c.",
    )
)

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA = re.compile(r"[\u3041-\u30ff\uac00-\ud7a3]")
_LETTER = re.compile(r"[^\W\d_]")
_LOWER_WORD = re.compile(r"(?<![\w-])[a-z]{3,}(?![\w-])")
_LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
_MARKERS = re.compile(r"<<<(?:问题|回答)(?:开始|结束)|^【(?:问题|译文)】", re.MULTILINE)
_PREAMBLE = re.compile(
    r"\A\s*[*_#“\"]{0,3}(?:以下是|下面是|这是|译文|翻译|中文翻译|中文译文|好的|当然)[^\n，。？?]{0,20}[:：\n]|"
    r"^[（(]?(?:注|译注|译者注|说明|备注)\s*[:：]",
    re.MULTILINE,
)
_SPEAKS_OF_IT = re.compile(r"\btranslat|\bnotes?\b", re.IGNORECASE)
_REFUSES = re.compile(r"\A\s*(?:非常)?(?:抱歉|对不起|很遗憾|不好意思)[^\n]{0,40}(?:不能|无法|不会|不便)")
_SHOWN = 6  # of what is missing, in a reason
_LONGEST, _SHORTEST = 2.0, 0.08  # characters of a translation, by those of its original
_FEW, _SOME = 40, 60


class Lack(NamedTuple):
    """Something that is wrong with a translation: a short fixed reason, and which words it is about."""

    reason: str
    what: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f", … ({len(self.what)})" if len(self.what) > _SHOWN else ""
        return f"{self.reason}: {', '.join(self.what[:_SHOWN])}{more}" if self.what else self.reason


def needs_translation(text: str) -> bool:
    """Whether a text is in another language than Chinese; one without words is in none."""
    prose = _without(text, _spans(text))
    han, letters = len(_HAN.findall(prose)), len(_LETTER.findall(prose))
    return han * 4 < letters and bool(_LATIN_WORD.search(prose) or _KANA.search(prose) or letters >= 2)


def lacks(original: str, translated: str, *, names: bool = True) -> list[Lack]:
    """What is wrong with a translation, in a fixed order; nothing where it can be used."""
    kept = _spans(original)
    before = _without(original, kept)
    after = _without(translated, kept)
    given = list(names_in(before)) if names else []
    found = [
        Lack("markers") if _MARKERS.search(translated) and not _MARKERS.search(original) else None,
        Lack("refusal") if _REFUSES.match(translated) else None,
        Lack("preamble") if _PREAMBLE.search(translated) and not _SPEAKS_OF_IT.search(original) else None,
        _language(after, given),
        _code(kept, translated),
        _numbers(before, after),
        _names(given, translated),
        Lack("question") if original.rstrip().endswith("?") and not re.search(r"[?？]", translated) else None,
        _length(before, after),
    ]
    return [lack for lack in found if lack is not None]


def _spans(text: str) -> list[str]:
    """Code, formulas, addresses, placeholders and versions, as they stand in a text; none overlaps another."""
    spans: list[str] = []
    for pattern in (_FENCED, _CODE, _FORMULA, _ADDRESS, _PLACEHOLDER, _VERSION):
        spans += [match[0] for match in pattern.finditer(text)]
        text = pattern.sub(" ", text)
    return spans


def _without(text: str, spans: list[str]) -> str:
    """A text without these, and without what looks like them."""
    for span in sorted(spans, key=len, reverse=True):
        text = text.replace(span, " ")
    for pattern in (_FENCED, _CODE, _FORMULA, _ADDRESS, _PLACEHOLDER, _VERSION):
        text = pattern.sub(" ", text)
    return text


def _code(spans: list[str], translated: str) -> Lack | None:
    have = _as_kept(translated)
    missing = [span for span, number in Counter(spans).items() if have.count(_as_kept(span)) < number]
    return Lack("code", tuple(" ".join(span.split())[:60] for span in missing)) if missing else None


def _as_kept(text: str) -> str:
    """For comparing: without white space, and words in formulas, which may be translated."""
    return _TEXT_IN_FORMULA.sub("", text)


def _language(after: str, names: list[str]) -> Lack | None:
    prose = after
    for name in names:
        prose = prose.replace(name, " ")
    han = len(_HAN.findall(prose))
    if not han or len(_LOWER_WORD.findall(prose)) * 2 > han or len(_KANA.findall(prose)) * 5 > han:
        return Lack("language")
    return Lack("traditional") if traditional_share(prose) >= 0.05 else None


def _numbers(before: str, after: str) -> Lack | None:
    """Every number is there as often as it was, in digits or in Chinese; and none in digits that is new."""
    wanted, explained = english_numbers(before)
    have = chinese_numbers(after)
    missing = []
    for number in wanted:
        at = next((place for place, one in enumerate(have) if one.values & number.values), None)
        if at is None:
            missing.append(number.text)
        else:
            have.pop(at)
    known = explained.union(*(number.values for number in wanted)) if wanted else explained
    new = [one.text for one in have if one.digits and not one.values & known]
    what = (*missing, *(f"+{text}" for text in new))
    return Lack("numbers", what) if what else None


def names_in(text: str) -> Iterator[str]:
    """Names of two words or more, and words that are written as none else: GPT-4, iPhone, NASA, foo_bar."""
    words = re.findall(r"[A-Za-z][\w'’-]*", text)
    if len(words) > 4 and sum(word[0].isupper() for word in words) * 5 > 4 * len(
        words
    ):  # a title, or all of it in capitals: letters tell nothing
        return
    seen = set()
    for match in _NAME.finditer(text):
        parts = match[0].split(" ")
        if _STARTS.search(text[: match.start()]):
            while parts and parts[0].lower().strip(".'’") in _COMMON:
                parts.pop(0)
        while parts and parts[-1].lower().strip(".'’") in _COMMON:
            parts.pop()
        name = re.sub(r"[’']s\Z", "", " ".join(parts)).rstrip(".")
        if len(name.split()) < 2 or name.lower().replace("’", "'") in _KNOWN or name in seen:
            continue
        if all(part.lower() in _COMMON for part in name.split()):
            continue
        seen.add(name)
        yield name
    for match in _MARKED.finditer(text):
        word = match[0]
        if any(word in name.split() for name in seen):
            continue
        if word.lower() not in _COMMON and word.lower().rstrip("s") not in _COMMON:
            seen.add(word)
            yield word


def _names(names: list[str], translated: str) -> Lack | None:
    have = _folded(translated)
    missing = tuple(name for name in names if _folded(name) not in have)
    return Lack("names", missing) if missing else None


def _folded(text: str) -> str:
    return re.sub(r"[\s.·-]+", "", text.replace("’", "'")).casefold()


def _length(before: str, after: str) -> Lack | None:
    asked, said = len("".join(before.split())), len("".join(after.split()))
    if said > _LONGEST * asked + _FEW or (asked > _SOME and said < _SHORTEST * asked):
        return Lack("length")
    return None
