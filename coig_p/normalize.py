"""The comparison form of a text: what is left of it when width, case, script and punctuation are ignored.

It is for comparing alone. It changes half to three quarters of real Chinese answers, so nothing
that is stored ever goes through it.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any


def comparison_form(text: str) -> str:
    """NFKC, lower case, traditional to simplified, without punctuation, space and invisible characters.

    Symbols such as + and = stay, as they do in "1+1=2". So do letters of every script.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    # Once more: without a space between them, a letter and an accent may become one.
    return unicodedata.normalize("NFKC", "".join(filter(_is_compared, to_simplified(folded))))


def to_simplified(text: str) -> str:
    """Traditional characters and phrases as simplified ones (OpenCC's t2s)."""
    return str(_converter().convert(text))


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")


@cache
def _is_compared(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNSM"
