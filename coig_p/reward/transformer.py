"""A transformer with one number at its end: loaded, run and saved. Needs torch and transformers: coig-p[train].

The body may compute in bfloat16; the head, a linear map of the last token's state, is in float32 whatever the body is,
since in bfloat16 rewards around 5 lie .03 apart, and around 20 .125. The last token is found by the mask, never by the
first pad token, which may be what ends a turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from coig_p.errors import DataError, UsageError
from coig_p.reward.local_model import _loading, _positions
from coig_p.reward.made import LANGUAGE_MODEL
from coig_p.reward.on_hub import check_there
from coig_p.reward.padding import own_pad
from coig_p.reward.templates import read_template

_LOGITS_AT_ONCE = 1024  # tokens: a vocabulary of 150,000 words takes 600 MB for so many


class RewardModel(nn.Module):
    """A sequence classifier of one label, and, where it is asked for, the head of its language model.

    Attributes:
        classifier: of transformers, its head in float32.
        lm_head: a linear map to words; None where there is none, or where it is the embeddings' own.
        tied: whether the language model's words are its embeddings.
    """

    def __init__(self, classifier: Any, lm_head: nn.Module | None = None, tied: bool = False) -> None:
        super().__init__()
        self.classifier, self.lm_head, self.tied = classifier, lm_head, tied

    @property
    def body(self) -> Any:
        """What makes states of tokens."""
        return getattr(self.classifier, self.classifier.base_model_prefix)

    @property
    def device(self) -> torch.device:
        """Where it is."""
        found: torch.device = self.classifier.score.weight.device
        return found

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, answers: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Rewards of N conversations, padded to T tokens on the right.

        Args:
            attention_mask: (N, T), 1 where a token is.
            answers: (N, T), which tokens a language model must foretell; None where it need not.

        Returns:
            N rewards in float32, or float64 where the head is; and the mean loss of each one's `answers`, 0 without.
        """
        states = self.body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        last = states[torch.arange(len(states), device=states.device), attention_mask.sum(1) - 1]
        head = self.classifier.score
        with torch.autocast(states.device.type, enabled=False):
            rewards = head(last.to(head.weight.dtype)).squeeze(-1)
        return rewards, None if answers is None else self._foretold(states, input_ids, answers)

    def _foretold(self, states: torch.Tensor, input_ids: torch.Tensor, answers: torch.Tensor) -> torch.Tensor:
        row, at = torch.nonzero(answers, as_tuple=True)
        before, wanted = states[row, at - 1], input_ids[row, at]
        parts = [
            checkpoint(self._surprise, before[begin : begin + _LOGITS_AT_ONCE], wanted[begin : begin + _LOGITS_AT_ONCE],
                       use_reentrant=False)
            for begin in range(0, len(row), _LOGITS_AT_ONCE)
        ]  # fmt: skip
        dtype = self.classifier.score.weight.dtype
        total = torch.zeros(len(answers), dtype=dtype, device=states.device)
        if parts:
            total = total.index_add(0, row, torch.cat(parts).to(dtype))
        return total / answers.sum(1).clamp(min=1)

    def _surprise(self, states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        if self.lm_head is None:
            logits = nn.functional.linear(states, self.body.get_input_embeddings().weight)
        else:
            logits = self.lm_head(states)
        dtype = self.classifier.score.weight.dtype
        return cross_entropy(logits.to(dtype), wanted, reduction="none")


def load_tokenizer(name: str, revision: str | None = None, template: Path | None = None) -> Any:
    """The tokenizer of a model, with a chat template.

    Args:
        template: a file of Jinja, or a folder that has one, in the place of its own.

    Raises:
        UsageError: there is no such model, or no chat template.
        DataError: its files are not whole.
        RemoteError: the Hub cannot be reached.
    """
    from transformers import AutoTokenizer

    check_there(name, revision)
    with _loading(name):
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    if template is not None:
        tokenizer.chat_template = read_template(template).text
    if not tokenizer.chat_template:
        raise UsageError(
            f"{name} has no chat template, so nobody knows how it reads a conversation: name a file that has one with "
            "--template"
        )
    tokenizer.padding_side = "right"
    return tokenizer


def longest_read(name: str, revision: str | None, wanted: int) -> int:
    """How many tokens of a conversation are read: as many as are wanted, or as the model has places for.

    Raises:
        UsageError, DataError, RemoteError: see `load_tokenizer`.
    """
    from transformers import AutoConfig

    with _loading(name):
        config = AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    return min(wanted, _positions(config) or wanted)


def load_base(
    name: str, tokenizer: Any, *, revision: str | None = None, language_model: bool = False, seed: int = 0,
    largest: int = -1,
) -> tuple[RewardModel, bool]:  # fmt: skip
    """A model to train, in float32: a reward model goes on from its head, a language model gets a new one, by `seed`.

    The tokenizer gets a pad token of its own where it has none (see `own_pad`).

    Args:
        largest: the largest token id that it will be shown.

    Returns:
        The model, and whether its head is new.

    Raises:
        UsageError: there is no such model, its code would have to run, its kind has no head that is known, its head
            has several labels, or no embedding for `largest`.
        DataError: its files are not whole.
        RemoteError: the Hub cannot be reached.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    torch.manual_seed(seed)
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    with _loading(name):
        config = AutoConfig.from_pretrained(name, **options)
        _check_labels(config, name)
        config.num_labels = 1
        if getattr(config.get_text_config(), "attn_logit_softcapping", None):  # as in `local_model`
            options["attn_implementation"] = "eager"
        options["dtype"] = torch.float32
        classifier, told = AutoModelForSequenceClassification.from_pretrained(
            name, config=config, output_loading_info=True, **options
        )
    check_head(classifier, name)
    missing = sorted(set(told["missing_keys"]) - {"score.weight"})
    if missing:
        raise DataError(f"{name}: weights are missing, as {', '.join(missing[:3])}: its files are not whole")
    model = _with_words(classifier, name, options) if language_model else RewardModel(classifier)
    rows = classifier.get_input_embeddings().weight.shape[0]
    if largest >= rows:
        raise UsageError(
            f"{name}: its tokenizer makes token ids up to {largest:,}, and the model has {rows:,} rows of embeddings: "
            "the tokenizer is another model's. Take the folder's own"
        )
    if own_pad(tokenizer, rows):
        if model.lm_head is not None:
            raise UsageError(f"{name}: its tokenizer has no pad token, and no row is free for one: give it one first")
        classifier.resize_token_embeddings(tokenizer.pad_token_id + 1, mean_resizing=False)
    classifier.config.get_text_config().pad_token_id = classifier.config.pad_token_id = tokenizer.pad_token_id
    return model, "score.weight" in told["missing_keys"]


def _check_labels(config: Any, name: str) -> None:
    """Raise UsageError for a classifier of several labels; a language model has no head yet, whatever is said of it."""
    kinds = config.architectures or ()
    if config.num_labels != 1 and any(str(kind).endswith("ForSequenceClassification") for kind in kinds):
        raise UsageError(
            f"{name}: its head has {config.num_labels} labels, and a reward model has 1. Begin with a language model, "
            "or with a reward model of one label"
        )


def check_head(classifier: Any, name: str) -> None:
    """Raise UsageError where a classifier is not a body and a linear map of its last state to one number."""
    head = getattr(classifier, "score", None)
    body = getattr(classifier, classifier.base_model_prefix, None)
    if not isinstance(head, nn.Linear) or body is None or body is classifier or head.out_features != 1:
        raise UsageError(
            f"{name}: {type(classifier).__name__} has no linear head `score` of one label, as decoders have: use a "
            "decoder, as Qwen's, Llama's or Mistral's"
        )


def save_memory(classifier: Any) -> None:
    """Have every layer computed a second time on the way back, in the place of keeping what it made."""
    # The newer name came within transformers 5, and the older one warns since.
    enable = getattr(classifier, "activation_checkpointing_enable", None) or classifier.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _with_words(classifier: Any, name: str, options: dict[str, Any]) -> RewardModel:
    from transformers import AutoModelForCausalLM

    with _loading(name):
        language_model, told = AutoModelForCausalLM.from_pretrained(name, output_loading_info=True, **options)
    head, words = language_model.get_output_embeddings(), language_model.get_input_embeddings()
    if told["missing_keys"] or head is None:
        raise UsageError(f"{name}: --lm-weight needs a language model, and its head is missing. Leave it out")
    if head.weight is words.weight:
        return RewardModel(classifier, tied=True)
    return RewardModel(classifier, head)


def padded(ids: Sequence[np.ndarray[Any, Any]], pad: int, device: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of N conversations as (N, T), padded on the right, and where they are."""
    longest = max(len(one) for one in ids)
    rows = np.full((len(ids), longest), pad, np.int64)
    mask = np.zeros((len(ids), longest), np.int64)
    for at, one in enumerate(ids):
        rows[at, : len(one)], mask[at, : len(one)] = one, 1
    return torch.from_numpy(rows).to(device), torch.from_numpy(mask).to(device)


def to_save(model: RewardModel, dtype: torch.dtype) -> RewardModel:
    """The same with a body of another type, and its head in float32."""
    for part in (model.body, model.lm_head):
        if part is not None:
            part.to(dtype)
    model.classifier.score.float()
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the bars that transformers shows for each file."""
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()


def save(model: RewardModel, tokenizer: Any, folder: Path, base: str, revision: str | None = None) -> None:
    """Write what transformers loads: weights, config, tokenizer with its template; the language model in a folder."""
    with _quiet():
        _save(model, tokenizer, folder, base, revision)


def _save(model: RewardModel, tokenizer: Any, folder: Path, base: str, revision: str | None) -> None:
    model.classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if model.lm_head is None and not model.tied:
        return
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=False)
    with torch.device("meta"):
        language_model = AutoModelForCausalLM.from_config(config)
    setattr(language_model, language_model.base_model_prefix, model.body)
    if model.tied:
        language_model.tie_weights()
    else:
        language_model.set_output_embeddings(model.lm_head)
    language_model.config.pad_token_id = tokenizer.pad_token_id
    language_model.config.vocab_size = model.body.get_input_embeddings().weight.shape[0]
    language_model.save_pretrained(folder / LANGUAGE_MODEL)
    tokenizer.save_pretrained(folder / LANGUAGE_MODEL)
