"""What clients of object stores raise, as errors that say what to do, and without secrets, which their own may hold."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from coig_p.core.text import printable
from coig_p.errors import CoigPError, RemoteError, StoreError, UsageError

_REFUSED = frozenset(("401", "403", "AccessDenied", "AuthenticationFailed", "AuthorizationFailure", "ExpiredToken"))
_REFUSED |= {"Forbidden", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
_FULL = frozenset(
    ("507", "InsufficientStorage", "QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded")
)
_BUSY = frozenset(("429", "503", "RequestLimitExceeded", "ServiceUnavailable", "SlowDown", "Throttling"))
_BUSY |= {"ThrottlingException", "TooManyRequests", "TooManyRequestsException"}
_NO_BUCKET = "NoSuchBucket"
_NO_NAME = ("InvalidBucketName", "Invalid bucket name")


@contextmanager
def told(path: object) -> Iterator[None]:
    """Every error of a client in the block as one of ours.

    Raises:
        FileNotFoundError: the file is not there.
        StoreError: the file was replaced while it was open.
        UsageError: storage options that the client does not take, or a name that no bucket can have.
        RemoteError: there is no such bucket, access was refused, or the store did not answer as it should.
    """
    try:
        yield
    except (CoigPError, NotADirectoryError, IsADirectoryError) as error:
        raise error from None
    except FileNotFoundError as error:
        if code_of(error) == _NO_BUCKET:
            raise no_bucket(path) from None
        raise error from None
    except Exception as error:
        raise problem(path, error) from None


def problem(path: object, error: Exception) -> CoigPError:
    """The error of a client as one of ours."""
    kind, code = type(error).__name__, code_of(error)
    if kind == "FileExpired" or code in ("PreconditionFailed", "412"):
        store, _, file = str(path).rpartition("/data/")
        return StoreError(
            store or path, f"{'data/' + file if store else 'it'} was replaced while it was read. Begin anew"
        )
    if code == _NO_NAME[0] or _NO_NAME[1] in str(error):
        return UsageError(
            f"{path}: no bucket can have this name. Use a URL as {str(path).partition(':')[0]}://bucket/store"
        )
    if isinstance(error, TypeError):  # some clients look at what they are given at the first request
        return misfit(path, getattr(path, "options", {}), error)
    said = f"{kind}: {code}" if code and code != kind else kind
    if code in _FULL or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return RemoteError(f"{path}: the object store has no room left ({said}). Make room there, and run this again")
    if isinstance(error, PermissionError) or code in _REFUSED or "Credential" in kind or "Profile" in kind:
        return RemoteError(
            f"{path}: access was refused ({said}). Name who asks in the environment, as the client of this protocol "
            "reads it (for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), or in storage_options"
        )
    if code in _BUSY:
        return RemoteError(
            f"{path}: the object store was too busy, also when it was asked again ({said}). Try again later"
        )
    return RemoteError(
        f"{path}: the store could not be reached, or did not answer to the end ({said}). Try again, or look at its "
        "address (for S3 AWS_ENDPOINT_URL)"
    )


def no_bucket(path: object) -> RemoteError:
    """The error for a file or folder of a bucket that is not there."""
    return RemoteError(
        f"{path}: there is no such bucket. Make it first, or look at its name, and at who is asked for it (for S3 "
        "AWS_ENDPOINT_URL)"
    )


def misfit(path: object, options: Mapping[str, Any], error: Exception) -> UsageError:
    """The error for storage options that a client does not take."""
    named = printable(", ".join(sorted(map(str, options))) or "none")
    return UsageError(
        f"{path}: its client does not take these storage_options ({named}): {type(error).__name__}. See the "
        "documentation of fsspec's client for this protocol"
    )


def code_of(error: BaseException) -> str:
    """What the answer of a server calls an error; "" where there was no answer."""
    for one in (error, error.__cause__, error.__context__):
        response = getattr(one, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else getattr(one, "status", None)
        if code:
            return printable(str(code))[:40]
    return ""
