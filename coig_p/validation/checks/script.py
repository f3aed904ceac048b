"""Script and language: is a text Chinese, and in simplified characters?

The share of Han, kana and hangul among a text's letters decides first. It is right where
statistical detectors guess (on questions of two to six characters langdetect is right in 55%);
only what it leaves open goes to one.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from coig_p.validation.checks.letters import HAN, HANGUL, KANA, LATIN, LETTER, TRADITIONAL
from coig_p.validation.checks.texts import Hits, Mask, Texts

UNDETERMINED = "und"  # no letters, or too few to tell
_SAMPLE = 1000  # characters that a statistical detector is shown
_NOT_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\$[^$]*\$|https?://\S+|\\[A-Za-z]+", re.DOTALL)
_FEW_LETTERS = 50
_WORD = re.compile(r"[^\W\d_]{3}")  # what has none is a formula, not a language
_ASKS_FOR_ANOTHER_LANGUAGE = (
    "翻译|译成|译为|英译|汉译|中译|用英|英文|英语|日语|日文|韩语|法语|德语|俄语|西班牙语|外语|双语|单词|"
    "(?i:translat|in english|in chinese|in japanese)"
)
_ASKS_FOR_CODE = (
    "代码|编程|程序|函数|脚本|算法|正则|命令|(?i:python|java|sql|html|css|c\\+\\+|shell|linux|code|latex|json|xml)"
)


def traditional(texts: Texts, share: float) -> Hits:
    """Traditional-only characters among Han; Japanese, known by its kana, is exempt."""
    return _traditional(texts, share)


def some_traditional(texts: Texts, share: float) -> Hits:
    """As script-traditional, below its share."""
    all_of_it, most = _traditional(texts, 0.0), _traditional(texts, share)
    some = ~np.isin(all_of_it.text, most.text)
    return Hits(all_of_it.text[some], all_of_it.offset[some])


def _traditional(texts: Texts, share: float) -> Hits:
    places = texts.where(TRADITIONAL)
    hits = texts.hits(places)
    if not len(places):
        return hits
    found = texts.count(TRADITIONAL)
    flagged = (found >= share * texts.count(HAN)) & (texts.count(KANA) == 0)
    keep = flagged[hits.text]
    return Hits(hits.text[keep], hits.offset[keep])


def mixed_script(texts: Texts, most: float) -> Hits:
    """Kana or hangul, but too little for a text in Japanese or Korean."""
    hits = texts.hits(texts.where(KANA | HANGUL))
    foreign, han = texts.count(KANA | HANGUL), texts.count(HAN)
    keep = foreign[hits.text] < most * (foreign + han)[hits.text]
    return Hits(hits.text[keep], hits.offset[keep])


def query_language(texts: Texts) -> Hits:
    """Any language but Chinese; one without letters is none, and a Chinese one about another language is Chinese."""
    found = languages(texts)
    other = texts.by_user & (found != "zh") & (found != UNDETERMINED)
    if other.any():  # few are, and a pattern takes its time to begin with
        asks = _asks(texts, _ASKS_FOR_ANOTHER_LANGUAGE) & (texts.count(HAN)[: texts.prompts] > 0)
        other &= ~_rows_with(texts, asks)[texts.row]
    return texts.at_start(other)


def response_language(texts: Texts, least: float) -> Hits:
    """Queries about translation, another language or code are exempt, the domain code, and answers of few letters."""
    found = languages(texts)
    query = found[texts.asked[texts.row]]
    differs = (found != query) & (found != UNDETERMINED) & (query != UNDETERMINED)
    differs &= texts.is_response & (texts.count(LETTER) >= least)
    if differs.any():
        exempt = _rows_with(texts, _asks(texts, f"{_ASKS_FOR_ANOTHER_LANGUAGE}|{_ASKS_FOR_CODE}"))
        exempt |= pc.equal(texts.batch.column("domain"), "code").to_numpy(zero_copy_only=False)
        differs &= ~exempt[texts.row]
    return texts.at_start(differs)


def _asks(texts: Texts, pattern: str) -> Mask:
    """P: which prompts a pattern matches."""
    prompts = texts.column.slice(0, texts.prompts)
    return np.asarray(pc.match_substring_regex(prompts, pattern).to_numpy(zero_copy_only=False))


def _rows_with(texts: Texts, prompts: Mask) -> Mask:
    """Which rows have one of these prompts (P)."""
    found = np.zeros(texts.batch.num_rows, bool)
    found[texts.row[: texts.prompts][prompts]] = True
    return found


def languages(texts: Texts) -> npt.NDArray[Any]:
    """T: the language of each query, user's turn and response as a two-letter code, or "und"; "und" of all others."""
    cached = getattr(texts, "_languages", None)
    if cached is None:
        cached = texts._languages = _languages(texts)  # type: ignore[attr-defined]
    return np.asarray(cached)


