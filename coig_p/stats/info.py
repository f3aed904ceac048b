"""What a store holds, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs
from coig_p.store.store import Store


def store_info(path: str | Path) -> dict[str, Any]:
    """Counts of a store by domain and in total, and who answered and judged.

    Pairs are counted at the default threshold without copying any text.
    """
    store = Store.open(path)
    manifest = store.manifest
    config = PairConfig(threshold=manifest.default_threshold)
    domains = {}
    for domain in manifest.domains:
        files = store.data_files(domain)
        domains[domain] = {
            "queries": sum(file.queries or 0 for file in files),
            "responses": sum(file.responses or 0 for file in files),
            "scores": sum(file.scores or 0 for file in files),
            "comparisons": sum(file.comparisons or 0 for file in files),
            "pairs": sum(len(find_pairs(batch, config).query) for batch in store.batches(domain)),
        }
    names = ("queries", "responses", "scores", "comparisons", "pairs")
    return {
        "store": str(path),
        "schema_version": manifest.schema_version,
        "score_range": list(manifest.score_range),
        "default_threshold": manifest.default_threshold,
        "splits": manifest.splits(),
        "domains": domains,
        "total": {name: sum(counts[name] for counts in domains.values()) for name in names},
        "models": dict(manifest.models),
        "judges": dict(manifest.judges),
    }
