"""What is compared, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coig_p.errors import UsageError
from coig_p.pairs.config import PairConfig
from coig_p.validation.rules import Rule

NOT_OFFERED = ("format", "multi_turn", "calibrate", "exclude", "agree_with", "min_reward_margin")
"""Pair options that mean one store, or change no number here."""


@dataclass(frozen=True)
class CompareConfig:
    """How stores are compared.

    Attributes:
        pairs: which pairs; what is not given is each store's own default.
        against: benchmarks that are looked for: files, stores, org/name.
        fields: where their rows hold what (see `coig_p.dedup.contamination.ContaminationConfig`).
        tokenizer: lengths in its tokens, beside those in characters (see `coig_p.core.lengths.read_tokenizer`).
        rules: of the checks; None for the usual ones.
        floor: whether an n-gram reward model is trained on every store, which takes most of the time.
        max_responses: that it is trained on (see `coig_p.reward.ngram_training.NgramConfig`).
        split: that it is trained and tested on. Default: a store's only one, or train where there are several.
    """

    pairs: PairConfig = field(default_factory=PairConfig)
    against: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str | None = None
    rules: Mapping[str, Rule] | None = None
    floor: bool = True
    max_responses: int = 20_000
    split: str | None = None

    def __post_init__(self) -> None:
        for name in NOT_OFFERED:
            if getattr(self.pairs, name) != getattr(PairConfig(), name):
                raise UsageError(f"{name} is of one store, or changes nothing that is compared here: leave it out")
        if self.fields and not self.against:
            raise UsageError("fields name a benchmark's columns: name a benchmark, too")
        if self.split is not None and not self.floor:
            raise UsageError("split is of the floor, and there is none: leave it out, or floor=False")

    def fields_of(self, benchmark: str) -> dict[str, str]:
        """The fields of one benchmark: those for all, and those for it alone."""
        names = ("", benchmark, Path(benchmark).name)
        return {name: column for name, column in self.fields.items() if name.rpartition(":")[0] in names}

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; of rules that are not the usual ones only that they are not."""
        pairs = {name: value for name, value in self.pairs.to_dict().items() if name not in NOT_OFFERED}
        return {
            "pairs": pairs,
            "against": list(self.against),
            "fields": dict(self.fields),
            "tokenizer": self.tokenizer,
            "usual_rules": self.rules is None,
            "floor": self.floor,
            "max_responses": self.max_responses,
            "split": self.split,
        }
