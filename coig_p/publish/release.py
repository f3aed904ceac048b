"""A release, made of a store: gate, pairs, card, plots, and a manifest that lists every file.

    RELEASE/
      data/<domain>/...      the store's shards, byte for byte
      pairs/<domain>/...     its pairs at the release's threshold
      README.md, README.zh.md, plots/, statistics.json, findings.json
      manifest.json          every file with role, size and hash

A release is a store: whatever loads a store loads it. The same store, options and versions give the
same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory, atomic_file
from coig_p.core.progress import Bar, no_bar
from coig_p.engine.local import in_order
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.stream import shard_tables
from coig_p.report.card import LANGUAGES, CardFacts, Config, read_card_info, render_card
from coig_p.report.figures import statistics_plots, sweep_plots
from coig_p.schema import PAIR_SCHEMAS, RAW_SUFFIX
from coig_p.stats.counts import StatisticsCounts
from coig_p.stats.observed import Observed
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import Sweep, SweepCounts, check_thresholds, default_thresholds
from coig_p.store.manifest import MANIFEST, Manifest, StoreFile
from coig_p.store.places import check_target
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import cut, describe_file, even_sizes
from coig_p.validation import Report, Rule, load_rules
from coig_p.validation.findings import tally
from coig_p.validation.gate import Checked

ROWS_PER_SHARD = 10_000
ROWS_PER_GROUP = 1_000
_ROWS_AT_ONCE = 256  # queries that are counted together
_PIECE = 1 << 20  # bytes
_EXAMPLE_AMONG = 2_000
_EXAMPLE_LENGTH = 400


@dataclass(frozen=True)
class ReleaseConfig:
    """What is released.

    Attributes:
        version: for instance 1.0.0.
        pairs: which pairs; its threshold defaults to the store's. None leaves pairs out.
        rules: of the gate, as `load_rules` gives them.
        against: benchmarks that must not be in it.
        num_proc: processes of the check.
        repo: org/name for the card, "." for a folder.
    """

    version: str
    pairs: PairConfig | None = field(default_factory=PairConfig)
    rules: Mapping[str, Rule] = field(default_factory=load_rules)
    against: Sequence[str | Path] = ()
    num_proc: int = 1
    repo: str = "."


def write_release(
    store: Store, out: Path, config: ReleaseConfig, *, overwrite: bool = False, bar: Bar = no_bar
) -> Store:
    """Write the release of a store to `out`, which appears, or is replaced, whole or not at all.

    Raises:
        UsageError: `out` cannot be used, or options that cannot be.
        DataError: the gate is shut: card.toml is not filled in, a check found an error, a file is not
            what the manifest says, a benchmark is in it, or no two responses make a pair.
    """
    _check_out(store, out, overwrite)
    pairs = None
    if config.pairs is not None:
        if config.pairs.format != "dpo":
            raise UsageError(f"a release holds pairs with all their columns, format dpo, not {config.pairs.format}")
        pairs = config.pairs.with_default_threshold(store.manifest.default_threshold)
        check_judges(pairs, store.manifest.judges)
    info = read_card_info(store.path)
    observed = _observe(store, config, pairs or PairConfig(threshold=store.manifest.default_threshold), bar)
    report = _pass_gate(store, config, observed.report, bar)
    counted, swept = observed.statistics, observed.sweep
    if pairs is not None and not counted.total.pairs:
        raise DataError(
            f"{store.path}: not released, no two responses make a pair at threshold {pairs.threshold:g} with these "
            "options. See what others would give: coigp sweep. Then pass coigp-publish a lower --threshold, or "
            "--no-pairs to publish the observations alone"
        )
    with atomic_directory(out) as root:
        files = _copy(store, root, bar)
        memory = dict(observed.memory)
        if pairs is not None:
            with bar("Pairing", counted.total.pairs, "pairs") as advance:
                for file, loaded in _write_pairs(store, root, pairs, counted, advance):
                    files.append(file)
                    memory[file.path] = loaded
        plots = _write_plots(root, {**statistics_plots(counted), **sweep_plots(swept)}, ".svg")
        _write_plots(root, {**statistics_plots(counted, "zh"), **sweep_plots(swept, "zh")}, ".zh.svg")
        _write(root / "statistics.json", counted.to_json())
        _write(root / "sweep.json", swept.to_json())
        _write(root / "findings.json", _findings_json(report))
        manifest = replace(
            store.manifest,
            tool=f"coig-p {__version__}",
            release={
                "version": config.version,
                "pairs": None if pairs is None else {**asdict(pairs), "judges": pairs.judges and list(pairs.judges)},
                "findings": {severity: report.count(severity) for severity in ("error", "warning", "metric")},
                "rules": report.effective_rules(),
            },
        )
        facts = CardFacts(
            info=info,
            manifest=manifest,
            statistics=counted,
            sweep=swept,
            findings={(id, rule.severity): report.by_rule()[id] for id, rule in report.rules.items()},
            configs=_configs(files, memory),
            example=None if pairs is None else _example(root, files, report),
            plots=plots,
            version=config.version,
            repo=config.repo,
        )
        for language, name in LANGUAGES.items():
            _write(root / name, render_card(facts, language))
        listed = {file.path for file in files}
        for path in sorted(path for path in root.rglob("*") if path.is_file()):
            name = path.relative_to(root).as_posix()
            if name not in listed:
                files.append(describe_file(root, name, _role(name)))
        with atomic_file(root / MANIFEST) as stream:
            stream.write(replace(manifest, files=tuple(files)).to_json().encode())
    return Store.open(out)


@dataclass
class _Partial:
    """What is seen of some shards, all of it in one reading.

    Attributes:
        memory: by path, what the stock library will count as num_bytes.
    """

    checked: Checked
    counted: StatisticsCounts
    swept: SweepCounts
    memory: dict[str, int] = field(default_factory=dict)

    @classmethod
    def nothing(
        cls,
        manifest: Manifest,
        rules: Mapping[str, Rule],
        pairs: PairConfig,
        thresholds: Sequence[float],
        files: Sequence[StoreFile] = (),
    ) -> _Partial:
        """Of no shard yet; every domain of `files` will be in the statistics."""
        counted, swept = StatisticsCounts.nothing(pairs, files), SweepCounts.nothing(pairs, thresholds)
        return cls(Checked(manifest, rules), counted, swept)

    def merge(self, other: _Partial) -> None:
        """Take in what was seen elsewhere."""
        self.checked.merge(other.checked)
        self.counted.merge(other.counted)
        self.swept.merge(other.swept)
        self.memory |= other.memory


@dataclass(frozen=True)
class _Observed:
    """What is known of a store once it was read."""

    report: Report
    statistics: Statistics
    sweep: Sweep
    memory: Mapping[str, int]


def _observe(store: Store, config: ReleaseConfig, pairs: PairConfig, bar: Bar) -> _Observed:
    """Check, count and sweep a store: every shard is read once, and its responses are paired once."""
    files = store.data_files()
    thresholds = check_thresholds(default_thresholds(store.manifest))
    seen = _Partial.nothing(store.manifest, config.rules, pairs, thresholds, files)
    problems = store.verify()
    with bar("Checking", sum(file.rows or 0 for file in files), "queries") as advance:
        bare = replace(store.manifest, files=())  # of which every process gets a copy with every shard
        work = partial(_observe_shard, store.path, bare, config.rules, pairs, thresholds)
        for file, part in in_order(work, files, processes=max(1, min(config.num_proc, len(files)))):
            seen.merge(part)
            advance(file.rows or 0)
    return _Observed(
        report=seen.checked.result(store.path, files, problems),
        statistics=seen.counted.result(store.manifest),
        sweep=seen.swept.result(store.manifest),
        memory=seen.memory,
    )


def _observe_shard(
    root: Path,
    manifest: Manifest,
    rules: Mapping[str, Rule],
    pairs: PairConfig,
    thresholds: Sequence[float],
    file: StoreFile,
) -> _Partial:
    """What is seen of one shard."""
    seen = _Partial.nothing(manifest, rules, pairs, thresholds)
    asked = sorted({0.0, *thresholds} | ({pairs.threshold} if pairs.threshold is not None else set()))
    memory = 0
    for group in shard_batches(root, file, None):
        memory += group.nbytes
        for begin in range(0, group.num_rows, _ROWS_AT_ONCE):
            batch = Observed(group.slice(begin, _ROWS_AT_ONCE), asked)
            seen.checked.add(batch)
            seen.counted.add(batch, str(file.domain), str(file.split))
            seen.swept.add(batch)
    seen.memory[file.path] = memory
    return seen


def _pass_gate(store: Store, config: ReleaseConfig, report: Report, bar: Bar = no_bar) -> Report:
    """What the checks found, none of it an error.

    Raises:
        DataError: there is an error; says which, and what to do.
    """
    if config.against:
        from coig_p.dedup.contamination import ContaminationConfig, with_contamination

        queries = sum(file.rows or 0 for file in store.data_files())
        with bar("Comparing", queries, "queries") as advance:
            report = with_contamination(report, store, config.against, ContaminationConfig(), advance)
    if not report.passed:
        wrong = {id: n for id, n in report.by_rule().items() if n and report.rules[id].severity == "error"}
        named = ", ".join(f"{id} ({number:,})" for id, number in wrong.items())
        against = "".join(f" --against {name}" for name in config.against)
        raise DataError(
            f"{store.path}: not released, its check found errors: {named}. See each: coigp check {store.path}{against} "
            f"--report DIR. Drop what they name: coigp clean {store.path}{against} --out STORE2"
        )
    return report


def _check_out(store: Store, out: Path, overwrite: bool) -> None:
    check_target(out, overwrite)
    if out.resolve() == store.path.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")


def _copy(store: Store, root: Path, bar: Bar) -> list[StoreFile]:
    """The store's shards, and who its duplicates were. Its rejects stay at home: nobody vouched for them."""
    files = [file for file in store.manifest.files if file.role in ("data", "duplicates")]
    with bar("Copying", sum(file.bytes for file in files), "bytes") as advance:
        for file in files:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            if _copy_file(store.path / file.path, root / file.path) != file.sha256:
                raise DataError(
                    f"{store.path}: {file.path} is not what {MANIFEST} says. Run: coigp verify {store.path}"
                )
            advance(file.bytes)
    return files


