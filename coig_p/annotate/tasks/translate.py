"""Queries of open-source sets turned into Chinese (COIG-P, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Query
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Messages, Outcome, Request, assistant_message, user_message
from coig_p.annotate.config import RunConfig, translating_parameters
from coig_p.annotate.tasks.rows import query_of, rows_of
from coig_p.annotate.translation import lacks, needs_translation
from coig_p.ingest.values import Rejected

TRANSLATE = "translate"

_WORDS = {
    "markers": "译文里有标记行",
    "refusal": "没有翻译",
    "preamble": "译文里有译文以外的说明",
    "language": "译文不是中文",
    "traditional": "译文不是简体字",
    "code": "这些代码、公式或网址没有照原样保留：{}",
    "numbers": "数字和原文不一致（缺少的，以及前面有 + 号的多出来的）：{}",
    "names": "这些专名没有注明原文：{}",
    "question": "原文是问句，译文不是",
    "length": "译文的长度和原文相差太远",
}
_NOTHING = "（没有内容）"
_AGAIN = "上面的译文不能用：{}。请重新翻译上面的问题，只写译文。"


def original_of(config: RunConfig, query_id: str) -> str | None:
    """What a query of a source says before it is translated; None where no source has it."""
    return next((query.query for query in foreign_queries(config) if query.query_id == query_id), None)


def translations(config: RunConfig, limit: int | None = None) -> Iterator[Request]:
    """Every query that is to be translated, as a request; rows that cannot be queries are for `collect` to tell.

    Args:
        limit: only of the first so many rows.
    """
    for query in foreign_queries(config, limit):
        yield translate_request(config, query)


def foreign_queries(config: RunConfig, limit: int | None = None) -> Iterator[Query]:
    """Every query of a source that is to be translated, as its source has it."""
    if config.translate is None:
        return
    for source, _, row in islice(rows_of(config), limit):
        if not source.translate:
            continue
        try:
            query = query_of(config, source, row)
        except Rejected:
            continue
        if needs_translation(query.query):
            yield query


def translate_request(config: RunConfig, query: Query) -> Request:
    """A translation of a query that is still as its source has it."""
    assert config.translate is not None
    assert config.translate_prompt is not None
    endpoint = config.by_name[config.translate.endpoint]
    read = partial(read_translation, original=query.query, names=config.translate.names)
    return Request(
        endpoint,
        kind=TRANSLATE,
        domain=query.domain,
        query_id=query.query_id,
        messages=(user_message(config.translate_prompt.fill({"query": query.query})),),
        parameters=translating_parameters(config),
        read=read,
        asks=config.translate.asks,
        again=partial(_translated_again, original=query.query, names=config.translate.names),
        recipe=config.recipes[TRANSLATE, query.domain, endpoint.name],
    )


def read_translation(message: Message, *, original: str, names: bool) -> Outcome:
    """A translation is usable where it is whole and keeps what must stay; see `coig_p.annotate.translation`."""
    text, reason = usable_text(message)
    if text is None:
        return Outcome(INVALID, reason)
    if message.cut:
        return Outcome(INVALID, f"cut: {message.cut}")
    found = lacks(original, text, names=names)
    if found:
        return Outcome(INVALID, "; ".join(map(str, found)), text)
    return Outcome(ANSWERED, text=text.strip())


def _translated_again(sent: Messages, message: Message, reason: str, *, original: str, names: bool) -> list[Messages]:
    """What is sent once more, with a message behind it that says what was missing."""
    text, _ = usable_text(message)
    if text is None or message.cut:
        said, words = text or _NOTHING, "没有写完" if message.cut else "没有译文"
    else:
        found = lacks(original, text, names=names)
        said, words = text, "；".join(_WORDS[lack.reason].format("、".join(lack.what)) for lack in found) or reason
    return [(*sent, assistant_message(said), user_message(_AGAIN.format(words)))]
