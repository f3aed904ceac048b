"""What an export wrote, as shards.json says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from coig_p.core.lengths import LengthReport
from coig_p.core.text import counted


@dataclass(frozen=True)
class WrittenShard:
    """One file of rows.

    Attributes:
        path: relative to the export, with forward slashes.
        rows: how many it has.
    """

    path: str
    rows: int


@dataclass(frozen=True)
class Epoch:
    """What one epoch is for the ranks that share the shards.

    Attributes:
        least, most: the fewest and the most rows that a rank reads.
        max_steps: for a batch size on each rank, how many steps every rank can take.
    """

    least: int
    most: int
    max_steps: Mapping[int, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "rows_per_rank": {"least": self.least, "most": self.most},
            "max_steps": {str(batch): steps for batch, steps in self.max_steps.items()},
        }


@dataclass(frozen=True)
class Balanced:
    """What `--balance-length` made of a split.

    Attributes:
        longer, shorter, equal: before, pairs whose chosen response is longer than the rejected one, shorter, as long.
        left_out: how many of the larger of the first two groups were left out, which is then as large as the other.
    """

    longer: int
    shorter: int
    equal: int
    left_out: int
    left_out_by_domain: Mapping[str, int]


@dataclass(frozen=True)
class WrittenSplit:
    """One split of an export.

    Attributes:
        rows_by_domain: of the rows, by domain.
        epoch: None for a split that is not trained on.
        queries_without_pairs: left out; None for forms whose rows are pairs.
        queries_without_response: without one of the model of `response_of`; None where none was named.
        queries_beside: left out, since another query of the same group is there; None without `one_per`.
        queries_left_out: conversations that the rows cannot show; None where none was to be left out.
        queries_excluded: of the option `exclude`; None where there was none.
        balanced: None where lengths were not to be balanced.
        rows_repeated: pairs with the texts of another of their query, before weights, and before lengths are balanced.
        both_labels: of forms with labels, answers to a query that stand under both, in rows of two responses.
    """

    rows: int
    shards: tuple[WrittenShard, ...]
    rows_by_domain: Mapping[str, int]
    epoch: Epoch | None = None
    queries_without_pairs: int | None = None
    queries_left_out: int | None = None
    queries_excluded: int | None = None
    balanced: Balanced | None = None
    queries_without_response: int | None = None
    queries_beside: int | None = None
    rows_repeated: int = 0
    both_labels: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; what does not apply is left out."""
        found: dict[str, Any] = {"rows": self.rows, "shards": [asdict(shard) for shard in self.shards]}
        if self.epoch is not None:
            found |= self.epoch.to_dict()
        found["rows_by_domain"] = dict(self.rows_by_domain)
        if self.queries_without_pairs is not None:
            found["queries_without_pairs"] = self.queries_without_pairs
        if self.queries_without_response is not None:
            found["queries_without_response"] = self.queries_without_response
        if self.queries_beside is not None:
            found["queries_beside"] = self.queries_beside
        if self.queries_left_out is not None:
            found["queries_left_out"] = self.queries_left_out
        if self.queries_excluded is not None:
            found["queries_excluded"] = self.queries_excluded
        told = {"rows_repeated": self.rows_repeated, "both_labels": self.both_labels}
        found |= {name: count for name, count in told.items() if count}
        if self.balanced is not None:
            found["balanced"] = asdict(self.balanced)
        return found


@dataclass(frozen=True)
class Written:
    """A whole export.

    Attributes:
        tool: what wrote it, with its version.
        columns: of the rows, each with its Arrow type.
        threshold: the one in effect.
        pairs: of the other pair options those of `coig_p.pairs.config.LATER` that are in effect: of a calibration file
            its hash and method.
        margin: the threshold and these, for people.
        weights: of the domains for which one was given.
        splits: by name, the one that is trained on first.
        tokens: lengths; None where no tokenizer was given.
        response_of: the model whose responses these are; None where they are each query's best, or pairs.
        one_per: the key of meta of each of whose values there is one query; None where there are all.
        preset: whose numbers the files beside the rows have; None where none was named, which are COIG-P's.
        notes: what these rows make of the files beside them, that nobody would expect.
    """

    tool: str
    trainer: str
    columns: Mapping[str, str]
    threshold: float
    shuffle_seed: int
    world_size: int
    workers: int
    weights: Mapping[str, float]
    splits: Mapping[str, WrittenSplit]
    tokens: LengthReport | None = None
    pairs: Mapping[str, Any] = field(default_factory=dict)
    margin: str = ""
    response_of: str | None = None
    one_per: str | None = None
    preset: str | None = None
    notes: tuple[str, ...] = ()

    def alike(self) -> tuple[str, ...]:
        """What there is to say of rows with the same texts, as notes."""
        repeated, both = (
            sum(getattr(split, name) for split in self.splits.values()) for name in ("rows_repeated", "both_labels")
        )
        pairs = (
            f"{counted(repeated, 'pair')} with the texts of another pair of the same query: two of its responses are "
            "one text"
        )
        labels = (
            f"{counted(both, 'completion')} under both labels: two responses of a query are one text, chosen more "
            "often than rejected by the scores of one alone"
        )
        return (*([pairs] if repeated else []), *([labels] if both else []))

    def to_dict(self) -> dict[str, Any]:
        """What shards.json says."""
        found = {
            "tool": self.tool,
            "trainer": self.trainer,
            "columns": dict(self.columns),
            "threshold": self.threshold,
            "shuffle_seed": self.shuffle_seed,
            "world_size": self.world_size,
            "workers": self.workers,
            "weights": dict(self.weights),
            "splits": {name: split.to_dict() for name, split in self.splits.items()},
        }
        told = {"response_of": self.response_of, "one_per": self.one_per, "preset": self.preset}
        found |= {name: value for name, value in told.items() if value is not None}
        if self.notes:
            found["notes"] = list(self.notes)
        if self.pairs:
            found["pairs"] = dict(self.pairs)
        return found if self.tokens is None else found | {"tokens": self.tokens.to_dict()}