def _copy_file(source: Path, target: Path) -> str:
    """Copy a file; the SHA-256 of what was read."""
    with source.open("rb") as stream, _Hashed(target) as copy:
        while piece := stream.read(_PIECE):
            copy.write(piece)
    return copy.sha256.hexdigest()


class _Hashed(io.RawIOBase):
    """A file that is written from its beginning to its end, and hashed meanwhile."""

    def __init__(self, path: Path) -> None:
        self.stream = path.open("wb")
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Append."""
        self.sha256.update(data)
        self.bytes += len(data)
        return self.stream.write(data)

    def close(self) -> None:
        """End."""
        self.stream.close()
        super().close()


@dataclass(frozen=True)
class _Shard:
    """Pairs on their way to a file: one list of batches for each row group."""

    name: str
    domain: str
    split: str
    groups: list[list[pa.RecordBatch]]


def _write_pairs(
    store: Store, root: Path, config: PairConfig, counted: Statistics, advance: Callable[[int], None]
) -> Iterator[tuple[StoreFile, int]]:
    """Shards of pairs, equal in rows to within one for each domain and split; each with its num_bytes.

    A split without a pair has no shard: the stock library does not load a split of no rows.
    """
    for domain, summary in counted.domains.items():
        for split, counts in summary.splits.items():
            if not counts.pairs:
                continue
            (root / "pairs" / domain).mkdir(parents=True, exist_ok=True)
            shards = even_sizes(counts.pairs, max(1, counts.pairs // ROWS_PER_SHARD))
            groups = [even_sizes(rows, max(1, -(-rows // ROWS_PER_GROUP))) for rows in shards]
            parts = cut(_pair_batches(store, config, domain, split), [size for shard in groups for size in shard])
            named = (
                _Shard(
                    f"pairs/{domain}/{split}-{at:05d}-of-{len(groups):05d}.parquet",
                    domain,
                    split,
                    [next(parts) for _ in groups[at]],
                )
                for at in range(len(groups))
            )
            for _, (file, loaded) in in_order(partial(_write_pair_shard, root), named):
                yield file, loaded
                advance(file.rows or 0)


def _pair_batches(store: Store, config: PairConfig, domain: str, split: str) -> Iterator[pa.RecordBatch]:
    for file in store.data_files(domain, split):
        for table in shard_tables(store.path / file.path, config):
            yield from table.to_batches()


def _write_pair_shard(root: Path, shard: _Shard) -> tuple[StoreFile, int]:
    """Write one file; its line for the manifest, and what the stock library will count as its num_bytes."""
    schema = PAIR_SCHEMAS["dpo"]
    rows = loaded = 0
    with (
        _Hashed(root / shard.name) as stream,
        pq.ParquetWriter(
            stream,
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=["domain", "chosen_model", "rejected_model"],
            write_page_index=True,
        ) as writer,
    ):
        for group in shard.groups:
            table = pa.Table.from_batches(group, schema).combine_chunks()
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
            rows += table.num_rows
            loaded += _loaded_bytes(table)
    file = StoreFile(
        path=shard.name,
        role="pairs",
        sha256=stream.sha256.hexdigest(),
        bytes=stream.bytes,
        domain=shard.domain,
        split=shard.split,
        rows=rows,
    )
    return file, loaded


def _loaded_bytes(table: pa.Table) -> int:
    """What the stock library will count for a row group of pairs, which it reads as one batch."""
    texts = [column for column in table.columns if pa.types.is_string(column.type)]
    nulls = tuple(column.null_count > 0 for column in table.columns)
    return _bytes_around(table.num_rows, nulls) + sum(
        int(pc.sum(pc.binary_length(text)).as_py() or 0) for text in texts
    )


@lru_cache(maxsize=256)
def _bytes_around(rows: int, nulls: tuple[bool, ...]) -> int:
    """What a row group of pairs takes once it is read, without its texts: pyarrow's versions differ, so it is tried."""
    columns = []
    for column, has_null in zip(PAIR_SCHEMAS["dpo"], nulls, strict=True):
        filler: Any = "" if pa.types.is_string(column.type) else 0.0
        columns.append(pa.array([None if has_null else filler, *[filler] * (rows - 1)][:rows], column.type))
    stream = io.BytesIO()
    pq.write_table(pa.table(columns, schema=PAIR_SCHEMAS["dpo"]), stream, row_group_size=max(rows, 1))
    return sum(int(batch.nbytes) for batch in pq.ParquetFile(stream).iter_batches(max(rows, 1)))


