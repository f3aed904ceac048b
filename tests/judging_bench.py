"""A small benchmark, and judges that are asked about it by the command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benched import item
from commands import run
from judge_server import JudgeServer

from coig_p.reward.bench.form import Item
from coig_p.reward.bench.results import Result, read_results


def items(number: int, texts: Sequence[str] = ("好的回答。", "坏")) -> list[Item]:
    return [
        item(f"i-{at}", "math" if at % 2 else "chat", texts=[f"{text}{at}" for text in texts]) for at in range(number)
    ]


def judged(bench: Path, server: JudgeServer, out: Path, *more: object, code: int | None = 0) -> Any:
    """What the command says as JSON, or where it fails what it says at all."""
    words = ("bench", "run", bench, "--judge", server.base_url, "--judge-model", "j", "--out", out, "--json")
    done = run(*words, *more, code=code)
    return json.loads(done.stdout) if done.stdout else done.stderr


def lines(results: Path) -> list[Result]:
    return list(read_results(results).results)


TOML = """
[judge]
max_cost = {most}
[endpoint]
name = "j"
model = "m"
base_url = "{url}"
input_price = 1000
output_price = 1000
concurrency = 2
parameters = {{ max_tokens = 64 }}
"""


def with_file(folder: Path, server: JudgeServer, *more: object, most: float = 100, code: int | None = 0) -> Any:
    (folder / "judge.toml").write_text(TOML.format(url=server.base_url, most=most), encoding="utf-8")
    words = ("bench", "run", folder / "b", "--judge", folder / "judge.toml", "--out", folder / "r", "--json", *more)
    done = run(*words, code=code)
    return json.loads(done.stdout) if done.stdout else done.stderr
