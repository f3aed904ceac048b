"""Whether two checkouts give the same bytes: demo, stores, releases, pairs, exports.

    python benchmarks/same_bytes.py OLD NEW [--queries 2000] [--rows]

OLD and NEW are checkouts with a `.venv` of their own (`make test` sets it up). Both run the same commands on
the same input, each with its own code, and every file is compared. Rows must be equal byte for byte; cards,
manifests and other texts may differ in what EXPECTED lists, and nothing else. Exits 1 on a difference.

A store's own shards are of another schema version where the checkouts are on both sides of version 2: then
their rows and row groups must be equal in the columns of the older one, and the others must say nothing. Pairs
and exports are compared byte for byte all the same. --rows compares rows alone: cards, statistics and manifests
tell of the columns, so that across schema versions nearly every one of them differs.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

EXPECTED: dict[str, dict[str, str]] = {
    # file name: {field, or a regular expression for lines of a text: why it may differ}
    "manifest.json": {"schema_version": "what is written is version 2"},
    # Chinese words: one for each term, from the glossary of CONTRIBUTING.md. No number on these lines is another.
    "README.zh.md": {
        r"^## (一行是什么样|数据样例|数字|数据概览|怎样做成|构建过程)$": "headings of the card",
        r"评委|评审模型": "judge: 评审模型",
        r"被选中|选中了|被拒绝|更优|更差": "chosen and rejected: 更优回答, 更差回答, as LLaMA-Factory says",
        r"训练器|训练框架": "trainer: 训练框架",
        r"^\| 规则 \|": "severity: 严重程度; finding: 检查结果",
        r"\| (warning|警告|metric|指标) \|": "severities in Chinese",
        r"：读入 \d": "units in Chinese",
        r"本文件夹|本目录": "folder: 目录",
    },
    "printed": {
        r"^wrote \S+ for \S+ at threshold .*: \d+ shards? of": "one shard, and shards of one size, are said so",
        r"^wrote \S+: version .* bytes,": "the words of the Chinese card and plots take other bytes",
    },
    "card.toml": {r"评委|评审模型": "judge: 评审模型"},
}
for _plot in ("domains", "margins", "lengths", "models", "judges", "yield", "balance", "second-judge"):
    EXPECTED[f"{_plot}.zh.svg"] = {
        r"[\u4e00-\u9fff]": "words of the glossary",
        r'<rect class="f\d" x="\S+" y="40" width="12"': "a legend is as wide as its words",
    }
ONLY_IN_2 = ("messages", "tools", "meta", "sample", "extra", "rationale")
TRAINERS = ("trl-dpo", "trl-reward", "trl-kto", "trl-grpo", "llama-factory", "openrlhf", "ms-swift")
TRAINERS += ("axolotl", "verl", "nemo-rl")
COMMANDS = [
    "coigp demo --out demo",
    "coigp-publish store --version 1.0.0 --target dir:release",
    "coigp-publish store --version 1.0.0 --target dir:strict --threshold 3 --strategy best_random --seed 7",
    "coigp-publish store --version 1.0.0 --target dir:observed --no-pairs",
    "coigp clean store --out clean --rule self-judged",
    "coigp dedup store --out unique",
    "coigp pairs store --out pairs.parquet --threshold 1",
    "coigp pairs store --out pairs.jsonl --aggregation median --strategy adjacent --format conversational",
    "coigp pairs store --out kto.parquet --format kto --max-pairs-per-query 3",
    "coigp stats store --out statistics",
    "coigp sweep store --json",
    "coigp info store --json",
    *(f"coigp export store --for {trainer} --out export-{trainer}" for trainer in TRAINERS),
    "coigp export store --for trl-dpo --conversational --out shards --shuffle-seed 3 --world-size 2 --workers 2 "
    "--test-size 0.1 --validation-size 0.05 --weights math=1.5",
    "coigp export bundled --for llama-factory --out mixed --weights math=2,chat=0.5 --threshold 1",
]
MAKE_STORE = """
import shutil, sys; sys.path.insert(0, "benchmarks")
from pathlib import Path
from corpus import make_store
make_store(Path(sys.argv[1]) / "store", int(sys.argv[2]))
shutil.copy("coig_p/bundled/card.toml", Path(sys.argv[1]) / "store")
shutil.copytree("coig_p/bundled/store", Path(sys.argv[1]) / "bundled")
"""


def run(checkout: Path, work: Path, queries: int) -> None:
    """Everything that one checkout writes, in `work`."""
    binaries = checkout.resolve() / ".venv" / "bin"
    subprocess.run([binaries / "python", "-c", MAKE_STORE, work, str(queries)], cwd=checkout, check=True)
    for at, command in enumerate(COMMANDS):
        print(f"{checkout}: {command}", file=sys.stderr, flush=True)
        program, *words = command.split()
        done = subprocess.run([binaries / program, *words], cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{checkout}: {command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        (work / f"printed-{at:02d}.txt").write_text(f"$ {command}\n{done.stdout}", encoding="utf-8")


def differences(old: Path, new: Path, *, rows: bool = False) -> list[str]:
    """One line for each file that is not the same; of those that hold rows alone with `rows`."""
    names = {str(path.relative_to(root)) for root in (old, new) for path in root.rglob("*") if path.is_file()}
    names = {name for name in names if not rows or name.endswith((".parquet", ".jsonl"))}
    found = []
    for name in sorted(names):
        one, other = old / name, new / name
        if not one.exists() or not other.exists():
            found.append(f"{name}: only in the {'new' if other.exists() else 'old'}")
        elif one.read_bytes() != other.read_bytes():
            found += [f"{name}: {words}" for words in _difference(one, other)]
    return found


def _difference(one: Path, other: Path) -> list[str]:
    expected = EXPECTED.get("printed" if one.name.startswith("printed-") else one.name, {})
    if one.name == "manifest.json":
        pair = [_plain(json.loads(path.read_text("utf-8"))) for path in (one, other)]
        return [
            f"{field} differs" for field in sorted(pair[0].keys() | pair[1].keys())
            if field not in expected and pair[0].get(field) != pair[1].get(field)
        ]  # fmt: skip
    if one.parent.parent.name == "data" and one.suffix == ".parquet":
        return _shard_difference(one, other)
    if one.suffix in (".parquet", ".jsonl"):
        return ["other bytes"]
    lines = [_lines(path, expected) for path in (one, other)]
    return [] if lines[0] == lines[1] else [f"{a!r} -> {b!r}" for a, b in _unequal(*lines)][:5]


def _shard_difference(one: Path, other: Path) -> list[str]:
    """What differs between shards of two schema versions; nothing where the newer only has room for more."""
    shards = [pq.ParquetFile(path) for path in (one, other)]
    sizes = [[shard.metadata.row_group(at).num_rows for at in range(shard.num_row_groups)] for shard in shards]
    if sizes[0] != sizes[1]:
        return ["other row groups"]
    if shards[0].schema_arrow.equals(shards[1].schema_arrow):
        return ["other bytes"]
    old, new = (shard.read().to_pylist() for shard in shards)
    return [f"row {at}" for at, rows in enumerate(zip(old, new, strict=True)) if rows[0] != _older(rows[1])][:5]


def _older(value: Any) -> Any:
    """A value of schema version 2 as version 1 has it; what it says that version 1 cannot say stays in it."""
    if isinstance(value, list):
        return [_older(one) for one in value]
    if isinstance(value, dict):
        silent = {name for name in ONLY_IN_2 if value.get(name) in (None, 0)}
        return {name: _older(one) for name, one in value.items() if name not in silent}
    return value


def _plain(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest without size and hash of the texts, which are compared themselves."""
    files = manifest.pop("files")
    for file in files:
        if file["role"] == "data":
            told = ("sha256", "bytes", *(name for name in ("conversations", "with_tools") if not file.get(name)))
            file |= dict.fromkeys(told)
    manifest["rows of files"] = {
        file["path"]: file if file["path"].endswith(".parquet") else file["role"] for file in files
    }
    return manifest


def _lines(path: Path, expected: dict[str, str]) -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if not any(re.search(pattern, line) for pattern in expected)]


def _unequal(one: list[str], other: list[str]) -> list[tuple[str, str]]:
    width = max(len(one), len(other))
    padded = [lines + [""] * (width - len(lines)) for lines in (one, other)]
    return [(a, b) for a, b in zip(*padded, strict=True) if a != b]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--rows", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="coigp-same-"))
    try:
        sides = []
        for name, checkout in (("old", arguments.old), ("new", arguments.new)):
            (folder / name).mkdir()
            # The same path for both: some of what is printed names it.
            work = folder / "work"
            work.mkdir()
            run(checkout, work, arguments.queries)
            (folder / name).rmdir()
            sides.append(work.rename(folder / name))
        found = differences(*sides, rows=arguments.rows)
        files = sum(path.is_file() for path in sides[1].rglob("*.parquet" if arguments.rows else "*"))
        print("\n".join([*found, f"{files} files compared, {len(found)} differences that are not expected"]))
        for name, fields in ({} if arguments.rows else EXPECTED).items():
            for field, reason in fields.items():
                print(f"expected in {name}: {field}: {reason}")
        raise SystemExit(1 if found else 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
