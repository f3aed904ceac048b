"""What people install: the built wheel outside the checkout, the bundled data, and the documents."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from oracle import oracle_pairs

import coig_p
from coig_p.cli.main import cli
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.schema import DOMAINS
from coig_p.store.locate import BUNDLED
from coig_p.store.store import Store

ROOT = Path(__file__).resolve().parents[1]
RAW = BUNDLED.parent / "raw"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel in a folder of its own; what it depends on comes from this environment."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return target


def run_installed(installed: Path, folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_the_wheel_holds_what_belongs_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"coig_p", f"coig_p-{coig_p.__version__}.dist-info"}
    for needed in ("coig_p/py.typed", "coig_p/bundled/README.md", "coig_p/bundled/store/manifest.json"):
        assert needed in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_installed_wheel_loads_the_bundled_data(installed: Path, tmp_path: Path) -> None:
    code = (
        "import coig_p; from datasets import load_dataset;"
        f"assert coig_p.__file__.startswith({str(installed)!r}), coig_p.__file__;"
        f"print(load_dataset('coig-p', 'math', threshold=2, split='train', cache_dir={str(tmp_path)!r}).num_rows)"
    )
    assert int(run_installed(installed, tmp_path, "-c", code)) > 0


def test_the_installed_commands_run(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / "coigp"
    assert coig_p.__version__ in run_installed(installed, tmp_path, str(script), "--version")
    shown = run_installed(installed, tmp_path, str(script), "demo")
    assert re.search(r"12 +72 +144 ", shown), "not from queries"
    assert re.search(r"all +60 ", shown)
    assert re.search(r"[\u4e00-\u9fff]{6}", shown), "no readable Chinese in the demo"
    assert "\\u" not in shown
    assert [path.name for path in tmp_path.iterdir()] == ["coigp-demo"], "the demo left more than its release"
    assert Store.open(tmp_path / "coigp-demo").verify() == []


def test_the_readmes_show_what_the_demo_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(cli, ["demo", "--out", "build/demo"], catch_exceptions=False).output
    for name in ("README.md", "README.zh.md"):
        (block,) = re.findall(r"```text\n(1\. From queries.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
        assert block.strip() == shown.strip(), name


def test_the_bundled_store_is_its_raw_files_imported(tmp_path: Path) -> None:
    again, report = import_files([RAW / f"{domain}.jsonl" for domain in DOMAINS], tmp_path / "store", ImportConfig())
    bundled = Store.open(BUNDLED)
    assert report.reasons == {}
    assert bundled.verify() == []
    assert bundled.manifest.accounting == again.manifest.accounting
    assert [row for batch in bundled.batches() for row in batch.to_pylist()] == [
        row for batch in again.batches() for row in batch.to_pylist()
    ]


def test_the_bundled_data_is_what_its_readme_says() -> None:
    rows: list[dict[str, Any]] = [row for batch in Store.open(BUNDLED).batches() for row in batch.to_pylist()]
    assert len(rows) >= 60
    assert {row["domain"] for row in rows} == set(DOMAINS)
    assert all(4 <= len(row["responses"]) <= 6 for row in rows)
    responses = [response for row in rows for response in row["responses"]]
    assert all(response["model"].startswith("fictional-") for response in responses)
    assert any(not response["scores"] for response in responses), "an unscored response"
    assert any(score["judge"] == r["model"] for r in responses for score in r["scores"]), "a self-judged score"
    assert any(score["score"] % 1 == 0.5 for r in responses for score in r["scores"]), "half points"
    assert any(len({r["text"] for r in row["responses"]}) < len(row["responses"]) for row in rows), "equal texts"
    every = len(oracle_pairs(rows, threshold=0, include_self_judged=True))
    possible = sum(len(row["responses"]) * (len(row["responses"]) - 1) // 2 for row in rows)
    assert every < possible, "ties"
    for domain in DOMAINS:
        assert len(oracle_pairs([row for row in rows if row["domain"] == domain], threshold=2)) >= 20


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_readmes_name_every_command_and_module(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    for command in cli.list_commands(click.Context(cli)):
        assert f"coigp {command}" in text, f"{name} does not show coigp {command}"
    for module in sorted((ROOT / "coig_p").glob("*.py")):
        assert module.name in text or module.name.startswith("_"), f"{name} does not list {module.name}"
    for shown in re.findall(r"\b[a-z_]+\.py\b", text):
        assert list(ROOT.rglob(shown)), f"{name} speaks of {shown}, which does not exist"
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), f"{name} links to {target}"


@pytest.mark.parametrize("name", ["README.md", "README.zh.md"])
def test_the_python_in_the_readmes_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python block, in order and in one namespace, with the bundled store as `store`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").symlink_to(BUNDLED)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 2
    namespace: dict[str, Any] = {}
    for block in blocks:
        exec(block, namespace)


@pytest.mark.parametrize("name", ["stats.md", "stats.zh.md"])
def test_the_sweep_in_the_documents_is_what_the_command_prints(name: str) -> None:
    text = (ROOT / "docs" / name).read_text("utf-8")
    (given,) = re.findall(r"\$ coigp sweep STORE (.*)\n", text)
    done = CliRunner().invoke(cli, ["sweep", str(BUNDLED), *given.split()])
    assert done.exit_code == 0, done.output
    assert "".join(f"    {line}\n" for line in done.output.splitlines()) in text


def test_no_tracked_text_names_a_package_host() -> None:
    for name in ("constraints.txt", "pyproject.toml", "Makefile"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"https?://", text)


def test_the_root_shows_the_builder() -> None:
    for name in ("builder.py", "validation", "card_templates"):
        link = ROOT / name
        assert link.is_symlink()
        # Relative, so that a clone in any folder has them.
        assert os.readlink(link) == f"coig_p/{name}"
