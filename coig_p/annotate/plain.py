"""A judgement with one form for all of a kind, in which scores are looked for."""

from __future__ import annotations

import html
import re

from coig_p.annotate.labels import ASIDE, LABEL, OVERALL

# Characters as their plain forms, one for one.
_LETTERS = {at: at - 0xFEE0 for first, last in ((0xFF21, 0xFF3A), (0xFF41, 0xFF5A)) for at in range(first, last + 1)}
_FROM = "０１２３４５６７８９．／［］【】〔〕〖〗《》〈〉（）｛｝：＝｜＋－％＊＜＞•●▪◦│┃║︰∶﹕ː"  # noqa: RUF001
_TRADITIONAL = (
    "總體綜終評數給爲應點滿為結質獲後這個該審價級認覆對較無沒優從換轉約讓寫輸請題據確說內標準參試稱聲著來實際"
)
_TO = "0123456789./[][][][]<><>(){}:=|+-%*<>****|||::::"
_SIMPLIFIED = "总体综终评数给为应点满为结质获后这个该审价级认复对较无没优从换转约让写输请题据确说内标准参试称声着来实际"
_SPACES = "\u3000\xa0\t\u2002\u2003\u2009"
_PLAIN = str.maketrans(_FROM + _TRADITIONAL + _SPACES, _TO + _SIMPLIFIED + " " * len(_SPACES)) | _LETTERS
# What is not seen, and pictures: emoji, dingbats, stars.
_DRAWN = re.compile("[\u2500-\u25ff]")  # lines, blocks, triangles
_ARROW = re.compile("[\u2190-\u21ff\u2794-\u27bf]")
_UNSEEN = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u200b-\u200f\u2060\ufeff\ufe0f\u20e3\u202a-\u202e\u2066-\u2069]"
)
_TOKENS = re.compile(r"<\|[\w ▁]{1,40}\|>|</?s>|<(?:eos|bos|pad)>|<(?:start|end)_of_turn>|\[/?INST\]|\\n(?=\s{0,9}\Z)")
_SCORE_TAG = re.compile(
    r"<(?:overall|final|total|(?:(?:overall|final|total)[_-]?)?(?:score|rating|grade)(?: [^<>\n]{0,40})?)>"
    r"(?=\s{0,9}\[?\d)|"
    r"<(?:result|answer|output|verdict)>(?=\s{0,9}(?:\[[0-9.]{1,4}\]|[0-9.]{1,4} ?(?:分|/ ?10))\s{0,9}</)",
    re.IGNORECASE,
)
_SCORE_ENDS = re.compile(r"</(?:(?:overall|final|total)[_-]?)?(?:score|rating|grade)>(?=\s{0,9}<)", re.IGNORECASE)
_SCORE_VALUE = re.compile(
    r"<(?:(?:overall|final|total)[_-]?)?(?:score|rating|grade) value=[\"']([0-9.]{1,4})[\"'] ?/?>", re.IGNORECASE
)
_IN_ENGLISH = "one|two|three|four|five|six|seven|eight|nine|ten"
_IN_CHINESE = re.compile(r"([一二三四五六七八九十])(?: {0,3}分)? {0,3}/ {0,3}(?:十|10)(?: {0,3}分)?(?![0-9])")
_HALF = re.compile(r"(?<=[0-9])½")
_SPACED = re.compile(r"(?<![一-鿿])(?:[一-鿿] ){2,5}[一-鿿](?= {0,3}:)")
_INSIDE = re.compile(r"(?<=[一-鿿])\*{2,3}(?=[一-鿿])")  # emphasis that begins or ends within a word
_IN_WORDS = re.compile(rf"\b({_IN_ENGLISH}) {{0,3}}(?:out of|/) {{0,3}}(?:ten|10)\b", re.IGNORECASE)
_WORD_BEHIND = re.compile(
    rf"((?:score|rating|grade)[*_]{{0,3}} {{0,3}}(?::|=|is)[ *_\[]{{0,6}})({_IN_ENGLISH})"
    r"(?=[\]*_ ]{0,6}(?:[.\n]|points?|\Z))",
    re.IGNORECASE,
)
_WORDS = {word: at for at, word in enumerate(_IN_ENGLISH.split("|"), 1)}
_TEN = re.compile("\U0001f51f")
_ENTITY = re.compile(r"&(?:[a-z]{2,8}|#[0-9]{2,5});")
_TAGS = re.compile(r"</?[A-Za-z][\w-]{0,15} {0,3}/?>")
_BOXED = re.compile(r"\\(?:boxed|text|mathbf|textbf|fbox) {0,3}\{([^{}\n]{0,200})\}")
_FRACTION = re.compile(r"\\[dt]?frac\{([0-9.]{1,9})\}\{([0-9]{1,9})\}")

_OVER_LINES = re.compile(r"\[[ *$]{0,9}\n[ *$]{0,9}([^\[\]\n]{0,40}?)[ *$]{0,9}\n[ *$]{0,9}\]")
_ESCAPED_ALONE = re.compile(r"^([ *_]{0,6})\\\[([0-9.]{1,4})\\\](?=[ *_]{0,6}$)", re.MULTILINE)
_RUNS = re.compile(r"([ *_`=#~-])\1{40,}")
_TEXT_LABEL = re.compile(
    rf"\\(?:text|mathbf|textbf|mathrm|section\*?|subsection\*?) {{0,3}}"
    rf"\{{([^{{}}\n0-9]{{0,40}}: {{0,3}}| ?分|[^{{}}\n0-9]{{0,9}}(?:{OVERALL}|{LABEL})|points?)\}}",
    re.IGNORECASE,
)
_ESCAPED = re.compile(
    rf"((?:{OVERALL}|{LABEL}|:)[ *_\])>」]{{0,6}}{ASIDE}?[^0-9\n]{{0,8}}\s{{0,4}})\\[\[(]([0-9./ ]{{1,9}})\\[\])]",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """The text with one form for all of a kind: digits, brackets, spaces; without tags, tokens and pictures."""
    text = _ENTITY.sub(lambda entity: html.unescape(entity[0]), text)
    text = _ARROW.sub("→", _DRAWN.sub(" ", _TEN.sub("10", text).translate(_PLAIN)))
    text = _TOKENS.sub("", _UNSEEN.sub("", text))
    if "<" in text:
        text = _SCORE_ENDS.sub("\n", text)
        text = _TAGS.sub("", _SCORE_TAG.sub("score: ", _SCORE_VALUE.sub(r"score: \1", text)))
    text = _SPACED.sub(lambda letters: letters[0].replace(" ", ""), text)
    text = _INSIDE.sub("", _HALF.sub(".5", text))
    text = _IN_CHINESE.sub(lambda words: f"{'零一二三四五六七八九十'.index(words[1])}/10", text)
    text = _IN_WORDS.sub(lambda words: f"{_WORDS[words[1].lower()]}/10", text)
    text = _WORD_BEHIND.sub(lambda words: f"{words[1]}{_WORDS[words[2].lower()]}", text)
    if "\\" in text:
        text = _ESCAPED_ALONE.sub(r"\1[\2]", text)
        text = _ESCAPED.sub(r"\1[\2]", _FRACTION.sub(r"\1/\2", _TEXT_LABEL.sub(r"\1", text)))
        for _ in range(2):
            text = _BOXED.sub(r"[\1]", text)
    return _RUNS.sub(lambda run: run[1] * 40, _OVER_LINES.sub(r"[\1]", text)).strip()
