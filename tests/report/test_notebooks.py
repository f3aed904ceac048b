"""The notebooks of docs/ hold the output of this version; `make test-browser` runs them, this needs no Jupyter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coig_p.stats.apart import most_apart
from coig_p.stats.counts import statistics
from coig_p.stats.sweep import sweep
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store
from coig_p.validation.gate import check

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["cells"]
    return found


def test_notebooks_were_run_in_order_and_name_no_place_of_a_machine() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        code = [cell for cell in cells(path) if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
        outputs = [output for cell in code for output in cell["outputs"]]
        assert all(output["output_type"] in ("execute_result", "stream", "display_data") for output in outputs)
        assert all(output.get("name") != "stderr" for output in outputs)
        assert all(cell["outputs"] for cell in code)
        for place in (str(Path(__file__).parents[2]), "/tmp/", "/home/", "/root/", "site-packages"):
            assert place not in path.read_text("utf-8")


def test_tables_of_the_notebook_are_what_the_library_shows() -> None:
    (path,) = NOTEBOOKS
    shown = [
        "".join(output["data"]["text/html"])
        for cell in cells(path)
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {}) and "<style" not in "".join(output["data"]["text/html"])
    ]
    assert shown == [
        statistics(BUNDLED)._repr_html_(),
        sweep(BUNDLED, thresholds=[0, 1, 2, 3, 4, 6, 8])._repr_html_(),
        most_apart(Store.open(BUNDLED), 10)._repr_html_(),
        check(BUNDLED)._repr_html_(),
    ]
