"""The tables of `coigp judges` for the judges' page: counted when the page is first asked for, where that is quick."""

from __future__ import annotations

from functools import lru_cache

from coig_p.report.judges_report import Section, sections
from coig_p.stats.examined import JudgesExamined, examine_judges
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

MOST_RESPONSES = 60_000  # of a store whose judges are examined while somebody waits: some seconds


def judges_tables(store: Store, language: str) -> list[Section] | None:
    """As `coigp judges` shows them; None of a larger store, for which there is the command."""
    if sum(store.manifest.models.values()) > MOST_RESPONSES:
        return None
    found = _examined(str(store.path), sha256_of(store.path / MANIFEST))
    return sections(found, language)


@lru_cache(maxsize=4)
def _examined(path: str, _manifest: str) -> JudgesExamined:
    return examine_judges(Store.open(path))
