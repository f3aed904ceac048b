"""Whether a threshold can be met at all: one that no pair of a store can meet is a mistake, not an empty result."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.schema import to_grid
from coig_p.store.manifest import Manifest

logger = logging.getLogger("coig_p")


def check_reachable(config: PairConfig, manifest: Manifest) -> PairConfig:
    """Return the config, its threshold set; say where no pair, or none of scores, can meet it.

    Comparisons have no range of their own: where there may be any, or where they are all there is, it is a warning.

    Raises:
        UsageError: no two scores of the store's range are so far apart, and there is nothing else.
    """
    found = config.with_default_threshold(manifest.default_threshold)
    assert found.threshold is not None
    said = _unreachable([found.threshold], manifest, found)
    if said and config.threshold is not None:
        if _may_compare(manifest, found):
            logger.warning("%s", said)
        else:
            raise UsageError(said)
    return found


def warn_unreachable(thresholds: Sequence[float], manifest: Manifest, config: PairConfig) -> None:
    """Log one warning where no pair can meet some of many thresholds."""
    said = _unreachable(thresholds, manifest, config)
    if said:
        logger.warning("%s", said)


def _unreachable(thresholds: Sequence[float], manifest: Manifest, config: PairConfig) -> str | None:
    low, high = manifest.score_range
    files = manifest.data_files()
    compared_alone = config.labels == "comparisons" or not any(file.scores or file.scores is None for file in files)
    largest = 1.0 if compared_alone else high - low
    beyond = sorted(
        value
        for value in thresholds
        if to_grid(value) > to_grid(largest) or (config.strict and to_grid(value) == to_grid(largest))
    )
    if not beyond:
        return None
    named = f"threshold {', '.join(f'{value:g}' for value in beyond)}"
    default = f"the default of this store is {manifest.default_threshold:g}"
    more = f"more than {largest:g}" if config.strict else "so far"
    if compared_alone:
        return (
            f"{named}: a verdict is a margin of 1, so of these comparisons only those with scores {more} apart give "
            f"pairs; {default}"
        )
    also = " but comparisons may be;" if _may_compare(manifest, config) else ""
    return (
        f"{named}: no two scores from {low:g} to {high:g} are {more} apart, the largest margin is {largest:g};"
        f"{also} {default}"
    )


def _may_compare(manifest: Manifest, config: PairConfig) -> bool:
    return config.labels != "scores" and any(file.comparisons != 0 for file in manifest.data_files())
