"""Judges answers of answer.py by what the benchmark says of each offer.

python judge.py --answers ANSWERS --questions questions.jsonl --out OUT
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("--answers", "--questions", "--out"):
        parser.add_argument(name, type=Path, required=True)
    arguments = parser.parse_args()
    questions = {row["id"]: row for row in map(json.loads, arguments.questions.read_text("utf-8").splitlines())}
    with (arguments.out / "scores.jsonl").open("w", encoding="utf-8") as stream:
        for line in (arguments.answers / "answers.jsonl").read_text("utf-8").splitlines():
            answer = json.loads(line)
            question = questions[answer["id"]]
            score = question["offers"][answer["offer"]]["score"]
            row = {"question": answer["id"], "category": question["category"], "score": score}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
