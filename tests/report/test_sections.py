"""Reports as sections: one language at a time, and a page on which hostile text is text."""

from __future__ import annotations

import base64
import re

import pytest

from coig_p.errors import UnknownNameError
from coig_p.report.sections import LANGUAGES, Section, as_page, in_language

WORDS = {"share": ("share", "比例"), "none": ("none", "无")}


def test_words_are_of_one_language() -> None:
    found = {language: in_language(WORDS, language) for language in LANGUAGES}
    assert found == {"en": {"share": "share", "none": "none"}, "zh": {"share": "比例", "none": "无"}}
    with pytest.raises(UnknownNameError, match="'fr'"):
        in_language(WORDS, "fr")


def test_a_page_shows_every_section_as_text() -> None:
    hostile = "<script>alert(1)</script>"
    head = Section(f"title {hostile}", (f"line {hostile}",))
    table = Section("比例", header=("name", hostile), rows=(("a", f"cell {hostile}"),))
    page = as_page([head, table], "zh")
    assert '<html lang="zh-Hans">' in page
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4
    assert "plots" not in page.partition("</style>")[2]
    drawn = as_page([head, table], "zh", {"a plot": "<svg>图</svg>"})
    (data,) = re.findall(r'src="data:image/svg\+xml;base64,([^"]+)" alt="a plot"', drawn)
    assert base64.b64decode(data).decode() == "<svg>图</svg>"
