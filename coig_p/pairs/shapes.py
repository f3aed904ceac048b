"""Whether rows can show the conversations that a store holds, said before any work: the manifest counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from coig_p.core.text import counted
from coig_p.errors import UsageError
from coig_p.pairs.exclusion import Exclusion
from coig_p.pairs.turns import LAST, SKIP, TEXT, Shape
from coig_p.schema import MESSAGE_FORMATS, RANKED_FORMATS, RAW_SCHEMA, without
from coig_p.store.conversations import conversation_masks
from coig_p.store.manifest import Manifest, StoreFile
from coig_p.store.reading import part_of

Reader = Callable[[StoreFile, pa.Schema], Iterable[pa.RecordBatch]]
"""Gives the rows of a shard, of its columns those of a schema."""

_READ = without(
    part_of(RAW_SCHEMA, "query_id", "messages", "tools", "responses"), {"model", "sample", "text", "scores"}
)
_SHOWN = 8  # domains that a message names
_TEXTS = 'multi_turn="text" (its turns as one text with role names), "last" (its last user turn alone)'
_SKIP = 'multi_turn="skip" (--multi-turn skip)'
_BESIDE = "with tools, or turns or answers that are more than text"


@dataclass(frozen=True)
class RowForm:
    """What rows can show of a conversation.

    Attributes:
        name: as an error names it.
        as_messages: prompts and answers are message lists, not strings.
        tools: there is a place for tools; message lists alone have one.
        instead: what shows conversations, as an error names it.
        with_tools: what shows tools, too, and turns and answers that are more than text, as an error names it.
    """

    name: str
    as_messages: bool
    tools: bool
    instead: str
    with_tools: str

    @classmethod
    def of(cls, name: str) -> RowForm:
        """That of one of `PairConfig`'s formats."""
        lists = name in MESSAGE_FORMATS
        other = "ranked_conversational" if name in RANKED_FORMATS else "conversational"
        instead = f'format="{other}" (on the command line --format {other})'
        if name in ("reward", "kto", "sft"):  # with other columns
            instead += ", which gives pairs"
        if name in ("kto", "reward"):
            instead = f"coigp export --for trl-{name} --conversational, or {instead}"
        return cls(f"format {name}", lists, lists, instead, instead)


class Held(NamedTuple):
    """What a selection's domains hold, each with its number of queries; a domain without is not named.

    Attributes:
        conversations: queries that are more than one user's text.
        with_tools: those with tool definitions, or a turn or an answer that is more than text.
        queries: how many there are at all; None where that is not known.
    """

    conversations: Mapping[str, int]
    with_tools: Mapping[str, int]
    queries: int | None = None

    def skip(self, left_out: Mapping[str, int], words: str) -> str:
        """The words for the way out of leaving these out; none where nothing would be left."""
        return "" if sum(left_out.values()) == self.queries else words


NOTHING = Held({}, {})


def held(
    manifest: Manifest,
    domains: Sequence[str],
    splits: Sequence[str],
    exclude: Exclusion | None = None,
    read: Reader | None = None,
) -> Held:
    """What the domains hold in these splits of the store, as its manifest counts it.

    Args:
        exclude: queries that give no pairs, so that nothing need show them: they are not counted. Only where the
            manifest counts conversations is looked which they are.
        read: reads the store, where `exclude` is given.

    Raises:
        StoreError, RemoteError: a file cannot be read.
    """
    conversations, with_tools = dict.fromkeys(domains, 0), dict.fromkeys(domains, 0)
    queries = 0
    for file in manifest.data_files():
        if file.domain in conversations and file.split in splits:
            conversations[file.domain] += file.conversations or 0
            with_tools[file.domain] += file.with_tools or 0
            queries += file.rows or 0
            if exclude is None or read is None or not file.conversations:
                continue
            for batch in read(file, _READ):
                batch = batch.filter(pa.array(exclude.mask(batch.column("query_id"))))
                some, more = (int(mask.sum()) for mask in conversation_masks(batch))
                conversations[file.domain] -= some
                with_tools[file.domain] -= more
                queries -= batch.num_rows
    counts = ({one: count for one, count in found.items() if count} for found in (conversations, with_tools))
    return Held(next(counts), next(counts), queries)


def find_shape(holds: Held, form: RowForm, multi_turn: str | None) -> Shape:
    """How rows of a form show what a selection holds.

    Raises:
        UsageError: they cannot, and `multi_turn` does not say what they give of it; or it has no effect on them.
    """
    if form.as_messages:
        if multi_turn in (TEXT, LAST):
            raise UsageError(
                f"multi_turn={multi_turn!r} has no effect: {form.name} gives conversations turn by turn. Leave it out"
            )
        if not holds.with_tools:
            return Shape(as_messages=True)
        if multi_turn == SKIP:
            return Shape(as_messages=True, multi_turn=SKIP)
        if not form.tools:
            raise UsageError(
                f"{_named(holds.with_tools)} {_BESIDE}, for which {form.name} has no place: use {form.with_tools}"
                + holds.skip(holds.with_tools, f", or leave these queries out with {_SKIP}")
            )
        return Shape(as_messages=True, with_tools=True)
    if not holds.conversations:
        return Shape()
    if multi_turn != SKIP and holds.with_tools:
        whatever = "" if multi_turn is None else f", whatever multi_turn={multi_turn!r} gives of them"
        raise UsageError(
            f"{_named(holds.with_tools)} {_BESIDE}, which {form.name}, of strings, cannot show{whatever}: use "
            f"{form.with_tools}" + holds.skip(holds.conversations, f", or leave out all conversations with {_SKIP}")
        )
    if multi_turn is None:
        alone = list(holds.conversations.values()) == [1]
        are = "that is a conversation" if alone else "that are conversations"
        skip = holds.skip(holds.conversations, ' or "skip" (leave it out)')
        raise UsageError(
            f"{_named(holds.conversations)} {are}, which {form.name}, of strings, cannot show: use "
            f"{form.instead}, which gives their turns, or say what a string gives of a conversation: {_TEXTS}{skip}; "
            "on the command line --multi-turn"
        )
    return Shape(multi_turn=multi_turn)


def check_counted(files: Iterable[StoreFile], multi_turn: str | None) -> None:
    """Raise UsageError where `multi_turn` says what strings give of conversations that are only counted."""
    if multi_turn in (TEXT, LAST) and any(file.conversations for file in files):
        raise UsageError(
            f"multi_turn={multi_turn!r} has no effect: conversations are counted turn by turn. Leave it out, or leave "
            f"conversations out with {_SKIP}"
        )


def _named(counts: Mapping[str, int]) -> str:
    shown = [f"{domain} holds {counted(count, 'query', 'queries')}" for domain, count in counts.items()]
    more = f" and {len(shown) - _SHOWN} other domains more" if len(shown) > _SHOWN else ""
    return f"domain {', '.join(shown[:_SHOWN])}{more}"
