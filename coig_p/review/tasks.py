"""What people see of a review: the conversation and the answers, blind, in Label Studio's form and our page's.

A task holds an item's name, a domain, and texts: never a model, a score, a query_id or which side a store prefers.
Which response stands on which side is a hash of the seed, the item, the annotator and of whose the responses are, which
nobody knows who sees a task.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import quoteattr

from coig_p.core.arrays import hash64
from coig_p.errors import DataError
from coig_p.review.folder import SIDES, KeyRow, Review, Side, Tasks, read_tasks, response_sha256, sides_of
from coig_p.store.conversations import canonical, said_beside

_TURNED = {"A": "a", "B": "b"}


@dataclass(frozen=True)
class Shown:
    """A response as it is shown.

    Attributes:
        model, sample: whose it is; "" and its place where a gold item brings its own texts.
        text: what is read: its text and, below it, its calls of tools and its reasoning.
        text_sha256: see `coig_p.review.folder.response_sha256`.
    """

    model: str
    sample: int
    text: str
    text_sha256: str


@dataclass(frozen=True)
class Item:
    """What is asked, whoever is asked it.

    Attributes:
        item: its name, "r-" and digits.
        kind, query_id, domain, query_sha256, margin: as in `KeyRow`.
        dialogue: turns with role and content.
        responses: in an order of its own, by which `chosen` and `gold` name them a, b, c.
        chosen: the one that the store prefers.
        gold: the known answer, or what is known of it.
    """

    item: str
    kind: str
    query_id: str
    domain: str
    query_sha256: str
    dialogue: tuple[Mapping[str, str], ...]
    responses: tuple[Shown, ...] = ()
    chosen: str | None = None
    margin: float | None = None
    gold: Mapping[str, Any] | None = None


def dialogue_of(row: Mapping[str, Any]) -> tuple[dict[str, str], ...]:
    """What a raw row asks, as turns with role and content; definitions of tools are a turn of their own, the first."""
    turns = [
        {"role": turn["role"], "content": _whole(turn["content"], turn.get("extra"))} for turn in row["messages"] or ()
    ]
    turns = turns or [{"role": "user", "content": row["query"] or ""}]
    return (*([{"role": "tools", "content": row["tools"]}] if row.get("tools") else []), *turns)


def shown(response: Mapping[str, Any]) -> Shown:
    """A response of a raw row as it is shown."""
    text = _whole(response["text"], response.get("extra"))
    return Shown(response["model"] or "", int(response["sample"] or 0), text, response_sha256(response))


def _whole(text: str | None, extra: str | None) -> str:
    """All that is said: reasoning and calls of tools, which no other column holds, stand below the text."""
    said = said_beside(extra)
    if not said:
        return text or ""
    try:
        told = json.loads(said)
        below = [f"{name}:\n{_readable(value)}" for name, value in sorted(told.items(), reverse=True)]
    except (ValueError, AttributeError):  # not as a store has it
        below = [said]
    return "\n\n".join(part for part in (text or "", *below) if part)


def _readable(value: Any) -> str:
    return value if isinstance(value, str) else "\n".join(canonical(one) for one in value)


def item_name(number: int) -> str:
    """An item's name."""
    return f"r-{number:06d}"


def named(
    seed: int, identities: Iterable[tuple[object, ...]], taken: Iterable[str] = ()
) -> dict[tuple[object, ...], str]:
    """A name for each of several items by what it is, so that its number says nothing of where it comes from.

    Args:
        taken: names that others have.
    """
    used, found = set(taken), {}
    for identity in sorted(set(identities), key=str):
        number = hash64(f"item {seed} {identity}") % 1_000_000
        while item_name(number) in used:
            number = (number + 1) % 1_000_000
            if len(used) >= 1_000_000:
                raise DataError("a review holds 1,000,000 items at most: draw fewer")
        found[identity] = item_name(number)
        used.add(found[identity])
    return found