def _configs(files: Sequence[StoreFile], memory: Mapping[str, int]) -> list[Config]:
    """Every config that the stock library is told of: a domain's pairs, its raw rows, and all pairs.

    Args:
        memory: num_bytes of every shard by its path.
    """

    def config(name: str, own: Sequence[StoreFile], raw: bool) -> Config:
        splits = list(dict.fromkeys(str(file.split) for file in own))

        def patterns(split: str) -> list[str]:
            # Every folder by its name: one that begins with __ is what a * passes over.
            folders = dict.fromkeys(file.path.rpartition("/")[0] for file in own if file.split == split)
            return [f"{folder}/{split}-*.parquet" for folder in folders]

        def summed(value: Callable[[StoreFile], int]) -> dict[str, int]:
            return {split: sum(value(file) for file in own if file.split == split) for split in splits}

        return Config(
            name=name,
            files={split: patterns(split) for split in splits},
            rows=summed(lambda file: file.rows or 0),
            memory=summed(lambda file: memory[file.path]),
            size=summed(lambda file: file.bytes),
            raw=raw,
        )

    pairs = [file for file in files if file.role == "pairs"]
    data = [file for file in files if file.role == "data"]
    found = [config("default", pairs, raw=False)] if pairs else []
    for domain in dict.fromkeys(str(file.domain) for file in data):
        own = [file for file in pairs if file.domain == domain]
        if own:
            found.append(config(domain, own, raw=False))
        of_domain = [file for file in data if file.domain == domain]
        found.append(config(domain + RAW_SUFFIX, of_domain, raw=True))
    return found


