"""The floor of reward models on 10,000 pairs, beside scipy's L-BFGS-B on the differences of the pairs.

    python benchmarks/floor.py [--responses 5] [--characters 800]

Texts are characters at random, by which nothing can be learnt: what is measured is time and memory. Training is the
whole call: reading, near-duplicates, features, sixteen fits, writing. One fit is compared: the same features, pairs and
penalty. Seconds are of the processor, on however many threads; peaks are of resident memory.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from coig_p.ingest.config import ImportConfig
from coig_p.ingest.files import import_files
from coig_p.reward.ngram import Examples, fit
from coig_p.reward.ngram_training import NgramConfig, train_ngram
from coig_p.store.store import Store

PAIRS = 10_000


def made(folder: Path, responses: int, characters: int) -> Store:
    drawn = random.Random(0)
    hanzi = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]
    weights = [1 / (rank + 1) for rank in range(len(hanzi))]
    rows = []
    for at in range(math.ceil(PAIRS / math.comb(responses, 2))):
        scores = drawn.sample(range(1, 11), responses)
        answers = [
            {
                "model": f"m{model}",
                "text": "".join(drawn.choices(hanzi, weights, k=characters)),
                "scores": [{"judge": "j", "score": score}],
            }
            for model, score in enumerate(scores)
        ]
        query = "".join(drawn.choices(hanzi, k=20))
        rows.append({"query_id": f"q{at}", "domain": "chat", "query": query, "responses": answers})
    (folder / "rows.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return import_files([folder / "rows.jsonl"], folder / "store", ImportConfig(default_threshold=1))[0]


def peak() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--responses", type=int, default=5)
    parser.add_argument("--characters", type=int, default=800)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = made(Path(folder), options.responses, options.characters)
        begun, wall = time.process_time(), time.perf_counter()
        trained = train_ngram(store, Path(folder) / "floor")
        data = trained.training["data"]
        print(f"{data['pairs']:,} pairs of {data['queries']:,} queries, {options.characters} characters a response")
        took = f"{time.process_time() - begun:.1f} s of the processor, {time.perf_counter() - wall:.1f} s by the clock"
        print(f"training, held-out numbers and all   {took}, peak {peak()}")
        rows = [row for batch in store.batches() for row in batch.to_pylist()]
    texts = [one["text"] for row in rows for one in row["responses"]]
    scores = np.array([one["scores"][0]["score"] for row in rows for one in row["responses"]])
    query = np.repeat(np.arange(len(rows)), options.responses)
    low, high = np.triu_indices(options.responses, 1)
    first = np.arange(len(rows))[:, None] * options.responses
    low, high = (first + low).ravel(), (first + high).ravel()
    chosen, rejected = np.where(scores[low] > scores[high], (low, high), (high, low))
    assert (query[chosen] == query[rejected]).all()
    examples, config = Examples.of(texts, [""] * len(texts)), NgramConfig()
    begun, wall = time.process_time(), time.perf_counter()
    fitted, _ = fit(examples, chosen, rejected, penalty=config.penalty, ngram_scale=config.ngram_scale)
    ours, waited = time.process_time() - begun, time.perf_counter() - wall
    print(f"one fit, ours                        {ours:.1f} s of the processor, {waited:.1f} s by the clock")

    from scipy.optimize import minimize
    from scipy.sparse import csr_matrix, hstack

    begun, wall = time.process_time(), time.perf_counter()
    spread = np.where(examples.cheap.std(0) < 1e-9, 1, examples.cheap.std(0))
    columns = csr_matrix(hstack([csr_matrix(examples.cheap / spread), examples.grams * config.ngram_scale]))
    difference = csr_matrix(columns[chosen] - columns[rejected])

    def loss(weights: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        margin = difference @ weights
        value = np.logaddexp(0, -margin).sum() + config.penalty / 2 * (weights @ weights)
        slope = config.penalty * weights - difference.T @ (1 / (1 + np.exp(margin)))
        return value / len(chosen), slope / len(chosen)

    start = np.zeros(columns.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-4}).x
    theirs, waited = time.process_time() - begun, time.perf_counter() - wall
    took = f"{theirs:.1f} s of the processor, {waited:.1f} s by the clock"
    print(f"one fit, scipy's, on differences     {took}, peak {peak()}")
    rewards, other = fitted.rewards(examples), columns @ found
    agree = np.corrcoef(rewards[chosen] - rewards[rejected], other[chosen] - other[rejected])[0, 1]
    print(f"their margins and ours correlate     {agree:.5f}")


if __name__ == "__main__":
    main()
