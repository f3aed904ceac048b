"""What kind of judgements a store holds, told from the judgements themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.schema import RAW_SCHEMA, without
from coig_p.stats.said import PERSON
from coig_p.store.reading import part_of
from coig_p.store.store import Store

Kind = Literal["scores", "labels", "verdicts", "scored-comparisons"]
KINDS: tuple[Kind, ...] = ("scores", "labels", "verdicts", "scored-comparisons")
_READ = without(
    part_of(RAW_SCHEMA, "query_id", "responses", "comparisons"),
    {"model", "sample", "text", "extra", "rationale", "dimension"},
)
_VERDICTS = ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5))
_LABELS = (0.0, 1.0)


@dataclass(frozen=True)
class Annotated:
    """What one judge gave in one way.

    Attributes:
        judge: its name; "" where it has none.
        kind: scores of single responses; labels, which are scores of 0 and 1 alone where the store's range is from 0 to
            1 (KTO's good and bad); verdicts, which are comparisons that say who won, or a tie; scored comparisons.
        person: whether it is a person: its name begins with "human:".
        judgements: how many.
    """

    judge: str
    kind: Kind
    person: bool
    judgements: int


def annotation_of(store: Store) -> tuple[Annotated, ...]:
    """What every judge gave, by kind and then by name.

    Raises:
        StoreError: a shard that cannot be read.
    """
    scores, comparisons = Counter[str](), Counter[str]()
    graded, scored = defaultdict[str, bool](bool), defaultdict[str, bool](bool)
    for batch in store.batches(schema=_READ):
        given = pc.list_flatten(pc.struct_field(batch.column("responses").flatten(), "scores"))
        plain = pc.is_in(given.field("score"), pa.array(_LABELS))
        _count(given.field("judge"), plain, scores, graded)
        compared = batch.column("comparisons").flatten()
        first, second = compared.field("first_score"), compared.field("second_score")
        won = pa.array([False] * len(compared), pa.bool_())
        for one, other in _VERDICTS:
            won = pc.or_(won, pc.fill_null(pc.and_(pc.equal(first, one), pc.equal(second, other)), False))
        _count(compared.field("judge"), won, comparisons, scored)
    labels = store.manifest.score_range == (0, 1)
    found = [
        Annotated(name, "labels" if labels and not graded[name] else "scores", name.startswith(PERSON), number)
        for name, number in scores.items()
    ]
    found += [
        Annotated(name, "scored-comparisons" if scored[name] else "verdicts", name.startswith(PERSON), number)
        for name, number in comparisons.items()
    ]
    return tuple(sorted(found, key=lambda one: (KINDS.index(one.kind), one.judge)))


def _count(judges: pa.StringArray, plain: pa.BooleanArray, numbers: Counter[str], other: dict[str, bool]) -> None:
    """Add up judgements by judge, and note whose are other than plain."""
    table = pa.table({"judge": pc.fill_null(judges, ""), "plain": pc.fill_null(plain, False)})
    for row in table.group_by("judge").aggregate([("plain", "count"), ("plain", "min")]).to_pylist():
        numbers[row["judge"]] += row["plain_count"]
        other[row["judge"]] |= not row["plain_min"]
