"""OpenRLHF: pairs as message lists, with their margin, for DPO and a reward model.

Its RewardDataset gives the chat template messages and nothing else (0.11.2): there is no place for tools. Its commands
read arguments and no file, so that beside the rows there are scripts. `margin` is subtracted from a difference of two
rewards only with --model.margin_loss_enable, which they do not set.
"""

from __future__ import annotations

from coig_p.export.results import Written
from coig_p.export.settings import steps_of
from coig_p.export.trainers.forms import (
    MARGIN,
    PAIR,
    Form,
    Trainer,
    as_messages,
    lists,
    schema,
    sides,
)
from coig_p.export.trainers.handoffs import STEP, noted, openrlhf, preset, rows_of, said_of, script, whole_run
from coig_p.export.trainers.snippets import command

_PAIRS = {
    "data.dataset": "$HERE", "data.dataset_split": "train", "data.prompt_key": "prompt", "data.chosen_key": "chosen",
    "data.rejected_key": "rejected", "data.apply_chat_template": True, "model.model_name_or_path": "$MODEL",
    "ckpt.output_dir": "$OUT", "train.batch_size": STEP, "train.micro_batch_size": 1, "ds.zero_stage": 3,
    "model.gradient_checkpointing_enable": True,
}  # fmt: skip


def _pair_files(form: Form, written: Written, where: str) -> dict[str, str]:
    of, rows = preset(written), rows_of(written)
    files = {}
    for name, kind, settings, more in (
        ("dpo", "DPO", of.dpo, {"model.beta": of.dpo.beta}),
        ("rm", "A reward model", of.reward, {"adam.weight_decay": of.reward.weight_decay}),
    ):
        steps = steps_of(rows, STEP, settings.epochs)
        options = _PAIRS | openrlhf(settings, steps) | more
        options |= {"train.max_epochs": settings.epochs, "data.max_len": settings.max_length}
        said = noted(said_of(kind, of, f"sh {name}.sh MODEL OUT [more options]"), written, f"{name}.sh")
        module = f"deepspeed --module openrlhf.cli.train_{name}"
        files[f"{name}.sh"] = script(said, ("MODEL", "OUT"), module, options)
    return files


def _notes(written: Written) -> tuple[str, ...]:
    of, rows, found = preset(written), rows_of(written), tuple[str, ...]()
    for name, settings in (("dpo.sh", of.dpo), ("rm.sh", of.reward)):
        found += whole_run(name, settings, steps_of(rows, STEP, settings.epochs))
    return found


TRAINER = Trainer(
    form=Form(
        "openrlhf",
        "dpo",
        schema(*lists(*PAIR), MARGIN),
        "parquet",
        as_messages(("chosen", "rejected"), "margin"),
        sides("chosen", "rejected"),
        messages=True,
    ),
    run=command("sh DIR/dpo.sh MODEL out  # DPO\nsh DIR/rm.sh MODEL out   # a reward model"),
    config_files=_pair_files,
    notes=_notes,
)
