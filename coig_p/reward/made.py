"""A trained reward model on disk: what it was made of, how, and how good it is on queries that it never saw.

    MODEL/
      coig_p_reward.json   kind, base, store, pairs, loss, training, held-out accuracy, hashes of files; written last
      ...                  the model itself: weights.npz of an n-gram model, or what transformers saves

A folder without a whole coig_p_reward.json is none: training stopped half way.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import numpy.typing as npt

from coig_p.errors import DataError, UsageError
from coig_p.reward.bench.form import TOOL, header_field, read_header, shown, write_header
from coig_p.stats.intervals import mean, moments, share
from coig_p.store.places import Marker, check_directory, check_outside
from coig_p.store.writing import sha256_of

MADE = "coig_p_reward.json"
LANGUAGE_MODEL = "language-model"
"""A folder in the folder: what stayed a language model, where training kept one."""
FORMAT, VERSION = "coig_p.reward", 1
NGRAM, TRANSFORMERS = "ngram", "transformers"
KINDS = (NGRAM, TRANSFORMERS)
MARKER = Marker(MADE, (b'"coig_p.reward"',))
ENOUGH = 200
"""Held-out queries below which nothing is concluded: signal that is there is found in one run of two, or fewer."""

LENGTH, MAJORITY = "length", "majority_model"
"""What every accuracy stands beside: the longer response wins, and the model that wins more often elsewhere does."""


@dataclass(frozen=True)
class Accuracy:
    """How many held-out pairs something gets right: the chosen one's reward is the higher.

    Attributes:
        pairs, queries: looked at.
        ties: pairs with equal rewards, which are not right.
        accuracy: right pairs of all; None of none.
        low, high: its 95% interval by query; None below two queries.
    """

    pairs: int
    queries: int
    ties: int = 0
    accuracy: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, query: npt.NDArray[Any], difference: npt.NDArray[Any]) -> Accuracy:
        """From each pair's query, a number, and the reward of its chosen response less that of its rejected one."""
        import numpy as np

        numbers, at = np.unique(query, return_inverse=True)
        right = np.bincount(at, difference > 0, len(numbers)).astype(np.int64)
        found = share(moments(right, np.bincount(at, minlength=len(numbers))))
        ties = int((difference == 0).sum())
        return cls(len(query), len(numbers), ties, found.share, found.low, found.high)

    def stretched(self, by: float) -> Accuracy:
        """With an interval that reaches so many times as far, within 0 and 1."""
        if self.accuracy is None or self.low is None or self.high is None:
            return self
        low, high = (self.accuracy + by * (end - self.accuracy) for end in (self.low, self.high))
        return replace(self, low=max(0.0, low), high=min(1.0, high))

    def to_dict(self) -> dict[str, Any]:
        """By name."""
        return {
            "pairs": self.pairs,
            "queries": self.queries,
            "ties": self.ties,
            "accuracy": self.accuracy,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True)
class Lift:
    """By how much more accurate a model is than a baseline, on the same pairs.

    Attributes:
        lift: of accuracies; None of no pair.
        low, high: its 95% interval by query; None below two queries.
    """

    lift: float | None = None
    low: float | None = None
    high: float | None = None

    def stretched(self, by: float) -> Lift:
        """With an interval that reaches so many times as far."""
        if self.lift is None or self.low is None or self.high is None:
            return self
        low, high = (self.lift + by * (end - self.lift) for end in (self.low, self.high))
        return Lift(self.lift, max(-1.0, low), min(1.0, high))


