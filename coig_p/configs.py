"""A config: which rows of which store load_dataset is asked for, by its name and keywords, and what they depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets

from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.options import flag, text
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.selection import RawSelection, Selection, option_names, select, select_raw
from coig_p.pairs.splits import SplitConfig, own_clusters
from coig_p.pairs.weights import parse_weights
from coig_p.schema import NAME, RAW_SUFFIX
from coig_p.store.locate import Location, shard_reader
from coig_p.store.manifest import Manifest
from coig_p.store.writing import sha256_of

ALL = "all"
_OPTIONS = (
    *(name for config in (PairConfig, SplitConfig, ShardConfig) for name in option_names(config)),
    *("weights", "columns", "raw", "lazy"),
)


@dataclass
class CoigPConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """One config of one store.

    Attributes:
        selection: which rows of it; none at all in a config that is only listed.
        location: the store; None in a config that is only listed.
        lazy: rows are a view (see `coig_p.views`).
    """

    selection: Selection | RawSelection = field(default_factory=RawSelection)
    location: Location | None = None
    lazy: bool = False


def config_names(manifest: Manifest) -> list[str]:
    """Every name that load_dataset takes for a store: its domains, "all", and each with -raw."""
    pairs = [*manifest.domains, ALL]
    return pairs + [name + RAW_SUFFIX for name in pairs]


def make_config(
    location: Location, name: str | None, options: dict[str, Any], token: str | bool | None = None
) -> CoigPConfig:
    """The config for a name and keywords of load_dataset.

    Raises:
        UsageError: an unknown name, option, judge or value; the message lists the valid ones.
    """
    names, asked = config_names(location.manifest), name
    if asked is None:
        raise UsageError(
            f"no config named. Valid: {', '.join(names)}. For instance load_dataset({NAME!r}, {names[0]!r})"
        )
    name = text(asked)
    if name is None or name not in names:
        raise UnknownNameError("config", asked, names)
    options = {option: value for option, value in options.items() if value is not None}
    for option in options:
        if option == "balance_length":
            raise UsageError(
                "balance_length is of exports alone, since it counts the rows of the whole: coigp export STORE --for "
                "TRAINER --balance-length"
            )
        if option not in _OPTIONS:
            raise UnknownNameError("option", option, (*_OPTIONS, "data_dir"))
    raw = flag("raw", options.pop("raw", name.endswith(RAW_SUFFIX)))
    columns, lazy = options.pop("columns", None), flag("lazy", options.pop("lazy", False))
    if lazy and raw:
        raise UsageError("raw rows are copied once, whatever is loaded: lazy=True is for pairs. Leave it out")
    if name.endswith(RAW_SUFFIX) and not raw:
        raise UsageError(f"config {name!r} is raw: leave out raw=False, or the {RAW_SUFFIX}")
    domain = name.removesuffix(RAW_SUFFIX)
    domains = location.manifest.domains if domain == ALL else (domain,)
    selection: Selection | RawSelection
    if raw:
        cut = SplitConfig(**_taken(options, SplitConfig))
        if options:
            how = f"the config {domain!r}" if name.endswith(RAW_SUFFIX) else "raw=True left out"
            raise UsageError(
                f"raw rows come as they are stored: {', '.join(options)} would have no effect on them. Leave out what "
                f"is of pairs and their order, or load pairs: {how}. Raw rows take "
                f"{', '.join((*option_names(SplitConfig), 'columns'))}"
            )
        selection = select_raw(location.manifest, domains=domains, cut=cut, columns=columns)
        return CoigPConfig(name=domain + RAW_SUFFIX, selection=selection, location=location)
    weights = options.pop("weights", {})
    if weights and domain != ALL:
        raise UsageError(f"weights= mixes domains: load the config {ALL!r}, not {name!r}")
    selection = select(
        location.manifest,
        cut=SplitConfig(**_taken(options, SplitConfig)),
        order=ShardConfig(**_taken(options, ShardConfig)),
        pairs=PairConfig(**options),
        domains=domains,
        weights=parse_weights(weights) if isinstance(weights, str) else weights,
        columns=columns,
        read=shard_reader(location, token),
    )
    return CoigPConfig(name=domain, selection=selection, location=location, lazy=lazy)


def _taken(options: dict[str, Any], config: type[SplitConfig | ShardConfig]) -> dict[str, Any]:
    return {name: options.pop(name) for name in option_names(config) if name in options}


def cache_key(config: CoigPConfig, location: Location) -> tuple[object, ...]:
    """Whatever the rows depend on, beside the code: values in effect, and the content of every file that is read."""
    files = [file for domain in config.selection.domains for file in location.manifest.data_files(domain)]
    files += location.reward_files(config.selection.rewards, files)
    content = location.fingerprints(files)
    if config.selection.cut.cuts:
        content.append((clusters_digest(config.selection.cut, location.manifest),))
    return (config.selection.identity(), content)


def clusters_digest(cut: SplitConfig, manifest: Manifest) -> str:
    """The content of the clusters by which train is cut, "" where there are none.

    Raises:
        UsageError: their file cannot be read.
    """
    if cut.clusters is None:
        own = own_clusters(manifest)
        return own.sha256 if own else ""
    try:
        return sha256_of(Path(cut.clusters))
    except OSError as error:
        raise UsageError(f"clusters={cut.clusters!r}: {error.strerror}") from None
