"""The judges of a store, examined: one pass over it, and everything that `coigp judges` tells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coig_p.core.html import html_table
from coig_p.core.small_files import read_small
from coig_p.errors import DataError
from coig_p.stats.by_margin import ByMargin, by_margin
from coig_p.stats.design import Refusal, hardly_told, refusals_of, units_of
from coig_p.stats.families import DEFAULT, family_of
from coig_p.stats.interval_alpha import NO_TWO, interval_alpha
from coig_p.stats.intervals import Mean, Share, mean, share
from coig_p.stats.joint import JointFit, JudgeFit, Units, fit_joint
from coig_p.stats.judged import Judged, judge_sums
from coig_p.stats.position import PositionStatistics
from coig_p.stats.reliability import Estimate
from coig_p.stats.results import as_json_text, flat_frame, plain
from coig_p.stats.said import OTHERS, PEOPLE, PERSON
from coig_p.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

_MISSING = "missing.jsonl"
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Invalid:
    """Judgements that a judge did not give, of all it was asked for.

    Attributes:
        missing: scores that are null in the store, or that the run's list of what is missing names.
        asked: these, and the scores that are there.
        share: of these; None where it was asked for none.
    """

    missing: int
    asked: int
    share: float | None


@dataclass(frozen=True)
class Agreed:
    """Two judges on what both judged.

    Attributes:
        agrees, ties, opposes: shares of the pairs of responses that both judged: both prefer the same one; one of
            them or both prefer none; each another.
        same: of the pairs on which both prefer one, those on which it is the same.
        alpha: Krippendorff's of their scores, with squared differences.
        tau: tau-b within a query, the mean over queries in which both prefer some.
    """

    judge: str
    other: str
    agrees: Share
    ties: Share
    opposes: Share
    same: Share
    alpha: Estimate
    tau: Mean


@dataclass(frozen=True)
class JudgeExamined:
    """One judge.

    Attributes:
        family: see `coig_p.stats.families`.
        person: whether it is a person.
        responses: that it scored.
        fit: leniency, spread and self-preference; None where the joint model was not fitted, or it scored nothing.
        position: what the order does; None where it compared nothing.
        invalid: None where nothing was recorded of what is missing.
        by_margin: against people, and against the other judges, where there are any.
    """

    family: str
    person: bool
    responses: int
    fit: JudgeFit | None
    position: PositionStatistics | None
    invalid: Invalid | None
    by_margin: tuple[ByMargin, ...]


@dataclass(frozen=True)
class JudgesExamined:
    """What `examine_judges` found; docs/judges.md says what each number is.

    Attributes:
        store: its directory.
        judges: by name, sorted.
        joint: what the joint model rests on; its judges are in `judges`. None where it was not fitted.
        refusals: why it was not, and what to collect; empty where it was, or where there are no scores.
        alpha: of all judges together.
        agreement: every two judges that judged two responses alike.
    """

    store: str
    score_range: tuple[float, float]
    judges: Mapping[str, JudgeExamined]
    joint: JointFit | None
    refusals: tuple[Refusal, ...]
    alpha: Estimate
    agreement: tuple[Agreed, ...]

    def __repr__(self) -> str:
        told = "joint model fitted" if self.joint else f"{len(self.refusals)} refusals"
        return f"JudgesExamined({self.store!r}, {len(self.judges)} judges, {told})"

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None."""
        found: dict[str, Any] = plain(asdict(self))
        if found["joint"] is not None:
            del found["joint"]["judges"]
        return found

    def to_json(self) -> str:
        """As text, the same for the same store and options; floats to 6 decimals."""
        return as_json_text(self.to_dict())

    def to_pandas(self) -> pd.DataFrame:
        """A row a judge, indexed by its name; columns are named by their path, for instance fit_leniency_value."""
        rows = {name: _without_lists(asdict(one)) for name, one in self.judges.items()}
        return flat_frame(rows, "judge")

    def _repr_html_(self) -> str:
        rows = [
            [name, one.family, one.responses, *(_plain_number(value) for value in _fitted(one.fit))]
            for name, one in self.judges.items()
        ]
        header = ["judge", "family", "responses", "leniency", "spread", "self-preference"]
        return html_table(f"Judges of {self.store}", header, rows)


def examine_judges(
    store: Store,
    *,
    families: Mapping[str, str] = DEFAULT,
    person: str = PERSON,
    self_preference: bool = True,
    domains: Collection[str] = (),
    num_proc: int | None = 1,
    seed: int = 0,
    advance: Callable[[int], None] = lambda queries: None,
) -> JudgesExamined:
    """Leniency, spread, self-preference, position, agreement, and how far margins can be trusted.

    Args:
        families: pattern -> family.
        person: how the name of a judge begins who is a person.
        self_preference: False leaves it out of the joint model, which then needs no scores of own families.
        domains: these alone; default all.
        num_proc: processes that share the shards; None for as many as pay (see `coig_p.store.sharing`).
        seed: of the bootstraps.
        advance: called with the number of queries read since the last call.

    Raises:
        UnknownNameError: the store has no such domain.
        StoreError: a shard that cannot be read.
        DataError: the list of what a run is missing, beside the store, is damaged.
    """
    judged = judge_sums(store, domains=domains, person=person, num_proc=num_proc, advance=advance)
    return examined(
        judged,
        store,
        families=families,
        person=person,
        self_preference=self_preference,
        missing=missing_of_run(store, domains),
        seed=seed,
    )


