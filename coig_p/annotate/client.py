"""One attempt at one request, by `openai.AsyncOpenAI`: what came of it, as data rather than exceptions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coig_p.annotate.config import Endpoint
from coig_p.annotate.limits import retry_after
from coig_p.checks import Rejected, text_at
from coig_p.errors import UsageError

_LEAVE = (401, 402, 403, 404, 405)  # the key, the account, the address or the model is wrong: for all requests
_TRY_AGAIN = (408, 409, 425)
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "Arrearage")
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "ClientConnectorError", "ClientConnectorDNSError", "gaierror")
_SHOWN = 300  # characters of a server's message that are kept


class Message(NamedTuple):
    """What a body says: the text (None where there is none), why it ended, and tokens where it says."""

    text: str | None
    finish: str | None
    refusal: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


class Reply(NamedTuple):
    """What an attempt brought.

    Attributes:
        outcome: answered; throttled (429); error (the server's, worth another attempt); timeout;
            reset; unreachable; broken (an answer that cannot be read); refused (this request will
            never be answered); leave (no request will).
        body, message: the raw JSON of an answer, and what it says.
        wait: seconds that the server asks to wait.
        detail: what was wrong, without the key.
    """

    outcome: str
    body: str | None = None
    message: Message | None = None
    wait: float | None = None
    detail: str | None = None


def read_body(body: str) -> Message:
    """A chat completion's first choice; raise ValueError where the body is none."""
    try:
        value = json.loads(body)
        choice = value["choices"][0]
        message = choice["message"]
        text = message.get("content")
        usage = value.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        finish, refusal = choice.get("finish_reason"), message.get("refusal")
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no choices[0].message: {error!r}") from None
    if text is not None and not isinstance(text, str):
        raise ValueError("choices[0].message.content is not text")
    tokens = [count if isinstance(count, int) and 0 <= count < 2**40 else None for count in counts]
    ended = finish if isinstance(finish, str) else None
    return Message(text, ended, refusal if isinstance(refusal, str) else None, *tokens)


def usable_text(message: Message) -> tuple[str | None, str | None]:
    """A message's text, or why it has none: refusal, empty, or not storable as UTF-8."""
    if message.text is None and message.refusal:
        return None, "refusal"
    if message.finish == "content_filter":
        return None, "refusal"
    try:
        return text_at({"text": message.text or ""}, "text"), None
    except Rejected as rejected:
        return None, "empty" if rejected.reason == "blank" else rejected.reason


class Client:
    """One endpoint's connections."""

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import httpx2
            from openai import AsyncOpenAI, DefaultAioHttpClient
        except ImportError:
            raise UsageError("asking models needs the extra: pip install 'coig-p[annotate]'") from None
        self.endpoint, self._key, self._response = endpoint, endpoint.key(), httpx2.Response
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = DefaultAioHttpClient(limits=limits, timeout=endpoint.timeout)
        # No retries of its own: each attempt has to pass the limits and the ledger.
        self._client = AsyncOpenAI(
            api_key=self._key,
            base_url=endpoint.base_url,
            max_retries=0,
            http_client=self._http,
            timeout=endpoint.timeout,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Reply:
        """Send a request once. Raises nothing but cancellation."""
        import openai

        body = {"model": self.endpoint.model, "messages": list(messages), **parameters}
        try:
            async with asyncio.timeout(self.endpoint.timeout):
                response = await self._client.post("/chat/completions", body=body, cast_to=self._response)
            text = response.content.decode("utf-8")
            message = read_body(text)
        except (TimeoutError, openai.APITimeoutError):
            return Reply("timeout", detail=f"no answer in {self.endpoint.timeout:g} s")
        except openai.APIStatusError as error:
            return self._status(error)
        except openai.APIConnectionError as error:
            unreachable = any(type(cause).__name__ in _NEVER_SENT for cause in _causes(error))
            return Reply("unreachable" if unreachable else "reset", detail=self._shown(error.__cause__ or error))
        except (openai.OpenAIError, ValueError) as error:
            return Reply("broken", detail=self._shown(error))
        except Exception as error:  # a transport's own: an answer cut off in its body
            return Reply("reset", detail=self._shown(error))
        return Reply("answered", text, message)

    def _status(self, error: Any) -> Reply:
        status, detail = error.status_code, self._shown(error)
        wait = retry_after(error.response.headers.items())
        code = error.body.get("code") if isinstance(error.body, dict) else None
        if status in _LEAVE or code in _OUT_OF_MONEY:
            return Reply("leave", detail=detail)
        if status == 429 or (status == 503 and wait is not None):
            return Reply("throttled", wait=wait, detail=detail)
        if status >= 500 or status in _TRY_AGAIN:
            return Reply("error", wait=wait, detail=detail)
        return Reply("refused", detail=detail)

    def _shown(self, error: BaseException) -> str:
        """An error's words without the key, which some servers repeat."""
        text = f"{type(error).__name__}: {error}".replace(self._key, "***") if self._key != "none" else repr(error)
        return " ".join(text.split())[:_SHOWN]


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
