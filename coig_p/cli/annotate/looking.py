"""`coigp annotate status` and `audit`, and what `run --estimate` prints: where a run stands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.annotate.common import EXAMPLES, FILE, approve, trusting
from coig_p.cli.options import as_json
from coig_p.cli.screen import json_text, one_line, table
from coig_p.cli.tree import command
from coig_p.core.text import counted

if TYPE_CHECKING:
    from coig_p.annotate.config import RunConfig

_TOKENS = ("requests", "input_tokens", "output_tokens")


@command("status")
@FILE
@as_json
def status(file: Path, json_: bool) -> None:
    """How far FILE's run is: requests, cost, rates and time left, by endpoint. Also while it is working.

    \b
    coigp annotate status run.toml
    coigp annotate status run.toml --json | jq .cost
    """
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.config import load_config
    from coig_p.annotate.repaying import in_words
    from coig_p.annotate.status import status_of

    config = load_config(file)
    with Ledger.open(config.folder) as ledger:
        now = status_of(config, ledger)
    found = now.to_dict()
    if json_:
        click.echo(json_text(found))
        return
    names = ["asked", "answered", "invalid", "failed", "in_flight", "batched", "sent"]
    rows = [
        [
            name,
            *(one[key] for key in names),
            f"{one['invalid_rate']:.1%}",
            f"{one['failure_rate']:.1%}",
            f"{one['per_minute']:g}",
            f"{one['cost']:.4f}",
        ]
        for name, one in found["endpoints"].items()
    ]
    click.echo(table(["endpoint", *names, "invalid %", "failing %", "a minute", "cost"], rows))
    click.echo()
    stages = [[name, one["planned"], one["done"]] for name, one in found["stages"].items()]
    click.echo(table(["stage", "planned", "done"], stages))
    for name, one in now.types.items():
        rounds = ", ".join(f"{each['new']:,} of {each['listed']:,}" for each in one["rounds"])
        made = f"{counted(one['types'], 'type')} of {counted(one['subjects'], 'subject')}, {one['dry']:,} of them dry"
        click.echo(one_line(f"{name}: {made}; new in each round: {rounds or 'none yet'}"))
    for name, one in now.judges.items():
        click.echo(one_line(f"{name}: {_in_both_orders(one)}"))
    left = found["minutes_left"]
    words = "nothing is left" if left == 0 else "time left unknown" if left is None else f"about {left:g} minutes left"
    most = "" if found["max_cost"] is None else f" of at most {found['max_cost']:g}"
    click.echo(
        f"\ncost {found['cost']:.4f}{most}, and up to {found['may_cost']:.4f} for attempts without an answer; "
        f"{found['per_minute']:g} answers a minute; {words}"
    )
    if now.paid_again:
        click.echo(one_line(in_words(now.paid_again, now.paid_again_exact)))


def _in_both_orders(one: Mapping[str, Any]) -> str:
    """What the order does to a judge, in words."""
    said = f"{one['invalid']:,} of {counted(one['shown'], 'comparison')} invalid"
    said += f"; {counted(one['pairs'], 'pair')} in both orders, {one['single']:,} in one alone"
    if not one["pairs"]:
        return said
    return f"{said}; first is worth {one['bias']:+g} points; both orders agree on {one['consistent']:.1%}"


@command("audit")
@FILE
@click.option("--apply", is_flag=True, help="Record what the parser reads now.")
@trusting
@as_json
def audit(file: Path, apply: bool, trust: bool, allow: tuple[str, ...], json_: bool) -> None:
    """Parse every stored judgement again and show what is now read otherwise. Exits 1 where any is.

    \b
    coigp annotate audit run.toml
    coigp annotate audit run.toml --apply
    """
    from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
    from coig_p.annotate.audit import audit as find
    from coig_p.annotate.config import load_config

    config = load_config(file)
    if apply:
        approve(config, trust, allow)
    counts: Counter[str] = Counter()
    with LedgerWriter.open(config.folder) if apply else Ledger.open(config.folder) as ledger:
        found = list(find(config, ledger, counts))
        changes = [one for one in found if one.changed]
        repeating = [one for one in found if one.repeats]
        if isinstance(ledger, LedgerWriter):
            ledger.read_again(change.reading for change in changes)
    kinds = Counter((change.before, change.after) for change in changes)
    if json_:
        told = {"changes": [one.to_dict() for one in changes], "repeats": [one.to_dict() for one in repeating]}
        click.echo(json_text({"judgements": counts["judgements"], **told, "applied": apply}))
    else:
        for one in changes[:EXAMPLES]:
            click.echo(one_line(f"{one.who}: {one.before} -> {one.after}"))
        if kinds:
            rows = [[before, after, number] for (before, after), number in kinds.most_common()]
            click.echo(table(["was", "is", "judgements"], rows))
        for one in repeating[:EXAMPLES]:
            click.echo(one_line(f"{one.who}: repeats a score that stands in the response; read as {one.after}"))
        done = "recorded" if apply else "would change"
        words = f"; {len(repeating):,} repeat a score that stands in the response" if repeating else ""
        click.echo(f"{counts['judgements']:,} judgements parsed again; {len(changes):,} {done}{words}")
    if changes and not apply:
        raise SystemExit(1)


def print_estimate(config: RunConfig, limit: int | None, json_: bool) -> None:
    """What the next run sends and pays; nothing is asked."""
    from coig_p.annotate.asking.costs import MONEY
    from coig_p.annotate.asking.ledger import LEDGER, Ledger, LedgerWriter
    from coig_p.annotate.estimating import Estimate, forecast
    from coig_p.annotate.repaying import in_words

    if not (config.folder / LEDGER).exists():
        LedgerWriter.open(config.folder).close()
    with Ledger.open(config.folder) as ledger:
        found, again = forecast(config, ledger, limit)
        spent = ledger.spent().paid
    each = {
        name: asdict(one) | {"expected": one.expected / MONEY, "most": one.most / MONEY} for name, one in found.items()
    }
    parts = [part.name for part in fields(Estimate)]
    total = {part: sum(getattr(one, part) for one in found.values()) for part in parts}
    total |= {part: total[part] / MONEY for part in ("expected", "most")}
    if json_:
        told = [one._asdict() | {"cost": one.cost / MONEY} for one in again]
        click.echo(json_text({"endpoints": each, "total": total, "paid_again": told, "spent": spent / MONEY}))
        return
    rows = [
        [name, *(one[part] for part in _TOKENS), f"{one['expected']:.4f}", f"{one['most']:.4f}"]
        for name, one in (*each.items(), ("all", total))
    ]
    click.echo(table(["endpoint", "requests left", "tokens in", "tokens out", "cost, about", "at most"], rows))
    click.echo(f"spent so far: {spent / MONEY:.4f}. At most: every answer at its max_tokens, every ask used")
    if again:
        click.echo(one_line(f"{in_words(again)}; run asks before it does that"))
