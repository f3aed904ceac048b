"""What a row may call its domain where it names none, and the options that read it so."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coig_p.ingest.values import as_number
from coig_p.schema import domain_problem

KINDS = ("category", "task", "task_type", "type", "subject", "topic", "类别", "类型", "任务", "学科", "领域")
"""Fields that may be what we call the domain."""

FEW_VALUES = 20  # of a field that may be the domain

_INSIDE = ("meta", "metadata", "extra", "info", "extra_info")  # where else they stand
_USUAL = {
    "chat": ("对话", "聊天", "闲聊", "问答", "日常"),
    "code": ("代码", "编程", "程序"),
    "math": ("数学", "算术", "计算"),
    "logic": ("逻辑", "推理"),
    "novel": ("小说", "写作", "创作", "续写"),
    "role": ("角色", "扮演"),
}
_LONGEST = 60  # characters of a value that may be a domain


def kinds_in(row: Any) -> Iterator[tuple[str, str]]:
    """Each field of a row that may say its domain, as --map calls it, with its text; numbers say none."""
    if not isinstance(row, Mapping):
        return
    parts = [("", row), *((f"{name}.", row[name]) for name in _INSIDE if isinstance(row.get(name), Mapping))]
    for path, part in parts:
        for name in KINDS:
            value = part.get(name)
            if isinstance(value, str) and is_kind(value):
                yield f"{path}{name}", value


def is_kind(value: Any) -> bool:
    """Whether a value may say a domain: a short text that is no number."""
    return isinstance(value, str) and 0 < len(value.strip()) <= _LONGEST and as_number(value) is None


def domain_options(field: str, values: Iterable[str]) -> str:
    """The options that take a field's values as domains: those that are no names of domains get one."""
    names: dict[str, str] = {}
    for value in sorted(values):
        if domain_problem(value):
            names[value] = _name_for(value, len(names) + 1)
    mapped = shlex.quote(f"domain={_quoted(field)}")
    if not names:
        return f"--map {mapped}"
    return f"--map {mapped} --domain-map {shlex.quote(','.join(f'{_quoted(old)}={new}' for old, new in names.items()))}"


def _name_for(value: str, number: int) -> str:
    for name, words in _USUAL.items():
        if any(word in value for word in words):
            return name
    plain = re.sub("[^a-z0-9]+", "-", value.lower()).strip("-")[:40]
    return plain if plain and not domain_problem(plain) else f"domain-{number}"


def _quoted(name: str) -> str:
    """A name as --map and --domain-map take it."""
    return '"' + name.replace('"', '""') + '"' if re.search('[,="]', name) or name != name.strip() else name
