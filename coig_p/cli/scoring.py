"""`coigp score`: a reward model gives every response of a store a reward, which is kept beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from coig_p.cli.options import as_json, overwrite_option, store_argument
from coig_p.cli.scorers import ScorerOptions, opened, scorer_options
from coig_p.cli.screen import json_text, one_line, pasted, progress, say
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable
from coig_p.errors import CoigPError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coig_p.reward.checking import Compared
    from coig_p.reward.opening import ScorerConfig
    from coig_p.reward.score import Check, StoreScored
    from coig_p.reward.scorer import Asked, Scored, Scorer


@command("score")
@store_argument()
@scorer_options()
@click.option("--as", "name", required=True, metavar="NAME", help="What its rewards are kept as, for instance crm.")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write a copy of the store with them there instead."
)
@click.option("--check", is_flag=True, help="Score 20 of the responses once more, each alone, before all is written.")
@click.option(
    "--check-with",
    metavar="MODEL",
    help="The same, by transformers with this model: the folder or id of what a server runs.",
)
@overwrite_option("rewards called NAME, all of which are scored anew, and the store at DIR")
@as_json
def score(
    store: Path,
    scorer: ScorerOptions,
    name: str,
    out: Path | None,
    check: bool,
    check_with: str | None,
    overwrite: bool,
    json_: bool,
) -> None:
    """Score every response of a STORE by a reward model, and keep the rewards beside it, in rewards/NAME.

    They are no scores, and enter no mean: pairs that they oppose are left out by --agree-with NAME. What was scored is
    kept beside the store until all is there: run the same command again to go on after a stop. In a store with rewards
    of this model already, only what has none is scored.

    \b
    coigp score store --model models/crm --as crm
    coigp score store --model models/crm --as crm --check --out scored
    coigp score store --server http://127.0.0.1:8000 --as crm --check-with models/crm
    coigp score store --model floor --as floor --json | jq .without
    """
    from coig_p.reward.score import ScoreConfig, check_score, journal_at, score_store
    from coig_p.store.store import Store

    config = scorer.config()
    if check_with is not None and config.server is None:
        raise click.UsageError("--check-with: only with --server. With --model pass --check.")
    wanted = ScoreConfig(name, tokens_per_batch=config.tokens_per_batch, again=overwrite)
    found = Store.open(store, check_rewards=not overwrite)
    check_score(found, out, overwrite)
    kept = journal_at(found, name, out)
    said = opened(config)
    if kept.exists():
        say(f"going on with what {kept} holds")
    compared: list[Compared] = []
    try:
        scored = score_store(
            found,
            said,
            wanted,
            out=out,
            overwrite=overwrite,
            check=_checking(said, config, check_with, compared) if check or check_with else None,
            bar=progress,
        )
    except (KeyboardInterrupt, CoigPError):
        if kept.exists():
            say(f"what was scored is kept in {kept}: run the same command again to go on")
        raise
    finally:
        said.close()
    if json_:
        click.echo(json_text({**scored.to_dict(), "check": compared[0].to_dict() if compared else None}))
        return
    _print(scored, compared)


def _checking(scorer: Scorer, config: ScorerConfig, check_with: str | None, compared: list[Compared]) -> Check:
    """What looks at some responses again; what it finds is added to `compared`."""
    from coig_p.reward.checking import ITSELF, TRANSFORMERS, allowed_of, by_itself, compare_alone, plainly

    def look(some: Sequence[tuple[Asked, Scored]]) -> None:
        described = scorer.describe()
        of_transformers = check_with is not None or described["kind"] == "model"
        if of_transformers:
            say(f"checking {counted(len(some), 'response')} with transformers")
        alone = plainly(config, described, check_with) if of_transformers else by_itself(scorer)
        against = TRANSFORMERS if of_transformers else ITSELF
        compared.append(compare_alone(some, alone, against, allowed_of(described)))

    return look


def _print(scored: StoreScored, compared: list[Compared]) -> None:
    told, store = scored.told, str(scored.store.path)
    for one in compared:
        by = "by transformers" if one.against == "transformers" else "by the same"
        click.echo(f"checked: {counted(one.responses, 'response')}, each alone {by}, {one.largest:.2g} apart at most")
    for reason, number in told["without"].items():
        click.echo(one_line(f"not scored, {reason}: {counted(number, 'response')}"))
    if told["truncated"]:
        click.echo(f"cut to fit: {counted(told['truncated'], 'response')}")
    if scored.squashed:
        click.echo(
            "every reward lies from 0 to 1: a sigmoid seems to be on in the server. The order stays, but what is near "
            "0 or 1 may be one, and differences mean little"
        )
    if not scored.asked:
        click.echo("nothing was new: what has no reward has none for a reason that holds")
    spread = ""
    if scored.mean is not None:
        spread = f", from {scored.lowest:.4g} to {scored.highest:.4g}, {scored.mean:.4g} on average"
    click.echo(
        printable(
            f"wrote rewards {scored.name} of {told['model']} to {store}: {told['scored']:,} of "
            f"{counted(told['responses'], 'response')} have one{spread}"
        )
    )
    if told["scored"]:
        agreeing = f"coigp pairs {pasted(store)} --agree-with {scored.name} --out pairs.parquet"
        click.echo(f"pairs that it agrees with: {agreeing}")
