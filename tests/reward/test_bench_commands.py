"""`coigp bench`: what is typed, printed and refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from commands import run
from make import make_rows, make_store

from coig_p.reward.bench.form import item_of, item_problem, read_bench, write_bench
from coig_p.reward.bench.results import read_results, result_problem
from coig_p.store.locate import BUNDLED

ROW = {"prompt": "一加一？", "chosen": "二。", "rejected": "三三。", "domain": "数学", "level": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    make_store(folder / "store", make_rows({"math": 5, "chat": 4}))
    (folder / "test.jsonl").write_text(json.dumps(ROW, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def test_from_a_file_to_results(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    done = run("bench", "convert", "--from", "crbench", folder / "test.jsonl", "--keep", "level", "--out", out)
    assert [line.split() for line in done.stdout.splitlines()[:2]] == [["domain", "items", "pairs"], ["math", "1", "1"]]
    assert f"wrote {out}: CRBench, 1 item, 1 pair" in done.stdout
    following = done.stdout.splitlines()[-1]
    assert following.startswith("next: coigp bench run ")
    run(*following.removeprefix("next: coigp ").split())
    assert read_results(tmp_path / "b-length").results[0].rewards == (2.0, 3.0)
    done = run("bench", "run", out, "--baseline", "random", "--seed", 4, "--out", tmp_path / "r")
    assert done.stdout == f"wrote {tmp_path / 'r'}: random on 1 item of CRBench\n"
    found = read_results(tmp_path / "r")
    assert (found.scorer, found.options) == ({"kind": "baseline", "name": "random"}, {"seed": 4})


def test_the_same_command_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run("bench", "convert", "--from", "pairs", folder / "store", "--out", tmp_path / name / "b")
        run("bench", "run", tmp_path / name / "b", "--baseline", "random", "--out", tmp_path / name / "r")
    for path in ("b/bench.jsonl", "b/bench.json", "r/results.jsonl", "r/results.json", "r/bench/bench.json"):
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_json(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    words = ("--from", "pairs", folder / "store", "--out", out, "--domain", "math", "--threshold", 1, "--name", "我的")
    found = json.loads(run("bench", "convert", *words, "--licence", "MIT", "--json").stdout)
    bench = read_bench(out)
    assert (found["bench"], found["name"], found["licence"], found["preset"]) == (str(out), "我的", "MIT", "pairs")
    assert found["items"] == len(bench.items) == found["domains"]["math"]["items"]
    assert found["pair_options"]["threshold"] == 1
    said = json.loads(run("bench", "run", out, "--baseline", "length", "--out", tmp_path / "r", "--json").stdout)
    assert said == {
        "results": str(tmp_path / "r"),
        "bench": "我的",
        "scorer": "length",
        "items": len(bench.items),
        "options": {},
    }


def test_the_variable_names_the_store(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COIGP_STORE", str(folder / "store"))
    run("bench", "convert", "--from", "pairs", "--out", tmp_path / "b")
    assert read_bench(tmp_path / "b").name == "store"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("convert --from crbench --out NEW", 2, "Missing argument 'FILE...'"),
        ("convert --from crbench FILE --out NEW", 1, r"test.jsonl line 1 .level: no column"),
        ("convert --from crbench FILE --out NEW --threshold 2 --domain math", 2, "--domain, --threshold: only with"),
        ("convert --from crbench FILE FILE --out NEW --keep level", 1, "item 'test.jsonl-1' stands in"),
        ("convert --from crbench NOTHING --out NEW", 2, "no such file"),
        ("convert --from cheems FILE --out NEW", 2, "'cheems' is not one of"),
        ("convert --from pairs --out NEW", 2, "takes one STORE"),
        ("convert --from pairs STORE STORE --out NEW", 2, "takes one STORE"),
        ("convert --from pairs STORE --keep x --out NEW", 2, "a store has no further columns"),
        ("convert --from pairs STORE --format dpo --out NEW", 2, "No such option"),
        ("convert --from pairs FILE --out NEW", 1, "test.jsonl"),
        ("run NOTHING --baseline length --out NEW", 1, "it is not a benchmark. Make one with: coigp bench convert"),
        ("run STORE --baseline length --out NEW", 1, "it is not a benchmark"),
        ("run NOTHING --out NEW", 2, "Name who scores: one of --baseline, --model, --server"),
        ("run NOTHING --baseline length --seed 3 --out NEW", 2, "--seed: no effect"),
    ],
)
def test_what_is_refused(
    words: str, code: int, said: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COIGP_STORE", raising=False)
    names = {
        "FILE": folder / "test.jsonl",
        "STORE": folder / "store",
        "NEW": tmp_path / "new",
        "NOTHING": tmp_path / "nothing",
    }
    done = run("bench", *(names.get(word, word) for word in words.split()), code=code)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", ["bench-files.md", "bench-files.zh.md"])
def test_what_the_page_shows_is_so(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lines are an item, a published row, and results of it, its Python holds, its commands print what it says."""
    text = (Path(__file__).parents[2] / "docs" / page).read_text("utf-8")
    item, _, *results = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    assert item_problem(item) is None
    assert [result_problem(result, item_of(item)) for result in results] == [None, None]
    (python,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(python, {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").symlink_to(BUNDLED)
    commands, *_, taken_in, _ = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    said = "".join(run(*command.split()[1:]).stdout for command in commands.splitlines())
    assert f"```text\n{said}```" in text
    run(*re.findall(r"^coigp (bench convert .*--domain math.*)$", text, re.MULTILINE)[0].split())
    assert {one.domain for one in read_bench(tmp_path / "math").items} == {"math"}
    source = {"name": "", "sha256": ""}
    write_bench(tmp_path / "bench", [item_of(item)], name="x", preset="pairs", source=source, overwrite=True)
    printed, imported = taken_in.splitlines()
    (row,) = re.findall(r"'(\{.*\})\\n'", printed)
    (tmp_path / "rewards.jsonl").write_text(row, encoding="utf-8")
    run(*imported.split()[1:])
    assert read_results(tmp_path / "results").results[0].rewards == (1.25, -0.5)
