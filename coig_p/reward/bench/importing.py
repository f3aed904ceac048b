"""What a scorer said elsewhere of a benchmark's items, as results.

    {"item": "crb-17", "rewards": [1.25, -0.5]}        in the order of the item's responses
    {"item": "crb-17", "rewards": {"chosen": 1.25, "rejected": -0.5}}        by their ids
    {"item": "crb-17", "verdicts": [{"shown": ["a", "b"], "verdict": "first", "raw": "..."}]}
    {"item": "crb-17", "rewards": null, "reason": "too-long"}

A line of results.jsonl is one, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from coig_p.errors import DataError
from coig_p.reward.bench.elsewhere import rows_as
from coig_p.reward.bench.form import Bench, Item, checked_line, not_as, shown
from coig_p.reward.bench.results import Result, lengths, mixed, result_of, result_problem, says
from coig_p.reward.bench.rows import Row, rows_of

_FIELDS = ("item", "rewards", "verdicts", "reason", "domain", "length")


def import_results(bench: Bench, files: Sequence[Path], form: str | None = None) -> list[Result]:
    """Results that stand in files, in the order of the benchmark's items.

    Args:
        files: JSON, JSON Lines or Parquet, one row an item.
        form: whose own code wrote them, one of `elsewhere.FORMS`; default they are as above.

    Raises:
        DataError: a row is no result or does not fit its item, an item is unknown, stands twice or has none, or some
            rows have rewards and some verdicts; names file, line and field.
    """
    items = {item.id: item for item in bench.items}
    found: dict[str, Result] = {}
    seen: dict[str, str] = {}
    first: Result | None = None
    for path in files:
        for row in rows_of(path) if form is None else rows_as(form, bench, path):
            name = row.name("item")
            if name not in items:
                raise row.wrong("item", f"{shown(name)} is no item of {bench.path}")
            if name in seen:
                raise row.wrong("item", f"{shown(name)} stands in {seen[name]}, too")
            seen[name] = row.where
            result = found[name] = _result(row, items[name])
            problem = mixed(result, first, "" if first is None else seen[first.item])
            if problem is not None:
                raise row.wrong(*problem)
            first = first or (result if says(result) else None)
    missing = next((name for name in items if name not in found), None)
    if missing is not None:
        raise DataError(
            f"{', '.join(map(str, files))}: item {shown(missing)} has no result, and {len(items) - len(found):,} of "
            f"{len(items):,} have none. Where a scorer said nothing, say why: rewards null, and a reason"
        )
    return [found[name] for name in items]


def _result(row: Row, item: Item) -> Result:
    for name, value in row.values.items():
        if name not in _FIELDS and value is not None:
            raise row.wrong(shown(name)[1:-1], f"no field of a result, which has {', '.join(_FIELDS)}")
    told: dict[str, Any] = {"item": item.id, "rewards": _rewards(row, item), "verdicts": list(_verdicts(row)) or None}
    told |= {"reason": row.get("reason"), "domain": row.get("domain"), "length": row.get("length")}
    told["domain"] = item.domain if told["domain"] is None else told["domain"]
    told["length"] = list(lengths(item)) if told["length"] is None else told["length"]
    checked_line(told, row.where, lambda said: result_problem(said, item))
    return result_of(told)


def _rewards(row: Row, item: Item) -> Any:
    """In the order of the item's responses, whichever of the two ways the row says them in."""
    value = row.get("rewards")
    if not isinstance(value, Mapping):
        return value
    told = {name: reward for name, reward in value.items() if reward is not None}
    ids = [one.id for one in item.responses]
    for name in told:
        if name not in ids:
            raise row.wrong("rewards", f"{shown(name)} is no response of the item, which has {', '.join(ids)}")
    for name in ids:
        if name not in value:
            raise row.wrong("rewards", f"{shown(name)} has none: give every response one, or null")
    return [told.get(name) for name in ids]


def _verdicts(row: Row) -> Iterator[Any]:
    value = row.get("verdicts")
    if value is None:
        return
    if not isinstance(value, list):
        raise row.wrong("verdicts", not_as(row.values, "verdicts", "a list of verdicts"))
    for one in value:
        yield {"raw": None, **one} if isinstance(one, dict) else one
