"""Question types in data: objects with a name and a description, pairs of both, lines, and lists of these."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coig_p.annotate.tap.items import SHORTEST, Item, checked, item_in
from coig_p.annotate.taxonomy.words import Words

_DEEPEST = 6
# What a server, or a tool that is called, is told or tells.
_OTHERWISE = frozenset(
    {
        "error",
        "errors",
        "status",
        "code",
        "message",
        "detail",
        "reason",
        "arguments",
        "parameters",
        "query",
        "状态",
        "错误",
    }
)


def types_in(value: Any, words: Words, depth: int = 0) -> Iterator[Item]:
    """The items in a value, in their order; one that is none where something in it should be one."""
    if depth > _DEEPEST:
        yield Item(None)
    elif isinstance(value, list) and (pairs := _in_turns(value, words)):
        yield from (checked(name, told, words) for name, told in pairs)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, list) and len(one) == 2 and all(isinstance(each, str) for each in one):
                yield checked(one[0], one[1], words)
            else:
                yield from types_in(one, words, depth + 1)
    elif isinstance(value, dict):
        yield from _of_object(value, words, depth)
    else:
        yield item_in(value, words) if isinstance(value, str) else Item(None)


def _of_object(value: dict[str, Any], words: Words, depth: int) -> Iterator[Item]:
    if any(key.lower() in _OTHERWISE for key in value):
        return
    name, told = labelled_keys(value, words)
    texts = [key for key, item in value.items() if isinstance(item, str)]
    inner = {key: item for key, item in value.items() if isinstance(item, list | dict)}
    if name is not None and told is not None:
        both = value[name], value[told]
        yield checked(*both, words) if all(isinstance(one, str) for one in both) else Item(None)
    elif inner and (name is None or not isinstance(value[name], str) or len(inner) == 1):
        for one in inner.values():
            yield from types_in(one, words, depth + 1)
    elif len(texts) == 2 and (name is None) != (told is None):
        other = texts[texts[0] == (told if name is None else name)]
        yield checked(value[other if name is None else name], value[other if told is None else told], words)
    elif _pairs(value) and name is None and told is None:
        for key, item in value.items():
            yield checked(key, item, words)
    else:
        yield Item(None)


def _in_turns(value: list[Any], words: Words) -> list[tuple[str, str]]:
    """Names and descriptions in turns, as elements of a text are that stand one behind another."""
    if len(value) % 2 or not all(isinstance(one, dict) and len(one) == 1 for one in value):
        return []
    found = []
    for one, other in zip(value[::2], value[1::2], strict=True):
        keys = [labelled_keys(one, words)[0], labelled_keys(other, words)[1]]
        texts = [*one.values(), *other.values()]
        if None in keys or not all(isinstance(text, str) for text in texts):
            return []
        found.append((texts[0], texts[1]))
    return found


def _pairs(value: Any) -> bool:
    """Whether an object has a description under each name."""
    return isinstance(value, dict) and all(isinstance(one, str) and len(one) >= SHORTEST for one in value.values())


def labelled_keys(value: dict[str, Any], words: Words) -> list[str | None]:
    """The keys of the name and of the description; None for one that no label names."""
    keys = {key.lower().replace("_", " "): key for key in value}
    labels = ({word.lower() for word in each} for each in (words.name, words.description))
    return [next((keys[key] for key in keys if key in each), None) for each in labels]
