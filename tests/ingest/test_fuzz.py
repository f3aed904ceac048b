"""Rows of every shape at random: the right ones come out exactly, the damaged ones never end in a traceback.

    COIGP_FUZZ_ROWS=10000 python -m pytest -q tests/ingest/test_fuzz.py

tries so many rows instead of a few hundred.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from anyrows import FAMILIES, damaged, rows
from casebook import TWINS, Wanted, as_csv, outline, twins_of, wanted_outline
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import CoigPError
from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.forms import FORMS
from coig_p.ingest.intake import ImportConfig
from coig_p.schema import UNITS
from coig_p.store.store import Store

MANY = int(os.environ.get("COIGP_FUZZ_ROWS", "300"))
RANGES = st.sampled_from(list(FAMILIES))


def lines(path: Path, values: list[Any]) -> Path:
    # ASCII, so that lone surrogates can be written; NaN and Infinity are written as Python reads them.
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="ascii")
    return path


def config(score_range: tuple[float, float], **options: Any) -> ImportConfig:
    return ImportConfig(domain="chat", score_range=score_range, default_threshold=1, **options)


def outcome(path: Path, out: Path, options: ImportConfig) -> ImportReport | CoigPError:
    """The report, or the error that says in words why there is none; any other error is a fault."""
    try:
        return import_files([path], out, options)[1]
    except CoigPError as error:
        failed = error
    assert str(failed)
    return failed


def stored(folder: Path) -> list[dict[str, Any]]:
    return [row for batch in Store.open(folder).batches() for row in batch.to_pylist()]


def count_anew(report: ImportReport, read: int, folder: Path) -> None:
    """What was read, stored and rejected, counted without the import's own numbers."""
    accounting = report.accounting()
    found = stored(folder)
    lost: Counter[str] = Counter()
    rejects = folder / "rejects.jsonl"
    problems = rejects.read_text("ascii").splitlines() if rejects.exists() else []
    for line in problems:
        lost.update(json.loads(line)["lost"])
    held = {
        "rows": len(found),
        "responses": sum(len(row["responses"]) for row in found),
        "scores": sum(len(one["scores"]) for row in found for one in row["responses"]),
        "comparisons": sum(len(row["comparisons"] or ()) for row in found),
    }
    assert sum(report.reasons.values()) == len(problems)
    assert accounting["rows"]["read"] == read
    for unit in UNITS:
        counts = accounting[unit]
        assert min(counts.values()) >= 0, unit
        assert counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"], unit
        assert counts["stored"] == held[unit], unit
        assert counts["rejected"] == lost[unit], unit


def check_right(seed: int, number: int, score_range: tuple[float, float], folder: Path) -> None:
    made = rows(Random(seed), number, score_range)
    path = lines(folder / "x.jsonl", [row for row, _ in made])
    try:
        _, report = import_files([path], folder / "store", config(score_range))
    except ImportFailed as failed:
        raise AssertionError([str(one) for one in failed.report.problems[:3]]) from failed
    count_anew(report, number, folder / "store")
    assert counted(stored(folder / "store")) == counted_wanted([one for _, one in made])


def counted(found: list[dict[str, Any]]) -> Counter[str]:
    return Counter(repr(outline(row)) for row in found)


def counted_wanted(wanted: list[Wanted]) -> Counter[str]:
    return Counter(repr(wanted_outline(one)) for one in wanted)


def check_damaged(seed: int, number: int, score_range: tuple[float, float], folder: Path, share: float) -> None:
    """Damaged rows are refused or taken; those beside them come out as if they stood alone."""
    rng = Random(seed)
    made = rows(rng, number, score_range)
    hurt = [rng.random() < share for _ in made]
    values = [damaged(rng, row) if bad else row for (row, _), bad in zip(made, hurt, strict=True)]
    path = lines(folder / "x.jsonl", values)
    keep = rng.choice([(), ("all",), ("id", "margin")])
    options = config(score_range, on_error="skip", form=FormConfig(keep=keep))
    report = outcome(path, folder / "store", options)
    if isinstance(report, CoigPError):
        assert all(hurt), report  # one that is right is enough for a store
        return
    count_anew(report, number, folder / "store")
    missing = counted_wanted([one for (_, one), bad in zip(made, hurt, strict=True) if not bad])
    missing.subtract(counted(stored(folder / "store")))
    assert not +missing, (+missing, report.problems[:5])


@examples(60)
@given(seed=st.integers(0, 2**32), number=st.integers(1, 8), score_range=RANGES)
def test_right_rows_of_every_shape_come_out_exactly(
    seed: int, number: int, score_range: tuple[float, float], tmp_path_factory: Any
) -> None:
    check_right(seed, number, score_range, tmp_path_factory.mktemp("right"))