@dataclass(frozen=True)
class HeldOut:
    """What a model and its baselines get right on queries that were not trained on.

    Attributes:
        model: the trained model.
        beside: at least LENGTH and MAJORITY, on the same pairs.
        over_length: the model against LENGTH, pair by pair.
        how: what was held out, in words.
    """

    model: Accuracy
    beside: Mapping[str, Accuracy]
    over_length: Lift
    how: str

    @classmethod
    def of(
        cls,
        query: npt.NDArray[Any],
        difference: npt.NDArray[Any],
        beside: Mapping[str, npt.NDArray[Any]],
        how: str,
        *,
        folds: int | None = None,
        unfitted: Collection[str] = (LENGTH,),
    ) -> HeldOut:
        """From each pair's query, a number, and what chosen has more than rejected by the model and the others.

        Args:
            beside: LENGTH and MAJORITY among them; nan where a pair has none, which then is not counted there.
            folds: of cross-validation; None where some queries were held out once. Models of folds were fitted to
                nearly the same queries and err together, so that queries tell less than they seem to: the variance
                is 1 + folds / (folds - 1) times as large (Nadeau and Bengio, 2003).
            unfitted: of `beside`, those that no fold was fitted for.
        """
        by = 1.0 if folds is None else math.sqrt(1 + folds / (folds - 1))
        told = {}
        for name, values in beside.items():
            known = ~np.isnan(values)
            told[name] = Accuracy.of(query[known], values[known]).stretched(1.0 if name in unfitted else by)
        numbers, at = np.unique(query, return_inverse=True)
        more = np.bincount(at, (difference > 0) * 1.0 - (beside[LENGTH] > 0), len(numbers)).astype(np.int64)
        found = mean(moments(more, np.bincount(at, minlength=len(numbers))))
        lift = Lift(found.mean, found.low, found.high).stretched(by)
        return cls(Accuracy.of(query, difference).stretched(by), told, lift, how)

    @property
    def verdict(self) -> str:
        """What can be concluded of signal beyond length: "inconclusive" below ENOUGH queries, "signal" where the
        accuracy's interval lies above one half and that of the lift over length above 0, else "none"."""
        if self.model.queries < ENOUGH or self.model.low is None or self.over_length.low is None:
            return "inconclusive"
        return "signal" if self.model.low > 0.5 and self.over_length.low > 0 else "none"

    def to_dict(self) -> dict[str, Any]:
        """As coig_p_reward.json has it."""
        told = self.model.to_dict() | {"verdict": self.verdict, "how": self.how}
        lift = self.over_length
        told |= {"over_length": {"lift": lift.lift, "low": lift.low, "high": lift.high}}
        return told | {name: one.to_dict() for name, one in self.beside.items()}


