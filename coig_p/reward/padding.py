"""A pad token that stands nowhere in a conversation."""

from __future__ import annotations

from typing import Any

PAD = "<|coig_p_pad|>"
_KNOWN = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|fim_pad|>")


def own_pad(tokenizer: Any, rows: int) -> bool:
    """Give a tokenizer a pad token of its own, where it has none, or one that also ends or begins a text.

    What reads the model later may pool the last token that is no padding: with pad = eos the one before the end.

    Args:
        rows: of the model's embeddings.

    Returns:
        Whether the model needs more rows than it has.
    """
    taken = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    if tokenizer.pad_token is not None and tokenizer.pad_token not in taken:
        return False
    vocabulary = tokenizer.get_vocab()
    known = next((one for one in _KNOWN if one in vocabulary and one not in taken), None)
    if known is None:
        tokenizer.add_special_tokens({"pad_token": PAD})
    else:
        tokenizer.pad_token = known
    return int(tokenizer.pad_token_id) >= rows
