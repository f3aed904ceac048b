"""A release, made of a store: gate, pairs, card, plots, and a manifest that lists every file.

    RELEASE/
      data/<domain>/...      the store's shards, byte for byte
      rewards/<name>/...     what reward models gave their responses, where any did
      pairs/<domain>/...     its pairs at the release's threshold
      README.md, README.zh.md, plots/, statistics.json, sweep.json, findings.json
      report.html, report.zh.html   to open in a browser
      LICENSE, CITATION.cff, croissant.json
      calibration.json       the file that scores were brought to one scale by, where one was
      exclude.txt            ids of the queries that were left out of the pairs, where some were
      manifest.json          every file with role, size and hash

A release is a store: whatever loads a store loads it. The same store, options and versions give the
same bytes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from coig_p._version import __version__
from coig_p.core.atomic import clear_unplaced
from coig_p.core.progress import Bar, no_bar
from coig_p.engine.journal import JOURNAL, Journal, resumable
from coig_p.engine.local import Processes, Threads, Workers
from coig_p.engine.local import held as sharing
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig, check_judges
from coig_p.pairs.reach import check_reachable
from coig_p.pairs.shapes import RowForm, find_shape, held
from coig_p.pairs.turns import Shape
from coig_p.publish.card_facts import configs, shown
from coig_p.publish.one_pass import StoreObserved, observe_store
from coig_p.publish.pairing import write_pairs
from coig_p.publish.provenance import ROLES, check_licence, inputs_of, write_provenance
from coig_p.publish.shards import copied_files, copy_shards
from coig_p.publish.signed import comment_of, sign_manifest
from coig_p.publish.since import Find, ReleaseBefore, compared_with
from coig_p.report.card import LANGUAGES, CardFacts, render_card
from coig_p.report.card_toml import CardInfo, read_card_info
from coig_p.report.figures import statistics_plots, sweep_plots
from coig_p.report.view.one_file import PAGES, release_pages
from coig_p.schema import SCHEMA_VERSION, row_schema
from coig_p.stats.changes import StoreDiff
from coig_p.stats.results import Statistics
from coig_p.store.benchmarks import added, benchmark_checks, with_checks
from coig_p.store.listing import write_manifest
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.places import check_target
from coig_p.store.replacing import carry_over, check_replaced
from coig_p.store.sharing import LOOKED_AT, workers_for
from coig_p.store.store import CALIBRATION, EXCLUDED, Store
from coig_p.store.writing import describe_file
from coig_p.validation import Report, Rule, load_rules
from coig_p.validation.findings import tally

FORMATS = ("dpo", "conversational")
"""Of PairConfig: those in which a release holds its pairs."""
_FILES_SHOWN = 3


@dataclass(frozen=True)
class ReleaseConfig:
    """What is released.

    Attributes:
        version: for instance 1.0.0.
        pairs: which pairs; its threshold defaults to the store's. None leaves pairs out.
        rules: of the gate, as `load_rules` gives them.
        against: benchmarks that must not be in it.
        fields: names of their columns, as `ContaminationConfig` has them.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        engine: an executor that takes the work in their place, as `coig_p.engine.ray.RayExecutor`.
        repo: org/name for the card, "." for a folder.
        since: the release before, which the manifest and the cards compare this one with; None for none.
        signer: signs the manifest; of what goes to a Hub `coig_p.publish.publish` does, since it may change there.
    """

    version: str
    pairs: PairConfig | None = field(default_factory=PairConfig)
    rules: Mapping[str, Rule] = field(default_factory=load_rules)
    against: Sequence[str | Path] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    num_proc: int | None = 1
    engine: Executor | None = field(default=None, compare=False)
    repo: str = "."
    since: Store | None = None
    signer: Callable[[bytes, str], bytes] | None = None


def older_schema_note(manifest: Manifest) -> str | None:
    """What publishing says of a store, or a release, of an older schema version; None where it is of today's.

    Its shards are copied as they are, so its release has the older version too.
    """
    if manifest.schema_version >= SCHEMA_VERSION:
        return None
    return (
        f"Its schema version is {manifest.schema_version}, and it is published as it is. Version {SCHEMA_VERSION} adds "
        "the turns of conversations (messages, tools), several answers of one model to a query (sample), what judges "
        "said (rationale) and other fields (extra, meta). To have them import its files again; coigp clean and coigp "
        f"dedup write version {SCHEMA_VERSION} as well"
    )


def write_release(
    store: Store,
    out: Path,
    config: ReleaseConfig,
    *,
    overwrite: bool = False,
    bar: Bar = no_bar,
    find: Find | None = None,
    compared: Callable[[StoreDiff], None] = lambda changes: None,
) -> Store:
    """Write the release of a store to `out`, which appears, or is replaced, whole or not at all.

    Args:
        find: gives the release before in place of `config.since`; called once the gate is passed.
        compared: called with what differs from the release before, where there is one.

    Raises:
        UsageError: `out` cannot be used, or options that cannot be.
        DataError: the gate is shut: a check found an error, a file is not what the manifest says, a benchmark is in
            it, no two responses make a pair, or card.toml is not filled in, which is said after all that is wrong
            with the data.
        StoreError: the release before cannot be read.
    """
    _check_out(store, out, overwrite)
    pairs, shape = None, Shape()
    if config.pairs is not None:
        if config.pairs.format not in FORMATS:
            raise UsageError(
                f"a release holds pairs with all their columns, format {' or '.join(FORMATS)}, not "
                f"{config.pairs.format}"
            )
        manifest = store.manifest
        holds = held(manifest, manifest.domains, manifest.splits(), config.pairs.exclude, store.rows_of)
        shape = find_shape(holds, RowForm.of(config.pairs.format), config.pairs.multi_turn)
        pairs = check_reachable(config.pairs, store.manifest)
        check_judges(pairs, store.manifest.judges)
    counted_as = pairs or PairConfig().with_defaults(store.manifest)
    shards = store.data_files()
    with ExitStack() as ends:
        workers = ends.enter_context(sharing(workers_for(shards, config.num_proc, config.engine, a_second=LOOKED_AT)))
        with bar("Checking", sum(file.rows or 0 for file in shards), "queries") as advance:
            observed = observe_store(store, counted_as, config.rules, advance, workers)
        counted, swept = observed.statistics, observed.sweep
        report = _compared(store, config, observed.report, bar, workers)
        info = _pass_gate(store, config, report, pairs, counted)
        since = find(store) if find else ReleaseBefore.of(config.since) if config.since else None
        changes = compared_with(since, store, pairs, config.version, config.num_proc, bar) if since else None
        if changes:
            compared(changes)
        _check_out(store, out, overwrite)  # again: all was read since
        with resumable(out, None, {"command": "release", "store": store.content_hash()}) as journal:
            root = journal.root
            memory = dict(observed.memory)
            with ends.pop_all(), ThreadPoolExecutor(1, "coig_p") as beside:  # who writes there ends before it goes
                told = beside.submit(_write_told, root, store, counted_as, observed, report)
                files = _write_shards(store, journal, pairs, shape, observed, memory, bar, workers)
                plots = told.result()
            if pairs is not None and pairs.calibrate is not None:
                (root / CALIBRATION).write_bytes(pairs.calibrate.content())
            if pairs is not None and pairs.exclude is not None:
                (root / EXCLUDED).write_bytes(pairs.exclude.content())
            remembered = added(benchmark_checks(store.manifest), report.compared)
            manifest = replace(
                with_checks(store.manifest, remembered),
                tool=f"coig-p {__version__}",
                release={
                    "version": config.version,
                    "inputs": inputs_of(store.path),
                    "pairs": None if pairs is None else pairs.record(),  # so that the next release can be compared with
                    "findings": {severity: report.count(severity) for severity in ("error", "warning", "metric")},
                    "rules": report.effective_rules(),
                    "rules_changed": [change.to_dict() for change in report.changes],
                    "not_checked": list(report.not_checked),
                    **(since.named() if since else {}),
                    **({"changes": changes.to_dict()} if changes else {}),
                },
            )
            example, preview = (None, []) if pairs is None else shown(root, files, report)
            facts = CardFacts(
                info=info,
                manifest=manifest,
                statistics=counted,
                sweep=swept,
                findings={(id, report.rules[id].severity): number for id, number in report.by_rule().items()},
                rule_changes=report.changes,
                configs=configs(files, memory),
                example=example,
                preview=preview,
                plots=plots,
                version=config.version,
                changes=changes,
                repo=config.repo,
                pair_columns=row_schema(
                    pairs.format if pairs else "dpo", as_messages=shape.as_messages, with_tools=shape.with_tools
                ),
            )
            for language, name in LANGUAGES.items():
                _write(root / name, render_card(facts, language))
            unchanging = ("statistics.json", "sweep.json", "findings.json")
            write_provenance(root, store.path, facts, [describe_file(root, name, _role(name)) for name in unchanging])
            clear_unplaced(root)  # of workers of a run that was stopped
            journal.clear()
            listed = {file.path for file in files} | {JOURNAL}
            for path in sorted(path for path in root.rglob("*") if path.is_file()):
                name = path.relative_to(root).as_posix()
                if name not in listed:
                    files.append(describe_file(root, name, _role(name)))
            write_manifest(root, replace(manifest, files=tuple(files)))
            if config.signer is not None:
                sign_manifest(root, config.signer, comment_of(config.version))
            carry_over(root, store.path)
    return Store.open(out)


def _write_told(root: Path, store: Store, counted_as: PairConfig, observed: StoreObserved, report: Report) -> list[str]:
    """Write what is told of the store and needs no shard of pairs: plots, numbers and pages; the names of plots."""
    counted, swept = observed.statistics, observed.sweep
    plots = _write_plots(root, {**statistics_plots(counted), **sweep_plots(swept)}, ".svg")
    _write_plots(root, {**statistics_plots(counted, "zh"), **sweep_plots(swept, "zh")}, ".zh.svg")
    _write(root / "statistics.json", counted.to_json())
    _write(root / "sweep.json", swept.to_json())
    _write(root / "findings.json", _findings_json(report))
    for name, page in release_pages(store, counted_as, counted, swept, report).items():
        _write(root / name, page)
    return plots


def _write_shards(
    store: Store,
    journal: Journal,
    pairs: PairConfig | None,
    shape: Shape,
    observed: StoreObserved,
    memory: dict[str, int],
    bar: Bar,
    workers: Workers,
) -> list[StoreFile]:
    """Copy the shards of the store and write those of its pairs.

    Args:
        memory: num_bytes of every shard by its path; those of pairs come to it.
    """
    writers = Threads() if workers == Processes(1) else workers  # Arrow leaves the interpreter's lock alone
    with bar("Copying", sum(file.bytes for file in copied_files(store)), "bytes") as advance:
        files = list(copy_shards(store, journal, advance, writers))
    if pairs is not None:
        counted = observed.statistics
        with bar("Pairing", counted.total.pairs, "pairs") as advance:
            for written in write_pairs(store, journal, pairs, shape, counted, observed.made, advance, writers):
                files.append(written.file)
                memory[written.file.path] = written.loaded
    return files


def _compared(store: Store, config: ReleaseConfig, report: Report, bar: Bar, workers: Workers) -> Report:
    """What the checks found, and what of the benchmarks is in the store."""
    if not config.against:
        return report
    from coig_p.dedup.benchmarks import ContaminationConfig
    from coig_p.dedup.contamination import with_contamination

    with bar("Comparing", sum(file.rows or 0 for file in store.data_files()), "queries") as advance:
        return with_contamination(
            report,
            store,
            config.against,
            ContaminationConfig(fields=config.fields),
            advance,
            num_proc=config.num_proc,
            engine=workers if isinstance(workers, Executor) else None,
        )


def _pass_gate(
    store: Store, config: ReleaseConfig, report: Report, pairs: PairConfig | None, counted: Statistics
) -> CardInfo:
    """What card.toml says of a store in which nothing is wrong.

    Raises:
        DataError: all that keeps the store from being released, the data's errors first, and what to do.
    """
    problems = []
    place = shlex.quote(str(store.path))
    if not report.passed:
        wrong = {id: n for id, n in report.by_rule().items() if n and report.rules[id].severity == "error"}
        named = ", ".join(f"{id} ({number:,})" for id, number in wrong.items())
        against = "".join(f" --against {shlex.quote(str(name))}" for name in config.against)
        against += "".join(f" --map {shlex.quote(f'{ours}={theirs}')}" for ours, theirs in config.fields.items())
        same = ", both with the same --rules" if report.changes else ""
        said = f"its check found errors: {named}. See each: coigp check {place}{against} --report DIR"
        if wrong.keys() - {"files"}:
            said += f". Drop what they name: coigp clean {place}{against} --out STORE2{same}"
        problems.append(said)
        if "files" in wrong:
            problems.append(_about_files(report))
    if pairs is not None and not counted.total.pairs:
        problems.append(
            f"no two responses make a pair at threshold {pairs.margin} with these options. See what others would "
            "give: coigp sweep. Then pass coigp-publish a lower --threshold, or --no-pairs to publish the observations "
            "alone"
        )
    try:
        info = read_card_info(store.path, config.version)
    except DataError as error:
        problems.append(str(error))
    try:
        check_licence(store.path)
    except DataError as error:
        problems.append(str(error))
    if problems:
        raise DataError(f"{store.path}: not released, " + ".\n".join(problems))
    return info


def _about_files(report: Report) -> str:
    """Which files are not as the manifest says, and what to do: nothing in them can be dropped."""
    own = pc.equal(report.findings.column("rule"), "files")
    found = report.findings.column("excerpt").filter(own).to_pylist()
    more = f" and {len(found) - _FILES_SHOWN} more" if len(found) > _FILES_SHOWN else ""
    shown = "; ".join(found[:_FILES_SHOWN]) + more
    return (
        f"files: {shown}. Import or download again what is damaged or missing; move elsewhere what no manifest lists "
        "(a licence of your own is called LICENSE; CITATION.cff is made of card.toml)"
    )


def _check_out(store: Store, out: Path, overwrite: bool) -> None:
    check_target(out, overwrite)
    if out.resolve() == store.path.resolve():
        raise UsageError(f"{out} is the store itself: choose another place")
    check_replaced(out, by_release=True)


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
            **report.to_dict(),
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
    roles = {
        "README.md": "readme",
        "README.zh.md": "readme",
        "findings.json": "findings",
        **ROLES,
        CALIBRATION: "calibration",
        EXCLUDED: "excluded",
        **dict.fromkeys(PAGES.values(), "page"),
    }
    return roles.get(name, "statistics")
