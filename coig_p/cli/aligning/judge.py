"""`coigp align judge`: a judge scores a model's answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from coig_p.cli.aligning.asking import AlignOptions, align_options, run
from coig_p.cli.annotate.alone import check_model, is_address
from coig_p.cli.tree import command


@command("judge")
@click.argument("answers", type=click.Path(path_type=Path), metavar="ANSWERS")
@click.option(
    "--judge",
    "judge_",
    required=True,
    metavar="FILE|URL",
    help="Who judges: a TOML file, or the address of an OpenAI-compatible server, with --judge-model.",
)
@click.option("--judge-model", metavar="NAME", help="The model to ask at the address of --judge.")
@click.option("--key-env", metavar="NAME", help="The variable that holds the key of that address.")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of templates in place of the package's, where --judge is an address; a file has them in [judge].",
)
@align_options("results", "--judge")
def judge(
    answers: Path, judge_: str, judge_model: str | None, key_env: str | None, prompts: Path | None, given: AlignOptions
) -> None:
    """Have a judge score ANSWERS, a folder of coigp align answer; run again, it goes on where it ended.

    Of AlignBench each dimension and the whole, beside the reference; of MT-Bench-zh each turn. What cannot be read for
    certain is asked again, and then invalid. Prompts are the package's, or those of a folder of yours.

    \b
    coigp align judge answers --judge judge.toml --out results
    coigp align judge answers --judge judge.toml --out results --estimate
    coigp align judge answers --judge http://127.0.0.1:8000/v1 --judge-model m --prompts mine --out results
    """
    from coig_p.evaluate.align.files import ANSWERS, read_kept
    from coig_p.evaluate.align.judging import Judging
    from coig_p.reward.judging.config import judge_at, load_judge

    check_model("--judge", judge_, judge_model, key_env, "--judge-model")
    if is_address(judge_):
        one = replace(judge_at(judge_, str(judge_model), key_env), prompts=prompts)
    elif prompts is not None:
        raise click.UsageError(f"--prompts: {judge_} says it itself: prompts of [judge]. Leave it out.")
    else:
        one = load_judge(judge_)
    given.approve("--judge", one.path, one.wishes)
    kept = read_kept(answers, ANSWERS)
    judging = Judging.of(kept, one)
    header = {
        "model": dict(kept.model),
        "answers_sha256": kept.sha256,
        "judge": judging.describe(),
        "options": {"asks": one.asks, "answered": dict(kept.header["options"])},
    }
    about = {"benchmark": kept.benchmark.to_dict(), "model": kept.model["name"], "judge": one.endpoint.name}
    run(
        given,
        judging.work(),
        kept.benchmark,
        what="results",
        who="judge",
        max_cost=one.max_cost,
        turns=judging.results,
        header=header,
        about=about,
        apart=[answers, one.path, one.prompts],
    )
