"""Is a store whole, and do its pairs make sense? Rules over what is counted of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs_of
from coig_p.pairs.labels import response_values
from coig_p.store.manifest import Manifest
from coig_p.validation.checks.rows import BatchView


class Remark(NamedTuple):
    """What is to be said of a store, or of one of its domains, models or judges ("" where it is none)."""

    words: str
    domain: str = ""
    model: str = ""
    judge: str = ""


@dataclass
class Totals:
    """What is counted of a store while it is read; sums of batches, in whatever order.

    Attributes:
        counts: by kind, domain and name, for instance ("won", "math", "model-a").
        ids: query_ids.
        problems: what `Store.verify` found.
    """

    manifest: Manifest
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    ids: list[pa.StringArray] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def observe(self, rows: BatchView) -> None:
        """Count a batch of one domain."""
        batch, found = rows.batch, rows.responses
        domain = str(batch.column("domain")[0].as_py()) if batch.num_rows else ""
        count = self.counts
        self.ids.append(batch.column("query_id"))
        count["rows", domain, ""] += batch.num_rows
        count["responses", domain, ""] += len(found.query)
        count["scores", domain, ""] += len(found.score)
        comparisons = batch.column("comparisons").flatten()
        count["comparisons", domain, ""] += len(comparisons)
        _tally(count, "model", domain, found.model_column)
        for judges in (
            pa.array(found.judge.each(found.judge.names, None, object), pa.string()),
            comparisons.field("judge"),
        ):
            _tally(count, "judge", domain, judges)
        config = PairConfig(threshold=self.manifest.default_threshold)
        pairs = find_pairs_of(found, batch, config)
        size = rows.texts.sizes[rows.texts.queries :]
        count["pairs", domain, ""] += len(pairs.query)
        count["paired", domain, ""] += len(np.unique(pairs.query))
        count["longer", domain, ""] += int((size[pairs.chosen] > size[pairs.rejected]).sum())
        count["as long", domain, ""] += int((size[pairs.chosen] == size[pairs.rejected]).sum())
        _tally(count, "won", domain, found.model_column.take(pa.array(pairs.chosen)))
        _tally(count, "lost", domain, found.model_column.take(pa.array(pairs.rejected)))
        values, number = np.unique(np.round(pairs.margin, 4), return_counts=True)
        for value, times in zip(values.tolist(), number.tolist(), strict=True):
            count["margin", domain, f"{value:g}"] += times
        values, _, scored = response_values(found, config)
        query = found.query[scored]
        count["comparable", domain, ""] += _twos(np.unique(query, return_counts=True)[1])
        alike = np.stack([query, values[scored]]) if values.dtype != object else None
        if alike is not None:
            count["tied", domain, ""] += _twos(np.unique(alike, axis=1, return_counts=True)[1])
        else:
            count["tied", domain, ""] += _twos(
                np.array(list(Counter(zip(query.tolist(), values[scored].tolist(), strict=True)).values()), np.int64)
            )

    def add(self, other: Totals) -> None:
        """Take in what was counted elsewhere."""
        self.counts.update(other.counts)
        self.ids += other.ids

    def of(self, kind: str, domain: str | None = None) -> Counter[str]:
        """Counts of a kind by name, in one domain or all."""
        found: Counter[str] = Counter()
        for (what, where, name), number in self.counts.items():
            if what == kind and domain in (None, where):
                found[name] += number
        return found

    def total(self, kind: str, domain: str) -> int:
        """The count of a kind without names in a domain."""
        return self.counts[kind, domain, ""]

    @property
    def domains(self) -> list[str]:
        """Those that were read."""
        return sorted({domain for kind, domain, _ in self.counts if kind == "rows"})


def _tally(counts: Counter[tuple[str, str, str]], kind: str, domain: str, names: pa.StringArray) -> None:
    for found in pc.value_counts(names).to_pylist():
        counts[kind, domain, str(found["values"])] += found["counts"]


def _twos(sizes: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def files(totals: Totals) -> Iterator[Remark]:
    """Missing, changed, or not listed: as `coigp verify`."""
    for problem in totals.problems:
        yield Remark(problem)


def manifest_counts(totals: Totals) -> Iterator[Remark]:
    """Rows, responses, scores and comparisons by domain."""
    for domain in totals.domains:
        for kind in ("rows", "responses", "scores", "comparisons"):
            said = sum(getattr(file, kind) or 0 for file in totals.manifest.data_files(domain))
            found = totals.total(kind, domain)
            if said != found:
                yield Remark(f"{found} {kind}, {said} in the manifest", domain=domain)


def query_id_twice(totals: Totals) -> Iterator[Remark]:
    """Every query_id that stands more than once in the store."""
    ids = pa.chunked_array(totals.ids, pa.string())
    for found in pc.value_counts(ids).to_pylist() if len(ids) else ():
        if found["counts"] > 1:
            yield Remark(f"{found['values']} stands {found['counts']} times")


def rare_model(totals: Totals, least: float) -> Iterator[Remark]:
    """Fewer than `least` in the whole store."""
    for name, number in sorted(totals.of("model").items()):
        if number < least:
            yield Remark(f"{number} responses", model=name)


def rare_judge(totals: Totals, least: float) -> Iterator[Remark]:
    """Fewer than `least` in the whole store."""
    for name, number in sorted(totals.of("judge").items()):
        if number < least:
            yield Remark(f"{number} judgements", judge=name)


def rare_domain(totals: Totals, share: float) -> Iterator[Remark]:
    """Less than `share` of the queries."""
    whole = sum(totals.total("rows", domain) for domain in totals.domains)
    for domain in totals.domains:
        number = totals.total("rows", domain)
        if number < share * whole:
            yield Remark(f"{number} of {whole} queries", domain=domain)


def no_pairs(totals: Totals) -> Iterator[Remark]:
    """Its config would load empty."""
    for domain in totals.domains:
        if not totals.total("pairs", domain):
            yield Remark(f"none at threshold {totals.manifest.default_threshold:g}", domain=domain)


def length_bias(totals: Totals, share: float) -> Iterator[Remark]:
    """More than `share` of a domain's pairs of unequal length; 57 to 59% is usual."""
    for domain in totals.domains:
        unequal = totals.total("pairs", domain) - totals.total("as long", domain)
        if unequal and totals.total("longer", domain) > share * unequal:
            yield Remark(f"{totals.total('longer', domain) / unequal:.1%} of {unequal} pairs", domain=domain)