def _languages(texts: Texts) -> npt.NDArray[Any]:
    letters, han, foreign = texts.count(LETTER), texts.count(HAN), texts.count(KANA | HANGUL)
    found = np.full(len(texts), UNDETERMINED, dtype=object)
    chinese = (han * 2 >= letters) & (foreign == 0) & (letters > 0)
    found[chinese] = "zh"
    spoken = texts.is_response | texts.by_user
    spoken[texts.asked] = True
    found[~spoken] = UNDETERMINED
    for text in np.flatnonzero(spoken & ~chinese & (letters > 0)):
        found[text] = language(texts.string(text))
    return found


def language(text: str) -> str:
    """The language of one text: by its letters where they tell, else by a detector, on its prose alone."""
    prose = _NOT_PROSE.sub(" ", text[:_SAMPLE])
    counts = _count_letters(prose)
    if not counts["letters"]:
        prose = text[:_SAMPLE]
        counts = _count_letters(prose)
    letters, han, kana, hangul = (counts[name] for name in ("letters", "han", "kana", "hangul"))
    if not letters:
        return UNDETERMINED
    if hangul * 3 >= letters:
        return "ko"
    if kana and kana * 10 >= (kana + han) and (kana + han) * 3 >= letters:
        return "ja"
    if han * 10 >= letters:  # Chinese about something with Latin names: far fewer Han than words of another language
        return "zh"
    if not _WORD.search(prose):
        return UNDETERMINED
    if letters < _FEW_LETTERS and prose.isascii():
        return "en"  # names and phrases, for which detectors guess any language of Europe
    return _detect(prose)


def traditional_share(text: str) -> float:
    """How many of a text's Han are traditional characters alone; 0 where there is none."""
    counts = _count_letters(text)
    return counts["traditional"] / counts["han"] if counts["han"] else 0.0


def _count_letters(text: str) -> dict[str, int]:
    from coig_p.validation.checks.letters import flags

    found = flags()[np.frombuffer(text.encode("utf-32-le", "replace"), np.uint32)]
    kinds = {"letters": LETTER, "han": HAN, "kana": KANA, "hangul": HANGUL, "latin": LATIN, "traditional": TRADITIONAL}
    return {name: int(np.count_nonzero(found & np.uint32(flag))) for name, flag in kinds.items()}


@cache
def _detector() -> Any:
    """lingua where it is installed, else langdetect; the same answer every time."""
    try:
        from lingua import Language, LanguageDetectorBuilder

        chosen = (Language.CHINESE, Language.ENGLISH, Language.JAPANESE, Language.KOREAN)
        detector = LanguageDetectorBuilder.from_languages(*chosen).build()

        def detect(text: str) -> str:
            found = detector.detect_language_of(text)
            return UNDETERMINED if found is None else found.iso_code_639_1.name.lower()

    except ImportError:
        from langdetect import DetectorFactory, LangDetectException
        from langdetect import detect as detect_once

        DetectorFactory.seed = 0

        def detect(text: str) -> str:
            try:
                return str(detect_once(text)).partition("-")[0]
            except LangDetectException:
                return UNDETERMINED

    return detect


def _detect(text: str) -> str:
    return str(_detector()(text))
