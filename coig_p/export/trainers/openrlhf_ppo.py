"""OpenRLHF's PPO: each prompt once, as messages, with the best response as reference, and a script of its arguments."""

from __future__ import annotations

import pyarrow as pa

from coig_p.export.results import Written
from coig_p.export.trainers.forms import (
    Columns,
    Form,
    Trainer,
    column,
    facts,
    last_text,
    lists,
    prompt,
    schema,
    strings,
)
from coig_p.export.trainers.handoffs import STEP, noted, openrlhf, preset, rows_of, said_of, script, whole_run
from coig_p.export.trainers.snippets import command

# One node of eight GPUs that all models share; whatever comes after them on the command line is taken instead.
_GPUS = 8
_ON_A_NODE = {
    "train.colocate_all": True, "vllm.num_engines": _GPUS, "vllm.enable_sleep": True, "ds.enable_sleep": True,
    "vllm.gpu_memory_utilization": 0.5, "ds.zero_stage": 3, "actor.gradient_checkpointing_enable": True,
    **{f"{one}.num_gpus_per_node": _GPUS for one in ("actor", "critic", "ref", "reward")},
}  # fmt: skip


def _prompts(rows: pa.Table, system: str | None) -> Columns:
    return facts(rows) | {"prompt": prompt(rows, system), "reference": last_text(column(rows, "completion"))}


def _prompt_files(form: Form, written: Written, where: str) -> dict[str, str]:
    of, own, steps = preset(written), preset(written).ppo, _steps(written)
    options = {
        "data.prompt_dataset": "$HERE", "data.prompt_split": "train", "data.input_key": "prompt",
        "data.label_key": "reference", "data.apply_chat_template": True, "actor.model_name_or_path": "$MODEL",
        "reward.model_name_or_path": "$REWARD", "ckpt.output_dir": "$OUT", "algo.advantage.estimator": "gae",
        "algo.kl.init_coef": own.kl, "train.num_episodes": own.epochs, "train.max_epochs": 1, "train.batch_size": STEP,
        "rollout.batch_size": STEP, "rollout.n_samples_per_prompt": 1, "rollout.max_new_tokens": own.response_length,
        "data.max_len": own.prompt_length + own.response_length,
        **openrlhf(own, steps, "actor."), **openrlhf(own, steps, "critic.", own.critic_learning_rate), **_ON_A_NODE,
    }  # fmt: skip
    said = said_of("PPO", of, "sh ppo.sh MODEL REWARD OUT [more options]; REWARD is a reward model with one label")
    said = noted(said, written, "ppo.sh")
    module = "python3 -m openrlhf.cli.train_ppo_ray"
    return {"ppo.sh": script(said, ("MODEL", "REWARD", "OUT"), module, options)}


def _steps(written: Written) -> int:
    return rows_of(written) // STEP * preset(written).ppo.epochs


def _notes(written: Written) -> tuple[str, ...]:
    return whole_run("ppo.sh", preset(written).ppo, _steps(written))


TRAINER = Trainer(
    form=Form(
        "openrlhf-ppo", "sft", schema(*lists("prompt"), *strings("reference")), "parquet", _prompts, messages=True
    ),
    run=command("sh DIR/ppo.sh MODEL REWARD out  # REWARD: what coigp reward train wrote"),
    config_files=_prompt_files,
    notes=_notes,
)
