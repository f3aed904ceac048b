"""The browser's server: who is answered, what is told of a store that changed, and pages that are not there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import uvicorn
from make import Rows, make_rows, make_store
from viewed import PATHS, a_query, answered, fetched, hostile_view, of_rows, served

from coig_p.errors import UsageError
from coig_p.report.view import app
from coig_p.report.view.app import serve
from coig_p.report.view.index import Index, load_index
from coig_p.report.view.pages import View
from coig_p.report.view.words import LANGUAGES, words
from coig_p.store.store import Store


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


@pytest.fixture(scope="module")
def address(hostile: View) -> Iterator[str]:
    with served(hostile) as found:
        yield found


def test_a_store_that_changes_is_not_shown_by_the_index_of_the_old_one(tmp_path: Path) -> None:
    view = of_rows([a_query("one", answered("m", 1))], tmp_path)
    with served(view) as address:
        check_changes(view.index.store.path / "manifest.json", address + "/a-token/")


def check_changes(manifest: Path, address: str) -> None:
    assert fetched(f"{address}query")[0] == 200
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text + " ", encoding="utf-8")
    check_says("store-changed", address)
    manifest.unlink()
    check_says("store-gone", address)
    assert "manifest.json: No such file" in fetched(address)[2]
    manifest.write_text(text, encoding="utf-8")
    assert fetched(address)[0] == 200


def check_says(word: str, address: str) -> None:
    for path in PATHS:
        for language in LANGUAGES:
            status, _, html = fetched(f"{address}{path}?lang={language}")
            assert status == 500
            assert words(language)[word] in html


def test_a_shard_that_is_swapped_is_not_shown_as_what_stood_there(tmp_path: Path) -> None:
    view = of_rows([a_query(name, answered("m", 1)) for name in ("one", "two")], tmp_path)
    shard = view.index.store.path / view.index.store.data_files()[0].path
    table = pq.read_table(shard)
    with served(view) as address:
        assert "<h1>one" in fetched(f"{address}/a-token/query?row=0")[2].replace("<bdi>", "")
        shard.unlink()
        check_says("store-gone", f"{address}/a-token/")
        pq.write_table(table.take([1, 0]), shard)
        check_says("store-changed", f"{address}/a-token/")


def test_pages_come_with_a_strict_policy(address: str) -> None:
    for path in PATHS:
        status, headers, html = fetched(f"{address}/a-token/{path}")
        assert status == 200
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
        assert "unsafe" not in policy
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert 'src="/a-token/static/view.js"' in html
    for path in ("static/view.css", "static/view.js", "static/icon.svg", "plots/en/domains.svg", "plots/zh/yield.svg"):
        assert fetched(f"{address}/a-token/{path}")[0] == 200


def test_only_who_knows_the_address_and_names_this_machine_is_answered(address: str) -> None:
    for path in ("", "queries", "a-toke/", "static/view.css", "A-TOKEN/"):
        assert fetched(f"{address}/{path}")[0] == 404
    port = address.rpartition(":")[2]
    assert fetched(f"{address}/a-token/", host=f"localhost:{port}")[0] == 200
    assert fetched(f"{address}/a-token/", host="127.0.0.1")[0] == 200  # as browsers name port 80
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", ""):
        assert fetched(f"{address}/a-token/", host=host)[0] in (400, 403)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nope", 404), ("query?file=99&row=0", 404), ("query?file=x", 404), ("query?id=nobody", 404),
        ("query?threshold=x", 404), ("compare?a_judges=nobody", 404), ("static/app.py", 404), ("plots/en/x.svg", 404),
        ("plots/en/..%2f..%2fpyproject.toml", 404), ("queries?page=999999999999999999", 200),
    ],
)  # fmt: skip
def test_what_is_not_there_is_a_page_that_says_so(address: str, path: str, status: int) -> None:
    found, _, html = fetched(f"{address}/a-token/{path}")
    assert found == status
    assert "Traceback" not in html


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("file=99&row=0", "file=99: there is none. Use 0 to {last_file}, the shards"),
        ("file=-1", "file=-1: there is none. Use 0 to {last_file}, the shards"),
        ("row=-1", "row=-1: there is none. Use 0 to {last_row}, the rows of file=0"),
        ("file=0&row=99", "row=99: there is none. Use 0 to {last_row}, the rows of file=0"),
    ],
)
def test_a_place_that_no_query_has_is_told_in_the_numbers_of_the_address(asked: str, said: str, index: Index) -> None:
    files = index.store.data_files()
    with served(View(index)) as address:
        status, _, html = fetched(f"{address}/a-token/query?{asked}")
    assert status == 404
    assert said.format(last_file=len(files) - 1, last_row=(files[0].rows or 0) - 1) in html


def test_a_port_that_is_taken(hostile: View) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match="Choose another: --port"):
            serve(hostile, taken.getsockname()[1], lambda address: None)


def test_the_token_is_new_each_time(hostile: View, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Ended:
        def __init__(self, config: Any) -> None:
            pass

        def run(self, sockets: list[socket.socket]) -> None:
            pass

    monkeypatch.setattr(uvicorn, "Server", Ended)
    for _ in range(2):
        app.serve(hostile, 0, said.append)
    assert len({one.rsplit("/", 2)[1] for one in said}) == 2
    assert all(len(one.rsplit("/", 2)[1]) >= 20 for one in said)
