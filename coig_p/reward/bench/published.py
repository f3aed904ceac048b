"""Published benchmarks, each in the form of its own public files, as items of ours.

A column or a value that is not known is an error: what it means is never guessed. Where an id may be unique in its
subset alone, an item's is subset/id.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from coig_p.reward.bench.form import Item, Response, not_as, shown
from coig_p.reward.bench.rows import Row
from coig_p.schema import DOMAINS

CRBENCH_DOMAINS = {
    "对话": "chat",
    "逻辑推理": "logic",
    "数学": "math",
    "代码": "code",
    "角色扮演": "role",
    "小说续写": "novel",
}

REWARDBENCH_SECTIONS = {
    "Chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "Chat Hard": (
        "mt-bench-hard",
        "llmbar-natural",
        "llmbar-adver-neighbor",
        "llmbar-adver-GPTInst",
        "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ),
    "Safety": (
        "refusals-dangerous",
        "refusals-offensive",
        "xstest-should-refuse",
        "xstest-should-respond",
        "donotanswer",
    ),
    "Reasoning": ("math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
}
"""The subsets of each section."""

REWARDBENCH2_SUBSETS = ("Factuality", "Precise IF", "Math", "Safety", "Focus", "Ties")
TIES = "Ties"

RM_BENCH_DOMAINS = ("chat", "code", "math", "safety-refuse", "safety-response")
RM_BENCH_STYLES = ("concise", "detailed_plain", "detailed_markdown")

JUDGEBENCH_DOMAINS = {
    "mmlu-pro": "knowledge",
    "livebench-reasoning": "reasoning",
    "livebench-math": "math",
    "livecodebench": "coding",
}
"""By what a source begins with."""

CHEEMS_PARTS = ("human", "open")


@dataclass(frozen=True)
class Published:
    """A benchmark that others published.

    Attributes:
        name: as its authors write it.
        licence: as its public card says; None where it says none that was seen.
        required, optional: its columns.
        item: an item of a row; with the names of columns that are kept.
    """

    name: str
    preset: str
    licence: str | None
    required: tuple[str, ...]
    optional: tuple[str, ...]
    item: Callable[[Row, Collection[str]], Item]


def _kept(row: Row, keep: Collection[str]) -> dict[str, Any]:
    return {name: row.values[name] for name in keep if row.get(name) is not None}


def _two(row: Row) -> tuple[Response, ...]:
    return (
        Response("chosen", row.text("chosen"), row.optional_text("chosen_model")),
        Response("rejected", row.text("rejected"), row.optional_text("rejected_model")),
    )


def _crbench(row: Row, keep: Collection[str]) -> Item:
    """`prompt`, `chosen`, `rejected`, and one of six Chinese domains, alone or in a list."""
    value = row.get("domain")
    name = value[0] if isinstance(value, list) and len(value) == 1 else value
    known = CRBENCH_DOMAINS | {domain: domain for domain in DOMAINS}
    if not isinstance(name, str) or name not in known:
        raise row.wrong("domain", not_as(row.values, "domain", f"one of {', '.join(known)}"))
    id_ = row.name("id") if row.get("id") is not None else f"{row.path.name}-{row.number}"
    meta = {"subset": name} | _kept(row, keep)
    return Item(id_, known[name], row.text("prompt"), _two(row), (0, 1), meta=meta)


def _rewardbench(row: Row, keep: Collection[str]) -> Item:
    """One chosen, one rejected; an id is unique in its subset. The domain is the subset's section."""
    section_of = {subset: section for section, subsets in REWARDBENCH_SECTIONS.items() for subset in subsets}
    subset = row.one_of("subset", section_of)
    meta = {"subset": subset} | _kept(row, keep)
    id_ = f"{subset}/{row.name('id')}"
    return Item(id_, section_of[subset], row.text("prompt"), _two(row), (0, 1), meta=meta)


