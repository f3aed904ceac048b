"""Small experiments: two stores, and scripts that train, answer and judge. The trainer says what it was asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from make import make_store

TRAIN = """
import hashlib, json, os, sys, time
from pathlib import Path
data, out, seed, asked = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
content = hashlib.sha256()
for path in sorted(data.glob("train/*")):
    content.update(path.read_bytes())
name = content.hexdigest()[:12] + " " + seed
def say(what):
    with asked.open("a") as stream:
        stream.write(what + " " + name + chr(10))
say("begin")
(out / "part").write_text(name)
time.sleep(float(Path("pause.txt").read_text()))
(out / "part").unlink()
(out / "model.txt").write_text(name)
say("end")
"""
ANSWER = """
import hashlib, json, sys
from pathlib import Path
checkpoint, questions, out = map(Path, sys.argv[1:4])
model = (checkpoint / "model.txt").read_text() if (checkpoint / "model.txt").exists() else "none"
with (out / "answers.jsonl").open("w") as stream:
    for line in questions.read_text("utf-8").splitlines():
        row = json.loads(line)
        drawn = hashlib.sha256((model + row["id"]).encode()).digest()[0] % 10 + 1
        stream.write(json.dumps({"id": row["id"], "category": row["category"], "said": drawn}) + chr(10))
"""
JUDGE = """
import json, sys
from pathlib import Path
answers, questions, out = map(Path, sys.argv[1:4])
with (out / "scores.jsonl").open("w") as stream:
    for line in (answers / "answers.jsonl").read_text().splitlines():
        row = json.loads(line)
        stream.write(json.dumps({"question": row["id"], "category": row["category"], "score": row["said"]}) + chr(10))
"""
HEAD = """
[experiment]
name = "Grid"
seeds = [3, 4]
baseline = "one / margin 1"

[[models]]
name = "m"
path = "some/model"

[[datasets]]
name = "one"
store = "one"

[[datasets]]
name = "two"
store = "two"

[[pairs]]
name = "margin 1"
options = { threshold = 1 }

[[pairs]]
name = "margin 2"
options = { threshold = 2 }

[[pairs]]
name = "margin 3"
options = { threshold = 3 }

[export]
for = "trl-dpo"

[train]
command = ["python", "train.py", "{data}", "{out}", "{seed}", "asked.txt"]
files = ["train.py"]

[answer]
command = ["python", "answer.py", "{checkpoint}", "{questions}", "{out}"]
files = ["answer.py"]

[judge]
command = ["python", "judge.py", "{answers}", "{questions}", "{out}"]
files = ["judge.py"]

[[benchmarks]]
name = "test"
file = "questions.jsonl"
"""


def store_rows(name: str, scores: Sequence[float]) -> list[dict[str, Any]]:
    """Six queries with a response of each score."""
    return [
        {
            "query_id": f"{name}-{at}",
            "domain": "math",
            "query": f"{name} {at}?",
            "source": None,
            "responses": [
                {
                    "model": f"m{side}",
                    "text": f"{name} {at} {side}",
                    "scores": [{"judge": "j", "dimension": "overall", "score": score}],
                }
                for side, score in enumerate(scores)
            ],
            "comparisons": None,
        }
        for at in range(6)
    ]


def write_experiment(folder: Path, *, pause: float = 0, text: str = HEAD) -> Path:
    """A 2 x 3 x 2 grid, ready to be run; its trainer writes asked.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, scores in (("one", (9, 8, 7, 6)), ("two", (9, 7.5, 5))):
        make_store(folder / name, store_rows(name, scores))
    for file, script in (("train.py", TRAIN), ("answer.py", ANSWER), ("judge.py", JUDGE)):
        (folder / file).write_text(script, "utf-8")
    questions = [{"id": f"q-{at}", "category": "ab"[at % 2]} for at in range(8)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions), "utf-8")
    path = folder / "grid.toml"
    path.write_text(text, "utf-8")
    (folder / "pause.txt").write_text(str(pause), "utf-8")  # in no key
    return path


def asked(folder: Path) -> Counter[str]:
    """What the trainer was asked, and did: "begin NAME" and "end NAME"."""
    path = folder / "asked.txt"
    return Counter(path.read_text("utf-8").splitlines() if path.exists() else [])


def start(path: Path, *options: str) -> subprocess.Popen[bytes]:
    """The experiment in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "coig_p", "experiment", str(path), "--trust", "-q", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> bool:
    """Until something holds; False where the process ended before."""
    while not condition():
        if process is not None and process.poll() is not None:
            return False
        time.sleep(0.01)
    return True


def kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    """As kill -9 does: the process alone, or its group."""
    (os.killpg if group else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()
