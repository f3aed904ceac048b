"""A conversation as a reward model reads it: the same tokens in training and in scoring.

A chat template's text is tokenized as it stands, since the template writes what begins a text itself. Where it ends in
a line break, as Qwen's does, that is left out: the reward is read at the last token, which else would be one that says
nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coig_p.errors import UsageError

PAD = "<|coig_p_pad|>"
_PADS = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|fim_pad|>")


def conversation_text(tokenizer: Any, turns: Sequence[Mapping[str, Any]], *, answered: bool = True) -> str:
    """What the chat template makes of turns.

    Args:
        tokenizer: one of transformers, with a chat template (see `check_template`).
        answered: the last turn is the response; else what is asked before a response is shown.

    Raises:
        Exception: whatever the template raises, where it refuses such turns.
    """
    text: str = tokenizer.apply_chat_template([dict(turn) for turn in turns], tokenize=False,
                                              add_generation_prompt=not answered)  # fmt: skip
    return text.removesuffix("\n") if answered else text


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The tokens of texts that a chat template made: nothing is added, cut or padded."""
    if not texts:
        return []
    found: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, truncation=False, padding=False)[
        "input_ids"
    ]
    return found


def check_template(tokenizer: Any, name: str) -> None:
    """Raise UsageError where a tokenizer has no chat template."""
    if not getattr(tokenizer, "chat_template", None):
        raise UsageError(
            f"{name}: its tokenizer has no chat template, so nobody knows how it reads a conversation. Give one with "
            "--template FILE, as Jinja"
        )


def own_pad(tokenizer: Any, rows: int) -> bool:
    """Give a tokenizer a pad token that stands nowhere in a conversation, where it has none, or has its end token.

    Models pool the last token that is no padding: with pad = eos, the one before the end.

    Args:
        rows: of the model's embeddings.

    Returns:
        Whether the model needs more rows than it has.
    """
    ends = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    if tokenizer.pad_token is not None and tokenizer.pad_token not in ends:
        return False
    known = tokenizer.get_vocab()
    chosen = next((one for one in _PADS if one in known and one not in ends), None)
    if chosen is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    else:
        tokenizer.pad_token = chosen
    return int(tokenizer.pad_token_id) >= rows
