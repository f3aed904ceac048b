"""What differs between two stores, as types: frozen, all the way down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from coig_p.core.html import html_table
from coig_p.pairs.config import PairConfig
from coig_p.stats.results import as_json_text, described, flat_frame, plain

if TYPE_CHECKING:
    import pandas as pd

Part = TypeVar("Part")


@dataclass(frozen=True)
class Turnover:
    """How many of a kind there were and are; before is kept, changed and lost, after is kept, changed and gained.

    Attributes:
        kept: in both, and the same.
    """

    before: int
    after: int
    gained: int
    lost: int
    kept: int


@dataclass(frozen=True)
class Change(Turnover):
    """Those of a kind that may also change.

    Attributes:
        changed: in both, and what is said of it is not the same.
    """

    changed: int


@dataclass(frozen=True)
class PairChange(Turnover):
    """Pairs, each two responses of a query.

    Attributes:
        flipped: the same two responses, chosen and rejected swapped.
    """

    flipped: int


@dataclass(frozen=True)
class JudgeChange:
    """What a judge said."""

    scores: Change
    comparisons: Change


@dataclass(frozen=True)
class DomainDiff:
    """What differs in one domain, or in all together.

    A query is known again by its query_id, a response by its query, model and text (and what it is beside its text),
    a score by its response, judge and dimension, a comparison by both responses, in the order shown, judge and
    dimension. Where one stands twice it counts twice.

    Attributes:
        queries: changed where query, messages, tools, source or meta is not the same.
        moved: queries of both that are in another domain or split; of a domain, in another split of it. A query that
            went to another domain is lost in the one and gained in the other, and so is all that belongs to it; of all
            domains together it is neither.
        scores: of responses; changed where the number is not the same.
        comparisons: changed where one of its two numbers is not the same.
        rationales: what judges said, of scores and comparisons.
        pairs: under the options of each.
        models: responses by the name of their model, sorted.
        judges: by name, sorted.
    """

    queries: Change
    moved: int
    responses: Turnover
    scores: Change
    comparisons: Change
    rationales: Change
    pairs: PairChange
    models: Mapping[str, Turnover]
    judges: Mapping[str, JudgeChange]

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        parts = (self.queries, self.responses, self.scores, self.comparisons, self.rationales, self.pairs)
        return not self.moved and all(part.kept == part.before == part.after for part in parts)

    @property
    def models_gained(self) -> list[str]:
        """Models that had no response before."""
        return [name for name, one in self.models.items() if not one.before and one.after]

    @property
    def models_lost(self) -> list[str]:
        """Models that have no response any more."""
        return [name for name, one in self.models.items() if one.before and not one.after]

    @property
    def judges_gained(self) -> list[str]:
        """Judges that had said nothing before."""
        return [name for name, one in self.judges.items() if not _said(one)[0] and _said(one)[1]]

    @property
    def judges_lost(self) -> list[str]:
        """Judges of whom nothing is left."""
        return [name for name, one in self.judges.items() if _said(one)[0] and not _said(one)[1]]

    def __repr__(self) -> str:
        shown = ", ".join(
            f"{name} {part.before:,} to {part.after:,} (+{part.gained:,} -{part.lost:,})"
            for name, part in (("queries", self.queries), ("responses", self.responses), ("pairs", self.pairs))
        )
        return f"DomainDiff({shown})"


@dataclass(frozen=True)
class Side:
    """One of the two stores.

    Attributes:
        version: of a release; None of another store.
        pairs: which pairs were made of it, the threshold set; None where none.
        columns: of a row, those inside others by their path, for instance responses.scores.rationale.
    """

    version: str | None
    schema_version: int
    default_threshold: float
    score_range: tuple[float, float]
    pairs: PairConfig | None
    columns: tuple[str, ...]


@dataclass(frozen=True)
class StoreDiff:
    """What `coig_p.stats.diff.compare_stores` found.

    Attributes:
        domains: of both stores, those of the later one first, in the order in which they are read.
        total: of all domains together.
    """

    before: Side
    after: Side
    domains: Mapping[str, DomainDiff]
    total: DomainDiff

    @property
    def columns_gained(self) -> list[str]:
        """Columns that rows did not have before."""
        return [name for name in self.after.columns if name not in self.before.columns]

    @property
    def columns_lost(self) -> list[str]:
        """Columns that rows have no longer."""
        return [name for name in self.before.columns if name not in self.after.columns]

    @property
    def domains_gained(self) -> list[str]:
        """Domains that had no query before."""
        return [name for name, one in self.domains.items() if not one.queries.before and one.queries.after]

    @property
    def domains_lost(self) -> list[str]:
        """Domains that have no query any more."""
        return [name for name, one in self.domains.items() if one.queries.before and not one.queries.after]

    @property
    def options(self) -> dict[str, tuple[Any, Any]]:
        """Every pair option that is not what it was, and both values; "pairs" alone where one side has no pairs."""
        before, after = (None if side.pairs is None else described(side.pairs) for side in (self.before, self.after))
        if before is None or after is None:
            return {} if before is after else {"pairs": (before is not None, after is not None)}
        usual = PairConfig()
        for said in (before, after):
            for name in ("calibrate", "exclude"):
                if name in said:
                    said[name] = f"sha256 {said[name]['sha256']}"
        both = {
            name: (before.get(name, getattr(usual, name)), after.get(name, getattr(usual, name)))
            for name in dict.fromkeys([*before, *after])
        }
        return {name: values for name, values in both.items() if values[0] != values[1]}

    @property
    def is_same(self) -> bool:
        """Whether nothing differs in what the stores hold, nor in the options of their pairs."""
        return self.total.is_same and all(one.is_same for one in self.domains.values()) and not self.options

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings, numbers and None: what a release's manifest holds as `release.changes`."""
        found: dict[str, Any] = plain(asdict(self))
        for side, of in (("before", self.before), ("after", self.after)):
            found[side]["pairs"] = None if of.pairs is None else described(of.pairs)
            del found[side]["columns"]
        for name, part in {**{"total": self.total}, **self.domains}.items():
            told = found["total"] if part is self.total else found["domains"][name]
            told["models_gained"], told["models_lost"] = part.models_gained, part.models_lost
            told["judges_gained"], told["judges_lost"] = part.judges_gained, part.judges_lost
        return {
            "before": found["before"],
            "after": found["after"],
            "options": {name: {"before": old, "after": new} for name, (old, new) in self.options.items()},
            "columns_gained": self.columns_gained,
            "columns_lost": self.columns_lost,
            "domains_gained": self.domains_gained,
            "domains_lost": self.domains_lost,
            "domains": found["domains"],
            "total": found["total"],
        }

    def to_json(self) -> str:
        """As text, the same for the same stores and options."""
        return as_json_text(self.to_dict())

    def to_pandas(self) -> pd.DataFrame:
        """A row a domain, "all" last, indexed by domain; columns are named by their path, for instance pairs_flipped.

        Models and judges are left out: they are in `domains` and `total`.
        """
        rows = {}
        for domain, part in self._every().items():
            row = plain(asdict(part))
            rows[domain] = {name: value for name, value in row.items() if name not in ("models", "judges")}
        return flat_frame(rows, "domain")

    def __repr__(self) -> str:
        total = self.total
        return (
            f"StoreDiff({len(self.domains):,} domains, queries +{total.queries.gained:,} -{total.queries.lost:,} "
            f"changed {total.queries.changed:,}, pairs +{total.pairs.gained:,} -{total.pairs.lost:,} "
            f"flipped {total.pairs.flipped:,})"
        )

    def _repr_html_(self) -> str:
        header = ["domain"]
        header += [f"queries {what}" for what in ("before", "after", "gained", "lost", "changed")]
        header += [f"pairs {what}" for what in ("before", "after", "gained", "lost", "flipped")]
        rows = [
            [
                domain,
                *(part.queries.before, part.queries.after, part.queries.gained, part.queries.lost),
                part.queries.changed,
                *(part.pairs.before, part.pairs.after, part.pairs.gained, part.pairs.lost, part.pairs.flipped),
            ]
            for domain, part in self._every().items()
        ]
        told = " to ".join(side.version or "a store" for side in (self.before, self.after))
        return html_table(f"Differences: {told}", header, rows)

    def _every(self) -> dict[str, DomainDiff]:
        return {**self.domains, "all": self.total}


def summed(kind: Callable[..., Part], before: int, after: int, gained: int, lost: int, other: int) -> Part:
    """A turnover of the kind, what was kept counted from the rest.

    Args:
        other: changed or flipped; 0 for what can do neither.
    """
    numbers = (before, after, gained, lost, before - lost - other)
    return kind(*numbers) if kind is Turnover else kind(*numbers, other)


def _said(one: JudgeChange) -> tuple[int, int]:
    return one.scores.before + one.comparisons.before, one.scores.after + one.comparisons.after
