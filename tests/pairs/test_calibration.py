"""Calibration files: what is read, what is refused and how, and what does not hang on where they lie."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibrating import calibration, written
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.pairs.calibration import Calibration, JudgeScale, read_calibration, write_calibration
from coig_p.pairs.config import PairConfig

GOOD = calibration({"甲": (4.5, 1.25), "judge b": (7, 2)}, (5.5, 1.5))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "file.json", GOOD)
    found = read_calibration(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.judges == {"甲": JudgeScale(4.5, 1.25, 7), "judge b": JudgeScale(7, 2, 7)}
    assert (found.method, found.reference, found.score_range) == ("joint", JudgeScale(5.5, 1.5), (1, 10))
    assert read_calibration(written(path, GOOD | {"range": None, "method": "zscore"})).score_range is None


def changed(**changes: Any) -> dict[str, Any]:
    return GOOD | changes


def of_judge(**changes: Any) -> dict[str, Any]:
    return changed(judges={"甲": {"offset": 1, "scale": 1, "responses": 3} | changes})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], r"it is \[\]; use a JSON object"),
        (None, "it is null; use a JSON object"),
        ({}, "format is missing; use 'coig_p.calibration'"),
        (changed(format="coig_p.review"), 'format is "coig_p.review"; use'),
        (changed(version=None), "version is missing; use 1"),
        (changed(version="1"), 'version is "1"; use 1'),
        (changed(version=0), "version is 0; use 1"),
        (changed(version=True), "version is true; use 1"),
        (changed(version=2), "version 2; this coig-p reads up to 1: pip install -U coig-p"),
        (changed(method="mean"), 'method is "mean"; use joint or zscore'),
        (changed(method=["joint"]), r'method is \["joint"\]; use'),
        (changed(range=[10, 1]), r"range is \[10, 1\]; use a lower and a higher number, or null"),
        (changed(range=[1]), r"range is \[1\]; use"),
        (changed(range="1-10"), 'range is "1-10"; use'),
        (changed(judges={}), "judges is {}; use an object with an entry for each judge"),
        (changed(judges=[1]), r"judges is \[1\]; use"),
        (changed(judges={" ": {}}), "judges is .*not blank"),
        (changed(judges={"甲": 3}), r'judges\["甲"\] is 3; use an object with offset and scale'),
        (of_judge(offset=None), r'judges\["甲"\]\.offset is missing; use a finite number'),
        (of_judge(offset="3"), r'judges\["甲"\]\.offset is "3"; use a finite number'),
        (of_judge(offset=True), r'judges\["甲"\]\.offset is true; use'),
        (of_judge(scale=0), r'judges\["甲"\]\.scale is 0; use a finite number above 0'),
        (of_judge(scale=-1.5), r'judges\["甲"\]\.scale is -1\.5; use'),
        (of_judge(offset=1e308), r'judges\["甲"\]\.offset is 1e\+308; use a finite number from -1e\+09 to 1e\+09'),
        (of_judge(offset=-1.1e9), r'judges\["甲"\]\.offset is -1100000000\.0; use'),
        (of_judge(scale=1e-300), r'judges\["甲"\]\.scale is 1e-300; use a finite number above 0, from 1e-06 to'),
        (of_judge(scale=1e10), r'judges\["甲"\]\.scale is 10000000000\.0; use'),
        (changed(reference={"offset": 1e10, "scale": 1}), r"reference\.offset is 10000000000\.0; use"),
        (changed(reference={"offset": 1, "scale": 1e-7}), r"reference\.scale is 1e-07; use"),
        (changed(extra=1), '"extra" is no key of a calibration file; it has format, version,'),
        (of_judge(ofset=1), r'judges\["甲"\]\."ofset" is no key of a calibration file; it has offset, scale'),
        (of_judge(responses=None), r'judges\["甲"\]\.responses is missing; use a whole number of 0 or more'),
        (of_judge(responses=2.5), r'judges\["甲"\]\.responses is 2\.5; use'),
        (of_judge(responses=-1), r'judges\["甲"\]\.responses is -1; use'),
        (changed(reference=None), "reference is missing; use an object"),
        (changed(reference={"offset": 1}), r"reference\.scale is missing; use"),
        (changed(judges={"x" * 500: 3}), r'judges\["x{79}\.\.\.\] is 3'),
    ],
)
def test_what_is_wrong_is_named_with_its_value(content: Any, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "file.json", content)
    with pytest.raises(DataError, match=rf"file\.json: {said}") as caught:
        PairConfig(calibrate=path)  # type: ignore[arg-type]
    assert str(caught.value).count("\n") == 0
    assert "coigp judges STORE --calibrate FILE" in str(caught.value) or "pip install" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "which is JSON: Expecting value"),
        (b"{", "which is JSON"),
        (b'{"format": "coig_p.calibration", "format": "x"}', "the key 'format' stands twice"),
        (b'{"x": NaN}', "NaN is no number of JSON"),
        (b'{"x": 1e999}', "too large"),
        (b'{"x": "\\ud800"}', "surrogates not allowed"),
        (b"\xff\xfe", "can't decode byte"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"x": ' * 70 + b"1" + b"}" * 70, "nested too deep"),
        (json.dumps(GOOD).encode()[:-20], "which is JSON"),
    ],
)
def test_what_is_no_json_is_one_error(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_calibration(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_what_is_no_file_is_one_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("none", "No such file"), (".", "directory"), ("pipe", "a pipe or a device")):
        with pytest.raises(DataError, match=f"the calibration file cannot be read: .*{said}"):
            read_calibration(tmp_path / name)


@examples(200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "offset", "scale", "responses"]), inner)
        ),
    ),
    st.sampled_from([*GOOD]),
)
def test_a_file_with_anything_in_it_is_read_or_one_error(value: Any, field: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "file.json", GOOD | {field: value})
        try:
            found = read_calibration(path)
        except DataError as error:
            said = str(error)
        else:
            said = f"{path}: {min(one.scale for one in found.judges.values())}"
            assert min(one.scale for one in found.judges.values()) > 0
        assert said.startswith(f"{path}: ")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "method": "zscore",
        "judges": {"b": JudgeScale(0.1 + 0.2, 1 / 3, 12), "a": JudgeScale(np.float64(2), np.float64(1.5), 3)},
        "reference": JudgeScale(5, 2),
        "score_range": (1, 10),
        "store": {"manifest_sha256": "0" * 64, "name": "store"},
        "options": {"aggregation": "mean"},
    }
    found = write_calibration(tmp_path / "file.json", **values)
    assert found == read_calibration(tmp_path / "file.json")
    assert found.name == str(tmp_path / "file.json")
    assert found.judges == {"a": JudgeScale(2, 1.5, 3), "b": JudgeScale(0.1 + 0.2, 1 / 3, 12)}
    assert found.reference == JudgeScale(5, 2)
    again = write_calibration(tmp_path / "again.json", **values | {"judges": dict(reversed(values["judges"].items()))})
    assert again == found
    content = json.loads((tmp_path / "file.json").read_text("utf-8"))
    assert content["store"] == values["store"]
    assert content["judges"]["a"] == {"offset": 2.0, "scale": 1.5, "responses": 3}
    bads: list[dict[str, Any]] = [
        {"reference": JudgeScale(5, 0)},
        {"method": "x"},
        {"judges": {}},
        {"judges": {"a": JudgeScale(float("nan"), 1)}},
    ]
    for bad in bads:
        with pytest.raises(CoigPError):
            write_calibration(tmp_path / "bad.json", **values | bad)
        assert not (tmp_path / "bad.json").exists()


def test_where_a_file_lies_changes_nothing(tmp_path: Path) -> None:
    one, other = written(tmp_path / "one.json", GOOD), written(tmp_path / "other.json", GOOD)
    configs = [PairConfig(threshold=2, calibrate=path) for path in (one, str(other), np.str_(one), np.array(str(one)))]  # type: ignore[arg-type]
    assert len(set(configs)) == 1
    assert len({repr(config) for config in configs}) == 1
    assert "one.json" not in repr(configs[0])
    changed = written(tmp_path / "one.json", GOOD | {"options": {"x": 1}})
    assert PairConfig(threshold=2, calibrate=changed) != configs[0]  # type: ignore[arg-type]


def test_the_content_goes_with_the_config(tmp_path: Path) -> None:
    path = written(tmp_path / "file.json", GOOD)
    config = PairConfig(threshold=2, calibrate=path)  # type: ignore[arg-type]
    path.unlink()
    for found in (pickle.loads(pickle.dumps(config)), replace(config, threshold=3)):
        assert found.calibrate is not None
        assert found.calibrate.judges == read_calibration(written(path, GOOD)).judges
    path.unlink()
    assert config.calibrate is not None
    with pytest.raises(DataError, match="cannot be read"):
        config.calibrate.content()
    written(path, GOOD | {"tool": "another"})
    with pytest.raises(DataError, match="not the calibration file that was read"):
        config.calibrate.content()


def test_a_record_says_what_the_file_says(tmp_path: Path) -> None:
    found = read_calibration(written(tmp_path / "file.json", GOOD))
    again = Calibration.of(json.loads(json.dumps(found.record())))
    assert (again, again.judges, again.reference) == (found, found.judges, found.reference)
    known_by_name = Calibration.of(found.to_dict())
    assert known_by_name == found
    with pytest.raises(UsageError, match=f"file with sha256 {found.sha256} is not at hand"):
        known_by_name.check_judges(["甲"])
    for damage in ({"judges": [1]}, {"judges": {"a": [1]}}, {"reference": [0, 0]}, {"judges": {"a": ["x", 1, 2]}}):
        with pytest.raises(UsageError, match="damaged"):
            Calibration.of(found.record() | damage)


def test_the_largest_margin_is_that_of_the_ends_of_the_range() -> None:
    from calibrating import as_config

    file = as_config(calibration({"a": (5, 1), "b": (5, 2)}, (5, 1)))
    assert file.largest_margin((1, 10)) == 9
    assert file.largest_margin((1, 10), ["b"]) == 4.5
    assert as_config(calibration({"a": (2, 1), "b": (7, 1)}, (5, 1))).largest_margin((1, 10)) == 14


def test_every_file_that_is_read_gives_a_largest_margin_on_the_grid() -> None:
    """The widest that is allowed: no number is too large to be told."""
    from calibrating import as_config

    from coig_p.schema import to_grid

    for offset, scale in ((1e9, 1e-6), (-1e9, 1e9)):
        file = as_config(calibration({"a": (offset, scale), "b": (-offset, scale)}, (1e9, 1e9)))
        assert to_grid(file.largest_margin((1, 10))) > 0


def test_a_mark_at_the_beginning_is_no_part_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    found = read_calibration(path)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.content() == path.read_bytes()
    assert found.judges == read_calibration(written(tmp_path / "plain.json", GOOD)).judges


def test_the_range_of_another_store_is_an_error_and_another_manifest_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from make import completed, make_store
    from planted import Judges, rows_of, scores_of

    from coig_p.pairs.reach import check_reachable
    from coig_p.stats.sweep import sweep
    from coig_p.store.store import Store

    judges = Judges()
    rows = completed(rows_of(np.round(scores_of(judges, 20, 3, 0), 1), True, judges.names))
    store = make_store(tmp_path / "store", rows)
    manifest = Store.open(store).manifest
    scales: dict[str, Any] = {"method": "joint", "judges": dict.fromkeys(judges.names, JudgeScale(5, 1, 20))}
    scales["reference"] = JudgeScale(5, 1)
    own = hashlib.sha256((store / "manifest.json").read_bytes()).hexdigest()
    assert manifest.sha256 == own
    wide = write_calibration(tmp_path / "wide.json", **scales, score_range=(0, 100))
    with pytest.raises(
        UsageError, match=r"wide\.json: it was fitted on scores from 0 to 100, and this store's are from 1 to"
    ):
        check_reachable(PairConfig(threshold=2, calibrate=wide), manifest)
    for at, (told, warned) in enumerate([({}, 0), ({"manifest_sha256": own}, 0), ({"manifest_sha256": "1" * 64}, 1)]):
        file = write_calibration(tmp_path / f"{at}.json", **scales, score_range=manifest.score_range, store=told)
        for steps in ([], [1.0, 2.0], None):
            caplog.clear()
            if steps != []:
                sweep(store, PairConfig(calibrate=file), thresholds=steps)
            else:
                check_reachable(PairConfig(threshold=2, calibrate=file), manifest)
            said = [one.getMessage() for one in caplog.records]
            assert len(said) == warned, said
            assert all(f"{at}.json: it was fitted on another store, or on this one before" in one for one in said)
        # What a record says holds wherever it is read.
        caplog.clear()
        check_reachable(PairConfig(threshold=2, calibrate=Calibration.of(file.record())), manifest)
        assert not caplog.records
