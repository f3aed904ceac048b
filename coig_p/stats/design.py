"""Whether a design can tell what the joint model asks: who scored what, and what to collect where it cannot.

Every spread is known beside the others by what judges share: of two that share responses, the covariance gives the
product of their spreads. So all are known where judges hang together by shared responses, and in one place three of
them share, two by two: with a chain or a square of judges alone, noise and spread cannot be told apart. What a judge
gives its own family beyond others' answers needs scores of both, that other judges gave too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.errors import DataError
from coig_p.stats.families import DEFAULT, family_of
from coig_p.stats.joint import JointFit, Units
from coig_p.stats.judged import BLOCKS, Judged

FEWEST_RESPONSES = 30
"""That two judges must share to count as sharing, and that a cell of own or other answers must hold."""

FEWEST_QUERIES = 15
"""That a judge's shared responses must come from: an interval over fewer promises too much."""

OWN_SHARE = 0.95
"""Of a judge's shared responses; above it, its leniency and its liking for its family are one number."""

_SAME = 0.99999  # correlation of two judges' scores
_GROUP = 50  # responses of a model in a domain that are a group of their own in the joint model
_MOST_UNITS = 1_500
_MOST_ROWS = 200_000  # of units by blocks: of more units blocks are put together
_FEWEST_BLOCKS = 64
_NAMED = 6


@dataclass(frozen=True)
class Refusal:
    """What cannot be told.

    Attributes:
        kind: judges, connected, spread, few, constant, same, own, others, flat or collinear.
        judges: whom it is about.
        why: what is missing.
        collect: what to collect.
    """

    kind: str
    judges: tuple[str, ...]
    why: str
    collect: str

    def __str__(self) -> str:
        return f"{self.why}. Collect: {self.collect}"


class DesignError(DataError):
    """A design that cannot tell; each of its refusals says what to collect.

    Attributes:
        refusals: all of them.
    """

    def __init__(self, refusals: tuple[Refusal, ...], otherwise: str = "") -> None:
        self.refusals = refusals
        lines = "\n".join(f"  {one}" for one in (*refusals, *([otherwise] if otherwise else [])))
        super().__init__(f"these scores cannot tell how their judges differ:\n{lines}")


def refusals_of(
    judged: Judged, families: Mapping[str, str] = DEFAULT, *, self_preference: bool = True
) -> tuple[Refusal, ...]:
    """Why the joint model cannot be fitted; empty where it can.

    Args:
        families: pattern -> family.
        self_preference: whether beta is asked for.
    """
    names = sorted({name for judges in judged.tables for name in judges})
    if len(names) < 3:
        told = ", ".join(map(repr, names)) or "none"
        return (
            Refusal(
                "judges",
                tuple(names),
                f"scores of {len(names)} judge{'s' if len(names) != 1 else ''} ({told}), and with fewer than three a "
                "wide scale cannot be told from noise",
                f"scores of {3 - len(names)} more judge{'s' if len(names) < 2 else ''} for {FEWEST_RESPONSES} or more "
                f"responses, of {FEWEST_QUERIES} or more queries, that these have scored",
            ),
        )
    share, unseen = _shared(judged, names)
    linked = share >= FEWEST_RESPONSES
    found = [*_apart(names, linked, share, unseen)]
    if not found and not _odd(linked):
        found.append(
            Refusal(
                "spread",
                tuple(names),
                f"no three judges share {FEWEST_RESPONSES} responses two by two, so a wide scale cannot be told from "
                "noise",
                f"scores of a third judge for {FEWEST_RESPONSES} or more responses, of {FEWEST_QUERIES} or more "
                "queries, that two judges have scored",
            )
        )
    found += [] if found else _few(judged, names)
    found += _alike(judged, names)
    return (*found, *(_cells(judged, names, families) if self_preference else ()))


