"""Values of options as Python's own, whatever they came as: from numpy, as Decimal or Fraction, in an array or a set.

Equal values are one value afterwards: one type, one repr, one key of the cache.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Rational
from typing import Any

import numpy as np

from coig_p.errors import UsageError
from coig_p.schema import SCORE_GRID


def whole_number(name: str, value: Any, least: int | None = None) -> int:
    """A whole number of any type as an int; raise UsageError where it is none, or below `least`."""
    plain = _scalar(value)
    if isinstance(plain, Integral) and not isinstance(plain, bool) and (least is None or int(plain) >= least):
        return int(plain)
    raise UsageError(f"{name}={value!r}: use a whole number" + ("" if least is None else f" of {least} or more"))


def flag(name: str, value: Any) -> bool:
    """True or False, also as numpy has them, as a bool; raise UsageError for anything else."""
    plain = _scalar(value)
    if isinstance(plain, (bool, np.bool_)):
        return bool(plain)
    raise UsageError(f"{name}={value!r}: use True or False")


def exact(value: Any) -> Fraction | None:
    """The number that a value says, or None where it says no finite number.

    A float says the shortest decimal that is read back as this float of this size: a float32 of .1 is .1,
    though its bits are those of 0.100000001490116.
    """
    plain = _scalar(value)
    if isinstance(plain, (bool, np.bool_)):
        return None
    if isinstance(plain, Integral):
        return Fraction(int(plain))
    if isinstance(plain, Rational):
        return Fraction(plain)
    if isinstance(plain, float):
        plain = Decimal(float.__repr__(plain))
    elif isinstance(plain, np.floating):
        plain = Decimal(str(plain))
    return Fraction(plain) if isinstance(plain, Decimal) and plain.is_finite() else None


def grid_number(value: Any) -> float | None:
    """A number of 0 or more with at most 4 decimals as the float nearest to it; None for anything else."""
    number = exact(value)
    if number is None or number < 0 or (number * SCORE_GRID).denominator != 1:
        return None
    try:
        return float(number)
    except OverflowError:
        return None


def finite_number(value: Any) -> float | None:
    """A finite number as the float nearest to it; None for anything else."""
    number = exact(value)
    try:
        return None if number is None else float(number)
    except OverflowError:
        return None


def text(value: Any) -> str | None:
    """A string, also numpy's or of another subclass, as a str; None for anything else."""
    plain = _scalar(value)
    return str.__str__(plain) if isinstance(plain, str) else None


def names(name: str, value: Any) -> tuple[str, ...]:
    """One name, or names in any collection, as a tuple of str; raise UsageError where there is none, or a blank one."""
    plain = _scalar(value)
    each = [plain] if isinstance(plain, str) or not isinstance(plain, Iterable) else plain
    found = [text(one) for one in each]
    given = tuple(one for one in found if one)
    if not given or len(given) < len(found):
        raise UsageError(f"{name}={value!r}: give one or more names, or leave it out for all")
    return given


def _scalar(value: Any) -> Any:
    """The value in an array without dimensions; any other value as it is."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
