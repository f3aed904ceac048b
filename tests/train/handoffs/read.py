"""Run by the Python of another tool: hands its command line to the tool's own parser, and prints what was read.

python read.py llama-factory CONFIG.yaml [overrides]
python read.py openrlhf train_dpo [arguments]
python read.py verl --config-path DIR --config-name verl [overrides]
python read.py ms-swift rlhf CONFIG.yaml [arguments]
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import sys
import types
from datetime import datetime
from pathlib import Path
from typing import Any


def llama_factory() -> dict[str, Any]:
    """hparams.get_train_args: HfArgumentParser over its dataclasses, and its checks of what goes together."""
    from llamafactory.hparams import get_train_args

    _, data, training, finetuning, _ = get_train_args()
    return {
        "stage": finetuning.stage, "beta": finetuning.pref_beta, "type": finetuning.finetuning_type,
        "dataset": data.dataset, "dataset_dir": data.dataset_dir, "max_length": data.cutoff_len,
        **hugging_face(training),
    }  # fmt: skip


def hugging_face(args: Any) -> dict[str, Any]:
    """Of TrainingArguments, the warm-up in steps of 1,000."""
    schedule = getattr(args.lr_scheduler_type, "value", args.lr_scheduler_type)
    return {
        "learning_rate": args.learning_rate, "epochs": args.num_train_epochs, "schedule": schedule,
        "weight_decay": args.weight_decay,
    }  # fmt: skip


def openrlhf() -> dict[str, Any]:
    """The whole block under `if __name__ == "__main__"` of a command: argparse, and the checks after it.

    The modules above that block need deepspeed and a GPU, and are not imported; what trains is taken out. Nor is what
    openrlhf.utils itself imports (torch, sympy): the block takes a module of that folder that needs none of it.
    """
    spec = importlib.util.find_spec("openrlhf")
    assert spec is not None
    root = (spec.submodule_search_locations or [""])[0]
    utils = types.ModuleType("openrlhf.utils")
    utils.__path__ = [str(Path(root) / "utils")]
    sys.modules[utils.__name__] = utils
    path = Path(root) / "cli" / f"{sys.argv.pop(1)}.py"
    blocks = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    (block,) = [node for node in blocks if "__main__" in ast.unparse(node.test)]
    found: list[Any] = []
    names = {"argparse": argparse, "datetime": datetime, "train": found.append}
    exec(compile(ast.Module(block.body, []), str(path), "exec"), names)
    told: dict[str, Any] = json.loads(json.dumps(found[0], default=vars))
    return told


def verl() -> dict[str, Any]:
    """main_ppo.main as its command runs it: hydra, and validate_config, which makes its dataclasses."""
    from omegaconf import OmegaConf
    from verl.trainer import main_ppo

    found: list[dict[str, Any]] = []

    def run(config: Any, task_runner_class: object) -> None:
        found.append(
            {name: OmegaConf.to_container(config[name], resolve=True) for name in ("data", "algorithm", "trainer")}
            | {
                "actor": OmegaConf.to_container(config.actor_rollout_ref.actor.optim),
                "critic": OmegaConf.to_container(config.critic.optim),
                "critic_path": config.critic.model.path,
                "reward": OmegaConf.to_container(config.reward.reward_model, resolve=True),
            }
        )

    main_ppo.run_ppo = run
    main_ppo.main()
    return found[0]


def ms_swift() -> dict[str, Any]:
    """cli.main.parse_yaml_args, then RLHFArguments or SftArguments with their __post_init__."""
    from swift import arguments
    from swift.cli.main import parse_yaml_args
    from swift.utils import parse_args

    kind, *argv = sys.argv[1:]
    parse_yaml_args(argv)
    args, rest = parse_args({"rlhf": arguments.RLHFArguments, "sft": arguments.SftArguments}[kind], argv)
    assert not rest
    return {
        "rlhf_type": getattr(args, "rlhf_type", None), "beta": getattr(args, "beta", None), "type": args.tuner_type,
        "dataset": args.dataset, "max_length": args.max_length, "warmup": args.warmup_ratio or args.warmup_steps,
        **hugging_face(args),
    }  # fmt: skip


if __name__ == "__main__":
    read = {"llama-factory": llama_factory, "openrlhf": openrlhf, "verl": verl, "ms-swift": ms_swift}[sys.argv.pop(1)]
    print("READ " + json.dumps(read(), default=str))
