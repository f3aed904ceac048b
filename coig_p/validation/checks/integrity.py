"""Is a text whole? Lost and invisible characters, leaks, repetition, cut ends, unbalanced marks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.thinking import BEGIN as THINKING_BEGINS
from coig_p.core.thinking import MARKS as THINKING_MARKS
from coig_p.core.thinking import thinking_at
from coig_p.validation.checks.letters import (
    AS_GBK,
    AS_LATIN1,
    BIDI,
    BRACKET,
    BRACKETS,
    CONTROL,
    DIGIT,
    GARBLED,
    HAN,
    JOINER,
    LATIN,
    LETTER,
    MARK,
    PRIVATE,
    REPLACEMENT,
    WHITE,
    ZERO_WIDTH,
)
from coig_p.validation.checks.texts import Hits, Index, Mask, Texts

_OPENING = 200  # characters in which boilerplate stands


def empty(texts: Texts) -> Hits:
    """Nothing, or white space alone, where no tool is called instead."""
    return texts.at_start((texts.count(WHITE) == texts.sizes) & ~texts.calls)


def replacement_character(texts: Texts) -> Hits:
    """Any U+FFFD."""
    return texts.hits(texts.where(REPLACEMENT))


def control_character(texts: Texts) -> Hits:
    """Category Cc."""
    return texts.hits(texts.where(CONTROL))


def zero_width(texts: Texts) -> Hits:
    """Zero-width spaces and the like; a joiner after a letter or digit, but not inside an emoji."""
    places = texts.where(ZERO_WIDTH | JOINER)
    joiner = (texts.flags[places] & np.uint32(JOINER)) != 0
    begins = places == texts.starts[texts.text_of(places)]
    after = (texts.flags[np.maximum(places - 1, 0)] & np.uint32(LETTER | DIGIT | WHITE)) != 0
    return texts.hits(places[~joiner | begins | after])


def bidi_control(texts: Texts) -> Hits:
    """Marks, embeddings, overrides and isolates: text that reads otherwise than it is stored."""
    return texts.hits(texts.where(BIDI))


def private_use(texts: Texts) -> Hits:
    """Category Co."""
    return texts.hits(texts.where(PRIVATE))


def mojibake(texts: Texts) -> Hits:
    """UTF-8 read as GBK or as Latin-1, where turning it back gives Chinese; and 锟斤拷."""
    han = texts.count(HAN)
    as_gbk = texts.count(AS_GBK)
    hits = _searched(texts, "锟斤拷", _with_letters(texts, texts.where(GARBLED)))
    for encoding, suspicious in (
        ("gbk", (as_gbk >= 2) & (as_gbk * 10 >= han)),
        ("latin-1", texts.count(AS_LATIN1) >= 2),
    ):
        for text in np.flatnonzero(suspicious):
            offset = _misread_at(texts.string(text), encoding)
            if offset is not None:
                hits.append((int(text), offset))
    return _hits(hits)


_NOT_ASCII = re.compile(r"[^\x00-\x7f]{4,}")


def _misread_at(text: str, encoding: str) -> int | None:
    """Where a run begins that is Chinese in UTF-8 once written back in the encoding it was read in."""
    for run in _NOT_ASCII.finditer(text):
        raw = b"".join(map(_latin_byte, run[0])) if encoding == "latin-1" else run[0].encode(encoding, "ignore")
        back = raw.decode("utf-8", "replace")
        right = sum("\u4e00" <= letter <= "\u9fff" for letter in back)
        if right >= 2 and right >= 3 * back.count("\ufffd"):
            return run.start()
    return None


@cache
def _latin_byte(letter: str) -> bytes:
    """The byte that Windows, or Latin-1 itself, shows as this letter."""
    for encoding in ("cp1252", "latin-1"):
        try:
            return letter.encode(encoding)
        except UnicodeEncodeError:
            continue
    return b"?"


def special_token(texts: Texts, tokens: tuple[str, ...]) -> Hits:
    """The listed tokens and everything like <|im_end|>; <s> is also HTML, so not where there is a code block."""
    marks = texts.where(MARK)
    begins = marks[np.isin(texts.letters[marks], [ord(token[0]) for token in ("<", *tokens)])]
    among = _with_letters(texts, begins)
    among |= any(token[0] not in "@\\$`<[|" for token in tokens)
    always = [re.escape(token) for token in tokens if token not in _STRUCK]
    hits = _searched(texts, "|".join([r"<\|[A-Za-z_]{2,30}\|>", *always]), among)
    struck = [token for token in tokens if token in _STRUCK]
    if struck:
        suspicious = np.flatnonzero(among)
        code = pc.match_substring(texts.column.take(pa.array(suspicious)), "```").to_numpy(zero_copy_only=False)
        among[suspicious[code]] = False
        hits += _searched(texts, "|".join(struck), among)
    return _hits(hits)


_STRUCK = ("<s>", "</s>")


def thinking(texts: Texts) -> Hits:
    """What a model thought before it answered, or a mark of it; not where tags are spoken of."""
    marks = texts.where(MARK)
    begins = marks[np.isin(texts.letters[marks], [ord(letter) for letter in THINKING_BEGINS])]
    marked = _searched(texts, THINKING_MARKS, texts.is_response & _with_letters(texts, begins))
    found = [(text, thinking_at(texts.string(text))) for text, _ in marked]
    return _hits((text, offset) for text, offset in found if offset is not None)


def repetition(texts: Texts, share: float, least: int) -> Hits:
    """More than `share` of its 10-grams stood in it before; texts of fewer than `least` 10-grams are let be."""
    grams = np.maximum(texts.sizes - 9, 0)
    suspicious = np.flatnonzero((grams >= least) & texts.is_response)
    # Every other 10-gram is enough to clear nearly all texts; the rest are looked at again, and again.
    for step in (2, 1):
        parts = [suspicious[at : at + _TEXTS_AT_ONCE] for at in range(0, len(suspicious), _TEXTS_AT_ONCE)]
        found = [part[_may_repeat(texts, part, grams[part], share, step)] for part in parts]
        suspicious = np.concatenate([suspicious[:0], *found])
    exact = [text for text in suspicious if _repeated_share(texts.string(text)) > share]
    return Hits(np.array(exact, np.int64), np.zeros(len(exact), np.int64))


_BASE, _MIX, _APART = 0x7F4A7C15, 0x133111EB, 0x9E3779B9  # odd, and without pattern
_SLOTS = 16  # for each 10-gram, at least
_TEXTS_AT_ONCE = 64  # their 10-grams and slots fit a processor's caches


def _may_repeat(texts: Texts, some: Index, grams: Index, share: float, step: int) -> Mask:
    """Which of some texts may have more than `share` of their 10-grams twice; all that do are among them."""
    begin, end = texts.starts[some[0]], texts.starts[some[-1] + 1]
    if end - begin == texts.sizes[some].sum():
        letters = texts.letters[begin:end]
    else:
        letters = np.concatenate([texts.letters[texts.starts[at] : texts.starts[at + 1]] for at in some])
    return np.asarray(grams - _different_10_grams(letters, texts.sizes[some], step) > share * grams)


def _different_10_grams(letters: npt.NDArray[np.uint32], sizes: Index, step: int) -> Index:
    """At least so many different 10-grams each of some texts has, side by side in `letters`; never more than it has.

    Each 10-gram, of every `step`, writes its place into a slot; one of those that share a slot stays. Equal ones of a
    text share theirs, others hardly ever do.
    """
    hashed = _hashed_10_grams(letters, step)
    ends = np.cumsum(sizes)
    first = np.minimum((ends - sizes + step - 1) // step, len(hashed))
    held = np.maximum((ends - 10) // step - first + 1, 0)
    # Those over the end of a text go on to the next one's first: they have slots as well, and are not counted.
    upto = np.append(first[1:], len(hashed))
    hashed += np.repeat(np.arange(len(sizes), dtype=np.uint32) * np.uint32(_APART), np.diff(upto, prepend=0))
    bits = min(max(len(hashed) * _SLOTS - 1, 1).bit_length(), 32)
    slot = (hashed * np.uint32(_MIX) >> np.uint32(32 - bits)).astype(np.intp)
    place = np.arange(len(slot), dtype=np.uint16 if len(slot) < 1 << 16 else np.uint32)
    stays = np.empty(1 << bits, place.dtype)
    stays[slot] = place
    gone = np.flatnonzero(stays.take(slot) != place)
    return np.asarray(held - (np.searchsorted(gone, first + held) - np.searchsorted(gone, first)))


def _hashed_10_grams(letters: npt.NDArray[np.uint32], step: int) -> npt.NDArray[np.uint32]:
    """A polynomial of ten code points modulo 2**32, at every `step`-th place (1 or 2) where ten follow."""
    if len(letters) < 10:
        return np.zeros(0, np.uint32)
    two = letters[:-1:step] * np.uint32(_BASE) + letters[1::step]
    on = 2 // step  # places among `two` that are two letters
    square = np.uint32(_BASE * _BASE % 2**32)
    four = two[:-on] * square + two[on:]
    eight = four[: -2 * on] * np.uint32(pow(_BASE, 4, 2**32)) + four[2 * on :]
    return np.asarray(eight[:-on] * square + two[4 * on :])


def _repeated_share(text: str) -> float:
    grams = len(text) - 9
    return 1 - len({text[at : at + 10] for at in range(grams)}) / grams


def truncated(texts: Texts, ends: tuple[str, ...]) -> Hits:
    """The last visible character is one that a sentence goes on after."""
    last = _last_visible(texts)
    wrong = np.isin(last, [ord(letter) for letter in ends])
    text = np.flatnonzero(wrong)
    return Hits(text, np.maximum(texts.sizes[text] - 1, 0))


def _last_visible(texts: Texts) -> Index:
    """T: code point of the last character that is not white space, 0 where there is none."""
    found = np.zeros(len(texts), np.int64)
    filled = np.flatnonzero(texts.sizes)
    last = texts.starts[filled + 1] - 1
    found[filled] = texts.letters[last]
    for text in filled[(texts.flags[last] & np.uint32(WHITE)) != 0]:
        found[text] = ord((texts.string(text).rstrip() or "\0")[-1])
    return found


def no_terminal_punctuation(texts: Texts) -> Hits:
    """The last visible character is a letter or a digit."""
    last = _last_visible(texts)
    from coig_p.validation.checks.letters import flags

    text = np.flatnonzero((flags()[last] & np.uint32(LETTER | DIGIT)) != 0)
    return Hits(text, np.maximum(texts.sizes[text] - 1, 0))


def outer_whitespace(texts: Texts) -> Hits:
    """The first or the last character is white space."""
    filled = np.flatnonzero(texts.sizes > 0)
    first, last = texts.starts[filled], texts.starts[filled + 1] - 1
    white = np.uint32(WHITE)
    at_start = (texts.flags[first] & white) != 0
    wrong = at_start | ((texts.flags[last] & white) != 0)
    return Hits(filled[wrong], np.where(at_start, 0, texts.sizes[filled] - 1)[wrong])


def brackets(texts: Texts) -> Hits:
    """Counted by kind, full and half width alike; a bracket may close a list's number, or a smile, alone."""
    places = texts.where(BRACKET)
    letters = texts.letters[places]
    kind, sign = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
    for at, pair in enumerate(BRACKETS):
        for letter, value in zip(pair, (1, -1), strict=True):
            wide = {"(": 0xFF08, ")": 0xFF09, "[": 0xFF3B, "]": 0xFF3D}.get(letter, ord(letter))
            here = (letters == ord(letter)) | (letters == wide)
            kind[here], sign[here] = at, value
    text = texts.text_of(places)
    balance = np.bincount(text * len(BRACKETS) + kind, weights=sign, minlength=len(texts) * len(BRACKETS))
    balance = balance.reshape(len(texts), len(BRACKETS)).astype(np.int64)
    alone = np.bincount(text[_may_stand_alone(texts, places)], minlength=len(texts))
    round_ones = np.where(balance[:, 0] < 0, np.minimum(balance[:, 0] + alone, 0), balance[:, 0])
    return texts.at_start((round_ones != 0) | (balance[:, 1:] != 0).any(axis=1))