@examples(100)
@given(seed=st.integers(0, 2**32), number=st.integers(1, 6), score_range=RANGES)
def test_damaged_rows_harm_nobody_else(
    seed: int, number: int, score_range: tuple[float, float], tmp_path_factory: Any
) -> None:
    check_damaged(seed, number, score_range, tmp_path_factory.mktemp("damaged"), 0.5)


@pytest.mark.parametrize("score_range", FAMILIES)
def test_many_rows_at_once(score_range: tuple[float, float], tmp_path: Path) -> None:
    number = MANY if score_range == (1, 10) else MANY // 4
    for name in ("right", "damaged"):
        (tmp_path / name).mkdir()
    check_right(0, number, score_range, tmp_path / "right")
    check_damaged(1, number, score_range, tmp_path / "damaged", 0.3)


@examples(40)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(list(TWINS)), score_range=RANGES)
def test_other_formats_end_in_words_too(
    seed: int, kind: str, score_range: tuple[float, float], tmp_path_factory: Any
) -> None:
    """As people see it: an exit code, no traceback, and no control character on the terminal."""
    rng, folder = Random(seed), tmp_path_factory.mktemp("formats")
    values = [value for row, _ in rows(rng, 3, score_range) if isinstance(value := damaged(rng, row), dict)]
    holds = kind in twins_of(values) and "\\ud" not in json.dumps(values)  # lone surrogates stand in JSON Lines alone
    path = TWINS[kind](folder / "x.jsonl", values) if holds else lines(folder / "x.jsonl", values)
    arguments = ["--domain", "chat", "--on-error", rng.choice(["skip", "fail"])]
    done = run("import", path, "--out", folder / "store", *arguments, code=None)
    assert done.returncode in (0, 1, 2)
    shown = done.stdout + done.stderr
    assert not [one for one in shown if not one.isprintable() and one != "\n"], repr(shown)
    if done.returncode:
        assert done.stderr.strip()
        assert not (folder / "store").exists()


def test_a_whole_import_may_be_forced_into_every_shape(tmp_path: Path) -> None:
    """Rows under the name of another form: refused or taken, but in words."""
    made = [row for score_range in FAMILIES for row, _ in rows(Random(2), 20, score_range)]
    path = lines(tmp_path / "x.jsonl", made)
    for form in FORMS:
        options = ImportConfig(domain="chat", score_range=(0, 10), on_error="skip", form=FormConfig(form=form))
        report = outcome(path, tmp_path / form, options)
        if isinstance(report, ImportReport):
            count_anew(report, len(made), tmp_path / form)


@examples(60)
@given(seed=st.integers(0, 2**32), queries=st.integers(1, 5))
def test_scores_of_other_files_find_their_answers(seed: int, queries: int, tmp_path_factory: Any) -> None:
    """Answers and scores in files of their own, in any order of files and rows; some scores are of no answer."""
    rng, folder = Random(seed), tmp_path_factory.mktemp("keyed")
    gens: list[Any] = []
    scores: list[Any] = []
    wanted: dict[str, dict[str, list[float]]] = {}
    lost = 0
    for query in range(queries):
        by_text = wanted.setdefault(f"问{query}？", {})
        for at in range(rng.randint(1, 3)):
            key = {"query_id": f"q{query}", "model": f"m{at}"}
            gens.append(key | {"query": f"问{query}？", "response": f"答{query}{at}。"})
            by_text[f"答{query}{at}。"] = []
            for judge in rng.sample("jk", rng.randint(0, 2)):
                given = rng.choice([1, 5.5, 10])
                by_text[f"答{query}{at}。"].append(given)
                scores.append(key | {"judge": judge, "score": given})
        if rng.random() < 0.2:
            scores.append({"query_id": f"q{query}", "model": "nobody", "judge": "j", "score": 5})
            lost += 1
    rng.shuffle(gens)
    rng.shuffle(scores)
    files = [lines(folder / "gens.jsonl", gens)]
    if scores:
        files.append(as_csv(folder / "scores.csv", scores))
    rng.shuffle(files)
    _, report = import_files(files, folder / "store", config((1, 10), on_error="skip"))
    count_anew(report, len(gens) + len(scores), folder / "store")
    assert sum(report.reasons.values()) == lost
    assert counted(stored(folder / "store")) == counted_wanted(
        [
            Wanted(query, tuple(by_text), scores={text: tuple(given) for text, given in by_text.items() if given})
            for query, by_text in wanted.items()
        ]
    )
