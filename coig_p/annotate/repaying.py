"""Whether a run would pay again for what was answered before, because what is asked has changed since.

A ledger remembers what a run was last allowed to ask: the prompts, parameters and models, and the inputs. As long
as these are the same, nothing is looked for; else every request is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence

from coig_p.annotate.asking.costs import MONEY
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, LedgerWriter, RecipeTotals
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import PaidAgain, forecast
from coig_p.annotate.planned import changed
from coig_p.annotate.tasks.generate import GENERATE
from coig_p.annotate.tasks.judge import JUDGE
from coig_p.annotate.tasks.queries import QUERY, made_from
from coig_p.annotate.tasks.translate import TRANSLATE
from coig_p.annotate.taxonomy.config import COMPARE, COMPLETE, EMBED, FEASIBLE, PROMPT, REFINE, TYPES

_ALLOWED, _PARTLY = "allowed", "partly"
_KINDS = {"queries": (TRANSLATE, QUERY), "generate": (GENERATE,), "judge": (JUDGE,)}
_TAP_KINDS = {
    "types": (TYPES,),
    "refine": (REFINE,),
    "prompts": (PROMPT, COMPLETE, FEASIBLE),
    "generate": (GENERATE,),
    "compare": (COMPARE,),
}
_EMBEDDING_KINDS = {
    **{stage: kinds for stage, kinds in _TAP_KINDS.items() if stage != "compare"},
    "select": (EMBED,),
    "compare": (COMPARE,),
}
_MANY = {TRANSLATE: "translations", QUERY: "judgements of queries", GENERATE: "responses", JUDGE: "judgements"}
_MANY |= {
    TYPES: "rounds of types",
    REFINE: "refined types",
    PROMPT: "prompts",
    COMPLETE: "second rounds of prompts",
    FEASIBLE: "checks of prompts",
    EMBED: "requests for vectors",
    COMPARE: "comparisons",
}
_ONE = {TRANSLATE: "translation", QUERY: "judgement of a query", GENERATE: "response", JUDGE: "judgement"}
_ONE |= {
    TYPES: "round of types",
    REFINE: "refined type",
    PROMPT: "prompt",
    COMPLETE: "second round of a prompt",
    FEASIBLE: "check of a prompt",
    EMBED: "request for vectors",
    COMPARE: "comparison",
}


def kinds_of(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """For each stage of a run that asks, what kinds of requests it has."""
    if config.tap is None:
        return _KINDS
    return _TAP_KINDS if config.tap.select.endpoint is None else _EMBEDDING_KINDS


def paid_again(
    config: RunConfig, ledger: Ledger, stages: Sequence[str] | None = None, limit: int | None = None
) -> list[PaidAgain]:
    """What the next run of some stages (None: all) would pay again, and why; nothing where nothing has changed.

    Raises:
        UsageError: an input that cannot be used.
        DataError: bad rows with on_error "fail".
    """
    asking = kinds_of(config)
    kinds = {kind for stage in asking if stages is None or stage in stages for kind in asking[stage]}
    if not kinds or is_allowed(config, ledger):
        return []
    return forecast(config, ledger, limit, kinds).again


def allow(config: RunConfig, ledger: LedgerWriter, stages: Sequence[str], limit: int | None, before: bool) -> None:
    """Remember what is asked now. A part of a run agrees to nothing for the rest.

    Args:
        before: whether it was allowed before the inputs were taken in.
    """
    whole = limit is None and kinds_of(config).keys() <= set(stages)
    now = _state(config) if whole else _PARTLY
    if ledger.noted(_ALLOWED) != now and (whole or not before):
        ledger.note(_ALLOWED, now)


def in_words(again: Sequence[PaidAgain], exact: bool = True) -> str:
    """1,204 judgements would be paid again (about 3.2) because math.md changed; ..."""
    parts = []
    for one in again:
        name = _ONE[one.kind] if one.number == 1 else _MANY[one.kind]
        cost = f" (about {one.cost / MONEY:.4g})" if one.cost else ""
        many = f"{'' if exact else 'up to '}{one.number:,}"
        parts.append(f"{many} {name} would be paid again{cost} because {one.why}")
    return "; ".join(parts)


def roughly_paid_again(config: RunConfig, ledger: Ledger) -> list[PaidAgain]:
    """What was asked in other words than today's and answered, from sums alone: at most so much is paid again."""
    numbers: Counter[tuple[str, str]] = Counter()
    costs: Counter[tuple[str, str]] = Counter()
    for some in _unlike(config, ledger):
        if not some.recipe:  # of a version that did not keep it: nobody knows without going over each request
            continue
        why = changed(config, some.kind, some.domain, some.endpoint, some.recipe)
        numbers[some.kind, why] += some.number
        costs[some.kind, why] += some.cost
    return [PaidAgain(kind, number, costs[kind, why], why) for (kind, why), number in numbers.most_common()]


def is_allowed(config: RunConfig, ledger: Ledger) -> bool:
    """Whether all that matters is as it was when the run was last allowed to ask, or since its first request."""
    noted = ledger.noted(_ALLOWED)
    if noted is not None:
        return noted == _state(config)
    return ledger.made_from() in (None, made_from(config)) and not any(_unlike(config, ledger))


def _unlike(config: RunConfig, ledger: Ledger) -> Iterator[RecipeTotals]:
    """The sums of what was answered and asked in other words than today's. Endpoints that are gone ask nothing."""
    for some in ledger.recipes():
        now = config.recipes.get((some.kind, some.domain, some.endpoint))
        if some.state in (ANSWERED, INVALID) and now is not None and some.recipe != now:
            yield some


def _state(config: RunConfig) -> str:
    """What requests are made of, as a hash."""
    made = [[list(about), text] for about, text in sorted(config.recipes.items())]
    return hashlib.sha256(json.dumps([made, made_from(config)]).encode()).hexdigest()
