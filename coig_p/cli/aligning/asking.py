"""What `align answer` and `align judge` share: their options, and a run through a ledger that ends in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coig_p.cli.annotate.alone import agree, print_asked, print_estimate, print_unsettled
from coig_p.cli.annotate.common import approve_wishes, trusting
from coig_p.cli.annotate.live import watched
from coig_p.cli.options import Finite, as_json, overwrite_option
from coig_p.cli.screen import check_apart, json_text, one_line, say
from coig_p.core.text import counted

if TYPE_CHECKING:
    from coig_p.annotate.alone.running import Asked, Work
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.trust import Wish
    from coig_p.evaluate.align.benchmarks import Benchmark
    from coig_p.evaluate.align.files import Turn

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True)
class AskOptions:
    """What was said about a run, option by option."""

    out: Path
    ledger: Path | None
    estimate: bool
    max_cost: float | None
    max_hours: float | None
    partial: bool
    yes: bool
    overwrite: bool
    json_: bool
    trust: bool
    allow: tuple[str, ...]

    @property
    def folder(self) -> Path:
        """Of the ledger."""
        return self.ledger or self.out.with_name(f"{self.out.name}.ledger")


def ask_options(what: str) -> Callable[[Command], Command]:
    """Options of a run that writes `what`; the command gets them as one, `given`."""

    def decorate(command: Command) -> Command:
        @wraps(command)
        def collected(*args: Any, **kwargs: Any) -> Any:
            given = {option.name: kwargs.pop(option.name) for option in fields(AskOptions)}
            return command(*args, given=AskOptions(**given), **kwargs)

        found: Any = trusting(collected)
        for option in reversed((*_options(what), overwrite_option(f"the {what} at DIR"), as_json)):
            found = option(found)
        return found  # type: ignore[no-any-return]

    return decorate


def _options(what: str) -> Iterable[Callable[[Any], Any]]:
    folder = click.Path(path_type=Path)
    return (
        click.option("--out", type=folder, required=True, metavar="DIR", help=f"Where the {what} go: a new folder."),
        click.option(
            "--ledger",
            type=folder,
            metavar="DIR",
            help="Where all that was asked is kept, so that nothing is paid twice. Default: DIR of --out and .ledger.",
        ),
        click.option("--estimate", is_flag=True, help="Say what is left to ask and what it costs; ask nothing."),
        click.option(
            "--max-cost",
            type=Finite(min=0),
            metavar="N",
            help="Most that all runs of the ledger may cost, in the currency of the prices. Default: the file's.",
        ),
        click.option("--max-hours", type=Finite(min=0), metavar="H", help="Ask nothing more after so many hours."),
        click.option("--partial", is_flag=True, help=f"Write {what} also where some are missing: they say so."),
        click.option("--yes", is_flag=True, help="Yes to paying again for what was answered in other words."),
    )


def is_address(text: str) -> bool:
    """Whether an endpoint is named by its address, not by a file."""
    return text.lower().startswith(("http://", "https://"))


def check_named(option: str, text: str, model: str | None, key_env: str | None, model_option: str) -> None:
    """Raise UsageError where a model is not named for an address, or is for a file."""
    if is_address(text):
        if model is None:
            raise click.UsageError(f"{option} names an address: say with {model_option} which model to ask there.")
        return
    for name, value in ((model_option, model), ("--key-env", key_env)):
        if value is not None:
            raise click.UsageError(f"{name}: only where {option} is an address; a file says it itself. Leave it out.")


def approve(option: str, path: Path | None, wishes: list[Wish], given: AskOptions) -> None:
    """Have somebody say yes to what a file asks for; what was typed by hand is meant."""
    from coig_p.annotate.trust import check_named as check_allowed

    if path is not None:
        approve_wishes(path, wishes, given.trust, given.allow)
    else:
        check_allowed([wish for wish in wishes if wish.name], given.allow, Path(option))


def run(
    given: AskOptions,
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
    from coig_p.annotate.alone.running import ask, check_ledger, estimate
    from coig_p.annotate.asking.costs import MONEY
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.evaluate.align.files import check_place, write_kept

    check_ledger(given.folder, given.out)
    if given.estimate:
        print_estimate(estimate(work, given.folder), who, work.endpoint.name, given.json_)
        return
    check_apart(given.out, list(apart))
    check_place(given.out, what, given.overwrite)
    agree(estimate(work, given.folder), given.yes)
    with watched(given.json_) as watch:
        asked = ask(
            work,
            given.folder,
            max_cost=max_cost if given.max_cost is None else int(Decimal(str(given.max_cost)) * MONEY),
            max_seconds=None if given.max_hours is None else given.max_hours * 3600,
            say=say,
            watch=watch,
        )
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
    given: AskOptions,
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
