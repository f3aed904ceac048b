"""Imports against an oracle: what DESIGN says of one, row by row in plain Python."""

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
from coig_p.ingest.files import import_files
from coig_p.ingest.intake import ImportConfig
from coig_p.schema import UNITS
from coig_p.store.store import Store


def write(path: Path, *rows: Any) -> Path:
    """A JSON Lines file; a row that is bytes is written as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def stored_rows(store: Store) -> list[dict[str, Any]]:
    return [row for batch in store.batches() for row in batch.to_pylist()]


TEXTS = st.sampled_from(["甲", "乙", "丙", "", " ", "\ud800", None, True])
SCORES = st.sampled_from([1, 5, 9.5, 10, 11, True, "8", "８.5", "8分", None, "", float("nan"), 7.00001])
MODELS = st.sampled_from(["a", "b", "c", "", None, 3.5])
SAMPLES = st.sampled_from([None, 0, 1, 2, "1", -1])
SCORE = st.one_of(
    st.just(5),
    st.fixed_dictionaries(
        {"judge": st.sampled_from(["j", "k", ""]), "score": SCORES},
        optional={"rationale": st.sampled_from(["理", None])},
    ),
)
RESPONSE = st.one_of(
    st.just("text"),
    st.fixed_dictionaries(
        {"model": MODELS, "text": TEXTS},
        optional={"scores": st.lists(SCORE, max_size=3), "sample": SAMPLES}
        | {"reasoning_content": st.sampled_from(["想", ""])},
    ),
)
COMPARISON = st.fixed_dictionaries(
    {"first": st.integers(-1, 3), "second": st.integers(0, 3), "judge": st.sampled_from(["h", None])}
    | {name: st.sampled_from([0, 1, 0.5, "x"]) for name in ("first_score", "second_score")}
)
TURNS = [
    [{"role": "user", "content": "问一"}, {"role": "assistant", "content": "丙"}, {"role": "user", "content": "再问"}],
    [{"role": "system", "content": "甲"}, {"role": "user", "content": "问二"}],
]
KEYED = st.fixed_dictionaries(
    {"query_id": st.sampled_from(["1", "2", "3", "4"]), "score": SCORES, "model": st.sampled_from(["a", "b", "c"])},
    optional={"sample": st.integers(0, 4), "query": st.sampled_from(["问一", "问二"]), "judge": st.just("k")},
) | st.fixed_dictionaries({"query": st.sampled_from(["问一", "问二"]), "model": st.just("a"), "score": SCORES})
ROW: st.SearchStrategy[Any] = st.one_of(
    st.just([]),
    KEYED,
    st.fixed_dictionaries(
        {
            "query_id": st.sampled_from(["1", "2", "3", None]),
            "query": st.sampled_from(["问一", "问二", "user: 问二", ""]),
            "domain": st.sampled_from(["math", "math", "math", "chat", "Bad"]),
            "responses": st.one_of(st.just([]), st.lists(RESPONSE, max_size=4).filter(lambda r: r[:1] != ["text"])),
        },
        optional={
            "source": st.sampled_from(["s", "t", None]),
            "comparisons": st.one_of(st.none(), st.lists(COMPARISON, max_size=3)),
            "messages": st.sampled_from(TURNS),
        },
    ).map(lambda row: {name: value for name, value in row.items() if name != "query" or "messages" not in row}),
)


def good_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\ud800" not in value


def is_missing(score: Any) -> bool:
    """An entry that says that there is no score."""
    return isinstance(score, dict) and (score["score"] in (None, "") or score["score"] != score["score"])


def number(value: Any) -> float | None:
    """What a score is worth; None where it is none."""
    value = {"8": 8, "８.5": 8.5}.get(value, value) if isinstance(value, str) else value
    return float(value) if type(value) in (int, float) and 1 <= value <= 10 and value != 7.00001 else None


def good_scores(scores: list[Any]) -> list[tuple[Any, ...]]:
    return [
        (score["judge"], number(score["score"]), score.get("rationale"))
        for score in scores
        if isinstance(score, dict) and good_text(score["judge"]) and number(score["score"]) is not None
    ]


def oracle_import(rows: list[Any]) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, int]], int]:
    """Rows by query_id, the accounting, and the number of missing scores."""
    counts = {unit: dict.fromkeys(("read", "stored", "rejected", "merged"), 0) for unit in UNITS}
    found: dict[str, dict[str, Any]] = {}
    keyed, missing = [], 0
    for row in rows:
        counts["rows"]["read"] += 1
        if isinstance(row, dict) and "responses" not in row:
            counts["scores"]["read"] += not is_missing(row)
            missing += is_missing(row)
            keyed.append(row)
            continue
        responses = row["responses"] if isinstance(row, dict) else []
        comparisons = (row.get("comparisons") or []) if isinstance(row, dict) else []
        counts["responses"]["read"] += len(responses)
        given = [score for r in responses if isinstance(r, dict) for score in r.get("scores", [])]
        counts["scores"]["read"] += sum(not is_missing(score) for score in given)
        counts["comparisons"]["read"] += len(comparisons)
        if not isinstance(row, dict) or row["domain"] == "Bad":
            continue
        asked = row.get("messages") or row["query"]
        text = asked if isinstance(asked, str) else "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in asked)
        if not text:
            continue
        query_id = row["query_id"] or f"derived from {asked}"
        old = found.get(query_id)
        if old and (old["asked"], old["domain"]) != (asked, row["domain"]):
            continue
        counts["rows"]["merged" if old else "stored"] += 1
        new = found.setdefault(
            query_id,
            {"asked": asked, "query": text, "domain": row["domain"], "source": None, "responses": [], "pairs": []}
            | {"held": [], "derived": not row["query_id"]},
        )
        new["source"] = new["source"] or row.get("source")
        new["held"].append((responses, comparisons))
    for query in found.values():
        missing += store_responses(query, counts)
    for row in keyed:
        fits = [
            query
            for query_id, query in found.items()
            if (query_id == row["query_id"] if "query_id" in row else query["asked"] == row["query"])
        ]
        if "query_id" in row and not fits:  # the text stands for the id of those that have none
            fits = [query for query in found.values() if query["derived"] and query["asked"] == row.get("query")]
        if len(fits) != 1 or row.get("query", fits[0]["asked"]) != fits[0]["asked"]:
            continue
        partners = [
            response
            for response in fits[0]["responses"]
            if response["model"] == row["model"]
            and ("sample" not in row or is_sample(fits[0], response, row["sample"]))
        ]
        if len(partners) == 1:
            counts["rows"]["merged"] += 1
            partners[0]["scores"] += good_scores([{"judge": "unknown"} | row])
    counts["responses"]["stored"] = sum(len(row["responses"]) for row in found.values())
    counts["scores"]["stored"] = sum(len(r["scores"]) for row in found.values() for r in row["responses"])
    counts["comparisons"]["stored"] = sum(len(row["pairs"]) for row in found.values())
    for unit in counts.values():
        unit["rejected"] = unit["read"] - unit["stored"] - unit["merged"]
    return found, counts, missing


def is_sample(query: dict[str, Any], response: dict[str, Any], wanted: int) -> bool:
    """Whether scores for the sample `wanted` of the response's model may be meant for it."""
    model, said = response["model"], response["said"]
    numbered = {number: one for (of, number), one in query["numbered"].items() if of == model}
    arrived = query["arrived"].get(model, [])
    if not numbered:
        return arrived[wanted : wanted + 1] == [said]
    if wanted in numbered:
        return bool(numbered[wanted] == said)
    free = (number for number in range(99) if number not in numbered)
    return dict(zip(free, arrived, strict=False)).get(wanted) == said or wanted in response["samples"]


