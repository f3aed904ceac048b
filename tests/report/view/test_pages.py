"""Pages: every number is the library's, hostile texts are texts, and the server answers whom it should."""

from __future__ import annotations

import json
import re
from contextlib import AbstractContextManager
from itertools import combinations, permutations
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pyarrow.parquet as pq
import pytest
from harmless import Read, check_harmless
from make import Rows, make_rows, make_store
from oracle import oracle_pairs
from viewed import ADDRESSES, HOSTILE, PATHS, a_query, answered, fetched, hostile_view, of_rows, served

from coig_p.core.listing import join_names
from coig_p.core.text import printable
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.report.one_query import Place, place_of, read_query
from coig_p.report.view import index as index_module
from coig_p.report.view.compared import KINDS, compare_configs
from coig_p.report.view.index import Index, load_index, place_of_index, queries_to_read
from coig_p.report.view.one_file import MOST_BYTES, report_page
from coig_p.report.view.pages import (
    MOST_PAIRS,
    MOST_RESPONSES,
    Piece,
    View,
    check_findings,
    config_of,
    cut,
    page,
)
from coig_p.report.view.words import LANGUAGES, words
from coig_p.stats.apart import MOST, Apart, most_apart
from coig_p.stats.counts import statistics
from coig_p.stats.matrix import matrices
from coig_p.stats.queries import query_table
from coig_p.stats.sweep import sweep
from coig_p.store.store import Store
from coig_p.validation.gate import check


@pytest.fixture(scope="module")
def rows() -> Rows:
    return make_rows({"math": 60, "chat": 21})


