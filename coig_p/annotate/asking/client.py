"""One attempt at one request over HTTP: what came of it, as data rather than exceptions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from coig_p._version import __version__
from coig_p.annotate.asking.endpoint import Endpoint
from coig_p.annotate.asking.hints import RateHints, rate_hints
from coig_p.annotate.asking.message import Message, encodable, json_bytes, read_body
from coig_p.core.retry import retry_after
from coig_p.errors import UsageError

if TYPE_CHECKING:
    from aiohttp import ClientResponse

__all__ = ["Client", "RateHints", "Reply"]

_DENIED = (401, 403, 404, 405, 407, 410)  # of this request, or the key, the address or the model is wrong for all
_TRY_AGAIN = (408, 409, 425)
_OUT_OF_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "Arrearage")
_SHOWN = 300  # characters of a server's message that are kept
_MOST_BYTES = 2**25  # of an answer
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


class Client:
    """One endpoint's connections: as many as it has requests in flight, kept open between them.

    Only our own headers are sent, no cookies, and no password of a .netrc; redirects are not
    followed. A proxy is the one that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name, in lower
    case too. Certificates are those that Python trusts, SSL_CERT_FILE and SSL_CERT_DIR among them.
    Made inside the event loop that asks.

    Raises:
        UsageError: aiohttp is not installed, the key is not set, or base_url or the proxy cannot be used.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        try:
            import aiohttp
            from yarl import URL
        except ImportError:
            raise UsageError("asking models needs the extra: pip install 'coig-p[annotate]'") from None
        self.endpoint, self._key = endpoint, endpoint.key()
        try:
            self._address = URL(f"{endpoint.base_url.rstrip('/')}/chat/completions")
        except ValueError as error:
            raise UsageError(f"endpoint {endpoint.name!r}: base_url {endpoint.base_url!r}: {error}") from None
        self._proxy = _proxy(endpoint.base_url)
        self._never_sent = (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # none of its own: `ask` has one for all that a request does
            headers={
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": f"coig-p/{__version__}",
                "Authorization": f"Bearer {self._key}",
            },
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def ask(self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any]) -> Reply:
        """Send a request once. Raises nothing but cancellation."""
        content = json_bytes({"model": self.endpoint.model, "messages": list(messages), **parameters})
        hints = None
        try:
            async with (
                asyncio.timeout(self.endpoint.timeout),
                # A redirect would be another request, which no limit has counted.
                self._session.post(self._address, data=content, allow_redirects=False, proxy=self._proxy) as response,
            ):
                hints = rate_hints(response.headers.items())
                body = await _read(response)
                if not 200 <= response.status < 300:
                    return self._status(response, body)._replace(hints=hints)
                if len(body) > _MOST_BYTES:
                    return Reply("broken", detail=f"an answer of more than {_MOST_BYTES:,} bytes", hints=hints)
            text = self._without_key(body.decode("utf-8"))
            message = read_body(text)
        except self._never_sent as error:
            return Reply("unreachable", detail=self._shown(f"{type(error).__name__}: {error}"))
        except TimeoutError:
            return Reply("timeout", detail=f"no answer in {self.endpoint.timeout:g} s")
        except ValueError as error:
            return Reply("broken", detail=self._shown(f"{type(error).__name__}: {error}"), hints=hints)
        except Exception as error:  # the connection's, also where an answer is cut off in its body
            return Reply("reset", detail=self._shown(f"{type(error).__name__}: {error}"), hints=hints)
        return Reply("answered", text, message, hints=hints)

    def _status(self, response: ClientResponse, body: bytes) -> Reply:
        status, wait = response.status, retry_after(response.headers.items())
        code, words = _error(body)
        moved = 300 <= status < 400
        if moved and "location" in response.headers:
            words = f"moved to {response.headers['location']}: set base_url to where it is"
        detail = self._shown(f"{status}: {words or response.reason}")
        if status == 402 or code in _OUT_OF_MONEY:
            return Reply("broke", detail=detail)
        if status in _DENIED or moved:
            return Reply("denied", detail=detail)
        if status == 429 or (status == 503 and wait is not None):
            return Reply("throttled", wait=wait, detail=detail)
        if status >= 500 or status in _TRY_AGAIN:
            return Reply("error", wait=wait, detail=detail)
        return Reply("refused", detail=detail)

    def _shown(self, text: str) -> str:
        """Words for people."""
        return " ".join(encodable(self._without_key(text)).split())[:_SHOWN]

    def _without_key(self, text: str) -> str:
        """Some servers repeat the key."""
        return text if self._key == "none" else text.replace(self._key, "***")


async def _read(response: ClientResponse) -> bytes:
    """A body; of one that is too large a little more than is allowed, and its connection ends."""
    parts, size = [], 0
    async for part in response.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > _MOST_BYTES:
            break
    return b"".join(parts)


def _error(body: bytes) -> tuple[Any, str]:
    """The code and the words of a server's error: OpenAI's {"error": {"code", "message"}}, or what there is."""
    try:
        value = json.loads(body)
        error = value.get("error", value)
        return error.get("code"), str(error.get("message") or error)
    except (ValueError, AttributeError, RecursionError):
        return None, body.decode("utf-8", "replace")


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
