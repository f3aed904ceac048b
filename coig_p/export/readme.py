"""The README beside the rows of an export: what is there, and the line that trains on it."""

from __future__ import annotations

from pathlib import Path

from coig_p.core.front_matter import front_matter
from coig_p.core.markdown import code
from coig_p.export.results import Written
from coig_p.export.trainers import TRAINERS
from coig_p.export.trainers.forms import Form


def readme(form: Form, written: Written, out: Path, told: str) -> str:
    """A README with the YAML that makes load_dataset(DIR) find the splits, and a line that trains.

    Args:
        told: of the rows, as `coig_p.store.writing.told_of_rows` has it.
    """
    patterns = [{"split": name, "path": f"{name}/*.{form.file_type}"} for name in written.splits]
    config = {"config_name": "default", "description": told, "data_files": patterns}
    head = front_matter({"configs": [config]})
    rows = "\n".join(
        f"| {name} | {split.rows:,} | {len(split.shards)} | "
        + ", ".join(f"{domain} {count:,}" for domain, count in split.rows_by_domain.items())
        + " |"
        for name, split in written.splits.items()
    )
    columns = "\n".join(f"- `{name}`: {kind}" for name, kind in written.columns.items())
    left_out = sum(split.queries_left_out or 0 for split in written.splits.values())
    lacking = f"\nLeft out, since the rows cannot show them (`--multi-turn skip`): {left_out:,} queries.\n"
    balanced = [split.balanced for split in written.splits.values() if split.balanced is not None]
    if balanced:
        lacking = (lacking if left_out else "") + (
            f"\nLeft out, so that the chosen response is the longer one as often as the shorter (`--balance-length`): "
            f"{sum(one.left_out for one in balanced):,} pairs.\n"
        )
    of = f"at threshold {written.margin}"
    if written.response_of is not None:
        of = f"with the responses of {code(written.response_of)}"
    if written.one_per is not None:
        beside = sum(split.queries_beside or 0 for split in written.splits.values())
        of += f", one query of each {code(written.one_per)} (left out: {beside:,})"
    noted = "".join(f"- {note}.\n" for note in written.notes)
    run = TRAINERS[form.trainer].run(written, str(out))
    if not out.is_absolute():
        run += (
            "\nPaths in these lines and in the files beside the rows begin at the folder in which `coigp export` was "
            "run: start from there.\n"
        )
    return f"""{head}
# Preference data for {form.trainer}

Written by {written.tool} {of}. Rows are in an order drawn by seed
{written.shuffle_seed}, so no shuffle buffer is needed, and a stream resumes exactly.

| split | rows | shards | by domain |
|---|---|---|---|
{rows}
{lacking if left_out or balanced else ""}
`shards.json` has the rows of each shard, and `max_steps` of an epoch for a batch size on each of
{written.world_size} ranks with {written.workers} workers.

{columns}

## Run it

{run}{chr(10) + noted if noted else ""}"""
