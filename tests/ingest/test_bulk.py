"""Blocks taken in at once: the same store, byte for byte, as from a look at every value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.ingest.accounting import ImportFailed
from coig_p.ingest.bulk import CleanRows, clean_rows
from coig_p.ingest.columns import Rows
from coig_p.ingest.fields import FormConfig
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.readers import Lines
from coig_p.ingest.spool import _side_by_side


def row(query_id: Any, **changes: Any) -> dict[str, Any]:
    scores = [{"judge": "j", "dimension": "overall", "score": 7.5}, {"judge": "k", "dimension": "d", "score": 3}]
    responses = [{"model": model, "text": f"答{model}。", "scores": scores} for model in "ab"]
    return {"query_id": query_id, "domain": "math", "query": f"问{query_id}？", "responses": responses} | changes


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in rows)


def outcome(data: bytes, folder: Path, config: ImportConfig, block: int, *, by_rows: bool) -> Any:
    """Everything that an import of these bytes says and leaves behind."""
    folder.mkdir(exist_ok=True)
    path = folder / "x.jsonl"
    path.write_bytes(data)
    check = (lambda block, rows, forms: None) if by_rows else clean_rows
    beside = (lambda batch, begins: None) if by_rows else _side_by_side
    with (
        patch("coig_p.ingest.readers._BLOCK", block),
        patch("coig_p.ingest.readers._LONGEST_LINE", max(block, 2000)),
        patch("coig_p.ingest.files.clean_rows", check),
        patch("coig_p.ingest.files._check_labels"),  # of rows with labels beside rows with scores
        patch("coig_p.ingest.spool._side_by_side", beside),
    ):
        try:
            _, report = import_files([path], folder / "store", config, overwrite=True)
        except ImportFailed as error:
            return str(error), error.report
    rejects = folder / "store/rejects.jsonl"
    return (folder / "store/manifest.json").read_text("utf-8"), report, rejects.exists() and rejects.read_bytes()


def same(data: bytes, folder: Path, config: ImportConfig, block: int = 1 << 20) -> Any:
    at_once = outcome(data, folder, config, block, by_rows=False)
    assert at_once == outcome(data, folder, config, block, by_rows=True)
    return at_once


def test_answers_of_different_models_are_laid_side_by_side(tmp_path: Path) -> None:
    """Rows of a query that stand apart, some with several answers; nothing has to be looked at by itself."""
    rows = [row(str(at % 3), responses=[{"model": f"m{at}", "text": f"答{at}"}]) for at in range(9)]
    rows += [row("1", query="问1？", responses=[{"model": f"n{at}", "text": f"又{at}"} for at in range(3)]), row("9")]
    for block in (1, 300, 1 << 20):
        with patch("coig_p.ingest.spool.merge", side_effect=AssertionError("looked at")):
            at_once = outcome(lines(*rows), tmp_path, ImportConfig(), block, by_rows=False)
        assert at_once == outcome(lines(*rows), tmp_path, ImportConfig(), block, by_rows=True)
        assert at_once[1].counts["rows"] == {"read": 11, "stored": 4, "merged": 7}


def taken_at_once(data: bytes) -> bool:
    return isinstance(clean_rows(Lines("x", 1, data), Rows((0, 10), "unknown")), CleanRows)


ORDINARY = [
    row("1"),
    row(None),
    row("", source="某处"),
    row("2", source=None, comparisons=None),
    row("3", responses=[]),
    row("4", responses=[{"model": "a", "text": " 前有空格\n\n"}, {"model": "b", "text": "答", "scores": None}]),
    row("5", responses=[{"model": "a", "text": "\u0000\u0085\U0001f600", "scores": []}]),
    row("6", responses=[{"scores": [{"score": 1e0, "judge": "j"}], "text": "答", "model": "模型"}]),
    row("7", domain="chat"),
    {"query": "问八", "responses": [], "domain": "math"},
]


@pytest.mark.parametrize("value", ORDINARY, ids=range(len(ORDINARY)))
def test_ordinary_rows_are_taken_at_once(value: Any, tmp_path: Path) -> None:
    data = lines(row("0"), value)
    assert taken_at_once(data)
    assert taken_at_once(data.rstrip(b"\n"))
    text, report, _ = same(data, tmp_path, ImportConfig())
    assert report.counts["rows"]["stored"] == 2
    assert json.loads(text)["accounting"]["rows"]["read"] == 2


UNUSUAL: list[Any] = [
    row(7),
    row(" "),
    row("1", extra=1),
    row("1", query=" \u3000\u2003\x1c"),
    row("1", query=""),
    row("1", source=" "),
    row("1", domain=None),
    row("1", comparisons=[]),
    row("1", responses=None),
    row("1", responses=[None]),
    *(
        row("1", responses=[{"model": "a", "text": "答", "scores": [score]}])
        for score in (
            {"judge": "j", "score": 11},
            {"judge": "j", "score": 0.9999},
            {"judge": "j", "score": 1.00001},
            {"judge": "j", "score": None},
            {"judge": "j", "score": "5"},
            {"judge": "j", "score": True},
            {"judge": "\n", "score": 5},
            {"judge": "j", "score": 5, "dimension": " "},
            {"judge": "j", "score": 5, "note": ""},
            {"score": 5},
            None,
        )
    ),
    row("1", responses=[{"model": "a", "text": "答"}, {"model": "a", "text": "又答"}]),
    row("1", responses=[{"model": None, "text": "答"}, {"model": "", "text": "又答"}]),
    row("1", responses=[{"model": "a", "text": "\x85 "}]),
    [row("1")],
    *(
        text.encode()
        for text in (
            '{"query": "甲", "query": "乙", "domain": "math", "responses": []}',
            '{"query": "\\ud800", "domain": "math", "responses": []}',
            '{"query": "甲\t", "domain": "math", "responses": []}',
            '{"query": "甲", "domain": "math", "responses": []}{"query": "乙", "domain": "math", "responses": []}',
            '{"query": "甲", "domain": "math",\n"responses": []}',
            '{"query": "甲", "domain": "math", "responses": []}\r',
            ' {"query": "甲", "domain": "math", "responses": []}',
            '{"query": "甲", "domain": "math", "responses": []},',
            '{"query": "甲", "domain": "math", "responses": [],}',
            '{"query": "甲", "domain": "math", "responses": []}//',
            '{"query": "甲", "domain": "math", "responses": []}\x00',
            "\n{}",
            "{}\n",
            "",
            "{",
            '{"query": ' + "[" * 100_000,
            '{"responses": ' + "[" * 100_000 + "}",
            '{"responses": [{"scores": [{"score": ' + '{"score": ' * 100_000 + "}",
        )
    ),
    b'{"query": "\xff", "domain": "math", "responses": []}',
    b'{"query": "\xed\xa0\x80", "domain": "math", "responses": []}',
    *(
        f'{{"query": "甲", "domain": "math", "responses": [{{"model": "a", "text": "答", "scores": [{{"judge": "j", '
        f'"score": {number}}}]}}]}}'.encode()
        for number in ("NaN", "1e400", "1e-400", "-0", "-0.0", "05", "5.", "1" * 400)
    ),
]


@pytest.mark.parametrize("value", UNUSUAL, ids=range(len(UNUSUAL)))
def test_unusual_rows_are_left_to_the_row_by_row_way(value: Any, tmp_path: Path) -> None:
    unusual = value + b"\n" if isinstance(value, bytes) else lines(value)
    data = lines(row("a"), row("b")) + unusual + lines(row("c"))
    for on_error, score_range in (("fail", (1, 10)), ("skip", (1, 10)), ("skip", (-1, 10))):
        same(data, tmp_path, ImportConfig(on_error=on_error, score_range=score_range))
    same(unusual, tmp_path, ImportConfig(on_error="skip", domain="chat"))
    same(unusual + lines(row("c")), tmp_path, ImportConfig(on_error="skip", domain_map={"math": "sums"}))


def test_what_stands_between_blocks_is_seen(tmp_path: Path) -> None:
    """A query_id, a text or a model that was there in an earlier block, and domains of their own."""
    rows = [row(str(at), domain="math" if at % 3 else "chat") for at in range(20)]
    rows[11] = row("3", responses=[{"model": "c", "text": "晚来的"}])
    rows[12] = row("4", query="另一个问题", domain="math")
    rows[13] = row("5", responses=[{"model": "a", "text": "重复"}], domain="math")
    rows[17] = row("17", domain="Bad")
    rows[18] = row(None, query="问19？", responses=[{"model": None, "text": "无名"}])
    for block in (1, 300, 1000, 100_000):
        _, report, _ = same(lines(*rows), tmp_path, ImportConfig(on_error="skip"), block)
        assert {reason: report.reasons[reason] for reason in ("two-texts", "bad-domain")} == {
            "two-texts": 1,
            "bad-domain": 1,
        }


def turn(text: str, role: str = "assistant") -> dict[str, str]:
    return {"role": role, "content": text}


ASKED = [turn("助手", "system"), turn("问一", "user"), turn("答一"), turn("问二", "user")]
SHAPED: list[list[dict[str, Any]]] = [
    [{"prompt": "问一", "chosen": "好", "rejected": "坏"}],
    [{"question": "问一", "chosen": "好", "rejected": "坏", "query_id": "a", "domain": "math", "source": None}],
    [{"prompt": f"问{at // 3}", "chosen": "好", "rejected": f"坏{at % 2}"} for at in range(9)],
    [{"prompt": "人们说：Human: 你好", "chosen": "Human", "rejected": "用户：你好"}],
    [{"prompt": [turn("问一", "user")], "chosen": [turn("好")], "rejected": [turn("坏")]}],
    [{"messages": ASKED, "chosen": [turn("好")], "rejected": [turn("坏")]}] * 2,
    [
        {"prompt": [turn(f"问{at // 2}", "user")], "chosen": [turn("好")], "rejected": [turn(f"坏{at}")]}
        for at in range(5)
    ]
    + [{"prompt": ASKED, "chosen": [turn("好")], "rejected": [turn("坏")]}],
    [
        {"prompt": "问一", "output": "好", "model": "a", "judge": "j", "score": 8},
        {"prompt": "问一", "output": "坏", "score": 2},
    ],
    [{"query": "问一", "response": "好", "model": "a", "rating": 8.5, "dimension": "d", "judge": None}] * 3,
    [{"instruction": "问一", "answer": text, "model": "a", "score": 8} for text in "好坏好"],
    [{"prompt": "问一", "completion": "好", "label": True}, {"prompt": "问一", "completion": "坏", "label": False}],
    [{"prompt": "问一", "completion": "好", "label": True, "model": "m", "query_id": "x"}] * 2,
]


@pytest.mark.parametrize("rows", SHAPED, ids=range(len(SHAPED)))
def test_rows_of_other_shapes_are_taken_at_once(rows: list[Any], tmp_path: Path) -> None:
    data = lines(*rows)
    assert taken_at_once(data)
    for block in (1, 100, 1 << 20):
        at_once = same(data, tmp_path, ImportConfig(domain="chat", score_range=(0, 10)), block)
        assert json.loads(at_once[0])["accounting"]["rows"]["read"] == len(rows)


PAIR, TALK = SHAPED[0][0], SHAPED[5][0]
SCORED, LABEL = SHAPED[7][0], SHAPED[10][0]
RARE: list[dict[str, Any]] = [
    *(
        PAIR | {"prompt": text}
        for text in ("", " ", None, "\n\nHuman: 问\n\nAssistant:", "人类：问\n\n助手：", [], ["问"], 5)
    ),
    *(
        PAIR | {"chosen": text}
        for text in ("坏", "\u3000", "Human: 问\n\nAssistant: 答", "用户：甲\n\n助手：乙", ["好", "很好"])
    ),
    *(
        PAIR | {name: value}
        for name in ("query", "system", "history", "images", "score_chosen", "id", "more")
        for value in (None, "x")
    ),
    {name: value for name, value in PAIR.items() if name != "rejected"},
    *(TALK | {"prompt": turns} for turns in (None, [], ASKED, [turn("别的", "user")])),
    *(TALK | {"messages": ASKED[:at]} for at in range(4)),
    *(
        TALK | {"messages": [one]}
        for one in (turn("x", "tool"), turn("x", "human"), turn("好", "user"), turn(" ", "user"), None)
    ),
    *(
        TALK | {"chosen": answer}
        for answer in ("好", [], ASKED, [turn("坏")], [turn("")], [turn("好", "gpt")], [turn("好") | {"name": "n"}])
    ),
    *(SCORED | {"score": score} for score in (None, "8", 11, 0, -0.0, 1.00001, True, "")),
    *(SCORED | {name: " "} for name in ("output", "model", "judge", "dimension", "domain")),
    *(SCORED | {name: "x"} for name in ("label", "winner", "answer", "rationale", "chosen", "sample")),
    *(LABEL | {"label": label} for label in (None, 1, 0, -1, "true", "good", 0.5)),
    LABEL | {"score": 5},
    LABEL | {"completion": [turn("好")]},
    *(one | {"prompt": json.dumps(ASKED)} for one in (PAIR, SCORED, LABEL)),
    *(PAIR | {name: repr([turn("好")])} for name in ("chosen", "rejected")),
    SCORED | {"output": json.dumps(turn("好"))},
    LABEL | {"completion": json.dumps([turn("好")])},
    PAIR | {"prompt": "Human: 甲\nAssistant: 好的，"},
    PAIR | {"prompt": "\n\nHuman: 甲\n\nAssistant: 好的，"},
    PAIR | {"chosen": "Human: 甲\nAssistant: 好", "rejected": "Human: 甲\nAssistant: 坏"},
    *(TALK | {"prompt": [turn(text, "system"), *more]} for text in ("", " ", "系") for more in ([], ASKED[:1])),
    SCORED | {"tool_calls": [], "reasoning_content": "想"},
    PAIR | {"margin": -1},
]


@pytest.mark.parametrize("rare", RARE, ids=range(len(RARE)))
def test_rare_rows_of_other_shapes_are_left_to_the_row_by_row_way(rare: Any, tmp_path: Path) -> None:
    usual = next(one for one in (LABEL, SCORED, TALK, PAIR) if len(one.keys() & rare.keys()) > 1)
    config = ImportConfig(domain="chat", score_range=(0, 10), on_error="skip", form=FormConfig(keep=("all",)))
    same(lines(usual, rare, usual | {"domain": "math"}), tmp_path, config)
    same(lines(rare), tmp_path, config)


FEW = st.sampled_from
ANY = st.one_of(st.none(), st.text(max_size=3), st.integers(-2, 12), st.booleans(), st.just([]), st.just({}))
TEXT = st.one_of(FEW(["甲", "乙", "\n丙", "a", "b", "j", "math", "chat"]), st.text(max_size=4))
SCORES = st.lists(
    st.fixed_dictionaries({"judge": TEXT, "score": FEW([1, 2.5, 10, 5.0])}, optional={"dimension": TEXT}), max_size=2
)
RESPONSES = st.lists(
    st.fixed_dictionaries({"model": FEW("abcdef"), "text": TEXT}, optional={"scores": SCORES}), max_size=3
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {"query": TEXT, "domain": FEW(["math", "chat"]), "responses": RESPONSES},
        optional={"query_id": FEW([None, "", *map(str, range(30))]), "source": st.one_of(st.none(), TEXT)},
    ),
    max_size=8,
)


@examples(150)
@given(
    rows=ROWS,
    changes=st.lists(
        st.tuples(st.floats(0, 1), FEW(["\n", "{", "}", '"', "0", ",", "null", "\ud800", "\\", " "])), max_size=2
    ),
    replaced=st.one_of(st.none(), st.tuples(FEW(["query", "domain", "responses", "query_id", "source", "more"]), ANY)),
    ascii=st.booleans(),
    block=FEW([1, 60, 200, 1 << 20]),
    skip=st.booleans(),
)
def test_blocks_and_rows_agree(
    rows: list[Any], changes: Any, replaced: Any, ascii: bool, block: int, skip: bool, tmp_path_factory: Any
) -> None:
    if replaced and rows:
        rows[len(rows) // 2] = rows[len(rows) // 2] | dict([replaced])
    text = "".join(json.dumps(value, ensure_ascii=ascii) + "\n" for value in rows)
    for place, letter in changes:
        at = int(place * len(text))
        text = text[:at] + letter + text[at:]
    data = text.encode("utf-8", "surrogatepass")
    same(data, tmp_path_factory.mktemp("bulk"), ImportConfig(on_error="skip" if skip else "fail"), block)


PROMPT, OPTIONAL = (
    FEW(["问一", "问二", "Human: x", "\n甲", " "]),
    {
        "query_id": FEW([None, "a", "b", ""]),
        "domain": FEW([None, "math", "chat", "Bad"]),
        "model": FEW([None, "a", "b"]),
        "judge": FEW([None, "j", "k"]),
    },
)
TURNS = st.lists(st.builds(turn, PROMPT, FEW(["user", "user", "assistant", "system"])), min_size=1, max_size=3)
ONE_ROW = st.one_of(
    st.fixed_dictionaries(
        {"prompt": PROMPT, "chosen": TEXT, "rejected": TEXT},
        optional={name: OPTIONAL[name] for name in ("query_id", "domain")},
    ),
    st.fixed_dictionaries(
        {
            "prompt": TURNS,
            "chosen": TEXT.map(lambda text: [turn(text)]),
            "rejected": TEXT.map(lambda text: [turn(text)]),
        }
    ),
    st.fixed_dictionaries({"prompt": PROMPT, "output": TEXT, "score": FEW([1, 2.5, 11, None])}, optional=OPTIONAL),
    st.fixed_dictionaries({"prompt": PROMPT, "output": TEXT, "score": FEW([1, 2.5]), "model": FEW("abcdefgh")}),
    st.fixed_dictionaries({"prompt": PROMPT, "completion": TEXT, "label": st.booleans()}, optional=OPTIONAL),
)


@examples(100)
@given(
    groups=st.lists(st.lists(ONE_ROW, max_size=6), max_size=3),
    sort=st.booleans(),
    block=FEW([1, 200, 1 << 20]),
    skip=st.booleans(),
    domain=FEW([None, "chat"]),
)
def test_blocks_and_rows_agree_in_every_shape(
    groups: Any, sort: bool, block: int, skip: bool, domain: str | None, tmp_path_factory: Any
) -> None:
    rows = [row for group in groups for row in group]
    if sort:  # rows of one shape side by side
        rows.sort(key=sorted)
    config = ImportConfig(
        domain=domain,
        default_domain=None if domain else "math",
        score_range=(0, 10),
        on_error="skip" if skip else "fail",
    )
    same(lines(*rows), tmp_path_factory.mktemp("shapes"), config, block)
