"""Vectors of responses from an endpoint that embeds, asked for through the ledger: never paid twice, and resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from coig_p.annotate.asking.embeddings import inputs_of, vectors_in
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger, Query
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Outcome, Request, outcome
from coig_p.annotate.config import RunConfig
from coig_p.annotate.tap.embedding import Vectors, unit
from coig_p.annotate.taxonomy.config import EMBED
from coig_p.errors import DataError

_WRONG = {
    "count": "another number of vectors than of texts",
    "index": "vectors whose index is missing, or there twice",
    "form": "what is neither numbers nor base64",
    "dimension": "vectors of different lengths, or empty ones",
    "finite": "a number that is not finite",
}


def embed_requests(config: RunConfig, query: Query, texts: Sequence[str]) -> Iterator[Request]:
    """What is asked for the vectors of a query's responses: each distinct text once, in an order that hangs on nothing.

    Raises:
        DataError: a text is longer than a request may be.
    """
    assert config.tap is not None
    settings, name = config.tap.select, config.tap.select.endpoint
    assert name is not None
    endpoint = config.by_name[name]
    at = 0
    for some in _parts(sorted(set(texts)), settings.inputs, settings.bytes):
        size = len(some[0].encode("utf-8", "replace"))
        if settings.bytes is not None and size > settings.bytes:
            raise DataError(
                f"{query.query_id}: a response of {size:,} bytes is longer than select.embeddings.bytes = "
                f"{settings.bytes:,}: raise that, or use other embeddings"
            )
        yield Request(
            endpoint,
            kind=EMBED,
            domain=query.domain,
            query_id=query.query_id,
            messages=inputs_of(some),
            parameters=settings.embed_parameters,
            read=partial(read_vectors, number=len(some)),
            author=f"{at}+{len(some)}",
            asks=config.judging.asks,
            recipe=config.recipes[EMBED, query.domain, name],
        )
        at += len(some)


def _parts(texts: Sequence[str], most: int, most_bytes: int | None) -> Iterator[list[str]]:
    """Texts in their order in parts, each of so many texts and bytes at most; a text that is too long stands alone."""
    part: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode("utf-8", "replace"))
        if part and (len(part) == most or (most_bytes is not None and size + length > most_bytes)):
            yield part
            part, size = [], 0
        part.append(text)
        size += length
    if part:
        yield part


def read_vectors(message: Message, *, number: int) -> Outcome:
    """Whether an answer has as many vectors as there were texts, all of one length and finite."""
    text, reason = usable_text(message)
    if text is None:
        return Outcome(INVALID, reason)
    try:
        vectors_in(text, number)
    except ValueError as error:
        return Outcome(INVALID, str(error), text)
    return Outcome(ANSWERED, None, text)


def read_again(message: Message, author: str | None) -> Outcome:
    """The same of an answer whose request the ledger knows by its author alone."""
    return read_vectors(message, number=int(str(author).partition("+")[2]))


def known_vectors(config: RunConfig, ledger: Ledger, query: Query, texts: Sequence[str]) -> Vectors | None:
    """The vectors of texts, a row each, of length 1; None where an answer is still to come.

    Raises:
        DataError: an answer cannot be used, or answers have vectors of different lengths.
    """
    assert config.tap is not None
    name = config.tap.select.endpoint
    rows: list[Vectors] = []
    for request in embed_requests(config, query, texts):
        found = outcome(ledger, request)
        if found.state == INVALID:
            what = _WRONG.get(str(found.reason), str(found.reason))
            raise DataError(
                f"{query.query_id}: endpoint {name!r} answered {what}. `coigp annotate retry --invalid` asks again"
            )
        if found.text is None:
            return None
        rows.append(vectors_in(found.text, len(request.messages)))
    lengths = sorted({one.shape[1] for one in rows})
    if len(lengths) > 1:
        told = " and ".join(map(str, lengths))
        raise DataError(f"{query.query_id}: endpoint {name!r} answered vectors of {told} numbers: is it one model?")
    place = {text: at for at, text in enumerate(sorted(set(texts)))}
    return unit(np.concatenate(rows))[[place[text] for text in texts]]
