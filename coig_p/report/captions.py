"""What stands below a plot of a card, and what is read where it cannot be seen: words, with its main numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from coig_p.core.svg import signed
from coig_p.core.text import counted_as
from coig_p.report.figures import FEWEST_PAIRS
from coig_p.stats.intervals import Share
from coig_p.stats.results import Statistics
from coig_p.stats.sweep import Sweep, SweepRow

_NAMED = 3  # domains, models or judges that are named at either end


class Caption(NamedTuple):
    """Of one plot, not escaped.

    Attributes:
        alt: what it shows, with its main numbers.
        line: how to read it.
    """

    alt: str
    line: str


def captions(statistics: Statistics, sweep: Sweep, language: str = "en") -> dict[str, Caption]:
    """By the name of a plot, for every one that `coig_p.report.figures` may draw."""
    words, facts = _WORDS[language], _facts(statistics, sweep, language)
    return {name: Caption(words.alts[name].format(**facts), line) for name, line in words.lines.items()}


class _Language(NamedTuple):
    """What is said in a language: of each plot how to read it, and what it shows, with the names of `_facts`."""

    lines: dict[str, str]
    alts: dict[str, str]
    comma: str
    gap: str
    more: str


_WORDS = {
    "en": _Language(
        lines={
            "domains": "How many pairs each domain gives.",
            "margins": "How far apart chosen and rejected are, in points of the judges' scale. The last column "
            "is open.",
            "margins-by-domain": "The same by domain, each on a scale of its own, whose end is the number of its "
            "pairs.",
            "lengths": "How long the responses in pairs are, in characters. The last column is open.",
            "models": "Of a model's pairs, the share in which its response is the chosen one. Lines are 95% intervals.",
            "judges": "Scores minus those of the other judges on the same responses, in points. Lines are 95% "
            "intervals.",
            "yield": "What is left as the threshold rises: of the pairs at the lowest one, and of the queries.",
            "balance": "How length and models share in the pairs as the threshold rises. Bands are 95% intervals.",
            "second-judge": "What a judge says of the pairs that the others make. Bands are 95% intervals.",
        },
        alts={
            "domains": "Bar chart of {counted_pairs} by domain: {domains}.",
            "margins": "Histogram of the margins of {counted_pairs}: from {least} to {largest}, half "
            "of them {half} or less.",
            "margins-by-domain": "Histograms of margins by domain; medians: {medians}.",
            "lengths": "Histogram of lengths in characters: the median is {chosen} of chosen and {rejected} of "
            "rejected responses.",
            "models": "Win rates of {counted_models}, the highest first: {models}.",
            "judges": "Leniency of {counted_judges} in points, the most lenient first: {judges}.",
            "yield": "Lines over thresholds from {first} to {last}. At threshold {at} there are {counted_pairs_at}, "
            "and {kept} of the queries have one; at {last} there are {counted_pairs_last}.",
            "balance": "Lines over thresholds. At threshold {at} the longer one is chosen in {longer} of pairs, "
            "the most chosen model has {most} of the chosen, and the balance of models is {even}.",
            "second-judge": "Lines over thresholds. At threshold {at} a second judge agrees with {agrees} of pairs, "
            "ties {ties} and opposes {opposes}.",
        },
        comma=", ",
        gap=" … ",
        more="and {} more",
    ),
    "zh": _Language(
        lines={
            "domains": "各领域给出多少偏好对。",
            "margins": "更优回答与更差回答的分差，单位为评审模型的分。最后一栏含以上。",
            "margins-by-domain": "各领域的分差，各用自己的刻度，括号内是偏好对数。",
            "lengths": "偏好对中回答的长度，单位为字符。最后一栏含以上。",
            "models": "模型所在的偏好对中，由它给出更优回答的比例。线段为 95% 区间。",
            "judges": "评审模型的评分与其他评审模型对相同回答的评分之差，单位为分。线段为 95% 区间。",
            "yield": "阈值升高时剩下多少：相对最低阈值的偏好对，以及全部问题。",
            "balance": "阈值升高时，长度和模型在偏好对中的比重。色带为 95% 区间。",
            "second-judge": "一个评审模型如何看其余评审模型所成的偏好对。色带为 95% 区间。",
        },
        alts={
            "domains": "条形图，{pairs} 个偏好对按领域：{domains}。",
            "margins": "直方图，{pairs} 个偏好对的分差：从 {least} 到 {largest}，一半不超过 {half}。",
            "margins-by-domain": "各领域分差的直方图，中位数：{medians}。",
            "lengths": "长度的直方图，单位为字符：更优回答的中位数为 {chosen}，更差回答为 {rejected}。",
            "models": "{number_of_models} 个模型的胜率，由高到低：{models}。",
            "judges": "{number_of_judges} 个评审模型的宽严，单位为分，由宽到严：{judges}。",
            "yield": "折线图，阈值从 {first} 到 {last}。阈值为 {at} 时有 {pairs_at} 个偏好对，{kept} 的问"
            "题有偏好对；阈值为 {last} 时有 {pairs_last} 个偏好对。",
            "balance": "折线图，横轴为阈值。阈值为 {at} 时，{longer} 的偏好对以较长者为更优回答，给出更优回"
            "答最多的模型占 {most}，模型的均衡度为 {even}。",
            "second-judge": "折线图，横轴为阈值。阈值为 {at} 时，另一个评审模型同意 {agrees} 的偏好对，判为平局 {ties}"
            "，反对 {opposes}。",
        },
        comma="，",
        gap=" …… ",
        more="另有 {} 个领域",
    ),
}


def _facts(statistics: Statistics, sweep: Sweep, language: str) -> dict[str, str]:
    """The main numbers of every plot, as they are said."""
    words, total, row, first, last = _WORDS[language], statistics.total, *_rows(sweep)
    rates, offsets = _rates(statistics), _offsets(statistics)
    margins, lengths = total.margins, total.lengths
    return {
        "pairs": f"{total.pairs:,}",
        "counted_pairs": counted_as(total.pairs, "pairs"),
        "domains": _listed(_pairs(statistics), words),
        "medians": _listed(_medians(statistics), words),
        "least": _plain(margins.min),
        "half": _plain(margins.p50),
        "largest": _plain(margins.max),
        "chosen": _plain(lengths.chosen.p50),
        "rejected": _plain(lengths.rejected.p50),
        "number_of_models": f"{len(rates):,}",
        "counted_models": counted_as(len(rates), "models"),
        "models": _ends(rates, words),
        "number_of_judges": f"{len(offsets):,}",
        "counted_judges": counted_as(len(offsets), "judges"),
        "judges": _ends(offsets, words),
        "first": f"{first.threshold:g}",
        "at": f"{row.threshold:g}",
        "last": f"{last.threshold:g}",
        "pairs_at": f"{row.pairs:,}",
        "counted_pairs_at": counted_as(row.pairs, "pairs"),
        "kept": _percent(row.queries_kept),
        "pairs_last": f"{last.pairs:,}",
        "counted_pairs_last": _number_of_pairs(last),
        "longer": _share(row.chosen_longer),
        "most": _of(row, row.most_chosen_share),
        "even": _of(row, row.model_balance),
        "agrees": _share(row.second_judge.agrees),
        "ties": _share(row.second_judge.ties),
        "opposes": _share(row.second_judge.opposes),
    }


def _number_of_pairs(row: SweepRow) -> str:
    """How many pairs a threshold gives, as a sentence says it."""
    return counted_as(row.pairs, "pairs") if row.pairs else "none"


def _rows(sweep: Sweep) -> tuple[SweepRow, SweepRow, SweepRow]:
    """At the store's default threshold, the lowest and the highest."""
    steps = sweep.thresholds
    own = min(steps, key=lambda row: abs(row.threshold - sweep.default_threshold))
    return own, steps[0], steps[-1]


