"""Is an answer one that a Hub gives? Something on the way, a proxy or a login page, may say 200 in its place.

huggingface_hub reads what it needs and trusts the rest: a page of HTML in answer to a change passes for success.
So each answer that says 2xx is looked at before the client sees it. What the Hub's answers hold is in
`SHAPES`; fields that publishing does not need are not asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_OID = re.compile(r"[0-9a-f]{40,64}")
_SHOWN = 80


class WrongAnswerError(Exception):
    """A 2xx that no Hub gave; the message says what came instead."""


def check_answer(method: str, path: str, status: int, content: bytes) -> None:
    """Raise WrongAnswerError where a Hub would have answered otherwise.

    Args:
        path: of the address, without the query.
        content: the body; that of a download is not looked at, since its hash is.
    """
    if not 200 <= status < 300 or method == "HEAD":
        return
    for expected, pattern, fits in SHAPES:
        if method == expected and re.search(pattern, path):
            if not fits(content):
                raise WrongAnswerError(f"{method} {path}: {status} with {_shown(content)}")
            return


def is_checked(method: str, path: str) -> bool:
    """Whether the body is needed: a download is not read before its time."""
    return any(method == expected and re.search(pattern, path) for expected, pattern, _ in SHAPES)


Fits = Callable[[bytes], bool]


def _json(fits: Callable[[Any], bool]) -> Fits:
    def check(content: bytes) -> bool:
        try:
            return bool(fits(json.loads(content)))
        except (ValueError, RecursionError):
            return False

    return check


def _has(**fields: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """An object with these fields."""
    return lambda value: (
        isinstance(value, Mapping) and all(name in value and fits(value[name]) for name, fits in fields.items())
    )


def _every(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


def _oid(value: Any) -> bool:
    return isinstance(value, str) and _OID.fullmatch(value) is not None


def _refs(value: Any) -> bool:
    ref = _every(_has(name=_is(str), ref=_is(str), targetCommit=_oid))
    return _has(branches=ref, tags=ref)(value) and ref(value.get("pullRequests", []))


def _entry(value: Any) -> bool:
    if not _has(type=_is(str), path=_is(str), oid=_is(str))(value):
        return False
    lfs = value.get("lfs")
    return value["type"] == "directory" or (
        _is(int)(value.get("size")) and (lfs is None or _has(oid=_oid, size=_is(int))(lfs))
    )


def _action(value: Any) -> bool:
    return _has(href=_is(str))(value)


def _lfs_object(value: Any) -> bool:
    if not _has(oid=_oid)(value):
        return False
    actions = value.get("actions")
    return actions is None or _has(upload=_action)(actions)


def _no_page(content: bytes) -> bool:
    """Nothing, or what is no page: what a Hub says to such a change is no promise of its."""
    return content.lstrip()[:1] != b"<"


def _stored(content: bytes) -> bool:
    """A storage answers to what is put there with nothing, or with a few lines of XML of its own."""
    return not content.lstrip()[:1] or content.lstrip()[:5].lower() == b"<?xml"


_R = r"/api/datasets/[^/]+/[^/]+"
SHAPES: tuple[tuple[str, str, Fits], ...] = (
    ("GET", rf"{_R}(/revision/[^/]+)?$", _json(_has(id=_is(str), private=_is(bool)))),
    ("GET", rf"{_R}/refs$", _json(_refs)),
    ("GET", rf"{_R}/tree/", _json(_every(_entry))),
    ("GET", rf"{_R}/commits/", _json(_every(_has(id=_oid, title=_is(str))))),
    (
        "GET",
        rf"{_R}/discussions$",
        _json(_has(discussions=_every(_has(num=_is(int), status=_is(str))), count=_is(int), start=_is(int))),
    ),
    ("POST", rf"{_R}/preupload/", _json(_has(files=_every(_has(path=_is(str), uploadMode=_is(str)))))),
    ("POST", rf"{_R}/commit/", _json(_has(commitOid=_oid, commitUrl=_is(str)))),
    ("POST", rf"{_R}/(branch|tag)/", _no_page),
    ("DELETE", rf"{_R}/(branch|tag)/", _no_page),
    ("POST", r"/api/repos/create$", _json(_has(url=_is(str)))),
    ("POST", r"\.git/info/lfs/objects/batch$", _json(_has(objects=_every(_lfs_object)))),
    ("POST", r"\.git/info/lfs/objects/verify$", _no_page),
    ("PUT", r"", _stored),
    ("POST", r"", _no_page),
    ("DELETE", r"", _no_page),
)
"""Method, what the address holds, and whether a body fits."""


def _shown(content: bytes) -> str:
    text = content[: 4 * _SHOWN].decode("utf-8", "replace")
    return f"{' '.join(text.split())[:_SHOWN]!r}" if text.strip() else "nothing"
