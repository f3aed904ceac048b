"""Quotation marks of a type's own text, where they touch the triple quotes around the type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.annotate.tap.parsing import parse_types


def types(text: str) -> list[tuple[str, str]]:
    found = parse_types(text)
    assert found.reason is None
    assert not found.unread
    return [(one.name, one.description) for one in found.types]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('"""Basics: the laws of Mechanics "quoted""""', 'the laws of Mechanics "quoted"'),
        ('"""Basics: the laws of "A" and "B"""".', 'the laws of "A" and "B"'),
        ('"""Basics: the laws\nof "A""""', 'the laws\nof "A"'),
        ('"""Basics: the laws of \\"A\\""""', 'the laws of "A"'),
        ("“““Basics：the laws of “A””””", "the laws of “A”"),
        ('"""Basics: the laws""""', "the laws"),
        ('""""Basics: the laws""""', "the laws"),
        ('"""Basics: the laws of "A" alone""""', 'the laws of "A" alone'),
        ("“““Basics：the laws””””", "the laws"),
        ('"""""Basics: the laws"""""', "the laws"),
    ],
)
def test_the_first_of_four_belongs_to_a_text_that_is_short_of_it(text: str, wanted: str) -> None:
    assert types(text) == [("Basics", wanted)]
    assert types(f'{text}\n"""Proofs: of what is known"""') == [("Basics", wanted), ("Proofs", "of what is known")]


def test_a_name_may_begin_with_a_quotation() -> None:
    assert types('""""Open" questions: of what is known"""') == [('"Open" questions', "of what is known")]


WORD = st.text("abc", min_size=1, max_size=4)
TEXT = st.lists(st.one_of(WORD, WORD.map('"{}"'.format)), min_size=1, max_size=4).map(" ".join)


@given(st.lists(TEXT, min_size=1, max_size=4), st.sampled_from(["\n", "\n\n", " ", ", "]))
@examples(200)
def test_descriptions_come_back_as_they_were_written(texts: list[str], between: str) -> None:
    told = [(f"Type{at}", f"of {text}") for at, text in enumerate(texts)]
    assert types(between.join(f'"""{name}: {text}"""' for name, text in told)) == told
