"""What models make of a benchmark, side by side: means of categories and of all, with intervals, and models compared.

AlignBench: Reasoning is the mean of the means of math and logic, Language that of the six others, Overall the mean of
the two. MT-Bench-zh: each turn's mean, and Overall the mean of the two. Every one is a weighted sum of parts, ratios
sum(scores) / sum(number) over questions. Intervals are a bootstrap of questions within each category; a comparison of
two models draws the same questions of both. What was not scored is left out, and counted; `at_1` and `at_10` say what
the mean would be, had each of those the lowest or the highest score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.errors import UsageError
from coig_p.evaluate.align.files import RESULTS, UNANSWERED, Kept, read_kept
from coig_p.evaluate.align.kinds import ALIGNBENCH, CATEGORIES, LANGUAGE, MT_TEMPERATURES, OVERALL, REASONING
from coig_p.reward.bench.comparing import ALPHA, holm

RESAMPLES = 4000
_CLOSE = 1e-12
_TURNS = ("1", "2")


@dataclass(frozen=True)
class Score:
    """A mean of scores from 1 to 10.

    Attributes:
        mean: None where a part of it has no score at all.
        low, high: its 95% interval; None where a category has fewer than two scored questions.
        n: scores behind it; invalid: judgements without a score; unanswered: turns without an answer to judge.
        at_1, at_10: the mean with each of those at 1, and at 10.
    """

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    invalid: int = 0
    unanswered: int = 0
    at_1: float | None = None
    at_10: float | None = None


@dataclass(frozen=True)
class Official:
    """The same as the benchmark's own code counts: -1 enters AlignBench's means, and is left out of MT-Bench's.

    Attributes:
        minus_ones: judgements in which its code reads nothing.
    """

    overall: float | None
    reasoning: float | None
    language: float | None
    categories: Mapping[str, float | None]
    turns: Mapping[str, float | None]
    minus_ones: int


@dataclass(frozen=True)
class Model:
    """What a model makes of the benchmark.

    Attributes:
        name: as its endpoint is named, with its folder where two have one name.
        turns: of MT-Bench-zh; empty of AlignBench, which has reasoning and language.
        reasons: why scores are missing, with how often.
    """

    name: str
    path: Path
    overall: Score
    reasoning: Score | None
    language: Score | None
    categories: Mapping[str, Score]
    turns: Mapping[str, Score]
    reasons: Mapping[str, int]
    official: Official | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        told = asdict(self) | {"path": str(self.path)}
        if self.official is None:
            told.pop("official")
        return told


@dataclass(frozen=True)
class Comparison:
    """Two models on the questions that both have a score of.

    Attributes:
        difference: of the overall, the first minus the second; None where a category has no such question.
        low, high, p: of a paired bootstrap, None where a category has fewer than two such questions; p_holm: adjusted
            for all comparisons.
    """

    one: str
    other: str
    questions: int
    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class AlignReport:
    """Models on one benchmark, judged alike.

    Attributes:
        answered: of each option of `coigp align answer` in which they differ, what each model was asked with.
    """

    benchmark: Mapping[str, Any]
    judge: Mapping[str, Any]
    models: tuple[Model, ...]
    comparisons: tuple[Comparison, ...]
    seed: int = 0
    answered: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "benchmark": dict(self.benchmark),
            "judge": dict(self.judge),
            "seed": self.seed,
            "answered": {name: dict(told) for name, told in self.answered.items()},
            "models": [one.to_dict() for one in self.models],
            "comparisons": [one.to_dict() for one in self.comparisons],
        }


@dataclass(frozen=True)
class Parts:
    """The sums of which every mean is made.

    Attributes:
        total, number: of each part (rows) and question (columns).
        strata: of each question, the place of its category.
        weights: of the overall and the like, a weight for each part by its name.
    """

    names: tuple[str, ...]
    total: Floats
    number: Floats
    strata: Index
    weights: Mapping[str, Mapping[str, float]]

    def means(self, drawn: Floats | None = None) -> Floats:
        """The mean of each part, NaN where it has none; of each draw, where there are draws."""
        total, number = self.total.sum(1), self.number.sum(1)
        if drawn is not None:
            total, number = drawn @ self.total.T, drawn @ self.number.T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(number > 0, total / number, np.nan))

    def weighted(self, means: Floats, name: str) -> Floats:
        """A weighted sum of parts."""
        told = self.weights[name]
        return np.asarray(sum(weight * means[..., self.names.index(part)] for part, weight in told.items()))


def align_report(
    paths: Sequence[Path], *, against: Path | None = None, official: bool = False, seed: int = 0
) -> AlignReport:
    """Put models side by side.

    Args:
        paths: folders of results.
        against: one of them that all others are compared with; else every two are.

    Raises:
        UsageError: a folder is named twice, or they were not judged alike, on one benchmark.
        DataError: a folder has no results.
    """
    every = list(paths) + ([against] if against is not None and _place(against) not in map(_place, paths) else [])
    places = [_place(path) for path in every]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise UsageError(f"{every[at]} is named twice: a model would be compared with itself. Name it once")
    kept = [read_kept(path, RESULTS) for path in every]
    for one in kept[1:]:
        check_alike(kept[0], one)
    names = [str(one.model["name"]) for one in kept]
    names = [f"{name} ({one.path})" if names.count(name) > 1 else name for name, one in zip(names, kept, strict=True)]
    models = tuple(model_of(one, name, official, seed) for one, name in zip(kept, names, strict=True))
    if against is None:
        two = [(at, nth) for at in range(len(kept)) for nth in range(at)]
    else:
        base = places.index(_place(against))
        two = [(at, base) for at in range(len(kept)) if at != base]
    parts = [parts_of(one) for one in kept]
    found = [compared(parts[one], parts[other], (names[one], names[other]), seed) for one, other in two]
    told = [at for at, one in enumerate(found) if one.p is not None]
    for at, p in zip(told, holm([one.p for one in found if one.p is not None]), strict=True):
        found[at] = replace(found[at], p_holm=p)
    return AlignReport(
        kept[0].benchmark.to_dict(), dict(kept[0].judge), models, tuple(found), seed, answered_of(kept, names)
    )


def answered_of(kept: Sequence[Kept], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The options of answering in which models differ, as whether cut answers count, each with every model's value."""
    every = [told if isinstance(told := one.header["options"].get("answered"), dict) else {} for one in kept]
    known = dict.fromkeys(name for told in every for name in told)
    found = {name: [told.get(name) for told in every] for name in known}
    return {
        name: dict(zip(names, values, strict=True))
        for name, values in found.items()
        if any(value != values[0] for value in values)
    }


