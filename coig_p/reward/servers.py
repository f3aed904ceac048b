"""Reward models behind a server: vLLM, SGLang, and what speaks as OpenRLHF's.

    vllm       POST /classify      {model, messages, use_activation: false}  -> data[0].probs[0]
    sglang     POST /v1/classify   {model, input: text}                      -> data[0].probs[0]
               POST /classify      {model, text}                             -> embedding[0]
    openrlhf   POST /get_reward    {query: [text, ...], prompts: [...]}      -> rewards

SGLang's /v1/classify takes the softmax of what a model says: with one label that is always 1, and its own /classify,
which tells the logit, is asked instead. Where texts are sent, the chat template is applied here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from coig_p.annotate.asking.client import Client, Reply, check_extra
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.limits import backoff
from coig_p.annotate.asking.message import read_json
from coig_p.core.text import printable
from coig_p.errors import RemoteError, UnknownNameError, UsageError
from coig_p.reward.scorer import NOT_FINITE, REFUSED, SERVERS, TOO_LONG, Asked, Scored, finite
from coig_p.reward.templates import TemplateRefuses, read_template

_PATHS = re.compile(r"(/v1)?(/classify|/get_reward)?/*$")
_PER_UNIT = 256  # characters that count as one: batches for a server are many requests
_TOGETHER = 16  # texts of one request, where a request takes several
_THROTTLES = 50  # times that a request may be turned away for its rate
_NAME = 200  # characters
_MOST_TOKENS = 2**31  # more than any model takes: a server that counts more is not believed
_TOO_LONG = re.compile(
    r"(maximum|max)[^.]{0,20}(context|model|sequence)[^.]{0,10}len|longer than the (maximum|model)|context_?length|"
    r"max_model_len|(input|prompt|text|sequence)[^.]{0,30} (is )?too long|exceeds? [^.]{0,30}(length|tokens)",
    re.IGNORECASE,
)
_ABSENT = ("404", "405", "501")

log = logging.getLogger(__name__)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class ServerConfig:
    """How a server is asked.

    Attributes:
        kind: one of SERVERS.
        served: what the server calls its model; default: the first that it lists.
        key_env: the environment variable that holds its token.
        template: a file with a chat template, or a model's folder; the server's own where it takes messages.
        max_length: tokens of a conversation above which a reward is not taken; default: as the server does.
        concurrency: requests in flight.
        timeout: seconds of one attempt.
        attempts: at one request.
    """

    kind: str = "vllm"
    served: str | None = None
    key_env: str | None = None
    template: str | None = None
    max_length: int | None = None
    concurrency: int = 16
    timeout: float = 120.0
    attempts: int = 6

    def __post_init__(self) -> None:
        if self.kind not in SERVERS:
            raise UnknownNameError("kind of server", self.kind, SERVERS)
        if self.kind != "vllm" and self.template is None:
            raise UsageError(
                f"a server of kind {self.kind} takes texts, not turns: name its model's folder, or a file with its "
                "chat template, with --template"
            )
        if self.kind == "openrlhf" and self.max_length is not None:
            raise UsageError("max_length: a server of kind openrlhf does not say how long a text is. Leave it out.")
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"max_length={self.max_length}: use 1 or more")


class ServerScorer:
    """A scorer: a server's answers.

    Args:
        url: where it is; with or without /v1, or the path that is asked.

    Attributes:
        sleep: waits so many seconds.

    Raises:
        UsageError: aiohttp is not installed, or the address, the token or the template cannot be used.
        RemoteError: the server cannot be reached, or does not let us in.
    """

    def __init__(self, url: str, config: ServerConfig | None = None) -> None:
        check_extra()
        self.config = config or ServerConfig()
        self.template = None if self.config.template is None else read_template(self.config.template)
        # SGLang's tokenizer puts the first mark in front by itself.
        leave_out = ("bos_token",) if self.config.kind == "sglang" else ()
        self._text = None if self.template is None else self.template.renderer(leave_out)
        self.endpoint = Endpoint(
            name="server",
            model=self.config.served or "default",
            base_url=_PATHS.sub("", url),
            key_env=self.config.key_env,
            concurrency=self.config.concurrency,
            timeout=self.config.timeout,
            attempts=self.config.attempts,
        )
        self.endpoint.secrets()
        self.sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
        self._rng = random.Random()
        self._native: bool | None = None  # whether SGLang's own path is asked; None until it matters
        self._refusal = "the chat template has no place for any conversation"
        self._answers = 0
        self._loop = _Loop()
        try:
            self._client = self._loop.run(_connected(self.endpoint))
        except BaseException:
            self._loop.close()
            raise
        try:
            self.served = self.config.served or self._loop.run(self._listed())
        except BaseException:
            self.close()
            raise

    def describe(self) -> dict[str, Any]:
        """What it is; see `Scorer`. Not where it is, which is nobody's business."""
        return {
            "kind": "server",
            "name": self.served or f"{self.config.kind} server",
            "revision": None,
            "sha256": None,
            "template_sha256": None if self.template is None else self.template.sha256,
            "dtype": None,
            "max_length": self.config.max_length,
            "truncate": None,
            "server": self.config.kind,
        }

    def length(self, asked: Asked) -> int:
        """Characters, in hundreds: a batch is many requests, which the server puts together by itself."""
        return 1 + len(_plain(asked.conversation)) // _PER_UNIT

    def score(self, asked: Sequence[Asked]) -> list[Scored]:
        """The reward of each; see `Scorer`.

        Raises:
            RemoteError: the server does not answer, lets nobody in, or is none of a reward model.
        """
        return self._loop.run(self._score(asked))

    def close(self) -> None:
        """Close its connections."""
        self._loop.run(self._client.close())
        self._loop.close()

    async def _listed(self) -> str | None:
        """What the server calls its model; None where it does not say."""
        if self.config.kind == "openrlhf":
            return None
        reply = await self._client.send("v1/models", None, (), _anything)
        if reply.outcome == "unreachable" or (reply.outcome == "denied" and str(reply.detail)[:3] in ("401", "403")):
            raise RemoteError(f"the server: {reply.detail}")
        try:
            name = json.loads(reply.body or "")["data"][0]["id"]
        except (ValueError, LookupError, TypeError):
            return None
        return name[:_NAME] if isinstance(name, str) and name.strip() else None

    async def _score(self, asked: Sequence[Asked]) -> list[Scored]:
        together = _TOGETHER if self.config.kind == "openrlhf" else 1
        parts = [asked[low : low + together] for low in range(0, len(asked), together)]
        free = asyncio.Semaphore(self.config.concurrency)

        async def one(part: Sequence[Asked]) -> list[Scored]:
            async with free:
                return await self._part(part)

        tasks = [asyncio.ensure_future(one(part)) for part in parts]
        try:
            found = [scored for part in await asyncio.gather(*tasks) for scored in part]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._check_answers(found)
        return found

    def _check_answers(self, found: Sequence[Scored]) -> None:
        self._answers += sum(one.reward is not None for one in found)
        if not self._answers and any(one.reason == REFUSED for one in found):
            raise RemoteError(f"the server refuses every request: {self._refusal}")
        rewards = [one.reward for one in found if one.reward is not None]
        if self.config.kind == "sglang" and len(rewards) > 1 and set(rewards) == {1.0}:
            raise RemoteError(
                "the server's rewards are all 1: it takes the softmax of one label, and has no other path"
            )

    async def _part(self, part: Sequence[Asked]) -> list[Scored]:
        """One request, or none where the template refuses."""
        found: list[Scored | None] = []
        texts, prompts, rest = [], [], []
        for one in part:
            try:
                if self._text is None:
                    text, prompt = _plain(one.conversation), ""
                else:
                    text = self._text(one.conversation)
                    prompt = self._text(one.messages, prompt=True) if self.config.kind == "openrlhf" else ""
            except TemplateRefuses as error:
                log.info("the chat template refuses a conversation: %s", printable(str(error)))
                found.append(Scored(None, REFUSED, None))
                continue
            found.append(None)
            texts.append(text)
            prompts.append(prompt)
            rest.append(one)
        said = iter(await self._ask(rest, texts, prompts) if rest else ())
        return [next(said) if one is None else one for one in found]

    async def _ask(self, asked: Sequence[Asked], texts: list[str], prompts: list[str]) -> list[Scored]:
        kind = self.config.kind
        named: dict[str, Any] = {"model": self.served or "default"}
        if kind == "openrlhf":
            reply = await self._sent("get_reward", {"query": texts, "prompts": prompts}, texts)
            return _read_rewards(reply, len(texts))
        if kind == "vllm":
            body = named
            if self._text is None:
                body["messages"] = asked[0].conversation
            else:
                body |= {"input": texts[0], "add_special_tokens": False}
            return [self._one(await self._sent("classify", body | {"use_activation": False}, texts))]
        if self._native:
            return [self._one(await self._sent("classify", named | {"text": texts[0]}, texts))]
        found = self._one(await self._sent("v1/classify", named | {"input": texts[0]}, texts))
        if found.reward == 1 and self._native is not False:  # another request may have found it out meanwhile
            # The softmax of one label, or a reward that is 1: the other path tells which, where there is one.
            reply = await self._sent("classify", named | {"text": texts[0]}, texts, final=("denied",))
            self._native = reply.outcome == "answered" and "embedding" in str(reply.body)
            if self._native:
                return [self._one(reply)]
        return [found]

    def _one(self, reply: Reply) -> Scored:
        if reply.outcome == "refused":
            if _TOO_LONG.search(reply.detail or ""):
                return Scored(None, TOO_LONG, None)
            self._refusal = str(reply.detail)
            log.info("the server refuses a request: %s", reply.detail)
            return Scored(None, REFUSED, None)
        found = _read_one(read_json(reply.body or "null"))
        if self.config.max_length is not None and (found.tokens or 0) > self.config.max_length:
            return Scored(None, TOO_LONG, found.tokens)
        return found

    async def _sent(
        self, path: str, body: Mapping[str, Any], texts: Sequence[str], *, final: tuple[str, ...] = ()
    ) -> Reply:
        """An answer, or a refusal of this one request; what else comes is tried again, and ends as an error.

        Args:
            final: outcomes that are not tried again and are no error, either.

        Raises:
            RemoteError: no answer comes.
        """
        failures = throttles = 0
        while True:
            reply = await self._client.send(path, body, texts, _anything)
            if reply.outcome in ("answered", "refused", *final):
                return reply
            if reply.outcome in ("denied", "broke"):
                absent = f": no server of kind {self.config.kind}?" if str(reply.detail)[:3] in _ABSENT else ""
                raise RemoteError(f"the server: {reply.detail}{absent}")
            throttled = reply.outcome == "throttled"
            failures, throttles = failures + (not throttled), throttles + throttled
            if failures >= self.config.attempts or throttles > _THROTTLES:
                tried = f"{reply.outcome}, after {failures + throttles} attempts"
                raise RemoteError(f"the server: {reply.detail} ({tried})")
            await self.sleep(max(reply.wait or 0.0, backoff(max(failures, throttles), self._rng)))