def _rewardbench2(row: Row, keep: Collection[str]) -> Item:
    """Right responses, all rank 0, and wrong ones. Ids of Ties say which of two prompts it is: ref:7 or tied:7."""
    subset = row.one_of("subset", REWARDBENCH2_SUBSETS)
    chosen, rejected = row.texts("chosen"), row.texts("rejected")
    number = len(chosen) + len(rejected)
    for name, counted in (
        ("num_correct", len(chosen)),
        ("num_incorrect", len(rejected)),
        ("num_rejected", len(rejected)),
        ("total_completions", number),
    ):
        if row.count(name) not in (None, counted):
            raise row.wrong(name, f"{row.get(name)}, and there are {counted}")
    id_ = row.name("id")
    meta: dict[str, Any] = {"subset": subset}
    if subset == TIES:
        found = re.fullmatch(r"(ref|tied):(\d+)", id_)
        if found is None:
            raise row.wrong("id", f"{shown(id_)} is not ref:NUMBER or tied:NUMBER, as in {TIES}")
        meta |= {"ties": found[1], "ties_prompt": int(found[2])}
    names = row.texts("models") if row.get("models") else []
    models: list[str | None] = [*names] if len(names) == number else [None] * number
    if names and len(names) != number:
        meta["models"] = names  # whose each is, nobody says
    more = row.get("additional_metadata")
    if more is not None:
        if not isinstance(more, dict):
            raise row.wrong("additional_metadata", not_as(row.values, "additional_metadata", "an object"))
        meta["additional_metadata"] = {name: value for name, value in more.items() if value is not None}
    texts = [*((f"chosen-{at}", text) for at, text in enumerate(chosen, 1))]
    texts += [(f"rejected-{at}", text) for at, text in enumerate(rejected, 1)]
    responses = tuple(Response(name, text, model) for (name, text), model in zip(texts, models, strict=True))
    ranks = (0,) * len(chosen) + (1,) * len(rejected)
    return Item(f"{subset}/{id_}", subset, row.text("prompt"), responses, ranks, meta=meta | _kept(row, keep))


def _rm_bench(row: Row, keep: Collection[str]) -> Item:
    """Three right and three wrong responses, each in three styles, plain to formatted."""
    domain = row.one_of("domain", RM_BENCH_DOMAINS)
    responses = []
    for side in ("chosen", "rejected"):
        texts = row.texts(side)
        if len(texts) != len(RM_BENCH_STYLES):
            raise row.wrong(side, f"{len(texts)} responses, and there are three: {', '.join(RM_BENCH_STYLES)}")
        responses += [Response(f"{side}-{style}", text) for style, text in zip(RM_BENCH_STYLES, texts, strict=True)]
    meta = {"subset": domain, "style": [*RM_BENCH_STYLES, *RM_BENCH_STYLES]} | _kept(row, keep)
    id_ = f"{domain}/{row.name('id')}"
    return Item(id_, domain, row.text("prompt"), tuple(responses), (0, 0, 0, 1, 1, 1), meta=meta)


def _judgebench(row: Row, keep: Collection[str]) -> Item:
    """Responses A and B, in the order in which they are shown first, and which of them is right."""
    source = row.text("source")
    domain = next((domain for start, domain in JUDGEBENCH_DOMAINS.items() if source.startswith(start)), None)
    if domain is None:
        raise row.wrong("source", f"{shown(source)} begins with none of {', '.join(JUDGEBENCH_DOMAINS)}")
    label = row.one_of("label", ("A>B", "B>A"))
    model = row.optional_text("response_model")
    responses = (Response("A", row.text("response_A"), model), Response("B", row.text("response_B"), model))
    meta: dict[str, Any] = {"subset": source}
    if row.get("original_id") is not None:
        meta["original_id"] = row.name("original_id")
    ranks = (0, 1) if label == "A>B" else (1, 0)
    return Item(row.name("pair_id"), domain, row.text("question"), responses, ranks, meta=meta | _kept(row, keep))


def _cheems(row: Row, keep: Collection[str]) -> Item:
    """Responses with an id each, and a rank for each id; lower is better. The file's name says which part it is."""
    part = next((one for one in CHEEMS_PARTS if re.match(rf"{one}\b", row.path.name)), None)
    if part is None:
        raise row.wrong("", f"the file's name begins with neither {' nor '.join(CHEEMS_PARTS)}: which part is it?")
    if (row.get("input") is None) == (row.get("prompt") is None):
        raise row.wrong("input", "one of input and prompt must say what is asked")
    ids, responses = _cheems_responses(row)
    ranks = _cheems_ranks(row, ids)
    category = row.get("category")
    categories = [category] if isinstance(category, str) else category
    if not isinstance(categories, list) or not categories or not all(isinstance(one, str) for one in categories):
        raise row.wrong("category", not_as(row.values, "category", "text, or a list of texts"))
    meta = {"subset": part, "category": categories} | _kept(row, (*keep, "annotations"))
    prompt = _cheems_prompt(row)
    return Item(f"{part}-{row.number}", categories[0], prompt, responses, ranks, meta=meta)


