"""Whether a threshold can be met at all: one that no pair of a store can meet is a mistake, not an empty result."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from coig_p.core.text import counted
from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.schema import RANKED_FORMATS, to_grid
from coig_p.store.manifest import LARGEST_MARGIN, Manifest

logger = logging.getLogger("coig_p")


def check_reachable(config: PairConfig, manifest: Manifest) -> PairConfig:
    """Return the config, its threshold set; say where no pair, or none of scores, can meet it.

    How far apart comparisons are is in the manifest; where an older one does not say so, it is a warning.

    Raises:
        UsageError: no two scores of the store's range are so far apart, and no comparison's; or
            comparisons alone are asked for, or scores alone, and the store has none; or so many judges.
    """
    found = config.with_defaults(manifest)
    warn_stale(config, manifest)
    assert found.threshold is not None
    if all(file.scores == 0 and file.comparisons == 0 for file in manifest.data_files()):
        return found  # nothing says which answer is better, whatever is asked for
    _check_labels(config, manifest)
    compared_at = found.threshold if found.comparison_threshold is None else found.comparison_threshold
    compared_meet = not _beyond([compared_at], _largest_compared(manifest), found)
    if config.comparison_threshold is not None and found.comparison_threshold is not None and not compared_meet:
        raise UsageError(
            f"comparison_threshold {compared_at:g}: no two scores of a comparison are so far apart, the largest margin "
            f"is {_largest_compared(manifest):g} (a verdict is a margin of 1)"
        )
    said = _unreachable([found.threshold], manifest, found)
    if said and (config.threshold is not None or found.threshold == config.comparison_threshold):
        if _may_compare(manifest, found) and compared_meet:
            logger.warning("%s", said)
        else:
            raise UsageError(said)
    return found


def _check_labels(config: PairConfig, manifest: Manifest) -> None:
    """Raise UsageError where a store has none of the labels that are asked for. An older manifest may not say: None."""
    files = manifest.data_files()
    if config.labels == "auto" or not files or any(getattr(file, config.labels) != 0 for file in files):
        return
    other = "scores" if config.labels == "comparisons" else "comparisons"
    has = counted(sum(getattr(file, other) or 0 for file in files), other.removesuffix("s"))
    instead = f'leave labels out, or say labels="{other}"'
    if config.format in RANKED_FORMATS:  # which comparisons do not give
        instead = 'use a format of pairs, as format="dpo" (--format dpo), without labels'
    raise UsageError(
        f'labels="{config.labels}" (--labels {config.labels}): this store has no {config.labels}, it has {has}: '
        f"{instead}"
    )


def warn_unreachable(thresholds: Sequence[float], manifest: Manifest, config: PairConfig) -> None:
    """Log one warning where no pair can meet some of many thresholds."""
    said = _unreachable(thresholds, manifest, config)
    if said:
        logger.warning("%s", said)


def warn_stale(config: PairConfig, manifest: Manifest) -> None:
    """Log a warning where the calibration file was fitted on another store, or on this one as it was before."""
    file = config.calibrate
    if file is not None and None not in (file.fitted_on, manifest.sha256) and file.fitted_on != manifest.sha256:
        logger.warning(
            "%s: it was fitted on another store, or on this one before it changed (the manifest's sha256 was %s, it is "
            "%s). Where other scores are in it now, fit it anew: coigp judges STORE --calibrate FILE",
            *(file.name, (file.fitted_on or "")[:12], (manifest.sha256 or "")[:12]),
        )


def warn_without_rewards(config: PairConfig, manifest: Manifest) -> None:
    """Log a warning where responses have none of the rewards that pairs must agree with, so that theirs are dropped."""
    told = manifest.rewards[config.agree_with] if config.agree_with is not None else {}
    if told.get("without"):
        why = ", ".join(f"{reason} {count:,}" for reason, count in told["without"].items())
        logger.warning(
            "by the manifest %s of %s responses have no reward %s (%s): pairs with one of them are left out, and those "
            "with a text that is another than was scored",
            *(f"{sum(told['without'].values()):,}", f"{told['responses']:,}", config.agree_with, why),
        )


def _unreachable(thresholds: Sequence[float], manifest: Manifest, config: PairConfig) -> str | None:
    low, high = manifest.score_range
    files = manifest.data_files()
    compared_alone = config.labels == "comparisons" or not any(file.scores or file.scores is None for file in files)
    compared = _largest_compared(manifest)
    largest = high - low
    if config.calibrate is not None:
        largest = config.calibrate.largest_margin(manifest.score_range, config.judges)
    if compared_alone:
        largest = 1.0 if compared is None else compared
    beyond = _beyond(thresholds, largest, config)
    if not beyond:
        return None
    named = f"threshold {', '.join(f'{value:g}' for value in beyond)}"
    default = f"the default of this store is {config.store_threshold(manifest):g}"
    more = f"more than {largest:g}" if config.strict else "so far"
    if compared_alone and compared is not None:
        return (
            f"{named}: no two scores of a comparison are {more} apart, the largest margin is {largest:g} (a verdict is "
            f"a margin of 1); {default}"
        )
    if compared_alone:
        return (
            f"{named}: a verdict is a margin of 1, so of these comparisons only those with scores {more} apart give "
            f"pairs; {default}"
        )
    also = ""
    brought = "" if config.calibrate is None else ", calibrated,"
    if _may_compare(manifest, config):
        also = " but comparisons may be;"
        if _beyond(beyond, compared, config):
            also = f" and no comparison has a margin of more than {compared:g};"
    return (
        f"{named}: no two scores from {low:g} to {high:g}{brought} are {more} apart, the largest margin is {largest:g};"
        f"{also} {default}"
    )


def _beyond(thresholds: Sequence[float], largest: float | None, config: PairConfig) -> list[float]:
    """Those that nothing meets, sorted; none where the largest margin is not known."""
    if largest is None:
        return []
    bound = to_grid(largest)
    return sorted(
        value for value in thresholds if to_grid(value) > bound or (config.strict and to_grid(value) == bound)
    )


def _largest_compared(manifest: Manifest) -> float | None:
    """The largest margin of a comparison, None where the manifest does not say."""
    told = manifest.options.get(LARGEST_MARGIN)
    return None if told is None else float(told)


def _may_compare(manifest: Manifest, config: PairConfig) -> bool:
    return config.labels != "scores" and any(file.comparisons != 0 for file in manifest.data_files())
