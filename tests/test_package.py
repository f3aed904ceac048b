"""What people install: the built wheel outside the checkout, the bundled data, and the documents."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
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
IN_CHECKOUT = pytest.mark.skipif((ROOT / "PKG-INFO").exists(), reason="an sdist holds no links")
LANGUAGES = ("English", "Chinese")


def documents(language: str) -> dict[str, str]:
    """README and the pages of docs/ in one language, by their path."""
    paths = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").rglob("*.md"))]
    wanted = [path for path in paths if path.name.endswith(".zh.md") == (language == "Chinese")]
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in wanted}


def commands(command: click.Command, name: str) -> Iterator[str]:
    """Every command that does something, as people type it."""
    if command.hidden:
        return
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            assert below is not None
            yield from commands(below, f"{name} {word}")
    else:
        yield name


def built(kind: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "build", f"--{kind}", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (found,) = folder.iterdir()
    return found


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built("wheel", tmp_path_factory.mktemp("wheel"))


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


def test_the_sdist_holds_the_package_and_its_tests(wheel: Path, tmp_path: Path) -> None:
    """Whoever builds from the sdist has what the wheel has."""
    with tarfile.open(built("sdist", tmp_path)) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    package = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("coig_p/")}
    assert package - held == set()
    tests = {file.removeprefix("/") for file in source_files() if not file.startswith("/builder")}
    assert tests - held == set()


def test_the_installed_wheel_loads_the_bundled_data(installed: Path, tmp_path: Path) -> None:
    code = (
        "import coig_p; from datasets import load_dataset;"
        f"assert coig_p.__file__.startswith({str(installed)!r}), coig_p.__file__;"
        f"print(load_dataset('coig-p', 'math', threshold=2, split='train', cache_dir={str(tmp_path)!r}).num_rows)"
    )
    assert int(run_installed(installed, tmp_path, "-c", code)) > 0


def test_the_installed_command_has_others_know_the_name(installed: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from datasets import get_dataset_config_names; print(*get_dataset_config_names('coig-p')[:6]);"
        "print(sys.modules['coig_p'].__file__)"
    )
    words = (str(installed / "bin" / "coigp"), "run", "--", sys.executable, "-c", code)
    names, place = run_installed(installed, tmp_path, *words).splitlines()
    assert names.split() == list(DOMAINS)
    assert place.startswith(str(installed))


@pytest.fixture(scope="session")
def demo(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder that the installed demo ran in, and what it printed."""
    pytest.importorskip("aiohttp", reason="the demo's first step needs the extra [annotate]")
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_installed(installed, folder, str(installed / "bin" / "coigp"), "demo")


def test_the_installed_commands_run(installed: Path, demo: tuple[Path, str], tmp_path: Path) -> None:
    for name, option, said in (("coigp", "--version", coig_p.__version__), ("coigp-publish", "--help", "STORE")):
        assert said in run_installed(installed, tmp_path, str(installed / "bin" / name), option)
    folder, shown = demo
    assert re.search(r"12 +72 +144 ", shown), "not from queries"
    assert re.search(r"all +60 ", shown)
    assert re.search(r"[\u4e00-\u9fff]{6}", shown), "no readable Chinese in the demo"
    assert "\\u" not in shown
    assert [path.name for path in folder.iterdir()] == ["coigp-demo"], "the demo left more than its release"
    assert Store.open(folder / "coigp-demo").verify() == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_documents_show_what_the_demo_prints(language: str, demo: tuple[Path, str]) -> None:
    shown = demo[1].replace("coigp-demo", "build/demo").strip()  # as `make demo` runs it
    pattern = re.compile(r"```text\n(1\. From queries.*?)```", re.DOTALL)
    blocks = {name: block for name, text in documents(language).items() for block in pattern.findall(text)}
    assert blocks, "no document shows the demo"
    for name, block in blocks.items():
        assert block.strip() == shown, name


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


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_documents_show_every_command(language: str) -> None:
    text = " ".join("\n".join(documents(language).values()).split())
    for command in commands(cli, "coigp"):
        spellings = (command, command.replace("coigp publish", "coigp-publish"))
        assert any(re.search(rf"\b{spelling}\b", text) for spelling in spellings), f"nothing shows {command}"


