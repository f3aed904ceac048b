"""What stands below a plot of a card, and what is read where it cannot be seen: words, with its main numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    words = _WORDS[language]
    tell: Callable[[Statistics, Sweep], dict[str, str]] = _in_chinese if language == "zh" else _in_english
    return {name: Caption(alt, words[name]) for name, alt in tell(statistics, sweep).items()}


_WORDS = {
    "en": {
        "domains": "How many pairs each domain gives.",
        "margins": "How far apart chosen and rejected are, in points of the judges' scale. The last column is open.",
        "margins-by-domain": "The same by domain, each on a scale of its own, whose end is the number of its pairs.",
        "lengths": "How long the responses in pairs are, in characters. The last column is open.",
        "models": "Of a model's pairs, the share in which its response is the chosen one. Lines are 95% intervals.",
        "judges": "Scores minus those of the other judges on the same responses, in points. Lines are 95% intervals.",
        "yield": "What is left as the threshold rises: of the pairs at the lowest one, and of the queries.",
        "balance": "How length and models share in the pairs as the threshold rises. Bands are 95% intervals.",
        "second-judge": "What a judge says of the pairs that the others make. Bands are 95% intervals.",
    },
    "zh": {
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
}


def _in_english(statistics: Statistics, sweep: Sweep) -> dict[str, str]:
    total, row, first, last = statistics.total, *_rows(sweep)
    pairs, margins, lengths = _pairs(statistics), total.margins, total.lengths
    rates, offsets = _rates(statistics), _offsets(statistics)
    at = f"At threshold {row.threshold:g}"
    return {
        "domains": f"Bar chart of {counted_as(total.pairs, 'pairs')} by domain: {_listed(pairs, 'and {} more', ', ')}.",
        "margins": f"Histogram of the margins of {counted_as(total.pairs, 'pairs')}: from {_plain(margins.min)} to "
        f"{_plain(margins.max)}, half of them {_plain(margins.p50)} or less.",
        "margins-by-domain": "Histograms of margins by domain; medians: "
        f"{_listed(_medians(statistics), 'and {} more', ', ')}.",
        "lengths": f"Histogram of lengths in characters: the median is {_plain(lengths.chosen.p50)} of chosen and "
        f"{_plain(lengths.rejected.p50)} of rejected responses.",
        "models": f"Win rates of {counted_as(len(rates), 'models')}, the highest first: {_ends(rates, ', ', ' … ')}.",
        "judges": f"Leniency of {counted_as(len(offsets), 'judges')} in points, the most lenient first: "
        f"{_ends(offsets, ', ', ' … ')}.",
        "yield": f"Lines over thresholds from {first.threshold:g} to {last.threshold:g}. {at} there are "
        f"{counted_as(row.pairs, 'pairs')}, and {_percent(row.queries_kept)} of the queries have one; at "
        f"{last.threshold:g} there are {_number_of_pairs(last)}.",
        "balance": f"Lines over thresholds. {at} the longer one is chosen in {_share(row.chosen_longer)} of pairs, "
        f"the most chosen model has {_of(row, row.most_chosen_share)} of the chosen, and the balance of models is "
        f"{_of(row, row.model_balance)}.",
        "second-judge": f"Lines over thresholds. {at} a second judge agrees with {_share(row.second_judge.agrees)} of "
        f"pairs, ties {_share(row.second_judge.ties)} and opposes {_share(row.second_judge.opposes)}.",
    }


def _in_chinese(statistics: Statistics, sweep: Sweep) -> dict[str, str]:
    total, row, first, last = statistics.total, *_rows(sweep)
    pairs, margins, lengths = _pairs(statistics), total.margins, total.lengths
    rates, offsets = _rates(statistics), _offsets(statistics)
    at = f"阈值为 {row.threshold:g} 时"
    return {
        "domains": f"条形图，{total.pairs:,} 个偏好对按领域：{_listed(pairs, '另有 {} 个领域', '，')}。",
        "margins": f"直方图，{total.pairs:,} 个偏好对的分差：从 {_plain(margins.min)} 到 {_plain(margins.max)}，"
        f"一半不超过 {_plain(margins.p50)}。",
        "margins-by-domain": f"各领域分差的直方图，中位数：{_listed(_medians(statistics), '另有 {} 个领域', '，')}。",
        "lengths": f"长度的直方图，单位为字符：更优回答的中位数为 {_plain(lengths.chosen.p50)}，"
        f"更差回答为 {_plain(lengths.rejected.p50)}。",
        "models": f"{len(rates):,} 个模型的胜率，由高到低：{_ends(rates, '，', ' …… ')}。",
        "judges": f"{len(offsets):,} 个评审模型的宽严，单位为分，由宽到严：{_ends(offsets, '，', ' …… ')}。",
        "yield": f"折线图，阈值从 {first.threshold:g} 到 {last.threshold:g}。{at}有 {row.pairs:,} 个偏好对，"
        f"{_percent(row.queries_kept)} 的问题有偏好对；阈值为 {last.threshold:g} 时有 {last.pairs:,} 个偏好对。",
        "balance": f"折线图，横轴为阈值。{at}，{_share(row.chosen_longer)} 的偏好对以较长者为更优回答，"
        f"给出更优回答最多的模型占 {_of(row, row.most_chosen_share)}，模型的均衡度为 {_of(row, row.model_balance)}。",
        "second-judge": f"折线图，横轴为阈值。{at}，另一个评审模型同意 {_share(row.second_judge.agrees)} 的偏好对，"
        f"判为平局 {_share(row.second_judge.ties)}，反对 {_share(row.second_judge.opposes)}。",
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


def _listed(names: Sequence[str], more: str, comma: str) -> str:
    shown = list(names[: 2 * _NAMED])
    return comma.join([*shown, *([more.format(f"{len(names) - len(shown):,}")] if len(names) > len(shown) else [])])


def _ends(names: Sequence[str], comma: str, gap: str) -> str:
    """The first and the last names, since the ends of an order tell most."""
    if len(names) <= 2 * _NAMED:
        return comma.join(names) or "–"
    return comma.join(names[:_NAMED]) + gap + comma.join(names[-_NAMED:])


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{round(value, 2):,.10g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _share(of: Share) -> str:
    """As the plots: nothing is said of fewer pairs than FEWEST_PAIRS."""
    return _percent(of.share if of.n >= FEWEST_PAIRS else None)


def _of(row: SweepRow, value: float | None) -> str:
    return _percent(value if row.pairs >= FEWEST_PAIRS else None)
