"""Per-item results as the published benchmarks' own code writes them, as rows that can be imported.

judgebench     JSON Lines: the pair, and "judgments" of one order or both, each with a decision or, of a reward
               model, two scores
rewardbench    one JSON object of columns: id, subset, scores_chosen, scores_rejected
rewardbench2   the same: id, subset, scores
rm-bench       a JSON list: the row, and score_chosen and score_rejected, three each
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError
from coig_p.reward.bench.form import Bench, not_as, shown
from coig_p.reward.bench.rows import Row, rows_of

_DECISIONS = {"A>B": "first", "B>A": "second", "A=B": "tie", None: None}
_ORDERS = (("A", "B"), ("B", "A"))
_NO_REWARD = "no-reward"


def rows_as(form: str, bench: Bench, path: Path) -> Iterator[Row]:
    """Each row of a file as `coigp bench import` takes it: its item, and rewards or verdicts.

    Args:
        form: one of FORMS.

    Raises:
        DataError: the file is not of this form, or a text is not the benchmark's; names file, row and field.
    """
    texts = {item.id: [one.text for one in item.responses] for item in bench.items}
    for row, said in FORMS[form](path):
        told, theirs = said
        if theirs is not None and texts.get(told["item"], theirs) != theirs:
            raise row.wrong("item", f"{shown(told['item'])} has other responses than in {bench.path}")
        yield replace(row, values=told)


_Said = tuple[Mapping[str, Any], list[Any] | None]


def _judgebench(path: Path) -> Iterator[tuple[Row, _Said]]:
    for row in rows_of(path):
        theirs = [row.text("response_A"), row.text("response_B")]
        judgments = row.get("judgments")
        if not isinstance(judgments, list) or len(judgments) not in (1, 2):
            raise row.wrong("judgments", not_as(row.values, "judgments", "a list of one judgment or two"))
        told: dict[str, Any] = {"item": row.name("pair_id")}
        scores = [_scores(one) for one in judgments]
        if all(one is not None for one in scores):
            yield row, (told | {"rewards": scores[0]}, theirs)  # of the other order the same, the other way round
            continue
        verdicts = []
        for at, (order, one) in enumerate(zip(_ORDERS, judgments, strict=False)):
            said = {} if one is None else one
            if not isinstance(said, dict):
                raise row.wrong(f"judgments[{at}]", f"{shown(one)} is not an object or null")
            decision = said.get("decision")
            if not isinstance(decision, str | None) or decision not in _DECISIONS:
                raise row.wrong(f"judgments[{at}].decision", f"{shown(decision)} is none of A>B, B>A, A=B and null")
            inner = said.get("judgment")
            raw = inner.get("response") if isinstance(inner, dict) else None
            verdicts.append({"shown": list(order), "verdict": _DECISIONS[decision], "raw": raw})
        yield row, (told | {"verdicts": verdicts}, theirs)


def _scores(judgment: Any) -> Any:
    inner = judgment.get("judgment") if isinstance(judgment, dict) else None
    return inner.get("scores") if isinstance(inner, dict) else None


def _rm_bench(path: Path) -> Iterator[tuple[Row, _Said]]:
    for row in rows_of(path):
        rewards: list[Any] = []
        for name in ("score_chosen", "score_rejected"):
            if not isinstance(row.get(name), list):
                raise row.wrong(name, not_as(row.values, name, "a list of numbers"))
            rewards += row.get(name)
        has_texts = row.get("chosen") is not None and row.get("rejected") is not None
        theirs = [*row.texts("chosen"), *row.texts("rejected")] if has_texts else None
        yield row, ({"item": f"{row.text('domain')}/{row.name('id')}", "rewards": [*map(_number, rewards)]}, theirs)


def _rewardbench(path: Path) -> Iterator[tuple[Row, _Said]]:
    for row in _columns(path, ("id", "subset", "scores_chosen", "scores_rejected")):
        rewards = [_number(row.get(name)) for name in ("scores_chosen", "scores_rejected")]
        told: dict[str, Any] = {"item": f"{row.text('subset')}/{row.name('id')}", "rewards": rewards}
        yield row, (told | ({"reason": _NO_REWARD} if None in rewards else {}), None)


def _rewardbench2(path: Path) -> Iterator[tuple[Row, _Said]]:
    for row in _columns(path, ("id", "subset", "scores")):
        scores = row.get("scores")
        if not isinstance(scores, list):
            raise row.wrong("scores", not_as(row.values, "scores", "a list of numbers"))
        yield row, ({"item": f"{row.text('subset')}/{row.name('id')}", "rewards": [*map(_number, scores)]}, None)


def _number(value: Any) -> Any:
    """A score that stands in a list alone, as some models give it, as itself."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _columns(path: Path, names: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a JSON object whose fields are columns; those that are no lists are of all rows."""
    try:
        told = strict_json(path.read_text("utf-8"))
    except RecursionError:
        raise DataError(f"{path}: nested too deep") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON of UTF-8: {error}") from None
    if not isinstance(told, dict):
        raise DataError(f"{path}: {shown(told)} is not an object of columns")
    for name in names:
        if not isinstance(told.get(name), list):
            raise DataError(f"{path} .{name}: {not_as(told, name, 'a list, a value for each item')}")
        if len(told[name]) != len(told[names[0]]):
            raise DataError(f"{path} .{name}: {len(told[name])} values, and {names[0]} has {len(told[names[0]])}")
    for number, values in enumerate(zip(*(told[name] for name in names), strict=True), 1):
        yield Row(path, number, f"{path} row {number}", dict(zip(names, values, strict=True)))


FORMS: Mapping[str, Callable[[Path], Iterator[tuple[Row, _Said]]]] = {
    "judgebench": _judgebench,
    "rewardbench": _rewardbench,
    "rewardbench2": _rewardbench2,
    "rm-bench": _rm_bench,
}
"""By what `coigp bench import --from` calls them."""
