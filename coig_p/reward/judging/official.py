"""How each benchmark's own code asks a judge, as far as that can be repeated, with its faults by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coig_p.errors import UsageError

BOTH, DRAWN, GIVEN, BETTER_FIRST = "both", "drawn", "given", "better-first"
"""Orders in which a pair is shown: both; one, drawn by hash; one, as the responses stand; one, the better first."""


@dataclass(frozen=True)
class Rule:
    """How pairs are asked for.

    Attributes:
        orders: of each pair.
        rating: each response is rated alone instead.
        asks: how often in all where an answer cannot be used; None: as the judge's file says.
        several_stay: an answer with two verdicts is not asked again.
        looks_for_a: an answer that has [[A]] is for A, else one that has [[B]] for B, else it is a tie.
        faults: of the benchmark's own code that are in what is asked, names of FAULTS.
        not_repeated: those that would leave nothing to measure.
    """

    orders: str = BOTH
    rating: bool = False
    asks: int | None = None
    several_stay: bool = False
    looks_for_a: bool = False
    faults: tuple[str, ...] = ()
    not_repeated: tuple[str, ...] = ()


FAULTS: Mapping[str, str] = {
    "better-first": "the better response is always shown first",
    "one-order": "each pair is shown in one order",
    "drawn-unseeded": "its order is drawn without a seed there, and by hash here",
    "asked-once": "what cannot be read is not asked again",
    "asked-twice": "an answer without a verdict is asked for once more, one with two verdicts is not",
    "looks-for-a": "[[A]] is looked for first, and an answer with neither [[A]] nor [[B]] is a tie",
    "rated-alone": "each response is rated alone",
    "no-places": "judges get the prompt without what it is about",
    "reads-boxed": "answers are read as \\boxed{}, which makes each of them B",
    "16-tokens": "an answer has 16 tokens at most",
    "first-prompt": "every pair is shown the first prompt",
    "four-at-once": "four responses are shown at once",
}
"""In words."""

OFFICIAL: Mapping[str, Rule] = {
    "crbench": Rule(
        BETTER_FIRST,
        asks=1,
        faults=("better-first", "one-order", "asked-once"),
        not_repeated=("no-places", "reads-boxed"),
    ),
    "cheems": Rule(GIVEN, asks=1, faults=("one-order", "asked-once"), not_repeated=("16-tokens", "first-prompt")),
    "rewardbench": Rule(
        DRAWN, asks=1, looks_for_a=True, faults=("one-order", "drawn-unseeded", "asked-once", "looks-for-a")
    ),
    "rewardbench2": Rule(rating=True, asks=1, faults=("rated-alone", "asked-once"), not_repeated=("four-at-once",)),
    "judgebench": Rule(BOTH, asks=2, several_stay=True, faults=("asked-twice",)),
}
"""By preset."""


def rule_of(preset: str, *, official: bool, rating: bool) -> Rule:
    """How a benchmark's pairs are asked for.

    Raises:
        UsageError: its own code asks no judge, or asks otherwise than by ratings.
    """
    if not official:
        return Rule(rating=rating)
    if preset not in OFFICIAL:
        raise UsageError(f"--official: {preset} has no rule of its own for judges. Leave it out")
    rule = OFFICIAL[preset]
    if rating and not rule.rating:
        raise UsageError(f"--official: {preset} does not rate. Leave --rating out")
    return rule