def _place(path: Path) -> Path:
    return path.resolve()


def check_alike(one: Kept, other: Kept) -> None:
    """Raise UsageError where two results cannot stand side by side."""
    for name, words in (
        ("sha256", "the benchmark's file"),
        ("references_sha256", "the file of references"),
        ("kind", "the benchmark"),
    ):
        ours, theirs = (each.header["benchmark"].get(name) for each in (one, other))
        if ours != theirs:
            raise UsageError(
                f"{one.path} and {other.path} cannot be compared: {words} differs ({str(ours)[:12]} and "
                f"{str(theirs)[:12]}). Answer and judge both anew on one file"
            )
    for name, what in (*((one, one) for one in ("model", "system", "parameters")), ("prompt_sha256", "their prompts")):
        ours, theirs = (each.judge.get(name) for each in (one, other))
        if ours != theirs:
            raise UsageError(
                f"{one.path} and {other.path} cannot be compared: their judges differ in {what} ({str(ours)[:60]} and "
                f"{str(theirs)[:60]}), and scores of two judges are on two scales. Judge both anew with one"
            )


# ------------------------------------------------------------------------------------------------


def model_of(kept: Kept, name: str, official: bool = False, seed: int = 0) -> Model:
    """What a model makes of the benchmark, by its results."""
    is_align = kept.benchmark.kind == ALIGNBENCH
    parts = parts_of(kept)
    bounds = [parts_of(kept, missing=score) for score in (1.0, 10.0)]
    drawn = drawn_of(parts.strata, seed)
    means = parts.means()
    ends = [one.means() for one in bounds]
    counted = _counts(kept, parts.names)

    def score(name: str, of: Sequence[str]) -> Score:
        n, invalid, unanswered = (sum(counted[part][at] for part in of) for at in range(3))
        value = float(parts.weighted(means, name))
        if np.isnan(value):
            at_1, at_10 = (float(one.weighted(end, name)) for one, end in zip(bounds, ends, strict=True))
            return Score(None, None, None, n, invalid, unanswered, _finite(at_1), _finite(at_10))
        low, high = interval_of([parts], name, drawn)
        at_1, at_10 = (float(one.weighted(end, name)) for one, end in zip(bounds, ends, strict=True))
        return Score(value, low, high, n, invalid, unanswered, _finite(at_1), _finite(at_10))

    reasons: dict[str, int] = {}
    for turns in kept.turns:
        for turn in turns:
            if turn.reason is not None:
                reasons[turn.reason] = reasons.get(turn.reason, 0) + 1
    known = CATEGORIES if is_align else MT_TEMPERATURES
    there = {question.category for question in kept.benchmark.questions}
    categories = {one: score(one, (one,)) for one in known if one in there}
    return Model(
        name=name,
        path=kept.path,
        overall=score("overall", (*REASONING, *LANGUAGE) if is_align else _TURNS),
        reasoning=score("reasoning", REASONING) if is_align else None,
        language=score("language", LANGUAGE) if is_align else None,
        categories=categories,
        turns={} if is_align else {turn: score(turn, (turn,)) for turn in _TURNS},
        reasons=dict(sorted(reasons.items())),
        official=_official(kept) if official else None,
    )


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else value


