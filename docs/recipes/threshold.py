"""Which threshold? An experiment (COIG-P, figure 2): pairs at each threshold, and how often people agree after it.

    python docs/recipes/threshold.py                                        # on stores made on the spot
    python docs/recipes/threshold.py --store STORE --human HUMAN --out threshold

HUMAN is a store of people's labels; no query of STORE that is, or nearly is, one of its queries is trained on. For
each seed some queries of STORE are drawn. At each threshold their pairs are written twice, for any trainer: all of
them (equal epochs), and as many as the highest threshold leaves (equal pairs). A reward model for the CPU,
`builtin:ngram`, is fitted to each, and asked of the people's pairs. An optimum is named only of three seeds or more,
and only where one threshold is better than every other beyond the interval of their difference.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coig_p import PairConfig, Store
from coig_p.core.arrays import hash64
from coig_p.dedup.queries import DedupConfig, find_duplicates, read_queries
from coig_p.reward.bench.form import Item, pairs_of
from coig_p.reward.bench.from_store import items_of, select_items
from coig_p.reward.made import Accuracy
from coig_p.reward.ngram import Examples, fit
from coig_p.reward.ngram_training import NgramConfig
from coig_p.stats.intervals import mean, moments_of_values

EPOCHS, PAIRS = "equal epochs", "equal pairs"
ENOUGH_SEEDS = 3


def items_at(store: Store, threshold: float | None) -> dict[str, Item]:
    """Queries with a pair, by query_id, in the order of their ids."""
    selection, split = select_items(store, PairConfig(threshold=threshold), (), None)
    return {item.id: item for item in sorted(items_of(store, selection, split), key=lambda item: item.id)}


def in_both(store: Store, human: Store) -> set[str]:
    """Queries of a store that are, or nearly are, queries of the other."""
    found = find_duplicates(read_queries(store, against=[human]), DedupConfig())
    own = {name for batch in store.batches() for name in batch.column("query_id").to_pylist()}
    pairs = zip(*(found.column(name).to_pylist() for name in ("query_id", "survivor")), strict=True)
    return {one for one, kept in pairs if one in own and kept not in own}


class Table:
    """Responses of some queries, each once, and where each stands."""

    def __init__(self, items: Sequence[Item]) -> None:
        texts: list[str] = []
        prompts: list[str] = []
        self.place: dict[tuple[str, str], int] = {}
        for item in items:
            for one in item.responses:
                self.place[item.id, one.id] = len(texts)
                texts.append(one.text)
                prompts.append("\n".join(turn["content"] for turn in item.messages))
        self.examples = Examples.of(texts, prompts)

    def pairs(self, items: Sequence[Item]) -> np.ndarray[Any, Any]:
        """(P, 3): a number for each pair's query, and the places of its chosen and its rejected response."""
        found = [
            (at, self.place[item.id, item.responses[better].id], self.place[item.id, item.responses[worse].id])
            for at, item in enumerate(items)
            for better, worse in pairs_of(item)
        ]
        return np.array(found, np.int64).reshape(-1, 3)


def rows_of(items: Sequence[Item]) -> list[dict[str, Any]]:
    """Each pair as trainers read it."""
    return [
        {
            "prompt": item.messages,
            "chosen": [{"role": "assistant", "content": item.responses[better].text}],
            "rejected": [{"role": "assistant", "content": item.responses[worse].text}],
            "query_id": item.id,
        }
        for item in items
        for better, worse in pairs_of(item)
    ]


def fewest_of(pairs: np.ndarray[Any, Any], rows: list[dict[str, Any]], most: int, seed: int) -> list[int]:
    """Places of so many pairs, drawn by hash, in their order."""
    keys = [hash64(f"{seed} {row['query_id']} {row['chosen']} {row['rejected']}") for row in rows]
    return sorted(sorted(range(len(pairs)), key=keys.__getitem__)[:most])


def experiment(
    store: Store, human: Store, out: Path, thresholds: Sequence[float], seeds: Sequence[int], queries: int
) -> dict[str, Any]:
    """Train at each threshold and seed; write the exports and result.json.

    Returns:
        What result.json says.
    """
    barred = in_both(store, human)
    at = {threshold: items_at(store, threshold) for threshold in thresholds}
    ids = sorted({one for items in at.values() for one in items} - barred)
    asked = list(items_at(human, None).values())
    test = Table(asked)
    judged = test.pairs(asked)
    right: dict[tuple[str, float], list[np.ndarray[Any, Any]]] = {}
    number: dict[tuple[str, float], list[int]] = {}
    config = NgramConfig()
    for seed in seeds:
        drawn = set(sorted(ids, key=lambda one: hash64(f"{seed} {one}"))[:queries])
        some = {threshold: [item for one, item in items.items() if one in drawn] for threshold, items in at.items()}
        fewest = min(sum(len(pairs_of(item)) for item in items) for items in some.values())
        if not fewest:
            raise SystemExit("the highest threshold leaves no pair: leave it out")
        for threshold, items in some.items():
            table, rows = Table(items), rows_of(items)
            pairs = table.pairs(items)
            for scheme in (EPOCHS, PAIRS):
                kept = fewest_of(pairs, rows, fewest if scheme == PAIRS else len(pairs), seed)
                write(out / scheme.replace(" ", "-") / f"threshold-{threshold:g}" / f"seed-{seed}.jsonl", rows, kept)
                weights, _ = fit(
                    table.examples, *pairs[kept][:, 1:].T, penalty=config.penalty, ngram_scale=config.ngram_scale
                )
                rewards = weights.rewards(test.examples)
                right.setdefault((scheme, threshold), []).append(rewards[judged[:, 1]] - rewards[judged[:, 2]])
                number.setdefault((scheme, threshold), []).append(len(kept))
    told: dict[str, Any] = {"thresholds": list(thresholds), "seeds": list(seeds), "queries": min(queries, len(ids))}
    told |= {"barred": len(barred), "human": {"pairs": len(judged), "queries": len(asked)}}
    for scheme in (EPOCHS, PAIRS):
        told[scheme] = {
            f"{threshold:g}": {
                "pairs": number[scheme, threshold],
                "seeds": [Accuracy.of(judged[:, 0], one).to_dict() for one in right[scheme, threshold]],
                "accuracy": float(np.mean([(one > 0).mean() for one in right[scheme, threshold]])),
            }
            for threshold in thresholds
        }
        told[scheme]["optimum"] = optimum(
            {threshold: right[scheme, threshold] for threshold in thresholds}, judged[:, 0], len(seeds)
        )
    (out / "result.json").write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return told


