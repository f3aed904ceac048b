"""Two edits of one text: what each changed is there, or it is a conflict."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.publish.merging import ConflictError, difference, merge

lines = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "d\r\n", "e\u2028"]), max_size=8).map("".join)


@given(lines, lines)
def test_one_edit_is_taken_as_it_is(base: str, other: str) -> None:
    assert merge(base, other, base) == merge(base, base, other) == merge(base, other, other) == other


@given(lines, lines, lines)
def test_it_does_not_matter_who_is_who(base: str, ours: str, theirs: str) -> None:
    try:
        merged = merge(base, ours, theirs)
    except ConflictError:
        with pytest.raises(ConflictError):
            merge(base, theirs, ours)
    else:
        assert merged == merge(base, theirs, ours)


@given(st.sets(st.integers(0, 29)), st.sets(st.integers(0, 29)))
def test_edits_that_do_not_touch_are_both_there(ours: set[int], theirs: set[int]) -> None:
    """Lines that are all different, so that what was changed is plain: a slow, obvious merge."""
    base = [f"line {nth}\n" for nth in range(30)]
    mine = [f"ours {nth}\n" if nth in ours else line for nth, line in enumerate(base)]
    yours = [f"theirs {nth}\n" if nth in theirs else line for nth, line in enumerate(base)]
    changed = sorted([(nth, "ours") for nth in ours] + [(nth, "theirs") for nth in theirs])
    touching = any(one[1] != two[1] and two[0] - one[0] <= 1 for one, two in pairwise(changed))
    if touching:
        with pytest.raises(ConflictError):
            merge("".join(base), "".join(mine), "".join(yours))
        return
    wanted = [yours[nth] if nth in theirs else mine[nth] for nth in range(30)]
    assert merge("".join(base), "".join(mine), "".join(yours)) == "".join(wanted)


def test_a_difference_is_cut() -> None:
    shown = difference("", "\n".join(map(str, range(100))), "README.md").splitlines()
    assert len(shown) == 41
    assert shown[-1].startswith("... and ")
