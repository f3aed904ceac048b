"""One store, measured: every number by the function of the command that tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coig_p.core.lengths import CHARACTERS
from coig_p.dedup.benchmarks import ContaminationConfig
from coig_p.dedup.contamination import compare
from coig_p.dedup.finding import find_store_duplicates
from coig_p.dedup.queries import DedupConfig
from coig_p.errors import UsageError
from coig_p.evaluate.compare.annotation import annotation_of
from coig_p.evaluate.compare.config import CompareConfig
from coig_p.evaluate.compare.floor import NO_PAIR, train_floor
from coig_p.evaluate.compare.opening import Opened, check_unchanged, check_whole
from coig_p.evaluate.compare.results import Contaminated, Findings, StoreRow
from coig_p.evaluate.compare.written import written_in
from coig_p.review.joining import manifest_sha256
from coig_p.stats.counts import statistics
from coig_p.stats.examined import examine_judges
from coig_p.stats.lengths import store_lengths
from coig_p.stats.results import Counts, DomainStatistics
from coig_p.validation import check
from coig_p.validation.findings import Report

NOTHING_HELD_OUT = "no query could be held out: there are too few"
UNDEFINED = "it is not defined"
NO_SHARED = "no two judges labelled a pair of the same two responses"
ONE_LENGTH = "the two texts of every pair are of one length"


def measure(opened: Opened, floor: Path, config: CompareConfig) -> StoreRow:
    """Measure a store.

    Args:
        floor: a folder that is not there, where its floor is written.

    Raises:
        StoreError: a shard that is not the manifest's, cannot be read, or changed while it was read.
        UsageError: an option that the store does not know, as a judge; names the store.
    """
    store, empty = opened.store, dict[str, str]()
    check_whole(opened)
    with _named(opened):
        counted = statistics(store, config.pairs)
        characters = store_lengths(store, CHARACTERS, pairs=config.pairs)
        tokens = None if config.tokenizer is None else store_lengths(store, config.tokenizer, pairs=config.pairs)
    written = written_in(store)
    judged = examine_judges(store, self_preference=False)
    duplicates = find_store_duplicates(store, DedupConfig()).summary
    report = check(store, rules=config.rules)
    contaminated = _contaminated(opened, config)
    trained = None
    if config.floor:
        trained, why = train_floor(opened, floor, config) if counted.total.pairs else (None, NO_PAIR)
        if why is not None:
            empty["floor"] = why
        elif trained is not None and trained.held_out is None:
            empty["held-out"] = NOTHING_HELD_OUT
    if not counted.total.pairs:
        empty["pairs"] = NO_PAIR
    elif counted.total.chosen_longer.share is None:
        empty["longer"] = ONE_LENGTH
    if judged.alpha.value is None:
        empty["alpha"] = judged.alpha.why or UNDEFINED
    if not any(pair.same.share is not None for pair in judged.agreement):
        empty["agreement"] = NO_SHARED
    check_unchanged(opened)
    return StoreRow(
        name=opened.name,
        store=opened.given,
        sha256=manifest_sha256(store),
        counts=_counts(counted.total),
        threshold=counted.config.margin,
        domains={name: _counts(part) for name, part in counted.domains.items()},
        splits=tuple(store.manifest.splits()),
        characters=characters.total,
        tokens=None if tokens is None else tokens.total,
        query_languages=_most_first(written.queries),
        response_languages=_most_first(written.responses),
        scripts=written.result(),
        findings=_findings(report),
        duplicates=duplicates,
        contamination=contaminated,
        chosen_longer=counted.total.chosen_longer,
        equal_length=counted.total.equal_length,
        annotation=annotation_of(store),
        alpha=judged.alpha,
        agreement=judged.agreement,
        floor=trained,
        empty=empty,
    )


@contextmanager
def _named(opened: Opened) -> Iterator[None]:
    """Say of which store an option is wrong."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{opened.given}: {error}") from None


def _counts(part: DomainStatistics) -> Counts:
    return Counts(**{name: getattr(part, name) for name in Counts.__dataclass_fields__})


def _findings(report: Report) -> Findings:
    counts = report.counts
    rules = {name: number for name, number in report.by_rule().items() if number}
    return Findings(counts.error, counts.warning, counts.metric, rules, report.queries)


def _contaminated(opened: Opened, config: CompareConfig) -> tuple[Contaminated, ...]:
    checks = [
        compare(opened.store, [name], ContaminationConfig(fields=config.fields_of(name)))[1] for name in config.against
    ]
    called = [one.against[0].name for one in checks]
    if len(set(called)) < len(called):
        called = list(config.against)
    return tuple(
        Contaminated(name, one.against[0].sha256, one.left.queries, one.left.responses)
        for name, one in zip(called, checks, strict=True)
    )


def _most_first(numbers: Counter[str]) -> dict[str, int]:
    return dict(sorted(numbers.items(), key=lambda one: (-one[1], one[0])))
