"""Rules as data: what is looked for, how bad it is, and with which thresholds.

To add a rule, write a function that finds it (see `coig_p.validation.checks`), and a line in RULES here.
Its options and their defaults are what a rules file may change:

    [script-traditional]
    share = 0.1
    [email]
    severity = "error"
    [outer-whitespace]
    severity = "off"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from coig_p.core.small_files import read_small
from coig_p.errors import UnknownNameError, UsageError

SEVERITIES = ("error", "warning", "metric")
SCOPES = ("query", "response", "tools", "notes", "score", "row", "pair", "store")
OFF = "off"
_SHOWN = 8  # words of a list that a short line names
_BOUNDS = {"share": (0, 1), "most": (0, 1)}  # what an option may be: shares of a text, of pairs or of a store
_OTHER_BOUNDS = (0, 10**9)  # counts, and points on the judges' scale


@dataclass(frozen=True)
class Rule:
    """One thing that may be wrong with a store.

    Attributes:
        severity: error (must not be released), warning (look at it) or metric (worth knowing).
        scope: the units it looks at, of SCOPES. A query's turns are looked at one by one, what tools are told and
            say as "tools"; "notes" are what judges said, `meta` and `source`.
        over: "texts", "rows" or "totals": what its function is given; another word where `check` does not run it.
        options: thresholds, word lists; with their defaults, or as a rules file sets them.
    """

    id: str
    severity: str
    scope: tuple[str, ...]
    why: str
    over: str
    options: Mapping[str, Any]

    def effective(self) -> dict[str, Any]:
        """Severity and options, for a manifest."""
        return {"severity": self.severity, **self.options}


def _rule(over: str, id: str, severity: str, scope: str, why: str, **options: Any) -> Rule:
    return Rule(id, severity, tuple(scope.split()), why, over, options)


_texts, _rows, _totals = (partial(_rule, over) for over in ("texts", "rows", "totals"))
_TOKENS = ("</s>", "<s>", "<unk>", "<pad>", "<eos>", "<bos>", "<eod>", "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>")
_ENDS = tuple("，、；：,;（(《“-—")  # a sentence goes on after these

RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (
        # Texts: their characters, words and language.
        _texts("empty", "error", "query response tools", "a text without a visible character"),
        _texts("replacement-character", "error", "query response tools", "U+FFFD stands where a character was lost"),
        _texts(
            "control-character", "error", "query response tools", "a control character other than tab and line break"
        ),
        _texts("zero-width", "warning", "query response tools", "an invisible character"),
        _texts(
            "bidi-control", "error", "query response tools", "a character that turns the direction of writing around"
        ),
        _texts(
            "private-use", "warning", "query response tools", "a private-use character, shown differently everywhere"
        ),
        _texts("mojibake", "error", "query response tools", "Chinese that was read in the wrong encoding"),
        _texts(
            "special-token",
            "error",
            "query response tools",
            "a token of a chat template leaked into the text",
            tokens=_TOKENS,
        ),
        _texts("thinking", "error", "response", "what a model thought before its answer, or a tag of it"),
        _texts("repetition", "error", "response", "a text that says the same over and over", share=0.6, least=30),
        _texts("truncated", "warning", "response", "an answer that stops in the middle", ends=_ENDS),
        _texts("no-terminal-punctuation", "metric", "response", "an answer without a closing mark"),
        _texts("outer-whitespace", "metric", "query response", "white space at either end"),
        _texts(
            "brackets", "warning", "query response", "a bracket that is opened and not closed, or the other way round"
        ),
        _texts("code-fence", "warning", "query response", "a code block that is opened and not closed"),
        _texts("latex", "warning", "query response", "a formula that is opened and not closed"),
        _texts("refusal", "metric", "response", "an answer that declines to answer"),
        _texts("ai-disclosure", "metric", "response", "an answer that says it comes from an AI"),
        _texts("self-identity", "warning", "response", "an answer that names another maker than its model's"),
        _texts("mobile", "warning", "query response tools notes", "a mobile number of China's mainland"),
        _texts("id-card", "error", "query response tools notes", "an identity number of China's mainland"),
        _texts("bank-card", "error", "query response tools notes", "a bank card's number"),
        _texts("ip-address", "warning", "query response tools notes", "a public IPv4 address"),
        _texts("email", "warning", "query response tools notes", "an e-mail address"),
        _texts(
            "words", "warning", "query response tools notes", "a word of the list that a rules file gives", words=()
        ),
        _texts(
            "script-traditional", "error", "query response", "traditional characters in a simplified corpus", share=0.05
        ),
        _texts("script-some-traditional", "warning", "query response", "a few traditional characters", share=0.05),
        _texts("mixed-script", "warning", "query response", "kana or hangul in a Chinese text", most=0.3),
        _texts("query-language", "warning", "query", "a query that is not Chinese"),
        _texts("response-language", "warning", "response", "an answer in another language than its query", least=20),
        # Rows: turns, scores, comparisons and models of each query.
        _rows(
            "turns",
            "error",
            "row",
            "a turn of no known role or content, no user, or a query that is not its turns' text",
        ),
        _rows(
            "conversation-end", "error", "row response", "a conversation that ends in an assistant's turn or a response"
        ),
        _rows("json", "error", "row response", "tools, meta or extra that is not JSON, or not of its kind"),
        _rows("score-range", "error", "score", "a score outside the store's range, or none at all"),
        _rows("score-grid", "error", "score", "a score with more than 4 decimals"),
        _rows("no-judge", "error", "score", "a score without a judge"),
        _rows("comparison", "error", "score", "a comparison of nothing, or without a result"),
        _rows("unscored", "warning", "response", "a response that nobody judged"),
        _rows("self-judged", "warning", "score", "a model that judged its own response"),
        _rows("no-model", "error", "response", "a response without a model"),
        _rows("model-twice", "error", "response", "a model that answered a query twice with one sample number"),
        _rows("too-few-responses", "metric", "row", "a query that can give no pair", least=2),
        _rows("same-text", "metric", "row", "one answer given by several models"),
        _rows("score-conflict", "warning", "row", "one answer scored far apart within a query", apart=2),
        # Totals: the store as a whole, and the pairs it gives.
        _totals("files", "error", "store", "a file that is not as the manifest says"),
        _totals("manifest-counts", "error", "store", "rows that do not add up to what the manifest says"),
        _totals("query-id-twice", "error", "store", "two queries with one query_id"),
        _totals("rare-model", "warning", "store", "a model with very few responses", least=10),
        _totals("rare-judge", "warning", "store", "a judge with very few scores", least=10),
        _totals("rare-domain", "warning", "store", "a domain with very few queries", share=0.01),
        _totals("no-pairs", "warning", "pair", "a domain without a pair at the default threshold"),
        _totals("judge-sets-differ", "warning", "pair", "a pair whose responses were scored by different judges"),
        _totals("length-bias", "warning", "pair", "the longer response is chosen far too often", share=0.7),
        _totals("one-sided-model", "warning", "pair", "a model that always wins or always loses", least=30),
        _totals("ties", "metric", "pair", "how many pairs of responses are scored alike"),
        _totals("pairs-per-query", "metric", "pair", "how many pairs a query gives at the default threshold"),
        _totals("margins", "metric", "pair", "how far apart chosen and rejected are scored"),
    )
}
"""Every rule by its id, in the order in which they are listed; what finds each is in `coig_p.validation.checks`."""


@dataclass(frozen=True)
class RuleChange:
    """One way in which rules are not as they are by default.

    Attributes:
        rule: its id.
        what: "severity", or the name of an option.
        value: what it is; the severity of a rule that does not run is off.
        default: what it is by default.
    """

    rule: str
    what: str
    value: Any
    default: Any

    @property
    def is_off(self) -> bool:
        """Whether the rule does not run, so that nobody knows what it would find."""
        return self.what == "severity" and self.value == OFF

    @property
    def words(self) -> tuple[str, str]:
        """The value and the default for people; of a list what is not in it any more, and what is in it besides."""
        if not isinstance(self.default, tuple):
            return str(self.value), str(self.default)
        gone = [f"-{word}" for word in self.default if word not in self.value]
        more = [f"+{word}" for word in self.value if word not in self.default]
        return _some(gone + more), _some(self.default)

    def __str__(self) -> str:
        value, default = self.words
        return f"{self.rule}: {self.what} {value}, by default {default}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return asdict(self)


def _some(words: Sequence[str]) -> str:
    more = f", … ({len(words):,})" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more or "–"


def rule_changes(rules: Mapping[str, Rule]) -> tuple[RuleChange, ...]:
    """In what these rules, the only ones that run, are not those of RULES; in their order. Others are no change."""
    changes = []
    for id, default in RULES.items():
        rule = rules.get(id)
        severity = OFF if rule is None else rule.severity
        if severity != default.severity:
            changes.append(RuleChange(id, "severity", severity, default.severity))
        for name, value in {} if rule is None else rule.options.items():
            usual = default.options.get(name)
            same = set(value) == set(usual) if isinstance(usual, tuple) else value == usual
            if not same:
                changes.append(RuleChange(id, name, value, usual))
    return tuple(changes)


def with_off(rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """Every rule of RULES: as it runs, or off."""
    return {id: rules.get(id, replace(rule, severity=OFF)) for id, rule in RULES.items()}


def load_rules(path: Path | None = None) -> dict[str, Rule]:
    """Every rule that is on, with the changes that a TOML file makes.

    Raises:
        UsageError: no such file, not TOML, or a rule, option or value that cannot be.
    """
    rules = dict(RULES)
    if path is None:
        return rules
    try:
        changes = tomllib.loads(read_small(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    for id, change in changes.items():
        if id not in rules:
            raise UnknownNameError("rule", id, rules, within=path)
        if not isinstance(change, dict):
            raise UsageError(f"{path}: write [{id}] and below it severity or an option, not {id} = {change!r}")
        rules[id] = _changed(rules[id], change, path)
    return {id: rule for id, rule in rules.items() if rule.severity != OFF}


def _changed(rule: Rule, change: dict[str, Any], path: Path) -> Rule:
    options = dict(rule.options)
    severity = change.pop("severity", rule.severity)
    if severity not in (*SEVERITIES, OFF):
        raise UnknownNameError(f"severity of {rule.id}", severity, (*SEVERITIES, OFF), within=path)
    for name, value in change.items():
        if name not in options:
            raise UnknownNameError(f"option of {rule.id}", name, ("severity", *options), within=path)
        default = options[name]
        if isinstance(default, tuple):
            right = isinstance(value, list) and all(isinstance(word, str) and word for word in value)
            kind, value = "a list of strings", tuple(value) if right else value
        else:
            low, high = _BOUNDS.get(name, _OTHER_BOUNDS)
            right = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
            kind = f"a number from {low} to {high:,}"  # which nan is not: nothing is above it, and the gate would open
        if not right:
            raise UsageError(f"{path}: {name} of {rule.id} is {value!r}: give {kind}")
        options[name] = value
    return replace(rule, severity=severity, options=options)
