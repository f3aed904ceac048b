"""TaP runs for tests: a small taxonomy, and a server that answers all that such a run asks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotating import toml

from coig_p.annotate.config import RunConfig, load_config

NAMES = ("概念辨析", "案例分析", "史料解读", "计算推导", "实验设计", "方案撰写", "错误诊断", "比较评述", "术语翻译")
NODES = """
[[nodes]]
name = "农学"
code = "09"
slug = "agronomy"
children = [{ name = "茶学", code = "0901" }, { name = "蚕学", code = "0902" }]
[[nodes]]
name = "工学"
code = "08"
slug = "engineering"
children = [{ name = "桥梁工程", code = "0801" }]
"""
ALL_TABLES: dict[str, dict[str, Any]] = {"taxonomy": {"file": "subjects.toml"}, "compare": {"least_judges": 1}}

EIGHT = """两个回答各有长短。

### 回答一的评分
- 相关性：[[{}]]
- 准确性：[[{}]]
- 清晰性：[[{}]]
- 完整性：[[{}]]

### 回答二的评分
- 相关性：[[{}]]
- 准确性：[[{}]]
- 清晰性：[[{}]]
- 完整性：[[{}]]
"""


def tap_endpoint(name: str, base_url: str, **settings: Any) -> dict[str, Any]:
    """An endpoint that does nothing yet."""
    given = {"name": name, "model": name, "base_url": base_url, "family": f"family-{name}"}
    return {**given, "parameters": {"max_tokens": 512}, "judge_parameters": {"max_tokens": 256}, **settings}


def two_writers(base_url: str, **settings: Any) -> list[dict[str, Any]]:
    """Two writers, of which one generates, one more that generates, and a judge."""
    return [
        tap_endpoint("w-0", base_url, writes=True, generates=True, **settings),
        tap_endpoint("w-1", base_url, writes=True, **settings),
        tap_endpoint("m-0", base_url, generates=True, **settings),
        tap_endpoint("j-0", base_url, judges=True, **settings),
    ]


def tap_toml(endpoints: list[dict[str, Any]], **tables: Mapping[str, Any]) -> str:
    """The text of a run's file; `tables` are merged into the defaults."""
    lines: list[str] = []
    for name in dict.fromkeys((*ALL_TABLES, *tables)):
        table = {**ALL_TABLES.get(name, {}), **tables.get(name, {})}
        lines += [f"[{name}]", *(f"{key} = {toml(value)}" for key, value in table.items())]
    for one in endpoints:
        lines += ["[[endpoints]]", *(f"{key} = {toml(value)}" for key, value in one.items())]
    return "\n".join(lines) + "\n"


def write_tap(folder: Path, endpoints: list[dict[str, Any]], **tables: Mapping[str, Any]) -> RunConfig:
    """A run of three subjects in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "subjects.toml").write_text(NODES, encoding="utf-8")
    (folder / "run.toml").write_text(tap_toml(endpoints, **tables), encoding="utf-8")
    return load_config(folder / "run.toml")


def tap_answer(request: Mapping[str, Any]) -> str:
    """Three rounds of four, three and two types; of every third candidate the check says that it cannot be done."""
    said = [str(message["content"]) for message in request["messages"] if message["role"] == "user"]
    asked, first = said[-1], said[0]
    if "公正的评审" in first:
        return EIGHT.format(*(1 + _draw(str(request["model"]), first, str(at)) % 10 for at in range(8)))
    if "它能不能完成这条指令" in asked:
        return "模型只有文字。\n\n" + ("不合理" if "出门" in asked else "合理")
    if "还有哪些题型" in asked:
        more = sum("还有哪些题型" in text for text in said)
        return _items(NAMES[4:7] if more == 1 else NAMES[7:])
    if "请列出" in asked:
        return "下面是一些题型：\n\n" + _items(NAMES[:4])
    if "请重写这个简介" in asked:
        return f"围绕真实工作场景的要求{_draw(asked) % 1000}，写得更规范的简介。"
    said.append(str(request["model"]))
    if "有没有因为缺少必要的输入" in asked:
        lacks = _draw(*said) % 4 == 0
        return f"是\n\n### 指令\n补全了材料的题目{_draw(*said)}。" if lacks else "否"
    if "没有办法完成" in asked or "出一道具体的题目" in first:
        number = _draw(*said)
        return f"### 指令\n{'请出门' if number % 3 == 0 else '请'}写出第{number}题的要点。"
    return f"{request['model']} 的回答：{_draw(str(request['model']), asked)}。"


def _items(names: tuple[str, ...]) -> str:
    return "\n".join(f'"""{name}：要求完成{name}的题目"""' for name in names)


def _draw(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\x00".join(parts).encode()).digest()[:4], "big")
