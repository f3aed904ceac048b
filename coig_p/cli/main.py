"""The command line: parse, call, print. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, TextIO

import click

from coig_p._version import __version__
from coig_p.cli.terminal import about_escapes, check_arguments, wants_color, whole_or_escaped
from coig_p.cli.tree import Tree, did_you_mean, is_quiet, set_level
from coig_p.core.text import printable
from coig_p.errors import NO_MORE_THREADS, CoigPError, WorkersLost

_EXIT_INTERRUPTED = 130
_COMPLETE = "_COIGP_COMPLETE"  # set by a shell that asks what could stand next
_NO_THREAD = "can't start new thread"  # as Python says it
_WRITTEN_SHOWN = 10  # of the files that were written before an error

# In the order the data flows: name, module, what it does.
COMMANDS = {
    "Make a store": [
        ("import", "coig_p.cli.importing", "Import answers and scores that are files, or on the Hub."),
        ("annotate", "coig_p.cli.annotate", "From queries to scored responses: models answer, judges score."),
        ("review", "coig_p.cli.reviewing", "Ask people about a store, and apply what they say."),
    ],
    "Look": [
        ("info", "coig_p.cli.looking", "What a store holds: queries, responses, scores, pairs; models; judges."),
        ("view", "coig_p.cli.viewing", "Look at a store in the browser, or write it as one page."),
        ("show", "coig_p.cli.showing", "Show queries: responses, scores, and the pairs they give."),
        ("stats", "coig_p.cli.looking", "Count a store and its pairs, and plot them."),
        ("sweep", "coig_p.cli.looking", "Show what each threshold would give."),
        ("judges", "coig_p.cli.judging", "Examine the judges: leniency, self-preference, position, agreement."),
        ("diversity", "coig_p.cli.diversity", "How diverse queries are: distinct n-grams, near-duplicates, by domain."),
        ("diff", "coig_p.cli.comparing", "Show what differs between two stores, or two ways to make pairs."),
        ("compare", "coig_p.cli.side_by_side", "Set datasets side by side: one table and page over any stores."),
    ],
    "Check": [
        ("verify", "coig_p.cli.verifying", "Compare every file with the manifest."),
        ("check", "coig_p.cli.checking", "Look for what is wrong: texts, privacy, scores, pairs."),
        ("clean", "coig_p.cli.checking", "Write a store without what errors name."),
        ("dedup", "coig_p.cli.checking", "Write a store without near-duplicates."),
        ("contamination", "coig_p.cli.checking", "Look for a benchmark's prompts and answers."),
    ],
    "Use": [
        ("pairs", "coig_p.cli.exporting", "Write pairs to one file."),
        ("export", "coig_p.cli.exporting", "Write rows as one trainer reads them."),
        ("plan", "coig_p.cli.exporting", "Count the rows, shards and steps of a stream."),
        ("run", "coig_p.cli.running", "Run another tool's command, which then knows the name coig-p."),
    ],
    "Measure": [
        ("score", "coig_p.cli.scoring", "Give every response of a store a reward, by a model or a server."),
        ("reward", "coig_p.cli.rewarding", "Train reward models on a store's pairs."),
        ("bench", "coig_p.cli.benching", "Benchmarks of reward models, published or of a store, and scorers on them."),
        ("align", "coig_p.cli.aligning", "Models on AlignBench or MT-Bench-zh: answers, a judge's scores, a report."),
        ("experiment", "coig_p.cli.experimenting", "Train, answer, judge, as a file says; nothing is run twice."),
    ],
    "Release": [
        ("card", "coig_p.cli.card", "Print the dataset card of a release, or write the card.toml it needs."),
        ("keygen", "coig_p.cli.signing", "Make a key to sign releases with."),
        ("publish", "coig_p.cli.publish", "Publish a release on the Hub; coigp-publish is the same command."),
    ],
    "Else": [
        ("demo", "coig_p.cli.demo", "Run the main job on the bundled data."),
        ("env", "coig_p.cli.environment", "Print versions, for bug reports."),
    ],
}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run `coigp` in this process: every error on purpose becomes one line and an exit code.

    Args:
        arguments: default: those of the process.
    """
    code: int | str | None
    level = logging.getLogger("coig_p").level
    set_level()
    del getattr(sys.modules.get("coig_p.core.atomic"), "finished", [])[:]
    try:
        with whole_or_escaped() as escaped:
            try:
                code = _run(list(sys.argv[1:] if arguments is None else arguments))
            except SystemExit as ended:  # a command that has an exit code to say
                code = ended.code
            if escaped and not is_quiet():
                _say(about_escapes(escaped))
            code = _flushed(code)
    finally:
        logging.getLogger("coig_p").setLevel(level)
    raise SystemExit(code)