def examined(
    judged: Judged,
    store: Store,
    *,
    families: Mapping[str, str] = DEFAULT,
    person: str = PERSON,
    self_preference: bool = True,
    missing: Mapping[str, int] | None = None,
    seed: int = 0,
) -> JudgesExamined:
    """What sums of a store say; arguments as for `examine_judges`.

    Args:
        missing: scores that a run could not get, by judge; None where there is no run.
    """
    opinions = judged.opinions
    scoring = {name for judges in judged.tables for name in judges}
    lost = Counter(missing or {}) + judged.missing
    told = {name for pair in opinions.verdicts for name in pair}
    names = sorted((scoring | set(opinions.position) | told | set(lost)) - {""})
    refusals = refusals_of(judged, families, self_preference=self_preference) if scoring else ()
    shared = any(len(judges) > 1 for judges in judged.tables)
    units = units_of(judged, families) if shared else None
    joint = None
    if units is not None and not refusals:
        joint = fit_joint(units, self_preference=self_preference, seed=seed)
        if not joint.settled:
            refusals, joint = (hardly_told(joint),), None
    scored: Counter[str] = Counter()
    for judges, sums in judged.tables.items():
        scored.update(dict.fromkeys(judges, int(sums.number.sum())))
    margins: dict[tuple[str, str], dict[tuple[int, float, int], int]] = {}
    for (name, kind, block, margin, verdict), number in opinions.margins.items():
        margins.setdefault((name, kind), {})[block, margin, verdict] = number
    score_range = store.manifest.score_range
    recorded = missing is not None or bool(judged.missing)
    every = {
        name: JudgeExamined(
            family=family_of(name, families),
            person=name.startswith(person),
            responses=scored[name],
            fit=joint.judges.get(name) if joint else None,
            position=opinions.position[name].result() if name in opinions.position else None,
            invalid=_invalid(lost[name], scored[name]) if recorded and (scored[name] or lost[name]) else None,
            by_margin=tuple(
                by_margin(margins[name, kind], name, kind, score_range)
                for kind in (PEOPLE, OTHERS)
                if (name, kind) in margins
            ),
        )
        for name in names
    }
    return JudgesExamined(
        store=str(store.path),
        score_range=score_range,
        judges=every,
        joint=joint,
        refusals=refusals,
        alpha=interval_alpha(units, seed=seed) if units is not None else Estimate(why=NO_TWO),
        agreement=tuple(_agreed(judged, units, pair, seed) for pair in sorted(opinions.verdicts)),
    )


def missing_of_run(store: Store, domains: Collection[str] = ()) -> dict[str, int] | None:
    """Scores that the run could not get which made a store, by judge; None where the store stands in no run's folder.

    Raises:
        DataError: the run's list is damaged; names file and line.
    """
    path = store.path.resolve().parent / _MISSING
    if store.path.resolve().name != "store" or not path.is_file():
        return None
    try:
        lines = read_small(path, _MOST_BYTES).splitlines()
    except OSError as error:
        raise DataError(f"{path}: what the run is missing cannot be read: {error.strerror}") from None
    except ValueError:
        raise DataError(f"{path}: what the run is missing cannot be read: it is not UTF-8") from None
    found: Counter[str] = Counter()
    for number, line in enumerate(lines, 1):
        try:
            one = json.loads(line)
            if one["kind"] == "judge" and one["state"] == "invalid" and (not domains or one["domain"] in domains):
                found[str(one["judge"])] += 1
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(
                f"{path} line {number}: no entry of what is missing: run coigp annotate store again"
            ) from None
    return dict(found)


def _invalid(missing: int, scored: int) -> Invalid:
    asked = missing + scored
    return Invalid(missing, asked, missing / asked if asked else None)


def _agreed(judged: Judged, units: Units | None, pair: tuple[str, str], seed: int) -> Agreed:
    opinions = judged.opinions
    agrees, ties, opposes = (share(opinions.verdicts[pair][:, at]) for at in range(3))
    alpha = Estimate(why=NO_TWO)
    if units is not None and set(pair) <= set(units.judges):
        alpha = interval_alpha(units, pair, seed=seed)
    tau = mean(opinions.tau[pair]) if pair in opinions.tau else Mean(0)
    return Agreed(pair[0], pair[1], agrees, ties, opposes, share(opinions.same[pair]), alpha, tau)


def _fitted(fit: JudgeFit | None) -> list[float | None]:
    if fit is None:
        return [None, None, None]
    return [fit.leniency.value, fit.spread.value, fit.self_preference.value if fit.self_preference else None]


def _plain_number(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _without_lists(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "by_margin"}
