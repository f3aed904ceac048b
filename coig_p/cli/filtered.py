"""What commands print of the filter of rewards: which pairs it kept and dropped, by domain and margin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from coig_p.cli.screen import one_line, table

if TYPE_CHECKING:
    from coig_p.pairs.config import PairConfig
    from coig_p.stats.intervals import Share
    from coig_p.stats.results import Filtered


def filter_lines(config: PairConfig, domains: Mapping[str, Filtered], total: Filtered) -> Iterator[str]:
    """Lines for people.

    Args:
        config: which pairs; it names the rewards.
        domains, total: what became of them.
    """
    close = total.too_close > 0
    words = [f"{total.opposed:,} opposed"]
    if close:
        words.append(f"{total.too_close:,} with rewards less than {config.min_reward_margin:g} apart")
    words.append(f"{total.without_reward:,} with a response without a reward")
    yield one_line(
        f"the rewards {config.agree_with} keep {total.kept:,} of {total.pairs:,} pairs "
        f"({_part(total.kept, total.pairs)}); left out: {', '.join(words)}"
    )
    every = {**domains, "all": total} if len(domains) > 1 else domains
    header = ["domain", "pairs", "kept", "opposed", *["too close"] * close, "no reward", "longer chosen", "after"]
    yield table(
        header,
        [
            [
                *(name, part.pairs, part.kept, part.opposed, *[part.too_close] * close, part.without_reward),
                *(percent(part.longer_before), percent(part.longer_after)),
            ]
            for name, part in every.items()
        ],
    )
    bins = [one for one in total.margins if one.kept or one.dropped]
    if bins:
        yield table(
            ["margin", "kept", "left out", "of them kept"],
            [
                [
                    f"{one.low:g} and more" if one.high is None else f"{one.low:g} to {one.high:g}",
                    one.kept,
                    one.dropped,
                    _part(one.kept, one.kept + one.dropped),
                ]
                for one in bins
            ],
        )


def percent(found: Share) -> str:
    """A share with its interval, where it has one."""
    if found.share is None:
        return "-"
    if found.low is None or found.high is None:
        return f"{found.share:.1%}"
    return f"{found.share:.1%} ({100 * found.low:.1f}-{100 * found.high:.1f})"


def _part(some: int, of: int) -> str:
    return f"{some / of:.1%}" if of else "-"
