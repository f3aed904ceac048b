"""Any store's pairs as a benchmark: an item a query, in it every response of a pair, and the pairs as they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import hash64
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs
from coig_p.pairs.rows import Rows, find_rows
from coig_p.pairs.selection import Selection, one_split, select
from coig_p.pairs.shapes import RowForm
from coig_p.pairs.turns import LAST, TEXT, prompt_texts
from coig_p.reward.bench.form import Item, Response
from coig_p.reward.seeds import check_seed
from coig_p.schema import PAIRING_SCHEMA
from coig_p.store.store import Store

Prompt = str | tuple[Mapping[str, str], ...]
NO_PAIR = (
    "two responses of a query make one where their scores differ by --threshold or more and their texts differ. Try a "
    "lower threshold, or look with: coigp stats STORE"
)
"""What makes a pair, where there is none."""
_TOOLS = "a store of text alone"


def select_items(store: Store, config: PairConfig, domains: Sequence[str], split: str | None) -> tuple[Selection, str]:
    """Which pairs of a store are asked for, and the split that is read.

    Raises:
        UsageError: an unknown domain, split or judge, several splits and none named, or conversations with tools, for
            which a benchmark has no place.
    """
    if config.format != PairConfig.format:
        raise UsageError(f"format={config.format!r} has no effect: a benchmark has a form of its own. Leave it out")
    check_seed(config.seed)
    source = one_split(store.manifest, split)
    as_text = config.multi_turn in (TEXT, LAST)
    form = RowForm("a benchmark", as_messages=not as_text, tools=False, instead=_TOOLS, with_tools=_TOOLS)
    selection = select(store.manifest, config, domains=domains, splits=(source,), form=form, read=store.rows_of)
    return selection, source


def items_of(store: Store, selection: Selection, split: str) -> Iterator[Item]:
    """An item for each query that has a pair, in the store's order.

    Its responses stand in an order by hash, so that none is first for being better; `meta` has the margin of each pair.

    Raises:
        DataError: a query or response that is null, or more than text; names the query.
    """
    for domain in selection.domains:
        for batch in store.batches(domain, split, schema=PAIRING_SCHEMA, rewards=selection.rewards):
            rows = find_rows(batch, selection.pairs, selection.shape)
            if len(rows):
                yield from items_in(rows)


def items_in(rows: Rows) -> Iterator[Item]:
    """The items of a batch; raises as `items_of` does."""
    batch, found = rows.batch, rows.found
    assert isinstance(found, Pairs)
    queries = np.unique(found.query)
    begins = np.searchsorted(found.query, [queries, queries + 1])
    ids, domains = (batch.column(name).take(pa.array(queries)).to_pylist() for name in ("query_id", "domain"))
    beside = rows.shape.not_shown(batch)
    shown = dict(zip(queries.tolist(), _prompts(rows, queries), strict=True))
    for query, id_, domain, begin, end in zip(queries.tolist(), ids, domains, *begins.tolist(), strict=True):
        if beside[query]:
            raise DataError(
                f"query_id {id_!r}: it has tools, calls or reasoning, and the manifest counts none of them. Import the "
                "store again, or see what differs: coigp verify"
            )
        prompt = shown[query]
        if prompt is None:
            raise DataError(f"query_id {id_!r}: there is no prompt to show. Run: coigp check, then coigp clean")
        pairs = found.take(slice(begin, end))
        yield _item(rows, pairs, id_, domain, prompt)


def _item(rows: Rows, pairs: Pairs, id_: str, domain: str, prompt: Prompt) -> Item:
    responses = rows.responses
    places = np.unique(np.concatenate([pairs.chosen, pairs.rejected])).tolist()
    models, texts = (column.take(pa.array(places)).to_pylist() for column in (responses.model_column, responses.text))
    samples = responses.sample[places].tolist()
    for model, text in zip(models, texts, strict=True):
        if text is None:
            raise DataError(f"query_id {id_!r}: a response of {model!r} is null. Run: coigp check, then coigp clean")
    found = dict(zip(places, named(zip(models, samples, texts, strict=True)), strict=True))
    better = [
        (found[chosen].id, found[rejected].id)
        for chosen, rejected in zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)
    ]
    meta: dict[str, Any] = {"margins": pairs.margin.tolist()}
    return Item(id_, domain, prompt, by_hash(id_, found.values()), pairs=tuple(better), meta=meta)


def named(responses: Iterable[tuple[str | None, int, str]]) -> list[Response]:
    """Responses of one query, as model, sample and text, each with an id of its own: the model's name where it can."""
    found: list[Response] = []
    for model, sample, text in responses:
        name = (model or "unknown") + (f"#{sample}" if sample else "")
        while any(name == one.id for one in found):  # a model may be called a#1, and another answer be so
            name += "'"
        found.append(Response(name, text, model))
    return found


def by_hash(query_id: str, responses: Iterable[Response]) -> tuple[Response, ...]:
    """Responses in an order in which none is first for being better."""
    return tuple(sorted(responses, key=lambda one: hash64(f"response {len(query_id)} {query_id} {one.id}")))


def _prompts(rows: Rows, queries: Any) -> list[Prompt | None]:
    batch = rows.batch.take(pa.array(queries))
    texts: list[str | None] = prompt_texts(batch, rows.shape).to_pylist()
    if not rows.shape.as_messages:
        return list(texts)
    told = batch.column("messages").to_pylist()
    if pc.count(batch.column("messages")).as_py() == 0:
        return list(texts)
    return [
        text if turns is None else tuple({"role": turn["role"], "content": turn["content"]} for turn in turns)
        for text, turns in zip(texts, told, strict=True)
    ]
