"""Tables of numbers of a card: numbers at the right, and no column in which nothing stands."""

from __future__ import annotations

from collections.abc import Sequence

from coig_p.core.markdown import cell
from coig_p.core.text import printable
from coig_p.stats.intervals import Share
from coig_p.stats.results import DomainStatistics, Statistics

Value = str | int | float | Share | None
_CUT = 60  # characters of a text in a table


def figures(header: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    """A table in Markdown; its first column are names, the others numbers, and those of noughts and None are left out.

    Args:
        rows: names are escaped already. A Share is told as a percentage.
    """
    kept = [at for at in range(len(header)) if at == 0 or any(row[at] not in (None, 0, Share(0)) for row in rows)]
    lines = [
        [header[at] for at in kept],
        ["---" if at == 0 else "---:" for at in kept],
        *([_told(row[at]) for at in kept] for row in rows),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def domain_rows(statistics: Statistics, every: str) -> list[list[Value]]:
    """Name, queries, responses, scores, comparisons, pairs, pairs a query, how often the longer is chosen.

    Args:
        every: the name of the last row, of all domains.
    """

    def row(name: str, one: DomainStatistics) -> list[Value]:
        counts = (one.queries, one.responses, one.scores, one.comparisons, one.pairs)
        return [name, *counts, one.pairs_per_query, one.chosen_longer]

    return [*(row(cell(name), one) for name, one in statistics.domains.items()), row(every, statistics.total)]


def model_rows(statistics: Statistics) -> list[list[Value]]:
    """Name, responses, chosen, rejected, win rate: the highest win rate first, models without a pair last."""
    models = sorted(
        statistics.total.models.items(),
        key=lambda item: (_last_if_none(item[1].win_rate.share), -item[1].responses, item[0]),
    )
    return [[cell(name), one.responses, one.chosen, one.rejected, one.win_rate] for name, one in models]


def judge_rows(statistics: Statistics) -> list[list[Value]]:
    """Name, scores, comparisons, mean score: who gave the most first."""
    judges = sorted(statistics.total.judges.items(), key=lambda item: (-item[1].scores, -item[1].comparisons, item[0]))
    return [[cell(name), one.scores, one.comparisons, one.mean_score] for name, one in judges]


def cut(text: str) -> str:
    """The beginning of a hostile text as a cell of one line."""
    line = " ".join(printable(text[: 10 * _CUT]).split())
    return cell(line[:_CUT] + "…" if len(line) > _CUT or len(text) > 10 * _CUT else line)


def number(value: float | None) -> str:
    """A count, or a number with two decimals."""
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def percent(value: float | None) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{value:.1%}"


def _last_if_none(share: float | None) -> float:
    return 1 if share is None else -share


def _told(value: Value) -> str:
    if isinstance(value, str):
        return value
    return percent(value.share) if isinstance(value, Share) else number(value)
