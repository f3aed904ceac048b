"""What a store holds, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coig_p.core.html import html_table
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs
from coig_p.schema import PAIRING_SCHEMA
from coig_p.stats.results import flat_frame, numbers, plain
from coig_p.store.store import Store

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class InfoCounts:
    """How many there are; pairs at the store's default threshold.

    Attributes:
        conversations: queries that are more than one user's text: turns before the response, tools or reasoning.
        with_tools: queries with tool definitions, or a turn or an answer with more in it than text.
    """

    queries: int
    responses: int
    scores: int
    comparisons: int
    pairs: int
    conversations: int = 0
    with_tools: int = 0


@dataclass(frozen=True)
class StoreInfo:
    """What `store_info` found.

    Attributes:
        store: its directory.
        default_threshold: of pairs where nobody says another.
        models, judges: how many responses, and how many judgements, each gave.
        rewards: by name, how many responses have a reward of a model.
        comparison_threshold: the same of pairs by comparisons, where they have one of their own beside that of scores.
        both_orders: whether of comparisons those alone count that judges made in both orders.
    """

    store: str
    schema_version: int
    score_range: tuple[float, float]
    default_threshold: float
    splits: tuple[str, ...]
    domains: Mapping[str, InfoCounts]
    total: InfoCounts
    models: Mapping[str, int]
    judges: Mapping[str, int]
    comparison_threshold: float | None = None
    rewards: Mapping[str, int] = field(default_factory=dict)
    both_orders: bool = False

    def __repr__(self) -> str:
        return f"StoreInfo({self.store!r}, {len(self.domains):,} domains, {numbers(self.total)})"

    def to_dict(self) -> dict[str, Any]:
        """As dicts, lists, strings and numbers."""
        found: dict[str, Any] = plain(asdict(self))
        return found

    def to_pandas(self) -> pd.DataFrame:
        """A row a domain, "all" last, indexed by domain; a column a count."""
        rows = {domain: asdict(counts) for domain, counts in {**self.domains, "all": self.total}.items()}
        return flat_frame(rows, "domain")

    def _repr_html_(self) -> str:
        every = {**self.domains, "all": self.total}
        names = self.shown()
        rows = [[domain, *(getattr(counts, name) for name in names)] for domain, counts in every.items()]
        title = f"{self.store}: pairs at threshold {self.default_threshold:g}"
        if self.comparison_threshold is not None:
            title += f", by comparisons at {self.comparison_threshold:g}"
        if self.both_orders:
            title += ", of judges that saw both orders"
        return html_table(title, ["domain", *names], rows)

    def shown(self) -> list[str]:
        """The counts that a table shows: of conversations and tools only where there are any."""
        more = ("conversations", "with_tools")
        return [one.name for one in fields(InfoCounts) if one.name not in more or getattr(self.total, one.name)]


def store_info(store: Store | str | Path) -> StoreInfo:
    """Counts of a store by domain and in total, and who answered and judged.

    Pairs are counted at the default threshold without copying any text.

    Raises:
        StoreError: not a store, or a shard that cannot be read.
    """
    named = str(store.path if isinstance(store, Store) else store)
    store = store if isinstance(store, Store) else Store.open(store)
    manifest = store.manifest
    config = PairConfig().with_defaults(manifest)
    domains = {}
    for domain in manifest.domains:
        files = store.data_files(domain)
        domains[domain] = InfoCounts(
            queries=sum(file.queries or 0 for file in files),
            responses=sum(file.responses or 0 for file in files),
            scores=sum(file.scores or 0 for file in files),
            comparisons=sum(file.comparisons or 0 for file in files),
            pairs=sum(len(find_pairs(batch, config).query) for batch in store.batches(domain, schema=PAIRING_SCHEMA)),
            conversations=manifest.conversations(domain),
            with_tools=manifest.with_tools(domain),
        )
    return StoreInfo(
        store=named,
        schema_version=manifest.schema_version,
        score_range=manifest.score_range,
        default_threshold=PairConfig().store_threshold(manifest),
        comparison_threshold=PairConfig().apart(manifest),
        splits=tuple(manifest.splits()),
        domains=domains,
        total=InfoCounts(
            **{one.name: sum(getattr(counts, one.name) for counts in domains.values()) for one in fields(InfoCounts)}
        ),
        models=dict(manifest.models),
        judges=dict(manifest.judges),
        rewards={name: told["scored"] for name, told in manifest.rewards.items()},
        both_orders=manifest.both_orders,
    )