def store_responses(query: dict[str, Any], counts: dict[str, dict[str, int]]) -> int:
    """Number and merge the responses of all rows of one query; how many of their scores are missing."""
    missing = 0
    taken: dict[tuple[str, int], Any] = {}
    arrived: dict[str, list[Any]] = {}
    for responses, comparisons in query["held"]:
        place: dict[int, dict[str, Any]] = {}
        for at, response in enumerate(responses):
            if not isinstance(response, dict) or response["model"] == 3.5 or response.get("sample") == -1:
                continue
            if not good_text(response["text"]):
                if response["model"] and response.get("sample") is None:
                    arrived.setdefault(response["model"], []).append(None)
                continue
            missing += sum(map(is_missing, response.get("scores", [])))
            model, text = response["model"] or None, response["text"]
            sample = None if response.get("sample") is None else int(response["sample"])
            said = text, response.get("reasoning_content") or None
            if model and sample is not None and taken.setdefault((model, sample), said) != said:
                continue
            if model and sample is None:
                arrived.setdefault(model, []).append(said)
            same = [one for one in query["responses"] if (one["model"], one["said"]) == (model, said)]
            if same:
                counts["responses"]["merged"] += 1
            else:
                same = [{"model": model, "text": text, "said": said, "scores": [], "samples": []}]
                query["responses"] += same
            if sample is not None:
                same[0]["samples"].append(sample)
            same[0]["scores"] += good_scores(response.get("scores", []))
            place[at] = same[0]
        for c in comparisons:
            numbers = all(c[name] != "x" for name in ("first_score", "second_score"))
            if c["first"] in place and c["second"] in place and c["first"] != c["second"] and c["judge"] and numbers:
                first, second = place[c["first"]], place[c["second"]]
                if first is second:
                    counts["comparisons"]["merged"] += 1
                else:
                    query["pairs"].append((first, second, c["first_score"], c["second_score"]))
    query["numbered"], query["arrived"] = dict(taken), arrived
    for response in query["responses"]:
        model = response["model"]
        if not response["samples"]:
            free = (n for n in range(99) if (model, n) not in taken)
            response["samples"] = [next(free) if model else 0]
            taken[(model, response["samples"][0])] = response["said"]
        response["sample"] = response["samples"][0]
    place_of = {id(response): at for at, response in enumerate(query["responses"])}
    query["pairs"] = [(place_of[id(one)], place_of[id(other)], *scores) for one, other, *scores in query["pairs"]]
    return missing