def _may_stand_alone(texts: Texts, places: Index) -> Mask:
    """Which brackets close the number of a list, as in "1)" or "a）", or make a smile."""
    offset = places - texts.starts[texts.text_of(places)]
    before = np.maximum(places - 1, 0)
    smile = np.isin(texts.letters[before], [ord(":"), ord(";")])
    numbers = (texts.flags[before] & np.uint32(DIGIT | LATIN | HAN)) != 0
    begins = np.zeros(len(places), bool)
    for length in (1, 2):
        earlier = texts.flags[np.maximum(places - length - 1, 0)]
        begins |= (offset == length) | ((offset > length) & ((earlier & np.uint32(LETTER | DIGIT)) == 0))
    closes_round = np.isin(texts.letters[places], [ord(")"), 0xFF09])
    return np.asarray(closes_round & (offset > 0) & (smile | (numbers & begins)))


def latex(texts: Texts) -> Hits:
    r"""An odd number of $$, or as many \[ as not \], \( as \), \begin as \end."""
    return _odd(texts, "\\$", _has_open_formula)


def _has_open_formula(text: str) -> bool:
    pairs = ((r"\[", r"\]"), (r"\(", r"\)"), (r"\begin{", r"\end{"))
    plain = text.replace("\\\\", "")
    return text.count("$$") % 2 == 1 or any(plain.count(one) != plain.count(other) for one, other in pairs)


