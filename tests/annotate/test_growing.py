"""A taxonomy that an endpoint lets grow: what is listed becomes nodes, what was there stays, nothing is paid twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")

from coig_p.annotate.alone.endpoint import endpoint_at
from coig_p.annotate.growing import GrowConfig, Growing
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.taxonomy.prompts import read_prompts
from coig_p.annotate.taxonomy.reading import bundled_taxonomy, read_taxonomy
from coig_p.annotate.taxonomy.tree import Node, Taxonomy, domains_of, paths
from coig_p.annotate.taxonomy.writing import write_taxonomy
from coig_p.errors import UsageError

SCHOOL = """name = "School"
levels = ["field", "subject"]

[[nodes]]
code = "1"
name = "物理"
slug = "physics"
children = [{ code = "11", name = "力学" }, { code = "12", name = "光学" }]

[[nodes]]
code = "2"
name = "历史"
slug = "history"
"""


def listing(*names: str) -> str:
    return "\n".join(f'"""{name}：收{name}的内容"""' for name in names)


def grow(server: ScriptedServer, folder: Path, *more: str, code: int = 0, out: str = "new.toml") -> dict[str, Any]:
    """Run the command; what it says as JSON."""
    address = ("--endpoint", server.base_url, "--model", "m")
    result = run("annotate", "taxonomy", "grow", *more, *address, "--out", str(folder / out), "--json", code=code)
    told: dict[str, Any] = json.loads(result.stdout) if result.stdout.startswith("{") else {"error": result.stderr}
    return told


@pytest.fixture
def school(tmp_path: Path) -> Path:
    (tmp_path / "school.toml").write_text(SCHOOL, "utf-8")
    return tmp_path / "school.toml"


def test_a_topic_becomes_a_tree_of_two_levels(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        told = grow(server, tmp_path, "--about", "校园生活", "--levels", "2")
        assert (told["requests"], told["sent"], told["added"], told["subjects"]) == (5, 5, 20, 16)
        assert told["repeated"] == 5  # each answer says its first class twice
        first = (tmp_path / "new.toml").read_bytes()
        again = grow(server, tmp_path, "--about", "校园生活", "--levels", "2", "--overwrite")
    assert again["sent"] == 0
    assert (tmp_path / "new.toml").read_bytes() == first
    found = read_taxonomy(tmp_path / "new.toml")
    assert [node.code for node in found.roots] == ["1", "2", "3", "4"]
    assert [node.code for node in found.roots[1].children] == ["2-1", "2-2", "2-3", "2-4"]


@pytest.mark.parametrize("suffix", ["toml", "json", "tsv"])
def test_what_a_person_wrote_stays_and_leaves_grow(school: Path, tmp_path: Path, suffix: str) -> None:
    before = read_taxonomy(school)
    with ScriptedServer() as server:
        told = grow(server, tmp_path, str(school), out=f"new.{suffix}")
    assert (told["grew"], told["added"]) == (3, 12)
    after = read_taxonomy(tmp_path / f"new.{suffix}")
    assert after.domains == before.domains
    old = {way[-1].code: [(node.code, node.name, node.slug) for node in way] for way in paths(before.roots)}
    new = {way[-1].code: [(node.code, node.name, node.slug) for node in way] for way in paths(after.roots)}
    assert {code: new[code] for code in old} == old
    assert {way[-1].code.rpartition("-")[0] for way in paths(after.roots) if way[-1].code not in old} == {
        "11",
        "12",
        "2",
    }
    assert school.read_text("utf-8") == SCHOOL


def test_only_the_nodes_that_are_named_grow_beside_the_children_that_they_have(school: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: Mapping[str, Any]) -> str:
        asked.append(request["messages"][0]["content"])
        return listing("光学", "热学", "物理", "力 学", "声学", "电学", "核\u2028物理")

    with ScriptedServer(answer) as server:
        told = grow(server, tmp_path, str(school), "--under", "1", "--children", "4")
    assert len(asked) == 1
    assert "力学, 光学" in asked[0]
    assert told["added"] == 2
    assert told["repeated"] == 3  # 光学 and 力学 stand there, 物理 stands above
    assert (told["unfit"], told["beyond"]) == (1, 1)
    assert [node.name for node in read_taxonomy(tmp_path / "new.toml").roots[0].children] == [
        "力学",
        "光学",
        "热学",
        "声学",
    ]


def test_an_answer_that_lists_nothing_is_asked_for_again_and_then_named(school: Path, tmp_path: Path) -> None:
    with ScriptedServer(
        lambda request: "好的，我想一想。" if "历史" in str(request["messages"]) else listing("甲类")
    ) as server:
        told = grow(server, tmp_path, str(school))
        assert (told["without"], told["added"], told["sent"]) == (["2"], 2, 5)
        nothing = grow(server, tmp_path, str(school), "--under", "2", out="other.toml", code=1)
    assert (nothing["taxonomy"], nothing["added"], nothing["without"]) == (None, 0, ["2"])
    assert not (tmp_path / "other.toml").exists()


def test_a_run_that_ended_early_goes_on_where_it_was(tmp_path: Path) -> None:
    """The budget ends it; what was paid is not paid again, and the bytes are those of one run."""
    with ScriptedServer() as server:
        grow(server, tmp_path, "--about", "校园生活", "--levels", "3", out="whole.toml")
        (tmp_path / "e.toml").write_text(
            f'[endpoint]\nname = "m"\nmodel = "m"\nbase_url = "{server.base_url}"\nconcurrency = 1\n'
            "output_price = 1000\nparameters = { max_tokens = 1000 }\n",
            "utf-8",
        )
        about = ("annotate", "taxonomy", "grow", "--about", "校园生活", "--levels", "3", "--json")
        words = (*about, "--endpoint", str(tmp_path / "e.toml"), "--out", str(tmp_path / "whole2.toml"))
        estimate = json.loads(run(*words, "--estimate").stdout)
        assert estimate["left"] == 1 + 10 + 100  # as many as there may be
        told = json.loads(run(*words, "--max-cost", "3", code=1).stdout)
        assert (told["taxonomy"], told["stopped"]) == (None, "budget")
        assert 0 < told["sent"] < 21
        assert told["waiting"]
        left = json.loads(run(*words, "--estimate").stdout)
        assert left["spent"] == told["cost"]
        assert left["left"] < estimate["left"]
        seen = sum(server.seen.values())
        rest = json.loads(run(*words, "--max-cost", "100").stdout)
        assert rest["sent"] == 21 - told["sent"] == sum(server.seen.values()) - seen
    one, other = (read_taxonomy(tmp_path / f"{name}.toml").roots for name in ("whole", "whole2"))
    assert one == other


def test_partial_writes_what_there_is(tmp_path: Path) -> None:
    def answer(request: Mapping[str, Any]) -> str:
        if "乙类" in request["messages"][0]["content"].split("已经有的")[0]:
            raise LookupError("no such model")  # 400: refused, so settled
        return listing("甲类", "乙类")

    with ScriptedServer(answer) as server:
        told = grow(server, tmp_path, "--about", "题", "--levels", "2", "--partial")
    assert told["without"] == ["2"]
    assert told["subjects"] == 2  # 甲类 does not come below itself


@pytest.mark.parametrize(
    ("config", "topic", "said"),
    [
        ({"children": 0}, None, "use 1 to"),
        ({"levels": 13}, None, "use 1 to"),
        ({"under": ("9",)}, None, "unknown code"),
        ({"under": ("1", "11")}, None, "stands below"),
        ({"levels": 11}, None, "12 at most"),
        ({"under": ("1",), "children": 2}, None, "nothing can grow"),
        ({}, "题", "name one of the two"),
    ],
)
def test_what_cannot_grow_is_refused(config: dict[str, Any], topic: str | None, said: str, school: Path) -> None:
    endpoint = endpoint_at("http://127.0.0.1:1/v1", "m", None, {})
    with pytest.raises(UsageError, match=said):
        Growing(read_taxonomy(school), endpoint, read_prompts(), GrowConfig(**config), topic)


@pytest.mark.parametrize("topic", ["", "  ", "a\nb", "\u200b"])
def test_a_topic_is_a_line_that_can_be_seen(topic: str) -> None:
    endpoint = endpoint_at("http://127.0.0.1:1/v1", "m", None, {})
    with pytest.raises(UsageError, match="--about"):
        Growing(Taxonomy("t", (), (), ()), endpoint, read_prompts(), topic=topic)


def test_a_place_that_cannot_be_is_refused_before_anything_is_asked(school: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        for out in ("new.csv", "school.toml"):
            told = grow(server, tmp_path, str(school), out=out, code=2)
            assert "error" in told
        (tmp_path / "e.toml").write_text("[endpoint]\nname = 1\n", "utf-8")
        bad = run(
            *("annotate", "taxonomy", "grow", str(school), "--endpoint", str(tmp_path / "e.toml")),
            *("--out", str(tmp_path / "x.toml")),
            code=2,
        )
    assert "e.toml" in bad.stderr
    assert not server.seen


def trees() -> st.SearchStrategy[Taxonomy]:
    names = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=6)
    node: st.SearchStrategy[Any] = st.recursive(
        names.map(lambda name: (name, [])), lambda below: st.tuples(names, st.lists(below, max_size=3)), max_leaves=6
    )

    def tree(told: list[Any]) -> Taxonomy:
        number = iter(range(10**6))

        def made(one: Any, *, top: bool) -> Node:
            at = next(number)
            return Node(f"c{at}", one[0], f"s{at}" if top else None, tuple(made(each, top=False) for each in one[1]))

        roots = tuple(made(one, top=True) for one in told)
        depth = max(len(way) for way in paths(roots))
        return Taxonomy("t", ("",) * depth, roots, domains_of(roots, "t", "t"))

    return st.lists(node, min_size=1, max_size=3).map(tree)


@given(tree=trees(), suffix=st.sampled_from(["toml", "json", "tsv"]))
@examples(60)
def test_a_tree_that_is_written_is_read_as_the_same(tree: Taxonomy, suffix: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("tree") / f"t.{suffix}"
    write_taxonomy(tree, path)
    assert read_taxonomy(path).roots == tree.roots


@pytest.mark.parametrize("suffix", ["toml", "json", "tsv"])
def test_the_catalogue_survives_every_format(suffix: str, tmp_path: Path) -> None:
    found = bundled_taxonomy()
    write_taxonomy(found, tmp_path / f"copy.{suffix}")
    copy = read_taxonomy(tmp_path / f"copy.{suffix}")
    assert (copy.roots, copy.levels, copy.domains) == (found.roots, found.levels, found.domains)
