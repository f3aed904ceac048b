"""What the published code reads in a judgement, fault by fault, so that its numbers can be had beside ours.

AlignBench's `judge.py` takes the last {…} of one line, and of it 'name': n with single quotes, one space and digits of
any number; else 'name': n anywhere, also a fraction. All else is -1, which enters the mean. So another quote, another
space or full-width punctuation is -1, and 70 is 70. FastChat's, which MT-Bench-zh uses, takes the first [[n]], else the
first [n]; all else is -1, and is left out.
"""

from __future__ import annotations

import re

from coig_p.evaluate.align.kinds import OVERALL

_LAST = re.compile(r"{(.*?)}(?![^{]*{)")
_PAIR = re.compile(r"'(.*?)': (\d+)")
_DOUBLE, _SINGLE = re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]")


def official_score(text: str, overall: str = OVERALL) -> float:
    """The overall as AlignBench's own code has it; -1 where it finds none.

    Args:
        overall: how the judge was told to name it.
    """
    found = _LAST.search(text)
    told = {name: int(digits) for name, digits in _PAIR.findall(found[1])} if found else {}
    if overall in told:
        return float(told[overall])
    anywhere = re.search(rf"'{re.escape(overall)}': (\d+(\.\d{{1,2}})?)", text)
    return float(anywhere[1]) if anywhere else -1.0


def official_rating(text: str) -> float:
    """A turn's rating as FastChat's own code has it; -1 where it finds none."""
    found = _DOUBLE.search(text) or _SINGLE.search(text)
    return float(found[1]) if found else -1.0
