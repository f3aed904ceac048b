"""How lenient each judge is, how far it spreads its scores, how much more it gives its own family: one joint model.

    y[r, j] = c[j] + s[j] * theta[r] + beta[j] * [family(r) = family(j)] + noise[j]

theta is the quality of response r, standardised over the responses that two judges or more scored. A difference of
means would take a better model for a favoured one, and a wide scale for a strict judge. So would alternating least
squares with every theta[r] a parameter of its own: each is estimated of a few scores, their noise does not average
out however many responses there are, and s comes out too near to equal. Here theta is random: within each group of
responses (those of a model in a domain) normal with a mean and a variance of its own. The likelihood is climbed by
alternating (EM): given the judges, what is expected of theta and its square; given these, a least-squares line for
each judge. That is consistent also where theta is not normal, since it rests on means and covariances alone.

All of it is computed from sums over units (the responses of a group that the same judges scored), never from single
responses, so that what a step costs does not grow with the store. Intervals come from a bootstrap over queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.stats.intervals import LEVEL

MOST_STEPS = 1_500
TOLERANCE = 1e-7  # of a step, as a share of a judge's standard deviation
_RESAMPLED = 1e-6  # the same for resamples, which begin where all scores ended
_RESAMPLES = 200
_MOST_UNSETTLED = 0.1
_ASIDE = 12  # steps
_FARTHEST = 200  # times a step that is leapt
_AT_ONCE = 1 << 22  # numbers of a bootstrap's sums that are held together
_SMALLEST = 1e-4  # of a variance, as a share of that of the scores


@dataclass(frozen=True)
class Units:
    """Sums over responses, of units by blocks of queries. U units, J judges, G groups, N rows.

    A unit is a group of responses that the same judges scored; a row is a unit within a block of queries.

    Attributes:
        judges: J names.
        seen: (U, J) which judges scored the unit.
        own: (G, J) whether a group is of the judge's family.
        group: U, the group of each unit.
        unit, block: N, ascending by unit.
        count: N responses.
        total: (N, J) sums of scores, 0 where a judge did not score.
        products: (N, J, J) sums of products of two judges' scores.
        queries: how many there are in all.
    """

    judges: tuple[str, ...]
    seen: Mask
    own: Mask
    group: Index
    unit: Index
    block: Index
    count: Floats
    total: Floats
    products: Floats
    queries: int


class Fitted(NamedTuple):
    """What maximises the likelihood, for each of B sets of sums.

    Attributes:
        offset, spread, favour, noise: (B, J) c, s, beta, and the variance of what is left.
        mean, variance: (B, G) of theta within each group.
        steps: how many it took.
        moved: B, the last step's largest change.
    """

    offset: Floats
    spread: Floats
    favour: Floats
    noise: Floats
    mean: Floats
    variance: Floats
    steps: int
    moved: Floats


class UnitSums(NamedTuple):
    """Sums by unit: (B, U), (B, U, J), (B, U, J, J)."""

    number: Floats
    total: Floats
    products: Floats


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; `error` is its standard error over queries."""

    value: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class JudgeFit:
    """One judge in the joint model, on the judges' scale.

    Attributes:
        offset: c, what it gives a response of average quality.
        leniency: c minus the mean of all judges' c.
        spread: s, how much more it gives for a standard deviation of quality.
        self_preference: beta, what its own family gets beyond that; None where none was asked or none of its family
            answered.
        noise: standard deviation of its scores around what the model expects.
        responses: that it and another judge scored.
        own: of these, of its own family.
    """

    offset: Estimate
    leniency: Estimate
    spread: Estimate
    self_preference: Estimate | None
    noise: Estimate
    responses: int
    own: int


