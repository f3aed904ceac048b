"""Benchmarks: their prompts and answers, from files, stores, or repositories on the Hub, in whatever columns.

Texts are handed over one by one: a benchmark of millions of questions need not fit into memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from coig_p.core.normalize import comparison_forms
from coig_p.core.objects import as_path, is_object
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.ingest.fields import ALIASES
from coig_p.ingest.readers import data_files, find_inputs, read_rows
from coig_p.ingest.values import at_path
from coig_p.schema import RAW_SCHEMA, without
from coig_p.store.benchmarks import rows_digest
from coig_p.store.conversations import contents
from coig_p.store.locate import download_repository
from coig_p.store.manifest import MANIFEST
from coig_p.store.reading import part_of
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

_SHOWN = 40
_READ = without(part_of(RAW_SCHEMA, "query_id", "query", "messages", "responses"), {"extra", "sample", "scores"})
_OURS: Mapping[str, str] = {
    **dict.fromkeys(("prompt", "question", "query"), "prompt"),
    **dict.fromkeys(("answer", "reference", "text"), "answer"),
    **dict.fromkeys(("id", "query_id"), "id"),
}
"""What --map calls a benchmark's columns; other words for one are those that benchmarks and imports use."""


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


Take = Callable[[Known], None]


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
    read_each(names, config, found.prompts.append, found.answers.append)
    return found


def read_each(names: Sequence[str | Path], config: ContaminationConfig, prompt: Take, answer: Take) -> None:
    """As `read_benchmarks`, one text after the other.

    Args:
        prompt, answer: called with each.
    """
    fields = _fields_of(names, config)
    rows = 0
    for name, (own, everywhere) in zip(names, fields, strict=True):
        folder = place_of(name)
        if folder is not None and (folder / MANIFEST).is_file():
            if own:
                raise UsageError(f"{name} is a store: its queries are the prompts. Leave out --map {name}:{min(own)}")
            rows = _read_store(Store.open(folder), str(name), rows, prompt, answer)
            continue
        paths = data_files(folder) if folder is not None and folder.is_dir() else find_inputs([name])
        if not paths:
            raise DataError(f"{name}: no file there that could be a benchmark")
        for path in paths:
            rows = _read_file(path, {**everywhere, **own}, config, rows, prompt, answer)


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


def _read_file(
    path: Path, fields: Mapping[str, str], config: ContaminationConfig, rows: int, prompt: Take, answer: Take
) -> int:
    """Hand over what a file has; returns the number of rows so far."""
    profile, prompts = PROFILES[config.profile], 0
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
        if missing or not prompts:
            columns |= dict.fromkeys(_columns(row.value))
            missing = {ours: name for ours, name in missing.items() if not _has(row.value, name)}
        id_ = next((one for name in names["id"] if isinstance(one := at_path(row.value, name), (str, int))), None)
        where = f"{path.name}:{row.line}" + (f" (id {str(id_)[:_SHOWN]})" if id_ not in (None, "") else "")
        asked = list(_texts(row.value, names["prompt"], ("user", "human")))
        forms = comparison_forms(asked[1:])
        # Of later turns short ones, as "go on", may stand anywhere.
        asked = asked[:1] + [text for text, form in zip(asked[1:], forms, strict=True) if len(form) >= config.least]
        for text in asked:
            prompt(Known(text, where, rows))
        for text in _texts(row.value, names["answer"], ("assistant", "gpt", "model", "bot")):
            answer(Known(text, where, rows))
        prompts += len(asked)
        rows += 1
    if missing:
        raise UnknownNameError(f"column of {path.name}", min(missing.values()), columns)
    if not prompts:
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


def _read_store(store: Store, name: str, rows: int, prompt: Take, answer: Take) -> int:
    for batch in store.batches(schema=_READ):
        read = batch.select(["query_id", "responses"]).to_pylist()
        for row, said in zip(read, contents(batch).to_pylist(), strict=True):
            where = f"{Path(name).name}:{row['query_id']}"
            prompt(Known(said, where, rows))
            for response in row["responses"]:
                answer(Known(response["text"], where, rows))
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


def place_of(name: str | Path) -> Path | None:
    """The file or folder of a benchmark, also one that is fetched; None of a pattern, or where there is none."""
    path = as_path(name)
    return path if is_object(path) or path.exists() else download_repository(str(name))


def called(name: str | Path) -> str:
    """A benchmark without the path to it on this machine."""
    path = as_path(name)
    if is_object(path):
        return str(path)
    return (path.name or path.resolve().name) if path.exists() else str(name)


def content_sha256(name: str | Path) -> str:
    """What names a benchmark by its content; see BenchmarkUsed."""
    folder = place_of(name)
    if folder is not None and (folder / MANIFEST).is_file():
        return rows_digest(Store.open(folder).manifest)
    paths = data_files(folder) if folder is not None and folder.is_dir() else find_inputs([name])
    hashes = sorted(map(sha256_of, paths))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
