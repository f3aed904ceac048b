"""Requests for vectors in place of a chat, as OpenAI's /v1/embeddings has them: texts in, a vector each out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_ROLE = "input"  # of a message that is a text to be embedded; no chat has it


def inputs_of(texts: Sequence[str]) -> tuple[Mapping[str, str], ...]:
    """Texts as the messages of a request."""
    return tuple({"role": _ROLE, "content": text} for text in texts)


def asks_for_vectors(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a request's messages are texts to be embedded."""
    return bool(messages) and messages[0]["role"] == _ROLE


def vectors_in(text: str, number: int) -> npt.NDArray[np.float64]:
    """The vectors of an answer in the order of its inputs, a row each.

    Args:
        text: as `message.read_embeddings` has it.
        number: of inputs.

    Raises:
        ValueError: with one of these words: count, index, form, dimension, finite.
    """
    listed = json.loads(text)
    if len(listed) != number:
        raise ValueError("count")
    if sorted(index for index, _ in listed if type(index) is int) != list(range(number)):
        raise ValueError("index")
    rows = [_vector(vector) for _, vector in sorted(listed, key=lambda one: int(one[0]))]
    if len({len(row) for row in rows}) != 1 or not len(rows[0]):
        raise ValueError("dimension")
    found = np.stack(rows)
    if not np.isfinite(found).all():
        raise ValueError("finite")
    return found


def _vector(given: Any) -> npt.NDArray[np.float64]:
    """One vector: numbers, or the bytes of little-endian 32-bit floats in base64."""
    if isinstance(given, str):
        try:
            content = base64.b64decode(given, validate=True)
            return np.frombuffer(content, "<f4").astype(np.float64)
        except (binascii.Error, ValueError):
            raise ValueError("form") from None
    if not isinstance(given, list) or not all(type(one) in (int, float) for one in given):
        raise ValueError("form")
    try:
        return np.array(given, np.float64)
    except OverflowError:
        raise ValueError("finite") from None
