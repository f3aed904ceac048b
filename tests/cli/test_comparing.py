"""`coigp diff` shows what the library finds, for any options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from make import make_rows, make_store

from coig_p.cli.comparing import config_of
from coig_p.pairs.config import PairConfig
from coig_p.stats.diff import compare_stores
from coig_p.store.store import Store


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("comparing")
    rows = make_rows({"math": 30, "chat": 9})
    later = [row for at, row in enumerate(rows) if at % 5] + make_rows({"code": 4})
    later[3]["responses"][0]["scores"] = [{"judge": "judge-z", "dimension": "overall", "score": 1.0, "rationale": None}]
    return make_store(folder / "a", rows), make_store(folder / "b", later)


@pytest.mark.parametrize(
    ("given", "judges"),
    [
        ('judges="法官,甲"', ("法官,甲",)),
        ('"judges=法官,甲"', ("法官,甲",)),
        ('judges = "a ""b"", c" , judges= d ', ('a "b", c', "d")),
        ('judges=" lead ",judges=x', (" lead ", "x")),
        ('judges=x,"judges= lead "', (" lead ", "x")),
        ('judges="a', ('"a',)),
    ],
)
def test_quotes_stand_around_a_value_or_around_an_option_with_it(given: str, judges: tuple[str, ...]) -> None:
    assert config_of("--a", [given], Path()).judges == judges


@pytest.mark.parametrize(
    ("given", "a", "b"),
    [
        ([], {}, {}),
        (["--a", "threshold=1", "--b", "threshold=3,strict=true"], {"threshold": 1}, {"threshold": 3, "strict": True}),
        (["--b", "judges=judge-a,judges=judge-b"], {}, {"judges": ("judge-a", "judge-b")}),
        (["--a", "strategy=adjacent", "--a", "seed=3"], {"strategy": "adjacent", "seed": 3}, {}),
        (
            ["--b", "max-pairs-per-query=2,include-self-judged=true"],
            {},
            {"max_pairs_per_query": 2, "include_self_judged": True},
        ),
        (["--b", "both-orders=true"], {}, {"both_orders": True}),
        (["--b", "min-judges=2,same-judges=true"], {}, {"min_judges": 2, "same_judges": True}),
    ],
)
def test_json_is_what_the_library_finds(
    stores: tuple[Path, Path], given: list[str], a: dict[str, Any], b: dict[str, Any]
) -> None:
    configs = [PairConfig(**options) for options in (a, b)]
    wanted = compare_stores(Store.open(stores[0]), Store.open(stores[1]), *configs)
    done = run("diff", *stores, *given, "--json")
    assert json.loads(done.stdout) == json.loads(wanted.to_json())
    shown = run("diff", *stores, *given).stdout
    total = wanted.total
    for kind, last in (("queries", total.queries.changed), ("pairs", total.pairs.flipped)):
        one = getattr(total, kind)
        wanted_cells = [f"{number:,}" for number in (one.before, one.after, one.gained, one.lost, last)]
        assert [kind, *wanted_cells] in [line.split() for line in shown.splitlines()]
    assert "domains gained: code" in shown


def test_one_store_with_two_ways(stores: tuple[Path, Path]) -> None:
    shown = run("diff", stores[0], "--a", "threshold=2", "--b", "threshold=3,judges=judge-a").stdout
    assert "threshold: 2 in A, 3 in B" in shown
    assert "judges: all in A, judge-a in B" in shown
    assert run("diff", stores[0], stores[0]).stdout == "nothing differs\n"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "nothing can differ"),
        (["--a", "treshold=2"], "'treshold=2': use OPTION=VALUE, where OPTION is one of threshold"),
        (["--a", "format=kto"], "'format=kto': use OPTION=VALUE"),
        (["--a", "threshold=two"], "threshold=two: not a number"),
        (["--b", "strict=1"], "strict=1: use true or false"),
        (["--b", "threshold=1,threshold=2"], "threshold is given twice"),
        (["--b", "strategy=best"], "unknown strategy 'best'"),
        (["--b", 'judges="judge-a'], "unknown judge '\"judge-a'. A quote in it is not closed."),
        (["--b", "judges=nobody"], "unknown judge 'nobody'"),
        (["--a", "threshold=-1"], "use a finite number of 0 or more"),
    ],
)
def test_what_cannot_be_is_one_error(stores: tuple[Path, Path], given: list[str], said: str) -> None:
    assert said in run("diff", stores[0], *given, code=2).stderr
