"""A run while it works: views of it, how far judges agree, and how a terminal or a log shows that."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
from annotating import pool, write_run
from commands import run
from faulty_server import serve
from hypothesis import given
from hypothesis import strategies as st
from turning import Turned

pytest.importorskip("aiohttp", reason="annotation needs the extra [annotate]")

from coig_p.annotate.asking.asker import Seen
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.watching import Agreement, EndpointView, View
from coig_p.cli.annotate import live

SCORES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from([1.0, 3.0, 6.5, 7.0, 7.5, 8.0, 10.0])), max_size=60
)


@given(SCORES, st.integers(1, 4))
def test_agreement_one_by_one_is_agreement_over_all(scores: list[tuple[int, int, float]], judges: int) -> None:
    found = Agreement(judges)
    by_response: dict[tuple[int, int], list[float]] = {}
    for query, author, score in scores:
        given = by_response.setdefault((query, author), [])
        if len(given) < judges:
            given.append(score)
            found.add(f"q-{query}", f"m-{author}", score)
    several = [given for given in by_response.values() if len(given) > 1]
    spreads = [max(abs(one - other) for one, other in combinations(given, 2)) for given in several]
    assert found.responses == len(several)
    assert found.close == sum(spread <= 1 for spread in spreads)
    assert found.spread == pytest.approx(sum(spreads))
    shares = found.to_dict()
    assert shares["close"] == (found.close / len(several) if several else None)


def view(minutes: float | None = 1.5, **settings: Any) -> View:
    one = Seen("m-0", 30, 4, 60.0, 2, 1, "throttled: 429: slow down", 2 * 10**11, None)
    other = Seen("m-1", 120, 4, None, 0, 0, None, 2 * 10**11, None)
    agreement = Agreement(2)
    for author, score in (("m-0", 8), ("m-0", 7.5), ("m-1", 9), ("m-1", 4)):
        agreement.add("q-1", author, score)
    endpoints = [EndpointView(one._replace(**settings), 120, minutes), EndpointView(other, 120, 0.0)]
    return View(60, endpoints, agreement, 4 * 10**11)


def drawn(shown: View, width: int = 160) -> str:
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(live.live_table(shown))
    return stream.getvalue()


def test_a_table_says_of_each_endpoint_how_it_does() -> None:
    text = drawn(view())
    assert "m-0 30/120 4 60 2 1 0.2000 2 min throttled: 429: slow down" in " ".join(text.split())
    assert "150 of 240 requests, cost 0.4000, 2 min left; judges within a point on 50% of 2 responses, 2.8 apart" in (
        " ".join(text.split())
    )
    assert "left: no money" in drawn(view(left="no money"))


def test_a_line_says_the_same() -> None:
    line = live.line(view())
    assert "\n" not in line
    assert "m-0 30/120, 4 in flight, 60 a minute, 2 invalid, 1 failed, cost 0.2000, 2 min left (throttled: 429" in line
    assert "m-1 120/120, 4 in flight, cost 0.2000, 0 s left" in line
    assert "time left unknown" in live.line(view(minutes=None))
    assert "time left unknown" not in live.line(view(minutes=None, left="no money")), "nobody waits for it"
    assert "no pace yet" in live.line(view(minutes=None))


@pytest.mark.parametrize("show", [live.line, drawn])
def test_what_servers_and_files_say_is_harmless(show: Callable[[View], str]) -> None:
    text = show(view(name="m\x1b[2J\u202e[red]", last="\x1b]0;x\x07[bold]wait\nhere", left=None))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    assert "[red]" in text, "no markup either"
    assert "[bold]wait\\nhere" in text


def test_a_line_a_minute_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(live, "say", said.append)
    with live.watched(False) as watch:
        assert watch is not None
        for second in range(1, 181):
            watch(view()._replace(seconds=second))
    assert len(said) == 3
    with live.watched(True) as watch:
        assert watch is None, "quiet with --json"


def test_a_terminal_shows_the_table_and_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import rich.console

    stream = io.StringIO()
    made = rich.console.Console

    def console(**_: Any) -> rich.console.Console:
        return made(file=stream, force_terminal=True, width=120)

    monkeypatch.setattr(rich.console, "Console", console)
    with live.watched(False) as watch:
        assert watch is not None
        watch(view())
    text = stream.getvalue()
    assert "m-0" in text
    assert "150 of 240 requests" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l"), "the cursor is back"
    assert live.bars == []


def test_a_run_is_watched_every_second_and_counts_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)
    views: list[View] = []
    with ScriptedServer(latency=0.02) as server:
        settings = {
            "requests_per_minute": 30,
            "concurrency": 2,
            "structured": "auto",
        }  # so that minutes pass, on a clock that is turned
        config = write_run(tmp_path, pool(server.base_url, 3, 3, **settings))
        run_stages(config, watch=views.append, loop_factory=clock.loop)
    assert [one.seconds for one in views] == list(range(1, len(views) + 1))
    last = views[-1]
    assert {one.seen.name for one in last.endpoints} == {"m-0", "m-1", "m-2"}
    for earlier, later in pairwise(views):
        before = {one.seen.name: one.seen.done for one in earlier.endpoints}
        assert all(one.seen.done >= before.get(one.seen.name, 0) for one in later.endpoints)
    assert all(one.planned == 1 + 12 + 24 for one in last.endpoints), "a third of 36 responses, two judges each"
    assert any(one.minutes for one in views[len(views) // 2].endpoints)
    assert last.agreement.responses > 0
    assert last.agreement.close <= last.agreement.responses


def test_where_nothing_is_answered_no_time_left_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)
    views: list[View] = []
    with serve({"500": 1.0}) as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        run_stages(config, ("generate",), watch=views.append, limit=1, loop_factory=clock.loop)
    again = [one for one in views if all(each.seen.done == each.planned for each in one.endpoints)]
    assert again, "all failed, and are asked once more for a while"
    assert all(each.seen.failed == each.seen.done for one in again for each in one.endpoints)
    assert all("time left unknown" in live.line(one) for one in views if one.endpoints)


def test_a_watcher_that_breaks_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Turned(monkeypatch)

    def broken(_: View) -> None:
        raise OSError("no terminal any more")

    with ScriptedServer(latency=0.02) as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3, requests_per_minute=30))
        report = run_stages(config, watch=broken, loop_factory=clock.loop)
    assert report.stored is not None
    assert report.stored.scores == 72


def test_json_is_quiet_on_standard_error(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = write_run(tmp_path, pool(server.base_url, 3, 3))
        assert run("annotate", "run", config.path, "--json").stderr == ""
