"""Offset and scale of each judge, for pairs of scores that different judges gave: what a calibration file holds.

joint    c and s of the joint model, where judges share responses. The best there is.
zscore   for one judge a response: a judge's mean beside what the models and domains that it scored explain, and the
         deviation of what is left. It cannot tell where judge and answering model are nearly the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from coig_p.core.arrays import Floats, Index
from coig_p.pairs.calibration import JudgeScale
from coig_p.stats.design import FEWEST_RESPONSES, DesignError, Refusal, hardly_told, refusals_of, units_of
from coig_p.stats.families import DEFAULT, family_of
from coig_p.stats.joint import JointFit, fit_joint
from coig_p.stats.judged import BLOCKS, Judged

Method = Literal["joint", "zscore"]
MOST_COLLINEAR = 0.9
"""The squared canonical correlation of judge and answering model from which on they are nearly the same: there the
variance of an offset is ten times what it would be if judges were drawn at random."""

_ZSCORE = "or use --method zscore, where each response was given to a judge at random"
_AGAINST = 4.0  # standard errors below 0: a relation that is negative, and no chance
_STEPS = 200
_NAMED = 6


@dataclass(frozen=True)
class Scales:
    """What was fitted.

    Attributes:
        judges: offset and scale of each.
        reference: their means, weighted by responses, so that scores stay about where they are.
        joint: what it came from, with method joint.
        folded: judges whose liking for their own family, if any, is in their leniency: it could not be told, or was not
            asked for.
    """

    method: Method
    judges: dict[str, JudgeScale]
    reference: JudgeScale
    joint: JointFit | None = None
    folded: tuple[str, ...] = ()


def fit_scales(
    judged: Judged,
    method: Method = "joint",
    families: Mapping[str, str] = DEFAULT,
    *,
    self_preference: bool = True,
) -> Scales:
    """Offset and scale of each judge that gave a score.

    Args:
        families: pattern -> family; of the joint model.
        self_preference: whether the joint model keeps what a judge's own family gets apart, where it can be told.

    Raises:
        DesignError: the scores cannot tell; says what to collect.
    """
    if method == "zscore":
        return _scales("zscore", _by_zscore(judged), folded=_own_scored(judged, families))
    refusals = refusals_of(judged, families, self_preference=False)
    if refusals:
        raise DesignError(refusals, _ZSCORE if _zscore_may_do(judged) else "")
    # What a judge's own family gets beyond the rest is not its leniency, where that can be told apart.
    folded = tuple(name for one in refusals_of(judged, families) for name in one.judges)
    if not self_preference:
        folded = _own_scored(judged, families)
    fit = fit_joint(units_of(judged, families, without=folded), self_preference=self_preference)
    if not fit.settled:
        raise DesignError((hardly_told(fit),))
    lost = [name for name, one in fit.judges.items() if one.spread.low <= 0]
    if lost:
        raise DesignError(
            (
                Refusal(
                    "spread",
                    tuple(lost),
                    f"the scores of {_listed(lost)} do not rise with what the other judges see, so there is no scale "
                    "to bring them to",
                    f"more shared responses, or leave {_listed(lost)} out of the store",
                ),
            )
        )
    scales = {name: JudgeScale(one.offset.value, one.spread.value, one.responses) for name, one in fit.judges.items()}
    return _scales("joint", scales, fit, folded)


def _zscore_may_do(judged: Judged) -> bool:
    """Whether most responses have one judge, as zscore takes them, and it does not refuse them."""
    number = {judges: int(sums.number.sum()) for judges, sums in judged.tables.items()}
    if sum(number[judges] for judges in number if len(judges) == 1) * 2 <= sum(number.values()):
        return False
    try:
        _by_zscore(judged)
    except DesignError:
        return False
    return True


def _own_scored(judged: Judged, families: Mapping[str, str]) -> tuple[str, ...]:
    """Judges that scored answers of their own family."""
    family = np.array([family_of(model, families) for _, model in judged.groups])
    found = {
        name
        for judges, sums in judged.tables.items()
        for name in judges
        if (family[sums.key // BLOCKS] == family_of(name, families)).any()
    }
    return tuple(sorted(found))


def _scales(
    method: Method, judges: dict[str, JudgeScale], joint: JointFit | None = None, folded: tuple[str, ...] = ()
) -> Scales:
    number = np.array([one.responses for one in judges.values()], np.float64)
    offset, scale = (
        float(np.array([getattr(one, name) for one in judges.values()]) @ number / number.sum())
        for name in ("offset", "scale")
    )
    return Scales(method, judges, JudgeScale(offset, scale), joint, folded)


def collinearity(table: Index) -> float:
    """The largest squared canonical correlation of the rows and columns of counts (judges, models); 0 of one row.

    0 where each judge scored the same mix of models, 1 where they fall into parts that share no model.
    """
    table = table[:, table.sum(0) > 0].astype(np.float64)
    if min(table.shape) < 2:
        return 0.0
    scaled = table / np.sqrt(np.outer(table.sum(1), table.sum(0)))
    return float(np.linalg.svd(scaled, compute_uv=False)[1] ** 2)


def _by_zscore(judged: Judged) -> dict[str, JudgeScale]:
    names, groups, number, total, squares = _cells(judged)
    if not names:
        raise DesignError((Refusal("judges", (), "there are no scores", "scores of two judges or more"),))
    models = sorted({model for _, model in groups})
    column = np.array([models.index(model) for _, model in groups])
    table = np.stack([np.bincount(column, row, len(models)) for row in number]).astype(np.int64)
    few = [name for name, row in zip(names, table, strict=True) if row.sum() < FEWEST_RESPONSES]
    if few:
        raise DesignError(
            (
                Refusal(
                    "few",
                    tuple(few),
                    f"{_listed(few)} scored fewer than {FEWEST_RESPONSES} responses",
                    f"scores of {_listed(few)} for {FEWEST_RESPONSES} or more responses drawn at random",
                ),
            )
        )
    if collinearity(table) >= MOST_COLLINEAR:
        share = table / table.sum(1, keepdims=True)
        usual = table.sum(0) / table.sum()
        at = int(np.abs(share - usual).sum(1).argmax())
        model = int((share[at] - usual).argmax())
        raise DesignError(
            (
                Refusal(
                    "collinear",
                    (names[at],),
                    f"{share[at, model]:.0%} of what {names[at]!r} scored are responses of {models[model]!r}, "
                    f"{usual[model]:.0%} of what all scored: judge and answering model are nearly the same thing, and "
                    "taking the judge's leniency away would take the model's quality away",
                    f"scores of {names[at]!r} for {FEWEST_RESPONSES} or more responses of other models, and scores of "
                    f"other judges for responses of {models[model]!r}; best each response to a judge drawn at random",
                ),
            )
        )
    against = _against(judged, names, number, total, squares)
    if against:
        raise DesignError((_reversed(names, against),))
    return _additive(names, groups, number, total, squares)


def _reversed(names: list[str], against: list[str]) -> Refusal:
    """Of judges whose scores fall where others' rise. Of two alone nobody knows whose are the wrong way round."""
    who = _listed(against)
    return Refusal(
        "reversed",
        tuple(against),
        f"the scores of {who} fall where those of {'each other' if len(against) == len(names) else 'others'} rise: a "
        "low score may mean good there, and no scale brings them together",
        f"scores of {who} the right way round, or leave out of the store whose scores mean something else",
    )


