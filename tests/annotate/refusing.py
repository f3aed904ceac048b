"""How servers say no: out of money, too fast, or never; and what their answers are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

TEXT = "好的回答"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}


class Misbehaviour(NamedTuple):
    """How a request is answered, and what must come of it.

    Attributes:
        outcome: of the attempt.
        says: a part of the words that are kept of it; of an answer its text.
        wait: seconds that it asks to wait.
        took: tokens of prompt and answer that an answer must count with; None for its most.
        stream: whether it is asked for a stream.
    """

    name: str
    sends: tuple[Any, ...]
    outcome: str
    says: str
    wait: float | None = None
    took: tuple[int, int] | None = (7, 5)
    stream: bool = False


def http(status: str, body: Any, headers: Mapping[str, str] | None = None, *, length: bool = True) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    given = {"Content-Type": "application/json", "Connection": "close"}
    given |= {"Content-Length": str(len(content))} if length else {}
    lines = [f"{name}: {value}" for name, value in (given | dict(headers or {})).items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + content


def good(message: Any = None, *, finish: Any = "stop", usage: Any = USAGE, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message or {"role": "assistant", "content": TEXT}, "finish_reason": finish}
    return {"id": "x-1", "object": "chat.completion", "choices": [choice], "usage": usage, **more}


def content(value: Any) -> dict[str, Any]:
    return good({"role": "assistant", "content": value})


def error(status: str, code: Any, message: str, headers: Mapping[str, str] | None = None, **more: Any) -> bytes:
    return http(status, {"error": {"message": message, "code": code, **more}}, headers)


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    return {"id": "x-1", "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


HALF = (chunk({"role": "assistant", "content": ""}), chunk({"content": TEXT[:2]}))
REST = (chunk({"content": TEXT[2:]}), chunk(finish="stop"), {"id": "x-1", "choices": [], "usage": USAGE})
DONE = "[DONE]"


def events(*values: Any, line: str = "\n", blank: str = "\n", space: str = " ") -> bytes:
    """Events of a stream; text that begins with a colon is a comment."""
    found = []
    for value in values:
        data = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        found.append((data if data.startswith((":", "event:")) else f"data:{space}{data}") + line + blank)
    return "".join(found).encode()


def stream(*parts: bytes, kind: str = "text/event-stream", ends: bool = True) -> bytes:
    """Events in chunks of HTTP; without their end where the connection breaks."""
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    )
    return head + chunks + (b"0\r\n\r\n" if ends else b"")


def streams(name: str, sends: Any, outcome: str, says: str, **more: Any) -> Misbehaviour:
    return Misbehaviour(name, sends if isinstance(sends, tuple) else (sends,), outcome, says, stream=True, **more)


def of(name: str, sends: Any, outcome: str, says: str, **more: Any) -> Misbehaviour:
    return Misbehaviour(name, sends if isinstance(sends, tuple) else (sends,), outcome, says, **more)


NO_MONEY = (
    of(
        "402", error("402 Payment Required", "invalid_request_error", "Insufficient Balance"), "broke", "Insufficient B"
    ),
    of("402-empty", http("402 Payment Required", b""), "broke", "402: Payment Required"),
    of("402-with-200", http("200 OK", {"error": {"code": 402, "message": "add some"}}), "broke", "add some"),
    of(
        "credit-balance",
        http(
            "400 Bad Request",
            {
                "type": "error",
                "error": {
                    "type": "invalid_request_error",
                    "message": "Your credit balance is too low to access the API.",
                },
            },
        ),
        "broke",
        "credit balance is too low",
    ),
    of(
        "insufficient-quota",
        error("429 Too Many Requests", "insufficient_quota", "You exceeded your current quota"),
        "broke",
        "exceeded your current quota",
    ),
    of(
        "hard-limit",
        error("400 Bad Request", "billing_hard_limit_reached", "Billing hard limit has been reached"),
        "broke",
        "hard limit",
    ),
    of(
        "arrearage",
        http(
            "400 Bad Request",
            {
                "code": "Arrearage",
                "message": "Access denied, please make sure your account is in good standing.",
                "request_id": "r",
            },
        ),
        "broke",
        "good standing",
    ),
    of(
        "free-tier-only",
        error("403 Forbidden", "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."),
        "broke",
        "free tier",
    ),
    of(
        "free-quota",
        http(
            "429 Too Many Requests", {"code": "Throttling.AllocationQuota", "message": "Free allocated quota exceeded."}
        ),
        "broke",
        "Free allocated quota",
    ),
    of(
        "overdue-bill",
        http("429 Too Many Requests", {"code": "PrepaidBillOverdue", "message": "The prepaid bill is overdue."}),
        "broke",
        "prepaid bill",
    ),
    of("1113", error("429 Too Many Requests", "1113", "您的账户已欠费，请充值后重试。"), "broke", "请充值"),
    of("1113-in-words-alone", http("429 Too Many Requests", {"msg": "余额不足或无可用资源包"}), "broke", "余额不足"),
    of(
        "exceeded-current-quota",
        http(
            "429 Too Many Requests",
            {
                "error": {
                    "type": "exceeded_current_quota_error",
                    "message": "Your account is suspended, please check your plan and billing details",
                }
            },
        ),
        "broke",
        "suspended",
    ),
    of(
        "account-overdue",
        error(
            "403 Forbidden",
            "AccountOverdueError",
            "The request failed because your account has an overdue balance.",
            type="Forbidden",
        ),
        "broke",
        "overdue balance",
    ),
    of(
        "30001",
        http("403 Forbidden", {"code": 30001, "message": "Sorry, your account balance is insufficient", "data": None}),
        "broke",
        "balance is insufficient",
    ),
    of(
        "total-limit-with-200",
        http("200 OK", {"error_code": 19, "error_msg": "Open api total request limit reached"}),
        "broke",
        "total request limit",
    ),
    of(
        "base-resp-1008",
        http("200 OK", {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}),
        "broke",
        "insufficient balance",
    ),
    of(
        "arrears",
        http("200 OK", {"Response": {"Error": {"Code": "FailedOperation.ServiceStopArrears", "Message": "欠费停服"}}}),
        "broke",
        "欠费停服",
    ),
    of(
        "pack-exhausted",
        http(
            "200 OK",
            {
                "Response": {
                    "Error": {"Code": "FailedOperation.FreeResourcePackExhausted", "Message": "免费资源包余量已用尽"}
                }
            },
        ),
        "broke",
        "余量已用尽",
    ),
    of(
        "user-quota",
        error("403 Forbidden", "insufficient_user_quota", "用户额度不足, 剩余额度: 0"),
        "broke",
        "额度不足",
    ),
    of(
        "spending-limit",
        http("403 Forbidden", {"error": "Your team has reached its monthly spending limit"}),
        "broke",
        "spending limit",
    ),
    streams("no-money-in-a-stream", stream(events({"error": {"code": "1113", "message": "欠费"}})), "broke", "欠费"),
)

TOO_FAST = (
    of("429", http("429 Too Many Requests", b""), "throttled", "Too Many Requests"),
    of(
        "429-retry-after",
        error("429 Too Many Requests", None, "slow", {"Retry-After": "7"}),
        "throttled",
        "slow",
        wait=7,
    ),
    of(
        "429-says-when",
        error(
            "429 Too Many Requests",
            "rate_limit_exceeded",
            "Rate limit reached. Please try again in 6m0s. Add a payment method in your billing settings.",
        ),
        "throttled",
        "Rate limit",
        wait=360,
    ),
    of(
        "429-says-when-in-ms",
        error("429 Too Many Requests", None, "Please try again in 20ms."),
        "throttled",
        "20ms",
        wait=0.02,
    ),
    of(
        "429-says-when-in-words",
        error(
            "429 Too Many Requests",
            "rate_limit_reached_error",
            "request reached max rpm, please try again after 1 seconds",
        ),
        "throttled",
        "max rpm",
        wait=1,
    ),
    of(
        "retry-delay",
        http(
            "429 Too Many Requests",
            [
                {
                    "error": {
                        "code": 429,
                        "status": "RESOURCE_EXHAUSTED",
                        "message": "You exceeded your current quota, please check your plan and billing details.",
                        "details": [{"retryDelay": "37s"}],
                    }
                }
            ],
        ),
        "throttled",
        "current quota",
        wait=37,
    ),
    of("1302", error("429 Too Many Requests", "1302", "您当前使用该API的并发数过高"), "throttled", "并发数"),
    of(
        "rate-quota",
        http(
            "429 Too Many Requests",
            {"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded, please try again later."},
        ),
        "throttled",
        "rate limit",
    ),
    of(
        "a-minutes-tokens",
        error(
            "429 Too Many Requests",
            "insufficient_quota",
            "You exceeded your current quota, please "
            "check your plan. For details, see: https://h.invalid/error-code#token-limit",
        ),
        "throttled",
        "token-limit",
    ),
    of(
        "allocated-quota",
        http(
            "429 Too Many Requests",
            {
                "code": "Throttling.AllocationQuota",
                "message": "Allocated quota exceeded, please increase your quota limit.",
            },
        ),
        "throttled",
        "Allocated quota",
    ),
    of(
        "rpm-of-the-endpoint",
        error("429 Too Many Requests", "RateLimitExceeded.EndpointRPMExceeded", "RPM limit", type="TooManyRequests"),
        "throttled",
        "RPM limit",
    ),
    of(
        "tpm-without-a-code",
        http(
            "429 Too Many Requests",
            {"message": "Request was rejected due to rate limiting. Details:TPM limit reached.", "data": None},
        ),
        "throttled",
        "TPM limit",
    ),
    of("503-retry-after", http("503 Busy", b"busy", {"Retry-After": "2"}), "throttled", "busy", wait=2),
    of(
        "529",
        http("529 Overloaded", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
        "throttled",
        "Overloaded",
    ),
    streams(
        "too-fast-in-a-stream",
        stream(events({"error": {"code": "rate_limit_exceeded", "message": "slow"}})),
        "throttled",
        "slow",
    ),
)

REFUSALS = (
    of("500", http("500 Oops", b"<html>\n oops </html>"), "error", "500: <html> oops"),
    of("503", http("503 Busy", b""), "error", "503: Busy"),
    of("408", http("408 Late", b""), "error", "408"),
    of("401", error("401 Unauthorized", "invalid_api_key", "no such key"), "denied", "no such key"),
    of("403-flagged", error("403 Forbidden", None, "your input was flagged"), "denied", "flagged"),
    of("404", http("404 Not Found", {"detail": "no such model"}), "denied", "404: no such model"),
    of("404-page", http("404 Not Found", b"<h1>\x1b[31mnginx</h1>"), "denied", "nginx"),
    of("405", http("405 Method Not Allowed", b""), "denied", "Method Not Allowed"),
    of(
        "a-redirect",
        http("308 Moved", b"", {"Location": "http://h.invalid/v2"}),
        "denied",
        "moved to http://h.invalid/v2",
    ),
    of(
        "key-invalid-with-400",
        http(
            "400 Bad Request", [{"error": {"code": 400, "message": "API key not valid.", "status": "API_KEY_INVALID"}}]
        ),
        "denied",
        "API key not valid",
    ),
    of("400", error("400 Bad Request", "context_length_exceeded", "too long"), "refused", "400: too long"),
    of(
        "400-that-repeats-the-query",
        error("400 Bad Request", "1301", "sensitive: 信用卡欠费、余额不足怎么办"),
        "refused",
        "sensitive",
    ),
    of("413", http("413 Too Large", b""), "refused", "413"),
    of(
        "422",
        http("422 Odd", {"detail": [{"loc": ["body", "seed"], "msg": "extra inputs are not permitted"}]}),
        "refused",
        "422: body.seed: extra inputs",
    ),
)
