"""NeMo RL: a context and its ranked completions, one JSON Lines file a split.

Its preference_preprocessor passes no tools on (that for SFT does): there is no place for them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import yaml

from coig_p.export.results import Written
from coig_p.export.trainers.forms import Columns, Form, Trainer, column, facts, last_text, prompt, schema, turns
from coig_p.export.trainers.snippets import command
from coig_p.schema import MESSAGES_TYPE

_COMPLETIONS = pa.list_(pa.struct([("rank", pa.int64()), ("completion", MESSAGES_TYPE), ("reward", pa.float64())]))


def _make(rows: pa.Table, system: str | None) -> Columns:
    size = rows.num_rows
    ranked = []
    for rank, side in enumerate(("chosen", "rejected")):
        texts, reward = turns(rows, side), column(rows, f"{side}_score")
        ranked.append(
            pa.StructArray.from_arrays(
                [pa.array(np.full(size, rank)), texts, reward], fields=list(_COMPLETIONS.value_type)
            )
        )
    order = np.arange(2 * size).reshape(2, size).T.ravel()
    both = pa.concat_arrays(ranked).take(pa.array(order))
    offsets = pa.array(np.arange(size + 1, dtype=np.int32) * 2)
    completions = pa.ListArray.from_arrays(offsets, both).cast(_COMPLETIONS)
    return facts(rows) | {"context": prompt(rows, system), "completions": completions}


def _sides(rows: pa.Table) -> tuple[pa.Array, pa.Array]:
    texts = last_text(pc.struct_field(column(rows, "completions").flatten(), "completion"))
    return texts[::2], texts[1::2]


def _config_files(form: Form, written: Written, where: str) -> dict[str, str]:
    train, *others = (_block(f"{where}/{split.shards[0].path}") for split in written.splits.values())
    data: dict[str, Any] = {"train": train}
    if others:
        data["validation"] = others[0]
    return {"nemo-rl.yaml": yaml.safe_dump({"data": data}, sort_keys=False)}


def _block(path: str) -> dict[str, str]:
    return {"dataset_name": "PreferenceDataset", "data_path": path}


TRAINER = Trainer(
    form=Form(
        "nemo-rl",
        "dpo",
        schema(("context", MESSAGES_TYPE), ("completions", _COMPLETIONS)),
        "jsonl",
        _make,
        _sides,
        messages=True,
        one_file=True,
    ),
    run=command(
        "# the data block is in nemo-rl.yaml, for one file a split\n"
        "uv run examples/run_dpo.py --config your-config.yaml"
    ),
    config_files=_config_files,
)