@dataclass(frozen=True)
class JointFit:
    """What `fit_joint` found.

    Attributes:
        judges: by name.
        responses: that two judges or more scored; theta is standardised over them.
        queries: that they answer.
        blocks: independent draws behind the intervals: queries, or groups of them by hash where they are many.
        steps: of the alternation.
        converged: whether it had come to rest.
        unsettled: resamples that had not, of `resamples`.
    """

    judges: dict[str, JudgeFit]
    responses: int
    queries: int
    blocks: int
    steps: int
    converged: bool
    unsettled: int
    resamples: int

    @property
    def settled(self) -> bool:
        """False where the likelihood is so flat that the scores can hardly tell."""
        return self.converged and self.unsettled <= _MOST_UNSETTLED * self.resamples


def fit_joint(units: Units, *, self_preference: bool = True, resamples: int = _RESAMPLES, seed: int = 0) -> JointFit:
    """Fit the joint model, with a 95% interval for each number from a bootstrap over queries.

    An interval is the estimate plus and minus Student's t times the standard deviation over resamples, which draw
    blocks of queries with replacement and are fitted anew.

    Args:
        units: of a design that can tell: see `coig_p.stats.design`.
        self_preference: False leaves beta out of the model.
        resamples: how many.
        seed: of the draws.
    """
    favours: Mask = np.asarray((units.own[units.group] & units.seen).any(0) & self_preference)
    blocks, block = np.unique(units.block, return_inverse=True)
    whole = fit(sums_of(units, np.ones((1, len(blocks))), block), units, favours)
    rng = np.random.default_rng(seed)
    found: list[Fitted] = []
    size = units.seen.shape[0] * (len(units.judges) ** 2 + len(units.judges) + 1)
    chunk = max(1, min(resamples, _AT_ONCE // size))
    for start in range(0, resamples, chunk):
        number = min(chunk, resamples - start)
        weights = rng.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=number)
        sums = sums_of(units, weights.astype(np.float64), block)
        found.append(fit(sums, units, favours, whole, _RESAMPLED))
    drawn = {name: np.concatenate([getattr(one, name) for one in found]) for name in ("offset", "spread", "favour")}
    drawn["noise"] = np.sqrt(np.concatenate([one.noise for one in found]))
    half = _quantile(min(len(blocks), resamples))

    def told(value: Floats, draws: Floats) -> list[Estimate]:
        error = draws.std(0, ddof=1)
        return [
            Estimate(float(at), float(at - half * wide), float(at + half * wide), float(wide))
            for at, wide in zip(value, error, strict=True)
        ]

    offset = told(whole.offset[0], drawn["offset"])
    lenient = told(_centred(whole.offset)[0], _centred(drawn["offset"]))
    spread, favour = told(whole.spread[0], drawn["spread"]), told(whole.favour[0], drawn["favour"])
    noise = told(np.sqrt(whole.noise[0]), drawn["noise"])
    count = np.bincount(units.unit, units.count, len(units.group))
    scored = (count[:, None] * units.seen).sum(0)
    own = (count[:, None] * (units.seen & units.own[units.group])).sum(0)
    judges = {
        name: JudgeFit(
            offset[at],
            lenient[at],
            spread[at],
            favour[at] if favours[at] else None,
            noise[at],
            round(scored[at]),
            round(own[at]),
        )
        for at, name in enumerate(units.judges)
    }
    return JointFit(
        judges=judges,
        responses=round(count.sum()),
        queries=units.queries,
        blocks=len(blocks),
        steps=whole.steps,
        converged=bool(whole.moved[0] <= TOLERANCE),
        unsettled=int(sum((one.moved > _RESAMPLED).sum() for one in found)),
        resamples=resamples,
    )


def fit(
    sums: UnitSums, units: Units, favours: Mask, start: Fitted | None = None, tolerance: float = TOLERANCE
) -> Fitted:
    """Climb the likelihood of B sets of sums side by side, from `start` or from each judge's mean and deviation.

    Args:
        favours: J, which judges have a beta.
        tolerance: a set is done where no c, s or beta moves by more, as a share of the judge's standard deviation.
    """
    design = _Design.of(units, favours)
    sets = len(sums.number)
    scored = np.maximum(sums.number @ design.seen, 1e-300)
    centre = sums.total.sum(1) / scored
    squares = np.einsum("bujj->buj", sums.products)
    scale = np.sqrt(np.maximum(squares.sum(1) / scored - centre**2, 1e-12))
    if start is None:
        flat = np.zeros((sets, len(units.own)))
        every = [centre, 0.8 * scale, np.zeros_like(centre), 0.36 * scale**2, flat, np.ones_like(flat)]
    else:
        every = [np.repeat(np.asarray(part), sets, 0) for part in start[:6]]
    left, steps, moved = np.arange(sets), 0, np.zeros(sets)
    now, own, of = [part.copy() for part in every], sums, scale
    while len(left) and steps < MOST_STEPS:
        one = _step(now, own, design, of)
        two = _step(one, own, design, of)
        now = _further(now, one, two, own, design, of)
        change = np.max([np.abs(new - old) for new, old in zip(two[:3], one[:3], strict=True)], 0)
        steps += 3
        moved[left] = (change / of).max(-1)
        going = moved[left] > tolerance
        # Few sets need most of the steps: the others are put aside, not at each step, since that copies.
        if not going.any() or (steps % _ASIDE == 0 and not going.all()) or steps >= MOST_STEPS:
            for whole, part in zip(every, now, strict=True):
                whole[left] = part
            left, of = left[going], of[going]
            now, own = [part[going] for part in now], UnitSums(*(part[going] for part in own))
    offset, spread, favour, noise, mean, variance = every
    return Fitted(offset, spread, favour, noise, mean, variance, steps, moved)


def _further(
    start: list[Floats], one: list[Floats], two: list[Floats], sums: UnitSums, design: _Design, scale: Floats
) -> list[Floats]:
    """From where two steps lead, to where many would (SQUAREM: Varadhan and Roland 2008), and a step from there.

    A set for which that is no nearer to rest stays where the two steps led.
    """
    x0, x1, x2 = (_flat(part) for part in (start, one, two))
    pace, bend = x1 - x0, x2 - 2 * x1 + x0
    length = np.sqrt((pace**2).sum(-1) / np.maximum((bend**2).sum(-1), 1e-300))
    reach = np.clip(length, 1, _FARTHEST)[:, None]
    ahead = _unflat(x0 + 2 * reach * pace + reach**2 * bend, two)
    with np.errstate(all="ignore"):
        led = _step(ahead, sums, design, scale)
        far = np.sqrt(((_flat(led) - _flat(ahead)) ** 2).sum(-1))
        better = far <= np.sqrt((pace**2).sum(-1))  # False also where it is no number
    return [np.where(better[:, None], new, old) for new, old in zip(led, two, strict=True)]


def _flat(parts: list[Floats]) -> Floats:
    """(B, all numbers): variances as logarithms, which no step takes below 0."""
    return np.concatenate([*parts[:3], np.log(parts[3]), parts[4], np.log(parts[5])], -1)


def _unflat(flat: Floats, like: list[Floats]) -> list[Floats]:
    ends = np.cumsum([part.shape[-1] for part in like])[:-1]
    parts = np.split(flat, ends, -1)
    return [*parts[:3], np.exp(np.clip(parts[3], -60, 60)), parts[4], np.exp(np.clip(parts[5], -60, 60))]


class _Design(NamedTuple):
    """What does not change: (U, J) seen and own as numbers, J favours, (G, U) members, U group."""

    seen: Floats
    own: Floats
    favours: Mask
    members: Floats
    group: Index

    @classmethod
    def of(cls, units: Units, favours: Mask) -> _Design:
        seen = units.seen.astype(np.float64)
        members = np.zeros((len(units.own), len(units.group)))
        members[units.group, np.arange(len(units.group))] = 1
        return cls(seen, units.own[units.group] * seen * favours, favours, members, units.group)


def _step(now: list[Floats], sums: UnitSums, design: _Design, scale: Floats) -> list[Floats]:
    offset, slope, favour, noise, mean, variance = now
    seen, own, favours, members, at = design
    # What is expected of theta in each unit, given the judges.
    weight = (slope / noise)[:, None] * seen
    spread = 1 / (1 / variance[:, at] + (weight * slope[:, None]).sum(-1))  # (B, U)
    base = offset[:, None] * seen + favour[:, None] * own
    shift = spread * (mean[:, at] / variance[:, at] - (weight * base).sum(-1))
    told = spread[..., None] * weight
    along = (sums.products @ told[..., None])[..., 0]  # sums of scores times what they say of theta
    said = (told * sums.total).sum(-1)
    theta = sums.number * shift + said
    theta_y = shift[..., None] * sums.total + along
    theta_2 = sums.number * (spread + shift**2) + 2 * shift * said + (told * along).sum(-1)
    # A least-squares line for each judge on 1, theta, and whether the response is of its family.
    one, line, f, tt = sums.number @ seen, theta @ seen, sums.number @ own, theta_2 @ seen
    left = np.empty((*one.shape, 3, 3))
    left[..., 0, 0], left[..., 1, 1], left[..., 2, 2] = one, tt, np.where(favours, f + _SMALLEST, 1)
    left[..., 0, 1] = left[..., 1, 0] = line
    left[..., 0, 2] = left[..., 2, 0] = f
    left[..., 1, 2] = left[..., 2, 1] = theta @ own
    right = np.stack([sums.total.sum(1), theta_y.sum(1), (sums.total * own).sum(1)], -1)
    solved = np.linalg.solve(left, right[..., None])[..., 0]
    squares = np.einsum("bujj->bj", sums.products)
    noise = np.maximum((squares - (solved * right).sum(-1)) / one, _SMALLEST * scale**2)
    # The groups, and theta standardised anew.
    sizes = sums.number @ members.T
    inside = np.maximum(sizes, 1e-300)
    mean = theta @ members.T / inside
    variance = theta_2 @ members.T / inside - mean**2
    share = sizes / sizes.sum(-1, keepdims=True)
    middle = (share * mean).sum(-1, keepdims=True)
    deviation = np.sqrt((share * (variance + mean**2)).sum(-1, keepdims=True) - middle**2)
    return [
        solved[..., 0] + solved[..., 1] * middle,
        solved[..., 1] * deviation,
        solved[..., 2] * favours,
        noise,
        (mean - middle) / deviation,
        np.maximum(variance / deviation**2, _SMALLEST),
    ]


def sums_of(units: Units, weights: Floats, block: Index) -> UnitSums:
    """The sums of units where each block of queries counts as often as its weight says.

    Args:
        weights: (B, blocks).
        block: N, the place of each row's block in `weights`.
    """
    from scipy.sparse import csr_array

    rows, judges = len(units.unit), len(units.judges)
    # A row a response would be too many numbers to lay out once for each set of weights: they are multiplied instead.
    parts = np.concatenate([units.count[:, None], units.total, units.products.reshape(rows, -1)], 1)
    found = np.empty((len(weights), len(units.group), parts.shape[1]))
    for at, weight in enumerate(weights):
        adds = csr_array((weight[block], (units.unit, np.arange(rows))), shape=(len(units.group), rows))
        found[at] = adds @ parts
    square = found[..., 1 + judges :].reshape(*found.shape[:2], judges, judges)
    return UnitSums(found[..., 0], found[..., 1 : 1 + judges], np.ascontiguousarray(square))


def _centred(offset: Floats) -> Floats:
    return np.asarray(offset - offset.mean(-1, keepdims=True))


def _quantile(blocks: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(max(blocks - 1, 1), (1 + LEVEL) / 2))
