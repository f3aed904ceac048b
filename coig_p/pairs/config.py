"""Which pairs a store gives: the options, and how they are checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.options import flag, grid_number, names, text, whole_number
from coig_p.schema import MESSAGE_FORMATS, PAIR_SCHEMAS, RANKED_FORMATS

AGGREGATIONS = ("mean", "median", "min", "max")


STRATEGIES = ("all", "best_worst", "adjacent", "best_random")


LABELS = ("auto", "scores", "comparisons")


FORMATS = tuple(PAIR_SCHEMAS)


MULTI_TURN = ("text", "last", "skip")


@dataclass(frozen=True)
class PairConfig:
    """Which pairs a store gives. The same names are keywords of load_dataset and CLI options.

    All two-combinations of a query's responses are looked at; a pair is kept when its margin is at least
    the threshold, and chosen is the response with the higher score (COIG-P, sections 3.3 and 5.3). A
    threshold is on the judges' scale, a multiple of 1/10000, and compared exactly. A margin of 0 is
    never a pair, nor are two responses with the same text. A response's score is what `aggregation`
    makes of its judges, each judge's dimensions averaged first with equal weight. Every draw hashes
    (seed, query_id, both models), so that neither order nor shards change it.

    A conversation is a query of more than one user's text. Formats conversational and ranked_conversational give its
    turns; of the others, which are strings, `multi_turn` must say what they give of it.

    Formats ranked and ranked_conversational have a row for each query with a pair, and in it every response that has
    a score, best first.

    Values of numpy, Decimal and Fraction are taken as Python's own: np.int64(0) is 0, np.float32(.1) is .1.

    Raises:
        UsageError: a value that is not allowed; the message lists what is.
    """

    threshold: float | None = field(
        default=None, metadata={"help": "Smallest margin of a pair. Default: the store's, 2 for COIG-P."}
    )
    strict: bool = field(default=False, metadata={"help": "Keep margins above the threshold, not those equal to it."})
    aggregation: str = field(
        default="mean", metadata={"help": "How the judges of a response are combined.", "choices": AGGREGATIONS}
    )
    judges: tuple[str, ...] | None = field(default=None, metadata={"help": "Use these judges alone."})
    include_self_judged: bool = field(
        default=False, metadata={"help": "Also use scores that a model gave to its own response."}
    )
    labels: str = field(
        default="auto", metadata={"help": "Scores, comparisons, or scores where there are any.", "choices": LABELS}
    )
    strategy: str = field(default="all", metadata={"help": "Which pairs of a query are kept.", "choices": STRATEGIES})
    max_pairs_per_query: int | None = field(default=None, metadata={"help": "Draw at most so many pairs a query."})
    seed: int = field(default=0, metadata={"help": "Seed of every draw."})
    format: str = field(default="dpo", metadata={"help": "Columns for this kind of trainer.", "choices": FORMATS})
    multi_turn: str | None = field(
        default=None,
        metadata={
            "help": "What strings give of a conversation: its turns as one text, its last user turn, or leave it out.",
            "choices": MULTI_TURN,
        },
    )

    def __post_init__(self) -> None:
        taken: dict[str, Any] = {"seed": whole_number("seed", self.seed)}
        if self.threshold is not None:
            taken["threshold"] = check_threshold(self.threshold)
        for name in ("strict", "include_self_judged"):
            taken[name] = flag(name, getattr(self, name))
        for option in fields(self):
            choices, value = option.metadata.get("choices"), getattr(self, option.name)
            if choices and (value is not None or option.default is not None):
                taken[option.name] = text(value)
                if taken[option.name] not in choices:
                    raise UnknownNameError(option.name, value, choices)
        if self.judges is not None:
            taken["judges"] = tuple(sorted(set(names("judges", self.judges))))
        if self.max_pairs_per_query is not None:
            taken["max_pairs_per_query"] = whole_number("max_pairs_per_query", self.max_pairs_per_query, 1)
        for name, value in taken.items():
            object.__setattr__(self, name, value)
        if self.format in MESSAGE_FORMATS and self.multi_turn is not None:
            raise UsageError(
                f"multi_turn={self.multi_turn!r} has no effect: format {self.format} gives conversations turn by turn"
            )
        if self.format in RANKED_FORMATS:
            self._check_ranked()

    def _check_ranked(self) -> None:
        """Raise UsageError for options of pairs alone: a row holds a query's responses in the order of scores."""
        if self.labels == "comparisons":
            raise UsageError(
                f"labels='comparisons': format {self.format} orders all responses of a query by their scores, and a "
                'comparison says of two which is better. Leave it out, or use a format of pairs, as format="dpo"'
            )
        given = [("strategy", self.strategy, "all"), ("max_pairs_per_query", self.max_pairs_per_query, None)]
        named = ", ".join(f"{name}={value!r}" for name, value, default in given if value != default)
        if named:
            raise UsageError(
                f"{named}: no effect, since format {self.format} gives all responses of a query in one row. Leave it "
                'out, or use a format of pairs, as format="dpo"'
            )

    def with_default_threshold(self, default: float) -> PairConfig:
        """This config, with the store's default where no threshold was given."""
        return self if self.threshold is not None else replace(self, threshold=default)


def check_threshold(value: Any) -> float:
    """Return `value` as a float; raise UsageError unless finite, at least 0 and on the grid."""
    threshold = grid_number(value)
    if threshold is None:
        raise UsageError(f"threshold={value!r}: use a finite number of 0 or more with at most 4 decimals")
    return threshold


def check_judges(config: PairConfig, known: Collection[str]) -> None:
    """Raise UnknownNameError where the config names a judge that gave no score.

    Args:
        known: the store's judges; empty where they are not known.
    """
    for judge in config.judges or ():
        if known and judge not in known:
            raise UnknownNameError("judge", judge, known)
