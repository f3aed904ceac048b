"""Reward models behind servers: each form read exactly, failures tried again, no reward where there is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from reward_server import TEMPLATE, RewardServer, reward_of, serve, text_of

pytest.importorskip("aiohttp")

from coig_p.errors import RemoteError, UnknownNameError, UsageError
from coig_p.reward.scorer import EMPTY, NOT_FINITE, REFUSED, TOO_LONG, Asked, Scored, looks_squashed
from coig_p.reward.servers import ServerConfig, ServerScorer

ASKED = [
    Asked(({"role": "system", "content": "短。"}, {"role": "user", "content": f"第{at}问？"}), f"答{at}。" * (at + 1))
    for at in range(20)
]
TEXTS = [text_of(one.conversation) for one in ASKED]
Opener = Callable[..., ServerScorer]


@pytest.fixture
def template(tmp_path: Path) -> str:
    (tmp_path / "model").mkdir()
    config = {"chat_template": TEMPLATE, "bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return str(tmp_path / "model")


@pytest.fixture
def opener() -> Iterator[Opener]:
    """Opens scorers that wait for nothing, and closes them."""
    opened: list[ServerScorer] = []

    def call(server: RewardServer, **options: Any) -> ServerScorer:
        scorer = ServerScorer(options.pop("url", server.url), ServerConfig(**options))
        opened.append(scorer)

        async def no_wait(seconds: float) -> None:
            scorer.waited = [*getattr(scorer, "waited", []), seconds]  # type: ignore[attr-defined]

        scorer.sleep = no_wait
        return scorer

    yield call
    for scorer in opened:
        scorer.close()


def test_vllm_is_asked_with_turns_and_without_its_sigmoid(opener: Opener) -> None:
    with serve() as server:
        found = opener(server).score(ASKED)
        assert found == [Scored(reward_of(text), None, len(text)) for text in TEXTS]
        paths, bodies = zip(*server.requests, strict=True)
        assert set(paths) == {"/classify"}
        wanted = [{"model": "org/crm", "messages": one.conversation, "use_activation": False} for one in ASKED]
        assert sorted(bodies, key=str) == sorted(wanted, key=str)


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/classify", "/v1/classify"])
def test_the_address_may_be_any_of_the_server(opener: Opener, path: str) -> None:
    with serve() as server:
        assert opener(server, url=server.url + path).score(ASKED[:1])[0].reward == reward_of(TEXTS[0])


def test_vllm_with_a_template_reads_the_text_that_is_made_here(opener: Opener, template: str) -> None:
    with serve() as server:
        found = opener(server, template=template, served="crm").score(ASKED[:1])
        assert found[0].reward == reward_of("<s>" + TEXTS[0])  # no newline behind the last mark
        body = {"model": "crm", "input": "<s>" + TEXTS[0], "add_special_tokens": False, "use_activation": False}
        assert server.requests == [("/classify", body)]


def test_sglang_reads_texts_and_puts_the_first_mark_itself(opener: Opener, template: str) -> None:
    with serve("sglang") as server:
        found = opener(server, kind="sglang", template=template).score(ASKED)
        assert found == [Scored(reward_of(text), None, len(text)) for text in TEXTS]
        assert {path for path, _ in server.requests} == {"/v1/classify"}


def test_a_softmax_of_one_label_is_no_reward(opener: Opener, template: str) -> None:
    with serve("sglang-softmax") as server:
        found = opener(server, kind="sglang", template=template).score(ASKED)
        assert [one.reward for one in found] == [reward_of(text) for text in TEXTS]
        before = len(server.requests)
        opener(server, kind="sglang", template=template, concurrency=1).score(ASKED[:5])
        assert [path for path, _ in server.requests[before:]] == ["/v1/classify", *["/classify"] * 5]
        again = opener(server, kind="sglang", template=template, concurrency=1)
        softmax = {"data": [{"probs": [1.0]}], "usage": {"prompt_tokens": 7}}
        server.failures.extend([(200, softmax), (500, {"error": "our fault"})])  # which says nothing of the other path
        assert [one.reward for one in again.score(ASKED[:3])] == [reward_of(text) for text in TEXTS[:3]]
        before = len(server.requests)
        opener(server, kind="sglang", template=template, concurrency=1).score(ASKED[:5])
        assert [path for path, _ in server.requests[before:]] == ["/v1/classify", *["/classify"] * 5]
    with serve("softmax-alone") as server, pytest.raises(RemoteError, match="all 1: it takes the softmax"):
        opener(server, kind="sglang", template=template).score(ASKED[:3])


def test_a_reward_of_one_is_one_where_there_is_no_other_path(opener: Opener, template: str) -> None:
    with serve("sglang") as server:
        server.fixed = 1.0
        assert opener(server, kind="sglang", template=template).score(ASKED[:1]) == [Scored(1.0, None, len(TEXTS[0]))]


def test_openrlhf_is_asked_for_several_at_once(opener: Opener, template: str) -> None:
    with serve("openrlhf") as server:
        scorer = opener(server, kind="openrlhf", template=template)
        assert [one.reward for one in scorer.score(ASKED)] == [reward_of("<s>" + text) for text in TEXTS]
        assert sorted(len(body["query"]) for _, body in server.requests) == [4, 16]
        body = next(body for _, body in server.requests if len(body["query"]) == 16)
        assert all(query.startswith(prompt) for query, prompt in zip(body["query"], body["prompts"], strict=True))
        assert scorer.describe()["name"] == "openrlhf server"


@pytest.mark.parametrize("kind", ["sglang", "openrlhf"])
def test_texts_need_a_template(kind: str) -> None:
    with pytest.raises(UsageError, match=r"takes texts, not turns: name its model's folder.*--template"):
        ServerConfig(kind=kind)


def test_what_it_is_names_no_address_and_no_token(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_OURS", "sk-very-secret")
    with serve() as server:
        server.token = "sk-very-secret"
        scorer = opener(server, key_env="TOKEN_OF_OURS")
        assert scorer.score(ASKED[:1])[0].reward == reward_of(TEXTS[0])
        told = scorer.describe()
        assert told == {
            "kind": "server", "name": "org/crm", "revision": None, "sha256": None, "template_sha256": None,
            "dtype": None, "max_length": None, "truncate": None, "server": "vllm",
        }  # fmt: skip


def test_a_wrong_token_ends_it_at_once_and_is_not_shown(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_OURS", "sk-very-secret")
    with serve() as server:
        server.token = "another"
        with pytest.raises(RemoteError, match="401: no such key") as told:
            opener(server, key_env="TOKEN_OF_OURS")
        assert "sk-very-secret" not in str(told.value)
        monkeypatch.delenv("TOKEN_OF_OURS")
        with pytest.raises(UsageError, match="TOKEN_OF_OURS is not set"):
            opener(server, key_env="TOKEN_OF_OURS")


def test_failures_are_tried_again(opener: Opener) -> None:
    with serve() as server:
        server.failures.extend([(500, {"error": "our fault"}), (503, {}), (200, b'{"data": [{"probs"'), (429, {})])
        scorer = opener(server, concurrency=1)
        assert scorer.score(ASKED[:2]) == [Scored(reward_of(text), None, len(text)) for text in TEXTS[:2]]
        assert len(server.requests) == 6
        assert len(scorer.waited) == 4  # type: ignore[attr-defined]


def test_a_server_that_stays_down_is_an_error(opener: Opener) -> None:
    with serve() as server:
        scorer = opener(server, attempts=3)
        server.failures.extend([(500, {"error": {"message": "out of memory"}})] * 99)
        with pytest.raises(RemoteError, match=r"500: out of memory \(error, after 3 attempts\)"):
            scorer.score(ASKED[:1])
        server.failures.clear()
        assert scorer.score(ASKED[:1])[0].reward is not None  # and may be asked again
    with pytest.raises(RemoteError, match="the server: "):
        opener(server)  # nothing listens there any more


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_what_is_too_long_is_counted_not_scored(opener: Opener, template: str, kind: str) -> None:
    with serve(kind) as server:
        server.most = 60
        found = opener(server, kind=kind, template=None if kind == "vllm" else template).score(ASKED)
        assert [one.reason for one in found] == [TOO_LONG if len(text) > 60 else None for text in TEXTS]
        server.most = None
        own = opener(server, kind=kind, template=None if kind == "vllm" else template, max_length=60).score(ASKED)
        assert [(one.reward, one.reason) for one in own] == [(one.reward, one.reason) for one in found]
        assert all(one.tokens == len(text) for one, text in zip(own, TEXTS, strict=True))


def test_a_request_that_is_refused_is_one_response_without_a_reward(opener: Opener) -> None:
    with serve() as server:
        scorer = opener(server, concurrency=1)
        server.failures.append((422, {"detail": [{"loc": ["body", "messages"], "msg": "no such role"}]}))
        assert [one.reason for one in scorer.score(ASKED[:2])] == [REFUSED, None]
        server.failures.extend([(400, {"error": {"message": "no such role"}})] * 2)
        assert [one.reason for one in scorer.score(ASKED[:2])] == [REFUSED, REFUSED]  # it has answered before
        server.failures.extend([(400, {"error": {"message": "The model does not support Classification API"}})] * 2)
        with pytest.raises(RemoteError, match="refuses every request: 400: The model does not support Classification"):
            opener(server).score(ASKED[:2])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"data": [{"probs": [0.5, 0.5], "num_classes": 2}]}, "has 2 labels, and a reward model has one"),
        ({"data": []}, "has no reward in it"),
        ({"data": [{"probs": ["high"]}]}, 'is no number: "high"'),
        ({"data": [{"probs": [True]}]}, "is no number: true"),
        ([], "has no reward in it"),
        ({"object": "list", "data": [{"label": "LABEL_0"}]}, "has no reward in it"),
    ],
)
def test_an_answer_without_a_reward_is_an_error(opener: Opener, answer: Any, words: str) -> None:
    with serve() as server:
        server.failures.append((200, answer))
        with pytest.raises(RemoteError, match=words):
            opener(server).score(ASKED[:1])


NO_FLOATS = ("1" + "0" * 400, "-1" + "0" * 400, "9" * 5000, "-" + "9" * 5000, "1e400", "-1e400", "NaN", "null")


@pytest.mark.parametrize("number", NO_FLOATS, ids=lambda number: f"{number[:4]} {len(number)}")
def test_a_number_that_no_float_holds_is_not_finite_of_every_kind_of_server(
    opener: Opener, template: str, number: str
) -> None:
    answer = b'{"data": [{"probs": [%b]}], "usage": {"prompt_tokens": %b}}' % (number.encode(), number.encode())
    with serve() as server:
        server.failures.append((200, answer))
        assert opener(server).score(ASKED[:1]) == [Scored(None, NOT_FINITE, None)]
    with serve("sglang") as server:
        server.failures.append((200, answer))
        assert opener(server, kind="sglang", template=template).score(ASKED[:1]) == [Scored(None, NOT_FINITE, None)]
        server.failures.append((200, b'{"embedding": [%b]}' % number.encode()))
        assert opener(server, kind="sglang", template=template).score(ASKED[:1]) == [Scored(None, NOT_FINITE, None)]
    with serve("openrlhf") as server:
        server.failures.append((200, b'{"rewards": [%b, 1, 18446744073709551617]}' % number.encode()))
        found = opener(server, kind="openrlhf", template=template).score(ASKED[:3])
        assert found == [Scored(None, NOT_FINITE, None), Scored(1.0, None, None), Scored(2.0**64, None, None)]


def test_what_is_no_finite_number_is_counted(opener: Opener, template: str) -> None:
    with serve() as server:
        for value in (float("nan"), float("inf"), None):
            server.failures.append((200, {"data": [{"probs": [value]}]}))
        assert opener(server, concurrency=1).score(ASKED[:3]) == [Scored(None, NOT_FINITE, None)] * 3
    with serve("openrlhf") as server:
        answers: list[tuple[Any, str]] = [
            ({"rewards": [1.0]}, "gave 1 rewards for 2 texts"),
            ({"reward": [1]}, "no rewards in it"),
        ]
        for value, words in answers:
            server.failures.append((200, value))
            with pytest.raises(RemoteError, match=words):
                opener(server, kind="openrlhf", template=template).score(ASKED[:2])


def test_another_kind_of_server_is_said(opener: Opener) -> None:
    with serve("openrlhf") as server, pytest.raises(RemoteError, match=r"404: Not Found: no server of kind vllm\?"):
        opener(server).score(ASKED[:1])
    with pytest.raises(UnknownNameError, match=r"unknown kind of server 'vlm'.*Did you mean 'vllm'"):
        ServerConfig(kind="vlm")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host", "http://", "http://me:secret@host"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match="base_url") as told:
        ServerScorer(url)
    assert "secret" not in str(told.value)


def test_a_template_that_refuses(opener: Opener, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text(
        "{% for turn in messages %}{% if turn.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
        "{{ turn.content }}|{% endfor %}",
        encoding="utf-8",
    )
    with serve("sglang") as server:
        scorer = opener(server, kind="sglang", template=str(tmp_path / "t.jinja"))
        plain = Asked(({"role": "user", "content": "问"},), "答")
        assert scorer.score([ASKED[0], plain]) == [Scored(None, REFUSED, None), Scored(reward_of("问|答|"), None, 4)]
        assert len(server.requests) == 1


def test_a_sigmoid_is_noticed(opener: Opener) -> None:
    with serve("old-vllm") as server:
        squashed = [one.reward for one in opener(server).score(ASKED) if one.reward is not None]
        assert len(squashed) == 20
        assert looks_squashed(squashed)
        assert not looks_squashed(squashed[:19])
        assert not looks_squashed([*squashed, 1.5])
        assert not looks_squashed([0.5] * 50)


def test_reasons_are_words() -> None:
    assert {TOO_LONG, EMPTY, NOT_FINITE, REFUSED} == {"too-long", "empty", "not-finite", "refused"}
