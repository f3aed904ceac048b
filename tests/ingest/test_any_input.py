"""Whatever a file says, an import ends in a store or in an error that we wrote, and adds up."""

from __future__ import annotations

import gzip
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import DataError
from coig_p.ingest.accounting import ImportFailed
from coig_p.ingest.fields import MAPPABLE, FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.forms import FORMS
from coig_p.ingest.intake import ImportConfig

LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["问", "答", "a", 5, 1])
)


KEY = st.sampled_from(
    [*MAPPABLE, "prompt", "instruction", "annotations", "Rating", "role", "content", "from", "value", "tool_calls"]
)


VALUE = st.recursive(
    LEAF, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEY, inner, max_size=5)), max_leaves=12
)


FUZZED_ROW = st.one_of(VALUE, st.dictionaries(KEY, VALUE, min_size=2, max_size=8))


@examples(500)  # 10,000 in the thorough profile
@given(
    rows=st.lists(FUZZED_ROW, max_size=4),
    damage=st.one_of(st.none(), st.tuples(st.integers(0, 500), st.binary(max_size=3))),
    form=st.sampled_from(["auto", *FORMS]),
    suffix=st.sampled_from([".jsonl", ".json", ".csv", ".tsv", ".jsonl.gz", ".parquet"]),
    on_error=st.sampled_from(["fail", "skip"]),
)
def test_no_input_breaks_the_import(
    rows: list[Any], damage: Any, form: str, suffix: str, on_error: str, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    path = folder / f"x{suffix}"
    content = json.dumps(rows).encode() if suffix == ".json" else b"\n".join(json.dumps(row).encode() for row in rows)
    if damage is not None:
        at = min(damage[0], len(content))
        content = content[:at] + damage[1] + content[at + len(damage[1]) :]
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    config = ImportConfig(domain="chat", on_error=on_error, form=FormConfig(form=form))
    try:
        store, report = import_files([path], folder / "store", config)
    except ImportFailed as failed:
        report = failed.report
        store = None
    except DataError:
        assert list(folder.iterdir()) == [path]
        return
    for unit, counts in report.accounting().items():
        assert counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"], unit
    if store is None:
        assert list(folder.iterdir()) == [path]
    else:
        assert store.verify() == []
