"""One attempt at one request over `openai.AsyncOpenAI`: what came of it, as data rather than exceptions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coig_p.annotate.config import Endpoint
from coig_p.core.retry import retry_after
from coig_p.errors import UsageError
from coig_p.ingest.values import Rejected, text_at

_LEAVE = (401, 402, 403, 404, 405)  # the key, the account, the address or the model is wrong: for all requests
_TRY_AGAIN = (408, 409, 425)
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "Arrearage")
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "ClientConnectorError", "ClientConnectorDNSError", "gaierror")
_SHOWN = 300  # characters of a server's message that are kept
_MOST_TOKENS = 2**22  # more than any model's context: a server that claims more is not believed


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
        usage = value.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        finish, refusal = choice.get("finish_reason"), message.get("refusal")
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no choices[0].message: {error!r}") from None
    if text is not None and not isinstance(text, str):
        raise ValueError("choices[0].message.content is not text")
    tokens = [count if isinstance(count, int) and 0 <= count <= _MOST_TOKENS else None for count in counts]
    ended = _encodable(finish) if isinstance(finish, str) else None
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
    """One endpoint's connections.

    `AsyncOpenAI` has the address, the headers and the transport. Its `post` works the first two out
    anew for every request, which took half of the processor's time again; so it is done once here,
    and requests go to the transport as they are.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import httpx2
            from openai import AsyncOpenAI, DefaultAioHttpClient
        except ImportError:
            raise UsageError("asking models needs the extra: pip install 'coig-p[annotate]'") from None
        self.endpoint, self._key, self._request = endpoint, endpoint.key(), httpx2.Request
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = DefaultAioHttpClient(limits=limits, timeout=endpoint.timeout)
        self._client = AsyncOpenAI(api_key=self._key, base_url=endpoint.base_url, http_client=self._http)
        self._address = self._client.base_url.join("chat/completions")
        # No other headers: they tell of this machine, or come from variables that are meant for openai.com.
        own = {name: str(self._client.default_headers[name]) for name in ("Accept", "Content-Type", "User-Agent")}
        self._headers = {**own, "Authorization": f"Bearer {self._key}"}
        self._extensions = {"timeout": httpx2.Timeout(endpoint.timeout).as_dict()}

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Reply:
        """Send a request once. Raises nothing but cancellation."""
        import httpx2

        body = {"model": self.endpoint.model, "messages": list(messages), **parameters}
        try:
            content = json.dumps(body, ensure_ascii=False).encode()
            request = self._request(
                "POST", self._address, headers=self._headers, content=content, extensions=self._extensions
            )
            async with asyncio.timeout(self.endpoint.timeout):
                # A redirect would be another request, which no limit has counted.
                response = await self._http.send(request, follow_redirects=False)
            if not response.is_success:
                return self._status(response)
            text = self._without_key(response.content.decode("utf-8"))
            message = read_body(text)
        except (TimeoutError, httpx2.TimeoutException):
            return Reply("timeout", detail=f"no answer in {self.endpoint.timeout:g} s")
        except ValueError as error:
            return Reply("broken", detail=self._shown(f"{type(error).__name__}: {error}"))
        except Exception as error:  # a transport's own, also where an answer is cut off in its body
            unreachable = any(type(cause).__name__ in _NEVER_SENT for cause in _causes(error))
            detail = self._shown(f"{type(error).__name__}: {error}")
            return Reply("unreachable" if unreachable else "reset", detail=detail)
        return Reply("answered", text, message)

    def _status(self, response: Any) -> Reply:
        status, wait = response.status_code, retry_after(response.headers.items())
        code, words = _error(response)
        if response.has_redirect_location:
            words = f"moved to {response.headers['location']}: set base_url to where it is"
        detail = self._shown(f"{status}: {words}")
        if status in _LEAVE or code in _OUT_OF_MONEY or response.is_redirect:
            return Reply("leave", detail=detail)
        if status == 429 or (status == 503 and wait is not None):
            return Reply("throttled", wait=wait, detail=detail)
        if status >= 500 or status in _TRY_AGAIN:
            return Reply("error", wait=wait, detail=detail)
        return Reply("refused", detail=detail)

    def _shown(self, text: str) -> str:
        """Words for people."""
        return " ".join(_encodable(self._without_key(text)).split())[:_SHOWN]

    def _without_key(self, text: str) -> str:
        """Some servers repeat the key."""
        return text if self._key == "none" else text.replace(self._key, "***")


def _encodable(text: str) -> str:
    """With a question mark for half a surrogate pair, which no file takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _error(response: Any) -> tuple[Any, str]:
    """The code and the words of a server's error: OpenAI's {"error": {"code", "message"}}, or what there is."""
    try:
        value = json.loads(response.content)
        error = value.get("error", value)
        return error.get("code"), str(error.get("message") or error)
    except (ValueError, AttributeError, RecursionError):
        return None, response.text or response.reason_phrase


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
