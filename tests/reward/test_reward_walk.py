"""The walk of docs/reward.md, from people's labels to a confirmed set, as it stands there; its model is the floor."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from commands import run
from make import Rows, make_store

from coig_p.reward.ngram import NgramScorer
from coig_p.reward.scorer import Asked

PAGES = [Path(__file__).resolve().parents[2] / "docs" / name for name in ("reward.md", "reward.zh.md")]
MODEL = "--model Qwen/Qwen2.5-7B-Instruct --preset cheems"


def labelled(number: int, name: str, wrong: float) -> Rows:
    """Queries with three responses; those that end in 。 are better, but for a share of them, and longer ones too."""
    drawn = random.Random(name)
    rows = []
    for at in range(number):
        responses = []
        for model in range(3):
            good = drawn.random() < 0.5
            text = "".join(drawn.choices("天地玄黄宇宙洪荒日月盈昃", k=drawn.randint(5, 30) + 6 * good)) + "。" * good
            score = 9.0 if good != (drawn.random() < wrong) else 2.0
            scores = [{"judge": "human:a" if name == "golden" else "j", "dimension": "overall", "score": score}]
            responses.append({"model": f"m{model}", "text": text, "scores": scores})
        query = "".join(drawn.choices([chr(code) for code in range(0x4E00, 0x5200, 3)], k=20))
        rows.append({"query_id": f"{name}-{at}", "domain": "chat", "query": query, "responses": responses})
    return rows


def test_people_train_the_filter_and_what_stays_is_balanced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_store(Path("golden"), labelled(120, "golden", 0.0))
    make_store(Path("ai"), labelled(150, "ai", 0.25))
    walks = [re.findall(r"```bash\n(.*?)```", page.read_text("utf-8"), re.DOTALL) for page in PAGES]
    assert walks[0] == walks[1]
    (walk,) = walks[0]
    assert walk.count(MODEL) == 2
    for line in walk.replace(MODEL, "--model builtin:ngram").splitlines():
        program, *words = line.split()
        assert program == "coigp"
        run(*words)
    scorer = NgramScorer("filter")
    files = sorted(Path("confirmed").rglob("*.parquet"))
    rows = [row for path in files for row in pq.read_table(path).to_pylist()]
    assert len(rows) > 30

    def reward(prompt: str, response: str) -> float:
        (found,) = scorer.score([Asked(({"role": "user", "content": prompt},), response)])
        assert found.reward is not None
        return found.reward

    for row in rows:
        prompt, chosen, rejected = (row.get(name, "") for name in ("prompt", "chosen", "rejected"))
        assert reward(prompt, chosen) >= reward(prompt, rejected)
    lengths = [len(row["chosen"]) - len(row["rejected"]) for row in rows]
    assert sum(one > 0 for one in lengths) == sum(one < 0 for one in lengths)
    told = json.loads(Path("model/coig_p_reward.json").read_text("utf-8"))
    assert told["pairs"]["agree_with"] == "golden"
    assert told["held_out"]["accuracy"] > 0.9