def task_of(review: Review, item: Item, annotator: str, round_: int = 1) -> tuple[KeyRow, dict[str, Any]]:
    """An item for one annotator: the row of the key, which stays home, and the task."""
    order = _order(review.seed, item, annotator, round_)
    letters = dict(zip((SIDES[at] for at in order), SIDES, strict=False))  # from the item's own to those shown
    row = KeyRow(
        item=item.item,
        annotator=annotator,
        round=round_,
        kind=item.kind,
        query_id=item.query_id,
        domain=item.domain,
        query_sha256=item.query_sha256,
        sides=tuple(
            Side(SIDES[place], one.model, one.sample, one.text_sha256)
            for place, one in enumerate(item.responses[at] for at in order)
        ),
        chosen=None if item.chosen is None else letters[item.chosen],
        margin=item.margin,
        gold=None if item.gold is None else turned(item.gold, letters),
    )
    texts = {SIDES[place]: item.responses[at].text for place, at in enumerate(order)}
    data: dict[str, Any] = {"item": item.item, "annotator": annotator, "round": round_, "form": review.form}
    data |= {"domain": item.domain, "dialogue": [dict(turn) for turn in item.dialogue]}
    data |= {f"response_{side}": text for side, text in texts.items()}
    if review.form == "triple":  # as Label Studio's List has them; `html` would be rendered
        data["responses"] = [{"id": side, "title": side.upper(), "body": text} for side, text in texts.items()]
    return row, {"data": data}


def _order(seed: int, item: Item, annotator: str, round_: int) -> list[int]:
    """The places of the item's responses in the order shown."""
    behind = " ".join(f"{one.model} {one.sample} {one.text_sha256}" for one in item.responses)
    said = f"{seed} {item.item} {annotator} {round_} {item.query_id} {behind}"
    return sorted(range(len(item.responses)), key=lambda at: hash64(f"side {said} {at}"))


def turned(answer: Mapping[str, Any], letters: Mapping[str, str]) -> dict[str, Any]:
    """An answer with its sides named otherwise.

    Args:
        letters: from each side, a, b or c, to its other name.
    """
    found = dict(answer)
    if answer.get("preference") in _TURNED:
        found["preference"] = letters[_TURNED[answer["preference"]]].upper()
    if "correct" in answer:
        found["correct"] = sorted(letters[side] for side in answer["correct"])
    if "ranking" in answer:
        found["ranking"] = [sorted(letters[side] for side in level) for level in answer["ranking"]]
    return found


def tasks_for(
    review: Review, given: Mapping[str, Sequence[Item]], round_: int = 1
) -> tuple[list[KeyRow], dict[str, Tasks]]:
    """The rows of the key, in the order of annotators and items, and each annotator's tasks in an order of its own."""
    key: list[KeyRow] = []
    tasks: dict[str, Tasks] = {}
    for annotator, items in given.items():
        made = [task_of(review, item, annotator, round_) for item in items]
        key += [row for row, _ in made]
        salt = f"order {review.seed} {annotator} {round_}"
        own = sorted((task for _, task in made), key=lambda task: hash64(f"{salt} {task['data']['item']}"))
        tasks[annotator] = own
    return key, tasks


def items_of(review: Review, key: Iterable[KeyRow]) -> dict[str, Item]:
    """The items behind rows of the key, by name, their texts from the files of tasks: to ask about them again.

    Raises:
        DataError: a file of tasks is missing or does not hold an item.
    """
    data: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
    found: dict[str, Item] = {}
    for row in key:
        if row.item in found:
            continue
        whose = row.annotator, row.round
        if whose not in data:
            data[whose] = {task["item"]: task for task in read_tasks(review, *whose)}
        task = data[whose].get(row.item)
        if task is None:
            raise DataError(f"{review.path}: the tasks of {row.annotator} in round {row.round} do not hold {row.item}")
        responses = tuple(
            Shown(side.model, side.sample, task[f"response_{side.side}"], side.text_sha256) for side in row.sides
        )
        found[row.item] = Item(
            item=row.item,
            kind=row.kind,
            query_id=row.query_id,
            domain=row.domain,
            query_sha256=row.query_sha256,
            dialogue=tuple(task["dialogue"]),
            responses=responses,
            chosen=row.chosen,
            margin=row.margin,
            gold=row.gold,
        )
    # In an order that does not go back to whose tasks were read.
    return {name: _in_order(item) for name, item in found.items()}