def _run(arguments: list[str]) -> int:
    try:
        if _COMPLETE in os.environ:
            cli.main(arguments, prog_name="coigp", complete_var=_COMPLETE)  # answers the shell and ends
        check_arguments(arguments)
        # Not cli.main: it has exit code 1 for a closed pipe.
        with cli.make_context("coigp", arguments, color=wants_color()) as context:
            cli.invoke(context)
    except (KeyboardInterrupt, click.exceptions.Abort):
        _say(f"interrupted{_written()}")
        return _EXIT_INTERRUPTED
    except click.exceptions.Exit as ended:  # help and --version
        return ended.exit_code
    except click.ClickException as error:
        error.message += did_you_mean(error)  # type: ignore[misc]
        shown = io.StringIO()
        error.show(file=shown)
        _say(shown.getvalue().rstrip("\n"))
        return error.exit_code
    except CoigPError as error:
        after = _written() if isinstance(error, WorkersLost) else ""  # a step after the one that wrote
        _say(f"error: {error}{after}")
        return error.exit_code
    except OSError as error:  # a full disk, no permission
        if isinstance(error, BrokenPipeError) and _reader_left():
            return 0
        where, after = f"{error.filename}: " if error.filename else "", ""
        if not where and (not _is_written(sys.stdout) or _was_printing(error)):
            where = "standard output: "
            after = _written()
        _say(f"error: {printable(where)}{error.strerror or error}{after}")
        return 1
    except Exception as error:  # a mistake of ours, which Python shows whole: what it quotes may be of anybody
        if str(error) == _NO_THREAD:
            _say(f"error: {NO_MORE_THREADS}")
            return 1
        sys.excepthook = _show_mistake
        raise
    return 0


def _show_mistake(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    _say("".join(traceback.format_exception(kind, error, at)).rstrip("\n"))


def _say(line: str) -> None:
    """A line on standard error, where somebody can read it: without one the exit code alone must do."""
    with suppress(OSError):
        click.echo(printable(line), err=True)


class _Record(logging.LogRecord):
    """What any library logs while a command runs, harmless on a terminal: servers and files are quoted in it."""

    def getMessage(self) -> str:  # noqa: N802
        return printable(super().getMessage())


def _was_printing(error: OSError) -> bool:
    """Whether an error came of what prints: of a stream without a buffer nothing is left that would tell."""
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code is click.echo.__code__:
            return True
        at = at.tb_next
    return False


def _written() -> str:
    """What is there all the same, to be said behind an error of standard output, or an interrupt."""
    done = getattr(sys.modules.get("coig_p.core.atomic"), "finished", ())
    there = list(dict.fromkeys(str(path) for path in done if path.exists()))  # not what was written within another
    more = f" and {len(there) - _WRITTEN_SHOWN} more" if len(there) > _WRITTEN_SHOWN else ""
    return f". Written before that, and whole: {printable(', '.join(there[:_WRITTEN_SHOWN]))}{more}" if there else ""


def _is_written(stream: TextIO | None) -> bool:
    """Whether all that was written to a stream is out; of one that takes nothing more, the rest goes nowhere."""
    if stream is None:
        return True
    try:
        stream.flush()
    except OSError:
        with suppress(AttributeError, ValueError, OSError):  # no file
            _send_nowhere(stream.fileno())
        return False
    return True


def _send_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _reader_left() -> bool:
    """Whether the reader of our output has left, as head does. What is still to be written then goes nowhere.

    A pipe to a server or to a process of ours may break as well, and that is an error.
    """
    left = False
    for stream in (sys.stdout, sys.stderr):
        try:
            number = stream.fileno()
        except (AttributeError, ValueError, OSError):  # closed by who called us, or no file
            continue
        if _is_broken(number):
            left = True
            _send_nowhere(number)
    return left


def _is_broken(number: int) -> bool:
    import select

    if not hasattr(select, "poll"):  # Windows
        return True
    waiting = select.poll()
    waiting.register(number, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in waiting.poll(0))


def _flushed(code: int | str | None) -> int | str | None:
    """The exit code once all output is out: what Python would find out while it shuts down is found out here."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not (isinstance(error, BrokenPipeError) and _reader_left()):
            _is_written(sys.stdout)
            _say(f"error: standard output: {error.strerror or error}{_written()}")
            code = code or 1
    _is_written(sys.stderr)
    return code


def _install_completion(context: click.Context, _option: click.Parameter, shell: str | None) -> None:
    if shell is None:
        return
    from coig_p.cli.environment import install_completion

    for line in install_completion(cli, shell, _COMPLETE):
        click.echo(line)
    context.exit()


@click.group(cls=Tree, listed=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="coigp")
@click.option(
    "--install-completion",
    is_flag=False,
    flag_value="",
    metavar="[bash|zsh|fish]",
    expose_value=False,
    is_eager=True,
    callback=_install_completion,
    help="Teach your shell to complete coigp's words. Default: the shell that SHELL names.",
)
@click.pass_context
def cli(context: click.Context) -> None:
    """Preference data for Chinese language models: stores of scored responses, pairs under any threshold.

    Where STORE is left out, the variable COIGP_STORE names it. -v and -q may stand before or after a command.

    \b
    coigp import answers.jsonl --out store --domain math
    coigp info store
    coigp pairs store --out pairs.parquet --threshold 3
    """
    logger = logging.getLogger("coig_p")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger.addHandler(handler)
    context.call_on_close(lambda: logger.removeHandler(handler))
    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_Record)
    context.call_on_close(lambda: logging.setLogRecordFactory(factory))
    stock = warnings.formatwarning

    def harmless(*args: Any, **options: Any) -> str:
        return printable(stock(*args, **options))

    warnings.formatwarning = harmless
    context.call_on_close(partial(setattr, warnings, "formatwarning", stock))
