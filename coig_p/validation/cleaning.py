"""A store without what a check calls an error: units and notes are dropped, texts are never edited."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from coig_p.core.progress import Advance
from coig_p.errors import UnknownNameError, UsageError
from coig_p.store.changes import Change, Loss
from coig_p.store.rewrite import Rewritten, check_rewrite, dropped_before, rewrite_store
from coig_p.store.store import Store
from coig_p.validation.checks.notes import is_note
from coig_p.validation.findings import Report
from coig_p.validation.rules import Rule

_STEP = "clean"


def clean_store(
    store: Store,
    report: Report,
    out: Path,
    *,
    more: Collection[str] = (),
    overwrite: bool = False,
    advance: Advance = lambda queries: None,
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Rewritten:
    """Write a store without the units that errors, and the rules in `more`, name.

    A finding about a query drops its row, one about a response that response, one about a score that
    score. One in a note (`meta`, `source`, what a judge said) makes that null, and nothing else goes. What refers to
    a dropped response goes with it. What was done is in the new manifest's options.

    Args:
        report: of a check of this store; the new manifest remembers benchmarks that it was compared with.
        out: the directory to write.
        more: rules whose findings are dropped as errors are.
        advance: called with the number of queries read since the last call.
        num_proc, engine: who writes (see `coig_p.store.rewrite.rewrite_store`).

    Returns:
        The new store, and by rule how many rows, responses, scores and comparisons went.

    Raises:
        UsageError: `out` cannot be used, or a rule that finds nothing that could be dropped.
        DataError: nothing would be left.
    """
    check_clean(store, out, report.rules, more, overwrite)
    condemned = _condemned(report, more)

    def record(dropped: Mapping[str, Loss]) -> dict[str, Any]:
        numbers = {rule: loss.to_dict() for rule, loss in dropped.items()}
        changed = [change.to_dict() for change in report.changes]
        return {"dropped": numbers, "rules": report.effective_rules(), "rules_changed": changed}

    return rewrite_store(
        store,
        out,
        lambda domain, query_id: condemned.get((domain, query_id)),
        step=_STEP,
        record=record,
        reasons=set(_rules_in(condemned)),
        # The manifest tells of all that went since the import, not of the last cleaning alone.
        earlier={rule: Loss.from_dict(told) for rule, told in dropped_before(store, _STEP).items()},
        checks=[check.without_what_it_found() for check in report.compared],
        overwrite=overwrite,
        advance=advance,
        num_proc=num_proc,
        engine=engine,
    )


def check_clean(store: Store, out: Path, rules: Mapping[str, Rule], more: Collection[str], overwrite: bool) -> None:
    """Raise UsageError where `clean_store` could not do what is asked, before anything is read."""
    for rule in more:
        if rule not in rules:
            raise UnknownNameError("rule", rule, rules)
        if rules[rule].over == "totals":
            raise UsageError(f"rule {rule} is about the store as a whole: it names nothing that could be dropped")
    check_rewrite(store, out, overwrite)


def _rules_in(condemned: Mapping[Any, Change]) -> Iterator[str]:
    for change in condemned.values():
        if change.row is not None:
            yield change.row
        for units in (change.responses, change.scores, change.comparisons, change.notes):
            yield from units.values()


def _condemned(report: Report, more: Collection[str]) -> dict[tuple[str, str], Change]:
    """By domain and query_id, what goes; the first rule that finds a unit names the reason."""
    found: dict[tuple[str, str], Change] = defaultdict(Change)
    columns = ["rule", "severity", "domain", "query_id", "response", "score", "comparison", "field"]
    findings = report.findings.select(columns)
    for finding in findings.filter(pc.is_valid(findings.column("query_id"))).to_pylist():
        rule, response, score, comparison = (finding[name] for name in ("rule", "response", "score", "comparison"))
        if finding["severity"] != "error" and rule not in more:
            continue
        change = found[finding["domain"], finding["query_id"]]
        if is_note(finding["field"]) and report.rules[rule].over == "texts":
            change.notes.setdefault(finding["field"], rule)
        elif comparison is not None:
            change.comparisons.setdefault(comparison, rule)
        elif response is None:
            change.row = change.row or rule
        elif score is None:
            change.responses.setdefault(response, rule)
        else:
            change.scores.setdefault((response, score), rule)
    return found
