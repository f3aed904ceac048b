"""The ledger's file: totals that are kept, versions, and damage."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from annotating import pool, select, write_run

from coig_p.annotate.asking.ledger import Ledger
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages


def test_requests_are_counted_by_what_they_were_made_with(tmp_path: Path) -> None:
    """A prompt that changed: what was asked with the old one is still told apart from what was asked with the new."""
    (tmp_path / "code.md").write_text("问：{{query}}\n答：{{response}}\n总体评分：[8]", encoding="utf-8")
    with ScriptedServer() as server:
        endpoints = pool(server.base_url, 3, 3)
        config = write_run(tmp_path, endpoints, queries={"filter": "m-0"})
        run_stages(config)
        changed = write_run(tmp_path, endpoints, queries={"filter": "m-0"}, **{"domains.code": {"prompt": "code.md"}})
        run_stages(changed)
    with Ledger.open(config.folder) as ledger:
        found = ledger.recipes()
    assert sum(one.number for one in found) == select(config, "SELECT COUNT(*) FROM requests")[0][0]
    recipes: dict[str, set[str]] = {}
    for one in found:
        assert json.loads(one.recipe)["model"] == one.endpoint
        recipes.setdefault(f"{one.kind} {one.domain} {one.endpoint}", set()).add(one.recipe)
    told = Counter(len(recipes[f"judge {domain} m-1"]) for domain in ("chat", "code", "math"))
    assert told == {1: 2, 2: 1}
    for kind, domain, endpoint in (key.split() for key in recipes):
        assert changed.recipes[kind, domain, endpoint] in recipes[f"{kind} {domain} {endpoint}"]
    old = [one for one in found if one.recipe not in changed.recipes.values()]
    assert {(one.kind, one.domain) for one in old} == {("judge", "code")}
    assert sum(one.number for one in old) == 2 * 3 * 2
