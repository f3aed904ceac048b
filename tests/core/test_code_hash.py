"""The hash of the code: every file that can change a row is in it, and no command is."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from coig_p.core.code_hash import PACKAGE, code_files, code_hash

# What the builder imports and what cannot change a row: messages, a version number, the hook in datasets.
CHANGES_NO_ROW = {"__init__.py", "_version.py", "errors.py", "registration.py"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("code") / "coig_p"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def fresh(package: Path) -> str:
    code_hash.cache_clear()
    return code_hash(package)


def test_every_module_that_the_builder_imports_is_in_the_hash() -> None:
    code = (
        "import json, sys; import coig_p.builder;"
        "print(json.dumps([m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'coig_p']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {Path(name).relative_to(PACKAGE).as_posix() for name in json.loads(done.stdout)}
    covered = {path.relative_to(PACKAGE).as_posix() for path in code_files()}
    assert imported - covered == CHANGES_NO_ROW & imported
    assert {"builder.py", "schema.py", "pairs/kernel.py", "store/store.py", "engine/local.py"} <= covered


def test_one_byte_of_each_file_changes_the_hash(package: Path) -> None:
    before = fresh(package)
    assert before == fresh(PACKAGE), "a copy has another hash"
    for path in code_files(package):
        content = path.read_bytes()
        for changed in (content + b"\n", content[:-1] + bytes([content[-1] ^ 1])):
            path.write_bytes(changed)
            assert fresh(package) != before, f"{path.relative_to(package)} may change unnoticed"
        path.write_bytes(content)
    assert fresh(package) == before


def test_a_new_module_a_renamed_one_and_moved_bytes_change_the_hash(package: Path) -> None:
    before = fresh(package)
    new = package / "pairs" / "new.py"
    new.write_text("")
    assert fresh(package) != before
    new.unlink()
    here, there = package / "pairs" / "kernel.py", package / "pairs" / "other.py"
    here.rename(there)
    assert fresh(package) != before
    there.rename(here)
    one, other = package / "core" / "arrays.py", package / "core" / "atomic.py"
    texts = one.read_bytes(), other.read_bytes()
    one.write_bytes(texts[0][:-1])
    other.write_bytes(texts[0][-1:] + texts[1])
    assert fresh(package) != before
    one.write_bytes(texts[0])
    other.write_bytes(texts[1])
    assert fresh(package) == before


@pytest.mark.parametrize("name", ["cli", "report", "validation", "publish", "annotate", "ingest", "stats", "export"])
def test_what_changes_no_row_of_a_load_is_not_in_the_hash(package: Path, name: str) -> None:
    before = fresh(package)
    files = sorted((package / name).rglob("*.py"))
    assert files
    for path in files:
        path.write_bytes(path.read_bytes() + b"\n")
    assert fresh(package) == before
