"""`coigp annotate retry` and `judgements`: what came to nothing, asked once more; what judges said, as a file."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from pathlib import Path

import click

from coig_p.cli.annotate.common import FILE, approve, trusting
from coig_p.cli.options import as_json, list_option, overwrite_option
from coig_p.cli.screen import STDOUT, check_apart, json_text, pasted, row_file, row_stream
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable


@command("retry")
@FILE
@click.option("--failed", is_flag=True, help="What failed; every run asks it again, so this only counts it.")
@click.option("--invalid", is_flag=True, help="What was asked as often as it may be and never answered usably.")
@list_option("--endpoint", "endpoints", help="Only what these were asked. Repeatable. Default: all.")
@trusting
@as_json
def retry(
    file: Path,
    failed: bool,
    invalid: bool,
    endpoints: tuple[str, ...],
    trust: bool,
    allow: tuple[str, ...],
    json_: bool,
) -> None:
    """Have the next run of FILE ask once more what came to nothing. Asks nothing itself; says what it may cost.

    What has a usable answer is not asked again, and what was paid stays in the ledger. Where the parser has become
    better, `coigp annotate audit --apply` may read some of it without paying.

    \b
    coigp annotate retry run.toml --invalid
    coigp annotate retry run.toml --failed --invalid --endpoint judge-b
    """
    from coig_p.annotate.asking.costs import MONEY
    from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
    from coig_p.annotate.config import load_config
    from coig_p.annotate.retrying import retry as ask_again

    if not (failed or invalid):
        raise click.UsageError("say what: --failed, --invalid or both.")
    states = ["failed"] * failed + ["invalid"] * invalid
    config = load_config(file)
    approve(config, trust, allow)
    Ledger.open(config.folder).close()  # an error where nothing was asked yet
    with LedgerWriter.open(config.folder) as ledger:
        found = ask_again(config, ledger, states, endpoints)
    before, after = found.before, found.after
    if json_:
        listed = [
            {"endpoint": name, "kind": kind, "state": state, "requests": number}
            for (name, kind, state), number in found.requests.items()
        ]
        run = {"requests": after.requests, "expected": after.expected / MONEY, "most": after.most / MONEY}
        more = {name: getattr(after, name) - getattr(before, name) for name in ("requests", "expected", "most")}
        more = more | {name: more[name] / MONEY for name in ("expected", "most")}
        click.echo(json_text({"retried": listed, "more": more, "next_run": run}))
        return
    for (name, kind, state), number in found.requests.items():
        click.echo(printable(f"{name}, {kind}: {counted(number, 'request')} {state}"))
    every: Counter[str] = Counter()
    for (_, _, state), number in found.requests.items():
        every[state] += number
    words = " and ".join(f"{every[state]:,} {state}" for state in states)
    click.echo(
        f"{words} requests are asked again by the next run, which sends {after.requests:,} in all: cost about "
        f"{after.expected / MONEY:.4f}, at most {after.most / MONEY:.4f} "
        f"({(after.expected - before.expected) / MONEY:.4f} and {(after.most - before.most) / MONEY:.4f} of that "
        f"come of this)"
    )
    click.echo(f"then: coigp annotate run {pasted(file)}")


@command("judgements")
@FILE
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="OUT",
    help="The file to write, .parquet or .jsonl; - is JSON Lines on standard output, and nothing else there.",
)
@overwrite_option("OUT where it exists")
@as_json
def judgements(file: Path, out: Path, overwrite: bool, json_: bool) -> None:
    """Write all that judges said in FILE's run, a row a judgement with its raw text. Also while it is working.

    \b
    coigp annotate judgements run.toml --out judgements.parquet
    coigp annotate judgements run.toml --out - | jq -r .text
    """
    import pyarrow.parquet as pq

    from coig_p.annotate.asking.ledger import LEDGER, Ledger
    from coig_p.annotate.config import load_config
    from coig_p.annotate.judgements import SCHEMA, judgement_tables

    kind = row_file(out, json_, "a file of judgements", overwrite)
    config = load_config(file)
    check_apart(out, [file, config.folder / LEDGER])
    number = 0
    with Ledger.open(config.folder) as ledger, row_stream(out) as stream:
        if kind == "parquet":
            with closing(pq.ParquetWriter(stream, SCHEMA, compression="zstd")) as writer:
                for rows in judgement_tables(ledger):
                    writer.write_table(rows)
                    number += rows.num_rows
        else:
            for rows in judgement_tables(ledger):
                for row in rows.to_pylist():
                    row["at"] = None if row["at"] is None else row["at"].isoformat()
                    stream.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                number += rows.num_rows
    if json_:
        click.echo(json_text({"file": str(out), "judgements": number}))
    elif out != STDOUT:
        click.echo(f"wrote {printable(str(out))}: {counted(number, 'judgement')}")
