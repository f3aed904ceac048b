"""Enough was answered: pages hand out nothing more of the rounds there are, and what somebody has open can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from coig_p.core.atomic import atomic_file
from coig_p.review.folder import REVIEW, Review

_STOPPED = "stopped"  # in the options of a review


def is_stopped(review: Review, round_: int) -> bool:
    """Whether no more tasks of a round are to be begun."""
    told = review.options.get(_STOPPED)
    return isinstance(told, Mapping) and isinstance(told.get("rounds"), int) and round_ <= told["rounds"]


def remember_stop(review: Review, at: datetime | None) -> None:
    """Say in review.json that enough was answered at that moment, or that it was not."""
    if (at is None) == (_STOPPED not in review.options):
        return
    options = {name: value for name, value in review.options.items() if name != _STOPPED}
    if at is not None:
        options[_STOPPED] = {"rounds": review.rounds, "at": at.isoformat(timespec="milliseconds")}
    with atomic_file(review.path / REVIEW) as stream:
        stream.write(replace(review, options=options).to_json().encode())
