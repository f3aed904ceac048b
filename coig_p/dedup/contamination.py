"""Is a benchmark in the training data? Its prompts in the queries, its answers in the responses.

Jaccard would miss a benchmark's question inside a longer query, so containment decides: the share of
the benchmark text's n-grams that stand in ours. Short texts would be contained by chance, so those
count by equality of the comparison form alone. An answer proves little by itself: "B", 42 and 以上都对 answer
many questions. Where it is short, or many questions have it, it counts only beside its own prompt.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from coig_p._version import __version__
from coig_p.core.arrays import Index
from coig_p.core.normalize import comparison_forms
from coig_p.core.objects import as_path, is_object
from coig_p.core.progress import Advance
from coig_p.dedup.shingles import shingles
from coig_p.engine.local import in_order
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.ingest.fields import ALIASES
from coig_p.ingest.readers import data_files, find_inputs, read_rows
from coig_p.ingest.values import at_path
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.benchmarks import BenchmarkCheck, BenchmarkUsed, Held, added, rows_digest
from coig_p.store.conversations import contents
from coig_p.store.locate import download_repository
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.reading import part_of
from coig_p.store.sharing import LOOKED_AT, workers_for
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP, sha256_of
from coig_p.validation.findings import Report, make_findings, ordered, redacted
from coig_p.validation.rules import Rule

_SHOWN = 40
_FIRST_IDEOGRAPH = 0x2E80
_OURS: Mapping[str, str] = {
    **dict.fromkeys(("prompt", "question", "query"), "prompt"),
    **dict.fromkeys(("answer", "reference", "text"), "answer"),
    **dict.fromkeys(("id", "query_id"), "id"),
}
"""What --map calls a benchmark's columns; other words for one are those that benchmarks and imports use."""

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
        alone: size of an answer below which it counts only where the query holds its prompt: characters of the
            comparison form, of those that are not Chinese, Japanese or Korean four as one, and each n-gram once.
        common: an answer that responses to more queries hold, or that more rows of the benchmarks have, counts
            only where the query holds its prompt.
        profile: one of PROFILES.
        fields: "prompt", "answer" or "id" -> the column of the benchmark's rows, or the path of one inside an
            object, as question.text; after a benchmark's name and a colon for that one alone.
    """

    threshold: float = 0.8
    n: int = 5
    least: int = 12
    alone: int = 20
    common: int = 3
    profile: str = "auto"
    fields: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise UsageError(f"threshold={self.threshold!r}: use a number above 0, up to 1")
        if self.n < 1 or self.least < self.n:
            raise UsageError(f"n={self.n!r}, least={self.least!r}: use 1 or more, and no less for least than for n")
        if self.alone < self.least or self.common < 1:
            raise UsageError(
                f"alone={self.alone!r}, common={self.common!r}: use no less for alone than for least={self.least}, "
                "and 1 or more for common"
            )
        if self.profile not in PROFILES:
            raise UnknownNameError("profile", self.profile, PROFILES)
        for name in self.fields:
            if name.rpartition(":")[2] not in _OURS:
                raise UnknownNameError("field", name, _OURS)


class Known(NamedTuple):
    """A text of a benchmark, and where it stands, for instance crbench.jsonl:12 (id 7).

    `row` numbers the rows of all benchmarks: a prompt and its answers have the same.
    """

    text: str
    where: str
    row: int


@dataclass(frozen=True)
class Benchmark:
    """Texts of benchmarks."""

    prompts: list[Known]
    answers: list[Known]


def read_benchmarks(names: Sequence[str | Path], config: ContaminationConfig) -> Benchmark:
    """Prompts and answers of benchmarks: files, stores, or repositories on the Hub (org/name).

    Raises:
        UsageError: no such file, or a column or a benchmark that config.fields names and that is not there.
        DataError: a file that cannot be read, or no prompt in it under the profile's names.
        RemoteError: a repository that cannot be had.
    """
    found = Benchmark([], [])
    fields = _fields_of(names, config)
    rows = 0
    for name, (own, everywhere) in zip(names, fields, strict=True):
        folder = _place(name)
        if folder is not None and (folder / MANIFEST).is_file():
            if own:
                raise UsageError(f"{name} is a store: its queries are the prompts. Leave out --map {name}:{min(own)}")
            rows = _read_store(Store.open(folder), str(name), found, rows)
            continue
        paths = data_files(folder) if folder is not None and folder.is_dir() else find_inputs([name])
        if not paths:
            raise DataError(f"{name}: no file there that could be a benchmark")
        for path in paths:
            rows = _read_file(path, {**everywhere, **own}, config, found, rows)
    return found


def _fields_of(
    names: Sequence[str | Path], config: ContaminationConfig
) -> Sequence[tuple[Mapping[str, str], Mapping[str, str]]]:
    """For each benchmark the columns that are named for it alone, and those that are for all; by "prompt", ..."""
    found: list[tuple[dict[str, str], dict[str, str]]] = [({}, {}) for _ in names]
    for name, column in config.fields.items():
        benchmark, _, ours = name.rpartition(":")
        places = [at for at, one in enumerate(names) if benchmark in ("", str(one), Path(one).name)]
        if benchmark and not places:
            raise UnknownNameError("benchmark", benchmark, [str(one) for one in names])
        for at in places:
            given = found[at][0 if benchmark else 1]
            if given.setdefault(_OURS[ours], column) != column:
                raise UsageError(f"{ours}={column} and {_OURS[ours]}={given[_OURS[ours]]}: name one column")
    return found


def _read_file(path: Path, fields: Mapping[str, str], config: ContaminationConfig, found: Benchmark, rows: int) -> int:
    """Add what a file has; returns the number of rows so far."""
    profile, before = PROFILES[config.profile], len(found.prompts)
    names = {
        "prompt": (fields["prompt"],) if "prompt" in fields else profile.prompt,
        "answer": (fields["answer"],) if "answer" in fields else profile.answer,
        "id": (fields["id"],) if "id" in fields else ALIASES["query_id"],
    }
    missing, columns = dict(fields), dict[str, None]()
    for row in read_rows(path):
        if row.problem is not None or not isinstance(row.value, dict):
            message = row.problem[1] if row.problem else "not an object"
            raise DataError(f"{path}:{row.line}: {message}")
        if missing or len(found.prompts) == before:
            columns |= dict.fromkeys(_columns(row.value))
            missing = {ours: name for ours, name in missing.items() if not _has(row.value, name)}
        id_ = next((one for name in names["id"] if isinstance(one := at_path(row.value, name), (str, int))), None)
        where = f"{path.name}:{row.line}" + (f" (id {str(id_)[:_SHOWN]})" if id_ not in (None, "") else "")
        asked = list(_texts(row.value, names["prompt"], ("user", "human")))
        forms = comparison_forms(asked[1:])
        # Of later turns short ones, as "go on", may stand anywhere.
        asked = asked[:1] + [text for text, form in zip(asked[1:], forms, strict=True) if len(form) >= config.least]
        found.prompts.extend(Known(text, where, rows) for text in asked)
        answers = _texts(row.value, names["answer"], ("assistant", "gpt", "model", "bot"))
        found.answers.extend(Known(text, where, rows) for text in answers)
        rows += 1
    if missing:
        raise UnknownNameError(f"column of {path.name}", min(missing.values()), columns)
    if len(found.prompts) == before:
        raise DataError(
            f"{path}: no row has a prompt. With profile {config.profile} it is called {', '.join(names['prompt'])}; "
            f"the file has {', '.join(columns)}. coigp contamination, check, clean and publish take --map prompt=COLUMN"
        )
    return rows


def _has(row: Mapping[str, Any], name: str) -> bool:
    return name in row or at_path(row, name) is not None


def _columns(row: Mapping[str, Any]) -> Iterator[str]:
    """The names that a column may be given by."""
    for name, value in row.items():
        yield name
        if isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in _columns(value))


def _read_store(store: Store, name: str, found: Benchmark, rows: int) -> int:
    for batch in store.batches(schema=_READ):
        read = batch.select(["query_id", "responses"]).to_pylist()
        for row, said in zip(read, contents(batch).to_pylist(), strict=True):
            where = f"{Path(name).name}:{row['query_id']}"
            found.prompts.append(Known(said, where, rows))
            found.answers.extend(Known(response["text"], where, rows) for response in row["responses"])
            rows += 1
    return rows


def _texts(row: Mapping[str, Any], names: tuple[str, ...], speakers: Collection[str]) -> Iterator[str]:
    """The strings in the first of these fields that the row has: text, a list of it, or what speakers say."""
    value = next((one for name in names if (one := at_path(row, name)) is not None), None)
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, Mapping):
            if part.get("role", part.get("from")) not in (None, *speakers):
                continue
            part = part.get("content", part.get("value", part.get("text")))
        if isinstance(part, (int, float)) and not isinstance(part, bool) and part == part:
            part = str(part)  # an answer of 42
        if isinstance(part, str) and part.strip():
            yield part


class _Texts:
    """Benchmark texts to look for: equal ones by their form, longer ones by the n-grams they are made of.

    Attributes:
        given: of each form, which of the texts have it.
        telling: of each form, whether it is evidence by itself.
    """

    def __init__(self, known: Sequence[Known], config: ContaminationConfig) -> None:
        self.config, self.known = config, known
        by_form: dict[str, list[int]] = {}
        for at, form in enumerate(comparison_forms([one.text for one in known])):
            if form:
                by_form.setdefault(form, []).append(at)
        self.number = {form: at for at, form in enumerate(by_form)}
        self.given = list(by_form.values())
        self.long = [at for form, at in self.number.items() if len(form) >= config.least]
        texts = list(by_form)
        found = shingles([texts[at] for at in self.long], config.n)
        self.grams, numbers = np.unique(found.grams, return_inverse=True)
        item = np.repeat(np.arange(len(self.long)), np.diff(found.starts))
        keys = np.unique((numbers.astype(np.int64) << 32) | item)
        self.items = keys & 0xFFFFFFFF  # of each gram in turn, those that have it
        self.starts = np.searchsorted(keys >> 32, np.arange(len(self.grams) + 1))
        self.sizes = np.bincount(self.items, minlength=len(self.long))
        self.telling = [False] * len(texts)
        for at, different in zip(self.long, self.sizes.tolist(), strict=True):
            self.telling[at] = (
                different + config.n - 1 >= config.alone
                and _says(texts[at], config.alone)
                and len(self.rows(at)) <= config.common
            )

    def rows(self, form: int) -> set[int]:
        """The benchmarks' rows that have a form."""
        return {self.known[at].row for at in self.given[form]}

    def where(self, form: int, rows: Collection[int] = ()) -> str:
        """Where the benchmark has it: in one of these rows, if in any."""
        places = self.given[form]
        return self.known[next((at for at in places if self.known[at].row in rows), places[0])].where

    def find(self, texts: Sequence[str]) -> dict[int, list[tuple[float, int]]]:
        """For each text that holds some: containment and number of each form, the most contained first."""
        forms = comparison_forms(texts)
        found: dict[int, dict[int, float]] = defaultdict(dict)
        for at, form in enumerate(forms):
            if form in self.number:
                found[at][self.number[form]] = 1.0
        for at, item, share in self._contained(forms):
            found[at][self.long[item]] = share
        return {
            at: sorted(((share, form) for form, share in found[at].items()), key=lambda one: (-one[0], one[1]))
            for at in sorted(found)
        }

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


