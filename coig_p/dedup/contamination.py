"""Is a benchmark in the training data? Its prompts in the queries, its answers in the responses.

Jaccard would miss a benchmark's question inside a longer query, so containment decides: the share of
the benchmark text's n-grams that stand in ours. Short texts would be contained by chance, so those
count by equality of the comparison form alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coig_p._version import __version__
from coig_p.core.arrays import Index
from coig_p.core.normalize import comparison_forms
from coig_p.core.progress import Advance
from coig_p.dedup.shingles import shingles
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.ingest.readers import data_files, find_inputs, read_rows
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.benchmarks import BenchmarkCheck, BenchmarkUsed, Held, added, rows_digest
from coig_p.store.conversations import contents
from coig_p.store.locate import download_repository
from coig_p.store.manifest import MANIFEST
from coig_p.store.reading import part_of
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of
from coig_p.validation.findings import Report, make_findings, ordered, redacted
from coig_p.validation.rules import Rule

_SHOWN = 40
_READ = without(
    part_of(RAW_SCHEMA, "query_id", "domain", "query", "messages", "responses"), {"extra", "sample", "scores"}
)


@dataclass(frozen=True)
class Profile:
    """Where a benchmark's rows hold prompts and answers: the first of these fields that a row has."""

    prompt: tuple[str, ...]
    answer: tuple[str, ...]


PROFILES: Mapping[str, Profile] = {
    "auto": Profile(
        ("prompt", "question", "query", "instruction", "turns", "text"),
        ("reference", "answer", "reference_answer", "chosen", "output", "response", "responses"),
    ),
    "alignbench": Profile(("question",), ("reference",)),
    "crbench": Profile(("prompt",), ("chosen",)),
    "mt-bench-zh": Profile(("turns", "prompt"), ("reference",)),
}


RULE = Rule(
    "contamination",
    "error",
    ("query", "response"),
    "a benchmark's prompt in a query, or its answer in a response",
    over="benchmarks",
    options={},
)


@dataclass(frozen=True)
class ContaminationConfig:
    """What counts as contamination.

    Attributes:
        threshold: smallest share of a benchmark text's n-grams that stand in ours.
        n: characters of an n-gram of the comparison form.
        least: characters of the comparison form below which a text counts by equality alone.
        profile: one of PROFILES.
    """

    threshold: float = 0.8
    n: int = 5
    least: int = 12
    profile: str = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UsageError(f"threshold={self.threshold!r}: use a number above 0, up to 1")
        if self.n < 1 or self.least < self.n:
            raise UsageError(f"n={self.n!r}, least={self.least!r}: use 1 or more, and no less for least than for n")
        if self.profile not in PROFILES:
            raise UnknownNameError("profile", self.profile, PROFILES)


@dataclass(frozen=True)
class Benchmark:
    """Texts of benchmarks, each with where it stands, for instance crbench.jsonl:12."""

    prompts: list[tuple[str, str]]
    answers: list[tuple[str, str]]


def read_benchmarks(names: Sequence[str | Path], config: ContaminationConfig) -> Benchmark:
    """Prompts and answers of benchmarks: files, stores, or repositories on the Hub (org/name).

    Raises:
        UsageError: no such file.
        DataError: a file that cannot be read, or no prompt in it under the profile's names.
        RemoteError: a repository that cannot be had.
    """
    found = Benchmark([], [])
    for name in names:
        folder = Path(name) if Path(name).exists() else download_repository(str(name))
        if folder is not None and (folder / MANIFEST).is_file():
            _read_store(Store.open(folder), str(name), found)
            continue
        paths = data_files(folder) if folder is not None and folder.is_dir() else find_inputs([name])
        if not paths:
            raise DataError(f"{name}: no file there that could be a benchmark")
        for path in paths:
            before = len(found.prompts)
            for row in read_rows(path):
                if row.problem is not None or not isinstance(row.value, dict):
                    message = row.problem[1] if row.problem else "not an object"
                    raise DataError(f"{path}:{row.line}: {message}")
                where = f"{path.name}:{row.line}"
                profile = PROFILES[config.profile]
                found.prompts.extend((text, where) for text in _texts(row.value, profile.prompt))
                found.answers.extend((text, where) for text in _texts(row.value, profile.answer))
            if len(found.prompts) == before:
                wanted = ", ".join(PROFILES[config.profile].prompt)
                raise DataError(f"{path}: no row has a prompt. With profile {config.profile} it is called {wanted}")
    return found


def _read_store(store: Store, name: str, found: Benchmark) -> None:
    for batch in store.batches(schema=_READ):
        rows = batch.select(["query_id", "responses"]).to_pylist()
        for row, said in zip(rows, contents(batch).to_pylist(), strict=True):
            where = f"{Path(name).name}:{row['query_id']}"
            found.prompts.append((said, where))
            found.answers.extend((response["text"], where) for response in row["responses"])


def _texts(row: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """The strings in the first of these fields that the row has: text, a list of it, or messages."""
    value = next((row[name] for name in names if row.get(name) is not None), None)
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, Mapping):
            part = part.get("content", part.get("value", part.get("text")))
        if isinstance(part, str) and part.strip():
            yield part


