"""Reasons of empty cells in Chinese: those that are made, with the names in them, and no word of English besides."""

from __future__ import annotations

import re
from pathlib import Path
from unittest import mock

import pytest
from compared import labelled, scored

from coig_p.errors import UsageError
from coig_p.evaluate.compare import CompareConfig, side_by_side
from coig_p.evaluate.compare.floor import NO_PAIR, split_of
from coig_p.evaluate.compare.measuring import NOTHING_HELD_OUT, ONE_LENGTH, UNDEFINED
from coig_p.evaluate.compare.reasons import reason
from coig_p.evaluate.compare.tables import sections
from coig_p.stats.interval_alpha import NO_TWO


def test_every_reason_of_ours_has_a_translation() -> None:
    for why in (NO_PAIR, NOTHING_HELD_OUT, ONE_LENGTH, UNDEFINED, NO_TWO, "all scores are equal"):
        assert reason(why, "en") == why
        assert not re.search("[a-z]", reason(why, "zh"))


def test_names_in_a_reason_stay() -> None:
    of_two = mock.Mock(**{"manifest.splits.return_value": ["dev", "extra"]})
    for named, left in ((None, ["dev,extra", "--split"]), ("test", ["dev,extra", "test"])):
        with pytest.raises(UsageError) as error:
            split_of(of_two, named)
        for why in (str(error.value), f"a {{b}} has no floor: {error.value}"):
            said = reason(why, "zh")
            assert all(one in said for one in left)
            names = (*left, "a {b}")
            for one in names:
                said = said.replace(one, "")
            assert not re.search("[a-z]", said)
    assert reason("query_id 'q': a response is null", "zh") == "query_id 'q': a response is null"


def test_the_table_of_a_comparison_gives_them(tmp_path: Path) -> None:
    found = side_by_side([scored(tmp_path / "a", queries=8), labelled(tmp_path / "k")], CompareConfig(max_responses=60))
    (english,), (chinese,) = (
        [part.rows for part in sections(found, language) if part.rows and part.header[-1] in ("why", "原因")]
        for language in ("en", "zh")
    )
    assert len(english) == len(chinese) > 3
    for row in chinese:
        assert not re.search("[a-z]{3}", row[-1])
