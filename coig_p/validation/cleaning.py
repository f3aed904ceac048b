"""A store without what a check calls an error: units and notes are dropped, texts are never edited."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from coig_p.core.progress import Advance
from coig_p.errors import UnknownNameError, UsageError
from coig_p.store.changes import Loss
from coig_p.store.rewrite import Rewritten, check_rewrite, dropped_before, rewrite_store
from coig_p.store.store import Store
from coig_p.validation.condemned import Condemned
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
    condemned = Condemned(report, more)

    def record(dropped: Mapping[str, Loss]) -> dict[str, Any]:
        numbers = {rule: loss.to_dict() for rule, loss in dropped.items()}
        changed = [change.to_dict() for change in report.changes]
        return {"dropped": numbers, "rules": report.effective_rules(), "rules_changed": changed}

    return rewrite_store(
        store,
        out,
        condemned,
        step=_STEP,
        record=record,
        reasons=condemned.reasons,
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