def _example(root: Path, files: Sequence[StoreFile], report: Report) -> Mapping[str, Any] | None:
    """The first short pair about which no rule has anything to say, else the first pair."""
    suspect = set(report.findings.column("query_id").to_pylist())
    first = None
    for file in (file for file in files if file.role == "pairs" and file.rows):
        for batch in pq.ParquetFile(root / file.path).iter_batches(batch_size=_EXAMPLE_AMONG):
            for row in batch.to_pylist():
                first = first or row
                texts = [len(row[name]) for name in ("prompt", "chosen", "rejected")]
                if row["query_id"] not in suspect and max(texts) <= _EXAMPLE_LENGTH:
                    return dict(row)
            break
        break
    return first


def _write_plots(root: Path, plots: Mapping[str, str], suffix: str) -> list[str]:
    (root / "plots").mkdir(exist_ok=True)
    names = [name.removesuffix(".svg") for name in plots]
    for name, plot in zip(names, plots.values(), strict=True):
        _write(root / "plots" / f"{name}{suffix}", plot)
    return names


def _findings_json(report: Report) -> str:
    """Counts alone: excerpts of what a rule found are not for everybody."""
    counted = sorted(
        tally(report.findings, "rule", "model", "domain").items(), key=lambda item: tuple(map(str, item[0]))
    )
    return _as_json(
        {
            "rules": {
                id: {"severity": rule.severity, "findings": report.by_rule()[id]} for id, rule in report.rules.items()
            },
            "by_rule_model_domain": [
                {"rule": rule, "model": model, "domain": domain, "findings": number}
                for (rule, model, domain), number in counted
            ],
        }
    )


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _role(name: str) -> str:
    if name.startswith("plots/"):
        return "plot"
    return {"README.md": "readme", "README.zh.md": "readme", "findings.json": "findings"}.get(name, "statistics")
