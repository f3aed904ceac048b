"""What stores side by side are, as types: frozen, all the way down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from coig_p.core.html import html_table
from coig_p.dedup.clusters import Summary
from coig_p.evaluate.compare.annotation import Annotated
from coig_p.evaluate.compare.config import CompareConfig
from coig_p.evaluate.compare.written import Scripts
from coig_p.reward.bench.metrics import Accuracy
from coig_p.reward.made import LENGTH, MAJORITY, HeldOut
from coig_p.stats.examined import Agreed
from coig_p.stats.intervals import Share
from coig_p.stats.lengths import PairLengths
from coig_p.stats.reliability import Estimate
from coig_p.stats.results import Counts, as_json_text, plain

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Findings:
    """What `coigp check` found.

    Attributes:
        errors, warnings, metrics: findings of each severity.
        rules: findings by rule, of those that found something.
        queries: that were looked at.
    """

    errors: int
    warnings: int
    metrics: int
    rules: Mapping[str, int]
    queries: int

    def per_thousand(self, number: int) -> float | None:
        """So many findings, per thousand queries; None where there is no query."""
        return 1000 * number / self.queries if self.queries else None


@dataclass(frozen=True)
class Contaminated:
    """What `coigp contamination` found of one benchmark.

    Attributes:
        benchmark: without the path to it, where that tells all of them apart.
        sha256: of it.
        queries, responses: that hold one of its prompts or answers.
    """

    benchmark: str
    sha256: str
    queries: int
    responses: int


@dataclass(frozen=True)
class Floor:
    """An n-gram reward model that was trained on a store.

    Attributes:
        split: of the store.
        pairs, queries: that it was trained on.
        held_out: what it gets right on queries that it was not fitted on; None where none could be held out.
    """

    split: str
    pairs: int
    queries: int
    held_out: HeldOut | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told = None if self.held_out is None else self.held_out.to_dict()
        return {"split": self.split, "pairs": self.pairs, "queries": self.queries, "held_out": told}


@dataclass(frozen=True)
class StoreRow:
    """One store.

    Attributes:
        name: other than every other one's.
        store: as the user named it.
        sha256: of its manifest.
        counts: of all of it; pairs are those of the config, and of `threshold`.
        domains: the same by domain.
        characters, tokens: lengths in the pairs; tokens are None without a tokenizer.
        query_languages, response_languages: texts by language, the most first.
        duplicates: near-duplicate queries inside.
        judges: of all judges; agreement: of every two that judged the same.
        alpha: Krippendorff's, of all judges together.
        empty: why a number is not there, by the name of its field.
    """

    name: str
    store: str
    sha256: str
    counts: Counts
    threshold: str
    domains: Mapping[str, Counts]
    splits: tuple[str, ...]
    characters: PairLengths
    tokens: PairLengths | None
    query_languages: Mapping[str, int]
    response_languages: Mapping[str, int]
    scripts: Scripts
    findings: Findings
    duplicates: Summary
    contamination: tuple[Contaminated, ...]
    chosen_longer: Share
    equal_length: int
    annotation: tuple[Annotated, ...]
    alpha: Estimate
    agreement: tuple[Agreed, ...]
    floor: Floor | None
    empty: Mapping[str, str] = field(default_factory=dict)

    @property
    def judges(self) -> int:
        """How many judges there are."""
        return len({one.judge for one in self.annotation})

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None."""
        found: dict[str, Any] = plain({name: _told(value) for name, value in vars(self).items()})
        for kind in ("errors", "warnings", "metrics"):
            found["findings"][f"{kind}_per_thousand"] = self.findings.per_thousand(getattr(self.findings, kind))
        return found


@dataclass(frozen=True)
class Across:
    """One store beside another.

    Attributes:
        store, other: their names.
        shared: queries of the store that the other asks in the same words, up to width, case, script and punctuation.
        near: queries of the store that are near-duplicates of the other's, the shared ones among them: what
            `coigp dedup --against` would drop for the other's sake.
        floor: what the model that was trained on the store gets right in the other; None: see `why`.
        why: there is no such number.
    """

    store: str
    other: str
    shared: int
    near: int
    floor: Accuracy | None = None
    why: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told = None if self.floor is None else self.floor.to_dict()
        counted = {"store": self.store, "other": self.other, "shared": self.shared, "near": self.near}
        return counted | {"floor": told, "why": self.why}


