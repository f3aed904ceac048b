"""What a scorer said of a benchmark, on disk, with the benchmark beside it.

RESULTS/
  results.jsonl   one line an item, in the benchmark's order
  bench/          the benchmark it was run on, as it was
  results.json    who scored, with what options, on which benchmark; written last

{"item": "crb-17", "domain": "math", "rewards": [1.25, -0.5] or null,
 "verdicts": [{"shown": ["a", "b"], "verdict": "first", "raw": "..."}] or null, "reason": null, "length": [120, 84]}
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from coig_p.core.atomic import atomic_directory
from coig_p.errors import DataError, UsageError
from coig_p.reward.bench.form import (
    BENCH,
    ITEMS,
    TOOL,
    Bench,
    Item,
    Problem,
    check_whole,
    checked_line,
    header_field,
    located,
    not_as,
    read_bench,
    read_header,
    read_lines,
    shown,
    write_header,
)
from coig_p.reward.bench.form import MARKER as BENCH_MARKER
from coig_p.reward.scorer import finite
from coig_p.store.places import Marker, check_directory, check_outside

LINES, RESULTS, COPY = "results.jsonl", "results.json", "bench"
FORMAT, VERSION = "coig_p.bench.results", 1
KINDS = ("model", "server", "judge", "baseline")
VERDICTS = ("first", "second", "tie")
MARKER = Marker(RESULTS, (b'"coig_p.bench.results"',))
_FIELDS = ("item", "domain", "rewards", "verdicts", "reason", "length")


@dataclass(frozen=True)
class Verdict:
    """What a judge said of two responses.

    Attributes:
        shown: their ids, in the order shown.
        verdict: one of VERDICTS; None where nothing can be read, or nothing was said.
        raw: what it said.
    """

    shown: tuple[str, str]
    verdict: str | None
    raw: str | None = None


@dataclass(frozen=True)
class Result:
    """What a scorer said of one item.

    Attributes:
        rewards: in the order of the item's responses, None for each that has none; None where there are verdicts.
        reason: why a reward is missing, or there is nothing at all, as "too-long"; None where nothing is missing.
        length: characters of each response.
    """

    item: str
    domain: str
    rewards: tuple[float | None, ...] | None
    verdicts: tuple[Verdict, ...] | None
    reason: str | None
    length: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """As a line has it."""
        verdicts = self.verdicts
        return {
            "item": self.item,
            "domain": self.domain,
            "rewards": None if self.rewards is None else list(self.rewards),
            "verdicts": None
            if verdicts is None
            else [{"shown": list(one.shown), "verdict": one.verdict, "raw": one.raw} for one in verdicts],
            "reason": self.reason,
            "length": list(self.length),
        }


@dataclass(frozen=True)
class Results:
    """What a scorer said of a benchmark, read whole.

    Attributes:
        path: the folder.
        bench: the benchmark, with `results` in the order of its items.
        scorer: "kind", one of KINDS, "name", and what else is known of it.
        options: what it was run with.
        tool: what ran it, with its version.
    """

    path: Path
    bench: Bench
    scorer: Mapping[str, Any]
    results: tuple[Result, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    tool: str = ""


def lengths(item: Item) -> tuple[int, ...]:
    """Characters of each response."""
    return tuple(len(one.text) for one in item.responses)


def result_problem(told: Any, item: Item | None = None) -> Problem | None:
    """What is wrong with a line of results, also for the item that it names; None where nothing is."""
    if not isinstance(told, dict):
        return "", f"{shown(told)} is not an object"
    for name in told:
        if name not in _FIELDS:
            return str(name)[:80], f"no field of a result, which has {', '.join(_FIELDS)}"
    for name in _FIELDS:
        if name not in told:
            return name, "missing"
    for name in ("item", "domain"):
        if not isinstance(told[name], str):
            return name, not_as(told, name, "text")
    reason, rewards, verdicts = told["reason"], told["rewards"], told["verdicts"]
    if reason is not None and (not isinstance(reason, str) or not reason):
        return "reason", not_as(told, "reason", "text that is not empty, or null")
    if rewards is not None and (
        not isinstance(rewards, list) or not all(one is None or _is_finite(one) for one in rewards)
    ):
        return "rewards", not_as(told, "rewards", "a list of finite numbers and nulls, or null")
    for at, one in enumerate(rewards or ()):
        if one is not None and finite(one) != one:
            return f"rewards[{at}]", f"{shown(one)} is a whole number that no 64-bit float is equal to: round it first"
    length = told["length"]
    if not isinstance(length, list) or not all(type(one) is int and one >= 0 for one in length):
        return "length", not_as(told, "length", "a list of whole numbers of 0 or more")
    found = _verdicts_problem(told)
    if found is not None:
        return found
    if rewards is not None and verdicts is not None:
        return "verdicts", "beside rewards: one of the two"
    if reason is None and verdicts is None and (rewards is None or None in rewards):
        return "reason", "null, where a reward is missing: say why"
    return None if item is None else _problem_with(item, told)


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and finite(value) is not None


def _verdicts_problem(told: dict[str, Any]) -> Problem | None:
    if told["verdicts"] is None:
        return None
    if not isinstance(told["verdicts"], list):
        return "verdicts", not_as(told, "verdicts", "a list of verdicts, or null")
    seen: dict[tuple[str, str], int] = {}
    for at, one in enumerate(told["verdicts"]):
        where = f"verdicts[{at}]"
        if not isinstance(one, dict) or set(one) != {"shown", "verdict", "raw"}:
            return where, f"{shown(one)} is not an object with shown, verdict and raw alone"
        sides = one["shown"]
        if not isinstance(sides, list) or len(sides) != 2 or not all(isinstance(side, str) for side in sides):
            return f"{where}.shown", not_as(one, "shown", "two ids of responses")
        if sides[0] == sides[1]:
            return f"{where}.shown", f"{shown(sides[0])} beside itself"
        before = seen.setdefault((sides[0], sides[1]), at)
        if before != at:  # which would count as the other order
            return f"{where}.shown", f"{shown(sides)} is the order of verdicts[{before}], too: each order once at most"
        if one["verdict"] not in (*VERDICTS, None):
            return f"{where}.verdict", f"{shown(one['verdict'])} is none of {', '.join(VERDICTS)} and null"
        if not isinstance(one["raw"], str | None):
            return f"{where}.raw", not_as(one, "raw", "text or null")
    return None


def _problem_with(item: Item, told: dict[str, Any]) -> Problem | None:
    number = len(item.responses)
    if told["domain"] != item.domain:
        return "domain", f"{shown(told['domain'])}, and the benchmark says {shown(item.domain)}"
    for name in ("rewards", "length"):
        if told[name] is not None and len(told[name]) != number:
            return name, f"{len(told[name])} of them for {number} responses"
    if tuple(told["length"]) != lengths(item):
        return "length", f"{told['length']}, and the responses have {list(lengths(item))}: it is of another benchmark"
    ids = {one.id for one in item.responses}
    for at, verdict in enumerate(told["verdicts"] or ()):
        for side in verdict["shown"]:
            if side not in ids:
                return f"verdicts[{at}].shown", f"{shown(side)} is no response of the item"
    return None


def mixed(one: Result, other: Result | None, where: str) -> Problem | None:
    """What is wrong with verdicts in a file of rewards, or rewards in one of verdicts; None where nothing is.

    Args:
        other: the first result of the file that has either, which stands at `where`; None where there is none yet.
    """
    if other is None or says(one) in (None, says(other)):
        return None
    name = str(says(one))
    return name, f"{where} has {says(other)}: results are all rewards or all verdicts"


def says(one: Result) -> str | None:
    """ "rewards" or "verdicts"; None where a result has neither."""
    return "rewards" if one.rewards is not None else "verdicts" if one.verdicts is not None else None


def result_of(told: dict[str, Any]) -> Result:
    """A line without a problem as a result."""
    rewards, verdicts = told["rewards"], told["verdicts"]
    return Result(
        item=told["item"],
        domain=told["domain"],
        rewards=None if rewards is None else tuple(None if one is None else float(one) for one in rewards),
        verdicts=None
        if verdicts is None
        else tuple(Verdict((one["shown"][0], one["shown"][1]), one["verdict"], one["raw"]) for one in verdicts),
        reason=told["reason"],
        length=tuple(told["length"]),
    )


def read_results(folder: str | Path, bench: Bench | None = None) -> Results:
    """Read results whole, in the order of the benchmark's items.

    Args:
        bench: the benchmark they are of; default the one that lies in the folder.

    Raises:
        DataError: there are none, a line is no result, an item is unknown, stands twice or is missing, or the
            benchmark is not the one that was run; names file, line and field.
    """
    root = Path(folder)
    told = read_header(root, RESULTS, FORMAT, VERSION, "results. Make some with: coigp bench run")
    path = root / RESULTS
    of, scorer = (header_field(path, told, name, dict) for name in ("bench", "scorer"))
    if scorer.get("kind") not in KINDS:
        raise DataError(f"{path} .scorer.kind: {shown(scorer.get('kind'))} is none of {', '.join(KINDS)}")
    if not isinstance(scorer.get("name"), str):
        raise DataError(f"{path} .scorer.name: {not_as(scorer, 'name', 'text')}")
    if bench is None:
        bench = read_bench(root / COPY)
    if of.get("sha256") != bench.sha256:
        raise DataError(f"{path} .bench.sha256: not that of {bench.path / ITEMS}: run it anew on this benchmark")
    items = {item.id: item for item in bench.items}
    found: dict[str, Result] = {}
    lines: dict[str, int] = {}
    first: Result | None = None
    digest, number = sha256(), 0
    for number, row in read_lines(root / LINES, digest):
        problem = result_problem(row)
        if problem is None and row["item"] not in items:
            problem = "item", f"{shown(row['item'])} is no item of the benchmark"
        if problem is None and row["item"] in lines:
            problem = "item", f"{shown(row['item'])} stands in line {lines[row['item']]}, too"
        problem = problem or result_problem(row, items[row["item"]])
        if problem is None:
            result = result_of(row)
            problem = mixed(result, first, "" if first is None else f"line {lines[first.item]}")
        if problem is not None:
            raise located(root / LINES, number, problem)
        lines[row["item"]] = number
        found[row["item"]] = result
        first = first or (result if says(result) else None)
    missing = next((name for name in items if name not in found), None)
    if missing is not None:
        said = f"({number:,} lines, {len(items):,} items)"
        raise DataError(f"{root / LINES}: item {shown(missing)} of the benchmark is missing {said}")
    wanted = header_field(path, told, "sha256", str, digest.hexdigest())
    check_whole(root / LINES, digest.hexdigest() == wanted, number, number, RESULTS)
    options, tool = header_field(path, told, "options", dict, {}), header_field(path, told, "tool", str, "")
    return Results(root, bench, scorer, tuple(found[name] for name in items), options, tool)


def check_results_place(folder: Path, overwrite: bool) -> None:
    """Raise UsageError where results cannot be written to `folder`."""
    check_outside(folder, "results")
    for parent in folder.resolve().parents:
        if BENCH_MARKER.marks(parent):  # which is replaced as a whole
            raise UsageError(f"{folder} is inside the benchmark {parent}: choose a place outside of it")
    check_directory(folder, MARKER, "results", overwrite)


def write_results(
    folder: str | Path,
    bench: Bench,
    results: Iterable[Result],
    *,
    scorer: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> int:
    """Write results, whole or not at all, with a copy of the benchmark.

    Args:
        results: one for each item, read once; written in the order given.
        scorer: "kind" and "name", and what else is known of it.

    Returns:
        How many were written.

    Raises:
        DataError: a result does not fit its item, or an item has none or two.
        UsageError: something else stands there.
    """
    root = Path(folder)
    check_results_place(root, overwrite)
    assert scorer["kind"] in KINDS
    waiting = {item.id: item for item in bench.items}
    known = set(waiting)
    first: Result | None = None
    with atomic_directory(root) as place:
        digest = sha256()
        with (place / LINES).open("wb") as stream:
            for result in results:
                item = waiting.pop(result.item, None)
                if item is None:
                    said = "has two results" if result.item in known else "is no item of the benchmark"
                    raise DataError(f"item {shown(result.item)} {said}")
                said_of = f"result of item {shown(result.item)}"
                data = checked_line(result.to_dict(), said_of, lambda told, item=item: result_problem(told, item))
                problem = mixed(result, first, "" if first is None else f"that of item {shown(first.item)}")
                if problem is not None:
                    raise DataError(f"{said_of} .{problem[0]}: {problem[1]}")
                first = first or (result if says(result) else None)
                digest.update(data)
                stream.write(data)
        if waiting:
            raise DataError(f"item {shown(next(iter(waiting)))} has no result, of {len(known):,}")
        (place / COPY).mkdir()
        for name in (ITEMS, BENCH):
            shutil.copyfile(bench.path / name, place / COPY / name)
        if read_bench(place / COPY).sha256 != bench.sha256:
            raise DataError(f"{bench.path}: another benchmark since it was read: run it anew")
        of = {"name": bench.name, "sha256": bench.sha256, "preset": bench.preset}
        told: dict[str, Any] = {"format": FORMAT, "version": VERSION, "bench": of, "scorer": dict(scorer)}
        told |= {"options": dict(options or {}), "sha256": digest.hexdigest(), "tool": TOOL}
        write_header(place / RESULTS, told)
    return len(known)
