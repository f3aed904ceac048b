"""What went wrong between here and a Hub, in words, and what to do next. Tokens appear in none of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coig_p.core.retry import retry_after
from coig_p.errors import CoigPError, RemoteError
from coig_p.publish.answers import WrongAnswerError

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_TRANSPORTS = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"})
# What a client runs into where an answer is not what it takes for granted: a page of HTML where JSON belongs, a field
# missing, a file of another length (an OSError that no system call gave).
_GARBLED = (WrongAnswerError, ValueError, LookupError, TypeError, AttributeError)
_QUOTA = ("quota", "storage limit", "exceeded your", "payment required")


@dataclass(frozen=True)
class Trouble:
    """A failed request.

    Attributes:
        status: of HTTP, or None where no answer came.
        retry_after: seconds the server asked to wait, or None.
        message: what the server said.
        transport: whether the request failed below HTTP, so that nobody knows if it was carried out.
        garbled: whether an answer came that no Hub gives, or that the client did not understand.
        offline: whether the client was told to stay offline.
        signed: whether a signed address of the storage, which holds for some time, was refused.
    """

    status: int | None = None
    retry_after: float | None = None
    message: str = ""
    transport: bool = False
    garbled: bool = False
    offline: bool = False
    signed: bool = False

    @property
    def transient(self) -> bool:
        """Whether the same request may do later."""
        return self.transport or self.garbled or self.status in _TRANSIENT

    @property
    def quota(self) -> bool:
        """Whether the account is out of room."""
        return self.status in (402, 413, 507) or any(word in self.message.lower() for word in _QUOTA)


def trouble_of(error: BaseException) -> Trouble | None:
    """What a client's exception, or the one that caused it, tells; None where it is no remote trouble."""
    if isinstance(error, CoigPError):  # said already
        return None
    for at in _chain(error):
        response = getattr(at, "response", None)
        status = getattr(response, "status_code", None)
        if response is not None and isinstance(status, int):
            message = response.headers.get("X-Error-Message") or getattr(at, "server_message", None) or ""
            asked = getattr(getattr(response, "request", None), "method", "")  # PUT goes to the storage alone
            wait = retry_after(response.headers.items())
            return Trouble(status, wait, str(message).strip(), signed=status in (401, 403) and asked == "PUT")
        status = getattr(at, "status_code", None)  # ModelScope's errors carry it themselves
        if isinstance(status, int) and type(at).__module__.startswith("modelscope"):
            wait = getattr(at, "retry_after", None)
            return Trouble(status, float(wait) if wait else None, str(getattr(at, "message", "")))
        if type(at).__name__ == "OfflineModeIsEnabled":
            return Trouble(offline=True)
    for at in _chain(error):
        name = type(at).__name__
        if type(at).__module__.partition(".")[0] in _TRANSPORTS or isinstance(at, ConnectionError):
            return Trouble(transport=True, message=name)
        if name == "LocalEntryNotFoundError" and at.__cause__ is None and at.__context__ is None:
            return Trouble(transport=True, message=name)
    if any(isinstance(at, _GARBLED) or (isinstance(at, OSError) and at.errno is None) for at in _chain(error)):
        return Trouble(garbled=True, message=" ".join(str(error).split())[:500])
    return None


def explain(
    trouble: Trouble,
    repo: str,
    endpoint: str,
    doing: str,
    token: str | None,
    login: str = "hf auth login",
    instead: str = ", or propose with --pr",
) -> RemoteError:
    """The error to raise: what was being done, what stood in the way, what to do next.

    Args:
        instead: what else may be done by who has no write access.
    """
    error = RemoteError(f"{repo} at {endpoint}, {doing}: {_words(trouble, login, instead)}")
    return scrubbed(error, token)


def scrubbed(error: RemoteError, token: str | None) -> RemoteError:
    """The same error without the token, should a server have repeated it."""
    return RemoteError(str(error).replace(token, "<token>")) if token else error


def _words(trouble: Trouble, login: str, instead: str) -> str:
    again = "What was done stays done: run the same command again"
    said = f" (the server: {trouble.message})" if trouble.message and not trouble.transport else ""
    if trouble.offline:
        return "HF_HUB_OFFLINE is set. Unset it to publish"
    if trouble.transport:
        return f"no answer ({trouble.message}). See that the network and HF_ENDPOINT are right. {again}"
    if trouble.quota:
        return f"out of storage or of quota{said}. Free some, or publish to an account that has more. {again}"
    if trouble.garbled:
        return (
            f"an answer that no Hub gives{said}. See that HF_ENDPOINT names a Hub, and that no proxy answers in its "
            f"place. {again}"
        )
    if trouble.status == 401:
        return f"not signed in, or the token is not valid{said}. Run: {login}, or pass --token"
    if trouble.status == 403:
        return f"no permission{said}. Use a token with write access to the repository{instead}. {again}"
    if trouble.status == 404:
        return f"not found{said}. Check the name; a private repository needs a token that may see it"
    if trouble.status in (409, 412):
        return f"somebody else changed the repository meanwhile{said}. Look at it, then run the same command again"
    if trouble.status == 429:
        wait = f" for {trouble.retry_after:g} seconds" if trouble.retry_after else ""
        return f"too many requests{said}. Wait{wait}. {again}"
    if trouble.transient:
        return f"the server failed with {trouble.status}{said}. {again}"
    return f"refused with {trouble.status}{said}. {again} when that is put right"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
