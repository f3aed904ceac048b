"""What an import of a few rows must give, as data, and how it is tried: by the command, as people type it."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from commands import run
from oracle import oracle_pairs

from coig_p.store.store import Store

Json = dict[str, Any]
Turns = tuple[tuple[str, str], ...]
NO_TURNS: Turns = ()


@dataclass(frozen=True)
class Wanted:
    """One query of the store that must come of it.

    Attributes:
        prompt: one user's text, or the turns before the response as (role, content).
        answers: the texts of its responses, in any order.
        compared: (text, other text, how much the first is better, 0 for a tie), one for each comparison.
        scores: text -> its scores, in any order; texts that are not named have none.
        models, extra: text -> its model, what its `extra` holds; only those named are looked at.
        judges: who judged, where that is looked at.
        rationales: all that were given, in any order, where they are looked at.
        more: other columns of the row, with JSON text as what it stands for.
    """

    prompt: str | Turns
    answers: tuple[str, ...]
    compared: tuple[tuple[str, str, float], ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Json] = field(default_factory=dict)
    judges: tuple[str, ...] = ()
    rationales: tuple[str, ...] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Rows, and what they must give.

    Attributes:
        rows: of a JSON Lines file; a str or Path names a file that is there, bytes are a file's content.
        files: further files, by name, each given like `rows`.
        options: of the command, instead of --domain chat.
        wanted: the store's queries in any order; None where it must be refused.
        refused: words of the message, each a regular expression, where it must (or, with `wanted`, may) be refused.
        never: what no message may say.
        says: what must be printed where it is taken.
        pairs: (chosen, rejected) of the store at its own threshold, where they are looked at.
        threshold, score_range: of the store, where they are looked at.
    """

    rows: Any
    wanted: tuple[Wanted, ...] | None = None
    refused: tuple[str, ...] | None = None
    options: tuple[str, ...] = ("--domain", "chat")
    files: Mapping[str, Any] = field(default_factory=dict)
    never: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] | None = None
    threshold: float | None = None
    score_range: tuple[float, float] | None = None


def better(text: str, *others: str, by: float = 1) -> tuple[tuple[str, str, float], ...]:
    """Comparisons of one text that is better than the others."""
    return tuple((text, other, by) for other in others)


def pair(prompt: str | Turns, chosen: str, rejected: str, **more: Any) -> Wanted:
    """A query with two responses, the first of them better."""
    return Wanted(prompt, (chosen, rejected), better(chosen, rejected), **more)


def scored(prompt: str | Turns, scores: Mapping[str, float | None], **more: Any) -> Wanted:
    """A query whose responses have one score each, or none."""
    given = {text: (score,) for text, score in scores.items() if score is not None}
    return Wanted(prompt, tuple(scores), scores=given, **more)


def check(case: Case, folder: Path, write: Callable[[Path, Any], Path] | None = None) -> None:
    """Import a case as people would, and compare what came of it.

    Args:
        write: makes the file of `rows` instead of JSON Lines.
    """
    named = {"rows.jsonl": case.rows, **case.files}
    paths = []
    for name, rows in named.items():
        maker = write if write and name == "rows.jsonl" else _written
        paths.append(rows if isinstance(rows, (str, Path)) else maker(folder / name, rows))
    out = folder / "store"
    done = run("import", *paths, "--out", out, *case.options, code=None)
    said = done.stdout + done.stderr
    for words in case.never:
        assert not re.search(words, said), f"said {words!r}:\n{said}"
    assert "Traceback" not in said
    if done.returncode:
        assert done.returncode in (1, 2), said
        assert not out.exists(), "something was written"
        assert case.refused is not None, f"refused: {said}"
        for words in case.refused:
            assert re.search(words, said), f"does not say {words!r}:\n{said}"
        return
    rows = [row for batch in Store.open(out).batches() for row in batch.to_pylist()]
    assert case.wanted is not None, f"taken as {json.dumps(rows, ensure_ascii=False, indent=1)}\n{said}"
    assert sorted(map(repr, (outline(row) for row in rows))) == sorted(
        map(repr, (wanted_outline(one) for one in case.wanted))
    )
    for one in case.wanted:
        _check_details(one, next(row for row in rows if repr(outline(row)) == repr(wanted_outline(one))))
    for words in case.says:
        assert re.search(words, said), f"does not say {words!r}:\n{said}"
    manifest = Store.open(out).manifest
    if case.threshold is not None:
        assert manifest.default_threshold == case.threshold
    if case.score_range is not None:
        assert manifest.score_range == case.score_range
    if case.pairs is not None:
        made = oracle_pairs(rows, threshold=manifest.default_threshold)
        assert Counter((one["chosen"], one["rejected"]) for one in made) == Counter(case.pairs)
    _check_accounting(manifest.accounting, rows)


