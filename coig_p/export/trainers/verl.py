"""verl: each prompt once, with the best response as ground truth for a reward, and a config for PPO.

Its tools are classes named in its own config; definitions in a row are not read (RLHFDataset, 0.9.1).
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.export.results import Written
from coig_p.export.trainers.forms import Columns, Form, Trainer, column, facts, last_text, prompt, schema
from coig_p.export.trainers.handoffs import STEP, noted, preset, rows_of, said_of, whole_run, yaml_file
from coig_p.pairs.turns import constant
from coig_p.schema import MESSAGES_TYPE

_REWARD_MODEL = pa.struct([("style", pa.string()), ("ground_truth", pa.string())])
_EXTRA_INFO = pa.struct([("query_id", pa.string())])


def _make(rows: pa.Table, system: str | None) -> Columns:
    size, own = rows.num_rows, facts(rows)
    names = [field.name for field in _REWARD_MODEL]
    reference = last_text(column(rows, "completion"))
    return own | {
        "data_source": pc.binary_join_element_wise("coig-p", own["domain"], "/"),
        "prompt": prompt(rows, system),
        "ability": own["domain"],
        "reward_model": pa.StructArray.from_arrays([constant("model", size), reference], names),
        "extra_info": pa.StructArray.from_arrays([own["query_id"]], ["query_id"]),
    }


def _files(written: Written, where: str) -> dict[str, list[str]]:
    """Those to train on, and those to evaluate by: the next split, or the same where there is none."""
    train, *others = ([f"{where}/{shard.path}" for shard in split.shards] for split in written.splits.values())
    return {"train_files": train, "val_files": others[0] if others else list(train)}


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    of = preset(written)
    own, batch = of.ppo, _batch(written)
    # verl wants files to validate on even where it never does.
    unseen = (
        {} if written.splits.keys() - {next(iter(written.splits))} else {"val_before_train": False, "test_freq": -1}
    )
    optim = {"lr_scheduler_type": own.schedule, "lr_warmup_steps": own.warmup}
    values = {
        "hydra": {"searchpath": ["pkg://verl.trainer.config"]},
        "defaults": ["ppo_trainer", "_self_"],
        "data": {
            **_files(written, where), "prompt_key": "prompt", "reward_fn_key": "data_source", "train_batch_size": batch,
            "max_prompt_length": own.prompt_length, "max_response_length": own.response_length,
            "filter_overlong_prompts": True, "shuffle": False,
        },
        "algorithm": {
            "adv_estimator": "gae", "use_kl_in_reward": True, "kl_ctrl": {"type": "fixed", "kl_coef": own.kl},
        },
        "actor_rollout_ref": {
            "model": {"path": "???"},
            "actor": {
                "optim": {"lr": own.learning_rate, **optim}, "ppo_mini_batch_size": batch, "use_dynamic_bsz": True,
            },
            "rollout": {"name": "vllm", "log_prob_use_dynamic_bsz": True},
            "ref": {"log_prob_use_dynamic_bsz": True},
        },
        "critic": {
            "model": {"path": "${actor_rollout_ref.model.path}"},
            "optim": {"lr": own.critic_learning_rate, **optim},
        },
        "reward": {"reward_model": {"enable": True, "model_path": "???", "rollout": {"name": "vllm"}}},
        "trainer": {
            "total_epochs": own.epochs, "project_name": "coig_p", "experiment_name": "ppo", "logger": ["console"],
            **unseen,
        },
    }  # fmt: skip
    return {"verl.yaml": yaml_file(noted(said_of("PPO", of, _LINE), written, "verl.yaml"), values)}


def _batch(written: Written) -> int:
    """Prompts of a step: as many as there are, at most, since verl leaves out a batch that is not full."""
    return min(STEP, rows_of(written))


def _notes(written: Written) -> tuple[str, ...]:
    rows, batch, found = rows_of(written), _batch(written), list[str]()
    if batch < STEP:
        found.append(
            f"verl.yaml: {rows} rows are fewer than the {STEP} of a step, so train_batch_size and ppo_mini_batch_size "
            f"are {batch}. verl may want a number that divides by the GPUs"
        )
    if len(written.splits) == 1:
        found.append(
            "verl.yaml: there is no split to validate on (--test-size makes one), so validation is off, and val_files "
            "are the files of train, since verl wants some"
        )
    own = preset(written).ppo
    return (*found, *whole_run("verl.yaml", own, rows // max(1, batch) * own.epochs))


_LINE = (
    "python -m verl.trainer.main_ppo --config-path DIR --config-name verl actor_rollout_ref.model.path=MODEL "
    "reward.reward_model.model_path=REWARD"
)


def _run(written: Written, where: str) -> str:
    # To Hydra a relative path is one beside verl's own module.
    place = shlex.quote(where) if Path(where).is_absolute() else f'"$PWD"/{shlex.quote(where)}'
    line = _LINE.replace("DIR", place).replace(" actor", " \\\n  actor")
    return f"""PPO, with a reward model: REWARD, what `coigp reward train` wrote.

```sh
{line}
```
"""


TRAINER = Trainer(
    form=Form(
        "verl",
        "sft",
        schema(
            ("data_source", pa.string()),
            ("prompt", MESSAGES_TYPE),
            ("ability", pa.string()),
            ("reward_model", _REWARD_MODEL),
            ("extra_info", _EXTRA_INFO),
        ),
        "parquet",
        _make,
        messages=True,
    ),
    run=_run,
    config_files=_config_files,
    notes=_notes,
)
