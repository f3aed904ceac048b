"""Whether this datasets and this Arrow treat a view as they do a table: tried once a process, on three rows."""

from __future__ import annotations

import logging
import pickle
import tempfile
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc

_logger = logging.getLogger("coig_p")


@cache
def works() -> bool:
    """Whether views give the right rows here. Where they do not, one line is logged."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            _try(Path(folder))
    except Exception as error:  # whatever a version that is not known yet may raise
        import datasets

        _logger.warning(
            "lazy=True copies here: datasets %s with pyarrow %s does not treat views as tables (%s: %s)",
            datasets.__version__, pa.__version__, type(error).__name__, error,
        )  # fmt: skip
        return False
    return True


def _try(folder: Path) -> None:
    import datasets
    from datasets.table import MemoryMappedTable

    from coig_p.pairs.turns import Shape
    from coig_p.schema import PAIR_SCHEMAS, PAIRING_SCHEMA
    from coig_p.views.dataset import ViewDataset
    from coig_p.views.decoding import shown_columns
    from coig_p.views.indexing import index_schema
    from coig_p.views.keeping import write_batches
    from coig_p.views.table import Recipe, ViewTable
    from coig_p.views.texts import Texts

    answers = [
        {"model": name, "sample": 0, "text": text, "scores": []} for name, text in (("a", "好"), ("b", "不好" * 9))
    ]
    rows = [{"query_id": str(at), "domain": "d", "query": f"问{at}", "responses": answers} for at in range(2)]
    batches = [pa.RecordBatch.from_pylist([row], schema=PAIRING_SCHEMA) for row in rows]
    texts = Texts([write_batches(folder / "texts", batches)])
    schema = PAIR_SCHEMAS["reward"]
    index = pa.table(
        {"query": [0, 1, 1], "chosen": [0, 2, 3], "rejected": [1, 3, 2], "margin": [1.0, 2.0, 0.5]},
        schema=index_schema(schema, 4),
    )
    with pa.OSFile(str(folder / "index.arrow"), "wb") as sink, pa.ipc.new_stream(sink, index.schema) as writer:
        writer.write_table(index, max_chunksize=2)
    shown = ["好", "不好" * 9]
    expected = pa.table(
        {
            "prompt": ["问0", "问1", "问1"],
            "chosen": [shown[0], shown[0], shown[1]],
            "rejected": [shown[1], shown[1], shown[0]],
            "margin": [1.0, 2.0, 0.5],
            "query_id": ["0", "1", "1"],
            "domain": ["d", "d", "d"],
        },
        schema=schema,
    )
    recipe = Recipe((), MemoryMappedTable.from_file(str(folder / "index.arrow")), texts, shown_columns(schema), Shape())
    view, plain = ViewDataset(ViewTable(recipe)), datasets.Dataset(expected)
    assert view.features == plain.features, "features"
    assert view.cache_files, "cache_files"
    for one, other in (
        (view, plain),
        (view.select([2, 0]), plain.select([2, 0])),
        (view.select(range(1, 3)), plain.select(range(1, 3))),
        (
            view.rename_column("margin", "m").remove_columns("domain"),
            plain.rename_column("margin", "m").remove_columns("domain"),
        ),
        (pickle.loads(pickle.dumps(view)), plain),
    ):
        assert list(one) == list(other), "rows one by one"
        for key in (0, -1, slice(1, None), [1, 0]):
            assert one[key] == other[key], f"rows {key}"
        assert list(one.iter(2)) == list(other.iter(2)), "batches"
        assert one.to_dict() == other.to_dict(), "all rows"
    assert isinstance(view.select_columns(["margin"])._data, ViewTable), "selected columns"
    texts.files[0].watched.close()
