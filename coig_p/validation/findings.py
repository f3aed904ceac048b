"""Findings as data: one row for each thing that a rule found, and the report of all of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index
from coig_p.core.html import html_table
from coig_p.core.text import counted
from coig_p.engine.sorting import Sorting
from coig_p.store.benchmarks import BenchmarkCheck
from coig_p.validation.checks.rows import BatchView, Spot
from coig_p.validation.checks.texts import KINDS, Hits, Texts
from coig_p.validation.checks.totals import Remark
from coig_p.validation.rules import RULES, SEVERITIES, Rule, RuleChange, rule_changes

if TYPE_CHECKING:
    import pandas as pd

FINDINGS = pa.schema(
    [
        ("rule", pa.string()),
        ("severity", pa.string()),
        ("domain", pa.string()),
        ("query_id", pa.string()),
        ("response", pa.int32()),
        ("score", pa.int32()),
        ("comparison", pa.int32()),
        ("message", pa.int32()),
        ("model", pa.string()),
        ("judge", pa.string()),
        ("field", pa.string()),
        ("offset", pa.int64()),
        ("excerpt", pa.string()),
    ]
)
"""What is null does not apply: a finding about a store has no query_id, one about a score no offset.

`response`, `comparison` and `message` count from 0 in the row, `score` in its response. `field` says the same as
a path for people, for instance responses[2].text or messages[1].content; `offset` counts characters in that text.
"""

_AROUND = 20  # characters shown on either side of an offset
_LONGEST_SECRET = 64
_INSTANCE = 80  # characters of an excerpt in a notebook
_SECRET = re.compile(r"\d(?:[ -]?\d){5,}[Xx]?|[\w.%+-]+[@＠][\w.-]+")
_NO_SECRET = re.compile(r"[^\w.%+@＠ -]")  # a character that no secret has


@dataclass(frozen=True)
class Counts:
    """How many findings there are of each severity."""

    error: int = 0
    warning: int = 0
    metric: int = 0

    def to_dict(self) -> dict[str, int]:
        """Numbers by severity, the worst first."""
        return asdict(self)


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        findings: a table of FINDINGS, worst first; beyond some 100,000 in a file that is mapped into memory.
        rules: those that ran, with severity and options as they were in force.
        queries, responses: how many were looked at.
        compared: with which benchmarks the whole store was compared; what they found is among the findings.
    """

    findings: pa.Table
    rules: Mapping[str, Rule]
    queries: int
    responses: int
    compared: tuple[BenchmarkCheck, ...] = ()

    def __repr__(self) -> str:
        return f"Report({self.summary()})"

    def summary(self) -> str:
        """One short line: the verdict, findings by severity, and how much was looked at."""
        counts, verdict = self.counts, "passed" if self.passed else "not to be released"
        return (
            f"{verdict}: {counted(counts.error, 'error')}, {counted(counts.warning, 'warning')}, "
            f"{counted(counts.metric, 'metric')} in {counted(self.queries, 'query', 'queries')} and "
            f"{counted(self.responses, 'response')}{self.told_of_changes()}"
        )

    def told_of_changes(self) -> str:
        """How many rules are off and how many were changed, to be said behind the numbers; nothing where none is."""
        off, changed = len(self.not_checked), len({change.rule for change in self.changes if not change.is_off})
        return "".join(f"; rules {how}: {number}" for how, number in (("off", off), ("changed", changed)) if number)

    @property
    def changes(self) -> tuple[RuleChange, ...]:
        """In what the rules that ran are not those of RULES: severities, options, and rules that are off."""
        return rule_changes(self.rules)

    @property
    def not_checked(self) -> tuple[str, ...]:
        """Rules that are off: nobody knows what they would find."""
        return tuple(change.rule for change in self.changes if change.is_off)

    def told_severity(self, rule: str) -> str:
        """The severity of a rule that ran, and what it is by default where that is another."""
        own = self.rules[rule].severity
        usual = RULES[rule].severity if rule in RULES else own
        return own if own == usual else f"{own} ({usual} by default)"

    def told_of_rules(self) -> list[str]:
        """A line for each way in which the rules were not the usual ones, for a terminal once it is made harmless."""
        return [
            f"not checked: {change.rule}, which is off; {change.default} by default"
            if change.is_off
            else f"changed: {change}"
            for change in self.changes
        ]

    @property
    def counts(self) -> Counts:
        """Findings by severity."""
        return Counts(**{severity: self.count(severity) for severity in SEVERITIES})

    def count(self, severity: str) -> int:
        """Findings of a severity."""
        return int(pc.sum(pc.equal(self.findings.column("severity"), severity)).as_py() or 0)

    @property
    def passed(self) -> bool:
        """No error: the gate is open."""
        return self.count("error") == 0

    def by_rule(self) -> dict[str, int]:
        """Findings of each rule that ran, in the rules' order."""
        counts = tally(self.findings, "rule")
        return {id: counts[(id,)] for id in self.rules}

    def effective_rules(self) -> dict[str, Any]:
        """Severity and options of each rule, for a manifest."""
        return {id: rule.effective() for id, rule in self.rules.items()}

    def with_findings(self, rule: Rule, findings: pa.Table) -> Report:
        """This report with what one more rule found."""
        return replace(self, findings=ordered([self.findings, findings]), rules={**self.rules, rule.id: rule})

    def to_dict(self) -> dict[str, Any]:
        """Verdict and numbers, in plain dicts; of the findings themselves see `to_pandas`."""
        return {
            "passed": self.passed,
            **self.counts.to_dict(),
            "rules": {
                id: {"severity": self.rules[id].severity, "findings": number} for id, number in self.by_rule().items()
            },
            "rules_changed": [change.to_dict() for change in self.changes],
            "not_checked": list(self.not_checked),
            "compared": list(map(asdict, self.compared)),
            "queries": self.queries,
            "responses": self.responses,
        }

    def to_pandas(self) -> pd.DataFrame:
        """The findings, one a row, with the columns of FINDINGS; whole numbers with gaps are Int32 and Int64."""
        import pandas as pd

        kept = {pa.int32(): pd.Int32Dtype(), pa.int64(): pd.Int64Dtype()}
        frame: pd.DataFrame = self.findings.to_pandas(types_mapper=kept.get)
        return frame

    def _repr_html_(self) -> str:
        verdict, _, counts = self.summary().partition(":")
        found = [(self.rules[id], number) for id, number in self.by_rule().items() if number]
        found.sort(key=lambda one: (SEVERITIES.index(one[0].severity), -one[1], one[0].id))
        rows = [[rule.severity, rule.id, number, rule.why, self._instance(rule.id)] for rule, number in found]
        off = ", ".join(self.not_checked)
        return f"<p><b>{verdict}</b>:{counts}</p>" + html_table(
            f"Not checked: {off}" if off else "", ["severity", "rule", "findings", "what it is", "for instance"], rows
        )

    def _instance(self, rule: str) -> str:
        """The excerpt of a rule's first finding, cut."""
        at = pc.index(self.findings.column("rule"), rule).as_py()
        return " ".join((self.findings.column("excerpt")[at].as_py() or "")[:_INSTANCE].split())


