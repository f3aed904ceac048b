"""Taxonomies: every form of file gives the same tree, and what is no tree is refused where it stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.annotate.taxonomy.reading import (
    NINE,
    SELECTIONS,
    bundled_taxonomy,
    check_taxonomy,
    read_taxonomy,
    tap_selection,
)
from coig_p.annotate.taxonomy.tree import Node, Selection, Taxonomy, paths
from coig_p.errors import DataError, UnknownNameError, UsageError

TSV = """\
field_code\tfield_slug\tfield\tcode\tsubject
1\tphysics\t物理\t11\t力学
1\tphysics\t物理\t12\t光学
2\t\tHistory\t21\tRome
"""
TOML = """
levels = ["field", "subject"]
[[nodes]]
code = "1"
name = "物理"
slug = "physics"
children = [{ code = "11", name = "力学" }, { code = "12", name = "光学" }]
[[nodes]]
code = "2"
name = "History"
children = [{ code = "21", name = "Rome" }]
"""
FLAT = [
    {"code": "12", "name": "光学", "parent": "1"},
    {"code": "1", "name": "物理", "slug": "physics"},
    {"code": "2", "name": "History"},
    {"code": "21", "name": "Rome", "parent": "2"},
]


def written(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), "utf-8")
    return path


def test_the_bundled_catalogue_is_the_ministrys(shared_data: Path) -> None:
    rows = [line.split("\t") for line in (shared_data / "undergraduate_catalog.tsv").read_text("utf-8").splitlines()]
    found = bundled_taxonomy().subjects()
    wanted = [tuple(row[at] for at in (1, 3, 5)) for row in rows[1:]]
    assert [one.names for one in found] == wanted
    assert [one.code for one in found] == [row[4] for row in rows[1:]]
    assert [[node.code for node in one.path[:2]] for one in found] == [[row[0], row[2]] for row in rows[1:]]


def test_taps_cut_of_the_catalogue() -> None:
    taxonomy = bundled_taxonomy()
    assert taxonomy.counts() == [12, 93, 816]
    cut = taxonomy.subjects(SELECTIONS["tap"])
    assert len(cut) == 724
    foreign = [one.name for one in cut if one.path[1].code == "0502"]
    assert len(foreign) == len(NINE) + 3
    assert {"语言学", "翻译", "商务英语", "英语", "日语"} <= set(foreign)
    assert len(taxonomy.subjects(tap_selection(("050201",)))) == 712 + 1 + 3
    assert len({one.domain for one in cut}) == 12


def test_every_form_of_file_is_the_same_tree(tmp_path: Path) -> None:
    table = read_taxonomy(written(tmp_path, "t.tsv", TSV))
    tree = read_taxonomy(written(tmp_path, "t.toml", TOML))
    told = {"levels": ["field", "subject"], "nodes": [node.to_dict() for node in tree.roots]}
    again = read_taxonomy(written(tmp_path, "t.json", told))
    assert table.roots == tree.roots == again.roots
    assert table.levels == tree.levels == again.levels == ("field", "subject")
    assert table.domains == ("physics", "history")
    assert [(one.code, one.domain, one.names) for one in table.subjects()] == [
        ("11", "physics", ("物理", "力学")),
        ("12", "physics", ("物理", "光学")),
        ("21", "history", ("History", "Rome")),
    ]
    flat = read_taxonomy(written(tmp_path, "flat.json", {"nodes": FLAT}))
    assert [one.code for one in flat.subjects()] == ["12", "21"]


def test_codes_and_domains_where_a_file_has_none(tmp_path: Path) -> None:
    found = read_taxonomy(written(tmp_path, "t.tsv", "field\tsubject\n物理\t力学\n物理\t光学\nArt\t\n"))
    assert [one.code for one in found.subjects()] == ["物理/力学", "物理/光学", "Art"]
    hashed, art = found.domains
    assert hashed.startswith("s-")
    assert hashed[2:].isalnum()
    assert art == "art"
    alone = read_taxonomy(written(tmp_path, "sciences.tsv", "subject\n力学\n光学\n"))
    assert {one.domain for one in alone.subjects()} == {"sciences"}


def test_blank_lower_levels_are_subjects_of_their_own(tmp_path: Path) -> None:
    found = read_taxonomy(written(tmp_path, "t.tsv", "a_code\ta\tcode\tb\n1\tX\t11\tY\n2\tZ\t\t\n"))
    assert [one.code for one in found.subjects()] == ["11", "2"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.tsv", TSV + "1\tphysics\t物理\t11\t热学\n", "t.tsv:5: code '11' stands at"),
        ("t.tsv", TSV + "1\tphysics\t生物\t13\t遗传\n", "t.tsv:5: name '生物' of code '1', which has '物理'"),
        ("t.tsv", TSV + "2\tphysics\tHistory\t22\tX\n", "t.tsv:5: slug 'physics' of code '2', which has None"),
        ("t.tsv", TSV + "1\tphysics\t物理\t\t热学\n", "t.tsv:5 code: blank beside subject '热学'"),
        ("t.tsv", TSV + "1\tphysics\t\t14\t热学\n", "t.tsv:5 field: blank, beside the code '1'"),
        ("t.tsv", TSV + "\t\t\t14\t热学\n", "t.tsv:5 field: blank above subject '热学'"),
        ("t.tsv", TSV + "1\tphysics\n", "t.tsv:5: 2 values where the first line names 5 columns"),
        ("t.tsv", TSV + "1\tphysics\t物理\t14\t热\x1b[31m学\n", "a character that cannot be seen"),
        ("t.tsv", "code\n1\n", "the first line names no level"),
        ("t.tsv", "x_code\ta\n1\tA\n", "column 'x_code' belongs to no level of a"),
        ("t.tsv", "", "no node in it"),
        ("t.toml", "nodes = []", "no node in it"),
        ("t.toml", "nodes = [", "not TOML"),
        ("t.json", "{}", "no node in it"),
        ("t.json", "[]", "is not an object with name, source, levels, nodes"),
        ("t.json", {"nodes": [{"name": "A"}], "titel": "x"}, ".titel: no field of a taxonomy"),
        ("t.json", {"nodes": [{"code": 1, "name": "A"}]}, ".nodes[0].code: 1 is not text: put it in quotes"),
        ("t.json", {"nodes": [{"code": "1"}]}, ".nodes[0].name: missing"),
        ("t.json", {"nodes": [{"name": " "}]}, ".nodes[0].name: blank"),
        ("t.json", {"nodes": [{"name": "A", "kids": []}]}, ".nodes[0].kids: no field of a node"),
        ("t.json", {"nodes": [{"name": "A", "children": [{"name": "B"}, {"name": "B"}]}]}, "code 'A/B' stands at"),
        ("t.json", {"nodes": [{"name": "A", "parent": "Z"}]}, "parent 'Z' is no node's code"),
        ("t.json", {"nodes": [{"name": "A", "parent": "A"}]}, "the node stands below itself (A > A)"),
        (
            "t.json",
            {"nodes": [{"code": "a", "name": "A", "parent": "b"}, {"code": "b", "name": "B", "parent": "a"}]},
            "the node stands below itself (a > b > a)",
        ),
        ("t.json", {"nodes": [{"name": "A", "parent": "B", "children": []}]}, "beside children"),
        ("t.json", {"nodes": [{"name": "A", "slug": "train", "children": [{"name": "B"}]}]}, "reserved"),
        (
            "t.json",
            {"nodes": [{"name": "A", "slug": "x", "children": []}, {"name": "B", "slug": "x"}]},
            "A and B would both be the domain 'x'",
        ),
    ],
)
def test_what_is_no_tree_is_refused_where_it_stands(name: str, content: Any, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, name, content)
    found, problems = check_taxonomy(path)
    assert found is None
    assert said in str(problems[0])
    assert str(problems[0]).startswith(str(path))
    with pytest.raises(DataError):
        read_taxonomy(path)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "t.tsv", TSV + "1\tphysics\t物理\t\t热学\n1\tphysics\t物理\t11\t热学\n")
    assert [one.where.removeprefix(str(path)) for one in check_taxonomy(path)[1]] == [":5 code", ":6"]
    with pytest.raises(DataError, match="1 more problem"):
        read_taxonomy(path)


def test_a_name_that_cannot_be_hides_no_other_problem(tmp_path: Path) -> None:
    path = written(tmp_path, "t.tsv", TSV + "1\tphysics\t物理\t13\t光\u200b学\n1\tphysics\t物理\t13\t声学\n")
    assert [str(one).removeprefix(str(path)) for one in check_taxonomy(path)[1]] == [
        ":5 subject: '光\\u200b学' has a character that cannot be seen: leave it out",
        f":6: code '13' stands at {path}:5, too, as '光\\u200b学' below '1'; here it is '声学' below '1'",
    ]
    # The nodes above one that has no place are known all the same.
    path = written(tmp_path, "t.tsv", TSV + "3\tchemistry\t化学\t\t酸\n3\tchemistry\t生物\t31\t碱\n")
    assert [str(one).removeprefix(str(path)) for one in check_taxonomy(path)[1]] == [
        ":5 code: blank beside subject '酸'",
        ":6: name '生物' of code '3', which has '化学' at " + f"{path}:5",
    ]
    nodes = [
        {
            "code": "1",
            "name": "光\u200b学",
            "kids": 1,
            "slug": 3,
            "children": [{"code": "1", "name": "A"}, {"name": 4}],
        },
        {"code": 2, "name": " "},
    ]
    path = written(tmp_path, "t.json", {"nodes": nodes})
    assert [one.where.removeprefix(f"{path} .nodes") for one in check_taxonomy(path)[1]] == [
        "[0].kids", "[0].name", "[0].slug", "[0].children[0]", "[0].children[1].name", "[1].code", "[1].name",
    ]  # fmt: skip


def test_a_code_that_stands_twice_is_told_with_both_parents(tmp_path: Path) -> None:
    path = written(tmp_path, "t.tsv", TSV + "2\t\tHistory\t11\t光学\n1\tphysics\t物理\t11\t力学\n")
    first = f"code '11' stands at {path}:2, too, as '力学' below '1'; here it is "
    assert [str(one).removeprefix(str(path)) for one in check_taxonomy(path)[1]] == [
        f":5: {first}'光学' below '2'",
        f":6: {first}the same",
    ]


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_names_of_the_tree_itself_are_checked_like_those_of_nodes(suffix: str, tmp_path: Path) -> None:
    told = {"name": "a\u202eb", "source": "c\x07", "levels": ["d\u200b", " "], "nodes": [{"name": "e\u202e"}]}
    lines = [f"{key} = {json.dumps(value)}" for key, value in told.items() if key != "nodes"]
    lines.append('nodes = [{ name = "e\\u202e" }]')
    path = written(tmp_path, f"t{suffix}", json.dumps(told) if suffix == ".json" else "\n".join(lines))
    unseen = "has a character that cannot be seen: leave it out"
    assert [str(one).removeprefix(f"{path} ") for one in check_taxonomy(path)[1]] == [
        f".name: 'a\\u202eb' {unseen}",
        f".source: 'c\\x07' {unseen}",
        f".levels[0]: 'd\\u200b' {unseen}",
        ".levels[1]: blank",
        f".nodes[0].name: 'e\\u202e' {unseen}",
    ]
    run("annotate", "taxonomy", "check", str(path), code=1)


def test_names_of_a_table_itself_are_checked_too(tmp_path: Path) -> None:
    path = written(tmp_path, "t\u202e.tsv", TSV.replace("subject\n", "sub\u202eject\n"))
    unseen = "has a character that cannot be seen: leave it out"
    assert [str(one).removeprefix(str(path)) for one in check_taxonomy(path)[1]] == [
        f":1 sub\\u202eject: 'sub\\u202eject' {unseen}",
        f": the tree has the name of its file, and 't\\u202e' {unseen}",
    ]


def test_half_a_character_is_told_where_it_stands(tmp_path: Path) -> None:
    nodes = [{"name": "a\ud800", "code": "1", "x\udc00": 1}, {"name": "b", "slug": "\udc00", "code": "2"}]
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"name": "\ud83d", "nodes": nodes}), "ascii")
    unseen = "has a character that cannot be seen: leave it out"
    assert [str(one).removeprefix(f"{path} ") for one in check_taxonomy(path)[1]] == [
        f".name: '\\ud83d' {unseen}",
        ".nodes[0].x\\udc00: no field of a node, which has code, name, slug, children, parent",
        f".nodes[0].name: 'a\\ud800' {unseen}",
        f".nodes[1].slug: '\\udc00' {unseen}",
    ]
    assert len(json.loads(run("annotate", "taxonomy", "check", str(path), "--json", code=1).stdout)["problems"]) == 4


def test_a_selection_that_leaves_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "t.tsv", TSV)
    for json_ in ((), ("--json",)):
        done = run("annotate", "taxonomy", "list", str(path), "--drop", "1", "--drop", "2", *json_, code=2)
        assert "--only, --drop and --keep leave no subject" in done.stderr
        assert not done.stdout


def test_too_deep(tmp_path: Path) -> None:
    node: dict[str, Any] = {"name": "leaf"}
    for at in range(30):
        node = {"name": f"n{at}", "children": [node]}
    _, problems = check_taxonomy(written(tmp_path, "t.json", {"nodes": [node]}))
    assert "deeper than 12 levels" in str(problems[0])
    chain = [{"code": str(at), "name": "x", **({"parent": str(at - 1)} if at else {})} for at in range(30)]
    _, problems = check_taxonomy(written(tmp_path, "c.json", {"nodes": chain}))
    assert "deeper than 12 levels" in str(problems[0])


def test_files_that_cannot_be(tmp_path: Path) -> None:
    for name in ("gone.tsv", "t.csv"):
        with pytest.raises(UsageError, match=name):
            read_taxonomy(tmp_path / name)
    (tmp_path / "latin.tsv").write_bytes(b"subject\n\xff\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_taxonomy(tmp_path / "latin.tsv")


NODES = st.recursive(
    st.just(()),
    lambda below: st.lists(below, min_size=1, max_size=3).map(tuple),
    max_leaves=12,
)


@given(NODES.filter(bool), st.data())
@examples(60)
def test_selections_are_what_a_slow_walk_gives(shape: Any, data: st.DataObject) -> None:
    number = iter(range(1000))

    def grown(shape: Any) -> tuple[Node, ...]:
        return tuple(Node(str(next(number)), "x", None, grown(below)) for below in shape)

    roots = grown(shape)
    taxonomy = Taxonomy("t", ("",) * 12, roots, tuple(f"d{at}" for at in range(len(roots))))
    ways = list(paths(roots))
    codes = st.lists(st.sampled_from([way[-1].code for way in ways]), max_size=3).map(tuple)
    selection = Selection(data.draw(codes), data.draw(codes), data.draw(codes))
    wanted = []
    for way in ways:
        mine = [node.code for node in way]
        kept = any(code in mine for code in selection.keep)
        dropped = any(code in mine for code in selection.drop)
        outside = bool(selection.only) and not any(code in mine for code in selection.only)
        if not way[-1].children and (kept or not (dropped or outside)):
            wanted.append(mine[-1])
    assert [one.code for one in taxonomy.subjects(selection)] == wanted
    with pytest.raises(UnknownNameError, match="no-such"):
        taxonomy.subjects(Selection(drop=("no-such",)))


def test_the_commands(tmp_path: Path) -> None:
    path = written(tmp_path, "t.tsv", TSV)
    told = json.loads(run("annotate", "taxonomy", "list", str(path), "--drop", "1", "--keep", "12", "--json").stdout)
    assert [one["code"] for one in told["subjects"]] == ["12", "21"]
    assert told["of"] == 3
    assert "724 subjects of 816 in 12 domains" in run("annotate", "taxonomy", "list", "--select", "tap").stdout
    assert "t is right: 3 subjects" in run("annotate", "taxonomy", "check", str(path)).stdout
    bad = written(tmp_path, "bad.tsv", TSV + "1\tphysics\t物理\t\t热学\n")
    done = run("annotate", "taxonomy", "check", str(bad), "--json", code=1)
    assert json.loads(done.stdout)["problems"] == [{"where": f"{bad}:5 code", "what": "blank beside subject '热学'"}]
    run("annotate", "taxonomy", "list", str(path), "--select", "tap", code=2)


def test_the_twenty_subjects_of_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs" / "taxonomy.md").read_text("utf-8")
    file = Path(__file__).parents[2] / "docs" / "recipes" / "subjects.en.toml"
    listed = json.loads(run("annotate", "taxonomy", "list", file, "--json").stdout)["subjects"]
    assert (len(listed), len({one["domain"] for one in listed})) == (20, 5)
    assert run("annotate", "taxonomy", "list", file, "--only", "2").stdout in page
    assert "is right: 20 subjects" in run("annotate", "taxonomy", "check", file).stdout
