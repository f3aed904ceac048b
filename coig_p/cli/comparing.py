"""The command that compares two stores, or two ways to make pairs of one: diff."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

import click

from coig_p.cli.engines import num_proc_option
from coig_p.cli.options import FILES, as_json, file_option
from coig_p.cli.paths import Place
from coig_p.cli.screen import harmless_json, one_line, progress, table
from coig_p.cli.tree import command
from coig_p.core.listing import split_names
from coig_p.core.text import counted
from coig_p.pairs.config import PairConfig

if TYPE_CHECKING:
    from coig_p.stats.changes import DomainDiff, StoreDiff

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_OPTIONS = tuple(option.name for option in fields(PairConfig) if option.name != "format")
_KINDS = ("queries", "responses", "scores", "comparisons", "rationales", "pairs")
_NONE = {"judges": "all", "max_pairs_per_query": "all", "multi_turn": "not said", "threshold": "the store's"}
_MANY = "judges"  # the one option that takes several names


def _pair_option(name: str, whose: str) -> Callable[[_Decorated], _Decorated]:
    return click.option(
        name,
        f"pairs_{name[2:]}",
        multiple=True,
        metavar="OPTION=VALUE,...",
        help=f"Pair options of {whose}, for instance threshold=2,judges=x,judges=y. Repeatable.",
    )


@command("diff")
@click.argument("a", type=Place(), metavar="A")
@click.argument("b", type=Place(), metavar="[B]", required=False)
@_pair_option("--a", "A")
@_pair_option("--b", "B, or of the second look at A where there is no B")
@num_proc_option
@as_json
def diff(
    a: Path, b: Path | None, pairs_a: tuple[str, ...], pairs_b: tuple[str, ...], num_proc: int | None, json_: bool
) -> None:
    """Show what store B has gained, lost and changed since A: queries, responses, scores, pairs.

    With one store, what other options would change in its pairs. Rows may stand in any order and shard. A and B are
    folders, or org/name on the Hub, org/name@revision, hf://datasets/org/name.

    \b
    coigp diff store-1.0 store-1.1
    coigp diff org/name@v1.0.0 store
    coigp diff store --a threshold=2 --b threshold=3,judges=fictional-zhuxi
    coigp diff store --b 'judges="a judge, with a comma",judges=another'
    coigp diff store-1.0 store-1.1 --a threshold=3 --b threshold=3 --json | jq .total.pairs.flipped
    """
    from coig_p.pairs.agreeing import reward_names
    from coig_p.stats.diff import changed_shards, compare_stores
    from coig_p.store.locate import locate, open_located

    if b is None and not pairs_a and not pairs_b:
        raise click.UsageError("One store and no options: nothing can differ. Name a second store, or give --a or --b.")
    before, after = config_of("--a", pairs_a, a), config_of("--b", pairs_b, b or a)
    locations = [locate(a), locate(b or a)]
    manifests = [one.manifest for one in locations]
    rewards = [name for name in reward_names(before, after) if name in manifests[1].rewards]
    stores = [
        open_located(locations[0], changed_shards(manifests[0], manifests[1], before)),
        open_located(locations[1], rewards=rewards),
    ]
    total = sum(file.rows or 0 for store in stores for file in store.data_files())
    with progress("Comparing", total, "queries") as advance:
        found = compare_stores(stores[0], stores[1], before, after, num_proc=num_proc, advance=advance)
    if json_:
        click.echo(harmless_json(found.to_json()), nl=False)
        return
    for line in difference_lines(found):
        click.echo(line)


def config_of(name: str, given: Sequence[str], store: Path) -> PairConfig:
    """The options that were given, each as its field takes it."""
    hints = get_type_hints(PairConfig)
    found: dict[str, Any] = {}
    for entry in dict.fromkeys(entry for value in given for entry in split_names(value, keyed=True)):
        if not entry:
            raise click.BadParameter("an empty option: give OPTION=VALUE with commas between", param_hint=name)
        option, equals, value = entry.partition("=")
        option = option.strip().replace("-", "_")
        if not equals or option not in _OPTIONS:
            raise click.BadParameter(
                f"{entry!r}: use OPTION=VALUE, where OPTION is one of {', '.join(_OPTIONS)}", param_hint=name
            )
        if option == _MANY:
            found[option] = (*found.get(option, ()), value)
        elif option in found:
            raise click.BadParameter(f"{option} is given twice", param_hint=name)
        else:
            found[option] = _value(name, option, value.strip(), {hints[option], *get_args(hints[option])})
    for option in FILES:
        if option in found:
            found[option] = file_option(option, found[option], store)
    return PairConfig(**found)


def _value(name: str, option: str, value: str, kinds: set[Any]) -> Any:
    if bool in kinds:
        if value.lower() not in ("true", "false"):
            raise click.BadParameter(f"{option}={value}: use true or false", param_hint=name)
        return value.lower() == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(value)
            except ValueError:
                raise click.BadParameter(f"{option}={value}: not a number", param_hint=name) from None
    return value


def difference_lines(found: StoreDiff) -> Iterator[str]:
    """What differs between two stores, A and B, as lines for people."""
    for option, (old, new) in found.options.items():
        yield one_line(f"{option}: {_told(option, old)} in A, {_told(option, new)} in B")
    if found.is_same:
        yield "nothing differs"
        return
    total = found.total
    kinds = [
        (kind, getattr(total, kind))
        for kind in ("queries", "responses", "scores", "comparisons", "rationales", "pairs")
    ]
    rows = [
        [kind, one.before, one.after, one.gained, one.lost, _other(one)]
        for kind, one in kinds
        if one.before or one.after
    ]
    yield table(["", "A", "B", "gained", "lost", "changed, or flipped"], rows)
    if total.moved:
        yield f"{counted(total.moved, 'query', 'queries')} moved to another domain or split"
    changed = {name: one for name, one in found.domains.items() if not one.is_same}
    if changed and len(found.domains) > 1:
        yield ""
        yield _by_domain(changed)
    named = {
        "models gained": total.models_gained,
        "models lost": total.models_lost,
        "judges gained": total.judges_gained,
        "judges lost": total.judges_lost,
        "domains gained": found.domains_gained,
        "domains lost": found.domains_lost,
    }
    for what, names in named.items():
        if names:
            yield one_line(f"{what}: {', '.join(names)}")


def _by_domain(changed: dict[str, DomainDiff]) -> str:
    header = ["domain", "queries gained", "lost", "changed", "pairs gained", "lost", "flipped"]
    rows = [
        [
            name,
            *(one.queries.gained, one.queries.lost, one.queries.changed),
            *(one.pairs.gained, one.pairs.lost, one.pairs.flipped),
        ]
        for name, one in changed.items()
    ]
    return table(header, rows)


def _other(one: Any) -> object:
    return getattr(one, "changed", getattr(one, "flipped", ""))


def _told(option: str, value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _NONE.get(option, "none") if value is None else f"{value:g}" if isinstance(value, float) else str(value)
