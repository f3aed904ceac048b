"""What many commands share: arguments, options, and options that are fields of a config."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import click

from coig_p.cli.paths import Place
from coig_p.core.listing import split_names
from coig_p.core.objects import as_path, is_repository
from coig_p.store.locate import STORE_VARIABLE

if TYPE_CHECKING:
    from coig_p.store.store import Store

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
FILES = ("calibrate", "exclude")
"""Pair options that name a file."""


def open_store(
    store: Path,
    domains: Collection[str] = (),
    *,
    rewards: Collection[str] = (),
    check_files: bool = True,
    check_sizes: bool = True,
) -> Store:
    """The store that a command names. Of a repository, hf:// or modelscope://, what is needed is fetched into a cache.

    Args:
        domains: of a repository their shards alone; default all that its manifest lists, but pairs.
        rewards: of a repository with `domains` these come, too.
        check_files, check_sizes: see `Store.open`.
    """
    from coig_p.store.locate import locate, open_located
    from coig_p.store.store import Store

    if not is_repository(str(store)):
        return Store.open(store, check_files=check_files, check_sizes=check_sizes)
    location = locate(store)
    listed = location.manifest.files
    if domains:
        wanted = [file for domain in domains for file in location.manifest.data_files(domain)]
    else:
        wanted = [file for file in listed if file.role != "pairs"]
    return open_located(location, wanted, rewards=rewards if domains else ())


def need_store(store: Path | None) -> Path:
    """The STORE that was named, or an error that says how to name one."""
    if store is None:
        raise click.UsageError(f"Missing argument 'STORE': name a store, or set the variable {STORE_VARIABLE}.")
    return store


def environment_store() -> Path | None:
    """The store that COIGP_STORE names."""
    value = os.environ.get(STORE_VARIABLE)
    return as_path(value) if value else None


def store_argument(required: bool = True) -> Callable[[_Decorated], _Decorated]:
    """STORE, or COIGP_STORE where it is left out.

    Args:
        required: False for commands that can do without one; they call `need_store` where they cannot.
    """
    return click.argument(
        "store",
        type=Place(),
        required=False,
        envvar=STORE_VARIABLE,
        metavar="STORE" if required else "[STORE]",
        callback=(lambda _context, _option, value: need_store(value)) if required else None,
    )


class Finite(click.FloatRange):
    """A number that is neither inf nor nan: the type of every option that is a float."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A float, or click's error."""
        found = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return found

    def _describe_range(self) -> str:
        """What help says of the bounds; click shows a range that has none as x<=None."""
        return "" if self.min is None and self.max is None else super()._describe_range()


def split_list(values: Sequence[str], *, once: bool = False) -> tuple[str, ...]:
    """The names in options that were repeated, given with commas between, or both.

    Quotes as in CSV keep commas and spaces in a name. A value whose quotes do not fit is one name as it is.

    Args:
        once: a name that stands twice is refused, as where each is somebody.

    Raises:
        BadParameter: an empty name.
    """
    names = [name for value in values for name in split_names(value)]
    if not all(names):
        raise click.BadParameter("an empty name: give names with commas between")
    if once and (twice := [name for name, number in Counter(names).items() if number > 1]):
        raise click.BadParameter(f"{twice[0]!r} stands twice: give each name once")
    return tuple(dict.fromkeys(names))


def list_option(
    *names: str, help: str, metavar: str = "NAME,...", once: bool = False
) -> Callable[[_Decorated], _Decorated]:
    """An option for several names; the command gets a tuple. `once` as in `split_list`."""
    return click.option(
        *names,
        multiple=True,
        metavar=metavar,
        callback=lambda _context, _option, values: split_list(values, once=once),
        help=help,
    )


_OUTSIDE_QUOTES = r"(?=(?:[^\"]*\"[^\"]*\")*[^\"]*\Z)"
_COMMA, _EQUALS = (re.compile(sign + _OUTSIDE_QUOTES) for sign in ",=")


def renames(_context: Any, _option: Any, values: Sequence[str]) -> dict[str, str]:
    """What is renamed to what; quotes as in CSV keep commas and signs of equality in a name."""
    renamed: dict[str, str] = {}
    for entry in (entry for value in values for entry in _entries(value)):
        *olds, new = _EQUALS.split(entry)
        if len(olds) > 1:
            olds = ["=".join(olds)]
        if not olds or not olds[0].strip() or not new.strip():
            raise click.BadParameter(f"{entry!r} is not of the form old=new")
        old, new = _unquoted(olds[0]), _unquoted(new)
        if renamed.setdefault(old, new) != new:
            hint = ". Where each judge has a column: --score-column JUDGE=COLUMN" if old == "score" else ""
            raise click.BadParameter(f"{old} is given twice, as {renamed[old]} and {new}{hint}")
    return renamed


def _entries(value: str) -> list[str]:
    """The entries of a value. A comma ends one where another old=new comes behind it: a column's name may hold one."""
    entries: list[str] = []
    for piece in _COMMA.split(value):
        whole = _unquoted(piece)
        piece = whole if "=" in whole and '"' not in whole else piece  # one quoted as a whole
        if entries and not _EQUALS.search(piece):
            entries[-1] += f",{piece}"
        else:
            entries.append(piece)
    return entries


