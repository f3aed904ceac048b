"""A scorer on a benchmark: every response of every item, and what is known of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coig_p.core.progress import Bar, no_bar
from coig_p.errors import CoigPError
from coig_p.reward.batching import TOKENS_PER_BATCH, score_all
from coig_p.reward.bench.form import TOOL, Bench
from coig_p.reward.bench.results import Result, check_results_place, lengths, write_results
from coig_p.reward.journal import Journal, open_journal
from coig_p.reward.scorer import Asked, Scored, Scorer, check_any, looks_squashed


@dataclass(frozen=True)
class Ran:
    """What came of scoring a benchmark.

    Attributes:
        scorer: as the results have it.
        responses: of the benchmark; scored: those that have a reward.
        before: different ones that an earlier run had scored.
        truncated: conversations that were cut to fit.
        without: responses without a reward, by the reason.
        squashed: every reward lies from 0 to 1, as if a server's sigmoid had been left on.
    """

    scorer: Mapping[str, Any]
    items: int
    responses: int
    scored: int
    before: int
    truncated: int
    without: Mapping[str, int]
    squashed: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: dict(value) if isinstance(value, Mapping) else value for name, value in vars(self).items()}


def journal_of(out: Path) -> Path:
    """Where what was scored is kept until results are written to `out`."""
    return out.with_name(f"{out.name}.scored.jsonl")


def run_scorer(
    bench: Bench,
    scorer: Scorer,
    out: Path,
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    options: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    bar: Bar = no_bar,
) -> Ran:
    """Score every response of a benchmark, and write the results.

    What was scored is kept beside `out` until they are written: a run that was stopped goes on with the same batches,
    and ends with the same results.

    Args:
        options: what else it was run with.

    Raises:
        UsageError: results cannot be written there, or what an earlier run left is of something else.
        RemoteError: a server does not answer, or gives no finite number at all; a model here: DataError.
    """
    check_results_place(out, overwrite)
    told = scorer.describe()
    of = {"bench": bench.sha256, "scorer": told, "tokens_per_batch": tokens_per_batch, "tool": TOOL}
    with open_journal(journal_of(out), of | dict(options or {})) as journal:
        scored = _score(bench, scorer, tokens_per_batch, journal, bar)
        try:
            check_any(told, scored)
        except CoigPError:
            journal.remove()  # or the same run would say the same of another server
            raise
        without = Counter(one.reason for one in scored if one.reason is not None)
        rewards = [one.reward for one in scored if one.reward is not None]
        ran = Ran(
            scorer=told
            | {
                "responses": len(scored),
                "scored": len(rewards),
                "truncated": sum(one.truncated for one in scored),
                "without": dict(sorted(without.items())),
            },
            items=len(bench.items),
            responses=len(scored),
            scored=len(rewards),
            before=len(journal.known),
            truncated=sum(one.truncated for one in scored),
            without=dict(sorted(without.items())),
            squashed=told["kind"] == "server" and looks_squashed(rewards),
        )
        kind = "server" if told["kind"] == "server" else "model"
        given = {"tokens_per_batch": tokens_per_batch} | dict(options or {})
        write_results(
            out,
            bench,
            results_of(bench, scored),
            scorer={**ran.scorer, "kind": kind},
            options=given,
            overwrite=overwrite,
        )
        journal.remove()
    return ran


def _score(bench: Bench, scorer: Scorer, tokens_per_batch: int, journal: Journal, bar: Bar) -> list[Scored]:
    asked = [Asked(tuple(item.messages), one.text) for item in bench.items for one in item.responses]
    with bar("Scoring", len(asked), "responses") as advance:
        return score_all(
            scorer,
            asked,
            tokens_per_batch=tokens_per_batch,
            progress=advance,
            known=journal.known,
            keep=journal.keep,
        )


def results_of(bench: Bench, scored: list[Scored]) -> list[Result]:
    """What was scored, item by item.

    Args:
        scored: of every response, in the order of the benchmark.
    """
    found = []
    rest = iter(scored)
    for item in bench.items:
        own = [next(rest) for _ in item.responses]
        why = sorted({one.reason for one in own if one.reason is not None})
        rewards = tuple(one.reward for one in own)
        found.append(Result(item.id, item.domain, rewards, None, ", ".join(why) or None, lengths(item)))
    return found
