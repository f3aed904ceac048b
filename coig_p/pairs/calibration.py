"""A file that says how strict each judge is and how wide its scores spread, and what that makes of a score.

`coigp judges STORE --calibrate FILE` fits one, never a load. A score of judge j becomes

    reference.offset + reference.scale * (score - offset of j) / scale of j

in float64 and in this order, rounded half to even to the grid of 1/10000. From there on all is whole numbers, as
without a file. What comes out may lie outside the range of scores: nothing is clipped. Comparisons stay as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from coig_p._version import __version__
from coig_p.core.arrays import Floats, Index
from coig_p.core.atomic import atomic_file
from coig_p.core.small_files import MARK, MOST, read_whole
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError, UsageError
from coig_p.schema import SCORE_GRID
from coig_p.store.locate import Location, file_in_store
from coig_p.store.store import CALIBRATION

FORMAT = "coig_p.calibration"
VERSION = 1
METHODS = ("joint", "zscore")
FARTHEST = 1e9
"""An offset is no farther from 0, and no scale is wider."""

NARROWEST = 1e-6
"""The narrowest scale."""

_FIELDS = ("format", "version", "method", "range", "judges", "reference", "store", "options", "tool")
_FIT = "Fit one with: coigp judges STORE --calibrate FILE"
_SHOWN = 80  # characters of a value in a message
_NAMED = 20  # judges in a message


@dataclass(frozen=True)
class JudgeScale:
    """How one judge scores.

    Attributes:
        offset: its mean, or how much more it gives than others, in points of the scale; subtracted first.
        scale: how wide its scores spread, above 0; divided by.
        responses: how many responses that was fitted on.
    """

    offset: float
    scale: float
    responses: int = 0


@dataclass(frozen=True)
class Calibration:
    """A calibration file. Two are equal where their bytes are: where they lie is nobody's business.

    Attributes:
        sha256: of the file, 64 hexadecimal digits.
        name: as the user named it, for messages.
        method: joint or zscore.
        judges: by name; empty where no more than the hash is known, as records of what was made with a file tell it.
        reference: the scale that scores are brought to.
        score_range: lowest and highest score of the store it was fitted on; None where the file does not say.
        fitted_on: SHA-256 of that store's manifest; None where the file does not say, or lies in the store itself.
    """

    sha256: str
    name: str = field(default="", compare=False, repr=False)
    method: str = field(default="", compare=False, repr=False)
    judges: Mapping[str, JudgeScale] = field(default_factory=dict, compare=False, repr=False)
    reference: JudgeScale = field(default=JudgeScale(0, 1), compare=False, repr=False)
    score_range: tuple[float, float] | None = field(default=None, compare=False, repr=False)
    fitted_on: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, value: Any) -> Calibration:
        """What a value of the option says: a path, which is read, or what `to_dict` gave.

        Raises:
            UsageError: it is neither.
            DataError: see `read_calibration`.
        """
        if isinstance(value, Calibration):
            return value
        if isinstance(value, (str, os.PathLike)) and os.fspath(value):
            return read_calibration(Path(os.fsdecode(os.fspath(value))))
        if isinstance(value, Mapping) and _is_sha256(value.get("sha256")):
            return _of_record(value)
        raise UsageError(f"calibrate={value!r}: use the path of a file that coigp judges --calibrate wrote")

    def to_dict(self) -> dict[str, Any]:
        """The hash and the method, for records."""
        return {"sha256": self.sha256, "method": self.method}

    def record(self) -> dict[str, Any]:
        """All that pairs depend on: with it they can be made again where the file is not at hand."""
        judges = {name: [one.offset, one.scale, one.responses] for name, one in sorted(self.judges.items())}
        return self.to_dict() | {"reference": [self.reference.offset, self.reference.scale], "judges": judges}

    def content(self) -> bytes:
        """The file's bytes, read again.

        Raises:
            DataError: it is not there any more, or another.
        """
        try:
            found = Path(self.name).read_bytes() if self.name else b""
        except OSError as error:
            raise DataError(f"{self.name}: the calibration file cannot be read: {error.strerror}") from None
        if hashlib.sha256(found).hexdigest() != self.sha256:
            raise DataError(f"{self.name or CALIBRATION}: it is not the calibration file that was read: run it again")
        return found

    def check_judges(self, names: Iterable[str | None]) -> None:
        """Raise UsageError where the file does not name one of these judges, whose scores would be used."""
        unknown = [name for name in names if name not in self.judges]
        if not unknown:
            return
        if not self.judges:
            raise UsageError(
                f"the calibration file with sha256 {self.sha256} is not at hand: name it with calibrate= (--calibrate)"
            )
        told = "scores without a judge's name" if unknown[0] is None else f"judge {unknown[0]!r}"
        known = ", ".join(map(repr, sorted(self.judges)[:_NAMED]))
        known += f" and {len(self.judges) - _NAMED} more" if len(self.judges) > _NAMED else ""
        raise UsageError(
            f"{self.name or 'the calibration file'}: {told} is not in it, so what its scores would be is not known; it "
            f"has {known}. Fit it on this store: coigp judges STORE --calibrate FILE, or use only judges that it has: "
            "judges= (--judges)"
        )

    def on_grid(self, scores: Floats, code: Index, names: Sequence[str]) -> Floats:
        """Scores as calibrated, in whole numbers of the grid.

        Args:
            scores: finite, on the judges' scale.
            code: of each its judge's place in `names`, -1 for one without a name.

        Raises:
            UsageError: a judge that the file does not name, or a score that calibrated is no finite number.
        """
        used = np.unique(code).tolist()
        self.check_judges(None if at < 0 else names[at] for at in used)
        offset, scale = np.zeros(len(names) + 1), np.ones(len(names) + 1)
        for at in used:
            offset[at], scale[at] = self.judges[names[at]].offset, self.judges[names[at]].scale
        with np.errstate(over="ignore", invalid="ignore"):
            found = calibrated(scores, offset[code], scale[code], self.reference) * SCORE_GRID
        if not np.isfinite(found).all():
            at = int(np.flatnonzero(~np.isfinite(found))[0])
            raise UsageError(
                f"{self.name or 'the calibration file'}: it makes of the score {scores[at]:g} of judge "
                f"{names[code[at]]!r} no finite number. {_FIT}"
            )
        return np.asarray(np.rint(found))

    def largest_margin(self, score_range: tuple[float, float], judges: Sequence[str] | None = None) -> float:
        """How far apart two scores of a range can be once calibrated, on the judges' scale.

        Args:
            judges: of these alone; default all in the file.
        """
        ends = [
            [float(np.rint(calibrated(bound, one.offset, one.scale, self.reference) * SCORE_GRID)) / SCORE_GRID]
            for name, one in self.judges.items()
            if judges is None or name in judges
            for bound in score_range
        ]
        values = [value for found in ends for value in found]
        return max(values) - min(values) if values else score_range[1] - score_range[0]


def calibrated(score: Any, offset: Any, scale: Any, reference: JudgeScale) -> Any:
    """The transform, before it is rounded: float64, in this order."""
    return reference.offset + reference.scale * (score - offset) / scale


def read_calibration(path: Path) -> Calibration:
    """Read and check a calibration file.

    Raises:
        DataError: it cannot be read, or is none; names the file, the field and the value.
    """
    name = str(path)
    try:
        text = read_whole(path, MOST).decode()  # with its mark: its hash is that of the file
    except OSError as error:
        raise DataError(f"{name}: the calibration file cannot be read: {error.strerror}. {_FIT}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: it is no calibration file, which is JSON: {error}. {_FIT}") from None
    return _parsed(name, text)


def _parsed(name: str, text: str) -> Calibration:
    try:
        found = strict_json(text.removeprefix(MARK))
    except RecursionError:
        raise DataError(f"{name}: it is no calibration file: it is nested too deep. {_FIT}") from None
    except ValueError as error:
        raise DataError(f"{name}: it is no calibration file, which is JSON: {error}. {_FIT}") from None
    if not isinstance(found, dict):
        raise _problem(name, "", found, "a JSON object")
    if found.get("format") != FORMAT:
        raise _problem(name, "format", found.get("format"), f"{FORMAT!r}")
    version = found.get("version")
    if type(version) is int and version > VERSION:
        raise DataError(f"{name}: version {version}; this coig-p reads up to {VERSION}: pip install -U coig-p")
    if type(version) is not int or version != VERSION:
        raise _problem(name, "version", version, f"{VERSION}")
    if found.get("method") not in METHODS:
        raise _problem(name, "method", found.get("method"), " or ".join(METHODS))
    _check_keys(name, "", found, _FIELDS)
    judges = found.get("judges")
    if not isinstance(judges, dict) or not judges:
        raise _problem(name, "judges", judges, "an object with an entry for each judge")
    if not all(judge.strip() for judge in judges):
        raise _problem(name, "judges", "", "names that are not blank")
    return Calibration(
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        name=name,
        method=found["method"],
        judges={judge: _scale(name, f"judges[{_shown(judge)}]", one, counted=True) for judge, one in judges.items()},
        reference=_scale(name, "reference", found.get("reference"), counted=False),
        score_range=_range(name, found.get("range")),
        fitted_on=_fitted_on(found.get("store")),
    )


def find_calibration(value: Any, location: Location, token: str | bool | None = None) -> Any:
    """A value of the option, where it is a path that lies in the store, and not here: the file there.

    Raises:
        DataError: see `read_calibration`.
        RemoteError: the file of a repository is not to be had.
    """
    beside = file_in_store(value, location, token)
    if beside is None:
        return value
    # What a release brings along was fitted on the store that it was made of.
    return replace(read_calibration(beside), fitted_on=None)


def write_calibration(
    out: Path,
    *,
    method: str,
    judges: Mapping[str, JudgeScale],
    reference: JudgeScale,
    score_range: tuple[float, float] | None = None,
    store: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Calibration:
    """Write a calibration file, whole or not at all: the same bytes for the same values.

    Args:
        store: what it was fitted on: manifest_sha256 and name.
        options: how.

    Returns:
        The same as `read_calibration` gives.

    Raises:
        UsageError: the file cannot be replaced.
        DataError: a value that `read_calibration` refuses; nothing is written then.
    """
    fields = {
        "format": FORMAT,
        "version": VERSION,
        "method": method,
        "range": None if score_range is None else list(map(float, score_range)),
        "judges": {
            name: {"offset": float(one.offset), "scale": float(one.scale), "responses": int(one.responses)}
            for name, one in sorted(judges.items())
        },
        "reference": {"offset": float(reference.offset), "scale": float(reference.scale)},
        "store": dict(store or {}),
        "options": dict(options or {}),
        "tool": f"coig-p {__version__}",
    }
    text = json.dumps(fields, ensure_ascii=False, indent=2) + "\n"
    found = _parsed(str(out), text)
    with atomic_file(out) as stream:
        stream.write(text.encode())
    return found


def _scale(name: str, where: str, found: Any, *, counted: bool) -> JudgeScale:
    if not isinstance(found, dict):
        raise _problem(name, where, found, "an object with offset and scale")
    offset, scale = found.get("offset"), found.get("scale")
    if not _is_offset(offset):
        raise _problem(name, f"{where}.offset", offset, f"a finite number from -{FARTHEST:g} to {FARTHEST:g}")
    if not _is_scale(scale):
        raise _problem(name, f"{where}.scale", scale, f"a finite number above 0, from {NARROWEST:g} to {FARTHEST:g}")
    _check_keys(name, f"{where}.", found, ("offset", "scale", "responses"))
    responses: Any = found.get("responses", None if counted else 0)
    if type(responses) is not int or responses < 0:
        raise _problem(name, f"{where}.responses", responses, "a whole number of 0 or more")
    return JudgeScale(float(offset), float(scale), responses)


def _range(name: str, found: Any) -> tuple[float, float] | None:
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 2 or not all(map(_is_number, found)) or found[0] >= found[1]:
        raise _problem(name, "range", found, "a lower and a higher number, or null")
    return float(found[0]), float(found[1])


def _fitted_on(store: Any) -> str | None:
    """What a file says of its store. It is for people: what is none is not taken for one."""
    told = store.get("manifest_sha256") if isinstance(store, dict) else None
    return told if _is_sha256(told) else None


def _of_record(told: Mapping[str, Any]) -> Calibration:
    """What `to_dict` or `record` gave."""
    try:
        judges = {
            str(name): JudgeScale(float(a), float(b), int(n)) for name, (a, b, n) in told.get("judges", {}).items()
        }
        offset, scale = told.get("reference", (0, 1))
        reference = JudgeScale(float(offset), float(scale))
        for one in (*judges.values(), reference):
            if not (_is_offset(one.offset) and _is_scale(one.scale)):
                raise ValueError
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise UsageError("calibrate: the record of the calibration file is damaged") from None
    return Calibration(str(told["sha256"]), "", str(told.get("method", "")), judges, reference)


def _check_keys(name: str, where: str, found: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = sorted(set(found) - set(known))
    if unknown:
        raise DataError(
            f"{name}: {where}{_shown(unknown[0])} is no key of a calibration file; it has {', '.join(known)}. Take it "
            f"out, or {_FIT[0].lower()}{_FIT[1:]}"
        )


def _is_offset(value: Any) -> TypeGuard[float]:
    return _is_number(value) and abs(value) <= FARTHEST


def _is_scale(value: Any) -> TypeGuard[float]:
    return _is_number(value) and NARROWEST <= value <= FARTHEST


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _problem(name: str, where: str, value: Any, wanted: str) -> DataError:
    what = f"{where} is {'missing' if value is None else _shown(value)}" if where else f"it is {_shown(value)}"
    return DataError(f"{name}: {what}; use {wanted}. {_FIT}")


def _shown(value: Any) -> str:
    """A value as JSON has it, on one line; of a long one the beginning."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
