"""`coigp align answer`: a model answers a benchmark."""

from __future__ import annotations

from pathlib import Path

import click

from coig_p.cli.aligning.asking import AlignOptions, align_options, run
from coig_p.cli.annotate.alone import check_model, is_address
from coig_p.cli.tree import command


@command("answer")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="The benchmark: JSON Lines, or a JSON list, of AlignBench v1.1 or MT-Bench-zh.",
)
@click.option(
    "--references",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Of MT-Bench-zh, where its references are a file of their own, as FastChat has them.",
)
@click.option(
    "--endpoint",
    required=True,
    metavar="FILE|URL",
    help="Who answers: a TOML file, or the address of an OpenAI-compatible server, with --model.",
)
@click.option("--model", metavar="NAME", help="The model to ask at the address of --endpoint.")
@click.option("--key-env", metavar="NAME", help="The variable that holds the key of that address.")
@click.option("--official", is_flag=True, help="As COIG-P's own run: temperature 1.0, 2,000 tokens, cut answers count.")
@click.option("--keep-cut", is_flag=True, help="An answer that was cut at max_tokens counts as it is.")
@align_options("answers", "--endpoint")
def answer(
    data: Path,
    references: Path | None,
    endpoint: str,
    model: str | None,
    key_env: str | None,
    official: bool,
    keep_cut: bool,
    given: AlignOptions,
) -> None:
    """Have a model answer AlignBench or MT-Bench-zh; run again, it goes on where it ended.

    The temperature is that of each question's category. A second turn is asked with the first answer before it.

    \b
    coigp align answer --data alignbench.jsonl --endpoint model.toml --out answers
    coigp align answer --data alignbench.jsonl --endpoint http://127.0.0.1:8000/v1 --model my-model --out answers
    coigp align answer --data alignbench.jsonl --endpoint model.toml --out answers --estimate
    """
    from coig_p.evaluate.align.answering import Asking, answerer_at, load_answerer
    from coig_p.evaluate.align.benchmarks import read_benchmark

    check_model("--endpoint", endpoint, model, key_env, "--model")
    if is_address(endpoint):
        answerer = answerer_at(endpoint, str(model), key_env, official=official)
    else:
        answerer = load_answerer(endpoint, official=official)
    given.approve("--endpoint", answerer.path, answerer.wishes)
    benchmark = read_benchmark(data, references)
    asking = Asking(benchmark, answerer, keep_cut, official)
    header = {"model": answerer.describe(), "options": asking.options()}
    about = {"benchmark": benchmark.to_dict(), "model": answerer.endpoint.name, "questions": len(benchmark.questions)}
    run(
        given,
        asking.work(),
        benchmark,
        what="answers",
        who="endpoint",
        max_cost=answerer.max_cost,
        turns=asking.answers,
        header=header,
        about=about,
        apart=[data, references, answerer.path],
    )
