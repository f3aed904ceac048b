"""Eight scores in data: a number below the name of a response and that of a dimension, in either order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from coig_p.annotate.plain import plain
from coig_p.annotate.tap.naming import VALUE, Names, Score, number_of

_DEEPEST = 6
# Keys whose value says of which response what stands beside them is.
_WHOSE = re.compile(
    r"(?:回答|回复|助手|模型|名称|对象|编号|id|name|label|response|assistant|answer|model|which)(?:[ _]?(?:id|name))?",
    re.IGNORECASE,
)
_ORDINALS = {"first": 0, "second": 1}
_PARTS = re.compile(r"[_\s./·\-的]+")


_WHAT = re.compile(r"维度|方面|指标|项目|标准|dimension|aspect|criteri(?:on|a)|metric|category|name", re.IGNORECASE)
_NUMBER = re.compile(r"分数?|得分|评分|打分|score|rating|value|points?|", re.IGNORECASE)


def scores_in(values: tuple[tuple[str, Any], ...], names: Names) -> list[Score]:
    """The scores in values, of which a label before each may say the response."""
    found: list[Score] = []
    for label, value in values:
        side = names.side_of(plain(label).rstrip(":= "), alone=True)
        found += _below(value, names, side, None, 0)
    return found


def _below(value: Any, names: Names, side: int | None, dimension: int | None, depth: int) -> Iterator[Score]:
    if depth > _DEEPEST:
        return
    if isinstance(value, list):
        for one in value:
            yield from _below(one, names, side, dimension, depth + 1)
    elif isinstance(value, dict):
        side = side if (own := _told(value, _WHOSE, partial(names.side_of, alone=True))) is None else own
        dimension = dimension if (own := _told(value, _WHAT, names.dimension_of)) is None else own
        for key, item in value.items():
            its, what = _named(key, names)
            if its is None and what is None and not isinstance(item, list | dict) and not _NUMBER.fullmatch(key):
                continue
            yield from _below(item, names, side if its is None else its, dimension if what is None else what, depth + 1)
    elif dimension is not None and side is not None and not isinstance(value, bool | None):
        found = re.fullmatch(VALUE, plain(str(value)))
        if found is not None:
            yield Score(side, dimension, number_of(found))


def _named(key: str, names: Names) -> tuple[int | None, int | None]:
    """The response and the dimension that a key names, one of them or both: A_clarity."""
    key = plain(key)
    side, dimension = names.side_of(key, alone=True), names.dimension_of(key)
    side = _ORDINALS.get(key.lower()) if side is None else side
    if side is None and dimension is None:
        parts = _PARTS.split(key)
        for at in range(1, len(parts)):
            for one, other in ((parts[:at], parts[at:]), (parts[at:], parts[:at])):
                its, what = names.side_of(" ".join(one), alone=True), names.dimension_of(" ".join(other))
                if its is not None and what is not None:
                    return its, what
    return side, dimension


def _told(value: dict[str, Any], keys: re.Pattern[str], named: Callable[[str], int | None]) -> int | None:
    """The response, or the dimension, that an entry of an object names."""
    told = {named(plain(str(item))) for key, item in value.items() if keys.fullmatch(key)} - {None}
    return told.pop() if len(told) == 1 else None