def _against(judged: Judged, names: list[str], number: Floats, total: Floats, squares: Floats) -> list[str]:
    """Judges whose scores fall where those of other judges rise: of those with any such other, who has the most."""
    shared = _shared_moments(judged, names)
    found = dict.fromkeys(names, 0)
    for one, other in combinations(range(len(names)), 2):
        n, x, y, xx, yy, xy = shared[one, other]
        if n >= FEWEST_RESPONSES:
            spread = (xx / n - (x / n) ** 2) * (yy / n - (y / n) ** 2)
            below = spread > 0 and (xy / n - x * y / n**2) * np.sqrt(n / spread) < -_AGAINST
        else:  # by the means of models in domains
            below = max(_along(number, total, squares, *pair) for pair in ((one, other), (other, one))) < -_AGAINST
        for at in (one, other) if below else ():
            found[names[at]] += 1
    most = max(found.values())
    return [name for name, times in found.items() if most and times == most]


def _shared_moments(judged: Judged, names: list[str]) -> Floats:
    """(J, J, 6): of what two judges share the number, sums, sums of squares and of products."""
    found = np.zeros((len(names), len(names), 6))
    for judges, sums in judged.tables.items():
        total = np.asarray(sums.total.sum(0) / judged.scale, np.float64)
        products = np.asarray(sums.products.sum(0) / judged.scale**2, np.float64)
        number = float(sums.number.sum())
        for i, j in combinations(range(len(judges)), 2):
            told = (number, total[i], total[j], products[i, i], products[j, j], products[i, j])
            found[names.index(judges[i]), names.index(judges[j])] += told
    return found


