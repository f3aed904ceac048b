"""In which languages and characters a store's queries and responses are written, as `coigp check` tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from coig_p.store.store import Store
from coig_p.validation.checks.letters import HAN, KANA
from coig_p.validation.checks.script import languages, some_traditional, traditional
from coig_p.validation.checks.texts import Texts
from coig_p.validation.gate import CHECKED, TEXTS_OF
from coig_p.validation.rules import RULES

TRADITIONAL, SOME_TRADITIONAL = "script-traditional", "script-some-traditional"


@dataclass(frozen=True)
class Scripts:
    """Texts with Chinese characters, Japanese ones left out, by their script.

    Attributes:
        traditional: as the rule script-traditional finds them.
        some_traditional: as script-some-traditional does.
        simplified: the others: in simplified characters, or in those that both scripts share.
    """

    traditional: int = 0
    some_traditional: int = 0
    simplified: int = 0


@dataclass
class Written:
    """Counts of a part of a store: an accumulator.

    Attributes:
        queries, responses: by language, two letters, "und" where nobody can tell. Of a conversation the last turn of a
            user is the query.
        scripts: of queries and responses together, by name.
    """

    queries: Counter[str] = field(default_factory=Counter)
    responses: Counter[str] = field(default_factory=Counter)
    scripts: Counter[str] = field(default_factory=Counter)

    def add(self, texts: Texts, shares: Mapping[str, float]) -> None:
        """Count some queries and their responses.

        Args:
            shares: of either rule of scripts, its option.
        """
        found = languages(texts)
        self.queries.update(found[texts.asked].tolist())
        self.responses.update(found[texts.is_response].tolist())
        counted = texts.is_response.copy()
        counted[texts.asked] = True
        most, some = (np.zeros(len(texts), bool) for _ in range(2))
        most[traditional(texts, shares[TRADITIONAL]).text] = True
        some[some_traditional(texts, shares[SOME_TRADITIONAL]).text] = True
        plain = (texts.count(HAN) > 0) & (texts.count(KANA) == 0) & ~most & ~some
        for name, mask in (("traditional", most), ("some_traditional", some), ("simplified", plain)):
            self.scripts[name] += int((mask & counted).sum())

    def merge(self, other: Written) -> None:
        """Take in what was counted elsewhere."""
        for name in ("queries", "responses", "scripts"):
            getattr(self, name).update(getattr(other, name))

    def result(self) -> Scripts:
        """Texts by script."""
        return Scripts(**self.scripts)


def written_in(store: Store) -> Written:
    """Languages and scripts of a store.

    Raises:
        StoreError: a shard that cannot be read.
    """
    found = Written()
    shares = {name: float(RULES[name].options["share"]) for name in (TRADITIONAL, SOME_TRADITIONAL)}
    for batch in store.batches(schema=CHECKED):
        for begin in range(0, batch.num_rows, TEXTS_OF):
            found.add(Texts(batch.slice(begin, TEXTS_OF)), shares)
    return found