def one_sided_model(totals: Totals, least: float) -> Iterator[Remark]:
    """In at least `least` pairs at the default threshold."""
    won, lost = totals.of("won"), totals.of("lost")
    for model in sorted(won.keys() | lost.keys()):
        if won[model] + lost[model] >= least and not (won[model] and lost[model]):
            yield Remark(f"{'wins' if won[model] else 'loses'} all of {won[model] + lost[model]} pairs", model=model)


def ties(totals: Totals) -> Iterator[Remark]:
    """Share of two-combinations of scored responses with equal means."""
    for domain in totals.domains:
        comparable = totals.total("comparable", domain)
        if comparable:
            yield Remark(f"{totals.total('tied', domain) / comparable:.1%} of {comparable}", domain=domain)


def pairs_per_query(totals: Totals) -> Iterator[Remark]:
    """Mean over all queries, and how many give none."""
    for domain in totals.domains:
        rows, pairs = totals.total("rows", domain), totals.total("pairs", domain)
        none = rows - totals.total("paired", domain)
        yield Remark(f"{pairs / rows:.2f} pairs a query; {none} of {rows} queries give none", domain=domain)


def margins(totals: Totals) -> Iterable[Remark]:
    """Quartiles of the margin at the default threshold."""
    for domain in totals.domains:
        found = sorted((float(value), number) for value, number in totals.of("margin", domain).items())
        if not found:
            continue
        values, numbers = zip(*found, strict=True)
        ends = np.cumsum(numbers)
        at = [values[int(np.searchsorted(ends, share * ends[-1]))] for share in (0.25, 0.5, 0.75)]
        yield Remark("quartiles " + ", ".join(f"{value:g}" for value in at), domain=domain)