def _pairs(statistics: Statistics) -> list[str]:
    found = sorted(statistics.domains.items(), key=lambda item: (-item[1].pairs, item[0]))
    return [f"{name} {one.pairs:,}" for name, one in found]


def _medians(statistics: Statistics) -> list[str]:
    found = sorted(statistics.domains.items(), key=lambda item: (-item[1].pairs, item[0]))
    return [f"{name} {_plain(one.margins.p50)}" for name, one in found]


def _rates(statistics: Statistics) -> list[str]:
    found = [(name, of.win_rate.share) for name, of in statistics.total.models.items() if of.win_rate.share is not None]
    return [f"{name} {share:.1%}" for name, share in sorted(found, key=lambda item: (-item[1], item[0]))]


def _offsets(statistics: Statistics) -> list[str]:
    found = [(name, of.offset.mean) for name, of in statistics.total.judges.items() if of.offset.mean is not None]
    return [f"{name} {signed(mean)}" for name, mean in sorted(found, key=lambda item: (-item[1], item[0]))]


def _listed(names: Sequence[str], words: _Language) -> str:
    shown = list(names[: 2 * _NAMED])
    more = len(names) - len(shown)
    return words.comma.join([*shown, *([words.more.format(f"{more:,}")] if more else [])])


def _ends(names: Sequence[str], words: _Language) -> str:
    """The first and the last names, since the ends of an order tell most."""
    if len(names) <= 2 * _NAMED:
        return words.comma.join(names) or "–"
    return words.comma.join(names[:_NAMED]) + words.gap + words.comma.join(names[-_NAMED:])


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 2):,.10g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _share(of: Share) -> str:
    """As the plots: nothing is said of fewer pairs than FEWEST_PAIRS."""
    return _percent(of.share if of.n >= FEWEST_PAIRS else None)


def _of(row: SweepRow, value: float | None) -> str:
    return _percent(value if row.pairs >= FEWEST_PAIRS else None)
