"""The columns of a store and of its pairs, and the names that may stand in them."""

from __future__ import annotations

import re

import pyarrow as pa

from coig_p.errors import UsageError

NAME = "coig-p"
"""What datasets knows us by: `load_dataset(NAME, ...)`."""

SCHEMA_VERSION = 2
"""Version of the rows that are written, and of the layout of most stores. Readers accept every older one."""

LISTED_APART = 3
"""Version of a store of so many files that its manifest names a list of them; its rows are those of version 2."""

NEWEST_VERSION = LISTED_APART
"""The highest version that is read."""

DOMAINS = ("chat", "code", "math", "logic", "novel", "role")
"""COIG-P's six domains (COIG-P, Table 2). A store may define others."""

UNITS = ("rows", "responses", "scores", "comparisons")
"""What of a store is counted: in its manifest, by an import, and when something is dropped."""

SCORE_GRID = 10_000
"""Scores and thresholds are whole multiples of 1/SCORE_GRID, so that they compare exactly."""

OVERALL = "overall"
"""The dimension of a judge that gave one score for the whole response."""

ROLES = ("system", "user", "assistant", "tool")
"""Who speaks in a conversation."""

TURN_TYPE = pa.struct([("role", pa.string()), ("content", pa.string()), ("extra", pa.string())])
"""One turn of a conversation; `extra` is the JSON text of what else it has: tool calls, names."""

SCORE_TYPE = pa.struct(
    [("judge", pa.string()), ("dimension", pa.string()), ("score", pa.float64()), ("rationale", pa.string())]
)
RESPONSE_TYPE = pa.struct(
    [
        ("model", pa.string()),
        ("sample", pa.int32()),
        ("text", pa.string()),
        ("extra", pa.string()),
        ("scores", pa.list_(SCORE_TYPE)),
    ]
)
COMPARISON_TYPE = pa.struct(
    [
        ("first", pa.int32()),
        ("second", pa.int32()),
        ("judge", pa.string()),
        ("dimension", pa.string()),
        ("first_score", pa.float64()),
        ("second_score", pa.float64()),
        ("rationale", pa.string()),
    ]
)
RAW_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("domain", pa.string()),
        ("query", pa.string()),
        ("messages", pa.list_(TURN_TYPE)),
        ("tools", pa.string()),
        ("source", pa.string()),
        ("meta", pa.string()),
        ("responses", pa.list_(RESPONSE_TYPE)),
        ("comparisons", pa.list_(COMPARISON_TYPE)),
    ]
)
"""One row per query: all its responses, each with all its scores."""

ONLY_IN_2 = {"messages", "tools", "meta", "sample", "extra", "rationale"}
"""Columns and nested fields that came with schema version 2."""


def _without(kind: pa.DataType, names: set[str]) -> pa.DataType:
    """The type with no field of these names, at any depth."""
    if pa.types.is_list(kind):
        return pa.list_(_without(kind.value_type, names))
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, _without(one.type, names)) for one in kind if one.name not in names])
    return kind


def without(schema: pa.Schema, names: set[str]) -> pa.Schema:
    """The schema with no column or nested field of these names."""
    return pa.schema([(one.name, _without(one.type, names)) for one in schema if one.name not in names])


RAW_SCHEMAS: dict[int, pa.Schema] = {1: without(RAW_SCHEMA, ONLY_IN_2), 2: RAW_SCHEMA, LISTED_APART: RAW_SCHEMA}
"""The columns of a store by its schema version."""

PAIRING_SCHEMA = without(RAW_SCHEMA, {"source", "meta", "dimension", "rationale"})
"""What is read of a store to make pairs: no rationale, which may be longer than the response."""

MESSAGES_TYPE = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
"""A conversation, or one answer, as trainers read it."""

_FUNCTION_TYPE = pa.struct([("name", pa.string()), ("arguments", pa.string())])
CALLS_TYPE = pa.list_(pa.struct([("id", pa.string()), ("type", pa.string()), ("function", _FUNCTION_TYPE)]))
"""What an assistant asks tools for; `arguments` is JSON text."""

TOOL_MESSAGES_TYPE = pa.list_(
    pa.struct(
        [
            ("role", pa.string()),
            ("content", pa.string()),
            ("reasoning_content", pa.string()),
            ("tool_calls", CALLS_TYPE),
            ("tool_call_id", pa.string()),
            ("name", pa.string()),
        ]
    )
)
"""MESSAGES_TYPE where tools are in play: what is not said is null."""

_PAIR_FACTS: list[tuple[str, pa.DataType]] = [
    ("query_id", pa.string()),
    ("domain", pa.string()),
    ("chosen_model", pa.string()),
    ("rejected_model", pa.string()),
    ("chosen_score", pa.float64()),
    ("rejected_score", pa.float64()),
    ("margin", pa.float64()),
]

