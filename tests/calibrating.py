"""Calibration files for tests: what is in them, as JSON has it, and the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from strategies import JUDGES

from coig_p.pairs.calibration import Calibration


def calibration(judges: dict[str, tuple[float, float]], reference: tuple[float, float] = (0.0, 1.0)) -> dict[str, Any]:
    """The content of a file: offset and scale of each judge, and of what they are brought to."""
    return {
        "format": "coig_p.calibration",
        "version": 1,
        "method": "joint",
        "range": [1, 10],
        "judges": {
            name: {"offset": offset, "scale": scale, "responses": 7} for name, (offset, scale) in judges.items()
        },
        "reference": {"offset": reference[0], "scale": reference[1]},
        "store": {"name": "store"},
        "options": {},
        "tool": "test",
    }


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def as_config(content: dict[str, Any]) -> Calibration:
    """The same without a file, for tests of many examples."""
    scales = {name: [one["offset"], one["scale"], one["responses"]] for name, one in content["judges"].items()}
    reference = content["reference"]
    return Calibration.of(
        {"sha256": "a" * 64, "judges": scales, "reference": [reference["offset"], reference["scale"]]}
    )


def calibrations() -> st.SearchStrategy[dict[str, Any]]:
    """Files for every judge of `strategies.raw_rows`, many of whole numbers, so that margins meet thresholds."""
    offset = st.sampled_from([0.0, 1.0, -2.0, 0.5, 5.00005]) | st.floats(-20, 20)
    scale = st.sampled_from([1.0, 2.0, 0.5, 3.0]) | st.floats(0.01, 100)
    judges = st.fixed_dictionaries({judge: st.tuples(offset, scale) for judge in JUDGES})
    return st.builds(calibration, judges, st.tuples(offset, scale))


def later_options() -> st.SearchStrategy[dict[str, Any]]:
    """min_judges, same_judges, both_orders and comparison_threshold, each often without effect."""
    return st.fixed_dictionaries(
        {
            "min_judges": st.sampled_from([1, 1, 2, 2, 3]),
            "same_judges": st.booleans(),
            "both_orders": st.sampled_from([None, False, True]),
            "comparison_threshold": st.sampled_from([None, 0, 0.5, 1]),
        }
    )