def parts_of(kept: Kept, *, missing: float | None = None, official: bool = False) -> Parts:
    """The sums of a model; `missing`: the score of each turn that has none."""
    is_align = kept.benchmark.kind == ALIGNBENCH
    known = tuple(CATEGORIES if is_align else MT_TEMPERATURES)
    names = known if is_align else (*known, *_TURNS)
    questions = kept.benchmark.questions
    total, number = (np.zeros((len(names), len(questions))) for _ in range(2))
    for at, (question, turns) in enumerate(zip(questions, kept.turns, strict=True)):
        for turn in turns:
            value = missing if turn.scores is None else float(turn.scores[OVERALL])
            if official:
                value = turn.official
                value = None if not is_align and value == -1 else value
            if value is None:
                continue
            for part in (question.category, *(() if is_align else (str(turn.turn),))):
                total[names.index(part), at] += value
                number[names.index(part), at] += 1
    strata = np.array([known.index(question.category) for question in questions], np.int64)
    weights: dict[str, Mapping[str, float]] = {name: {name: 1.0} for name in names}
    if is_align:
        weights["reasoning"] = dict.fromkeys(REASONING, 1 / len(REASONING))
        weights["language"] = dict.fromkeys(LANGUAGE, 1 / len(LANGUAGE))
        halves = (weights["reasoning"], weights["language"])
        weights["overall"] = {part: weight / 2 for half in halves for part, weight in half.items()}
    else:
        weights["overall"] = dict.fromkeys(_TURNS, 1 / len(_TURNS))
    return Parts(names, total, number, strata, weights)


def _counts(kept: Kept, names: Sequence[str]) -> dict[str, list[int]]:
    """Of each part: scores, judgements without one, and turns without an answer."""
    found = {name: [0, 0, 0] for name in names}
    for question, turns in zip(kept.benchmark.questions, kept.turns, strict=True):
        for turn in turns:
            at = 0 if turn.scores is not None else 2 if turn.reason in UNANSWERED else 1
            for part in {question.category, str(turn.turn)} & set(names):
                found[part][at] += 1
    return found


def drawn_of(strata: Index, seed: int = 0) -> Floats:
    """How often each question is drawn, resample by resample: as many of a category as it has."""
    drawn = np.zeros((RESAMPLES, len(strata)))
    for one in np.unique(strata):
        places = np.flatnonzero(strata == one)
        # Of each category by itself, so that one more category changes no other's draws.
        digest = blake2b(f"{seed} {one}".encode(), digest_size=8).digest()
        random = np.random.default_rng(int.from_bytes(digest, "big"))
        drawn[:, places] = random.multinomial(len(places), np.full(len(places), 1 / len(places)), RESAMPLES)
    return drawn


