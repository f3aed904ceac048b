"""Answers a benchmark with a model of train.py: of the answers that a question offers, the one that it likes best.

    python answer.py --checkpoint CHECKPOINT --questions questions.jsonl --out OUT

A checkpoint that is none, as a model before any training, likes all alike, and takes the first.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from train import pieces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--questions", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = arguments.checkpoint / "model.json"
    weights = json.loads(model.read_text("utf-8")) if model.exists() else {}

    def liked(text: str) -> float:
        return sum(weights.get(piece, 0.0) for piece in pieces(text)) / len(pieces(text))

    with (arguments.out / "answers.jsonl").open("w", encoding="utf-8") as stream:
        for line in arguments.questions.read_text("utf-8").splitlines():
            question = json.loads(line)
            best = max(range(len(question["offers"])), key=lambda at: liked(question["offers"][at]["text"]))
            stream.write(json.dumps({"id": question["id"], "offer": best}) + "\n")


if __name__ == "__main__":
    main()
