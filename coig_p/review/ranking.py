"""Which pairs are likely wrong, and what share of wrong ones the first of them hold.

    margin        the smallest first
    disagreement  where judges, one by one, prefer the other response; then the smallest margins
    length        where the chosen response is much longer than the rejected one
    rule          where rules find something in the chosen response and not in the rejected one

It ranks, and flips nothing. What a budget finds is told of this store where it can be: each judge in turn is left
out, or people are where they judged, the others make the pairs and their order, and a pair is called wrong where the
one left out prefers the other response. Beside it stands what was measured on other data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Floats, Index, Mask
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.agreeing import reward_names
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs, find_pairs_of
from coig_p.pairs.labels import Responses
from coig_p.review.drawing import READ, Order, evenly, pair_keys
from coig_p.stats.agreement import judges_of, preferences
from coig_p.stats.intervals import Share, moments_by, share
from coig_p.store.store import Store, shard_batches
from coig_p.store.writing import ROWS_PER_GROUP
from coig_p.validation import load_rules
from coig_p.validation.gate import check

WAYS = ("disagreement", "margin", "length", "rule")
HUMAN = "human:"
"""What the names of judges begin with who are people (`coigp review apply`)."""

ELSEWHERE: Mapping[str, str] = {
    "margin": (
        "measured on other data (480 queries, 20 models, people's verdicts): the worst 5% by margin and answering "
        "model together held 23% of pairs that people opposed, 7.9% of all pairs did, so 5% of the work found 15% of "
        "the errors; a second judge opposed 15.9% of pairs above margin 0, 11.4% from 2 and 5.3% from 6"
    ),
    "disagreement": "nothing was measured elsewhere for this order",
    "length": "nothing was measured elsewhere for this order",
    "rule": "nothing was measured elsewhere for this order",
}
"""What is known of an order from data other than the store at hand."""
_UNTOLD = "what share of the wrong pairs the drawn ones hold cannot be told from this store"


@dataclass(frozen=True)
class Yield:
    """What the first pairs of an order hold, by a judge that took no part in it.

    Attributes:
        judge: whose verdicts say what is wrong.
        pairs: that the others label and this judge has a view of.
        budget: how many of these were looked at: the share that the budget is of all pairs.
        opposed: pairs that the judge prefers the other way round, of all.
        in_budget: the same of the first ones.
        found: of those opposed, how many are among the first.
    """

    judge: str
    pairs: int
    budget: int
    opposed: Share
    in_budget: Share
    found: Share

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def ranking(by: str, config: PairConfig, findings: Mapping[str, Counter[int]] | None = None) -> Order:
    """The order of pairs, the most suspicious first.

    Args:
        findings: for rule, of each query how often rules found something in which response, from 0.

    Raises:
        UnknownNameError: there is no such way.
    """
    if by not in WAYS:
        raise UnknownNameError("way to rank pairs", by, WAYS)

    def look(responses: Responses, batch: pa.RecordBatch, pairs: Pairs) -> Sequence[Floats]:
        if by == "margin":
            return [pairs.margin]
        if by == "disagreement":
            return [-_opposition(responses, batch, pairs, config), pairs.margin]
        if by == "length":
            length = np.asarray(pc.utf8_length(responses.text).to_numpy(zero_copy_only=False), np.float64)
            return [-np.log((length[pairs.chosen] + 1) / (length[pairs.rejected] + 1)), pairs.margin]
        named = _named(responses, batch, findings or {})
        return [named[pairs.rejected] - named[pairs.chosen], pairs.margin]

    return look


def _opposition(responses: Responses, batch: pa.RecordBatch, pairs: Pairs, config: PairConfig) -> Floats:
    """Of the judges who have a view of each pair, the share that prefers the other response; a tie is half of one."""
    against, known = np.zeros(len(pairs.query)), np.zeros(len(pairs.query))
    for judge in judges_of(responses, batch, config):
        knows, sign = preferences(responses, batch, config.of_one_judge(judge), pairs.chosen, pairs.rejected)
        against += np.where(knows, (1 - sign) / 2, 0)
        known += knows
    return np.asarray(against / np.maximum(known, 1))


def _named(responses: Responses, batch: pa.RecordBatch, findings: Mapping[str, Counter[int]]) -> Floats:
    """How often rules found something in each response."""
    found = np.zeros(len(responses.query))
    for row, query_id in enumerate(batch.column("query_id").to_pylist()):
        begin = int(np.searchsorted(responses.query, row))
        for response, times in findings.get(query_id, {}).items():
            found[begin + response] = times
    return found


def findings_of(
    store: Store,
    rules: Sequence[str],
    domains: Sequence[str] = (),
    advance: Callable[[int], None] = lambda queries: None,
) -> dict[str, Counter[int]]:
    """Of each query how often rules found something in which of its responses, by its place in the query.

    Args:
        rules: these alone; all where none is named.

    Raises:
        UnknownNameError: there is no such rule.
        UsageError: the rules find nothing in any response.
    """
    known = load_rules()
    for name in rules:
        if name not in known:
            raise UnknownNameError("rule", name, known)
    chosen = {name: known[name] for name in rules or known}
    found: dict[str, Counter[int]] = {}
    table = check(store, rules=chosen, domains=domains, advance=advance).findings
    for row in table.select(["query_id", "response"]).to_pylist():
        if row["query_id"] is not None and row["response"] is not None:
            found.setdefault(row["query_id"], Counter())[row["response"]] += 1
    if not found:
        named = ", ".join(rules) if rules else "no rule"
        raise UsageError(
            f"--by rule: {named} finds nothing in any response of {store.path}: there is nothing to rank by"
        )
    return found


@dataclass
class _Views:
    """Of pairs that a judge has a view of: columns of the order, their domains and queries, and which are opposed."""

    columns: list[list[Floats]]
    domain: list[Index]
    query: list[Index]
    opposed: list[Mask]


def yields(
    store: Store,
    by: str,
    config: PairConfig,
    budget: int | Mapping[str, int],
    *,
    refill: bool = False,
    findings: Mapping[str, Counter[int]] | None = None,
    domains: Sequence[str] = (),
    split: str | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> tuple[list[Yield], str]:
    """What the first pairs of an order would find, by people where the store has their verdicts, else by each judge.

    Args:
        config: its threshold is set.
        budget: how many pairs are looked at, in all or of each domain; of a query one, as `draw` takes them.
        refill: domains with fewer queries are made up for by the others, as in `draw` of a total.

    Returns:
        One for each judge who has a view of pairs that the others label, and why there is none where there is none.
    """
    names = [name for name in sorted(store.manifest.judges) if config.judges is None or name in config.judges]
    people = [name for name in names if name.startswith(HUMAN)]
    machines = [name for name in names if not name.startswith(HUMAN)]
    bases = people or machines
    labelling = {name: machines if people else [one for one in machines if one != name] for name in bases}
    need = 2 if by == "disagreement" else 1
    bases = [name for name in bases if len(labelling[name]) >= need]
    if not bases:
        more = "three judges, or two and people" if need == 2 else "two judges, or one and people"
        return [], f"{_UNTOLD}: that takes {more}, who judged the same responses"
    views = {name: _Views([], [], [], []) for name in bases}
    files = store.selected_files(domains, split)
    groups = list(dict.fromkeys(str(file.domain) for file in files)) if isinstance(budget, Mapping) else []
    totals = np.zeros(max(1, len(groups)), np.int64)
    queries = [0] * len(totals)
    seen = 0
    for file in files:
        group = groups.index(str(file.domain)) if groups else 0
        for batch in shard_batches(store.path, file, ROWS_PER_GROUP, READ, rewards=reward_names(config)):
            responses = Responses.of(batch)
            of_all = find_pairs_of(responses, batch, config).query
            totals[group] += len(of_all)
            queries[group] += len(np.unique(of_all))
            for name in bases:
                others = replace(config, judges=tuple(labelling[name]))
                pairs = find_pairs_of(responses, batch, others)
                known, sign = preferences(responses, batch, config.of_one_judge(name), pairs.chosen, pairs.rejected)
                columns = [
                    *ranking(by, others, findings)(responses, batch, pairs),
                    np.asarray(pair_keys(responses, batch, pairs, config.seed), np.float64),
                ]
                views[name].columns.append([column[known] for column in columns])
                views[name].domain.append(np.full(int(known.sum()), group))
                views[name].query.append(pairs.query[known] + seen)
                views[name].opposed.append(sign[known] < 0)
            seen += batch.num_rows
            advance(batch.num_rows)
    budgets = [budget.get(name, 0) for name in groups] if isinstance(budget, Mapping) else [budget]
    if refill:
        budgets = evenly(sum(budgets), queries)
    found = [_yield(name, view, budgets, totals.tolist()) for name, view in views.items()]
    told = [one for one in found if one.pairs]
    return told, "" if told else f"{_UNTOLD}: no judge has a view of pairs that the others label"


def _yield(judge: str, view: _Views, budgets: Sequence[int], totals: Sequence[int]) -> Yield:
    domain, query = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (view.domain, view.query))
    opposed = np.concatenate([np.zeros(0, bool), *view.opposed])
    columns = [np.concatenate(parts) for parts in zip(*view.columns, strict=True)]
    every = np.ones(len(query), bool)
    first = np.zeros(len(query), bool)
    if len(query):
        ranked = np.lexsort(list(reversed(columns)))
        # Of each query the pair that comes first, and no other, as it is drawn.
        ranked = ranked[np.sort(np.unique(query[ranked], return_index=True)[1])]
        for group, (budget, total) in enumerate(zip(budgets, totals, strict=True)):
            # As large a share of the pairs that this judge has a view of as the budget is of all.
            size = -(-int((domain == group).sum()) * budget // max(total, 1))
            first[ranked[domain[ranked] == group][:size]] = True
    return Yield(
        judge=judge,
        pairs=len(query),
        budget=int(first.sum()),
        opposed=_share(query, opposed, every),
        in_budget=_share(query, opposed & first, first),
        found=_share(query, opposed & first, opposed),
    )


def _share(query: Index, a: Mask, n: Mask) -> Share:
    """The share of `n` that are `a`, with an interval over queries."""
    _, of = np.unique(query, return_inverse=True)
    size = int(of.max()) + 1 if len(of) else 0
    counts = [np.bincount(of, part, size).astype(np.int64) for part in (a, n)]
    return share(moments_by(np.zeros(size, np.int64), 1, *counts)[:, 0])