def _few(parts: Parts, scored: Mask, of: Sequence[str]) -> bool:
    """Whether a category has one scored question alone: of one nothing can be drawn that differs."""
    there = scored[[parts.names.index(part) for part in of]]
    questions = parts.strata[there.any(0)]
    return not there.any(1).all() or bool((np.bincount(questions)[np.unique(questions)] < 2).any())


def _official(kept: Kept) -> Official:
    parts = parts_of(kept, official=True)
    means = parts.means()
    is_align = kept.benchmark.kind == ALIGNBENCH

    def value(name: str) -> float | None:
        return _finite(float(parts.weighted(means, name)))

    there = {question.category for question in kept.benchmark.questions}
    return Official(
        overall=value("overall") if is_align else _of_all_turns(parts),
        reasoning=value("reasoning") if is_align else None,
        language=value("language") if is_align else None,
        categories={name: value(name) for name in parts.names if name in there},
        turns={} if is_align else {turn: value(turn) for turn in _TURNS},
        minus_ones=sum(turn.official == -1 for turns in kept.turns for turn in turns),
    )


def _of_all_turns(parts: Parts) -> float | None:
    """The mean of every judgement, whichever turn it is of: FastChat's, where ours is the mean of two means."""
    turns = [parts.names.index(turn) for turn in _TURNS]
    number = parts.number[turns].sum()
    return float(parts.total[turns].sum() / number) if number else None


def interval_of(every: Sequence[Parts], name: str, drawn: Floats) -> tuple[float | None, float | None]:
    """The 95% interval of a model's mean, or of the mean of several models' means, over questions.

    Args:
        every: of models on one benchmark.
        name: of one of their `weights`.
        drawn: see `drawn_of`; the same questions of all of them.

    Returns:
        Nothing twice where a category of one has a single scored question.
    """
    if any(_few(one, one.number > 0, tuple(one.weights[name])) for one in every):
        return None, None
    spread = np.mean([one.weighted(one.means(drawn), name) for one in every], axis=0)
    low, high = np.quantile(spread[~np.isnan(spread)], [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def mean_of(every: Sequence[Parts]) -> Parts:
    """Several models as one: of each question and part the mean of those that have a score."""
    if len(every) == 1:
        return every[0]
    number = np.sum([one.number for one in every], axis=0)
    total = np.sum([one.total for one in every], axis=0)
    return replace(every[0], total=np.where(number > 0, total / np.maximum(number, 1), 0), number=(number > 0) * 1.0)


def compared(ours: Parts, theirs: Parts, names: tuple[str, str], seed: int = 0) -> Comparison:
    """The paired difference of two models' overall, on the turns that both have a score of.

    The interval and p draw of the questions that have such a turn, as many of each category as there are.
    """
    both = (ours.number > 0) & (theirs.number > 0)
    both[[at for at, part in enumerate(ours.names) if part not in ours.weights["overall"]]] = False
    shared = both.any(0)
    both = both[:, shared]
    one_parts, other_parts = (
        replace(
            each,
            total=np.where(both, each.total[:, shared], 0),
            number=np.where(both, each.number[:, shared], 0),
            strata=each.strata[shared],
        )
        for each in (ours, theirs)
    )
    name, other_name = names
    questions = both.shape[1]
    difference = float(one_parts.weighted(one_parts.means(), "overall"))
    difference -= float(other_parts.weighted(other_parts.means(), "overall"))
    if np.isnan(difference):
        return Comparison(name, other_name, questions, None)
    drawn = drawn_of(one_parts.strata, seed)
    spread = one_parts.weighted(one_parts.means(drawn), "overall")
    spread = spread - other_parts.weighted(other_parts.means(drawn), "overall")
    spread = spread[~np.isnan(spread)]
    if _few(one_parts, both, tuple(ours.weights["overall"])):
        return Comparison(name, other_name, questions, difference)
    low, high = (float(value) for value in np.quantile(spread, [ALPHA / 2, 1 - ALPHA / 2]))
    close = np.abs(spread) < _CLOSE
    half = close.sum() / 2
    least = min((spread[~close] < 0).sum() + half, (spread[~close] > 0).sum() + half)
    p = min(1.0, 2 * float(least + 1) / (len(spread) + 1))
    return Comparison(name, other_name, questions, difference, low, high, p)
