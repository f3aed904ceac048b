"""From a store to a review on disk: drawn, gold mixed in, dealt, its sides exchanged, written whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from coig_p._version import __version__
from coig_p.core.arrays import hash64
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.review.drawing import PAIR_FORMS, Draw, DrawConfig, Order, deal, draw, items_for
from coig_p.review.folder import (
    ANSWERS,
    MARKER,
    KeyRow,
    Review,
    add_round,
    check_annotator_names,
    open_review,
    read_key,
    write_review,
)
from coig_p.review.gold import identity, mix_in, read_gold
from coig_p.review.joining import check_store, manifest_sha256
from coig_p.review.tasks import Item, config_xml, items_of, named, tasks_for
from coig_p.review.votes import read_votes
from coig_p.store.places import check_directory, check_outside
from coig_p.store.store import Store

Dealer = Callable[[Sequence[Item]], dict[str, list[Item]]]
"""Whose the items are: by annotator."""


@dataclass(frozen=True)
class Made:
    """A review, or a round of one, that was written.

    Attributes:
        review: as it is now.
        items: how many different ones were drawn, without gold.
        queries: of how many queries they are: in form triple one may give several.
        tasks: of each annotator, how many, gold included.
        gold: of each annotator, how many of these.
        gold_in_file: how many there were to choose from.
        domains: of each domain, how many items.
        short: domains with fewer queries than were wanted: how many there are, and were wanted.
        waiting: of an audit, how many tasks of earlier audits nobody has answered yet.
        same_store: of an audit, whether the store is the one that the review was drawn from.
    """

    review: Review
    items: int
    queries: int
    tasks: Mapping[str, int]
    gold: Mapping[str, int]
    gold_in_file: int
    domains: Mapping[str, int]
    short: Mapping[str, tuple[int, int]]
    waiting: int = 0
    same_store: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        review = self.review
        told = {"review": str(review.path), "form": review.form, "round": review.rounds, "items": self.items}
        told |= {"queries": self.queries, "audits_waiting": self.waiting, "same_store": self.same_store}
        told |= {"annotators": dict(self.tasks), "overlap": review.overlap, "gold": dict(self.gold)}
        told |= {"gold_in_file": self.gold_in_file, "domains": dict(self.domains)}
        return told | {
            "short": {domain: {"has": has, "wanted": wanted} for domain, (has, wanted) in self.short.items()}
        }


def check_place(folder: Path, overwrite: bool) -> None:
    """Raise UsageError where a new review cannot be written; one that holds answers is never replaced."""
    check_outside(folder, "a review")
    check_directory(folder, MARKER, "a review", overwrite)
    answers = folder / ANSWERS
    if answers.is_dir() and any(path.stat().st_size for path in answers.iterdir()):
        raise UsageError(f"{folder} is a review that people have answered: choose another place, or delete it yourself")


def make_review(
    store: Store,
    folder: Path,
    config: DrawConfig,
    annotators: Sequence[str],
    *,
    pairs: PairConfig | None = None,
    overlap: int | None = None,
    gold: Path | None = None,
    split_domains: bool = False,
    order: Order | None = None,
    dealer: Dealer | None = None,
    leave_out: Collection[str] = (),
    overwrite: bool = False,
    options: Mapping[str, Any] | None = None,
    advance: Callable[[int], None] = lambda queries: None,
) -> tuple[Made, Draw]:
    """Draw a review and write it.

    Args:
        annotators: who is asked.
        overlap: how many of them about each item; default all of them, or one where domains are split among them.
        gold: a file of items whose answer is known (see `coig_p.review.gold`); their queries are not drawn.
        split_domains: all items of a domain go to the same annotators.
        dealer: says who is asked about which of the items, in place of `overlap` and `split_domains`.
        leave_out: query_ids that are not drawn, beside those of gold items.
        options: of the draw, to be told in review.json.

    Raises:
        UsageError: options that cannot be, or a place where no review can be written.
        DataError: the gold file.
    """
    names = check_annotator_names(annotators)
    check_place(folder, overwrite)
    each = overlap if overlap is not None else 1 if split_domains else len(names)
    if not 1 <= each <= len(names):
        raise UsageError(f"overlap={each}: use a number from 1 to {len(names)}, as many as there are annotators")
    known = read_gold(gold, config.form, store) if gold is not None else []
    leave_out = {*leave_out, *(item.query_id for item in known if item.query_id)}
    found = draw(store, config, pairs, order=order, leave_out=leave_out, advance=advance)
    items, known = _named(config.seed, items_for(store, config, found), known)
    if dealer is not None:
        dealt = dealer(items)
    else:
        dealt = deal(items, names, each, config.seed, by_domain=split_domains)
    for name, own in dealt.items():
        if not own:
            raise UsageError(f"{len(items)} items are not enough for {len(names)} annotators: {name} would get none")
    given = mix_in(dealt, known, config.seed)
    counted = Counter(item.domain for item in items)
    review = Review(
        path=folder,
        form=config.form,
        seed=config.seed,
        store={"name": store.path.resolve().name, "manifest_sha256": manifest_sha256(store)},
        pairs=_told(found.pair_config) if config.form in PAIR_FORMS else {},
        annotators=names,
        overlap=each,
        domains={
            domain: {"pairs": found.pairs[domain], "queries": found.queries[domain], "drawn": counted[domain]}
            for domain in found.queries
        },
        options=dict(options or {}) | ({"strata_pairs": found.strata} if found.strata else {}),
        tool=f"coig-p {__version__}",
    )
    key, tasks = tasks_for(review, given)
    review = write_review(folder, review, key, tasks, config_xml(config.form))
    return _made(review, items, given, len(known), counted, found.short), found


def make_audit(
    folder: Path,
    store: Store,
    share: float,
    *,
    annotators: Sequence[str] = (),
    overlap: int = 1,
    gold: Path | None = None,
) -> Made:
    """Ask again about a share of the items that were answered, as a round of its own, with gold items planted.

    Of each domain those first that no audit asked about, and of these the items whose hash of (seed, round, item) is
    smallest; each goes to those who did not answer it, where there are any, and to as few items as the others have.

    Args:
        share: of the answered items, rounded up; of each domain as nearly as whole items allow.
        annotators: who is asked, also people who are new; default those of the review.
        overlap: how many are asked about each item.

    Raises:
        UsageError: options that cannot be, or nothing was answered yet.
        DataError: the review, or the gold file, or a store that has changed.
    """
    review = open_review(folder)
    if not 0 < share <= 1:
        raise UsageError(f"audit={share:g}: use a share above 0, up to 1")
    names = check_annotator_names(annotators or review.annotators)
    if not 1 <= overlap <= len(names):
        raise UsageError(f"overlap={overlap}: use a number from 1 to {len(names)}, as many as there are annotators")
    key = read_key(review)
    joined = check_store(review, key, store)
    answered: dict[str, set[str]] = {}
    votes = read_votes(folder)
    said = {(vote.item, vote.annotator, vote.round) for vote in votes}
    audits = [row for row in key if row.kind == "audit"]
    before = Counter(row.item for row in audits)
    for vote in votes:
        if vote.kind == "drawn" and not vote.skipped:
            answered.setdefault(vote.item, set()).add(vote.annotator)
    if not answered:
        raise UsageError(f"{folder}: nothing was answered yet: there is nothing to audit")
    round_ = review.rounds + 1
    by_name = items_of(review, [row for row in key if row.item in answered and row.kind == "drawn"])
    chosen: list[Item] = []
    sizes = Counter(item.domain for item in by_name.values())
    numbers = _parts({name: sizes[name] for name in dict.fromkeys([*review.domains, *sorted(sizes)])}, share)
    for domain, number in numbers.items():
        own = [item for item in by_name.values() if item.domain == domain]
        own.sort(key=lambda item: (before[item.item], hash64(f"audit {review.seed} {round_} {item.item}")))
        chosen += own[:number]
    given: dict[str, list[Item]] = {name: [] for name in names}
    for item in chosen:
        who = sorted(
            names,
            key=lambda name: (
                name in answered[item.item],
                len(given[name]),
                hash64(f"audit {review.seed} {round_} {item.item} {name}"),
            ),
        )
        for name in who[:overlap]:
            given[name].append(replace(item, kind="audit"))
    given = {name: own for name, own in given.items() if own}
    known = _planted(review, key, read_gold(gold, review.form, store)) if gold is not None else []
    mixed = mix_in(given, known, review.seed + round_)
    rows, tasks = tasks_for(review, mixed, round_)
    now = add_round(review, rows, tasks)
    made = _made(now, chosen, mixed, len(known), Counter(item.domain for item in chosen), {})
    waiting = sum(row.identity not in said for row in audits)
    return replace(made, waiting=waiting, same_store=joined.same_store)


def _parts(sizes: Mapping[str, int], share: float) -> dict[str, int]:
    """A share of all, rounded up, in domains as nearly as whole items allow: the largest remainders get one more."""
    part = round(share * 10_000) or 1
    found = {name: size * part // 10_000 for name, size in sizes.items()}
    more = -(-sum(sizes.values()) * part // 10_000) - sum(found.values())
    for name in sorted(sizes, key=lambda one: -(sizes[one] * part % 10_000))[:more]:
        found[name] += 1
    return found


def _named(seed: int, items: Sequence[Item], known: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """The items with their names. Gold ones are named as the others are."""
    names = named(seed, [identity(item) for item in (*items, *known)])
    first, second = ([replace(item, item=names[identity(item)]) for item in of] for of in (items, known))
    return first, second


def _planted(review: Review, key: Sequence[KeyRow], known: Sequence[Item]) -> list[Item]:
    """Gold items that the review does not hold yet, named."""
    before = {(row.query_sha256, frozenset(side.text_sha256 for side in row.sides)) for row in key}
    new = [
        item
        for item in known
        if (item.query_sha256, frozenset(one.text_sha256 for one in item.responses)) not in before
    ]
    if known and not new:
        raise DataError(f"{review.path}: all items of the gold file were asked already: give others")
    names = named(review.seed, [identity(item) for item in new], {row.item for row in key})
    return [replace(item, item=names[identity(item)]) for item in new]


def _told(config: PairConfig) -> dict[str, Any]:
    """The pair options in effect: the threshold, those that differ from their defaults, and of a file what it says."""
    told = config.record()
    plain = PairConfig().to_dict()
    return {
        name: value
        for name, value in told.items()
        if name == "threshold" or (name not in ("seed", "format") and value != plain.get(name))
    }


def _made(
    review: Review,
    items: Sequence[Item],
    given: Mapping[str, Sequence[Item]],
    gold_in_file: int,
    domains: Mapping[str, int],
    short: Mapping[str, tuple[int, int]],
) -> Made:
    return Made(
        review=review,
        items=len(items),
        queries=len({item.query_id for item in items}),
        tasks={name: len(own) for name, own in given.items()},
        gold={name: sum(item.kind == "gold" for item in own) for name, own in given.items()},
        gold_in_file=gold_in_file,
        domains=dict(domains),
        short=dict(short),
    )