def write(path: Path, rows: list[dict[str, Any]], kept: Sequence[int]) -> None:
    """Rows as JSON Lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(rows[at], ensure_ascii=False) + "\n" for at in kept]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def optimum(right: dict[float, list[np.ndarray[Any, Any]]], query: np.ndarray[Any, Any], seeds: int) -> float | None:
    """The threshold that is better than each other beyond the interval of their difference; None where none is.

    A difference is of the share of seeds that get a pair right, by query. The best of several looks better than it is,
    so the interval is at least asked to exclude 0 against every other.
    """
    if seeds < ENOUGH_SEEDS or len(right) < 2:
        return None
    hits = {threshold: sum((one > 0).astype(np.int64) for one in found) for threshold, found in right.items()}
    best = max(hits, key=lambda threshold: int(hits[threshold].sum()))
    size = np.bincount(query)
    for threshold, other in hits.items():
        if threshold == best:
            continue
        more = np.rint(np.bincount(query, hits[best] - other)).astype(np.int64)
        low = mean(moments_of_values(more, size, seeds)).low
        if low is None or low <= 0:
            return None
    return best


def show(told: dict[str, Any]) -> None:
    """A table for each of the two ways to compare."""
    human = told["human"]
    print(
        f"{told['queries']:,} queries for each of {len(told['seeds'])} seeds; {told['barred']:,} barred, since people "
        f"judged them. Accuracy on {human['pairs']:,} pairs of {human['queries']:,} queries that people judged"
    )
    for scheme in (EPOCHS, PAIRS):
        print(f"\n{scheme:<14} {'pairs':>8}  {'accuracy':>8}  by seed, with 95% intervals")
        for threshold in told["thresholds"]:
            one = told[scheme][f"{threshold:g}"]
            each = "  ".join(f"{seed['accuracy']:.1%} ({seed['low']:.1%}–{seed['high']:.1%})" for seed in one["seeds"])
            print(f"threshold {threshold:<4g} {int(np.mean(one['pairs'])):>8,}  {one['accuracy']:>8.1%}  {each}")
        best = told[scheme]["optimum"]
        few = len(told["seeds"]) < ENOUGH_SEEDS
        print(
            f"the best threshold is {best:g}"
            if best is not None
            else f"no optimum: {ENOUGH_SEEDS} seeds are needed to name one"
            if few
            else "no optimum: the best one does not differ from all others by more than their interval"
        )


def made(folder: Path, judge_noise: float, seed: int, queries: int, name: str) -> Store:
    """A store of answers whose endings say how good they are, judged with noise: to see the script run."""
    from coig_p.ingest.config import ImportConfig
    from coig_p.ingest.files import import_files

    drawn = random.Random(seed)
    words = [chr(code) for code in range(0x4E00, 0x5200, 3)]
    endings = ["不知道", "也许吧", "大概如此", "应当如此", "正是如此"]
    rows = []
    for at in range(queries):
        responses = []
        for model in range(4):
            good = drawn.randrange(5)
            text = "".join(drawn.choices(words, k=drawn.randint(8, 40))) + endings[good] + "。"
            score = min(10.0, max(1.0, round(2 * (2 + 1.5 * good + drawn.gauss(0, judge_noise))) / 2))
            responses.append({"model": f"m{model}", "text": text, "scores": [{"judge": "j", "score": score}]})
        query = "".join(drawn.choices(words, k=24)) + "？"
        rows.append({"query_id": f"{name}-{at}", "domain": "chat", "query": query, "responses": responses})
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    import_files([path], folder / name, ImportConfig())
    return Store.open(folder / name)


def numbers(text: str) -> list[float]:
    """Numbers with commas between."""
    return [float(one) for one in text.split(",")]


def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="scored by judges; default: one made on the spot")
    parser.add_argument("--human", help="people's labels; default: one made on the spot")
    parser.add_argument("--out", type=Path, default=Path("threshold"), help="exports and result.json")
    parser.add_argument("--thresholds", type=numbers, default=numbers("0,1,2,3,4"))
    parser.add_argument("--seeds", type=numbers, default=numbers("0,1,2"))
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    if (options.store is None) != (options.human is None):
        parser.error("give both --store and --human, or neither")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty: choose another place")
    with tempfile.TemporaryDirectory() as folder:
        if options.store is None:
            store = made(Path(folder), 3.0, 0, 1200, "store")
            human = made(Path(folder), 0.5, 1, 300, "human")
        else:
            store, human = Store.open(options.store), Store.open(options.human)
        seeds = [int(seed) for seed in options.seeds]
        show(experiment(store, human, options.out, sorted(options.thresholds), seeds, options.queries))


if __name__ == "__main__":
    main()
