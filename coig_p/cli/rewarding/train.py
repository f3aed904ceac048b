"""`coigp reward train`: a reward model from a store's pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from coig_p.cli.options import (
    as_json,
    config_options,
    domains_option,
    one_split_option,
    overwrite_option,
    store_argument,
)
from coig_p.cli.screen import json_text, one_line, pasted, progress, say, table
from coig_p.cli.tree import command
from coig_p.core.text import counted
from coig_p.pairs.config import PairConfig
from coig_p.reward.training_config import TrainConfig

if TYPE_CHECKING:
    from coig_p.reward.made import TrainedModel

BUILTIN = "builtin:ngram"


@command("train")
@store_argument()
@click.option(
    "--model",
    required=True,
    metavar="MODEL",
    help=f"What training begins with: a folder or a Hub id of a language model or a reward model, which needs the "
    f"extra [train]; or {BUILTIN}, a floor of cheap features and n-grams, which needs no download.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Write the model there.")
@click.option("--half", type=click.IntRange(1, 2), help="Train on this half of the store: see coigp reward halves.")
@click.option(
    "--max-responses",
    type=click.IntRange(min=2),
    help=f"Draw whole queries, by hash, up to so many responses. Default for {BUILTIN}: 20,000.",
)
@domains_option
@one_split_option
@config_options(TrainConfig)
@config_options(PairConfig, leave_out=("format",))
@overwrite_option("a reward model at DIR")
@as_json
@click.pass_context
def train(
    context: click.Context,
    /,
    store: Path,
    model: str,
    out: Path,
    half: int | None,
    max_responses: int | None,
    domains: tuple[str, ...],
    split: str | None,
    overwrite: bool,
    json_: bool,
    **options: Any,
) -> None:
    """Train a reward model on the pairs of a STORE, and say how accurate it is on queries that it never saw.

    Accuracy stands beside two baselines: the longer response wins, and the model that wins more often elsewhere wins.
    Options from --preset to --template are for transformers; --preset gives the numbers of a paper, each of which an
    option of its own replaces. Training that was stopped goes on where the same command is given again. The last
    options are those of pairs; --seed also draws which queries are held out, and the order.

    \b
    coigp reward train store --model builtin:ngram --out floor
    coigp reward train store --model Qwen/Qwen2.5-0.5B-Instruct --preset crm --batch-pairs 64 --out crm
    coigp reward train store --model builtin:ngram --half 1 --threshold 3 --out floor --json
    """
    own = {name: options.pop(name) for name in TrainConfig.__dataclass_fields__}
    pairs = PairConfig(**options)
    if model == BUILTIN:
        given = [one for one in own if context.get_parameter_source(one) == ParameterSource.COMMANDLINE]
        if given:
            named = ", ".join(f"--{one.replace('_', '-')}" for one in given)
            raise click.UsageError(f"{named}: no effect on --model {BUILTIN}. Leave it out.")
        trained = _floor(store, out, pairs, half, max_responses, domains, split, overwrite)
    else:
        if not model.strip():
            raise click.BadParameter("it is empty: name a folder or a model on the Hub", param_hint="--model")
        if model.startswith("builtin:"):
            raise click.BadParameter(f"{model!r}: the only one built in is {BUILTIN}", param_hint="--model")
        from coig_p.reward.training import train_transformer

        found = train_transformer(
            store, out, model, pairs, TrainConfig(**own), domains=domains, split=split, half=half,
            max_responses=max_responses, overwrite=overwrite, bar=progress, say=say,
        )  # fmt: skip
        if found is None:  # one of several processes, and not the first
            return
        trained = found
    if json_:
        click.echo(json_text({"model": str(out)} | trained.to_dict()))
        return
    _print(trained, out)


def _floor(
    store: Path,
    out: Path,
    pairs: PairConfig,
    half: int | None,
    max_responses: int | None,
    domains: tuple[str, ...],
    split: str | None,
    overwrite: bool,
) -> TrainedModel:
    from coig_p.reward.ngram_training import NgramConfig, train_ngram
    from coig_p.store.store import Store

    config = NgramConfig() if max_responses is None else NgramConfig(max_responses=max_responses)
    opened = Store.open(store)
    with progress("Training", config.fits, "fits") as advance:
        return train_ngram(
            opened, out, pairs, config, domains=domains, split=split, half=half, overwrite=overwrite, advance=advance
        )


def _print(trained: TrainedModel, out: Path) -> None:
    held_out = trained.held_out
    if held_out is not None:
        named = [
            ("this model", held_out.model),
            *((_WORDS.get(name, name), one) for name, one in held_out.beside.items()),
        ]
        rows = [
            [name, one.pairs, one.queries, _percent(one.accuracy), _between(one.low, one.high), one.ties]
            for name, one in named
        ]
        click.echo(table(["on queries not trained on", "pairs", "queries", "accuracy", "95% interval", "ties"], rows))
        click.echo(one_line(f"{_VERDICTS[held_out.verdict]} ({held_out.how})"))
    elif trained.training.get("held_out"):
        click.echo(
            "no query was held out, so there is no accuracy: the share is too small for so few queries. Raise "
            "--held-out, or measure with a benchmark"
        )
    if trained.kind == "ngram":
        click.echo("a floor, fitted to this store alone: no judge of quality, and no filter")
    too_long = (trained.training.get("data") or {}).get("too_long")
    if too_long:
        click.echo(
            f"{counted(too_long, 'pair')} left out: a response of more than "
            f"{counted(trained.training['max_length'], 'token')} with what is asked. Raise --max-length"
        )
    click.echo(one_line(f"wrote {out}: {trained.base}, trained on {_counts(trained.training.get('data') or {})}"))
    click.echo(f"next: coigp bench run BENCH --model {pasted(out)} --out results")


_WORDS = {
    "length": "the longer response wins",
    "majority_model": "the model that wins more often wins",
    "leave_one_model_out": "this model, on models never seen",
    "consensus": "the one most like the others wins",
    "with_consensus": "this model and likeness together",
}
_VERDICTS = {
    "signal": "there is signal beyond length",
    "none": "no signal beyond length was found",
    "inconclusive": "inconclusive: 200 held-out queries or more are needed",
}


def _counts(data: dict[str, Any]) -> str:
    return f"{counted(data.get('pairs', 0), 'pair')} of {counted(data.get('queries', 0), 'query', 'queries')}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.1%} to {high:.1%}"
