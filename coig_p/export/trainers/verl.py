"""verl: each prompt once, with the best response as ground truth for a reward.

Its tools are classes named in its own config; definitions in a row are not read (RLHFDataset, 0.9.1).
"""

from __future__ import annotations

import shlex

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from coig_p.export.results import Written
from coig_p.export.trainers.forms import Columns, Form, Trainer, column, facts, last_text, prompt, schema
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
    return {"train_files": train, "val_files": others[0] if others else train}


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    data = {**_files(written, where), "prompt_key": "prompt", "reward_fn_key": "data_source"}
    return {"verl.yaml": yaml.safe_dump({"data": data}, sort_keys=False)}


def _run(written: Written, where: str) -> str:
    files = _files(written, where).items()
    options = " ".join(shlex.quote(f"data.{name}=[{','.join(paths)}]") for name, paths in files)
    return f"""verl trains by reinforcement: bring a reward model or function. `verl.yaml` has the same data block.

```sh
python -m verl.trainer.main_ppo {options} actor_rollout_ref.model.path=MODEL
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
)
