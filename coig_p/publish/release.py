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

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset
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
from coig_p.stats.counts import statistics
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import sweep
from coig_p.store.manifest import MANIFEST, StoreFile
from coig_p.store.places import check_target
from coig_p.store.store import Store
from coig_p.store.writing import cut, describe_file, even_sizes
from coig_p.validation import Report, Rule, check, load_rules
from coig_p.validation.findings import tally

ROWS_PER_SHARD = 10_000
ROWS_PER_GROUP = 1_000
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
    report = pass_gate(store, config, bar)
    queries = sum(file.rows or 0 for file in store.data_files())
    with bar("Counting", queries, "queries") as advance:
        counted = statistics(store, pairs, advance=advance)
    if pairs is not None and not counted.total.pairs:
        raise DataError(
            f"{store.path}: not released, no two responses make a pair at threshold {pairs.threshold:g} with these "
            "options. See what others would give: coigp sweep. Then pass coigp-publish a lower --threshold, or "
            "--no-pairs to publish the observations alone"
        )
    with bar("Sweeping", queries, "queries") as advance:
        swept = sweep(store, pairs, advance=advance)
    with atomic_directory(out) as root:
        files = _copy(store, root, bar)
        if pairs is not None:
            with bar("Pairing", counted.total.pairs, "pairs") as advance:
                files += _write_pairs(store, root, pairs, counted, advance)
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
            configs=_configs(root, files, bar),
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


def pass_gate(store: Store, config: ReleaseConfig, bar: Bar = no_bar) -> Report:
    """What the checks found, none of it an error.

    Raises:
        DataError: there is an error; says which, and what to do.
    """
    queries = sum(file.rows or 0 for file in store.data_files())
    with bar("Checking", queries, "queries") as advance:
        report = check(store, rules=config.rules, num_proc=config.num_proc, advance=advance)
    if config.against:
        from coig_p.dedup.contamination import ContaminationConfig, with_contamination

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
            shutil.copyfile(store.path / file.path, root / file.path)
            if describe_file(root, file.path, file.role).sha256 != file.sha256:
                raise DataError(
                    f"{store.path}: {file.path} is not what {MANIFEST} says. Run: coigp verify {store.path}"
                )
            advance(file.bytes)
    return files


class _Shard(NamedTuple):
    name: str
    domain: str
    split: str
    groups: list[list[pa.RecordBatch]]


def _write_pairs(
    store: Store, root: Path, config: PairConfig, counted: Statistics, advance: Callable[[int], None]
) -> list[StoreFile]:
    """Shards of pairs, equal in rows to within one for each domain and split.

    A split without a pair has no shard: the stock library does not load a split of no rows.
    """
    files = []
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
            for _, file in in_order(partial(_write_pair_shard, root), named):
                files.append(file)
                advance(file.rows or 0)
    return files


def _pair_batches(store: Store, config: PairConfig, domain: str, split: str) -> Iterator[pa.RecordBatch]:
    for file in store.data_files(domain, split):
        for table in shard_tables(store.path / file.path, config):
            yield from table.to_batches()


def _write_pair_shard(root: Path, shard: _Shard) -> StoreFile:
    schema = PAIR_SCHEMAS["dpo"]
    rows = 0
    with pq.ParquetWriter(
        root / shard.name,
        schema,
        compression="zstd",
        compression_level=3,
        use_dictionary=["domain", "chosen_model", "rejected_model"],
        write_page_index=True,
    ) as writer:
        for group in shard.groups:
            table = pa.Table.from_batches(group, schema).combine_chunks()
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
            rows += table.num_rows
    return describe_file(root, shard.name, "pairs", domain=shard.domain, split=shard.split, rows=rows)


def _configs(root: Path, files: Sequence[StoreFile], bar: Bar) -> list[Config]:
    """Every config that the stock library is told of: a domain's pairs, its raw rows, and all pairs."""
    with bar("Measuring", sum(file.bytes for file in files), "bytes") as advance:
        memory = {}
        for file in files:
            if file.role in ("data", "pairs"):
                memory[file.path] = _loaded_bytes(root / file.path)
            advance(file.bytes)

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


def _loaded_bytes(path: Path) -> int:
    """What the stock library will count as num_bytes: it reads batches of the first row group's size."""
    fragment = next(pa.dataset.dataset(path, format="parquet").get_fragments())
    if not fragment.row_groups:
        return 0
    batches = fragment.to_batches(
        batch_size=fragment.row_groups[0].num_rows, batch_readahead=0, fragment_readahead=0, use_threads=False
    )
    return sum(int(pa.Table.from_batches([batch]).nbytes) for batch in batches)


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
