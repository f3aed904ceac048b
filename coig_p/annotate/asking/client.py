"""One attempt at one request over HTTP: what came of it, as data rather than exceptions."""

from __future__ import annotations

import asyncio
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from coig_p._version import __version__
from coig_p.annotate.asking.embeddings import asks_for_vectors
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.events import DONE, DONE_LINE, StreamEnded, is_stream, put_together
from coig_p.annotate.asking.hints import RateHints, rate_hints
from coig_p.annotate.asking.message import (
    Message,
    Usage,
    encodable,
    json_bytes,
    read_embeddings,
    read_json,
    read_value,
    usage_of,
)
from coig_p.annotate.asking.refusals import Trouble, error_in, outcome_of, read_trouble
from coig_p.core.retry import retry_after
from coig_p.core.text import printable
from coig_p.errors import UsageError

if TYPE_CHECKING:
    from aiohttp import ClientResponse

__all__ = ["Client", "RateHints", "Reply"]

_CHAT, _EMBEDDINGS = "chat/completions", "embeddings"
_SHOWN = 300  # characters of a server's message that are kept
_MOST_BYTES = 2**25  # of an answer
_LEAST_SECRET = 8  # characters: what is shorter would be found in any answer, and is left in it
_LEAST_SHOWN = 4  # of a secret that is left out of words for people
_DONE_LINE = 64  # bytes in which the last line of a stream may have begun
_KEPT_ALIVE = 4.0  # seconds that a connection waits for its next request: uvicorn, as under vLLM, ends it after 5


class Reply(NamedTuple):
    """What an attempt brought.

    Attributes:
        outcome: answered; throttled (429); error (the server's, worth another attempt); timeout;
            reset; unreachable; broken (an answer that cannot be read); refused (this request will
            never be answered); denied (perhaps this request, perhaps all); broke (out of money: no
            request will be answered).
        body, message: the raw JSON of an answer, and what it says.
        wait: seconds that the server asks to wait.
        detail: what was wrong, in the server's words, without the key.
        hints: what the headers say of rate limits.
    """

    outcome: str
    body: str | None = None
    message: Message | None = None
    wait: float | None = None
    detail: str | None = None
    hints: RateHints | None = None


def check_extra() -> None:
    """Import what sends requests, which takes a while; raise UsageError where it is not installed."""
    try:
        import aiohttp  # noqa: F401
    except ImportError:
        raise UsageError("asking models needs the extra: pip install 'coig-p[annotate]'") from None