def _plain(turns: Sequence[Mapping[str, str]]) -> str:
    """What turns say, without their roles."""
    return "\n".join(turn.get("content") or "" for turn in turns)


def _anything(value: Any) -> None:
    """Whatever an answer says is looked at later."""


def _read_one(value: Any) -> Scored:
    """The reward of an answer for one conversation, in any of its forms; raise RemoteError where it is none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    rewards = tokens = None
    if isinstance(value, dict):
        data = value.get("data")
        if isinstance(data, list) and len(data) == 1 and isinstance(data[0], dict):
            rewards, tokens = data[0].get("probs", data[0].get("embedding")), _tokens(value.get("usage"))
        elif "embedding" in value:
            rewards, tokens = value["embedding"], _tokens(value.get("meta_info"))
    if not isinstance(rewards, list) or not rewards:
        raise RemoteError(f"the server's answer has no reward in it: {_shown(value)}")
    if len(rewards) != 1:
        raise RemoteError(f"the server's model has {len(rewards):,} labels, and a reward model has one")
    return _scored(rewards[0], tokens)


def _read_rewards(reply: Reply, number: int) -> list[Scored]:
    """The rewards of several texts, of OpenRLHF's form."""
    if reply.outcome == "refused":
        raise RemoteError(f"the server: {reply.detail}")
    value = read_json(reply.body or "null")
    rewards = value.get("rewards") if isinstance(value, dict) else None
    if not isinstance(rewards, list):
        raise RemoteError(f"the server's answer has no rewards in it: {_shown(value)}")
    if len(rewards) != number:
        raise RemoteError(f"the server gave {len(rewards):,} rewards for {number:,} texts")
    return [_scored(one[0] if isinstance(one, list) and len(one) == 1 else one, None) for one in rewards]


def _scored(value: Any, tokens: int | None) -> Scored:
    if value is not None and type(value) not in (int, float):
        raise RemoteError(f"the server's reward is no number: {_shown(value)}")
    reward = None if value is None else finite(value)
    return Scored(reward, NOT_FINITE if reward is None else None, tokens)


def _tokens(value: Any) -> int | None:
    found = value.get("prompt_tokens") if isinstance(value, dict) else None
    return found if type(found) is int and 0 <= found < _MOST_TOKENS else None


def _shown(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False)[:200])


async def _connected(endpoint: Endpoint) -> Client:
    return Client(endpoint)


class _Loop:
    """An event loop in a thread of its own, so that a scorer can be used from anywhere, a notebook too."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="coig-p-server", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        """What comes of it; it is cancelled where the wait for it is interrupted."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