@examples(300)
@given(
    files=st.lists(st.lists(ROW, max_size=6), min_size=1, max_size=3),
    as_array=st.booleans(),
    rows_at_once=st.sampled_from([1, 2, 256]),
    held=st.sampled_from([3, 4096]),
)
def test_an_import_is_the_oracles(
    files: list[list[Any]], as_array: bool, rows_at_once: int, held: int, tmp_path_factory: Any
) -> None:
    folder = tmp_path_factory.mktemp("import")
    paths = []
    for at, rows in enumerate(files):
        if as_array:
            (folder / f"{at}.json").write_text(json.dumps(rows, indent=1))
            paths.append(folder / f"{at}.json")
        else:
            paths.append(write(folder / f"{at}.jsonl", *rows))
    wanted, counts, missing = oracle_import([row for rows in files for row in rows])
    if counts["responses"]["stored"] == 0:
        left = "no response is left" if any(files) else "no file holds a row"
        with pytest.raises(ImportFailed, match=left) as failed:
            import_files(paths, folder / "store", ImportConfig(on_error="skip"))
        assert failed.value.report.accounting() == counts
        assert not (folder / "store").exists()
        return
    with patch("coig_p.ingest.spool.ROWS_PER_GROUP", rows_at_once), patch("coig_p.ingest.spool._HELD", held):
        store, report = import_files(paths, folder / "store", ImportConfig(on_error="skip"))
    assert report.accounting() == counts
    assert report.missing_scores == missing
    assert store.verify() == []
    found = {row["query_id"]: row for row in stored_rows(store)}
    named = {
        f"derived from {turns(row) or row['query']}" if key.startswith("q-") else key: row for key, row in found.items()
    }
    assert named.keys() == wanted.keys()
    for query_id, row in named.items():
        expected = wanted[query_id]
        assert (row["query"], row["domain"], row["source"]) == tuple(
            expected[name] for name in ("query", "domain", "source")
        )
        assert (turns(row) or row["query"]) == expected["asked"]
        for response, one in zip(row["responses"], expected["responses"], strict=True):
            assert (response["text"], response["sample"]) == (one["text"], one["sample"])
            assert json.loads(response["extra"] or "{}").get("reasoning_content") == one["said"][1]
            assert response["model"] == one["model"] if one["model"] else response["model"].startswith("unknown-")
            assert [(s["judge"], s["score"], s["rationale"]) for s in response["scores"]] == one["scores"]
            assert all(score["dimension"] == "overall" for score in response["scores"])
        answers = [(response["model"], response["sample"]) for response in row["responses"]]
        assert len(set(answers)) == len(answers)
        assert [
            (c["first"], c["second"], c["first_score"], c["second_score"]) for c in row["comparisons"] or []
        ] == expected["pairs"]
    if (folder / "store/rejects.jsonl").exists():
        rejects = [json.loads(line) for line in (folder / "store/rejects.jsonl").read_text("ascii").splitlines()]
        for unit in UNITS:
            assert sum(reject["lost"].get(unit, 0) for reject in rejects) == counts[unit]["rejected"]
        with pytest.raises(ImportFailed, match="Mend them") as failed:
            import_files(paths, folder / "again", ImportConfig())
        assert failed.value.report.accounting() == counts
    import_files(paths, folder / "again", ImportConfig(on_error="skip"))
    assert (folder / "again/manifest.json").read_bytes() == (folder / "store/manifest.json").read_bytes()


def turns(row: dict[str, Any]) -> list[dict[str, Any]] | None:
    """A stored row's turns as rows give them."""
    return row["messages"] and [{name: turn[name] for name in ("role", "content")} for turn in row["messages"]]