class Client:
    """One endpoint's connections: as many as it has requests in flight, kept open between them.

    Only our own headers are sent and those of the endpoint, no cookies, and no password of a .netrc;
    redirects are not followed. A proxy is the one that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and
    NO_PROXY name, in lower case too. Certificates are those that Python trusts, SSL_CERT_FILE and
    SSL_CERT_DIR among them.
    Made inside the event loop that asks.

    Raises:
        UsageError: aiohttp is not installed, the key is not set, or base_url or the proxy cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        check_extra()
        import aiohttp
        from yarl import URL

        self.endpoint = endpoint
        ours = {
            "Accept": "text/event-stream, application/json" if endpoint.stream else "application/json",
            "Content-Type": "application/json",
            "User-Agent": f"coig-p/{__version__}",
        }
        own = endpoint.sent_headers()
        replaced = {name.lower() for name in own}
        self._secrets = _spellings(endpoint.secrets())
        query = endpoint.sent_query()

        @cache
        def address(path: str) -> URL:
            return URL(f"{endpoint.base_url.rstrip('/')}/{path}").update_query(query)

        try:
            self._address = address(_CHAT)
        except ValueError as error:
            raise UsageError(f"endpoint {endpoint.name!r}: base_url {endpoint.base_url!r}: {error}") from None
        self._address_of = address
        self._proxy = _proxy(endpoint.base_url)
        self._never_sent = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # none of its own: `ask` has one for all that a request does
            headers={name: value for name, value in ours.items() if name.lower() not in replaced} | own,
        )
        self._streaming: Mapping[str, Any] = {}
        if endpoint.stream:
            self._streaming = {"stream": True, "stream_options": {"include_usage": True}}

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Reply:
        """Send a request for a chat completion, or for vectors, once. Raises nothing but cancellation."""
        if asks_for_vectors(messages):
            texts = [str(message["content"]) for message in messages]
            wanted = {"model": self.endpoint.model, "input": texts, **parameters}
            return await self.send(_EMBEDDINGS, wanted, texts, read_embeddings)
        streaming = self._streaming
        body = {"model": self.endpoint.model, "messages": messages, **streaming, **parameters}
        reply = await self.send(_CHAT, body, [message["content"] for message in messages], read_value)
        if reply.outcome == "refused" and "stream_options" in streaming and "stream_options" in str(reply.detail):
            # It streams, but cannot say what it took: the next attempt is without that.
            self._streaming = {"stream": True}
            reply = reply._replace(outcome="error")
        return reply

    async def send(
        self, path: str, body: Mapping[str, Any] | None, asked: Sequence[str], read: Callable[[Any], Message | None]
    ) -> Reply:
        """Send any request once. Raises nothing but cancellation.

        Args:
            path: behind base_url.
            body: None for a GET, which has none.
            asked: the texts of the request: what a server repeats of them means nothing.
            read: what the JSON of an answer says; raises ValueError where it is no answer.
        """
        method, content = ("GET", None) if body is None else ("POST", json_bytes(body))
        hints = None
        try:
            async with (
                asyncio.timeout(self.endpoint.timeout),
                # A redirect would be another request, which no limit has counted.
                self._session.request(
                    method, self._address_of(path), data=content, allow_redirects=False, proxy=self._proxy
                ) as response,
            ):
                hints = rate_hints(response.headers.items())
                answer = await _read(response)
            if not 200 <= response.status < 300:
                reply = self._refusal(response, read_trouble(answer.decode("utf-8", "replace")), asked)
            elif len(answer) > _MOST_BYTES:
                reply = Reply("broken", detail=f"an answer of more than {_MOST_BYTES:,} bytes")
            else:
                reply = self._answer(response, answer, asked, read)
        except self._never_sent as error:
            return Reply("unreachable", detail=self._shown(f"{type(error).__name__}: {error}"))
        except TimeoutError:
            return Reply("timeout", detail=f"no answer in {self.endpoint.timeout:g} s", hints=hints)
        except ValueError as error:
            return Reply("broken", detail=self._shown(str(error)), hints=hints)
        except StreamEnded as error:
            return Reply("reset", detail=self._shown(str(error)), hints=hints)
        except Exception as error:  # the connection's, also where an answer is cut off in its body
            return Reply("reset", detail=self._shown(f"{type(error).__name__}: {error}"), hints=hints)
        return reply if hints is None else reply._replace(hints=hints)

    def _answer(
        self, response: ClientResponse, body: bytes, asked: Sequence[str], read: Callable[[Any], Message | None]
    ) -> Reply:
        """What a body of a good status says; raise ValueError where it cannot be read, StreamEnded where it is cut."""
        if _is_cut(response, body):
            raise StreamEnded(f"the connection ended before its answer did, after {len(body):,} bytes")
        text = _decoded(body, response.charset)
        if is_stream(response.content_type, text):
            text = json_bytes(put_together(text)).decode()
        text = self._masked(text)
        try:
            value = read_json(text)
            trouble = error_in(value)
            if trouble is None:
                return Reply("answered", text.removeprefix("\ufeff"), read(value))
        except ValueError as error:
            raise ValueError(f"{error}, in: {text[:_SHOWN]}") from None
        reply = self._refusal(response, trouble, asked)
        took = usage_of(value) if isinstance(value, dict) else Usage()
        # An error that names tokens may have its price.
        return reply._replace(outcome="broken") if reply.outcome == "error" and (took.answer or took.beyond) else reply

    def _refusal(self, response: ClientResponse, trouble: Trouble, asked: Sequence[str]) -> Reply:
        """What it means that there is no answer."""
        status, words = response.status, trouble.words
        wait = retry_after(response.headers.items()) or trouble.wait
        if 300 <= status < 400:
            if "location" in response.headers:
                words = f"moved to {response.headers['location']}: set base_url to where it is"
            return Reply("denied", detail=self._shown(f"{status}: {words or response.reason}"))
        outcome = outcome_of(status, trouble, wait, "\n".join(asked))
        detail = self._shown(f"{status}: {words or response.reason}")
        return Reply(outcome, wait=wait if outcome in ("throttled", "error") else None, detail=detail)

    def _shown(self, text: str) -> str:
        """Words for people."""
        words = encodable(self._masked(text, _LEAST_SHOWN))
        return printable(" ".join(words.split()))[:_SHOWN]

    def _masked(self, text: str, least: int = _LEAST_SECRET) -> str:
        """Some servers repeat the key, and some errors the address."""
        for secret in self._secrets:
            if len(secret) >= least:
                text = text.replace(secret, "***")
        return text


def _spellings(secrets: Sequence[str]) -> list[str]:
    """Each secret as a body, an address or JSON may have it, the longest first."""
    found = {
        spelling
        for secret in secrets
        for spelling in (secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1])
    }
    return sorted(found, key=len, reverse=True)


def _is_cut(response: ClientResponse, body: bytes) -> bool:
    """Whether a body that goes on until its connection ends has JSON that begins and does not end."""
    if "Content-Length" in response.headers or "Transfer-Encoding" in response.headers:
        return False
    return body.lstrip()[:1] in (b"{", b"[") and body.rstrip()[-1:] not in (b"}", b"]")


def _decoded(body: bytes, charset: str | None) -> str:
    """A body as text: UTF-8, or what its header says where it is not."""
    try:
        return body.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError:
        try:
            if charset and charset.lower().replace("_", "-") not in ("utf-8", "utf8"):
                return body.decode(charset)
        except (LookupError, UnicodeDecodeError):
            pass
        raise


async def _read(response: ClientResponse) -> bytes:
    """A body; of one that is too large a little more than is allowed, and its connection ends.

    A stream is read until it says that it is done; no JSON has a line that says so.
    """
    parts, size = [], 0
    last = b"\n"
    while part := await response.content.readany():
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            break
        last += part
        if DONE in last and DONE_LINE.search(last):
            break
        last = last[-_DONE_LINE:]
    return b"".join(parts)


def _proxy(base_url: str) -> str | None:
    """The proxy that the environment names for an address; one for all of an endpoint's requests."""
    url = urlsplit(base_url)
    if proxy_bypass(url.netloc):
        return None
    proxies = getproxies()
    found = proxies.get(url.scheme) or proxies.get("all")
    if not found:
        return None
    found = found if "://" in found else f"http://{found}"
    scheme = urlsplit(found).scheme
    if scheme not in ("http", "https"):  # without the address, which may hold a password
        raise UsageError(f"{url.scheme.upper()}_PROXY names a {scheme} proxy: only http and https ones work here")
    return found
