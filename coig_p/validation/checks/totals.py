"""Is a store whole, and do its pairs make sense? Rules over what is counted of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.text import counted
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.labels import Names, judge_sets
from coig_p.stats.batch import Observed
from coig_p.store.manifest import Manifest


class Remark(NamedTuple):
    """What is to be said of a store, or of one of its domains, models or judges ("" where it is none)."""

    words: str
    domain: str = ""
    model: str = ""
    judge: str = ""


Apart = tuple[str, str, tuple[str, ...], str, tuple[str, ...]]
"""A pair whose responses other judges scored: query_id, then model and judges of chosen and of rejected."""


@dataclass
class Totals:
    """What is counted of a store while it is read: an accumulator, the same in whatever order batches come.

    Attributes:
        counts: by kind, domain and name, for instance ("won", "math", "model-a").
        ids: hashes of query_ids, see `id_hashes`.
        problems: what `Store.verify` found.
        twice: query_ids that stand more than once, and how often; see `find_twice`.
        judged_apart: by domain the first pair by its query_id whose responses other judges scored.
    """

    manifest: Manifest
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    ids: list[npt.NDArray[np.uint64]] = field(default_factory=list)
    problems: Sequence[str] = ()
    twice: Mapping[str | None, int] = field(default_factory=dict)
    judged_apart: dict[str, Apart] = field(default_factory=dict)

    def add(self, observed: Observed) -> None:
        """Count a batch."""
        batch = observed.batch
        domains = batch.column("domain").unique().to_pylist()
        if len(domains) > 1:  # nobody's store but a broken one
            for domain in domains:
                self.add(Observed(batch.filter(pc.is_in(batch.column("domain"), pa.array([domain], pa.string())))))
            return
        domain, found = str(domains[0]), observed.responses
        config = PairConfig().with_defaults(self.manifest)
        pairs, size = observed.pairs(config), observed.lengths
        count = self.counts
        self.ids.append(id_hashes(batch.column("query_id")))
        count["rows", domain, ""] += batch.num_rows
        count["responses", domain, ""] += len(found.query)
        count["scores", domain, ""] += len(found.score)
        count["comparisons", domain, ""] += len(observed.comparisons)
        self._tally("model", domain, found.model)
        self._tally("judge", domain, found.judge)
        self._tally("judge", domain, Names.of(observed.comparisons.field("judge")))
        count["pairs", domain, ""] += len(pairs.query)
        count["paired", domain, ""] += len(np.unique(pairs.query))
        count["longer", domain, ""] += int((size[pairs.chosen] > size[pairs.rejected]).sum())
        count["as long", domain, ""] += int((size[pairs.chosen] == size[pairs.rejected]).sum())
        self._compare_judges(observed, domain, pairs, config)
        self._tally("won", domain, Names(found.model.code[pairs.chosen], found.model.names))
        self._tally("lost", domain, Names(found.model.code[pairs.rejected], found.model.names))
        values, number = np.unique(np.round(pairs.margin, 4), return_counts=True)
        for value, times in zip(values.tolist(), number.tolist(), strict=True):
            count["margin", domain, f"{value:g}"] += times
        scored = observed.candidates(config).labelled[0]
        count["comparable", domain, ""] += len(scored.low)
        count["tied", domain, ""] += int(np.count_nonzero(scored.low_value == scored.high_value))

    def _tally(self, kind: str, domain: str, names: Names) -> None:
        number = np.bincount(names.code + 1, minlength=len(names.names) + 1)
        for name, times in zip((None, *names.names), number.tolist(), strict=True):
            if times:
                self.counts[kind, domain, str(name)] += times

    def _compare_judges(self, observed: Observed, domain: str, pairs: Pairs, config: PairConfig) -> None:
        """Count the pairs whose responses were scored by different judges; those compared side by side have one."""
        found = observed.responses
        sets = judge_sets(found, config)
        chosen, rejected = sets[pairs.chosen], sets[pairs.rejected]
        apart = np.flatnonzero((chosen != 0) & (rejected != 0) & (chosen != rejected))
        self.counts["scored pairs", domain, ""] += int(np.count_nonzero((chosen != 0) & (rejected != 0)))
        self.counts["judged apart", domain, ""] += len(apart)
        rows = np.unique(pairs.query[apart])
        self.counts["queries judged apart", domain, ""] += len(rows)
        if not len(rows):
            return
        ids = observed.batch.column("query_id").take(pa.array(rows)).to_pylist()
        first = min(map(str, ids))

        def judged(response: int) -> tuple[str, tuple[str, ...]]:
            model = found.model_column[response].as_py()
            names = (None, *found.judge.names)
            return str(model), tuple(sorted(str(name) for at, name in enumerate(names) if sets[response] >> at & 1))

        here = apart[np.isin(pairs.query[apart], rows[[str(one) == first for one in ids]])]
        sides = [judged(int(pairs.chosen[at])) + judged(int(pairs.rejected[at])) for at in here]
        self._first_apart(domain, (first, *min(sides)))

    def _first_apart(self, domain: str, apart: Apart) -> None:
        self.judged_apart[domain] = min(apart, self.judged_apart.get(domain, apart))

    def merge(self, other: Totals) -> None:
        """Take in what was counted elsewhere."""
        self.counts.update(other.counts)
        for domain, apart in other.judged_apart.items():
            self._first_apart(domain, apart)
        self.ids += other.ids

    def find_twice(self, columns: Iterable[pa.StringArray]) -> None:
        """Look again for query_ids that stand twice; reads nothing where no hash does, as is the rule.

        Args:
            columns: every query_id that was counted.
        """
        hashes = np.sort(np.concatenate(self.ids)) if self.ids else np.zeros(0, np.uint64)
        repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        found: Counter[str | None] = Counter()
        if len(repeated):
            for ids in columns:
                suspect = np.isin(id_hashes(ids), repeated)
                found.update(ids.filter(pa.array(suspect)).to_pylist())
        self.twice = {name: times for name, times in found.items() if times > 1}

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


def id_hashes(ids: pa.StringArray) -> npt.NDArray[np.uint64]:
    """64 bits of each query_id. Two that differ share them in one of 37 million stores of a million queries."""
    raw = ids.cast(pa.binary()).to_pylist()
    joined = b"".join(blake2b(_NO_ID if one is None else one, digest_size=8).digest() for one in raw)
    return np.frombuffer(joined, np.uint64)


_NO_ID = b"\xff"  # no text has this byte
_SHOWN = 60


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
    for name, times in totals.twice.items():
        yield Remark(f"{name} stands {times} times")


def rare_model(totals: Totals, least: float) -> Iterator[Remark]:
    """Fewer than `least` in the whole store."""
    for name, number in sorted(totals.of("model").items()):
        if number < least:
            yield Remark(counted(number, "response"), model=name)


def rare_judge(totals: Totals, least: float) -> Iterator[Remark]:
    """Fewer than `least` in the whole store."""
    for name, number in sorted(totals.of("judge").items()):
        if number < least:
            yield Remark(counted(number, "judgement"), judge=name)


def rare_domain(totals: Totals, share: float) -> Iterator[Remark]:
    """Less than `share` of the queries."""
    whole = sum(totals.total("rows", domain) for domain in totals.domains)
    for domain in totals.domains:
        number = totals.total("rows", domain)
        if number < share * whole:
            yield Remark(f"{number:,} of {counted(whole, 'query', 'queries')}", domain=domain)


def no_pairs(totals: Totals) -> Iterator[Remark]:
    """Its config would load empty."""
    for domain in totals.domains:
        if not totals.total("pairs", domain):
            yield Remark(f"none at threshold {PairConfig().with_defaults(totals.manifest).margin}", domain=domain)


def judge_sets_differ(totals: Totals) -> Iterator[Remark]:
    """Its margin is also that between the judges' leniencies; of pairs at the default threshold."""
    for domain in totals.domains:
        apart = totals.total("judged apart", domain)
        if apart:
            query_id, chosen, of_chosen, rejected, of_rejected = totals.judged_apart[domain]
            yield Remark(
                f"{apart:,} of {totals.total('scored pairs', domain):,} pairs, in "
                f"{totals.total('queries judged apart', domain):,} of {totals.total('rows', domain):,} queries; for "
                f"instance {_cut(query_id)}: {_cut(chosen)} scored by {_cut(' + '.join(of_chosen))}, "
                f"{_cut(rejected)} by {_cut(' + '.join(of_rejected))}",
                domain=domain,
            )


def _cut(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."


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
