"""How an import goes, and what scale its scores are on where nobody says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from coig_p.errors import UnknownNameError, UsageError
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.readers import check_encoding
from coig_p.pairs.config import check_threshold
from coig_p.schema import SCORE_GRID, check_domain, check_split, on_grid

SCORE_RANGE = (1.0, 10.0)
DEFAULT_THRESHOLD = 2.0  # on that range: COIG-P, section 3.3
COMPARISONS_THRESHOLD = 1.0  # "A wins" is 1 and 0


@dataclass(frozen=True)
class ImportConfig:
    """How upstream rows become a store.

    Attributes:
        domain: the domain of every row; otherwise each row names its own.
        domain_map: new names for the rows' own domains.
        split: the split of every row.
        score_range: lowest and highest score that a judge may give. Default: what the forms of the rows
            say, 0 to 1 for labels, otherwise 1 to 10.
        default_threshold: the store's. Default: 1 where it holds comparisons alone or labels, otherwise
            what `scaled_threshold` says of the score range, which is 2 for 1 to 10.
        comparison_threshold: the store's for comparisons. Default: `default_threshold` where that is given and the
            store holds comparisons alone; otherwise 1 where all of them are verdicts, and 0 where both sides were
            scored.
        both_orders: of the store: a judge counts for two responses only where it saw them in both orders.
        on_error: "fail" writes nothing if anything is wrong; "skip" leaves out the smallest
            unit that is wrong and lists it in rejects.jsonl.
        license: of the sources, for the manifest.
        form: how rows are shaped.
        default_domain: the domain of rows that name none.
        encoding: of text files.
        judges: name of an input file -> who judged in it, where its rows do not say.
    """

    domain: str | None = None
    domain_map: Mapping[str, str] = field(default_factory=dict)
    split: str = "train"
    score_range: tuple[float, float] | None = None
    default_threshold: float | None = None
    on_error: str = "fail"
    license: str | None = None
    form: FormConfig = field(default_factory=FormConfig)
    default_domain: str | None = None
    encoding: str = "utf-8"
    judges: Mapping[str, str] = field(default_factory=dict)
    comparison_threshold: float | None = None
    both_orders: bool = False

    def __post_init__(self) -> None:
        if self.domain is not None:
            check_domain(self.domain)
            if self.domain_map:
                raise UsageError("give a domain for all rows or a domain map, not both")
        for new in (*self.domain_map.values(), *filter(None, [self.default_domain])):
            check_domain(new)
        check_encoding(self.encoding)
        _check_names(self.form)
        check_split(self.split)
        if self.score_range is not None:
            check_score_range(self.score_range)
        if self.default_threshold is not None:
            check_default_threshold(self.default_threshold, self.score_range or SCORE_RANGE)  # no form's is wider
        if self.comparison_threshold is not None:
            check_threshold(self.comparison_threshold, "comparison_threshold")
        if self.on_error not in ("fail", "skip"):
            raise UnknownNameError("on_error", self.on_error, ("fail", "skip"))


def _check_names(form: FormConfig) -> None:
    """Raise UsageError where a column is to be read, or kept, and to be left out."""
    read = {**{name: f"map {ours}" for ours, name in form.fields.items()}}
    read |= {name: f"score-column {judge}" for judge, name in form.score_columns.items()}
    for name in form.drop:
        if name in read:
            raise UsageError(f"--{read[name]}={name} and --drop {name}: a column is read or left out, not both")
        if name in form.keep:
            raise UsageError(f"--keep {name} and --drop {name}: a column is kept or left out, not both")


def check_score_range(score_range: tuple[float, float]) -> tuple[float, float]:
    """Return a range of scores; raise UsageError where it is none."""
    low, high = score_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high and on_grid(low) and on_grid(high)):
        raise UsageError(f"score range {low:g} {high:g}: give a lower and a higher number with at most 4 decimals")
    return score_range


def check_default_threshold(threshold: float, score_range: tuple[float, float]) -> float:
    """Return a default threshold; raise UsageError where no two scores of the range are so far apart."""
    low, high = score_range
    if check_threshold(threshold) > high - low:
        raise UsageError(f"default threshold {threshold:g}: no two scores from {low:g} to {high:g} are so far apart")
    return threshold


def scaled_threshold(score_range: tuple[float, float]) -> float:
    """The default threshold on a range of scores: 2 on 1 to 10, and the same part, 2/9, of any other, to one digit.

    So it is 20 on 0 to 100, 2 on 0 to 10, .9 on 1 to 5 and .2 on 0 to 1.
    """
    part = (score_range[1] - score_range[0]) * DEFAULT_THRESHOLD / (SCORE_RANGE[1] - SCORE_RANGE[0])
    rounded = float(f"{part:.0e}")
    return rounded if on_grid(rounded) else max(1 / SCORE_GRID, round(part, 4))