def units_of(judged: Judged, families: Mapping[str, str] = DEFAULT, *, without: Collection[str] = ()) -> Units:
    """The sums of responses that two judges or more scored, as the joint model takes them.

    A group is a model in a domain where that has 50 responses; smaller ones are together by model, and models of
    fewer by family.

    Args:
        families: pattern -> family.
        without: judges of whom no family is asked for.
    """
    names = tuple(sorted({name for judges in judged.tables if len(judges) > 1 for name in judges}))
    of_judge = [family_of(name, families) for name in names]
    keys = list(judged.groups)
    family = {model: family_of(model, families) for _, model in keys}
    tables = {judges: sums for judges, sums in judged.tables.items() if len(judges) > 1}
    size: dict[tuple[str, str], int] = defaultdict(int)
    for sums in tables.values():
        for at, number in zip(sums.key // BLOCKS, sums.number, strict=True):
            size[keys[at]] += int(number)
    by_model: dict[str, int] = defaultdict(int)
    for (_, model), number in size.items():
        by_model[model] += number
    coarse = len(tables) * len(size) > _MOST_UNITS

    def group_of(domain: str, model: str) -> tuple[str, ...]:
        if not coarse and size[domain, model] >= _GROUP:
            return family[model], model, domain
        return (family[model], model) if by_model[model] >= _GROUP else (family[model],)

    named = [group_of(*key) for key in keys]
    groups = sorted(set(named))
    number_of = np.array([groups.index(one) for one in named], np.int64)
    asked = [name not in without for name in names]
    own = np.array(
        [[group[0] == one and ask for one, ask in zip(of_judge, asked, strict=True)] for group in groups], bool
    ).reshape(len(groups), len(names))
    seen: list[list[bool]] = []
    group: list[int] = []
    unit: list[int] = []
    block: list[Index] = []
    count: list[Floats] = []
    total: list[Floats] = []
    products: list[Floats] = []
    scale = float(judged.scale)
    blocks_kept = BLOCKS
    while len(tables) * len(groups) * blocks_kept > _MOST_ROWS and blocks_kept > _FEWEST_BLOCKS:
        blocks_kept //= 2
    for judges, sums in sorted(tables.items()):
        places = [names.index(judge) for judge in judges]
        own_group = number_of[sums.key // BLOCKS]
        for one in np.unique(own_group).tolist():
            rows = np.flatnonzero(own_group == one)
            blocks, at = np.unique(sums.key[rows] % blocks_kept, return_inverse=True)
            wide = np.zeros((len(blocks), len(names)))
            square = np.zeros((len(blocks), len(names), len(names)))
            n = np.zeros(len(blocks))
            np.add.at(n, at, sums.number[rows].astype(np.float64))
            small, smaller = np.zeros((len(blocks), len(judges))), np.zeros((len(blocks), len(judges), len(judges)))
            np.add.at(small, at, np.asarray(sums.total[rows] / scale, np.float64))
            np.add.at(smaller, at, np.asarray(sums.products[rows] / scale / scale, np.float64))
            wide[:, places] = small
            square[np.ix_(range(len(blocks)), places, places)] = smaller
            unit += [len(seen)] * len(blocks)
            seen.append([name in judges for name in names])
            group.append(one)
            block.append(blocks)
            count.append(n)
            total.append(wide)
            products.append(square)
    return Units(
        judges=names,
        seen=np.array(seen, bool),
        own=own,
        group=np.array(group, np.int64),
        unit=np.array(unit, np.int64),
        block=np.concatenate(block),
        count=np.concatenate(count),
        total=np.concatenate(total),
        products=np.concatenate(products),
        queries=sum(judged.blocks.values()),
    )


def hardly_told(fit: JointFit) -> Refusal:
    """Of a fit that is not settled."""
    lost = tuple(name for name, one in fit.judges.items() if one.spread.low <= 0) or tuple(fit.judges)
    return Refusal(
        "flat",
        lost,
        f"of the scores of {_listed(lost)} hardly anything follows: many spreads and noises explain them as well",
        f"more responses that these and other judges score, or leave {_listed(lost)} out",
    )


def _shared(judged: Judged, names: list[str]) -> tuple[Index, Index]:
    """(J, J) responses that two judges share; J responses of each."""
    place = {name: at for at, name in enumerate(names)}
    share, each = np.zeros((len(names), len(names)), np.int64), np.zeros(len(names), np.int64)
    for judges, sums in judged.tables.items():
        at = [place[name] for name in judges]
        number = int(sums.number.sum())
        each[at] += number
        if len(at) > 1:
            share[np.ix_(at, at)] += number
    np.fill_diagonal(share, 0)
    return share, each


def _apart(names: list[str], linked: Mask, share: Index, each: Index) -> list[Refusal]:
    """One refusal for each part of the judges that does not hang together with the largest."""
    parts = _parts(linked)
    if len(parts) == 1:
        return []
    main = max(parts, key=lambda part: (int(each[part].sum()), -part[0]))
    found = []
    for part in parts:
        if part is main:
            continue
        own, rest = tuple(names[at] for at in part), tuple(names[at] for at in main)
        most = int(share[np.ix_(part, main)].max(initial=0))
        found.append(
            Refusal(
                "connected",
                own,
                f"{_listed(own)} and {_listed(rest)} share {most} responses, so whose scale is whose cannot be told",
                f"scores of {_listed(own)} for {FEWEST_RESPONSES - most} or more responses that {_listed(rest)} "
                f"scored, so that what they share comes from {FEWEST_QUERIES} or more queries",
            )
        )
    return found


def _parts(linked: Mask) -> list[list[int]]:
    left, found = set(range(len(linked))), []
    while left:
        part, todo = [], [min(left)]
        while todo:
            one = todo.pop()
            if one in left:
                left.remove(one)
                part.append(one)
                todo += np.flatnonzero(linked[one]).tolist()
        found.append(sorted(part))
    return found


def _odd(linked: Mask) -> bool:
    """Whether judges that hang together do so in a ring of an odd number somewhere."""
    side = {0: 0}
    todo = [0]
    while todo:
        one = todo.pop()
        for other in np.flatnonzero(linked[one]).tolist():
            if other not in side:
                side[other] = 1 - side[one]
                todo.append(other)
            elif side[other] == side[one]:
                return True
    return False


def _few(judged: Judged, names: list[str]) -> list[Refusal]:
    """Refusals of judges whose shared responses come from too few queries to say how much queries differ."""
    blocks: dict[str, set[int]] = defaultdict(set)
    for judges, sums in judged.tables.items():
        for name in judges if len(judges) > 1 else ():
            blocks[name] |= set((sums.key % BLOCKS).tolist())
    return [
        Refusal(
            "few",
            (name,),
            f"what {name!r} shares with others comes from about {len(blocks[name])} queries, too few for an interval",
            f"scores of {name!r} for responses to {FEWEST_QUERIES - len(blocks[name])} or more other queries that "
            "another judge scored too",
        )
        for name in names
        if len(blocks[name]) < FEWEST_QUERIES
    ]


def _alike(judged: Judged, names: list[str]) -> list[Refusal]:
    """Refusals of judges that give every shared response one score, and of two that give the same ones."""
    place = {name: at for at, name in enumerate(names)}
    size = len(names)
    n, cross = np.zeros((size, size)), np.zeros((size, size))
    left, own = (
        np.zeros((size, size)),
        np.zeros((size, size)),
    )  # [i, k]: sums of i's scores, and squares, where k scored
    for judges, sums in judged.tables.items():
        if len(judges) < 2:
            continue
        at = np.ix_(*[[place[name] for name in judges]] * 2)
        total = np.asarray(sums.total.sum(0) / judged.scale, np.float64)
        products = np.asarray(sums.products.sum(0) / judged.scale**2, np.float64)
        n[at] += int(sums.number.sum())
        cross[at] += products
        left[at] += total[:, None]
        own[at] += np.diag(products)[:, None]
    found = []
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = own / n - (left / n) ** 2
        covariance = cross / n - left * left.T / n**2
        related = covariance / np.sqrt(variance * variance.T)
    constant = [
        name for at, name in enumerate(names) if n[at, at] and variance[at, at] <= 1e-9 * (1 + own[at, at] / n[at, at])
    ]
    for name in constant:
        found.append(
            Refusal(
                "constant",
                (name,),
                f"{name!r} gave every shared response the same score, which has no spread",
                f"scores of {name!r} for responses that differ in quality, or leave it out",
            )
        )
    for here, one in enumerate(names):
        for other in range(here + 1, size):
            if (
                n[here, other] >= FEWEST_RESPONSES
                and related[here, other] > _SAME
                and not {one, names[other]} & set(constant)
            ):
                found.append(
                    Refusal(
                        "same",
                        (one, names[other]),
                        f"{one!r} and {names[other]!r} gave {int(n[here, other]):,} responses the same scores but for "
                        "scale: they are one judge under two names",
                        f"scores of another judge, and leave one of {one!r} and {names[other]!r} out",
                    )
                )
    return found


def _cells(judged: Judged, names: list[str], families: Mapping[str, str]) -> list[Refusal]:
    """Refusals of judges whose own family answered, by what of its answers they and others scored."""
    groups = list(judged.groups)
    family = [family_of(model, families) for _, model in groups]
    found = []
    for name in names:
        own_family = family_of(name, families)
        models = sorted({model for (_, model), one in zip(groups, family, strict=True) if one == own_family})
        if not models:
            continue  # nothing of its family is there to be liked
        is_own = np.array([one == own_family for one in family])
        own = other = 0
        for judges, sums in judged.tables.items():
            if name in judges and len(judges) > 1:
                mine = is_own[sums.key // BLOCKS]
                # Where all who scored an answer are of its family, its quality and their liking are one number.
                if any(family_of(one, families) != own_family for one in judges):
                    own += int(sums.number[mine].sum())
                other += int(sums.number[~mine].sum())
        if own < FEWEST_RESPONSES:
            found.append(
                Refusal(
                    "own",
                    (name,),
                    f"judge {name!r} scored {own} responses of its own family ({_listed(tuple(models))}) that a judge "
                    "of another family scored too, so how much it prefers them cannot be told",
                    f"scores of {name!r} and of judges of other families for {FEWEST_RESPONSES - own} more responses "
                    f"of {_listed(tuple(models))}; or leave self-preference out: --no-self-preference",
                )
            )
        elif other < FEWEST_RESPONSES or own > OWN_SHARE * (own + other):
            needed = max(FEWEST_RESPONSES - other, int(np.ceil(own / OWN_SHARE - own)) - other, 1)
            found.append(
                Refusal(
                    "others",
                    (name,),
                    f"judge {name!r} scored {own} responses of its own family and {other} of others that another judge "
                    "scored too, so its leniency and its liking for its family are nearly one number",
                    f"scores of {name!r} and of two other judges for {needed} or more responses of other families; or "
                    "leave self-preference out: --no-self-preference",
                )
            )
    return found


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
