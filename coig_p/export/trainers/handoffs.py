"""The small files that hand an export over to another trainer's own command: YAML, or a script of its arguments.

MODEL stands where the user's model goes: each command says so on the line that overrides it. Batch sizes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from coig_p.export.results import Written
from coig_p.export.settings import Preset, Reinforcement, Settings, preset_of

BATCH, ACCUMULATION = 1, 8  # of a rank
STEP = 128  # rows of a step, where a trainer wants the number of all ranks


def preset(written: Written) -> Preset:
    """Whose numbers are written down."""
    return preset_of(written.preset)


def yaml_file(said: str, values: Mapping[str, Any]) -> str:
    """A config with a comment before it."""
    comment = "".join(f"# {line}\n" for line in said.splitlines())
    return comment + yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True)


def hugging_face(settings: Settings) -> dict[str, Any]:
    """Arguments that trainers take from transformers' TrainingArguments."""
    found: dict[str, Any] = {
        "per_device_train_batch_size": BATCH,
        "gradient_accumulation_steps": ACCUMULATION,
        "learning_rate": settings.learning_rate,
        "num_train_epochs": float(settings.epochs),
        "lr_scheduler_type": settings.schedule,
        "weight_decay": settings.weight_decay,
        "bf16": True,
    }
    # Newer versions of transformers take a share as warmup_steps, older ones whole steps alone.
    name, value = ("warmup_ratio", settings.warmup) if settings.warmup < 1 else ("warmup_steps", int(settings.warmup))
    return found | {name: value, "logging_steps": 10, "save_steps": 500}


def said_of(kind: str, of: Preset, command: str) -> str:
    """The comment at the top of a file: whose numbers these are, and the command that takes them."""
    said = f"{kind}, with the numbers of the preset {of.name} (coigp export --preset)"
    if kind == "DPO":
        said += f"; {of.other_rate}"
    elif kind == "PPO":
        said += f"; TaP's, whose KL is {of.ppo.kl_too} where {of.ppo.kl} holds the policy too close"
    return f"{said}.\n{command}"


def whole_run(name: str, settings: Settings | Reinforcement, steps: int) -> tuple[str, ...]:
    """A note where the warm-up lasts as long as the training: the learning rate then never falls."""
    if settings.warmup < max(1, steps):
        return ()
    return (
        f"{name}: the {settings.warmup:g} warm-up steps of the preset are no fewer than all {steps} steps of this "
        "export, so the learning rate rises to the end and never falls. Choose a shorter warm-up, or export more rows",
    )


def noted(said: str, written: Written, name: str) -> str:
    """The comment at the top of a file, with the notes about it."""
    own = [note.removeprefix(f"{name}: ") for note in written.notes if note.startswith(f"{name}: ")]
    return "\n".join([said, *(f"NOTE: {note}." for note in own)])


def rows_of(written: Written) -> int:
    """Rows that are trained on."""
    return next(iter(written.splits.values())).rows


def script(said: str, names: tuple[str, ...], module: str, options: Mapping[str, Any]) -> str:
    """A script that runs a module with these options, and those that are given to it after `names`.

    Args:
        names: of its arguments, which options may name as $name; HERE is where the script lies.
        module: the words before the options.
        options: True is an option without a value, a tuple several values.
    """
    lines = []
    for name, value in options.items():
        words = () if value is True else value if isinstance(value, tuple) else (value,)
        lines.append(" ".join([f"--{name}", *(_word(one) for one in words)]))
    comment = "".join(f"# {line}\n" for line in said.splitlines())
    taken = "".join(f"{name}=${{{at}:?{name} is missing}}\n" for at, name in enumerate(names, 1))
    return (
        f'#!/bin/sh\n{comment}set -eu\nHERE=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)\n{taken}'
        f"shift {len(names)}\nexec {module} \\\n  " + " \\\n  ".join([*lines, '"$@"']) + "\n"
    )


def _word(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f'"{text}"' if text.startswith("$") else text


def openrlhf(
    settings: Settings | Reinforcement, steps: int, prefix: str = "", rate: float | None = None
) -> dict[str, Any]:
    """OpenRLHF's arguments of an optimizer, whose warm-up is a share of all steps."""
    share = settings.warmup if settings.warmup < 1 else min(1.0, settings.warmup / max(1, steps))
    return {
        f"{prefix}adam.lr": settings.learning_rate if rate is None else rate,
        f"{prefix}lr_scheduler": settings.schedule,
        f"{prefix}lr_warmup_ratio": float(share),
    }
