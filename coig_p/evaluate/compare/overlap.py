"""What overlaps with what: queries of one store that another asks, too, in the same words or nearly.

Near-duplicates are those that `coigp dedup STORE --against OTHER` finds. Two stores' queries are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coig_p.core.progress import Advance
from coig_p.dedup.clusters import Queries
from coig_p.dedup.queries import DedupConfig, find_duplicates, read_queries
from coig_p.evaluate.compare.opening import Opened


def overlaps(stores: Sequence[Opened], advance: Advance = lambda pairs: None) -> Iterator[tuple[int, int, int, int]]:
    """For every two stores in either order: their places, and how many queries of the first are shared and near.

    Args:
        advance: called with 1 for every two stores.

    Raises:
        StoreError: a shard that cannot be read.
    """
    for at, one in enumerate(stores[:-1]):
        own = read_queries(one.store)
        for beside, other in enumerate(stores[at + 1 :], at + 1):
            others = read_queries(other.store)
            yield (at, beside, *overlap(own, others))
            yield (beside, at, *overlap(others, own))
            advance(1)


def overlap(own: Queries, other: Queries) -> tuple[int, int]:
    """How many of a store's queries another has: in the same words, and as near-duplicates, those among them."""
    asked = set(zip(other.forms, other.settings, strict=True))
    shared = sum(bool(form) and (form, setting) in asked for form, setting in zip(own.forms, own.settings, strict=True))
    prefix = ":"
    while any(one.startswith(prefix) for one in own.ids):
        prefix += ":"
    both = Queries(
        ids=own.ids + [prefix + one for one in other.ids],
        domains=own.domains + other.domains,
        forms=own.forms + other.forms,
        scored=own.scored + other.scored,
        elsewhere=len(other.ids),
        settings=own.settings + other.settings,
        speakers=own.speakers + other.speakers,
    )
    found = find_duplicates(both, DedupConfig())
    names = (found.column(name).to_pylist() for name in ("query_id", "survivor"))
    near = sum(
        survivor.startswith(prefix) and not name.startswith(prefix) for name, survivor in zip(*names, strict=True)
    )
    return shared, near