@dataclass(frozen=True)
class SideBySide:
    """Stores side by side, in the order given; docs/compare.md says what each number is.

    Attributes:
        across: every store beside every other one.
    """

    config: CompareConfig
    stores: tuple[StoreRow, ...]
    across: tuple[Across, ...]

    def __repr__(self) -> str:
        return f"SideBySide({', '.join(one.name for one in self.stores)})"

    def between(self, store: str, other: str) -> Across | None:
        """One store beside another, by their names; None for a store and itself."""
        return next((one for one in self.across if (one.store, one.other) == (store, other)), None)

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None."""
        return {
            "config": self.config.to_dict(),
            "stores": [one.to_dict() for one in self.stores],
            "across": [one.to_dict() for one in self.across],
        }

    def to_json(self) -> str:
        """As text, the same for the same stores and options; floats to 6 decimals."""
        return as_json_text(self.to_dict())

    def to_pandas(self) -> pd.DataFrame:
        """A row a store, indexed by name: one number a column, None where there is none.

        What has many, as domains, languages, rules and judges, is in `stores`.
        """
        import pandas as pd

        index = pd.Index([one.name for one in self.stores], name="name")
        return pd.DataFrame([_flat(one) for one in self.stores], index=index)

    def matrix_to_pandas(self) -> pd.DataFrame:
        """A row for every two stores in either order: store, other, shared, near, floor and its interval, pairs."""
        import pandas as pd

        names = ["store", "other", "shared", "near", "floor", "floor_low", "floor_high", "floor_pairs", "why"]
        rows = []
        for one in self.across:
            share = None if one.floor is None else one.floor.share
            numbers = [None] * 3 if share is None else [share.value, share.low, share.high]
            pairs = None if one.floor is None else one.floor.pairs
            rows.append([one.store, one.other, one.shared, one.near, *numbers, pairs, one.why])
        return pd.DataFrame(rows, columns=names)

    def _repr_html_(self) -> str:
        rows = [
            [
                *(one.name, one.counts.queries, one.counts.responses, one.counts.pairs, one.findings.errors),
                None if one.chosen_longer.share is None else f"{one.chosen_longer.share:.1%}",
            ]
            for one in self.stores
        ]
        header = ["store", "queries", "responses", "pairs", "errors", "longer chosen"]
        return html_table("Stores side by side", header, rows)


def _told(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_told(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _told(one) for name, one in value.items()}
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _flat(one: StoreRow) -> dict[str, Any]:
    """A row of a store with the same columns whatever is in it, but for benchmarks, which have two each."""
    found, lengths = one.findings, {"characters": one.characters, "tokens": one.tokens}
    row: dict[str, Any] = {"store": one.store, "sha256": one.sha256, **asdict(one.counts), "threshold": one.threshold}
    row |= {"prompts": one.characters.prompts, "domains": len(one.domains), "splits": len(one.splits)}
    for unit, of in lengths.items():
        for what in ("prompt", "response"):
            spread = None if of is None else getattr(of, f"{what}_length")
            for name in ("mean", "deviation"):
                row[f"{what}_{unit}_{name}"] = None if spread is None else getattr(spread, name)
    row |= {f"chosen_longer_{name}": value for name, value in asdict(one.chosen_longer).items()}
    row["chinese_queries"], row["chinese_responses"] = (
        numbers.get("zh", 0) for numbers in (one.query_languages, one.response_languages)
    )
    row |= asdict(one.scripts)
    for kind in ("errors", "warnings", "metrics"):
        row[kind] = getattr(found, kind)
        row[f"{kind}_per_thousand"] = found.per_thousand(row[kind])
    row |= {"near_duplicates": one.duplicates.duplicates, "clusters": one.duplicates.clusters}
    row |= {"kinds": "; ".join(dict.fromkeys(part.kind for part in one.annotation)), "judges": one.judges}
    row |= {f"alpha_{name}": getattr(one.alpha, name) for name in ("value", "low", "high")}
    held_out = None if one.floor is None else one.floor.held_out
    row["floor_trained_pairs"] = None if one.floor is None else one.floor.pairs
    for name in ("pairs", "accuracy", "low", "high"):
        row[f"floor_{name}"] = None if held_out is None else getattr(held_out.model, name)
    for name in (LENGTH, MAJORITY):
        row[f"floor_{name}"] = None if held_out is None else held_out.beside[name].accuracy
    row["floor_verdict"] = None if held_out is None else held_out.verdict
    for held in one.contamination:
        row |= {f"queries in {held.benchmark}": held.queries, f"responses in {held.benchmark}": held.responses}
    return row
