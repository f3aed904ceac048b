"""What encoding a text file is in, by its first bytes, so that none is read in the wrong one.

Bytes of one East Asian encoding often are text in another, of rare characters. So it is not enough that bytes can
be read: the text must look like its language, that is, hold its commonest characters.
"""

from __future__ import annotations

import codecs
import io
from typing import IO, Any

SAMPLE = 1 << 18  # bytes that are looked at

_UTF_8 = "utf-8"
_CHINESE = frozenset(
    "的一是不了在人有我他这這个個们們中来來上大为為和国國地到以说說时時要就出会會可也你对對生能而子那得于於着著下自之年过過发發后後作里裡"
    "用道行所然家种種事成方多经經么麼去法学學如都同现現当當没沒动動面起看定天分还還进進好小部其些主样樣理心她本前开開但因只从從想实實日"
    "问問题題答回评評分数數领領域模型编編号號请請何什吗嗎呢吧与與及或将將被把让讓给給等很更最第二三四五六七八九十，。、？！：；（）“”"
)
_JAPANESE = frozenset(
    "のにはをたがでてとしれさあいうるなもこかすまりくきらだけっそよんどえつお。、「」ですます日本人一二三年月時間問答"
)
_KOREAN = frozenset(
    "이다는을가에의하고지은로한를도기사있서시자나어그대아인해리수라일보니스정부요것들게면만여때오등습세제전주무과와입된음문"
    "질답변할너우데원적"
)
_CANDIDATES = {
    "gb18030": _CHINESE,
    "big5": _CHINESE,
    "big5hkscs": _CHINESE,
    "shift_jis": _JAPANESE,
    "cp932": _JAPANESE,
    "euc_kr": _KOREAN,
    "cp949": _KOREAN,
    "euc_jp": _JAPANESE,
}
"""Each with the commonest characters of its language; of two that read a text equally well the first is meant."""

FAMILIES = (
    ("gb18030", "gbk", "gb2312"),
    ("big5", "big5hkscs", "cp950"),
    ("shift_jis", "cp932", "shift_jis_2004", "shift_jisx0213"),
    ("euc_kr", "cp949"),
    ("utf-16", "utf-16-le", "utf-16-be"),
    ("utf-32", "utf-32-le", "utf-32-be"),
)
"""Encodings of which one is read as another, since they differ in rare characters alone or in the order of bytes."""

_UNSURE = "euc_jp"  # kana have the same bytes in GB18030
_PLAUSIBLE = 0.1  # of the characters beyond ASCII; in Chinese text a third and more, in misread text hardly any
_MARKS = (
    (codecs.BOM_UTF8, _UTF_8),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def is_ascii_based(encoding: str) -> bool:
    """Whether a line break and a brace are the bytes that they are in ASCII."""
    return "\n{".encode(encoding) == b"\n{"


def found_encoding(sample: bytes, asked: str) -> str | None:
    """The encoding that the beginning of a file is in; None where it is ASCII alone, or nothing certain.

    Args:
        sample: SAMPLE bytes, fewer where the file is shorter.
        asked: the encoding that it should be in; UTF-8 is found in place of another only where it is as likely.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if sample.isascii() and b"\0" not in sample:
        return None
    wide = _utf_32(sample) or _utf_16(sample)
    if wide is not None:
        return wide
    lines = [line for line in sample.split(b"\n") if not line.isascii()]
    if 2 * sum(_readable(line, _UTF_8) for line in lines) >= len(lines):
        certain = codecs.lookup(asked).name == _UTF_8 or _likeness(lines, _UTF_8) >= _likeness(lines, asked)
        return _UTF_8 if certain else None
    likely = {name: _likeness(lines, name) for name in _CANDIDATES}
    best = max(_CANDIDATES, key=lambda name: likely[name])
    return best if likely[best] >= _PLAUSIBLE and best != _UNSURE else None


def _utf_32(sample: bytes) -> str | None:
    """UTF-32 without a mark: of four bytes two on one side are zero, but for rare characters."""
    whole = sample[: len(sample) // 4 * 4]
    for name, zero, nearly in (("utf-32-le", 3, 2), ("utf-32-be", 0, 1)):
        number = len(whole) // 4
        if number > 2 and whole[zero::4].count(0) == number and whole[nearly::4].count(0) > 0.9 * number:
            return name if _readable(whole, name) else None
    return None


def _utf_16(sample: bytes) -> str | None:
    """UTF-16 without a mark: in one half of the bytes zeros stand for the ASCII of JSON or CSV, in the other none."""
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    zeros, others = max(even, odd), min(even, odd)
    if zeros < max(3, len(sample) / 100) or others * 20 > zeros:
        return None
    name = "utf-16-le" if odd > even else "utf-16-be"
    return name if _readable(sample, name) else None


def _readable(line: bytes, encoding: str) -> bool:
    """Whether a line can be read; it may be cut short within its last character."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(line)
    except UnicodeDecodeError:
        return False
    return True


def _likeness(lines: list[bytes], encoding: str) -> float:
    """The part of the characters beyond ASCII that are common in its language, less what cannot be read."""
    common = beyond = 0
    usual = _CANDIDATES.get(encoding, _CHINESE)
    if not is_ascii_based(encoding):
        return 0.0
    for line in lines:
        text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(line)
        beyond += sum(not letter.isascii() for letter in text)
        common += sum(letter in usual for letter in text) - 5 * text.count("\ufffd")
    return common / beyond if beyond else 0.0


class Recoded(io.RawIOBase):
    """A stream in any encoding as one in UTF-8, so that its lines can be told apart.

    What cannot be read becomes bytes that are not UTF-8, which are refused where they stand.
    """

    def __init__(self, raw: IO[bytes], encoding: str) -> None:
        self.raw = raw
        self.decoder = codecs.getincrementaldecoder(encoding)(errors=_HANDLER)
        self.ready = b""
        self.ended = False

    def readable(self) -> bool:  # noqa: D102
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: D102
        while not self.ready and not self.ended:
            data = self.raw.read(1 << 20)
            self.ended = not data
            self.ready = self.decoder.decode(data, final=self.ended).encode(_UTF_8, "surrogatepass")
        size = min(len(buffer), len(self.ready))
        buffer[:size] = self.ready[:size]
        self.ready = self.ready[size:]
        return size


_HANDLER = "coig_p.lone_surrogate"


def _as_lone_surrogate(error: UnicodeError) -> tuple[str, int]:
    if isinstance(error, UnicodeDecodeError):
        return "\udcff", error.end
    raise error


codecs.register_error(_HANDLER, _as_lone_surrogate)
