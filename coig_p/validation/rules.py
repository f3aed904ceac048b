"""Rules as data: what is looked for, how bad it is, and the function that finds it.

To add a rule, write a function and decorate it with `text_rule`, `row_rule` or `total_rule`; its
keyword options and their defaults are what a rules file may change:

    [script-traditional]
    share = 0.1
    [email]
    severity = "error"
    [outer-whitespace]
    severity = "off"
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coig_p.errors import UnknownNameError, UsageError

SEVERITIES = ("error", "warning", "metric")
SCOPES = ("query", "response", "score", "row", "pair", "store")
OFF = "off"


@dataclass(frozen=True)
class Rule:
    """One thing that may be wrong with a store.

    Attributes:
        severity: error (must not be released), warning (look at it) or metric (worth knowing).
        scope: the units it looks at, of SCOPES.
        over: "texts", "rows" or "totals": what `find` is given.
        find: called with that and the options as keywords; see `text_rule` and the others.
        options: thresholds, word lists; with their defaults, or as a rules file sets them.
    """

    id: str
    severity: str
    scope: tuple[str, ...]
    why: str
    over: str
    find: Callable[..., Any]
    options: Mapping[str, Any]

    def effective(self) -> dict[str, Any]:
        """Severity and options, for a manifest."""
        return {"severity": self.severity, **self.options}


RULES: dict[str, Rule] = {}

Find = Callable[..., Any]


def _register(
    over: str, id: str, severity: str, scope: str, why: str, options: dict[str, Any]
) -> Callable[[Find], Find]:
    def register(find: Find) -> Find:
        RULES[id] = Rule(id, severity, tuple(scope.split()), why, over, find, options)
        return find

    return register


def text_rule(id: str, severity: str, scope: str, why: str, **options: Any) -> Callable[[Find], Find]:
    """Register find(texts: Texts, **options) -> Hits; hits on texts outside `scope` are left out."""
    return _register("texts", id, severity, scope, why, options)


def row_rule(id: str, severity: str, scope: str, why: str, **options: Any) -> Callable[[Find], Find]:
    """Register find(rows: Rows, **options) -> Iterable[Spot]."""
    return _register("rows", id, severity, scope, why, options)


def total_rule(id: str, severity: str, scope: str, why: str, **options: Any) -> Callable[[Find], Find]:
    """Register find(totals: Totals, **options) -> Iterable[Remark]."""
    return _register("totals", id, severity, scope, why, options)


def load_rules(path: Path | None = None) -> dict[str, Rule]:
    """Every rule that is on, with the changes that a TOML file makes.

    Raises:
        UsageError: no such file, not TOML, or a rule, option or value that cannot be.
    """
    rules = dict(RULES)
    if path is None:
        return rules
    try:
        changes = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    for id, change in changes.items():
        if id not in rules:
            raise UnknownNameError("rule", id, rules)
        if not isinstance(change, dict):
            raise UsageError(f"{path}: write [{id}] and below it severity or an option, not {id} = {change!r}")
        rules[id] = _changed(rules[id], change, path)
    return {id: rule for id, rule in rules.items() if rule.severity != OFF}


def _changed(rule: Rule, change: dict[str, Any], path: Path) -> Rule:
    options = dict(rule.options)
    severity = change.pop("severity", rule.severity)
    if severity not in (*SEVERITIES, OFF):
        raise UnknownNameError(f"severity of {rule.id}", severity, (*SEVERITIES, OFF))
    for name, value in change.items():
        if name not in options:
            raise UnknownNameError(f"option of {rule.id}", name, ("severity", *options))
        default = options[name]
        if isinstance(default, tuple):
            right = isinstance(value, list) and all(isinstance(word, str) and word for word in value)
            kind, value = "a list of strings", tuple(value) if right else value
        else:
            right = isinstance(value, (int, float)) and not isinstance(value, bool)
            kind = "a number"
        if not right:
            raise UsageError(f"{path}: {name} of {rule.id} is {value!r}: give {kind}")
        options[name] = value
    return replace(rule, severity=severity, options=options)
