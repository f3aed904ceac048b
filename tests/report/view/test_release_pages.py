"""The pages of a release: its numbers, queries of which no rule has anything to tell, and the same bytes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from harmless import Read, check_harmless
from make import Rows, make_store, twin

from coig_p.pairs.config import PairConfig
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card_toml import CARD_TOML
from coig_p.report.view.one_file import MOST_BYTES, PAGES
from coig_p.report.view.words import words
from coig_p.stats.counts import statistics
from coig_p.stats.sweep import sweep
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store
from coig_p.validation.gate import check

CARD = (BUNDLED.parent / CARD_TOML).read_text("utf-8")


def released(folder: Path, rows: Rows, version: str = "1.0.0", card: str = CARD, threshold: float = 2) -> Store:
    store = make_store(folder / "store", rows)
    (store / CARD_TOML).write_text(card, encoding="utf-8")
    return write_release(Store.open(store), folder / "release", ReleaseConfig(version, PairConfig(threshold=threshold)))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return released(tmp_path_factory.mktemp("pages"), twin(), threshold=3)


@pytest.mark.parametrize("language", PAGES)
def test_every_number_is_the_releases(language: str, release: Store) -> None:
    html = (release.path / PAGES[language]).read_text("utf-8")
    assert len(html.encode()) < MOST_BYTES
    found, config = Read(html), PairConfig(threshold=3)
    counted, swept, w = statistics(release, config), sweep(release, config), words(language)
    domains, thresholds, findings, models, judges, *_ = found.tables
    kinds = ("queries", "responses", "scores", "comparisons", "pairs", "queries_with_pairs")
    every = {**counted.domains, w["all"]: counted.total}
    assert domains[1:] == [[name, *(f"{getattr(one, kind):,}" for kind in kinds)] for name, one in every.items()]
    assert [(row[0], row[1], row[2]) for row in thresholds[1:]] == [
        (f"{one.threshold:g}", f"{one.pairs:,}", f"{one.queries:,}") for one in swept.thresholds
    ]
    by_rule = {id: number for id, number in check(release).by_rule().items() if number}
    assert {row[0]: row[2] for row in findings[1:]} == {id: f"{number:,}" for id, number in by_rule.items()}
    rates = {name: one.win_rate.share for name, one in counted.total.models.items()}
    assert {row[0]: row[2] for row in models[1:]} == {
        name: "–" if share is None else f"{share:.1%}" for name, share in rates.items()
    }
    assert {row[0]: row[1] for row in judges[1:]} == {
        name: f"{one.scores:,}" for name, one in counted.total.judges.items()
    }
    assert f"{w['sample']}: " in "".join(found.text)
    assert {file.path for file in release.manifest.files if file.role == "page"} == {*PAGES.values()}


def test_a_card_alone_leaves_the_pages_as_they_are(release: Store, tmp_path: Path) -> None:
    card = CARD.replace('version = "1.0.0"', 'version = "1.0.1"').replace('pretty_name = "', 'pretty_name = "Other ')
    assert card.count("Other ") == 1
    other = released(tmp_path, twin(), "1.0.1", card, threshold=3)
    for name in PAGES.values():
        assert (other.path / name).read_bytes() == (release.path / name).read_bytes()


def test_what_a_rule_found_is_counted_and_not_shown(tmp_path: Path) -> None:
    rows = copy.deepcopy(twin())
    for row in rows[::2]:
        row["responses"][0]["text"] += "请写信到 someone@example.com。"
    (path,) = [released(tmp_path, rows).path / PAGES["en"]]
    html = path.read_text("utf-8")
    assert "someone@" not in html
    assert "email" in html
    shown = [row["query_id"] for row in rows if f"<bdi>{row['query_id']}</bdi>" in html]
    assert shown
    assert not {row["query_id"] for row in rows[::2]} & {*shown}


def test_hostile_texts_are_texts(tmp_path: Path) -> None:
    rows = copy.deepcopy(twin())
    for row in rows:
        row["source"] = "<script>alert(0)</script>"
        for at, response in enumerate(row["responses"]):
            response["model"] = f"</title></style><img src=x onerror=alert(1)>\u202e{at} {response['model']}"
            response["text"] += "\x1b[31m<svg onload=alert(2)>"
            for score in response["scores"]:
                score["judge"] += "\"'><script>alert(3)</script>\n"
    rules = {"control-character": "off"}
    store = make_store(tmp_path / "store", rows)
    (store / CARD_TOML).write_text(CARD, encoding="utf-8")
    kept = {id: rule for id, rule in check(store).rules.items() if rule.severity == "metric" and id not in rules}
    made = write_release(Store.open(store), tmp_path / "release", ReleaseConfig("1.0.0", rules=kept))
    for name in PAGES.values():
        found = check_harmless((made.path / name).read_text("utf-8"))
        assert "script" not in {tag for tag, _ in found.tags}
        assert "onerror=alert(1)" in "".join(found.text)