def redacted(text: str) -> str:
    """`text` without the numbers and addresses that might be somebody's."""
    return _SECRET.sub(lambda found: "*" * len(found[0]), text)


def redacted_beginning(text: str, size: int) -> str:
    """`redacted(text)[:size]`, without a look at the rest of the text."""
    end = _NO_SECRET.search(text, size)
    return redacted(text if end is None else text[: end.start()])[:size]


def make_findings(
    rule: Rule, excerpts: Sequence[str], columns: Mapping[str, Any], *, of_text: bool = False
) -> pa.Table:
    """Findings of one rule, N of them, as a table of FINDINGS.

    Args:
        excerpts: N; what is said of each, or shown.
        columns: others of FINDINGS by name, each an array of N or a list that can become one; null where
            left out. `field` follows from them where it is left out.
        of_text: each is about the text of a query (where `response` is null) or of a response.
    """
    given = {
        "rule": pa.repeat(rule.id, len(excerpts)),
        "severity": pa.repeat(rule.severity, len(excerpts)),
        "excerpt": excerpts,
        **columns,
    }
    arrays = {}
    for column in FINDINGS:
        values = given.get(column.name)
        if values is None:
            arrays[column.name] = pa.nulls(len(excerpts), column.type)
        elif isinstance(values, (pa.Array, pa.ChunkedArray)):
            arrays[column.name] = values.cast(column.type)
        else:
            arrays[column.name] = pa.array(values, column.type)
    if "field" not in columns:
        places = (arrays[name].to_pylist() for name in ("response", "score", "comparison"))
        arrays["field"] = pa.array([_path(*place, of_text=of_text) for place in zip(*places, strict=True)], pa.string())
    return pa.table(arrays, schema=FINDINGS)


def _path(response: int | None, score: int | None, comparison: int | None, *, of_text: bool) -> str | None:
    """Where in a row it is, for people."""
    if comparison is not None:
        return f"comparisons[{comparison}]"
    if response is None:
        return "query" if of_text else None
    if score is not None:
        return f"responses[{response}].scores[{score}].score"
    return f"responses[{response}].text" if of_text else f"responses[{response}]"


