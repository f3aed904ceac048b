"""What the statistics of a store are, as types: frozen, all the way down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from coig_p.core.html import html_table
from coig_p.core.text import counted_as
from coig_p.pairs.config import PairConfig
from coig_p.stats.intervals import Mean, Share

if TYPE_CHECKING:
    import pandas as pd

_MODELS = 30  # that a notebook shows


@dataclass(frozen=True)
class Counts:
    """How many there are."""

    queries: int
    responses: int
    scores: int
    comparisons: int
    pairs: int
    queries_with_pairs: int


@dataclass(frozen=True)
class CombinationCounts:
    """Every two responses of a query that have a label, by why they are no pair; the last four and pairs add up.

    Pairs that rewards drop are in none of them: see `Filtered`.

    Attributes:
        left_out: by strategy or draw.
    """

    labelled: int
    same_text: int
    ties: int
    below_threshold: int
    left_out: int
    pairs: int


@dataclass(frozen=True)
class Bins:
    """Lower edges of bins of one width from 0 up, and what is in each; the last is open."""

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Distribution:
    """Values: how many, their mean, quantiles (each one of the values) and bins. None where there are none."""

    n: int
    mean: float | None = None
    min: float | None = None
    p10: float | None = None
    p25: float | None = None
    p50: float | None = None
    p75: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None
    bins: Bins = Bins()


@dataclass(frozen=True)
class Lengths:
    """Lengths in characters: of every query and response, and of those in pairs.

    A conversation is as long as the contents of its turns.
    """

    query: Distribution
    response: Distribution
    chosen: Distribution
    rejected: Distribution


@dataclass(frozen=True)
class SecondJudge:
    """What judges say of pairs that the others label: of n verdicts, the share of each."""

    agrees: Share
    ties: Share
    opposes: Share


@dataclass(frozen=True)
class MarginBin:
    """Pairs whose margin is `low` or more and below `high`, which is None in the last bin."""

    low: float
    high: float | None
    kept: int
    dropped: int


@dataclass(frozen=True)
class Filtered:
    """What the filter of rewards (`agree_with`) makes of pairs; the four after `pairs` add up to it.

    Attributes:
        pairs: that all other options give.
        opposed: dropped, since the chosen response has the lower reward.
        too_close: dropped, since its reward is higher by less than `min_reward_margin`, or equal.
        without_reward: dropped, since a response has none.
        longer_before, longer_after: among pairs whose texts differ in length, those whose chosen one is longer.
        margins: of the pairs, on the judges' scale.
    """

    pairs: int
    kept: int
    opposed: int
    too_close: int
    without_reward: int
    longer_before: Share
    longer_after: Share
    margins: tuple[MarginBin, ...] = ()


@dataclass(frozen=True)
class ModelStatistics:
    """How often a model answered, and how its responses fare in pairs."""

    responses: int
    chosen: int
    rejected: int
    win_rate: Share


@dataclass(frozen=True)
class JudgeStatistics:
    """What a judge gave, and what of it counts.

    A score counts where it is a number, `PairConfig` admits its judge, and the judge did not give it to its own
    response, or `include_self_judged` is set. The value of a response is the mean of the judge's scores of it
    that count, one a dimension.

    Attributes:
        scores, comparisons: all that carry the judge's name, those that do not count among them.
        responses: that have a value of this judge.
        mean_score: of these values, each response once, so not of all `scores`; None where there are none.
        offset: value minus the mean of the other judges' values, over the responses that have both.
        agrees, ties, opposes: what it says of the pairs of the others, at any margin.
    """

    scores: int
    comparisons: int
    responses: int
    mean_score: float | None
    offset: Mean
    agrees: Share
    ties: Share
    opposes: Share


@dataclass(frozen=True)
class DomainStatistics(Counts):
    """The statistics of one domain, or of all together.

    Attributes:
        pairs_per_query: over all queries; None where there are none.
        splits: the same counts by split, in the store's order.
        ties_share: ties among combinations of two different texts; None where there are none.
        margins: of the pairs, on the judges' scale.
        chosen_longer: among pairs whose texts differ in length.
        equal_length: pairs whose texts do not.
        models, judges: by name, sorted.
        second_judge: all judges' verdicts, at the threshold.
        conversations: queries that are more than one user's text: turns before the response, tools or reasoning.
        turns: of all conversations together.
        with_tools: queries with tool definitions, or a turn or an answer with more in it than text.
        filtered: what rewards make of the pairs that the other options give; None where none are asked for.
    """

    pairs_per_query: float | None
    splits: Mapping[str, Counts]
    combinations: CombinationCounts
    ties_share: float | None
    lengths: Lengths
    margins: Distribution
    chosen_longer: Share
    equal_length: int
    models: Mapping[str, ModelStatistics]
    judges: Mapping[str, JudgeStatistics]
    second_judge: SecondJudge
    conversations: int = 0
    turns: int = 0
    with_tools: int = 0
    filtered: Filtered | None = None

    def __repr__(self) -> str:
        return f"DomainStatistics({numbers(self)})"


@dataclass(frozen=True)
class Statistics:
    """What `coig_p.stats.counts.statistics` found; docs/stats.md says what each number is.

    Attributes:
        config: which pairs; its threshold is set, its format was not read.
        default_threshold, score_range: the store's.
        domains: a summary of each domain.
        total: the same summary of all of them.
    """

    config: PairConfig
    default_threshold: float
    score_range: tuple[float, float]
    domains: Mapping[str, DomainStatistics]
    total: DomainStatistics

    def __repr__(self) -> str:
        return f"Statistics({len(self.domains):,} domains, {numbers(self.total)} at threshold {self.config.margin})"

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None: what statistics.json holds, its floats not rounded."""
        found: dict[str, Any] = plain(asdict(self))
        for part in (*found["domains"].values(), found["total"]):
            if part["filtered"] is None:
                del part["filtered"]
        return found | {"config": described(self.config, "format")}

    def to_json(self) -> str:
        """As text, the same for the same store and options; floats to 6 decimals."""
        return as_json_text(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Statistics:
        """What `to_json` wrote."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Statistics:
        """What `to_dict` gave."""
        return cls(
            config=PairConfig(**found["config"]),
            default_threshold=found["default_threshold"],
            score_range=(found["score_range"][0], found["score_range"][1]),
            domains={domain: _domain_from(part) for domain, part in found["domains"].items()},
            total=_domain_from(found["total"]),
        )

    def to_pandas(self) -> pd.DataFrame:
        """A row a domain, "all" last, indexed by domain; columns are named by their path, for instance margins_p50.

        Models, judges, splits and bins are left out: they are in `domains` and `total`.
        """
        apart = ("splits", "models", "judges", "filtered")
        rows = {domain: _without(plain(asdict(part)), *apart) for domain, part in self._every().items()}
        return flat_frame(rows, "domain")

    def _repr_html_(self) -> str:
        rows = [
            [
                *(domain, part.queries, part.responses, part.scores, part.comparisons, part.pairs),
                *(part.pairs_per_query, as_percent(part.chosen_longer.share)),
            ]
            for domain, part in self._every().items()
        ]
        header = ["domain", "queries", "responses", "scores", "comparisons", "pairs", "pairs a query", "longer chosen"]
        models = sorted(self.total.models.items(), key=lambda item: (-(item[1].win_rate.share or 0), item[0]))
        by_model = [
            [model, part.responses, part.chosen, part.rejected, as_percent(part.win_rate.share)]
            for model, part in models[:_MODELS]
        ]
        return html_table(f"Statistics: pairs at threshold {self.config.margin}", header, rows) + html_table(
            "Models by win rate", ["model", "responses", "chosen", "rejected", "win rate"], by_model
        )

    def _every(self) -> dict[str, DomainStatistics]:
        return {**self.domains, "all": self.total}


def as_percent(share: float | None) -> str | None:
    """A share for people; None stays None."""
    return None if share is None else f"{share:.1%}"


def numbers(counted: Any) -> str:
    """Counts of queries, responses, scores and pairs, for one short line."""
    return ", ".join(counted_as(getattr(counted, name), name) for name in ("queries", "responses", "scores", "pairs"))


def described(config: PairConfig, *without: str) -> dict[str, Any]:
    """A config for a JSON file."""
    return {name: value for name, value in config.to_dict().items() if name not in without}


def plain(value: Any) -> Any:
    """`value` with lists for tuples, as JSON has it."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def as_json_text(value: Any) -> str:
    """Indented JSON; floats with 6 decimals, so that the last bits of a sum do not show."""
    return json.dumps(rounded(value), ensure_ascii=False, indent=2) + "\n"


def rounded(value: Any) -> Any:
    """`value` with every float in it rounded to 6 decimals."""
    if isinstance(value, float):
        return round(value, 6) + 0.0
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(part) for part in value]
    return value


