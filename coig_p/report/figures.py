"""The plots of statistics and of a sweep, with English or Chinese words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coig_p.core.svg import Dot, Series, bars, columns, dots, facets, lines
from coig_p.errors import UnknownNameError
from coig_p.stats.intervals import Share
from coig_p.stats.results import Bins, Statistics
from coig_p.stats.sweep import Sweep

MOST_ROWS = 30
FEWEST_PAIRS = 20  # behind a point of a line; of fewer nobody should read a share
_WORDS = {
    "en": {
        "domains": "Pairs by domain",
        "margins": "Margins of the pairs",
        "margins-by-domain": "Margins by domain (number of pairs)",
        "margin": "margin (last column: and above)",
        "lengths": "Length of responses in pairs",
        "length": "characters (last column: and above)",
        "chosen": "chosen",
        "rejected": "rejected",
        "pairs": "pairs",
        "responses": "responses",
        "models": "Win rate by model",
        "win": "share of a model's pairs in which it is chosen, with 95% interval",
        "judges": "Leniency by judge",
        "offset": "score minus the other judges' mean on the same responses, with 95% interval",
        "yield": "What each threshold keeps",
        "kept-pairs": "pairs, of those at the lowest threshold",
        "kept-queries": "queries with a pair",
        "balance": "Length and models",
        "longer": "the longer is chosen",
        "most": "most chosen model",
        "even": "balance of the models",
        "second-judge": "A second judge on the pairs of the others",
        "agrees": "agrees",
        "ties": "ties",
        "opposes": "opposes",
        "threshold": "threshold",
        "paper": "2: COIG-P's",
        "default": "the store's",
        "and": " and ",
        "none": "none",
    },
    "zh": {
        "domains": "各领域的偏好对",
        "margins": "偏好对的分差",
        "margins-by-domain": "各领域的分差（偏好对数）",
        "margin": "分差（最后一栏含以上）",
        "lengths": "偏好对中回答的长度",
        "length": "字符数（最后一栏含以上）",
        "chosen": "更优回答",
        "rejected": "更差回答",
        "pairs": "偏好对",
        "responses": "回答",
        "models": "各模型的胜率",
        "win": "模型所在的偏好对中由它给出更优回答的比例，附95%区间",
        "judges": "各评审模型的宽严",
        "offset": "与其他评审模型对相同回答的平均分之差，附95%区间",
        "yield": "各阈值下保留多少",
        "kept-pairs": "偏好对，相对最低阈值",
        "kept-queries": "有偏好对的问题",
        "balance": "长度与模型",
        "longer": "较长者为更优回答",
        "most": "给出更优回答最多的模型",
        "even": "模型的均衡度",
        "second-judge": "另一个评审模型如何看其余评审模型的偏好对",
        "agrees": "同意",
        "ties": "平局",
        "opposes": "反对",
        "threshold": "阈值",
        "paper": "2：COIG-P 所用",
        "default": "数据仓库的默认阈值",
        "and": "，也是",
        "none": "无",
    },
}
LANGUAGES = tuple(_WORDS)


def statistics_plots(statistics: Statistics, language: str = "en") -> dict[str, str]:
    """SVG by file name: domains, margins, lengths, models and judges (none of judges that share no response)."""
    words, total = _words(language), statistics.total
    pairs = {domain: counts.pairs for domain, counts in statistics.domains.items()}
    bins = total.margins.bins
    plots = {
        "domains.svg": bars(words["domains"], _largest(pairs), empty=words["none"]),
        "margins.svg": columns(
            words["margins"],
            _labels(bins),
            {words["pairs"]: bins.counts},
            axis=words["margin"],
            counted=words["pairs"],
            empty=words["none"],
        ),
        **_margins_by_domain(statistics, words),
        "lengths.svg": columns(
            words["lengths"],
            _labels(total.lengths.chosen.bins),
            {
                words["chosen"]: total.lengths.chosen.bins.counts,
                words["rejected"]: total.lengths.rejected.bins.counts,
            },
            axis=words["length"],
            counted=words["responses"],
            empty=words["none"],
        ),
    }
    rates = {name: model.win_rate for name, model in total.models.items()}
    rows = [Dot(name, rate.share, rate.low, rate.high) for name, rate in rates.items() if rate.share is not None]
    best = sorted(rows, key=lambda dot: -dot.value)[:MOST_ROWS]
    plots["models.svg"] = dots(
        words["models"], best, low=0, high=1, percent=True, axis=words["win"], empty=words["none"]
    )
    offsets = {name: judge.offset for name, judge in total.judges.items()}
    rows = [Dot(name, of.mean, of.low, of.high) for name, of in offsets.items() if of.mean is not None]
    if rows:
        rows = sorted(rows, key=lambda dot: -abs(dot.value))[:MOST_ROWS]
        rows.sort(key=lambda dot: -dot.value)
        reach = max(abs(end) for dot in rows for end in (dot.value, dot.low or 0, dot.high or 0))
        reach = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, reach) if step >= reach)
        plots["judges.svg"] = dots(words["judges"], rows, low=-reach, high=reach, axis=words["offset"])
    return plots


def _margins_by_domain(statistics: Statistics, words: Mapping[str, str]) -> dict[str, str]:
    """Nothing where there is one domain alone."""
    edges = max((one.margins.bins.edges for one in statistics.domains.values()), key=len, default=())
    steps = {one.margins.bins.edges[:2] for one in statistics.domains.values() if len(one.margins.bins.edges) > 1}
    if len(statistics.domains) < 2 or len(steps) > 1:  # bins of several widths have no common scale
        return {}
    panels = {
        name: [*one.margins.bins.counts, *[0] * (len(edges) - len(one.margins.bins.counts))]
        for name, one in list(statistics.domains.items())[:MOST_ROWS]
    }
    labels = [f"{edge:g}" for edge in edges]
    return {"margins-by-domain.svg": facets(words["margins-by-domain"], labels, panels, axis=words["margin"])}


def sweep_plots(sweep: Sweep, language: str = "en") -> dict[str, str]:
    """SVG by file name: yield, balance and, where a response has two judges, second-judge."""
    words, rows = _words(language), sweep.thresholds
    x = [row.threshold for row in rows]
    marks = {sweep.default_threshold: words["default"]}
    if sweep.paper_optimum is not None:
        both = sweep.paper_optimum == sweep.default_threshold
        marks[sweep.paper_optimum] = words["paper"] + (words["and"] + words["default"] if both else "")
    marks = {value: name for value, name in marks.items() if x[0] <= value <= x[-1]}
    most = rows[0].pairs
    kept = Series(words["kept-pairs"], [row.pairs / most if most else None for row in rows])
    shown = {
        "yield": [kept, Series(words["kept-queries"], [row.queries_kept for row in rows])],
        "balance": [
            _with_interval(words["longer"], [row.chosen_longer for row in rows]),
            Series(words["most"], [row.most_chosen_share if row.pairs >= FEWEST_PAIRS else None for row in rows]),
            Series(words["even"], [row.model_balance if row.pairs >= FEWEST_PAIRS else None for row in rows]),
        ],
    }
    if any(row.second_judge.agrees.n for row in rows):
        shown["second-judge"] = [
            _with_interval(words["agrees"], [row.second_judge.agrees for row in rows]),
            _with_interval(words["ties"], [row.second_judge.ties for row in rows]),
            _with_interval(words["opposes"], [row.second_judge.opposes for row in rows]),
        ]
    return {
        f"{name}.svg": lines(words[name], x, series, axis=words["threshold"], marks=marks)
        for name, series in shown.items()
    }


def accuracy_plot(title: str, rows: Sequence[Dot], *, axis: str, empty: str) -> str:
    """SVG: the accuracy of scorers on a benchmark, from 0 to 100%, chance at the middle line."""
    return dots(title, rows, low=0, high=1, percent=True, axis=axis, empty=empty)


def _words(language: str) -> Mapping[str, str]:
    if language not in _WORDS:
        raise UnknownNameError("language", language, LANGUAGES)
    return _WORDS[language]


def _with_interval(name: str, every: Sequence[Share]) -> Series:
    shares = [of if of.n >= FEWEST_PAIRS else Share(0) for of in every]
    return Series(name, [of.share for of in shares], [of.low for of in shares], [of.high for of in shares])


def _largest(values: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(values.items(), key=lambda item: -item[1])[:MOST_ROWS])


def _labels(bins: Bins) -> list[str]:
    return [f"{edge:,}" for edge in bins.edges]
