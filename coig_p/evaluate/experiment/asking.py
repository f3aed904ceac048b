"""What an experiment needs of a benchmark: answers of a served model, a judge's scores, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from coig_p.annotate.asking.endpoint import Endpoint


@dataclass(frozen=True)
class Served:
    """A model that can be asked.

    Attributes:
        base_url: of an OpenAI-compatible server.
        model: what the server calls it.
        known_as: what it is called wherever answers are kept: no port and no path is in it.
    """

    base_url: str
    model: str
    known_as: str


@dataclass(frozen=True)
class Scores:
    """What a judge said of one model's answers to a benchmark.

    Attributes:
        overall: as the benchmark counts it; None where no answer could be scored.
        parts: the numbers that the overall is made of, and whatever else the benchmark reports, by name.
        by_question: a question's score; None where what the judge said is invalid.
        categories: the category of each question.
        weights: how much of the overall each category's mean is; they add up to 1.
        invalid: how many have none.
        judge: who judged, and with what prompt; scores of two judges are never compared.
    """

    overall: float | None
    parts: Mapping[str, float | None]
    by_question: Mapping[str, float | None]
    categories: Mapping[str, str]
    weights: Mapping[str, float]
    invalid: int
    judge: str


class Asking(Protocol):
    """How benchmarks are asked: `coig_p.evaluate.experiment.aligned` in earnest, a script in tests."""

    def judge_endpoint(self, judge: Path) -> tuple[Endpoint, tuple[str, ...]]:
        """Whom a judge's file asks, and what files it names; raise UsageError where it cannot be read."""

    def judge_said(self, judge: Path) -> Any:
        """Who judges and with what prompt, as JSON: nothing secret, no address."""

    def answer(
        self,
        served: Served,
        benchmark: Path,
        out: Path,
        ledger: Path,
        *,
        official: bool,
        parameters: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        """Ask every question, and write the answers into the folder `out`."""

    def judge(
        self, benchmark: Path, answers: Path, judge: Path, out: Path, ledger: Path, *, say: Callable[[str], None]
    ) -> None:
        """Have a judge score answers, and write what it said into the folder `out`."""

    def scores(self, benchmark: Path, judged: Path) -> Scores:
        """What a judge's folder says."""

    def cost(self, benchmark: Path, judge: Path) -> tuple[int, float]:
        """Requests of judging one model's answers, and about what they cost, in the currency of the prices."""
