"""Text in other encodings: told apart, never read in the wrong one, read where it is asked for."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from coig_p.errors import DataError, UsageError
from coig_p.ingest.encodings import found_encoding
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.ingest.readers import file_encoding, read_rows
from coig_p.store.store import Store

SIMPLE = [
    {"编号": "1", "问题": "杭州有什么湖？请说明理由。", "模型": "甲", "回答": "杭州有西湖，\n很有名。", "分数": "9"},
    {"编号": "1", "问题": "杭州有什么湖？请说明理由。", "模型": "乙", "回答": "我不知道。", "分数": "2"},
]
TRADITIONAL = [
    {"id": "1", "query": "臺灣最高的山是什麼？", "model": "甲", "text": "是玉山，在臺灣的中部。", "score": "9"},
    {"id": "1", "query": "臺灣最高的山是什麼？", "model": "乙", "text": "我不知道這個問題的答案。", "score": "2"},
]
JAPANESE = [
    {
        "id": "1",
        "query": "日本で一番高い山は何ですか？",
        "model": "甲",
        "text": "富士山です。有名です。",
        "score": "9",
    },
    {"id": "1", "query": "日本で一番高い山は何ですか？", "model": "乙", "text": "わかりません。", "score": "2"},
]
KOREAN = [
    {"id": "1", "query": "한국에서 가장 높은 산은 무엇입니까?", "model": "a", "text": "한라산입니다.", "score": "9"},
    {"id": "1", "query": "한국에서 가장 높은 산은 무엇입니까?", "model": "b", "text": "모르겠습니다.", "score": "2"},
]


def file_text(rows: list[dict[str, str]], suffix: str) -> str:
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if suffix == ".json":
        return json.dumps(rows, ensure_ascii=False)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if suffix == ".tsv" else ",")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def packed(data: bytes, packing: str) -> bytes:
    if packing == ".gz":
        return gzip.compress(data)
    return bytes(pa.compress(data, "zstd", asbytes=True)) if packing == ".zst" else data


ENCODED = [
    ("gb18030", SIMPLE, "gb18030"),
    ("gbk", SIMPLE, "gb18030"),
    ("big5", TRADITIONAL, "big5"),
    ("utf-16", SIMPLE, "utf-16"),
    ("utf-16-le", SIMPLE, "utf-16-le"),
    ("utf-16-be", SIMPLE, "utf-16-be"),
    ("utf-32", SIMPLE, "utf-32"),
    ("utf-32-le", SIMPLE, "utf-32-le"),
    ("utf-32-be", SIMPLE, "utf-32-be"),
    ("shift_jis", JAPANESE, "shift_jis"),
    ("euc_kr", KOREAN, "euc_kr"),
]


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv"])
@pytest.mark.parametrize(("encoding", "rows", "said"), ENCODED, ids=[one[0] for one in ENCODED])
def test_a_file_in_another_encoding_says_which(
    encoding: str, rows: list[dict[str, str]], said: str, suffix: str, packing: str, tmp_path: Path
) -> None:
    path = tmp_path / f"答案{suffix}{packing}"
    path.write_bytes(packed(file_text(rows, suffix).encode(encoding), packing))
    with pytest.raises(DataError, match=f"is not UTF-8; it looks like {said.upper()}: pass --encoding {said}, or"):
        import_files([path], tmp_path / "store", ImportConfig(domain="chat"))
    assert not (tmp_path / "store").exists()
    for asked in {said, said[:6] if said.startswith(("utf-16", "utf-32")) else said}:
        assert [row.value for row in read_rows(path, file_encoding(path, asked))] == rows
        store, report = import_files(
            [path], tmp_path / "store", ImportConfig(domain="chat", encoding=asked), overwrite=True
        )
        assert report.counts["scores"] == {"read": 2, "stored": 2}
        (batch,) = store.batches()
        (stored,) = batch.to_pylist()
        assert [one["text"] for one in stored["responses"]] == [row.get("回答", row.get("text")) for row in rows]


def test_each_file_is_read_in_its_own(tmp_path: Path) -> None:
    """One of a program in UTF-8, scores from a spreadsheet in GB18030: --encoding is for those that are not UTF-8."""
    answers = [{name: row[name] for name in ("编号", "问题", "模型", "回答")} for row in SIMPLE]
    scores = [{name: row[name] for name in ("编号", "模型", "分数")} for row in SIMPLE]
    (tmp_path / "a.jsonl").write_text(file_text(answers, ".jsonl"), "utf-8")
    (tmp_path / "b.csv").write_text(file_text(scores, ".csv"), "gb18030")
    paths = [tmp_path / "a.jsonl", tmp_path / "b.csv"]
    store, report = import_files(paths, tmp_path / "s", ImportConfig(domain="chat", encoding="gb18030"))
    assert report.counts["scores"]["stored"] == 2
    assert report.encodings == {str(paths[0]): "utf-8"}
    assert store.manifest.judges == {"unknown": 2}


def test_a_line_that_cannot_be_read_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """One broken line in a file of UTF-8 does not make it another encoding, and one in UTF-16 is refused by place."""
    rows = [json.dumps(row, ensure_ascii=False).encode() for row in SIMPLE]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*rows, b'{"query": "\xb5\xc4\xca\xc7"}']))
    assert file_encoding(tmp_path / "a.jsonl", "utf-8") == "utf-8"
    problems = [row.problem for row in read_rows(tmp_path / "a.jsonl")]
    assert [problem and problem[0] for problem in problems] == [None, None, "wrong-encoding"]
    text = file_text(SIMPLE, ".jsonl").encode("utf-16-le")
    (tmp_path / "b.jsonl").write_bytes(text[:-6] + b"\x00\xdc" + text[-6:])  # a lone surrogate
    problems = [row.problem for row in read_rows(tmp_path / "b.jsonl", "utf-16-le")]
    assert [problem and problem[0] for problem in problems] == [None, "wrong-encoding"]


@pytest.mark.parametrize("name", ["no-such", "base64", ""])
def test_what_is_no_encoding_of_text(name: str) -> None:
    with pytest.raises(UsageError, match="use utf-8, gb18030, utf-16"):
        ImportConfig(encoding=name)


def test_a_damaged_file_is_still_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"query": "a"}\n' * 9)[:-12])
    with pytest.raises(DataError, match="damaged or cut short"):
        import_files([tmp_path / "a.jsonl.gz"], tmp_path / "s", ImportConfig(domain="chat"))


@examples(200)
@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=6),
    asked=st.sampled_from(["utf-8", "gb18030", "utf-16"]),
)
def test_what_is_in_utf_8_is_never_called_another(texts: list[str], asked: str) -> None:
    """Whatever the characters, as JSON; and asking for another does not make it one."""
    data = "".join(json.dumps({"query": text}, ensure_ascii=False) + "\n" for text in texts).encode()
    found = found_encoding(data, asked)
    assert found in (None, "utf-8")
    assert (found == "utf-8") <= (not data.isascii())


@examples(200)
@given(
    text=st.text(st.sampled_from("的一是不了在人有我他这你好甲乙丙丁湖山，。？\n1a"), min_size=1), asked=st.booleans()
)
def test_chinese_in_gb18030_is_never_taken_for_utf_8(text: str, asked: bool) -> None:
    data = text.encode("gb18030")
    found = found_encoding(data, "gb18030" if asked else "utf-8")
    if text.isascii():
        assert found is None
    elif asked:
        assert found in (None, "gb18030", "big5")
    common = sum(letter in "的一是不了在人有我他这你好，。？" for letter in text)
    beyond = sum(not letter.isascii() for letter in text)
    if beyond > 3 and common * 2 > beyond:
        assert found == "gb18030"


def test_stores_hold_what_the_files_say(tmp_path: Path) -> None:
    """Lone bytes beyond what an encoding knows never end up as other characters."""
    (tmp_path / "a.csv").write_bytes(
        "问题,模型,回答,分数\n我是谁？,甲,你是我。,9\n我是谁？,乙,".encode("gb18030") + b"\xff,2\n"
    )
    config: dict[str, Any] = {"domain": "chat", "encoding": "gb18030"}
    store, report = import_files([tmp_path / "a.csv"], tmp_path / "s", ImportConfig(**config, on_error="skip"))
    assert report.reasons == {"lone-surrogate": 1}
    assert isinstance(store, Store)


@pytest.mark.parametrize("rows", [SIMPLE, TRADITIONAL, JAPANESE, KOREAN])
@pytest.mark.parametrize(
    "encoding", ["gb18030", "big5", "shift_jis", "cp932", "euc_kr", "cp949", "euc_jp", "utf-16-le", "utf-32-be"]
)
def test_what_is_named_is_what_it_is_or_nothing_is(encoding: str, rows: list[dict[str, str]]) -> None:
    """Whatever language is in whatever encoding: what is named reads the very text."""
    own = {"euc_jp": JAPANESE, "euc_kr": KOREAN, "cp949": KOREAN}
    if own.get(encoding, rows) is not rows:
        return  # nobody writes another language so
    text = file_text(rows, ".jsonl")
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        return
    found = found_encoding(data, "utf-8")
    assert found is None or data.decode(found) == text
    languages = {"big5": TRADITIONAL, "shift_jis": JAPANESE, "cp932": JAPANESE, "euc_kr": KOREAN, "cp949": KOREAN}
    if languages.get(encoding) is rows or encoding.startswith("utf-"):
        assert found is not None


def test_rare_characters_of_windows(tmp_path: Path) -> None:
    for text, encoding in (
        ("答えは①です。これでいいですか", "cp932"),
        ("그것은 똠방각하의 것이다", "cp949"),
    ):
        assert found_encoding(text.encode(encoding), "utf-8") == encoding
        (tmp_path / "a.jsonl").write_bytes(json.dumps({"query": text}, ensure_ascii=False).encode(encoding))
        assert file_encoding(tmp_path / "a.jsonl", {"cp932": "shift_jis", "cp949": "euc_kr"}[encoding])
