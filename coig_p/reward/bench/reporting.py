"""What scorers make of a benchmark, side by side: one entry a scorer, and comparisons of two."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coig_p.errors import UsageError
from coig_p.reward.bench.baselines import BASELINES, baseline
from coig_p.reward.bench.comparing import Comparison, common_pairs, compare_all, couples
from coig_p.reward.bench.form import Bench
from coig_p.reward.bench.metrics import (
    Accuracy,
    Calibration,
    Estimate,
    Length,
    Position,
    accuracy,
    best_of_n_ratio,
    by_length,
    calibration,
    estimate,
    exact_ratio,
    macro,
    pairs_by_domain,
    position,
)
from coig_p.reward.bench.outcomes import Outcomes, Tie, outcomes_of
from coig_p.reward.bench.presets import Aggregates, aggregates
from coig_p.reward.bench.results import Results, read_results


@dataclass(frozen=True)
class ReportConfig:
    """How results are counted.

    Attributes:
        tie: what equal rewards count: "wrong", nothing, or "half".
        official: the benchmark's aggregates with the faults of its own code.
        baselines: also show what the longer response and a guess would give, which needs no results.
        seed: of the bootstrap, and of the guess.
    """

    tie: Tie = "wrong"
    official: bool = False
    baselines: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Scored:
    """What a scorer makes of a benchmark.

    Attributes:
        path: of its results; None of a baseline that none were named for.
        micro: of all pairs.
        macro: the mean of the domains.
        exact: items of which all pairs are right.
        best_of_n: whether the best response has the highest reward; None for verdicts.
        reasons: why items, or some of their responses, have no reward or verdict, and how many.
    """

    name: str
    kind: str
    path: str | None
    micro: Accuracy
    domains: dict[str, Accuracy]
    macro: Estimate
    exact: Estimate
    best_of_n: Estimate | None
    aggregates: Aggregates
    calibration: Calibration | None
    length: Length
    position: Position | None
    reasons: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "name": self.name,
            "kind": self.kind,
            "path": self.path,
            "micro": self.micro.to_dict(),
            "macro": self.macro.to_dict(),
            "exact": self.exact.to_dict(),
            "best_of_n": None if self.best_of_n is None else self.best_of_n.to_dict(),
            "preset": self.aggregates.to_dict(),
            "domains": {name: one.to_dict() for name, one in self.domains.items()},
            "calibration": _plain(self.calibration),
            "length": _plain(self.length),
            "position": _plain(self.position),
            "reasons": self.reasons,
        }


@dataclass(frozen=True)
class BenchReport:
    """Scorers on one benchmark, in the order given.

    Attributes:
        items, pairs: of the benchmark.
        scorers: baselines that no results were named for are last.
        compared: comparisons, p adjusted for all of them.
        apart: two scorers each that scored no pair in common, and are not compared.
    """

    bench: Bench
    config: ReportConfig
    items: int
    pairs: int
    scorers: tuple[Scored, ...]
    compared: tuple[Comparison, ...]
    apart: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        bench = self.bench
        return {
            "bench": {"name": bench.name, "sha256": bench.sha256, "preset": bench.preset, "licence": bench.licence},
            "items": self.items,
            "pairs": self.pairs,
            "tie": self.config.tie,
            "official": self.config.official,
            "scorers": [one.to_dict() for one in self.scorers],
            "comparisons": [one.to_dict() for one in self.compared],
            "not_compared": [list(names) for names in self.apart],
        }


def bench_report(
    folders: Sequence[str | Path], config: ReportConfig | None = None, *, against: str | Path | None = None
) -> BenchReport:
    """Read results and count them.

    Args:
        folders: of results of one benchmark, one or more.
        against: results that each of the others is compared with; by default every two are.

    Raises:
        DataError: results cannot be read; names file, line and field.
        UsageError: no results, results of two benchmarks, or a folder that is named twice.
    """
    config = config or ReportConfig()
    paths = [Path(folder) for folder in folders]
    named = [path.resolve() for path in paths]
    if not paths:
        raise UsageError("no results: name one folder or more that coigp bench run wrote")
    if len(set(named)) < len(named):
        twice = next(path for at, path in enumerate(paths) if named[at] in named[:at])
        raise UsageError(f"{twice} is named twice")
    # The one that all are compared with is shown once, also where it is named among them.
    base = None if against is None else Path(against).resolve()
    if against is not None and base not in named:
        paths.append(Path(against))
    read = [read_results(path) for path in paths]
    _check_alike(read)
    read = _told_apart(read)
    outcomes = [outcomes_of(one, config.tie) for one in read]
    first = next((at for at, path in enumerate(paths) if path.resolve() == base), None)
    others = [one for at, one in enumerate(outcomes) if at != first]
    two = couples(others, None if first is None else outcomes[first])
    alike = [both for both in two if len(common_pairs(*both))]
    bench = read[0].bench
    shown = [scored(one, official=config.official) for one in outcomes]
    for name in BASELINES if config.baselines else ():
        if name not in (one.name for one in shown):
            rewards = tuple(baseline(bench, name, config.seed))
            own = Results(bench.path, bench, {"kind": "baseline", "name": name}, rewards)
            shown.append(replace(scored(outcomes_of(own, config.tie), official=config.official), path=None))
    return BenchReport(
        bench,
        config,
        len(bench.items),
        len(outcomes[0].item),
        tuple(shown),
        tuple(compare_all(alike, seed=config.seed)),
        tuple((one.name, other.name) for one, other in two if not len(common_pairs(one, other))),
    )


def scored(outcomes: Outcomes, *, official: bool = False) -> Scored:
    """What a scorer makes of a benchmark."""
    results = outcomes.results
    reasons: dict[str, int] = {}
    for one in results.results:
        if one.reason is not None:
            reasons[one.reason] = reasons.get(one.reason, 0) + 1
    return Scored(
        name=outcomes.name,
        kind=outcomes.kind,
        path=str(results.path),
        micro=accuracy(outcomes),
        domains={name: accuracy(outcomes, at) for name, at in pairs_by_domain(outcomes).items()},
        macro=macro(outcomes),
        exact=estimate([(1.0, exact_ratio(outcomes))]),
        best_of_n=None if outcomes.orders is not None else estimate([(1.0, best_of_n_ratio(outcomes))]),
        aggregates=aggregates(outcomes, official=official),
        calibration=calibration(outcomes),
        length=by_length(outcomes),
        position=position(outcomes),
        reasons=dict(sorted(reasons.items())),
    )


def _check_alike(read: Sequence[Results]) -> None:
    for one in read[1:]:
        if one.bench.sha256 != read[0].bench.sha256:
            raise UsageError(
                f"{one.path} is of the benchmark {one.bench.name!r}, and {read[0].path} of {read[0].bench.name!r}, or "
                "of another version of it: a report is of one benchmark"
            )


def _told_apart(read: Sequence[Results]) -> list[Results]:
    """Scorers of one name, as two runs of one model, by their folders, too."""
    times = Counter(str(one.scorer["name"]) for one in read)
    return [
        replace(one, scorer={**one.scorer, "name": f"{name} ({one.path})"})
        if times[name := str(one.scorer["name"])] > 1
        else one
        for one in read
    ]


def _plain(value: Any) -> Any:
    """A dataclass as JSON has it, with those inside it."""
    if isinstance(value, Estimate):
        return value.to_dict()
    if isinstance(value, (Calibration, Length, Position)):
        return {name: _plain(one) for name, one in vars(value).items()}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value