def _cheems_prompt(row: Row) -> str | tuple[Mapping[str, str], ...]:
    name = "input" if row.get("input") is not None else "prompt"
    asked, system = row.get(name), row.optional_text("sys_prompt")
    if not isinstance(asked, str | list):
        raise row.wrong(name, not_as(row.values, name, "text, or a list of turns"))
    for at, turn in enumerate(asked if isinstance(asked, list) else ()):
        if not isinstance(turn, dict):
            raise row.wrong(f"{name}[{at}]", f"{shown(turn)} is not a turn, an object with role and content")
    if system is None:
        return asked if isinstance(asked, str) else tuple(asked)
    turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    return ({"role": "system", "content": system}, *turns)


def _cheems_responses(row: Row) -> tuple[list[str], tuple[Response, ...]]:
    value = row.get("responses")
    if not isinstance(value, list) or not value:
        raise row.wrong("responses", not_as(row.values, "responses", "a list of responses"))
    found = []
    for at, one in enumerate(value):
        where = f"responses[{at}]"
        if not isinstance(one, dict):
            raise row.wrong(where, f"{shown(one)} is not an object")
        for name, text in one.items():
            if name not in ("id", "content", "model") and text is not None:
                raise row.wrong(f"{where}.{name}", "no field of a response, which has id, content, model")
        for name in ("id", "content"):
            if not isinstance(one.get(name), str):
                raise row.wrong(f"{where}.{name}", not_as(one, name, "text"))
        if not isinstance(one.get("model"), str | None):
            raise row.wrong(f"{where}.model", not_as(one, "model", "text"))
        found.append(Response(one["id"], one["content"], one.get("model")))
    return [one.id for one in found], tuple(found)


def _cheems_ranks(row: Row, ids: list[str]) -> tuple[int, ...]:
    value = row.get("rank")
    if not isinstance(value, dict):
        raise row.wrong("rank", not_as(row.values, "rank", "an object with a rank for each response's id"))
    told = {name: rank for name, rank in value.items() if rank is not None}  # of Parquet, which has every row's ids
    for name in told:
        if name not in ids:
            raise row.wrong(f"rank.{name}", "no response has this id")
    ranks = []
    for name in ids:
        rank = told.get(name)
        whole = int(rank) if isinstance(rank, str) and re.fullmatch(r"[0-9]{1,9}", rank) else rank
        if type(whole) is not int or whole < 0:
            raise row.wrong(f"rank.{name}", not_as(told, name, "a whole number of 0 or more"))
        ranks.append(whole)
    return tuple(ranks)


PUBLISHED: dict[str, Published] = {
    "crbench": Published(
        "CRBench",
        "crbench",
        None,
        ("prompt", "chosen", "rejected", "domain"),
        ("id", "chosen_model", "rejected_model"),
        _crbench,
    ),
    "cheemsbench": Published(
        "CheemsBench",
        "cheems",
        None,
        ("responses", "rank", "category"),
        ("input", "prompt", "annotations", "sys_prompt"),
        _cheems,
    ),
    "rewardbench": Published(
        "RewardBench",
        "rewardbench",
        "odc-by",
        ("prompt", "chosen", "rejected", "subset", "id"),
        ("chosen_model", "rejected_model"),
        _rewardbench,
    ),
    "rewardbench2": Published(
        "RewardBench 2",
        "rewardbench2",
        "odc-by",
        ("id", "prompt", "chosen", "rejected", "subset"),
        ("num_correct", "num_incorrect", "num_rejected", "total_completions", "models", "additional_metadata"),
        _rewardbench2,
    ),
    "rm-bench": Published(
        "RM-Bench", "rm-bench", "odc-by", ("id", "prompt", "chosen", "rejected", "domain"), (), _rm_bench
    ),
    "judgebench": Published(
        "JudgeBench",
        "judgebench",
        None,
        ("pair_id", "source", "question", "response_A", "response_B", "label"),
        ("original_id", "response_model"),
        _judgebench,
    ),
}
"""By what `coigp bench convert --from` calls them."""
