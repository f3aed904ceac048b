"""Experiments through coigp align: benchmarks of a few questions, a trainer and served models that are scripts."""

from __future__ import annotations

import json
from pathlib import Path

from coig_p.evaluate.align.kinds import CATEGORIES, MT_TEMPERATURES

TRAIN = """
import hashlib, sys
from pathlib import Path
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
content = hashlib.sha256()
for path in sorted(Path(given["--data"]).glob("train/*")):
    content.update(path.read_bytes())
for at in CHECKPOINTS:
    folder = Path(given["--out"], at)
    folder.mkdir(exist_ok=True)
    (folder / "model.txt").write_text(f"{content.hexdigest()} {given['--model']} {given['--seed']} {at}")
"""
SERVER = """
import sys, threading
from pathlib import Path
from coig_p.annotate.scripted import ScriptedServer, scripted_answer
checkpoint = Path(sys.argv[1], "model.txt")
name = checkpoint.read_text() if checkpoint.exists() else sys.argv[1]
with Path("served.txt").open("a") as stream:
    stream.write(name + chr(10))
def answer(request):
    text = scripted_answer({**request, "model": name})
    with Path("answered.txt").open("a") as stream:
        stream.write(name + chr(10))
    return text
port = next(word for word in sys.argv if word.isdigit())
with ScriptedServer(answer, port=int(port)):
    threading.Event().wait()
"""
JUDGE = """
[judge]
asks = 1

[endpoint]
name = "{name}"
model = "{name}"
base_url = "{url}"
parameters = {{ max_tokens = 500 }}
input_price = 2
output_price = 8
currency = "USD"
"""


def write_train(path: Path, *checkpoints: str) -> None:
    """A trainer that writes these folders; "" for the one that it is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TRAIN.replace("CHECKPOINTS", repr(checkpoints or ("",))), "utf-8")


def write_align(path: Path, a_category: int = 3) -> None:
    """AlignBench with so many questions a category."""
    rows = [
        {
            "question_id": at,
            "category": category.zh,
            "subcategory": "",
            "question": f"{category.zh}，第{at}题？",
            "reference": "参考答案。",
        }
        for at, category in enumerate(list(CATEGORIES.values()) * a_category)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def write_mt(path: Path, categories: int = 2) -> None:
    """MT-Bench-zh with two questions a category."""
    rows = [
        {"question_id": at, "category": category, "turns": [f"第{at}题？", "再说一遍。"]}
        for at, category in enumerate(list(MT_TEMPERATURES)[:categories] * 2)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def write_judge(path: Path, url: str, name: str = "judge") -> None:
    """A judge's file."""
    path.write_text(JUDGE.format(name=name, url=url), "utf-8")


def lines_of(path: Path) -> list[str]:
    """What a script wrote down."""
    return path.read_text("utf-8").splitlines() if path.exists() else []
