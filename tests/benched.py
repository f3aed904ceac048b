"""Benchmarks and results made on the spot, in memory or on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coig_p.reward.bench.form import Bench, Item, Response, read_bench, write_bench
from coig_p.reward.bench.metrics import Estimate
from coig_p.reward.bench.results import Result, Results, Verdict, lengths, write_results

Said = Sequence[tuple[str, str | None]]
"""Verdicts of a pair of "a" (better) and "b": the sides in the order shown, as "ab", and the verdict."""


def item(
    name: str,
    domain: str = "math",
    *,
    texts: Sequence[str] = ("aa", "b"),
    ranks: Sequence[int] | None = None,
    pairs: Sequence[tuple[str, str]] | None = None,
    **meta: Any,
) -> Item:
    """An item whose responses are a, b, c ...; the first is the best one, and the rest are alike."""
    if ranks is None and pairs is None:
        ranks = [int(at > 0) for at in range(len(texts))]
    responses = tuple(Response(chr(ord("a") + at), text) for at, text in enumerate(texts))
    return Item(
        name,
        domain,
        f"prompt of {name}",
        responses,
        None if ranks is None else tuple(ranks),
        None if pairs is None else tuple(pairs),
        meta,
    )


def result(
    of: Item,
    rewards: Sequence[float | None] | None = None,
    said: Said | None = None,
    reason: str | None = None,
) -> Result:
    """What a scorer said of an item."""
    verdicts = None if said is None else tuple(Verdict((sides[0], sides[1]), verdict) for sides, verdict in said)
    return Result(of.id, of.domain, None if rewards is None else tuple(rewards), verdicts, reason, lengths(of))


def in_memory(
    items: Sequence[Item],
    results: Sequence[Result],
    *,
    preset: str = "pairs",
    kind: str = "model",
    name: str = "scorer",
) -> Results:
    """Results that were never written."""
    bench = Bench(Path("bench"), "made", None, preset, {"name": "made", "sha256": "0"}, "0" * 64, tuple(items))
    return Results(Path("results") / name, bench, {"kind": kind, "name": name}, tuple(results))


def written_bench(folder: Path, items: Sequence[Item], *, preset: str = "pairs", name: str = "made") -> Bench:
    """A benchmark on disk."""
    write_bench(folder, items, name=name, preset=preset, source={"name": name, "sha256": "0" * 64})
    return read_bench(folder)


def written(folder: Path, bench: Bench, results: Sequence[Result], scorer: Mapping[str, Any] | None = None) -> Path:
    """Results on disk."""
    write_results(folder, bench, results, scorer=scorer or {"kind": "model", "name": folder.name})
    return folder


def right_or_wrong(items: Sequence[Item], right: Sequence[bool]) -> list[Result]:
    """Rewards of 1 and 0 of items with two responses."""
    return [result(one, (1.0, 0.0) if yes else (0.0, 1.0)) for one, yes in zip(items, right, strict=True)]


def numbers(of: Estimate) -> tuple[float, float, float]:
    """A value with the ends of its interval, which are there."""
    assert of.value is not None
    assert of.low is not None
    assert of.high is not None
    assert of.low <= of.value <= of.high
    return of.value, of.low, of.high