def _in_order(item: Item) -> Item:
    """The same item with its responses by model, sample and text."""
    order = sorted(
        range(len(item.responses)),
        key=lambda at: (item.responses[at].model, item.responses[at].sample, item.responses[at].text_sha256),
    )
    letters = {SIDES[at]: SIDES[place] for place, at in enumerate(order)}
    return replace(
        item,
        responses=tuple(item.responses[at] for at in order),
        chosen=None if item.chosen is None else letters[item.chosen],
        gold=None if item.gold is None else turned(item.gold, letters),
    )


# Label Studio's config. Texts come from the tasks and are shown as text; only Paragraphs, Text and List are used, none
# of which renders HTML. It knows no languages, so every label is in both; values are in neither: exports hold them.

_BETTER = "Which answer is better? 哪个回答更好？（tie：一样好）"
_CORRECT = "Which answers are correct? 哪些回答是正确的？（a_correct：A 正确，b_correct：B 正确）"
_FIT = "Is the query fit? 问题是否合适？（yes：是，no：否）"
_FEASIBLE = "Can a language model answer the query? 语言模型能否回答这个问题？（yes：能，no：不能）"
_RANK = "Move every answer to a rank; answers of one rank are tied. 把每个回答移到一个名次，同一名次即为并列。"


def config_xml(form: str) -> str:
    """The text of config.xml for a form."""
    answers: dict[str, Callable[[], list[str]]] = {
        "pair": _pair_choices,
        "accept": lambda: [*_pair_choices(), *_choices("query_ok", ["yes", "no"], _FIT, required=True)],
        "triple": _ranker,
        "query": lambda: _choices("feasible", ["yes", "no"], _FEASIBLE, required=True),
    }
    lines = ['<Paragraphs name="dialogue" value="$dialogue" layout="dialogue" nameKey="role" textKey="content"/>']
    if form != "triple":  # whose List shows the texts
        for side in sides_of(form):
            lines.append(_tag("Header", value=side.upper()) + "/>")
            lines.append(_tag("Text", name=f"response_{side}", value=f"$response_{side}", valueType="text") + "/>")
    lines += answers[form]()
    lines.append(
        _tag("TextArea", name="comment", toName="dialogue", placeholder="Comment 附言", maxSubmissions="1") + "/>"
    )
    return "\n".join(["<View>", *(f"  {line}" for line in lines), "</View>"]) + "\n"


def _pair_choices() -> list[str]:
    return [
        *_choices("preference", ["A", "tie", "B"], _BETTER, required=True),
        *_choices("correct", ["a_correct", "b_correct"], _CORRECT, several=True),
    ]


def _choices(
    name: str, values: Sequence[str], title: str, *, required: bool = False, several: bool = False
) -> list[str]:
    settings = {"name": name, "toName": "dialogue", "choice": "multiple" if several else "single-radio"}
    settings |= {"required": "true"} if required else {}
    return [
        _tag("Header", value=title) + "/>",
        _tag("Choices", **settings, showInline="true") + ">",
        *(f"  {_tag('Choice', value=value)}/>" for value in values),
        "</Choices>",
    ]


def _ranker() -> list[str]:
    buckets = {"1": "1 (best 最好)", "2": "2", "3": "3"}
    return [
        _tag("Header", value=_RANK) + "/>",
        _tag("List", name="responses", value="$responses", title="Answers 回答") + "/>",
        _tag("Ranker", name="ranking", toName="responses") + ">",
        *(f"  {_tag('Bucket', name=name, title=title)}/>" for name, title in buckets.items()),
        "</Ranker>",
    ]


def _tag(tag: str, /, **settings: str) -> str:
    return f"<{tag} " + " ".join(f"{key}={quoteattr(value)}" for key, value in settings.items())
