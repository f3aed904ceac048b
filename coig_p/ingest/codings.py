"""What a user says of a winner's column with --values: that it is said once, and of what rows hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coig_p.errors import UsageError
from coig_p.ingest.verdicts import number_in, told_of


def check_values(values: Mapping[str, str]) -> None:
    """Raise UsageError where one value is said to mean two things."""
    told: dict[Any, str] = {}
    for name, given in values.items():
        for word in map(str.strip, given.split("|")):
            number = number_in(word)
            if told.setdefault(word.lower() if number is None else number, name) != name:
                raise UsageError(f"--values says of {word} that it is two of first, second and tie")
    for key, name in told.items():
        if isinstance(key, float) and key and told.get("negative" if key < 0 else "positive", name) != name:
            raise UsageError(f"--values says of {key:g} that it is {name}, and of all numbers of its sign another")


def words_in(value: Any, values: Mapping[str, str]) -> set[str]:
    """Which words of --values a verdict is."""
    words = {word.strip() for given in values.values() for word in given.split("|")}
    return {word for word in words if told_of(value, {"tie": word}) is not None}