@dataclass(frozen=True)
class TrainedModel:
    """What coig_p_reward.json says.

    Attributes:
        kind: one of KINDS.
        base: what training began with: builtin:ngram, a folder's name or a Hub id.
        store: "name" and "manifest_sha256" of what it was trained on.
        pairs: the options that made the pairs, as records everywhere have them.
        loss: "name", and its constants.
        training: everything else that the weights depend on, and what was counted.
        held_out: None where nothing was held out.
        half: of the store, 1 or 2; None where all of it was used.
        files: SHA-256 of each file of the folder, by name.
        tool: what made it, with its version.
    """

    kind: str
    base: str
    store: Mapping[str, Any]
    pairs: Mapping[str, Any]
    loss: Mapping[str, Any]
    training: Mapping[str, Any]
    held_out: HeldOut | None = None
    half: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    tool: str = TOOL

    def to_dict(self) -> dict[str, Any]:
        """As the file has it."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "base": self.base,
            "store": dict(self.store),
            "pairs": dict(self.pairs),
            "loss": dict(self.loss),
            "training": dict(self.training),
            "held_out": None if self.held_out is None else self.held_out.to_dict(),
            "half": self.half,
            "files": dict(self.files),
            "tool": self.tool,
        }


def check_place(out: Path, overwrite: bool) -> None:
    """Raise UsageError where a reward model cannot be written to `out`, before hours are spent on it."""
    check_outside(out, "a reward model")
    check_directory(out, MARKER, "a reward model", overwrite)
    nearest = next(parent for parent in out.absolute().parents if parent.is_dir())
    try:
        Path(mkdtemp(dir=nearest)).rmdir()
    except OSError as error:
        raise UsageError(
            f"{out}: no folder can be made in {nearest}: {error.strerror}. Choose another place with --out"
        ) from None


def is_trained(folder: str | Path) -> bool:
    """Whether a folder says that it is a reward model of ours."""
    return MARKER.marks(Path(folder))


def write_trained(folder: Path, trained: TrainedModel) -> TrainedModel:
    """Write coig_p_reward.json beside a model that is there whole, with the hash of each of its files.

    Of folders in the folder only the language model is the model's; what else may lie there, as checkpoints, is not.

    Returns:
        What was written, `files` filled in.
    """
    names = sorted(
        path.relative_to(folder).as_posix()
        for place in (folder, folder / LANGUAGE_MODEL)
        for path in (place.iterdir() if place.is_dir() else ())
        if path.is_file() and path != folder / MADE
    )
    files = {name: sha256_of(folder / name) for name in names}
    trained = replace(trained, files=files)
    write_header(folder / MADE, trained.to_dict())
    return trained


def read_trained(folder: str | Path, *, check_files: bool = True) -> TrainedModel:
    """Read what a folder says of the reward model in it.

    Args:
        check_files: also compare every file with its hash, which reads them all.

    Raises:
        DataError: there is none, a field is not as it should be, or a file is missing, cut short or changed; names
            file and field.
    """
    root = Path(folder)
    path = root / MADE
    told = read_header(root, MADE, FORMAT, VERSION, "a reward model. Train one with: coigp reward train STORE")
    kind, base = header_field(path, told, "kind", str), header_field(path, told, "base", str)
    if kind not in KINDS:
        raise DataError(f"{path} .kind: {shown(kind)} is none of {', '.join(KINDS)}")
    store, pairs, loss, training, files = (
        header_field(path, told, name, dict) for name in ("store", "pairs", "loss", "training", "files")
    )
    half = told.get("half")
    if half not in (None, 1, 2) or isinstance(half, bool):
        raise DataError(f"{path} .half: {shown(half)} is not 1, 2 or null")
    for name, digest in files.items():
        bare = name.removeprefix(f"{LANGUAGE_MODEL}/")
        if not isinstance(digest, str) or Path(bare).name != bare or bare in ("", ".."):
            raise DataError(f"{path} .files: {shown(name)}: {shown(digest)} is not a file's name and its sha256")
        if check_files:
            _check_file(root / name, digest)
    tool = header_field(path, told, "tool", str, "")
    held_out = _held_out(path, told.get("held_out"))
    return TrainedModel(kind, base, store, pairs, loss, training, held_out, half, files, tool)


def _check_file(path: Path, digest: str) -> None:
    if not path.is_file():
        raise DataError(f"{path}: missing, and {MADE} lists it: copy the whole folder, or train again")
    if sha256_of(path) != digest:
        raise DataError(
            f"{path}: its sha256 is not the one in {MADE}: it is cut short or changed. Copy it again, or train again"
        )


def _held_out(path: Path, told: Any) -> HeldOut | None:
    if told is None:
        return None
    if not isinstance(told, dict):
        raise DataError(f"{path} .held_out: {shown(told)} is not an object or null")
    how = header_field(path, told, "how", str, "")
    lift = _numbers(path, "held_out.over_length", told.get("over_length") or {}, ("lift", "low", "high"), -1)
    beside = {
        name: _accuracy(path, f"held_out.{name}", value)
        for name, value in told.items()
        if isinstance(value, dict) and name != "over_length"
    }
    return HeldOut(_accuracy(path, "held_out", told), beside, Lift(*lift), how)


def _accuracy(path: Path, where: str, told: Mapping[str, Any]) -> Accuracy:
    counts = []
    for name in ("pairs", "queries", "ties"):
        value = told.get(name, 0)
        if type(value) is not int or value < 0:
            raise DataError(f"{path} .{where}.{name}: {shown(value)} is not a whole number of 0 or more")
        counts.append(value)
    return Accuracy(*counts, *_numbers(path, where, told, ("accuracy", "low", "high"), 0))


def _numbers(path: Path, where: str, told: Any, names: tuple[str, ...], least: float) -> list[float | None]:
    if not isinstance(told, dict):
        raise DataError(f"{path} .{where}: {shown(told)} is not an object")
    for name in names:
        value = told.get(name)
        if value is not None and not (type(value) in (int, float) and least <= value <= 1):
            raise DataError(f"{path} .{where}.{name}: {shown(value)} is not a number from {least} to 1, or null")
    return [told.get(name) for name in names]
