"""The trainers that an export can be for. Each is a file here, and a line in TRAINERS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa

from coig_p.errors import UnknownNameError, UsageError
from coig_p.export.trainers import (
    axolotl,
    llama_factory,
    llama_factory_kto,
    llama_factory_sft,
    ms_swift,
    ms_swift_kto,
    ms_swift_sft,
    nemo_rl,
    openrlhf,
    openrlhf_ppo,
    trl_dpo,
    trl_grpo,
    trl_kto,
    trl_reward,
    trl_sft,
    verl,
)
from coig_p.export.trainers.forms import Form, Trainer
from coig_p.pairs.shapes import NOTHING, Held, RowForm
from coig_p.pairs.turns import LAST, SKIP, TEXT

_IN_ORDER = (
    trl_dpo.TRAINER,
    trl_reward.TRAINER,
    trl_kto.TRAINER,
    trl_grpo.TRAINER,
    trl_sft.TRAINER,
    llama_factory.TRAINER,
    llama_factory_kto.TRAINER,
    llama_factory_sft.TRAINER,
    openrlhf.TRAINER,
    openrlhf_ppo.TRAINER,
    ms_swift.TRAINER,
    ms_swift_kto.TRAINER,
    ms_swift_sft.TRAINER,
    axolotl.TRAINER,
    verl.TRAINER,
    nemo_rl.TRAINER,
)
TRAINERS: Mapping[str, Trainer] = {trainer.name: trainer for trainer in _IN_ORDER}
"""By the names that `coigp export --for` takes."""


def find_form(
    name: str,
    *,
    conversational: bool = False,
    system: str | None = None,
    holds: Held = NOTHING,
    multi_turn: str | None = None,
) -> Form:
    """The form for a trainer.

    Args:
        name: one of TRAINERS.
        conversational: message lists rather than strings; TRL alone lets the user choose.
        system: a system prompt, to know that the form has a place for one.
        holds: conversations and tools among what is exported.
        multi_turn: of `PairConfig`.

    Raises:
        UsageError: an unknown trainer, or one that has no such choice.
    """
    if name not in TRAINERS:
        raise UnknownNameError("trainer", name, TRAINERS)
    trainer = TRAINERS[name]
    choice = trainer.conversational is not None and not trainer.by_itself
    if conversational and not choice:
        both = ", ".join(one.name for one in _IN_ORDER if one.conversational is not None and not one.by_itself)
        raise UsageError(f"{name} takes no choice of forms: leave out --conversational, which is for {both}")
    if system is not None and not system.strip():
        raise UsageError("the system prompt is blank: leave it out")
    if system is not None and choice and not conversational:
        raise UsageError(f"{name} takes plain strings, which have no place for a system prompt: add --conversational")
    form = trainer.form
    if trainer.by_itself:
        conversational = bool(holds.conversations) and multi_turn in (None, SKIP)
    if conversational and trainer.conversational is not None:
        form = trainer.conversational
    if form.messages and holds.with_tools and multi_turn != SKIP and trainer.tools is not None:
        form = trainer.tools
    if system is not None and form.system_column is not None:
        if holds.conversations and multi_turn in (TEXT, LAST):
            raise UsageError(
                f"--system beside --multi-turn {multi_turn}: a conversation may have a system prompt of its own, "
                "which must stay. Leave out --system"
            )
        return replace(form, schema=form.schema.append(pa.field(form.system_column, pa.string())))
    return form


def row_form(form: Form) -> RowForm:
    """What rows of a form can show, and what to take instead where they cannot."""
    trainer = TRAINERS[form.trainer]
    both = {one.name for one in _IN_ORDER if one.conversational is not None and not one.by_itself}
    every = [one.name for one in _IN_ORDER if one.tools is not None]
    whole = ", ".join(f"{one} --conversational" for one in every if one in both)
    others = ", ".join(one for one in every if one not in both)
    return RowForm(
        f"the form of {form.trainer}",
        form.messages,
        trainer.tools is not None,
        "--conversational" if form.trainer in both else "no --multi-turn",
        f"--for {whole}, which show all of it (or {others}, which show tools, and end at what they cannot show)",
    )
