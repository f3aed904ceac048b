"""What `coigp dedup` does: near-duplicates of queries or responses, and a few of those that go, and for whom."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.screen import one_line, progress

if TYPE_CHECKING:
    import pyarrow as pa

    from coig_p.store.store import Store

_EXAMPLES = 5
_SHOWN = 60  # characters of a text
_UNIT = {"queries": ("query_id", "survivor"), "responses": ("response", "survivor_response")}


def dedup_queries(
    store: Store,
    out: Path | None,
    overwrite: bool,
    options: dict[str, Any],
    method: str,
    others: Sequence[Path],
    model: str | None,
    cache: Path | None,
    shared_by: Mapping[str, Any],
) -> dict[str, Any]:
    """What was found of near-duplicate queries, and what went where a store was written, for `--json`."""
    from coig_p.dedup.finding import find_store_duplicates
    from coig_p.dedup.queries import DedupConfig, dedup_store, read_queries, summary, with_texts
    from coig_p.store.store import Store

    config: Any
    if others and options["merge"]:
        raise click.UsageError("--merge and --against do not go together: nothing is merged into another store.")
    if method == "semantic":
        from coig_p.dedup.semantic import SemanticConfig, find_semantic_duplicates, load_embedder

        if model is None:
            raise click.UsageError(
                "--method semantic needs --model, a sentence-transformers model by name or directory."
            )
        if options.get("threshold") == 1:
            raise click.UsageError("--similarity 1 is for --method minhash: vectors of the same text differ a little.")
        config = SemanticConfig(**{name: options[name] for name in ("threshold", "seed", "merge") if name in options})
        embed = load_embedder(model, cache)
    else:
        config = DedupConfig(**options)
    stores = [Store.open(other) for other in others]
    with progress("Reading", sum(file.rows or 0 for file in store.data_files()), "queries") as advance:
        if isinstance(config, DedupConfig):
            both = find_store_duplicates(store, config, advance, stores, **shared_by)
            duplicates, told = both.duplicates, both.summary
        else:
            queries = read_queries(store, advance, stores, **shared_by)
            duplicates = find_semantic_duplicates(queries, config, embed)
            told = summary(duplicates, queries)
    found = told.to_dict()
    if out is not None:  # all are written: read once
        duplicates = with_texts(duplicates, store, stores, **shared_by)
    found["examples"] = shown(with_texts(gone(duplicates, "queries"), store, stores, **shared_by))
    if out is not None:
        with progress("Writing", found["queries"], "queries") as advance:
            written = dedup_store(
                store,
                out,
                config,
                duplicates,
                against=stores,
                overwrite=overwrite,
                advance=advance,
                **shared_by,
            )
        found["dropped"] = written.lost.to_dict()
    return found


def dedup_responses(
    store: Store, out: Path | None, overwrite: bool, options: dict[str, Any], shared_by: Mapping[str, Any]
) -> dict[str, Any]:
    """The same of responses."""
    from coig_p.dedup import responses

    config = responses.ResponseConfig(**options)
    queries = sum(file.rows or 0 for file in store.data_files())
    with progress("Comparing", queries, "queries") as advance:
        duplicates = responses.find_similar_responses(store, config, advance, **shared_by)
    found = responses.response_summary(store, duplicates).to_dict()
    found["examples"] = shown(gone(duplicates, "responses"))
    if out is not None:
        with progress("Writing", queries, "queries") as advance:
            written = responses.dedup_responses(
                store,
                out,
                config,
                duplicates,
                overwrite=overwrite,
                advance=advance,
                **shared_by,
            )
        found["dropped"] = written.lost.to_dict()
    return found


def gone(duplicates: pa.Table, unit: str, most: int = _EXAMPLES) -> pa.Table:
    """The first of those that go, of "queries" or "responses"."""
    import pyarrow.compute as pc

    own, kept = (duplicates.column(name) for name in _UNIT[unit])
    return duplicates.filter(pc.not_equal(own, kept)).slice(0, most)


def shown(examples: pa.Table) -> list[dict[str, Any]]:
    """Examples as JSON has them: the columns of duplicates.parquet, texts cut."""
    texts = ("text", "survivor_text")
    return [{name: _cut(one[name]) if name in texts else one[name] for name in one} for one in examples.to_pylist()]


def lines(found: list[dict[str, Any]], unit: str) -> Iterator[str]:
    """Two lines for each example, harmless on a terminal: what goes and its text, what stays, why, and its text."""
    for one in found:
        goes, stays = _named(one, unit)
        why = f"{one['match']}, similarity {one['similarity']:.2f}"
        if one["through"] is not None:
            why += f", by way of {one['through']}"
        yield one_line(f"  {goes}: {one['text']}")
        yield one_line(f"    stays {stays} ({why}): {one['survivor_text']}")


def _named(one: Mapping[str, Any], unit: str) -> tuple[str, str]:
    if unit == "queries":
        return one["query_id"], one["survivor"]
    return (
        f"{one['query_id']} responses[{one['response']}] of {one['model']}",
        f"responses[{one['survivor_response']}] of {one['survivor']}",
    )


def _cut(text: str | None) -> str:
    """The beginning of a text on one line."""
    from coig_p.validation.findings import redacted

    plain = " ".join(redacted(text or "")[: _SHOWN * 4].split())
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}..."