def outline(row: Json) -> tuple[Any, ...]:
    """What a stored row says, in a form that two ways of coming by it can be compared in."""
    turns = tuple((turn["role"], turn["content"]) for turn in row["messages"] or ())
    texts = [response["text"] for response in row["responses"]]
    compared = [
        _side(texts[one["first"]], texts[one["second"]], one["first_score"] - one["second_score"])
        for one in row["comparisons"] or ()
    ]
    scores = {
        response["text"]: tuple(sorted(score["score"] for score in response["scores"]))
        for response in row["responses"]
        if response["scores"]
    }
    return turns or row["query"], sorted(texts), sorted(compared), sorted(scores.items())


def wanted_outline(one: Wanted) -> tuple[Any, ...]:
    """The same of what is wanted."""
    compared = [_side(*each) for each in one.compared]
    scores = {text: tuple(sorted(map(float, given))) for text, given in one.scores.items()}
    return one.prompt, sorted(one.answers), sorted(compared), sorted(scores.items())


def _side(text: str, other: str, by: float) -> tuple[str, str, float]:
    """The same comparison with its texts in order."""
    return (text, other, float(by)) if text <= other else (other, text, -float(by) + 0.0)


def _check_details(one: Wanted, row: Json) -> None:
    by_text = {response["text"]: response for response in row["responses"]}
    assert {text: by_text[text]["model"] for text in one.models} == dict(one.models)
    assert {text: json.loads(by_text[text]["extra"] or "{}") for text in one.extra} == dict(one.extra)
    if one.judges:
        given = [score["judge"] for response in row["responses"] for score in response["scores"]]
        assert {*given, *(each["judge"] for each in row["comparisons"] or ())} == set(one.judges)
    if one.rationales is not None:
        units = [score for response in row["responses"] for score in response["scores"]] + (row["comparisons"] or [])
        found = sorted(unit["rationale"] for unit in units if unit["rationale"] is not None)
        assert found == sorted(one.rationales)
    for name, value in one.more.items():
        held = row[name]
        if name in ("tools", "meta") and held is not None:
            held = json.loads(held)
        if name == "messages" and held is not None:
            held = [json.loads(turn["extra"]) if turn["extra"] else None for turn in held]
        assert held == value, name


def _check_accounting(accounting: Mapping[str, Mapping[str, int]], rows: list[Json]) -> None:
    for unit, counts in accounting.items():
        assert counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"], unit
    held = {
        "rows": len(rows),
        "responses": sum(len(row["responses"]) for row in rows),
        "scores": sum(len(response["scores"]) for row in rows for response in row["responses"]),
        "comparisons": sum(len(row["comparisons"] or ()) for row in rows),
    }
    assert {unit: counts["stored"] for unit, counts in accounting.items()} == held


def _written(path: Path, rows: Any) -> Path:
    """A file of these rows in the format that its name says."""
    if isinstance(rows, bytes):
        path.write_bytes(rows)
    elif path.suffix == ".csv":
        as_csv(path, rows)
    else:
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def as_json(path: Path, rows: list[Json]) -> Path:
    """One JSON array."""
    path = path.with_suffix(".json")
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=2), encoding="utf-8")
    return path


def as_parquet(path: Path, rows: list[Json]) -> Path:
    """Arrow's own columns: what a row lacks is null, and whole numbers among decimals are decimals."""
    pq.write_table(_table(rows), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def as_csv(path: Path, rows: list[Json]) -> Path:
    """Text under the names of the first line; null is empty."""
    names = _names(rows)
    path = path.with_suffix(".csv")
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(names)
        writer.writerows(
            ["" if (value := row.get(name)) is None else json.dumps(value) if not isinstance(value, str) else value
             for name in names]
            for row in rows
        )  # fmt: skip
    return path


def twins_of(rows: list[Json]) -> list[str]:
    """The formats that can hold these rows: a cell of CSV holds no list, a column of Parquet values of one type."""
    lists = any(isinstance(value, (list, dict)) for row in rows for value in row.values())
    try:
        _table(rows)
    except (pa.ArrowException, OverflowError, ValueError):
        return ["json"] if lists else ["json", "csv"]
    return ["json", "parquet"] if lists else ["json", "parquet", "csv"]


def _table(rows: list[Json]) -> pa.Table:
    return pa.Table.from_pylist([dict.fromkeys(_names(rows)) | row for row in rows])


def _names(rows: list[Json]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


TWINS: Mapping[str, Callable[[Path, Any], Path]] = {"json": as_json, "parquet": as_parquet, "csv": as_csv}
"""The same rows in other formats must give the same."""


# One question and two answers, as most layouts have them.

CHAT = ("--domain", "chat")


def said(role: str, text: str) -> dict[str, str]:
    """A turn in the spelling of chats."""
    return {"role": role, "content": text}


ASKED = [said("user", "一加一？")]
GOOD, BAD = [*ASKED, said("assistant", "二。")], [*ASKED, said("assistant", "三。")]
PLAIN = pair("一加一？", "二。", "三。")
BOTH = (PLAIN,)