def from_hits(rule: Rule, hits: Hits, texts: Texts) -> pa.Table:
    """The findings of a rule over texts in one batch."""
    in_scope = np.array([kind in rule.scope for kind in KINDS])[texts.kind[hits.text]]
    text, offset = hits.text[in_scope], hits.offset[in_scope]
    if not len(text):
        return FINDINGS.empty_table()
    excerpts = [
        _excerpt(texts.letters[texts.starts[at] : texts.starts[at + 1]], place)
        for at, place in zip(text.tolist(), offset.tolist(), strict=True)
    ]
    return make_findings(
        rule,
        excerpts,
        {
            **_of_rows(texts.batch, texts.row[text]),
            "response": _unless_negative(texts.response[text]),
            "message": _unless_negative(texts.message[text]),
            "score": _unless_negative(texts.score[text]),
            "comparison": _unless_negative(texts.comparison[text]),
            "judge": texts.judge.take(pa.array(text)),
            "model": texts.models.take(_unless_negative(texts.answer[text])),
            "field": [texts.field(at) for at in text.tolist()],
            "offset": offset,
        },
    )


def _of_rows(batch: pa.RecordBatch, rows: Index) -> dict[str, pa.Array]:
    return {name: batch.column(name).take(pa.array(rows)) for name in ("domain", "query_id")}


def _unless_negative(places: Index) -> pa.Array:
    return pa.array(places, mask=places < 0)


def place_in_excerpt(offset: int) -> int:
    """Where in the excerpt of a text the character stands that is at `offset` in the text."""
    return min(offset, _AROUND)


def _excerpt(letters: npt.NDArray[np.uint32], offset: int) -> str:
    """What stands around an offset, redacted before it is cut: half a number is still one."""
    first = max(0, offset - _AROUND)
    begin = max(0, first - _LONGEST_SECRET)
    text = letters[begin : offset + _AROUND + _LONGEST_SECRET].tobytes().decode("utf-32-le")
    return redacted(text)[first - begin : offset + _AROUND - begin]


def from_spots(rule: Rule, spots: Iterable[Spot], view: BatchView) -> pa.Table:
    """The findings of a rule over rows in one batch."""
    spots = list(spots)
    if not spots:
        return FINDINGS.empty_table()
    row, response, score, comparison, message = np.array(
        [(spot.row, spot.response, spot.score, spot.comparison, spot.message) for spot in spots], np.int64
    ).T
    paths = [spot.field or _path(*map(_or_none, spot[2:5]), of_text=False) for spot in spots]
    # Where each stands among all responses, all scores, all comparisons of the batch.
    of_all = np.where(response < 0, -1, np.searchsorted(view.responses.query, row) + response)
    score_of_all = np.where(score < 0, -1, np.searchsorted(view.responses.score_of, of_all) + score)
    compared = np.where(comparison < 0, -1, np.searchsorted(view.comparison_row, row) + comparison)
    judges = pc.coalesce(
        view.judges.take(_unless_negative(score_of_all)),
        view.comparisons.field("judge").take(_unless_negative(compared)),
    )
    return make_findings(
        rule,
        [spot.words for spot in spots],
        {
            **_of_rows(view.batch, row),
            "response": _unless_negative(response),
            "score": _unless_negative(score),
            "comparison": _unless_negative(comparison),
            "message": _unless_negative(message),
            "field": paths,
            "model": view.responses.model_column.take(_unless_negative(of_all)),
            "judge": judges,
        },
    )


def _or_none(place: int) -> int | None:
    return None if place < 0 else place


def from_remarks(rule: Rule, remarks: Iterable[Remark]) -> pa.Table:
    """The findings of a rule over totals."""
    remarks = list(remarks)
    names = {name: [getattr(one, name) or None for one in remarks] for name in ("domain", "model", "judge")}
    return make_findings(rule, [one.words for one in remarks], names)


def sorting() -> Sorting:
    """An accumulator of findings, whose result has them as `ordered`."""
    return Sorting(FINDINGS, _keys)


def ordered(tables: Iterable[pa.Table]) -> pa.Table:
    """All findings, worst first, in an order that depends on nothing but them.

    Many are in a file that has no name (see `coig_p.engine.sorting`).

    Raises:
        OSError: it cannot be written, as where the disk is full.
    """
    found = sorting()
    for table in tables:
        found.add(table)
    return found.result()


def _keys(table: pa.Table) -> pa.Table:
    keys = {"worst": pc.index_in(table.column("severity"), pa.array(SEVERITIES))}
    keys |= {name: table.column(name) for name in ("rule", "domain", "query_id")}
    # What has no place comes first: a query before its responses.
    keys |= {
        name: pc.fill_null(table.column(name), -1) for name in ("response", "score", "comparison", "message", "offset")
    }
    keys |= {name: table.column(name) for name in ("model", "judge", "field", "excerpt")}
    return pa.table(keys)


def tally(findings: pa.Table, *names: str) -> Counter[tuple[str | None, ...]]:
    """How many findings there are by these columns."""
    grouped = findings.group_by(list(names), use_threads=False).aggregate([([], "count_all")])
    return Counter({tuple(row[name] for name in names): row["count_all"] for row in grouped.to_pylist()})