@pytest.fixture(scope="module")
def index(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder = tmp_path_factory.mktemp("view")
    return load_index(Store.open(make_store(folder / "store", rows)), folder / "cache")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> View:
    return hostile_view(tmp_path_factory.mktemp("hostile"))


MINUS = "\u2212"


def shown(view: View, path: str, address: dict[str, str] | None = None) -> Read:
    html = page(view, path, ADDRESSES.get(path, {}) if address is None else address)
    assert html is not None
    return Read(html)


def test_the_index_is_made_once_and_is_what_the_library_gives(index: Index, tmp_path: Path) -> None:
    store = index.store
    seen: list[int] = []
    assert queries_to_read(store, tmp_path) == 4 * 81
    made = load_index(store, tmp_path, advance=seen.append)
    assert sum(seen) == 4 * 81
    assert queries_to_read(store, tmp_path) == 0
    for found in (made, load_index(store, tmp_path, advance=seen.append)):
        assert found.queries.equals(query_table(store))
        assert found.statistics == statistics(store).to_dict()
        assert found.sweep == sweep(store).to_dict()
        assert found.matrices == matrices(store)
        assert found.apart == most_apart(store)
        assert found.plots == index.plots
    assert sum(seen) == 4 * 81
    (place_of_index(store, tmp_path) / "counts.json").write_text("{", encoding="utf-8")  # damaged: made anew
    assert load_index(store, tmp_path, advance=seen.append).statistics == index.statistics
    assert sum(seen) == 8 * 81


def test_numbers_of_the_overview(index: Index) -> None:
    total = statistics(index.store)
    found = shown(View(index), "").tables
    names = ("queries", "responses", "scores", "comparisons", "pairs", "queries_with_pairs")
    for row, (domain, one) in zip(found[0][1:], {**total.domains, "all": total.total}.items(), strict=True):
        assert row == [domain, *(f"{getattr(one, name):,}" for name in names)]
    swept = sweep(index.store).thresholds
    for row, step in zip(found[1][1:], swept, strict=True):
        agrees = step.second_judge.agrees.share
        assert row[0].split()[0] == f"{step.threshold:g}"
        assert row[1:] == [
            f"{step.pairs:,}",
            f"{step.queries:,}",
            f"{step.queries_kept:.1%}",
            "–" if agrees is None else f"{agrees:.1%}",
        ]
    rates = {name: model.win_rate.share for name, model in total.total.models.items()}
    assert {row[0]: row[2] for row in found[2][1:]} == {name: f"{share:.1%}" for name, share in rates.items()}


def told(value: float | None, form: str = "g") -> str:
    return "–" if value is None else f"{value:{form}}"


def test_numbers_of_the_list_of_queries(index: Index) -> None:
    table = index.queries.to_pylist()
    seen = 0
    for number in ("1", "2"):
        for row in shown(View(index), "queries", {"page": number}).tables[0][1:]:
            one = table[seen]
            judges = " / ".join(one["disagreeing"] or [])
            assert row[0] == one["query_id"] + one["said"]
            assert row[1:4] == [one["domain"], f"{one['responses']:,}", told(one["margin"])]
            assert row[4:] == [told(one["disagreement"]) + judges, f"{one['length_difference']:,}"]
            seen += 1
    assert seen == len(table)


@pytest.mark.parametrize("options", [{}, {"threshold": "3"}, {"threshold": "1", "strict": "1", "judges": "judge-a"}])
def test_numbers_of_a_query(options: dict[str, str], index: Index, rows: Rows) -> None:
    for at, row in enumerate(rows[:12]):
        found = read_query(index.store, place_of(index.store, row["query_id"]), config_of(options))
        html = page(View(index), "query", {"id": row["query_id"], **options}) or ""
        answers = html.split("<article")[1 : 1 + len(found.responses)]
        for place, (answer, response) in enumerate(zip(answers, found.responses, strict=True)):
            value, scores = found.values[place], response["scores"]
            assert f'<span class="value">{"no score" if value is None else f"{value:g}"}</span>' in answer
            assert re.findall(r"<b>([^<]*)</b>", answer.partition("</article>")[0]) == [
                f"{one['score']:g}" for one in scores
            ]
            assert answer.count('class="off"') == found.counted[place].count(False)
        pairs = Read(html).tables[-1][1:]
        assert [cells[2] for cells in pairs] == [
            f"{one.chosen_score:g} {MINUS} {one.rejected_score:g} = {one.margin:g} "
            f"{'>' if 'strict' in options else '≥'} {found.config.threshold:g} (by scores)"
            for one in found.pairs
        ]
        wanted = oracle_pairs([row], threshold=found.config.threshold or 0, strict="strict" in options,
                              judges=found.config.judges)  # fmt: skip
        assert [one.margin for one in found.pairs] == [pair["margin"] for pair in wanted], at
        for why, number in found.left_out.items():
            assert (f"{number:,} {why}" in html) == (number > 0)


def test_numbers_of_a_comparison(index: Index) -> None:
    rows = shown(View(index), "compare").tables[0][1:]
    before, after = PairConfig(threshold=1), PairConfig(threshold=3, strategy="adjacent")
    found = compare_configs(index.store, before, after, first=20)
    assert [row[:3] for row in rows] == [[kind, f"{found.pairs[kind]:,}", f"{found.queries[kind]:,}"] for kind in KINDS]
    assert [row[3].split(", ") if row[3] else [] for row in rows] == [
        [query_id for _, query_id in found.first[kind]] for kind in KINDS
    ]


def test_numbers_of_judges_and_models(index: Index) -> None:
    counted, total = matrices(index.store), statistics(index.store).total
    tables = shown(View(index), "judges").tables
    for row in tables[0][1:]:
        judge = total.judges[row[0]]
        assert row[1] == f"{judge.scores:,}"
        assert row[6:] == [f"{share.share:.1%}" for share in (judge.agrees, judge.ties, judge.opposes)]
        assert row[2:4] == [f"{judge.comparisons:,}", f"{judge.mean_score:,.2f}".rstrip("0").rstrip(".")]
        assert row[4:6] == [f"{judge.offset.mean:+.2f}", f"{judge.offset.low:+.2f} – {judge.offset.high:+.2f}"]
    names = [row[0] for row in tables[1][1:]]
    for row in tables[1][1:]:
        for other, cell in zip(names, row[1:], strict=True):
            one = counted.agreement(row[0], other)
            assert cell == ("–" if row[0] == other else f"{one.share:.1%}{one.pairs:,}")
    tables = shown(View(index), "models").tables
    for row in tables[0][1:]:
        model = total.models[row[0]]
        share, low, high = (
            float(value or 0) for value in (model.win_rate.share, model.win_rate.low, model.win_rate.high)
        )
        assert row[1:4] == [f"{model.responses:,}", f"{model.chosen:,}", f"{model.rejected:,}"]
        assert row[4:] == [f"{share:.1%}", f"{100 * low:.1f} – {100 * high:.1f}"]
    names = [row[0] for row in tables[1][1:]]
    assert len(names) == 5
    for row in tables[1][1:]:
        for other, cell in zip(names, row[1:], strict=True):
            rate = counted.win_rate(row[0], other)
            number = counted.wins[row[0], other] + (counted.wins[other, row[0]] if other != row[0] else 0)
            assert cell == ("–" if rate is None else f"{rate:.1%}{number:,}")


def test_the_ten_queries_on_which_judges_disagree_most_lead_to_their_pairs(index: Index, rows: Rows) -> None:
    found = shown(View(index), "queries", {"sort": "disagreement"})
    first = next(attrs["href"] for tag, attrs in found.tags if tag == "a" and attrs.get("class") == "go")
    assert first is not None
    address = dict(part.split("=") for part in first.partition("?")[2].split("&"))
    one = page(View(index), "query", address)
    assert one is not None
    assert "≥ 2" in one
    table = index.queries.to_pylist()
    best = max(table, key=lambda row: (row["disagreement"] or -1, -row["row"]))
    assert f">{best['disagreement']:g}<" in (page(View(index), "queries", {"sort": "disagreement"}) or "")


def cells_of(pairs: list[Apart]) -> list[list[str]]:
    return [
        [
            f"{one.apart:g}",
            one.query_id,
            f"{one.first + 1}. {one.first_model}{one.second + 1}. {one.second_model}",
            f"{one.judge}: {one.gave[0]:g} : {one.gave[1]:g}{one.other}: {one.other_gave[0]:g} : {one.other_gave[1]:g}",
        ]
        for one in pairs
    ]


def test_the_pairs_on_which_judges_disagree_most(index: Index) -> None:
    wanted = most_apart(index.store)
    (ten,) = [table for table in shown(View(index), "judges").tables if table[0][0] == "apart"]
    assert ten[1:] == cells_of(wanted.of()[:10])
    assert shown(View(index), "apart", {}).tables[0][1:] == cells_of(wanted.of())
    links = [attrs["href"] or "" for tag, attrs in shown(View(index), "judges").tags if tag == "a"]
    cells = [dict(parse_qsl(link.partition("?")[2])) for link in links if "_too=" in link]
    assert len(cells) >= 6
    for address in cells:  # of the heat map
        own = wanted.of(address["judge"], address["judge_too"])
        found = shown(View(index), "apart", address)
        assert found.tables[0][1:] == cells_of(own)
        assert len(own) == MOST or len(own) == matrices(index.store).agreement(*address.values()).pairs
        first = next(attrs["href"] or "" for tag, attrs in found.tags if attrs.get("class") == "go")
        one = page(View(index), "query", dict(parse_qsl(first.partition("?")[2].partition("#")[0]))) or ""
        for place, model in ((own[0].first, own[0].first_model), (own[0].second, own[0].second_model)):
            assert f"<h3>{place + 1}. <bdi>{model}</bdi></h3>" in one


def test_two_responses_beside_each_other_say_whether_they_are_a_pair(index: Index) -> None:
    for row in range(index.store.data_files()[0].rows or 0):
        found = read_query(index.store, Place(0, row), PairConfig())
        pairs = {frozenset((pair.chosen, pair.rejected)): pair for pair in found.pairs}
        for first, second in combinations(range(len(found.responses)), 2):
            html = page(View(index), "query", {"row": str(row), "first": str(first), "second": str(second)}) or ""
            said = html.partition('<p class="is-pair">')[2].partition("</p>")[0]
            pair = pairs.get(frozenset((first, second)))
            if pair is None:
                assert said == words("en")["no-pair"]
            else:
                assert said.startswith(f"chosen: {pair.chosen + 1}. ")
                assert f"= <b>{pair.margin:g}</b> ≥ 2" in said


def test_cells_of_a_matrix_lead_to_the_queries_behind_them(index: Index) -> None:
    table = index.queries.to_pylist()
    for path, column in (("apart", "judges"), ("models", "models")):
        tables = [shown(View(index), path)]
        if path == "apart":
            names = sorted(index.statistics["total"]["judges"])
            tables = [shown(View(index), path, {"judge": one, "judge_too": two}) for one, two in permutations(names, 2)]
        found = Read("")
        for one in tables:
            found.tags += one.tags
        links = [
            attrs["href"] or "" for tag, attrs in found.tags if tag == "a" and "_too=" in (attrs.get("href") or "")
        ]
        assert len(links) >= 6
        for link in links:
            address = dict(parse_qsl(link.partition("?")[2]))
            both = {address[column[:-1]], address[f"{column[:-1]}_too"]}
            listing = page(View(index), "queries", address)
            assert listing is not None
            assert f"<b>{sum(both <= set(row[column]) for row in table)}</b>" in listing


def test_findings_lead_to_queries_and_are_marked_where_they_stand(tmp_path: Path) -> None:
    rows = make_rows({"math": 6})
    rows[2]["responses"][0]["text"] = "请写信到 someone@example.com 联系。"
    store = Store.open(make_store(tmp_path / "store", rows))
    findings = check(store).findings
    view = View(load_index(store, tmp_path / "cache"), findings)
    assert "email" in "".join(shown(view, "").text)
    assert shown(view, "queries", {"rule": "email"}).tables[0][1][0].startswith("math-0002")
    html = page(view, "query", {"id": "math-0002"})
    assert html is not None
    offset = next(row["offset"] for row in findings.to_pylist() if row["rule"] == "email")
    assert f'<mark title="email">{rows[2]["responses"][0]["text"][offset]}</mark>' in html
    assert "coigp check" in "".join(shown(View(view.index), "").text)


def test_a_text_in_pieces_is_the_text() -> None:
    assert cut("西湖水", {1: ["b", "a"], 9: ["c"]}) == [Piece("西"), Piece("湖", ("a", "b")), Piece("水")]
    assert cut("西湖", {}) == [Piece("西湖")]
    assert cut("西湖", {0: ["a"], 1: ["b"]}) == [Piece("西", ("a",)), Piece("湖", ("b",))]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_in_both_languages(path: str, language: str, index: Index) -> None:
    found = shown(View(index), path, ADDRESSES.get(path, {}) | {"lang": language})
    assert found.tags[0] == ("html", {"lang": "zh-Hans" if language == "zh" else "en"})
    links = [attrs["href"] or "" for tag, attrs in found.tags if tag == "a"]
    inner = [link for link in links if "?" in link and "static" not in link]
    assert all(
        ("lang=zh" in link) != (f"lang={'en' if language == 'zh' else 'zh'}" in link) or language == "en"
        for link in inner
    )


def test_words_are_there_in_both_languages() -> None:
    assert words("en").keys() == words("zh").keys()
    assert words("fr") == words("en")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({"threshold": "two"}, "use a number"),
        ({"threshold": "-1"}, "0 or more"),
        ({"strategy": "best"}, "unknown strategy"),
    ],
)
def test_options_that_cannot_be(address: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        config_of(address)


@pytest.mark.parametrize(
    ("path", "address", "said"),
    [
        ("queries", {"domain": "nosuch"}, "unknown domain 'nosuch'. Valid: chat, math"),
        ("queries", {"source": "nosuch"}, "unknown source"),
        ("queries", {"model_too": "zz"}, "unknown model 'zz'"),
        ("queries", {"judge": "zz"}, "unknown judge 'zz'.* Valid: judge-a"),
        ("apart", {"judge": "zz"}, "unknown judge 'zz'"),
        ("apart", {"judge": "judge-a", "judge_too": "judge-a"}, "name two judges"),
        ("query", {"first": "0", "second": "99"}, "first=0&second=99: name two responses of this query, from 0 to"),
        ("query", {"first": "0"}, "first=0&second=: name two"),
        ("query", {"strict": "maybe"}, "strict='maybe': use 1 or 0"),
        ("query", {"query_id": "nobody"}, "unknown query_id 'nobody'"),
    ],
)
def test_names_and_numbers_that_are_not_there_are_refused(
    path: str, address: dict[str, str], said: str, index: Index
) -> None:
    with pytest.raises(UsageError, match=said):
        page(View(index), path, address)
    assert config_of({"strict": "0"}) == PairConfig()
    assert "<h1><bdi>chat-0003" in (page(View(index), "query", {"query_id": "chat-0003"}) or "")


def test_a_report_is_one_file_without_scripts(hostile: View, index: Index) -> None:
    for language in LANGUAGES:
        html, number = report_page(hostile, sample=20, language=language)
        found = check_harmless(html)
        assert len(html.encode()) <= MOST_BYTES
        assert "script" not in {tag for tag, _ in found.tags}
        assert 0 < number <= len(HOSTILE) + 1
    html, number = report_page(View(index), sample=9, domains=["chat"])
    assert number == 9
    assert len([tag for tag, attrs in check_harmless(html).tags if tag == "article"]) >= 9 * 3
    assert report_page(View(index), sample=9, domains=["chat"])[0] == html
    assert report_page(View(index), sample=9, seed=1, domains=["chat"])[0] != html


def test_models_in_no_pair_stand_last(tmp_path: Path) -> None:
    rows = [a_query("one", answered("alone", None), answered("low", 1), answered("high", 9), answered("void", None))]
    view = of_rows(rows, tmp_path)
    expected = [["high", "100.0%"], ["low", "0.0%"], ["alone", "–"], ["void", "–"]]
    assert [[row[0], row[2]] for row in shown(view, "").tables[2][1:]] == expected
    assert [[row[0], row[4]] for row in shown(view, "models").tables[0][1:]] == expected


@pytest.mark.parametrize("name", [" spaces ", "\t", "two\nlines", "\x1b[31mred", "\u202eRTL", "a&b=c", "100%", '"#+?'])
def test_any_name_is_filtered_by_from_a_link_and_from_a_form(name: str, tmp_path: Path) -> None:
    rows = [a_query("own", answered(name, 1, name), answered("m", 9)) | {"source": name}, a_query("other")]
    view = of_rows(rows, tmp_path)
    form = Read(page(view, "queries", {}) or "").tags
    options = [attrs["value"] or "" for tag, attrs in form if tag == "option"]
    (sent,) = {value for value in options if value == printable(name)}
    for value in (name, sent.replace("\n", "\r\n")):  # as a browser sends what was chosen
        for field in ("model", "judge", "source"):
            html = page(view, "queries", {field: value}) or ""
            assert "<b>1</b>" in html
            assert len([tag for tag, attrs in Read(html).tags if tag == "option" and "selected" in attrs]) == 1


@pytest.mark.parametrize(
    "name", ["a,b", 'say "x", y', "two\nlines", " spaces ", "\x1b[31m", "a&b=c", ',"', "\u202eRTL"]
)
def test_any_judge_is_chosen_from_a_form(name: str, tmp_path: Path) -> None:
    view = of_rows(
        [a_query("own", answered("m", 1, name), answered("n", 9, name), answered("o", 5, "other"))], tmp_path
    )
    with served(view) as address:
        for path, field, config in (
            ("query", "judges", lambda html: html),
            ("compare", "b_judges", lambda html: html.partition("<legend>B")[2]),
        ):
            form = Read(config(page(view, path, {}) or "")).tags
            sent = [attrs["value"] or "" for tag, attrs in form if attrs.get("name") == field]
            assert len(sent) == 2
            (own,) = [value for value in sent if value != "other"]
            for values in ([own], [own, "other"]):
                query = urlencode([(field, value.replace("\n", "\r\n")) for value in values])
                status, _, html = fetched(f"{address}/a-token/{path}?{query}")
                assert status == 200, html
                chosen = [attrs for tag, attrs in Read(config(html)).tags if attrs.get("name") == field]
                assert [attrs["value"] for attrs in chosen if "checked" in attrs] == sorted(values, key=sent.index)
    given = PairConfig(judges=(name, "other"))
    assert config_of({"judges": join_names(given.judges or ())}).judges == given.judges


def test_a_query_with_many_pairs_lists_the_first_and_says_so(tmp_path: Path) -> None:
    many = [answered(f"m{at:02d}", at % 10 + 1, text=f"text {at}") for at in range(40)]
    view = of_rows([a_query("one", *many)], tmp_path)
    place = Place(0, 0)
    whole = read_query(view.index.store, place, PairConfig())
    assert len(whole.pairs) == whole.pairs_in_all > MOST_PAIRS
    assert read_query(view.index.store, place, PairConfig(), most_pairs=7).pairs == whole.pairs[:7]
    assert read_query(view.index.store, place, PairConfig(), most_pairs=7).left_out == whole.left_out
    found = shown(view, "query", {})
    assert len(found.tables[-1]) == 1 + MOST_PAIRS
    assert f"the first pairs: {MOST_PAIRS} / {whole.pairs_in_all}" in "".join(found.text)


def test_a_query_with_many_responses_is_read_page_by_page(tmp_path: Path) -> None:
    number = 2 * MOST_RESPONSES + 30
    many = [answered(f"m{at:03d}", at % 10 + 1, text=f"text {at}") for at in range(number)]
    view = of_rows([a_query("one", *many)], tmp_path)
    address, seen = {"file": "0", "row": "0"}, []
    for _ in range(3):
        found = shown(view, "query", address)
        ids = [attrs["id"] or "" for tag, attrs in found.tags if (attrs.get("id") or "").startswith("response-")]
        seen += ids
        said = f"responses {ids[0].partition('-')[2]} – {ids[-1].partition('-')[2]} / {number}"
        assert said in "".join(found.text)
        links = [attrs["href"] or "" for tag, attrs in found.tags if "from=" in (attrs.get("href") or "")]
        address = dict(parse_qsl(links[-1].partition("?")[2]))
    assert seen == [f"response-{at + 1}" for at in range(number)]
    assert address["from"] == str(MOST_RESPONSES + 1)
    for value in ("x", "0", "-5", "99999"):
        assert shown(view, "query", {"from": value}).tags
    html, _ = report_page(view, sample=1)
    assert f"40 / {number}" in html
    assert html.count("<article") == 40


def test_one_query_that_is_too_large_takes_no_other_from_a_report(tmp_path: Path) -> None:
    rows = [a_query(str(at), answered("m", 1), answered("n", 9)) for at in range(6)]
    rows.append(a_query("large", answered("m", 1, text="长" * (MOST_BYTES // 3)), answered("n", 9)))
    html, number = report_page(of_rows(rows, tmp_path), sample=7)
    assert 4 <= number < 7
    assert "m 1" in html


def test_an_index_that_cannot_be_kept_is_shown_all_the_same(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    found = load_index(index.store, tmp_path / "file" / "cache")
    assert found.statistics == index.statistics
    assert "the index is not kept" in caplog.text
    caplog.clear()
    keep = index_module.atomic_directory

    def slower(target: Path) -> AbstractContextManager[Path]:
        with keep(target) as root:  # another view's
            pq.write_table(index.queries, root / "queries.parquet")
            told = {"statistics": {}, "sweep": {}, "matrices": index.matrices.to_dict(), "plots": {}}
            told |= {"apart": index.apart.to_dict(), "captions": {}}
            (root / "counts.json").write_text(json.dumps(told), encoding="utf-8")
        raise UsageError(f"{target} is there")

    monkeypatch.setattr(index_module, "atomic_directory", slower)
    assert load_index(index.store, tmp_path / "cache").statistics == index.statistics
    assert not caplog.text


def test_findings_of_another_store_are_refused(index: Index, tmp_path: Path) -> None:
    other = check(Store.open(make_store(tmp_path / "store", make_rows({"chat": 40})))).findings
    own = check(index.store).findings
    check_findings(own, index.queries, Path("report"))
    check_findings(None, index.queries, Path("report"))
    with pytest.raises(DataError, match=r"'chat-00(2[1-9]|3.)'\. It is the report of another store"):
        check_findings(other, index.queries, Path("report"))