class _Texts:
    """Benchmark texts to look for: equal ones by their form, longer ones by the n-grams they are made of."""

    def __init__(self, given: list[tuple[str, str]], config: ContaminationConfig) -> None:
        self.config = config
        self.where: dict[str, str] = {}
        for form, (_, where) in zip(comparison_forms([text for text, _ in given]), given, strict=True):
            self.where.setdefault(form, where)
        self.where.pop("", None)
        self.long = [form for form in self.where if len(form) >= config.least]
        found = shingles(self.long, config.n)
        self.grams, numbers = np.unique(found.grams, return_inverse=True)
        item = np.repeat(np.arange(len(self.long)), np.diff(found.starts))
        keys = np.unique((numbers.astype(np.int64) << 32) | item)
        self.items = keys & 0xFFFFFFFF  # of each gram in turn, those that have it
        self.starts = np.searchsorted(keys >> 32, np.arange(len(self.grams) + 1))
        self.sizes = np.bincount(self.items, minlength=len(self.long))

    def find(self, texts: Sequence[str]) -> list[tuple[int, float, str]]:
        """Text, containment and where the benchmark has it; for each text that has one, the best."""
        forms = comparison_forms(texts)
        best = {at: (1.0, self.where[form]) for at, form in enumerate(forms) if form in self.where}
        for at, item, share in self._contained(forms):
            if share > best.get(at, (0.0, ""))[0]:
                best[at] = (share, self.where[self.long[item]])
        return [(at, share, where) for at, (share, where) in sorted(best.items())]

    def _contained(self, forms: list[str]) -> Iterator[tuple[int, int, float]]:
        if not len(self.grams):
            return
        found = shingles(forms, self.config.n)
        text: Index = np.repeat(np.arange(len(forms)), np.diff(found.starts))
        number = np.minimum(np.searchsorted(self.grams, found.grams), len(self.grams) - 1)
        known = self.grams[number] == found.grams
        keys = np.unique((text[known] << 32) | number[known])
        text, number = keys >> 32, keys & 0xFFFFFFFF
        held = self.starts[number + 1] - self.starts[number]
        place = np.arange(held.sum()) - np.repeat(np.cumsum(held) - held, held) + np.repeat(self.starts[number], held)
        both, shared = np.unique((np.repeat(text, held) << 32) | self.items[place], return_counts=True)
        share = shared / self.sizes[both & 0xFFFFFFFF]
        for at in np.flatnonzero(share >= self.config.threshold):
            yield int(both[at] >> 32), int(both[at] & 0xFFFFFFFF), float(share[at])


def find_contamination(
    store: Store,
    benchmark: Benchmark,
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
) -> pa.Table:
    """Queries that hold a benchmark's prompt and responses that hold its answer, as findings (errors)."""
    prompts, answers = _Texts(benchmark.prompts, config), _Texts(benchmark.answers, config)
    found = []
    read = [store.batches(domain, schema=_READ) for domain in domains] or [store.batches(schema=_READ)]
    for batch in chain.from_iterable(read):
        queries = contents(batch).to_pylist()
        rows = batch.select(["domain", "query_id"]).to_pylist()
        for at, share, where in prompts.find(queries):
            found.append(rows[at] | {"excerpt": _excerpt(share, where, queries[at])})
        lists = batch.column("responses").to_pylist()
        flat = [(row, nth, response) for row, own in enumerate(lists) for nth, response in enumerate(own)]
        for at, share, where in answers.find([response["text"] for _, _, response in flat]):
            row, nth, response = flat[at]
            excerpt = _excerpt(share, where, response["text"])
            found.append(rows[row] | {"model": response["model"], "response": nth, "excerpt": excerpt})
        advance(batch.num_rows)
    columns = {name: [one.get(name) for one in found] for name in ("domain", "query_id", "response", "model")}
    return ordered([make_findings(RULE, [one["excerpt"] for one in found], columns, of_text=True)])


def compare(
    store: Store,
    names: Sequence[str | Path],
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
) -> tuple[pa.Table, BenchmarkCheck]:
    """`find_contamination` with the benchmarks of these names, and what a manifest remembers of it."""
    benchmark = read_benchmarks(names, config)
    found = find_contamination(store, benchmark, config, advance, domains)
    responses = found.num_rows - found.column("response").null_count
    check = BenchmarkCheck(
        against=tuple(BenchmarkUsed(_called(name), _sha256(name)) for name in names),
        prompts=len(benchmark.prompts),
        answers=len(benchmark.answers),
        options=json.loads(json.dumps(asdict(config))),  # as it is once it was read from a manifest
        left=Held(found.num_rows - responses, responses),
        tool=f"coig-p {__version__}",
    )
    return found, check


def _called(name: str | Path) -> str:
    """A benchmark without the path to it on this machine."""
    path = Path(name)
    return (path.name or path.resolve().name) if path.exists() else str(name)


def _sha256(name: str | Path) -> str:
    """What names a benchmark by its content; see BenchmarkUsed."""
    folder = Path(name) if Path(name).exists() else download_repository(str(name))
    if folder is not None and (folder / MANIFEST).is_file():
        return rows_digest(Store.open(folder).manifest)
    paths = data_files(folder) if folder is not None and folder.is_dir() else find_inputs([name])
    hashes = sorted(map(sha256_of, paths))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def with_contamination(
    report: Report,
    store: Store,
    names: Sequence[str | Path],
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
) -> Report:
    """The report of a check with what of these benchmarks is in the store, as errors of a rule of their own."""
    found, check = compare(store, names, config, advance, domains)
    options = {"against": [one.name for one in check.against], **asdict(config)}
    report = report.with_findings(replace(RULE, options=options), found)
    return report if domains else replace(report, compared=added(report.compared, [check]))


def _excerpt(share: float, where: str, text: str) -> str:
    return f"{share:.0%} of {where}: {redacted(text)[:_SHOWN]}"