def _odd(texts: Texts, marks: str, wrong: object) -> Hits:
    assert callable(wrong)
    places = texts.where(MARK)
    places = places[np.isin(texts.letters[places], [ord(mark) for mark in marks])]
    hits = texts.hits(places)
    keep = np.array([wrong(texts.string(text)) for text in hits.text], dtype=bool)
    return Hits(hits.text[keep], hits.offset[keep])


_SAYS_I = ("i'", "I'", "i ", "I ")
_REFUSES = (
    "我?(很?抱歉|对不起|不好意思)[，,。 ]?.{0,20}(不能|无法|不可以|不会|没有办法|不便)"
    "|我(无法|不能)(回答|提供|完成|满足|协助|帮助)"
    "|(?i:i('m| am) sorry,? but|i (can't|cannot|can not) (help|assist|provide|answer))"
)
_IS_AI = (
    "(作为|我是|身为)(一个|一名|一款|一位)?.{0,8}(人工智能|AI|ai|语言模型|智能助手|大模型|机器人)"
    "|(?i:as an ai|i am an ai|i'm an ai)"
)


def refusal(texts: Texts) -> Hits:
    """By its first words."""
    return _in_opening(texts, _REFUSES, ("抱歉", "对不", "意思", "我无", "我不", *_SAYS_I))