def _says(form: str, size: int) -> bool:
    """Whether a text says so much: a Chinese character is as much as four letters or digits."""
    return len(form) >= 4 * size or sum(4 if ord(letter) >= _FIRST_IDEOGRAPH else 1 for letter in form) >= 4 * size


class _Held(NamedTuple):
    """A response that holds answers which are evidence by themselves, the most contained first."""

    place: dict[str, Any]
    text: str
    answers: list[tuple[float, int]]


def find_contamination(
    store: Store,
    benchmark: Benchmark,
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> pa.Table:
    """Queries that hold a benchmark's prompt and responses that hold its answer, as findings (errors).

    Args:
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
    """
    prompts, answers = _Texts(benchmark.prompts, config), _Texts(benchmark.answers, config)
    found: list[dict[str, Any]] = []
    held: list[_Held] = []
    files = [file for domain in domains or (None,) for file in store.data_files(domain)]
    workers = workers_for(files, num_proc, engine, a_second=LOOKED_AT)
    for file, (found_there, held_there) in in_order(partial(_look_in, store.path, prompts, answers), files, workers):
        found += found_there
        held += held_there
        advance(file.rows or 0)
    common = _common(held, config.common)
    for place, text, telling in held:
        share, form = next(((share, form) for share, form in telling if form not in common), (0.0, -1))
        if form >= 0:
            found.append(place | {"excerpt": _excerpt(share, answers.where(form), text)})
    columns = {name: [one.get(name) for one in found] for name in ("domain", "query_id", "response", "model")}
    return ordered([make_findings(RULE, [one["excerpt"] for one in found], columns, of_text=True)])


def _look_in(root: Path, prompts: _Texts, answers: _Texts, file: StoreFile) -> tuple[list[dict[str, Any]], list[_Held]]:
    """What a shard holds: that is evidence, and responses whose answers may be common ones."""
    found: list[dict[str, Any]] = []
    held: list[_Held] = []
    for batch in shard_batches(root, file, ROWS_PER_GROUP, _READ):
        queries = contents(batch).to_pylist()
        rows = batch.select(["domain", "query_id"]).to_pylist()
        asked: dict[int, set[int]] = {}  # by the batch's row, the benchmarks' rows whose prompt it holds
        for at, best in prompts.find(queries).items():
            asked[at] = set().union(*(prompts.rows(form) for _, form in best))
            share, form = best[0]
            found.append(rows[at] | {"excerpt": _excerpt(share, prompts.where(form), queries[at])})
        lists = batch.column("responses").to_pylist()
        flat = [(row, nth, response) for row, own in enumerate(lists) for nth, response in enumerate(own)]
        for at, best in answers.find([response["text"] for _, _, response in flat]).items():
            row, nth, response = flat[at]
            place = rows[row] | {"model": response["model"], "response": nth}
            beside = asked.get(row, set())
            backed = next(((share, form) for share, form in best if not beside.isdisjoint(answers.rows(form))), None)
            telling = [(share, form) for share, form in best if answers.telling[form]]
            if backed is not None:
                share, form = backed
                found.append(place | {"excerpt": _excerpt(share, answers.where(form, beside), response["text"])})
            elif telling:
                held.append(_Held(place, response["text"], telling))
    return found, held


def compare(
    store: Store,
    names: Sequence[str | Path],
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> tuple[pa.Table, BenchmarkCheck]:
    """`find_contamination` with the benchmarks of these names, and what a manifest remembers of it."""
    benchmark = read_benchmarks(names, config)
    found = find_contamination(store, benchmark, config, advance, domains, num_proc, engine)
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


def _place(name: str | Path) -> Path | None:
    """The file or folder of a benchmark, also one that is fetched; None of a pattern, or where there is none."""
    path = as_path(name)
    return path if is_object(path) or path.exists() else download_repository(str(name))


def _called(name: str | Path) -> str:
    """A benchmark without the path to it on this machine."""
    path = as_path(name)
    if is_object(path):
        return str(path)
    return (path.name or path.resolve().name) if path.exists() else str(name)


def _sha256(name: str | Path) -> str:
    """What names a benchmark by its content; see BenchmarkUsed."""
    folder = _place(name)
    if folder is not None and (folder / MANIFEST).is_file():
        return rows_digest(Store.open(folder).manifest)
    paths = data_files(folder) if folder is not None and folder.is_dir() else find_inputs([name])
    hashes = sorted(map(sha256_of, paths))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _common(held: Sequence[_Held], most: int) -> set[int]:
    """Answers that responses to more queries hold: what models say anyway."""
    queries: dict[int, set[tuple[str, str]]] = defaultdict(set)
    for one in held:
        for _, form in one.answers:
            queries[form].add((one.place["domain"], one.place["query_id"]))
    return {form for form, those in queries.items() if len(those) > most}


def with_contamination(
    report: Report,
    store: Store,
    names: Sequence[str | Path],
    config: ContaminationConfig,
    advance: Advance = lambda queries: None,
    domains: Sequence[str] = (),
    num_proc: int | None = 1,
    engine: Executor | None = None,
) -> Report:
    """The report of a check with what of these benchmarks is in the store, as errors of a rule of their own."""
    found, check = compare(store, names, config, advance, domains, num_proc, engine)
    options = {"against": [one.name for one in check.against], **asdict(config)}
    report = report.with_findings(replace(RULE, options=options), found)
    return report if domains else replace(report, compared=added(report.compared, [check]))


def _excerpt(share: float, where: str, text: str) -> str:
    return f"{share:.0%} of {where}: {redacted(text)[:_SHOWN]}"