# Of a query's responses, best first: entry by entry beside their texts. A rank is 1 and how many score higher.
_RANKED_FACTS: list[tuple[str, pa.DataType]] = [
    ("models", pa.list_(pa.string())),
    ("scores", pa.list_(pa.float64())),
    ("ranks", pa.list_(pa.int64())),
    ("query_id", pa.string()),
    ("domain", pa.string()),
]

PAIR_SCHEMAS: dict[str, pa.Schema] = {
    "dpo": pa.schema([(name, pa.string()) for name in ("prompt", "chosen", "rejected")] + _PAIR_FACTS),
    "conversational": pa.schema([(name, MESSAGES_TYPE) for name in ("prompt", "chosen", "rejected")] + _PAIR_FACTS),
    "reward": pa.schema(
        [(name, pa.string()) for name in ("prompt", "chosen", "rejected")]
        + [("margin", pa.float64()), ("query_id", pa.string()), ("domain", pa.string())]
    ),
    "kto": pa.schema(
        [
            ("prompt", pa.string()),
            ("completion", pa.string()),
            ("label", pa.bool_()),
            ("query_id", pa.string()),
            ("domain", pa.string()),
            ("model", pa.string()),
            ("score", pa.float64()),
        ]
    ),
    "sft": pa.schema(
        [(name, pa.string()) for name in ("prompt", "completion", "query_id", "domain", "model")]
        + [("score", pa.float64())]
    ),
    "ranked": pa.schema([("prompt", pa.string()), ("responses", pa.list_(pa.string())), *_RANKED_FACTS]),
    "ranked_conversational": pa.schema(
        [("prompt", MESSAGES_TYPE), ("responses", pa.list_(MESSAGES_TYPE)), *_RANKED_FACTS]
    ),
}
"""The columns of each ``format``."""

MESSAGE_FORMATS = frozenset({"conversational", "ranked_conversational"})
"""The formats that show conversations turn by turn, as message lists."""

RANKED_FORMATS = frozenset({"ranked", "ranked_conversational"})
"""The formats of one row a query, its responses in order."""

_TEXTS = ("prompt", "chosen", "rejected", "completion")


def row_schema(form: str, *, as_messages: bool, with_tools: bool) -> pa.Schema:
    """The columns of PAIR_SCHEMAS[form], with its texts as message lists where they are shown so.

    Args:
        with_tools: messages are of TOOL_MESSAGES_TYPE, and after them comes a column `tools`, JSON text or null.
    """
    if not as_messages:
        return PAIR_SCHEMAS[form]
    kind = TOOL_MESSAGES_TYPE if with_tools else MESSAGES_TYPE
    kinds = dict.fromkeys(_TEXTS, kind) | {"responses": pa.list_(kind)}
    texts = [(one.name, kinds[one.name]) for one in PAIR_SCHEMAS[form] if one.name in kinds]
    others = [(one.name, one.type) for one in PAIR_SCHEMAS[form] if one.name not in kinds]
    return pa.schema([*texts, *([("tools", pa.string())] if with_tools else []), *others])


RAW_SUFFIX = "-raw"
_DOMAIN = re.compile(r"[a-z0-9_-]+")
_SPLIT = re.compile(r"[A-Za-z0-9_]+")
_RESERVED = frozenset({"all", "default", "raw", "train", "test", "validation"})


def domain_problem(name: str) -> str | None:
    """Why `name` cannot be a domain, or None where it can."""
    if not _DOMAIN.fullmatch(name):
        return "a domain is made of a-z, 0-9, _ and - alone"
    if name in _RESERVED or name.endswith(RAW_SUFFIX):
        return f"reserved (as are {', '.join(sorted(_RESERVED))} and names ending in {RAW_SUFFIX})"
    return None


def check_domain(name: str) -> str:
    """Return `name`; raise UsageError where it cannot be a domain."""
    problem = domain_problem(name)
    if problem is not None:
        raise UsageError(f"domain {name!r}: {problem}")
    return name


def check_split(name: str) -> str:
    """Return `name`; raise UsageError where it cannot be a split."""
    if not _SPLIT.fullmatch(name) or name == "all":
        raise UsageError(f"split {name!r}: use letters, digits and _ alone, for instance train; 'all' is reserved")
    return name


def on_grid(value: float) -> bool:
    """Whether a finite `value` is the float nearest to a multiple of 1/SCORE_GRID."""
    try:
        return round(value * SCORE_GRID) / SCORE_GRID == value
    except OverflowError:  # beyond what a float can hold once multiplied
        return False


def to_grid(value: float) -> int:
    """The whole number of 1/SCORE_GRID in a `value` that is on the grid."""
    return round(value * SCORE_GRID)
