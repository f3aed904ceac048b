"""What the tests of the browser share: addresses, hostile texts, small queries, and a server."""

from __future__ import annotations

import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import uvicorn
from make import Rows, completed, make_store

from coig_p.report.view.app import make_app
from coig_p.report.view.index import load_index
from coig_p.report.view.pages import View
from coig_p.store.store import Store
from coig_p.validation.findings import FINDINGS

PATHS = ("", "queries", "query", "judges", "apart", "models", "compare")


ADDRESSES = {
    "queries": {"sort": "disagreement", "margin": "1"},
    "query": {"file": "0", "row": "1", "first": "0", "second": "1"},
    "compare": {"a_threshold": "1", "b_threshold": "3", "b_strategy": "adjacent"},
}


HOSTILE = (
    "<script>window.broken=1</script>",
    '"><img src=x onerror="window.broken=1">',
    "'><svg onload=window.broken=1>",
    "</textarea></style></title>{{ 7*7 }}{% raw %}",
    "![x](javascript:alert(1)) [y](https://example.invalid/z)",
    "\u202eRTL\u2066 \x1b[31mred\x07 \u0000",
)


def of_rows(rows: Rows, folder: Path) -> View:
    return View(load_index(Store.open(make_store(folder / "store", completed(rows))), folder / "cache"))


def a_query(query_id: str, *responses: dict[str, Any]) -> dict[str, Any]:
    row = {"query_id": query_id, "domain": "math", "query": f"问{query_id}", "source": None, "comparisons": None}
    return row | {"responses": list(responses)}


def answered(model: str, score: float | None, judge: str = "j", text: str | None = None) -> dict[str, Any]:
    scores = [] if score is None else [{"judge": judge, "dimension": "overall", "score": score}]
    return {"model": model, "text": text or f"{model} {score}", "scores": scores}


@contextmanager
def served(view: View) -> Iterator[str]:
    made = make_app(view, "a-token")
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    server = uvicorn.Server(uvicorn.Config(made, log_level="error", log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def fetched(url: str, host: str | None = None) -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(url, headers={} if host is None else {"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, dict(answer.headers.items()), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers.items()), error.read().decode()


def hostile_view(folder: Path) -> View:
    """A store whose every text and name is hostile."""
    rows: Rows = []
    for at, text in enumerate(HOSTILE):
        rows.append(
            {
                "query_id": f"q{at} {text}",
                "domain": "math",
                "query": text,
                "source": text,
                "meta": None,
                "responses": [
                    {
                        "model": f"{name} {text}\n第二行",
                        "text": text * times,
                        "scores": [{"judge": f"j {text}", "dimension": text, "score": score, "rationale": text}],
                    }
                    for name, times, score in (("a", 1, 9.0), ("b", 20_000, 2.0))
                ],
                "comparisons": [
                    {
                        "first": 0,
                        "second": 1,
                        "judge": text,
                        "dimension": "overall",
                        "first_score": 1.0,
                        "second_score": 0.0,
                        "rationale": text,
                    }
                ],
            }
        )
    rows.append(
        {
            "query_id": "turns", "domain": "math", "query": "user: x", "responses": rows[0]["responses"],
            "messages": [{"role": HOSTILE[0], "content": HOSTILE[1], "extra": '{"name": "<script>"}'}],
        }
    )  # fmt: skip
    store = Store.open(make_store(folder / "<b>store", completed(rows)))
    findings = pa.Table.from_pylist(
        [
            {"rule": "html", "severity": "error", "domain": "math", "query_id": row["query_id"], "field": "query",
             "offset": 1, "excerpt": text}
            for row, text in zip(rows, HOSTILE, strict=False)
        ],
        schema=FINDINGS,
    )  # fmt: skip
    return View(load_index(store, folder / "cache"), findings)
