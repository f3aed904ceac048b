"""What stands beside the rows of an export: the trainer's small config file, and a README that runs it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from coig_p.export.trainers import Form

NAME = "coig_p"
_BETA, _RATE = 0.1, "1e-6"  # COIG-P's own settings; 1e-7 for models that are already aligned


def config_files(form: Form, found: Mapping[str, Any], out: Path) -> dict[str, str]:
    """The files that the trainer reads beside the rows, by name.

    Args:
        found: what shards.json says.
        out: where the export will be.
    """
    make = _CONFIGS.get(form.trainer)
    return make(form, found, str(out)) if make else {}


def readme(form: Form, found: Mapping[str, Any], out: Path) -> str:
    """A README with the YAML that makes load_dataset(DIR) find the splits, and a line that trains."""
    patterns = [{"split": name, "path": f"{name}/*.{form.file_type}"} for name in found["splits"]]
    head = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": patterns}]}, sort_keys=False)
    rows = "\n".join(
        f"| {name} | {split['rows']:,} | {len(split['shards'])} | "
        + ", ".join(f"{domain} {count:,}" for domain, count in split["rows_by_domain"].items())
        + " |"
        for name, split in found["splits"].items()
    )
    columns = "\n".join(f"- `{name}`: {kind}" for name, kind in found["columns"].items())
    return f"""---
{head}---

# Preference data for {form.trainer}

Written by {found["tool"]} at threshold {found["threshold"]:g}. Rows are in an order drawn by seed
{found["shuffle_seed"]}, so no shuffle buffer is needed, and a stream resumes exactly.

| split | rows | shards | by domain |
|---|---|---|---|
{rows}

`shards.json` has the rows of each shard, and `max_steps` of an epoch for a batch size on each of
{found["world_size"]} ranks with {found["workers"]} workers.

{columns}

## Run it

{_RUN[form.trainer](found, str(out))}"""


def _trl(trainer: str, model: str, extra: str = "") -> Callable[[Mapping[str, Any], str], str]:
    def run(found: Mapping[str, Any], where: str) -> str:
        name, split = next(iter(found["splits"].items()))
        steps = split.get("max_steps", {}).get("4", split["rows"] // 4)
        return f"""```python
from datasets import load_dataset
from trl import {trainer}Config, {trainer}Trainer

stream = load_dataset({json.dumps(where)}, split="{name}", streaming=True)
# One epoch: max_steps from shards.json for this batch size. The shards are shuffled already.
args = {trainer}Config(
    output_dir="out",
    per_device_train_batch_size=4,
    max_steps={max(1, steps)},{extra}
    accelerator_config={{"dispatch_batches": False}},
)
{trainer}Trainer(model={model}, args=args, train_dataset=stream, processing_class=tokenizer).train()
```
"""

    return run


def _command(text: str, kind: str = "sh") -> Callable[[Mapping[str, Any], str], str]:
    # The place is ours, the rest of a command constant: nothing that a model wrote gets in.
    return lambda found, where: f"```{kind}\n{text.replace('DIR', shlex.quote(where))}\n```\n"


def _llama_factory(form: Form, found: Mapping[str, Any], where: str) -> dict[str, str]:
    columns = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
    if "system" in form.schema.names:
        columns["system"] = "system"
    entries = {
        NAME if at == 0 else f"{NAME}_{name}": {
            "file_name": name,
            "formatting": "alpaca",
            "ranking": True,
            "columns": columns,
        }
        for at, name in enumerate(found["splits"])
    }
    return {"dataset_info.json": json.dumps(entries, indent=2) + "\n"}


def _axolotl(form: Form, found: Mapping[str, Any], where: str) -> dict[str, str]:
    def block(split: str) -> dict[str, Any]:
        return {
            "path": where,
            "split": split,
            "type": "chat_template.default",
            "field_messages": "messages",
            "field_chosen": "chosen",
            "field_rejected": "rejected",
            "message_property_mappings": {"role": "role", "content": "content"},
        }

    names = list(found["splits"])
    config: dict[str, Any] = {"rl": "dpo", "rl_beta": _BETA, "learning_rate": float(_RATE), "num_epochs": 1}
    config["datasets"] = [block(names[0])]
    if len(names) > 1:
        config["test_datasets"] = [block(names[1])]
    return {"axolotl.yaml": yaml.safe_dump(config, sort_keys=False)}


def _verl(form: Form, found: Mapping[str, Any], where: str) -> dict[str, str]:
    files = {name: [f"{where}/{shard['path']}" for shard in split["shards"]] for name, split in found["splits"].items()}
    train, *others = files
    evaluation = files[others[0]] if others else files[train]
    data = {
        "train_files": files[train],
        "val_files": evaluation,
        "prompt_key": "prompt",
        "reward_fn_key": "data_source",
    }
    return {"verl.yaml": yaml.safe_dump({"data": data}, sort_keys=False)}


def _nemo_rl(form: Form, found: Mapping[str, Any], where: str) -> dict[str, str]:
    train, *others = found["splits"]

    def block(split: str) -> dict[str, Any]:
        return {
            "dataset_name": "PreferenceDataset",
            "data_path": f"{where}/{found['splits'][split]['shards'][0]['path']}",
        }

    data: dict[str, Any] = {"train": block(train)}
    if others:
        data["validation"] = block(others[0])
    return {"nemo-rl.yaml": yaml.safe_dump({"data": data}, sort_keys=False)}


def _run_verl(found: Mapping[str, Any], where: str) -> str:
    train, *others = ([f"{where}/{shard['path']}" for shard in split["shards"]] for split in found["splits"].values())
    files = {"data.train_files": train, "data.val_files": others[0] if others else train}
    options = " ".join(shlex.quote(f"{name}=[{','.join(paths)}]") for name, paths in files.items())
    return f"""verl trains by reinforcement: bring a reward model or function. `verl.yaml` has the same data block.