def ai_disclosure(texts: Texts) -> Hits:
    """By its first words."""
    return _in_opening(texts, _IS_AI, ("作为", "我是", "身为", "ai", "aI", "Ai", "AI"))


_FAMILIES = {
    "openai": "chatgpt|openai|gpt",
    "anthropic": "claude|anthropic",
    "google": "gemini|gemma|bard|谷歌|google",
    "meta": "llama|meta ai",
    "qwen": "qwen|通义|千问|阿里",
    "baidu": "ernie|文心|百度",
    "zhipu": "glm|智谱|清言",
    "iflytek": "spark|星火|讯飞",
    "bytedance": "doubao|豆包|字节跳动|skylark",
    "moonshot": "kimi|moonshot|月之暗面",
    "deepseek": "deepseek|深度求索",
    "baichuan": "baichuan|百川",
    "internlm": "internlm|书生|浦语",
    "minimax": "minimax|abab|海螺",
    "hunyuan": "hunyuan|混元",
    "moss": "moss",
}
_SAYS_WHO = re.compile(
    f"(我是|我叫|我的名字(是|叫)|(?i:i am|i'm|my name is) )[^。！？!?\n]{{0,20}}(?i:{'|'.join(_FAMILIES.values())})"
)
_BEGINS_WHO = ("我是", "我叫", "我的", "my", "mY", "My", "MY", *_SAYS_I)


def self_identity(texts: Texts) -> Hits:
    """Says who it is, and is known to be somebody else by the model field."""
    hits: list[tuple[int, int]] = []
    said_by: set[int] = set()
    places = texts.places_of(_BEGINS_WHO)
    text_of = texts.text_of(places)
    some = texts.is_response[text_of]
    for text, offset in zip(text_of[some].tolist(), (places - texts.starts[text_of])[some].tolist(), strict=True):
        if text in said_by or not (said := _SAYS_WHO.match(texts.string(text), offset)):
            continue
        said_by.add(text)
        whose, claimed = _family(texts.models[int(texts.answer[text])].as_py() or ""), _family(said[0])
        if whose and claimed and whose != claimed:
            hits.append((text, offset))
    return _hits(hits)


@cache
def _family(name: str) -> str | None:
    return next((family for family, names in _FAMILIES.items() if re.search(names, name, re.IGNORECASE)), None)


def _with_letters(texts: Texts, places: Index) -> Mask:
    """Which texts hold one of these places."""
    among = np.zeros(len(texts), bool)
    among[texts.text_of(places)] = True
    return among


def _searched(texts: Texts, pattern: str, among: Mask) -> list[tuple[int, int]]:
    """Text and offset of the first match in each text of a mask; RE2 finds the texts, in linear time."""
    chosen = np.flatnonzero(among)
    if not len(chosen):
        return []
    column = texts.column if len(chosen) == len(texts) else texts.column.take(pa.array(chosen))
    matched = chosen[pc.match_substring_regex(column, pattern).to_numpy(zero_copy_only=False)]
    compiled = re.compile(pattern)
    found = [(int(text), compiled.search(texts.string(text))) for text in matched]
    return [(text, match.start()) for text, match in found if match]


def _in_opening(texts: Texts, pattern: str, pairs: Collection[str]) -> Hits:
    """Texts in whose first characters a pattern stands.

    Args:
        pairs: of letters, one of which stands in all that it fits.
    """
    places = texts.places_of(pairs)
    text_of = texts.text_of(places)
    some = np.unique(text_of[places - texts.starts[text_of] < _OPENING])
    if not len(some):
        return Hits(some, some)
    opening = pc.utf8_slice_codeunits(texts.column.take(pa.array(some)), 0, _OPENING)
    found = some[pc.match_substring_regex(opening, pattern).to_numpy(zero_copy_only=False)]
    return Hits(found, np.zeros(len(found), np.int64))


def _hits(found: Iterable[tuple[int, int]]) -> Hits:
    first: dict[int, int] = {}
    for text, offset in sorted(found):
        first.setdefault(text, offset)
    return Hits(np.array(list(first), np.int64), np.array(list(first.values()), np.int64))