def source_files() -> set[str]:
    """Every Python file of the checkout, as /path/from/the/root: none of what an environment beside it holds."""
    folders = ("coig_p", "tests", "benchmarks", "docs")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {f"/{path.relative_to(ROOT).as_posix()}" for path in [*found, *ROOT.glob("*.py")]}


@pytest.mark.parametrize("name", ["README.md", "README.zh.md", "CONTRIBUTING.md"])
def test_files_and_links_of_the_documents_are_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    files = source_files()
    for shown in re.findall(r"(?<![\w*{])[\w/.-]*\w\.py\b", text):
        assert any(file.endswith(f"/{shown}") for file in files), f"{name} speaks of {shown}, which does not exist"
    for target in re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", text):
        assert (ROOT / target).exists(), f"{name} links to {target}"


Tree = dict[str, str]


def rooms_of(block: str) -> Tree:
    """What a tree of the package says of each room: the text from its line to the next room's, "" for the root."""
    rooms: Tree = {"": ""}
    room = ""
    for line in block.partition("coig_p/\n")[2].splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if text and not indent:
            break
        if 0 < indent <= 4:
            found = re.match(r"([a-z_]+)/", text)
            room = found[1] if found else ""
            rooms.setdefault(room, "")
        rooms[room] += f"{text}\n"
    return rooms


def missing_in_tree(block: str, package: Path) -> list[str]:
    """Rooms, and modules and folders in them, that a tree does not name; what it names though it is not there."""
    rooms = rooms_of(block)
    found = []
    there: dict[str, set[str]] = {"": set()}
    for path in package.rglob("*.py"):
        parts = path.relative_to(package).with_suffix("").parts
        room = parts[0] if len(parts) > 1 else ""
        # A folder within a room stands for its files, and so does the room of the commands.
        names = {parts[0]} if not room else set(parts[1:2]) if room != "cli" else set()
        there[""].add(parts[0])
        there.setdefault(room, set()).update(name for name in names if not name.startswith("_"))
    for folder in package.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            there[""].add(folder.name)
    for room in there[""] & there.keys() - rooms.keys():
        found.append(f"{room}/ has no line")
    for room in rooms.keys() & there.keys():
        for name in there[room]:
            if not name.startswith("_") and name not in rooms and not re.search(rf"\b{name}\b", rooms[room]):
                found.append(f"{room}/{name} is not named")
    found += [f"{room}/ is not there" for room in rooms.keys() - there.keys() - there[""] - {""}]
    files = {path.name for path in package.rglob("*")}
    for room, text in rooms.items():
        for name in re.findall(r"\b\w+\.py\b", text) + re.findall(r"\b([a-z_]+)/", text):
            if name not in files:
                found.append(f"{room}/{name} is not there")
    return sorted(found)


def test_contributing_names_every_room_and_module() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    blocks = [block for block in re.findall(r"```text\n(.*?)```", text, re.DOTALL) if "coig_p/\n" in block]
    assert len(blocks) == 1, "CONTRIBUTING.md shows the package as one tree, in a ```text block that starts at coig_p/"
    assert missing_in_tree(blocks[0], ROOT / "coig_p") == []


def test_a_tree_that_is_not_the_package_is_seen(tmp_path: Path) -> None:
    for name in ("__init__.py", "errors.py", "core/__init__.py", "core/arrays.py", "core/text.py", "deep/own/one.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    right = """coig_p/
  __init__  errors.py     how it ends
  core/     arrays (slices),
            text
  deep/     own/ (one)
tests/      of another/ kind
"""
    assert missing_in_tree(right, tmp_path) == []
    for old, new, wanted in (
        ("errors.py", "", ["/errors is not named"]),
        ("errors.py", "errors.py warnings.py", ["/warnings.py is not there"]),
        ("text\n", "\n", ["core/text is not named"]),
        ("own/ (one)", "one", ["deep/own is not named"]),
        ("  deep/", "  shallow/", ["deep/ has no line", "shallow/ is not there"]),
    ):
        found = missing_in_tree(right.replace(old, new, 1), tmp_path)
        assert set(wanted) <= set(found), (found, wanted)


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


@IN_CHECKOUT
def test_the_root_shows_the_builder() -> None:
    for name in ("builder.py", "validation", "card_templates"):
        link = ROOT / name
        assert link.is_symlink()
        # Relative, so that a clone in any folder has them.
        assert os.readlink(link) == f"coig_p/{name}"