```sh
python -m verl.trainer.main_ppo {options} actor_rollout_ref.model.path=MODEL
```
"""


def _grpo(found: Mapping[str, Any], where: str) -> str:
    return f"""```python
from datasets import load_dataset
from trl import GRPOConfig, GRPOTrainer


def reward(completions, reference, **columns):  # yours: a reward model, a rule, ...
    return [float(text.strip() == wanted.strip()) for text, wanted in zip(completions, reference)]


prompts = load_dataset({json.dumps(where)}, split="{next(iter(found["splits"]))}")
GRPOTrainer(model=model, reward_funcs=reward, args=GRPOConfig(output_dir="out"), train_dataset=prompts).train()
```
"""


_CONFIGS: dict[str, Callable[[Form, Mapping[str, Any], str], dict[str, str]]] = {
    "llama-factory": _llama_factory,
    "axolotl": _axolotl,
    "verl": _verl,
    "nemo-rl": _nemo_rl,
}

_DPO = f"\n    beta={_BETA},\n    learning_rate={_RATE},  # 1e-7 where the model is aligned already"
_RUN: dict[str, Callable[[Mapping[str, Any], str], str]] = {
    "trl-dpo": _trl("DPO", "model", _DPO),
    "trl-reward": _trl("Reward", "model", f"\n    learning_rate={_RATE},"),
    "trl-kto": _trl("KTO", "model", _DPO),
    "trl-grpo": _grpo,
    "llama-factory": _command(
        f"llamafactory-cli train --stage dpo --do_train true --dataset_dir DIR --dataset {NAME} "
        f"--pref_beta {_BETA} \\\n  --learning_rate {_RATE} --num_train_epochs 1 --model_name_or_path MODEL "
        "--template qwen --output_dir out"
    ),
    "openrlhf": _command(
        "deepspeed --module openrlhf.cli.train_dpo --data.dataset DIR --data.prompt_key prompt "
        "--data.chosen_key chosen \\\n  --data.rejected_key rejected --data.apply_chat_template "
        f"--model.beta {_BETA} --adam.lr {_RATE} --train.max_epochs 1 \\\n  --model.model_name_or_path MODEL"
    ),
    "ms-swift": _command(
        f"swift rlhf --rlhf_type dpo --dataset DIR/train/*.jsonl --beta {_BETA} --learning_rate {_RATE} "
        "\\\n  --num_train_epochs 1 --model MODEL --output_dir out"
    ),
    "axolotl": _command("# axolotl.yaml is the datasets block: put your model and the rest of your config into it\n"
                        "axolotl train DIR/axolotl.yaml --base-model MODEL"),
    "verl": _run_verl,
    "nemo-rl": _command(
        "# the data block is in nemo-rl.yaml, for one file a split\n"
        "uv run examples/run_dpo.py --config your-config.yaml"
    ),
}  # fmt: skip