def flat_frame(rows: Mapping[Any, Mapping[str, Any]], index: str) -> pd.DataFrame:
    """Nested dicts as rows of a frame; columns are named by their path, lists left out."""
    import pandas as pd

    frame = pd.json_normalize([dict(row) for row in rows.values()], sep="_")
    lists = [name for name in frame.columns if name.split("_")[-2:-1] == ["bins"]]
    return frame.drop(columns=lists).set_index(pd.Index(list(rows), name=index))


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


def _domain_from(found: Mapping[str, Any]) -> DomainStatistics:
    made: dict[str, Any] = {
        "splits": {split: Counts(**counts) for split, counts in found["splits"].items()},
        "combinations": CombinationCounts(**found["combinations"]),
        "lengths": Lengths(**{kind: _distribution_from(of) for kind, of in found["lengths"].items()}),
        "margins": _distribution_from(found["margins"]),
        "chosen_longer": Share(**found["chosen_longer"]),
        "models": {
            name: ModelStatistics(**{**model, "win_rate": Share(**model["win_rate"])})
            for name, model in found["models"].items()
        },
        "judges": {
            name: JudgeStatistics(**{**judge, "offset": Mean(**judge["offset"]), **_shares_from(judge)})
            for name, judge in found["judges"].items()
        },
        "second_judge": SecondJudge(**_shares_from(found["second_judge"])),
        "filtered": _filtered_from(found["filtered"]) if found.get("filtered") else None,
    }
    return DomainStatistics(**{**found, **made})


def _distribution_from(found: Mapping[str, Any]) -> Distribution:
    bins = Bins(tuple(found["bins"]["edges"]), tuple(found["bins"]["counts"]))
    return Distribution(**{**found, "bins": bins})


def _filtered_from(found: Mapping[str, Any]) -> Filtered:
    shares = {name: Share(**found[name]) for name in ("longer_before", "longer_after")}
    return Filtered(**{**found, **shares, "margins": tuple(MarginBin(**one) for one in found["margins"])})


def _shares_from(found: Mapping[str, Any]) -> dict[str, Share]:
    return {verdict.name: Share(**found[verdict.name]) for verdict in fields(SecondJudge)}