def _unquoted(text: str) -> str:
    """A name without the quotes around it; text that has others is as it is."""
    text = text.strip()
    inner = text[1:-1].replace('""', "")
    whole = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in inner
    return text[1:-1].replace('""', '"') if whole else text


def quoted(name: str) -> str:
    """A name as `renames` takes it, whatever is in it."""
    return f'"{name.replace(chr(34), chr(34) * 2)}"' if set(name) & set(',="') or name != name.strip() else name


as_json = click.option("--json", "json_", is_flag=True, help="Print one JSON object for programs.")
domains_option = list_option("--domain", "domains", help="Only these domains. Repeatable. Default: all.")
split_option = click.option("--split", metavar="NAME", help="Only this split. Default: all.")
one_split_option = click.option("--split", metavar="NAME", help="Only this split. Needed where the store has several.")
rules_option = click.option(
    "--rules",
    "rules_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML that changes severities, thresholds, word lists, or switches rules off.",
)
against_option = click.option(
    "--against",
    "benchmarks",
    multiple=True,
    metavar="FILE|STORE|ORG/NAME",
    help="A benchmark that must not be in it. Repeatable; no commas, since a path may hold one.",
)


map_option = click.option(
    "--map",
    "fields",
    multiple=True,
    metavar="OURS=THEIRS,...",
    callback=renames,
    help="A benchmark's column for prompt, answer or id, or a path, question.text; FILE:prompt=... for one benchmark "
    "of several. Repeatable.",
)


def language_option(help: str) -> Callable[[_Decorated], _Decorated]:
    """--language; `help` says of what."""
    return click.option("--language", type=click.Choice(["en", "zh"]), default="en", show_default=True, help=help)


def overwrite_option(what: str) -> Callable[[_Decorated], _Decorated]:
    """--overwrite; without it nothing that exists is replaced."""
    return click.option("--overwrite", is_flag=True, help=f"Replace {what}.")


def config_options(config: type, leave_out: Sequence[str] = ()) -> Callable[[_Decorated], _Decorated]:
    """Add an option for every field of a config dataclass; the command gets them under the same names.

    A calibration file, or a list of queries, that is not here is looked for in the command's STORE, as load_dataset
    does.
    """

    def add(command: _Decorated) -> _Decorated:
        hints = get_type_hints(config)
        if not hints.keys().isdisjoint(FILES):
            command = _with_files_of_store(command)
        for option in reversed(fields(config)):
            if option.name not in leave_out:
                name = f"--{option.name.replace('_', '-')}"
                command = _option(name, option, hints[option.name])(command)
        return command

    return add


def file_option(name: str, value: Any, store: Path | None) -> Any:
    """A path of a file that a pair option names; where there is none here, and one in the store, what that says."""
    if store is None or value is None or Path(value).exists():
        return value
    from coig_p.pairs.calibration import find_calibration
    from coig_p.pairs.exclusion import find_exclusion
    from coig_p.store.locate import locate

    return {"calibrate": find_calibration, "exclude": find_exclusion}[name](value, locate(store))


def _with_files_of_store(command: _Decorated) -> _Decorated:
    @wraps(command)
    def called(*args: Any, **options: Any) -> Any:
        for name in FILES:
            if options.get(name) is not None:
                options[name] = file_option(name, options[name], options.get("store"))
        found = command(*args, **options)
        if options.get("exclude") is not None:
            _say_excluded(options["exclude"], options)
        return found

    return cast(_Decorated, called)


def _say_excluded(exclude: Any, options: Mapping[str, Any]) -> None:
    """Say on standard error what a list of queries left out of the STORE, where that is a folder."""
    from coig_p.cli.screen import say
    from coig_p.pairs.exclusion import Exclusion, count_excluded
    from coig_p.store.store import Store

    store = options.get("store") or next(iter(options.get("files") or ()), None)
    if store is not None and as_path(store).is_dir():
        domains = options.get("domains") or filter(None, [options.get("domain")])
        found = count_excluded(Store.open(store), Exclusion.of(exclude), domains, options.get("split"))
        if found.absent == found.named:  # a warning, with -q too: what the list protects is all there
            click.echo(f"warning: {found}. Is it the list that was made of this store?", err=True)
        else:
            say(str(found))


def _option(name: str, option: Any, hint: Any) -> Callable[[_Decorated], _Decorated]:
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    words, default = option.metadata["help"], option.default
    if get_origin(hint) is tuple:
        return click.option(
            name,
            multiple=True,
            metavar="NAME,...",
            callback=lambda _context, _option, values: split_list(values) or default,
            help=f"{words} Repeatable.",
        )
    if hint is bool and default is None:  # the store says, unless a user does
        return click.option(f"{name}/--no-{name[2:]}", default=None, help=words)
    if hint is bool:
        return click.option(name, is_flag=True, default=default, help=words)
    if "metavar" in option.metadata:  # a file, which the config reads
        path = click.Path(path_type=Path)
        return click.option(name, type=path, metavar=option.metadata["metavar"], default=default, help=words)
    choices = option.metadata.get("choices")
    kind = click.Choice(choices) if choices else Finite() if hint is float else hint
    return click.option(name, type=kind, default=default, show_default=default is not None, help=words)
