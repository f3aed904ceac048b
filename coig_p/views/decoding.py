"""What a column of rows shows of texts, and how: by the functions that copy texts where rows are no view."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
from datasets import Features

from coig_p.features import cast
from coig_p.pairs.turns import LAST, Shape, answer_messages, messages, prompt_messages, prompt_texts

PROMPT, ANSWER = "prompt", "answer"
_SHOWS: dict[str, tuple[str, str | None]] = {
    "prompt": ("query", PROMPT),
    "query_id": ("query", "query_id"),
    "domain": ("query", "domain"),
    "tools": ("query", "tools"),
    "chosen": ("chosen", ANSWER),
    "rejected": ("rejected", ANSWER),
    "chosen_model": ("chosen", "model"),
    "rejected_model": ("rejected", "model"),
    "completion": ("response", ANSWER),
    "model": ("response", "model"),
    "responses": ("responses", ANSWER),
    "models": ("responses", "model"),
}
_READ = ("query_id", "query", "messages")  # what a prompt is made of


class Shown(NamedTuple):
    """What a column shows.

    Attributes:
        number: the column of the index that it reads; of lists, where rows show several responses.
        text: PROMPT, ANSWER or a column of raw rows (see `coig_p.views.texts`), of which its numbers are; None where
            the index has the values themselves.
        made: its type as rows are made.
        given: where features= gave it another type, that one column.
    """

    number: str
    text: str | None
    made: pa.DataType
    given: pa.Schema | None = None

    @property
    def type(self) -> pa.DataType:
        """That it has where rows leave."""
        return self.made if self.given is None else self.given.field(0).type

    def cast(self, array: pa.Array) -> pa.Array:
        """Values of the type `made` as those that features= gave."""
        if self.given is None:
            return array
        (name,) = self.given.names
        return cast(pa.table([array], schema=pa.schema([(name, self.made)])), self.given).column(0)


def shown_columns(schema: pa.Schema, features: Features | None = None) -> dict[str, Shown]:
    """What each column of rows shows.

    Args:
        schema: of the rows as they are made.
        features: of all these columns, in their own order, where a user may have given some.
    """
    found = {}
    for name in schema.names if features is None else features:
        number, text = _SHOWS.get(name, (name, None))
        made, given = schema.field(name).type, None
        if features is not None:
            given = Features({name: features[name]}).arrow_schema
            given = None if given.field(0).type == made else given
        found[name] = Shown(number, text, made, given)
    return found


def cast_columns(schema: pa.Schema, features: Features) -> pa.Schema | None:
    """The columns that a user's features cast, or may refuse; None where all have the types that rows are made of."""
    if not any(one.given for one in shown_columns(schema, features).values()):
        return None
    own = Features.from_arrow_schema(schema)
    return Features({name: features[name] for name in features if features[name] != own[name]}).arrow_schema


def decoded(text: str, gather: Callable[[str], pa.Array], shape: Shape) -> pa.Array:
    """Texts as rows of a shape show them.

    Args:
        text: PROMPT, ANSWER or a column of raw rows.
        gather: gives the values of a column of raw rows.
    """
    if text == PROMPT:
        return _prompts(gather, shape)
    if text != ANSWER:
        return gather(text)
    answers = gather("text")
    if not shape.with_tools:
        return messages("assistant", answers) if shape.as_messages else answers
    extra = gather("extra")  # read when the index was made, so that no error has to name a query
    return answer_messages(answers, extra, pa.nulls(len(answers), pa.string()), shape)


def _prompts(gather: Callable[[str], pa.Array], shape: Shape) -> pa.Array:
    if not (shape.as_messages or shape.multi_turn == LAST):
        return gather("query")
    turns = gather("messages")
    if turns.null_count == len(turns) and not shape.with_tools:
        return messages("user", gather("query")) if shape.as_messages else gather("query")
    columns = [turns if name == "messages" else gather(name) for name in _READ]
    batch = pa.RecordBatch.from_arrays(columns, names=list(_READ))
    return prompt_messages(batch, shape) if shape.as_messages else prompt_texts(batch, shape)
