"""Vectors of an endpoint: asked for within a provider's limits, read strictly, paid once."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tapping import tap_answer, tap_endpoint, write_tap

from coig_p.annotate.asking.embeddings import inputs_of, vectors_in
from coig_p.annotate.asking.ledger import Ledger, LedgerWriter
from coig_p.annotate.asking.message import read_body
from coig_p.annotate.asking.request import Request
from coig_p.annotate.batch_stages import batch_out
from coig_p.annotate.config import RunConfig
from coig_p.annotate.estimating import estimate
from coig_p.annotate.repaying import paid_again
from coig_p.annotate.scripted import ScriptedServer, scripted_vectors
from coig_p.annotate.stages import run_stages
from coig_p.annotate.status import status_of
from coig_p.annotate.tap.vectors import read_vectors
from coig_p.errors import DataError, UnknownNameError, UsageError

pytest.importorskip("aiohttp", reason="asking needs coig-p[annotate]")
pytest.importorskip("sklearn", reason="grouping needs coig-p[tap]")

MODELS = ("m-0", "m-1", "m-2", "m-3")
BEFORE = ("types", "refine", "prompts", "generate")
Body = dict[str, Any]


def a_run(folder: Path, base_url: str, **embeddings: Any) -> RunConfig:
    """A run of four models, of which two stay, by vectors of an endpoint."""
    endpoints = [
        tap_endpoint("w-0", base_url, writes=True),
        *(tap_endpoint(name, base_url, generates=True) for name in MODELS),
        tap_endpoint("j-0", base_url, judges=True),
        tap_endpoint("emb", base_url, input_price=1, output_price=3),
    ]
    select = {"clusters": 2, "embeddings": {"endpoint": "emb", **embeddings}}
    return write_tap(folder, endpoints, select=select, taxonomy={"file": "subjects.toml", "only": ["0801"]})


class Watched:
    """An embedding server that keeps what it was asked, and answers what `spoil` makes of it."""

    def __init__(self, spoil: Any = lambda request, value: value) -> None:
        self.asked: list[Mapping[str, Any]] = []
        self._spoil = spoil

    def __call__(self, request: Mapping[str, Any]) -> Body:
        self.asked.append(request)
        found: Body = self._spoil(request, scripted_vectors(request))
        return found


def body(vectors: list[Any], **usage: int) -> str:
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)]
    return json.dumps({"object": "list", "data": data, "usage": usage or {"prompt_tokens": 7, "total_tokens": 7}})


def read(text: str, number: int) -> Any:
    return vectors_in(str(read_body(text).text), number)


def test_vectors_stand_in_the_order_of_their_index_in_either_encoding() -> None:
    coded = base64.b64encode(struct.pack("<2f", 0.5, -2)).decode()
    told = json.loads(body([[1, 2.5], coded]))
    told["data"].reverse()
    message = read_body(json.dumps(told))
    assert (message.prompt_tokens, message.completion_tokens, message.cut) == (7, 0, None)
    assert read(json.dumps(told), 2).tolist() == [[1, 2.5], [0.5, -2]]


@pytest.mark.parametrize(
    ("vectors", "number", "reason"),
    [
        ([[1.0]], 2, "count"),
        ([[1.0], [1.0]], 1, "count"),
        ([], 1, "count"),
        ([[1.0], [1.0, 2.0]], 2, "dimension"),
        ([[], []], 2, "dimension"),
        ([[1.0], [float("nan")]], 2, "finite"),
        ([[1.0], [float("inf")]], 2, "finite"),
        ([[10**400]], 1, "finite"),
        ([[True]], 1, "form"),
        ([["1"]], 1, "form"),
        ([None], 1, "form"),
        (["AAA"], 1, "form"),
        (["QUJD"], 1, "form"),
        ([base64.b64encode(struct.pack("<f", float("nan"))).decode()], 1, "finite"),
    ],
)
def test_what_is_no_vector_for_each_text_is_told(vectors: list[Any], number: int, reason: str) -> None:
    with pytest.raises(ValueError, match=f"^{reason}$"):
        read(body(vectors), number)


@pytest.mark.parametrize("indices", [[0, 0], [1, 2], [0, None], [0, True], ["0", "1"]])
def test_an_index_is_there_once(indices: list[Any]) -> None:
    told = json.loads(body([[1.0], [2.0]]))
    for one, index in zip(told["data"], indices, strict=True):
        one["index"] = index
    with pytest.raises(ValueError, match=r"^index$"):
        read(json.dumps(told), 2)


def test_a_chat_is_no_vector_and_vectors_are_no_chat() -> None:
    for text in ('{"data": 3}', '{"data": [], "choices": []}', "[]"):
        with pytest.raises(ValueError, match=r"choices\[0\]"):
            read_body(text)


@pytest.mark.parametrize("settings", [{}, {"encoding": "base64", "dimensions": 8}, {"inputs": 1}, {"bytes": 90}])
def test_a_run_asks_within_limits_and_pays_once(tmp_path: Path, settings: dict[str, Any]) -> None:
    pytest.importorskip("datasets")
    embed = Watched()
    with ScriptedServer(tap_answer, embed=embed) as server:
        config = a_run(tmp_path, server.base_url, **settings)
        run_stages(config, BEFORE)
        assert not embed.asked
        with Ledger.open(config.folder) as ledger:
            foreseen = estimate(config, ledger)["emb"]
        run_stages(config, ("select",))
        asked = len(embed.asked)
        assert foreseen.requests == asked > 0
        assert 0 < foreseen.expected <= foreseen.most
        for request in embed.asked:
            assert request["model"] == "emb"
            assert request["input"] == sorted(set(request["input"]))
            assert len(request["input"]) <= settings.get("inputs", 32)
            assert sum(len(text.encode()) for text in request["input"]) <= settings.get("bytes", 10**6)
            assert request.get("encoding_format") == settings.get("encoding")
            assert request.get("dimensions") == settings.get("dimensions")
            assert "max_tokens" not in request
        run_stages(config, ("select",))
        report = run_stages(config)
        assert len(embed.asked) == asked, "nothing is asked twice"
        assert report.stored is not None
        with Ledger.open(config.folder) as ledger:
            status = status_of(config, ledger)
            cost = next(used for used in ledger.requests() if used.kind == "embed")
    assert status.stages["select"].planned == status.stages["select"].done == asked
    assert status.endpoints["emb"].asked == asked == cost.number
    characters = sum(len(text) for request in embed.asked for text in request["input"])
    assert status.endpoints["emb"].cost == pytest.approx(characters / 10**6)  # one a million tokens, nothing for output


def test_the_vectors_decide_who_stays(tmp_path: Path) -> None:
    """m-0 and m-1 stand on one side, m-2 and m-3 on the other: one of each stays, whatever their texts are like."""

    def apart(request: Mapping[str, Any], value: Body) -> Body:
        for one in value["data"]:
            model = next(at for at, name in enumerate(MODELS) if name in request["input"][one["index"]])
            one["embedding"] = [1.0, 0.01 * model] if model < 2 else [0.01 * model, 1.0]
        return value

    with ScriptedServer(tap_answer, embed=Watched(apart)) as server:
        config = a_run(tmp_path, server.base_url)
        run_stages(config, (*BEFORE, "select"))
    with Ledger.open(config.folder) as ledger:
        kept = [json.loads(str(ledger.noted(f"selected {query.query_id}"))) for query in ledger.queries()]
    assert kept
    assert all(one["embeddings"] == {"endpoint": "emb"} for one in kept)
    assert {tuple(sorted(name in ("m-0", "m-1") for name in one["models"])) for one in kept} == {(False, True)}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda value: value["data"].pop(), "another number of vectors"),
        (lambda value: value["data"][0].update(index=1), "whose index is missing, or there twice"),
        (lambda value: value["data"][0].update(embedding=[1.0]), "vectors of different lengths"),
        (lambda value: value["data"][0].update(embedding=[float("nan")] * 16), "not finite"),
    ],
)
def test_what_is_wrong_is_one_error_and_the_others_are_selected(tmp_path: Path, spoil: Any, words: str) -> None:
    first: list[Any] = []

    def spoiling(request: Mapping[str, Any], value: Body) -> Body:
        first.append(request["input"])
        if request["input"] == first[0]:
            spoil(value)
        return value

    embed = Watched(spoiling)
    with ScriptedServer(tap_answer, embed=embed) as server:
        config = a_run(tmp_path, server.base_url)
        run_stages(config, BEFORE)
        with pytest.raises(DataError, match=rf"endpoint 'emb' answered .*{words}.*retry --invalid") as caught:
            run_stages(config, ("select",))
        assert "like it" not in str(caught.value)
        assert sum(request["input"] == first[0] for request in embed.asked) == 3  # asks
        with Ledger.open(config.folder) as ledger:
            noted = [ledger.noted(f"selected {query.query_id}") for query in ledger.queries()]
        assert noted.count(None) == 1
        assert len(noted) > 1


def test_vectors_of_one_query_are_of_one_length(tmp_path: Path) -> None:
    lengths = iter(range(2, 10**6))

    def growing(request: Mapping[str, Any], value: Body) -> Body:
        length = next(lengths)
        for one in value["data"]:
            one["embedding"] = [1.0] * length
        return value

    with ScriptedServer(tap_answer, embed=Watched(growing)) as server:
        config = a_run(tmp_path, server.base_url, inputs=2)
        run_stages(config, BEFORE)
        with pytest.raises(DataError, match=r"vectors of \d+ and \d+ numbers: is it one model"):
            run_stages(config, ("select",))


def test_other_settings_ask_before_they_pay_again(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        config = a_run(tmp_path, server.base_url)
        run_stages(config)
        other = a_run(tmp_path, server.base_url, dimensions=4)
        with Ledger.open(config.folder) as ledger:
            again = [(one.kind, one.why) for one in paid_again(other, ledger)]
    assert again[0] == ("embed", "select.embeddings changed")


def test_no_batch_file_asks_for_vectors(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        config = a_run(tmp_path, server.base_url)
        run_stages(config, BEFORE)
        with (
            LedgerWriter.open(config.folder) as ledger,
            pytest.raises(UsageError, match="'emb' embeds, which no batch file is for"),
        ):
            batch_out(config, ledger, tmp_path / "files")
        run_stages(config, ("select",))
        with LedgerWriter.open(config.folder) as ledger:
            stage, _ = batch_out(config, ledger, tmp_path / "files")
    assert stage == "compare"


def test_a_response_longer_than_a_request_is_told(tmp_path: Path) -> None:
    with ScriptedServer(tap_answer) as server:
        config = a_run(tmp_path, server.base_url, bytes=10)
        run_stages(config, BEFORE)
        with pytest.raises(DataError, match=r"a response of \d+ bytes is longer than select.embeddings.bytes = 10"):
            run_stages(config, ("select",))


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"inputs": 0}, UsageError, "embeddings.inputs = 0: use a whole number of 1 or more"),
        ({"bytes": "9"}, UsageError, "embeddings.bytes = '9': use a whole number"),
        ({"encoding": "int8"}, UnknownNameError, "unknown embeddings.encoding 'int8'"),
        ({"input": 3}, UnknownNameError, "embeddings.input"),
        ({"endpoint": ""}, UsageError, "use text"),
    ],
)
def test_settings_are_read_strictly(tmp_path: Path, given: dict[str, Any], error: type[UsageError], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        a_run(tmp_path, "http://127.0.0.1:1/v1", **given)
    assert isinstance(caught.value, UsageError), error


def test_a_request_takes_no_answer_tokens() -> None:
    texts = ("甲乙", "丙")
    request = Request(None, "embed", "d", "q", inputs_of(texts), {}, partial(read_vectors, number=2))  # type: ignore[arg-type]
    assert request.most().answer == 0
    assert request.most().prompt >= len("".join(texts).encode())
    assert np.array_equal(read(body([[3.0]]), 1), [[3.0]])
