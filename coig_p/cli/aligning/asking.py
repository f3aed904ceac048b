"""What `align answer` and `align judge` share: their options, and a run through a ledger that ends in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coig_p.cli.annotate.alone import AskOptions, as_one, ask_options, print_asked, print_estimate, print_unsettled
from coig_p.cli.options import as_json, overwrite_option
from coig_p.cli.screen import check_apart, json_text, one_line
from coig_p.core.text import counted

if TYPE_CHECKING:
    from coig_p.annotate.alone.running import Asked, Work
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.evaluate.align.benchmarks import Benchmark
    from coig_p.evaluate.align.files import Turn

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class AlignOptions(AskOptions):
    """What was said about a run, option by option."""

    out: Path
    overwrite: bool
    json_: bool

    @property
    def folder(self) -> Path:
        """Of the ledger."""
        return self.ledger_of(self.out)


def align_options(what: str, whom: str) -> Callable[[Command], Command]:
    """Options of a run that has `whom` asked and writes `what`; the command gets them as one, `given`."""
    out = click.Path(path_type=Path)
    return as_one(
        AlignOptions,
        "given",
        (
            click.option("--out", type=out, required=True, metavar="DIR", help=f"Where the {what} go: a new folder."),
            *ask_options(whom, f"Write {what} also where some are missing: they say so."),
            overwrite_option(f"the {what} at DIR"),
            as_json,
        ),
    )


def run(
    given: AlignOptions,
    work: Work,
    benchmark: Benchmark,
    *,
    what: str,
    who: str,
    max_cost: int | None,
    turns: Callable[[Ledger], Iterable[Turn]],
    header: dict[str, Any],
    about: dict[str, Any],
    apart: Iterable[Path | None],
) -> None:
    """Ask all that is left, and write what came of it once nothing is left.

    Args:
        what: "answers" or "results"; who: what the endpoint is to them.
        max_cost: the file's.
        about: what JSON says first.
        apart: what is read, which must not be what is written.
    """
    from coig_p.annotate.alone.running import check_ledger, estimate
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.evaluate.align.files import check_place, write_kept

    check_ledger(given.folder, given.out)
    if given.estimate:
        print_estimate(estimate(work, given.folder), who, work.endpoint.name, given.json_)
        return
    check_apart(given.out, list(apart))
    check_place(given.out, what, given.overwrite)
    asked = given.ask(work, given.folder, given.json_, max_cost)
    written = not asked.unsettled or given.partial
    without: dict[str, int] = {}
    number = 0
    if written:
        with Ledger.open(given.folder) as ledger:
            found = list(turns(ledger))
        write_kept(given.out, what, benchmark, found, header, given.overwrite)
        number = len(found)
        for reason in (one.reason for one in found if one.reason is not None):
            without[reason] = without.get(reason, 0) + 1
    if given.json_:
        told = {what: str(given.out) if written else None, **about, "turns": number, "without": without}
        click.echo(json_text({**told, "ledger": str(given.folder), **asked.to_dict()}))
    else:
        _print(given, asked, benchmark, what, work.endpoint.name, number if written else None, without)
    if not written or asked.stopped == "interrupted":
        raise SystemExit(asked.exit_code)


def _print(
    given: AlignOptions,
    asked: Asked,
    benchmark: Benchmark,
    what: str,
    name: str,
    number: int | None,
    without: dict[str, int],
) -> None:
    if number is not None:
        questions = counted(len(benchmark.questions), "question")
        click.echo(
            one_line(f"wrote {given.out}: {name} on {counted(number, 'turn')} of {questions} of {benchmark.name}")
        )
        if without:
            words = ", ".join(f"{reason} {count:,}" for reason, count in sorted(without.items()))
            click.echo(one_line(f"turns without {'an answer' if what == 'answers' else 'a score'}: {words}"))
    print_asked(asked, name)
    if asked.unsettled:
        print_unsettled(asked, "" if number is not None else f"no {what} were written", given.folder)