def _along(number: Floats, total: Floats, squares: Floats, one: int, other: int) -> float:
    """How a judge's means of groups go with another's, in standard errors; 0 where that cannot be told."""
    both = (number[one] > 0) & (number[other] > 0)
    if both.sum() < 2:
        return 0.0
    weight, mine, theirs = (
        number[one, both],
        total[one, both] / number[one, both],
        total[other, both] / number[other, both],
    )
    whole = number[one].sum()
    deviation = np.sqrt(max(squares[one].sum() / whole - (total[one].sum() / whole) ** 2, 0))
    theirs = theirs - weight @ theirs / weight.sum()
    wide = np.sqrt(weight @ theirs**2) * deviation
    return float(weight @ (theirs * mine) / wide) if wide > 0 else 0.0


def _additive(
    names: list[str], groups: list[tuple[str, str]], number: Floats, total: Floats, squares: Floats
) -> dict[str, JudgeScale]:
    """y = c_j + s_j (what model and domain explain + the rest), alternating between c, s and the model's part."""
    models, domains = (sorted({group[at] for group in groups}) for at in (1, 0))
    judge, group = np.nonzero(number)
    n, first, second = (part[judge, group] for part in (number, total, squares))
    design = np.zeros((len(judge), len(names) + len(models) + len(domains)))
    rows = np.arange(len(judge))
    design[rows, judge] = 1
    design[rows, len(names) + np.array([models.index(groups[at][1]) for at in group])] = 1
    design[rows, len(names) + len(models) + np.array([domains.index(groups[at][0]) for at in group])] = 1
    weight = np.sqrt(n)
    counts = number.sum(1)
    offset = total.sum(1) / counts
    scale = np.sqrt(np.maximum(squares.sum(1) / counts - offset**2, 0))
    if not (scale > 0).all():
        constant = [name for name, one in zip(names, scale, strict=True) if not one > 0]
        raise DesignError((constant_scores(constant),))
    for _ in range(_STEPS):
        z = (first / n - offset[judge]) / scale[judge]
        solved = np.linalg.lstsq(design * weight[:, None], z * weight, rcond=None)[0]
        shift = solved[: len(names)] - counts @ solved[: len(names)] / counts.sum()
        explained = design[:, len(names) :] @ solved[len(names) :]
        explained -= n @ explained / n.sum()
        new = offset + scale * shift
        expected = new[judge] + scale[judge] * explained
        left = np.bincount(judge, second - 2 * expected * first + n * expected**2, len(names)) / counts
        new_scale = np.sqrt(np.maximum(left, 1e-6 * scale**2))
        moved = max(float(np.abs((new - offset) / scale).max()), float(np.abs(new_scale / scale - 1).max()))
        offset, scale = new, new_scale
        if moved < 1e-9:
            break
    return {name: JudgeScale(float(offset[at]), float(scale[at]), round(counts[at])) for at, name in enumerate(names)}


def constant_scores(names: list[str]) -> Refusal:
    """Of judges that give every response the same score."""
    return Refusal(
        "constant",
        tuple(names),
        f"{_listed(names)} gave every response the same score, which has no spread",
        f"scores of {_listed(names)} for responses that differ in quality",
    )


def _cells(judged: Judged) -> tuple[list[str], list[tuple[str, str]], Floats, Floats, Floats]:
    """Judges, groups, and (judges, groups) scores, their sums and sums of squares."""
    names = sorted({name for judges in judged.tables for name in judges})
    groups = list(judged.groups)
    number, total, squares = (np.zeros((len(names), max(len(groups), 1))) for _ in range(3))
    for judges, sums in judged.tables.items():
        at = sums.key // BLOCKS
        for nth, judge in enumerate(judges):
            row = names.index(judge)
            np.add.at(number[row], at, sums.number.astype(np.float64))
            np.add.at(total[row], at, np.asarray(sums.total[:, nth] / judged.scale, np.float64))
            np.add.at(squares[row], at, np.asarray(sums.products[:, nth, nth] / judged.scale**2, np.float64))
    return names, groups, number, total, squares


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
