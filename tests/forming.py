"""Rows as released sets have them, with what an import makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coig_p.ingest.accounting import ImportReport
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.store.store import Store


def imported(path: Path, **options: Any) -> tuple[list[dict[str, Any]], ImportReport]:
    config = ImportConfig(**{"domain": "chat", **options})
    store, report = import_files([path], path.parent / "store", config, overwrite=True)
    for counts in report.accounting().values():
        assert counts["read"] == counts["stored"] + counts["rejected"] + counts["merged"]
    stored = {unit: counts["stored"] for unit, counts in report.accounting().items()}
    files = store.data_files()
    assert stored["responses"] == sum(file.responses or 0 for file in files)
    assert stored["scores"] == sum(file.scores or 0 for file in files)
    assert stored["comparisons"] == sum(file.comparisons or 0 for file in files)
    return [row for batch in Store.open(path.parent / "store").batches() for row in batch.to_pylist()], report


def forms_of(report: ImportReport) -> set[str]:
    return {form for counts in report.forms.values() for form in counts}


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


FLAT: list[dict[str, Any]] = [
    {"prompt": "问一", "output": "答甲", "model": "a", "judge": "j", "score": 8.5},
    {"prompt": "问一", "output": "答甲", "model": "a", "judge": "k", "score": 7},
    {"prompt": "问一", "output": "答乙", "model": "b", "judge": "j", "score": 2},
    {"prompt": "问二", "output": "答丙", "model": "a", "judge": None, "score": None},
]


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


Q = [("user", "问")]


THREE = [("user", "一"), ("assistant", "二"), ("user", "三")]


HUMAN = "\n\nHuman: 一\n\nAssistant: 二\n\nHuman: 三"


CHINESE = "人类：一\n\n助手：二\n\n人类：三"


PAIRS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "text": ({"prompt": "问", "chosen": "好", "rejected": "差"}, Q),
    "alpaca": ({"instruction": "译", "input": "hello", "chosen": "好", "rejected": "差"}, [("user", "译\nhello")]),
    "input alone": ({"instruction": "", "input": "问", "chosen": "好", "rejected": "差"}, Q),
    "system": ({"system": "你是诗人", "prompt": "问", "chosen": "好", "rejected": "差"}, [("system", "你是诗人"), *Q]),
    "orca": ({"system": "", "question": "问", "chosen": "好", "rejected": "差"}, Q),
    "system in the turns too": (
        {
            "system_prompt": "诗人",
            "messages": [{"role": "system", "content": "诗人"}, user("问")],
            "chosen": "好",
            "rejected": "差",
        },
        [("system", "诗人"), *Q],
    ),
    "history": (
        {"instruction": "三", "history": [["一", "二"]], "chosen": "好", "rejected": "差"},
        THREE,
    ),
    "sharegpt": (
        {
            "conversations": [{"from": "human", "value": "问"}],
            "chosen": {"from": "gpt", "value": "好"},
            "rejected": {"from": "gpt", "value": "差"},
        },
        Q,
    ),
    "sharegpt of three turns": (
        {
            "conversations": [
                {"from": "human", "value": "一"},
                {"from": "gpt", "value": "二"},
                {"from": "human", "value": "三"},
            ],
            "chosen": "好",
            "rejected": "差",
        },
        THREE,
    ),
    "a trajectory": (
        {"trajectory": [{"from": "user", "value": "问"}], "chosen": "好", "rejected": "差"},
        Q,
    ),
    "oasst": (
        {
            "prompt": [{"role": "prompter", "content": "问"}],
            "chosen": [{"role": "assistant", "content": "好"}],
            "rejected": "差",
        },
        Q,
    ),
    "whole lists": ({"chosen": [user("问"), said("好")], "rejected": [user("问"), said("差")]}, Q),
    "answers as lists": ({"prompt": [user("问")], "chosen": [said("好")], "rejected": [said("差")]}, Q),
    "axolotl": ({"messages": [user("问")], "chosen": said("好"), "rejected": said("差")}, Q),
    "whole lists of three turns": (
        {
            "chosen": [user("一"), said("二"), user("三"), said("好")],
            "rejected": [user("一"), said("二"), user("三"), said("差")],
        },
        THREE,
    ),
    "binarized, the prompt three times": (
        {
            "prompt": "一",
            "messages": [user("一"), said("二"), user("三"), said("好")],
            "chosen": [user("一"), said("二"), user("三"), said("好")],
            "rejected": [user("一"), said("二"), user("三"), said("差")],
        },
        THREE,
    ),
    "binarized, answers as text": (
        {"prompt": "问", "messages": [user("问"), said("好")], "chosen": "好", "rejected": "差"},
        Q,
    ),
    "the beginning apart": (
        {"prompt": [user("一"), said("二")], "chosen": [user("三"), said("好")], "rejected": [user("三"), said("差")]},
        THREE,
    ),
    "the conversation and its first answer": (
        {
            "conversation": [{"input": "一", "output": "二"}, {"input": "三", "output": "差"}],
            "chosen": [user("一"), said("二"), user("三"), said("好")],
            "rejected": [user("一"), said("二"), user("三"), said("差")],
        },
        THREE,
    ),
    "ms-swift": ({"messages": [user("问"), said("好")], "rejected_response": "差"}, Q),
    "ms-swift, newer": ({"messages": [user("问"), said("好")], "rejected_messages": [user("问"), said("差")]}, Q),
    "ms-swift, older": ({"query": "三", "history": [["一", "二"]], "response": "好", "rejected_response": "差"}, THREE),
    "hh": ({"chosen": f"{HUMAN}\n\nAssistant: 好", "rejected": f"{HUMAN}\n\nAssistant: 差"}, THREE),
    "hh in Chinese": ({"chosen": f"{CHINESE}\n\n助手：好", "rejected": f"{CHINESE}\n\n助手：差"}, THREE),
    "hh, the prompt apart": ({"prompt": f"{HUMAN}\n\nAssistant:", "chosen": "好", "rejected": "差"}, THREE),
    "hh, the prompt too": (
        {"prompt": HUMAN, "chosen": f"{HUMAN}\n\nAssistant: 好", "rejected": f"{HUMAN}\n\nAssistant: 差"},
        THREE,
    ),
    "exchanges": (
        {
            "conversation": [{"human": "一", "assistant": "二"}, {"human": "三", "assistant": None}],
            "chosen": "好",
            "rejected": "差",
        },
        THREE,
    ),
    "text that looks like turns": (
        {"prompt": "user: 一\n\nassistant: 二", "chosen": "好", "rejected": "差"},
        [("user", "user: 一\n\nassistant: 二")],
    ),
    "a dialogue to go on with": (
        {"prompt": "Human: 是什么意思？", "chosen": "好", "rejected": "差"},
        [("user", "Human: 是什么意思？")],
    ),
    "argilla": ({"instruction": "问", "chosen_response": "好", "rejected_response": "差"}, Q),
    "parts": (
        {
            "prompt": [{"role": "user", "content": [{"type": "text", "text": "问"}]}],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "好"}]}],
            "rejected": [{"role": "assistant", "content": ["差"]}],
        },
        Q,
    ),
    "answers as objects": ({"prompt": "问", "chosen": {"response": "好"}, "rejected": {"text": "差"}}, Q),
    "null and empty fields": (
        {"conversations": None, "messages": [], "history": [], "prompt": "问", "chosen": "好", "rejected": "差"},
        Q,
    ),
}
