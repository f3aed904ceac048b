"""`coigp reward judge-data`: a store's pairs as conversations that train a judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coig_p.cli.options import (
    as_json,
    config_options,
    domains_option,
    one_split_option,
    overwrite_option,
    store_argument,
)
from coig_p.cli.screen import json_text, one_line, progress
from coig_p.cli.tree import command
from coig_p.core.text import counted
from coig_p.pairs.config import PairConfig

_FORMS = ("messages", "prompt-completion")
_RATIONALES = ("keep", "only", "none")


@command("judge-data")
@store_argument()
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the rows there.")
@click.option(
    "--form",
    type=click.Choice(_FORMS),
    default="messages",
    show_default=True,
    help="One list of turns, or what is asked and what is answered apart, so that loss is of the answer alone.",
)
@click.option(
    "--rationale",
    type=click.Choice(_RATIONALES),
    default="keep",
    show_default=True,
    help="What judges wrote, before the verdict: keep it where there is any, only rows with it, or none.",
)
@click.option(
    "--prompt",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A template with {{query}}, {{first}} and {{second}}. Default: the one of coigp bench run --judge.",
)
@domains_option
@one_split_option
@config_options(PairConfig, leave_out=("format",))
@overwrite_option("judge data at DIR")
@as_json
def judge_data(
    store: Path,
    out: Path,
    form: str,
    rationale: str,
    prompt: Path | None,
    domains: tuple[str, ...],
    split: str | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Write the pairs of a STORE as judging conversations: two responses, then a rationale and the verdict, last.

    Each pair in both orders, so that no place is right more often. For supervised fine-tuning with TRL, which reads
    messages as they are. The last options are those of pairs.

    \b
    coigp reward judge-data store --out judge-data
    coigp reward judge-data store --threshold 3 --rationale only --form prompt-completion --out judge-data
    """
    from coig_p.reward.judging.data import JudgeDataConfig, write_judge_data
    from coig_p.store.store import Store

    config = JudgeDataConfig(form, rationale, prompt)
    opened = Store.open(store)
    with progress("Reading", sum(file.rows or 0 for file in opened.data_files()), "queries") as advance:
        found = write_judge_data(
            opened,
            out,
            PairConfig(**options),
            config,
            domains=domains,
            split=split,
            overwrite=overwrite,
            advance=advance,
        )
    if json_:
        click.echo(json_text({"judge_data": str(out), "form": form, "rationale": rationale, **found.to_dict()}))
        return
    pairs, rows = counted(found.pairs, "pair"), counted(found.rows, "conversation")
    click.echo(one_line(f"wrote {out}: {rows} of {pairs}, {found.with_rationale:,} with a rationale"))
    if found.left_out:
        click.echo(f"left out without a rationale: {counted(found.left_out, 'conversation')}")
    for why, number in found.unused.items():
        click.echo(f"rationales that were not used, {_WHY[why]}: {number:,}")


_WHY = {
    "decides otherwise": "since the judge decided otherwise",
    "scores decide otherwise": "since their scores say otherwise",
    "of the other order": "since they are of the other order",
    "reads otherwise": "since the answer would be read as another verdict, or as none",
}
