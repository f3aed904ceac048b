"""Ways to come by a dataset of the pairs of one store: ours and the alternatives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

OURS, ITERTOOLS = "coig_p", "itertools.combinations in a generator"
STOCK, SNAPPY = "stock Parquet of the same pairs, zstd", "the same, as to_parquet writes it (snappy)"
POLARS, DUCKDB = "Polars self-join, held in memory", "DuckDB self-join, held in memory"
COLUMNS = ("prompt", "chosen", "rejected", "query_id", "domain", "chosen_model", "rejected_model")


def load(way: str, threshold: int, work: Path, cache: Path, *, streaming: bool = False) -> Any:
    """The pairs of `work`/store; for STOCK and SNAPPY, those written beforehand (see `stock_folder`)."""
    import datasets

    import coig_p  # noqa: F401  registers "coig-p"

    store, options = str(work / "store"), {"split": "train", "cache_dir": str(cache), "streaming": streaming}
    if way == OURS:
        return datasets.load_dataset("coig-p", "math", data_dir=store, threshold=threshold, **options)
    if way in (STOCK, SNAPPY):
        files = sorted(map(str, stock_folder(way, threshold, work).glob("*.parquet")))
        return datasets.load_dataset("parquet", data_files=files, **options)
    if way == ITERTOOLS:
        arguments = {"store": store, "threshold": threshold}
        return datasets.Dataset.from_generator(by_itertools, gen_kwargs=arguments, cache_dir=str(cache))
    return datasets.Dataset((by_polars if way == POLARS else by_duckdb)(store, threshold))


def stock_folder(way: str, threshold: int, work: Path) -> Path:
    """Where the finished pairs lie: of STOCK as `coigp pairs` writes them, of SNAPPY as `Dataset.to_parquet` does."""
    return work / f"pairs-{threshold}-{'zstd' if way == STOCK else 'snappy'}"


def by_itertools(store: str, threshold: float) -> Iterator[dict[str, Any]]:
    """The obvious way: Python objects and float means."""
    import pyarrow.parquet as pq

    for path in sorted(Path(store).glob("data/math/*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=256):
            for row in batch.to_pylist():
                scored = []
                for response in row["responses"]:
                    scores = [score["score"] for score in response["scores"] if score["judge"] != response["model"]]
                    if scores:
                        scored.append((response, sum(scores) / len(scores)))
                for (a, a_score), (b, b_score) in combinations(scored, 2):
                    if abs(a_score - b_score) >= threshold and a["text"] != b["text"]:
                        won, lost = ((a, a_score), (b, b_score)) if a_score > b_score else ((b, b_score), (a, a_score))
                        yield {
                            "prompt": row["query"],
                            "chosen": won[0]["text"],
                            "rejected": lost[0]["text"],
                            "query_id": row["query_id"],
                            "domain": row["domain"],
                            "chosen_model": won[0]["model"],
                            "rejected_model": lost[0]["model"],
                            "chosen_score": won[1],
                            "rejected_score": lost[1],
                            "margin": won[1] - lost[1],
                        }


def by_polars(store: str, threshold: float) -> Any:
    import polars as pl

    rows = pl.scan_parquet(f"{store}/data/math/*.parquet")
    responses = rows.select("query_id", "responses").explode("responses").unnest("responses")
    scores = responses.select("query_id", "model", "scores").explode("scores").unnest("scores")
    means = scores.filter(pl.col("judge") != pl.col("model")).group_by("query_id", "model").agg(pl.col("score").mean())
    scored = responses.select("query_id", "model", "text").join(means, on=["query_id", "model"])
    pairs = (
        scored.join(scored, on="query_id", suffix="_lost")
        .filter(pl.col("score") - pl.col("score_lost") >= threshold, pl.col("text") != pl.col("text_lost"))
        .join(rows.select("query_id", "domain", "query"), on="query_id")
        .select(
            prompt="query",
            chosen="text",
            rejected="text_lost",
            query_id="query_id",
            domain="domain",
            chosen_model="model",
            rejected_model="model_lost",
            chosen_score="score",
            rejected_score="score_lost",
            margin=pl.col("score") - pl.col("score_lost"),
        )
    )
    return pairs.collect(engine="streaming").to_arrow()


def by_duckdb(store: str, threshold: float) -> Any:
    import duckdb

    query = f"""
        with rows as (select query_id, domain, query, responses from read_parquet('{store}/data/math/*.parquet')),
        answers as (select query_id, unnest(responses, recursive := false) as answer from rows),
        scored as (
            select query_id, answer.model as model, answer.text as text,
                list_filter(answer.scores, lambda given: given.judge <> answer.model) as given
            from answers),
        meant as (select query_id, model, text, list_avg(list_transform(given, lambda s: s.score)) as score from scored)
        select rows.query as prompt, a.text as chosen, b.text as rejected, rows.query_id, rows.domain,
            a.model as chosen_model, b.model as rejected_model, a.score as chosen_score, b.score as rejected_score,
            a.score - b.score as margin
        from meant a join meant b using (query_id) join rows using (query_id)
        where a.score - b.score >= {threshold} and a.text <> b.text"""
    return duckdb.sql(query).to_arrow_table()
