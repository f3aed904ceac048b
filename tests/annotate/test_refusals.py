"""What services say when they do not answer, in their own forms and words, and what it means."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coig_p.annotate.asking.refusals import error_in, outcome_of, read_trouble


def of(message: str, code: Any = None, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "code": code, "type": kind, **more}}


BROKE = [
    (429, of("已达到 5 小时的使用上限。您的限额将在 2026-01-01 重置。", "1308")),
    (403, of("your account balance is overdue", "OperationDenied.ServiceOverdue", "Forbidden")),
    (429, of("Your account 210 has exhausted its free trial quota for the m model.", "QuotaExceeded")),
    (429, of("Your account has reached the set inference limit.", "SetLimitExceeded")),
    (200, {"error_code": 17, "error_msg": "Open api daily request limit reached"}),
    (403, of("account overdue payment", "access_denied")),
    (403, of("Key limit exceeded (total limit).", 403)),
    (403, of("Out of call volume quota. Quota will be replenished in 2.12:00:00.", "403")),
    (403, {"type": "error", "error": {"type": "billing_error", "message": "x"}}),
    (403, {"error": "Your newly created team doesn't have any credits yet. You can purchase some"}),
    (429, of("Token Plan quota exhausted", "quota_exhausted")),
    (429, of("当日 token 配额已用尽", "quota_exceeded", "insufficient_quota")),
    (403, of("账户余额不足，请充值")),
    (429, {"code": "CommodityNotPurchased", "message": "Commodity has not purchased yet"}),
    (429, {"code": "PostpaidBillOverdue", "message": "The postpaid bill is overdue."}),
]
THROTTLED = [
    (429, of("您的账户已达到速率限制，请您控制请求频率", "1302")),
    (429, of("该模型当前访问量过大，请您稍后再试", "1305")),
    (
        429,
        of(
            "request reached organization max RPM: 3, please try again after 1 seconds",
            None,
            "rate_limit_reached_error",
        ),
    ),
    (429, of("The engine is currently overloaded", None, "engine_overloaded_error")),
    (429, {"code": "Throttling.BurstRate", "message": "Request rate increased too quickly."}),
    (429, of("TPM", "ModelAccountTpmRateLimitExceeded")),
    (429, of("x", "ServerOverloaded")),
    (429, of("Rate limit reached for RPM", "rpm_rate_limit_exceeded", "rate_limit_exceeded")),
    (429, of("Provider returned error", 429, metadata={"raw": "x is temporarily rate-limited upstream"})),
    (
        429,
        of("Requests have exceeded call rate limit of your current pricing tier. Please retry after 6 seconds.", "429"),
    ),
    (429, {"type": "error", "error": {"type": "rate_limit_error", "message": "your organization's rate limit"}}),
    (200, {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None}),
    (200, {"code": 11202, "message": "licc limit", "sid": "x"}),
    (
        429,
        of(
            "Limit 3, Used 3, Requested 1. You can increase it by adding a payment method in billing.",
            "rate_limit_exceeded",
        ),
    ),
    (400, {"Response": {"Error": {"Code": "RequestLimitExceeded", "Message": "请求的次数超过了频率限制"}}}),
    (429, of("当前分组上游负载已饱和，请稍后再试", "x")),
]
DENIED = [
    (200, {"error_code": 110, "error_msg": "Access token invalid or no longer valid"}),
    (403, of("x requires moderation. Your input was flagged", 403)),
    (401, of("Access denied due to invalid subscription key", "401")),
    (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}),
    (200, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}),
    (200, {"timestamp": 1, "status": 404, "error": "Not Found", "path": "/v1"}),
    (400, {"Response": {"Error": {"Code": "AuthFailure.SecretIdNotFound", "Message": "x"}}}),
    (401, of("账户已被冻结")),
]
REFUSED = [
    (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}),
    (200, {"error": {"code": "data_inspection_failed", "message": "Output data may contain inappropriate content."}}),
    (400, of("The response was filtered due to the content management policy.", "content_filter")),
    (
        400,
        {"object": "error", "message": "maximum context length is 4096 tokens", "type": "BadRequestError", "code": 400},
    ),
    (400, of("Unrecognized request argument supplied: foo", None, "invalid_request_error")),
    (413, {}),
]
ERROR = [
    (503, of("Service overheated")),
    (500, of("当前分组下对于模型 x 无可用渠道", "x")),
    (500, of("the account of the gateway: 余额不足")),
    (200, {"detail": "Internal Server Error"}),
    (200, {"error_code": 336100, "error_msg": "try again"}),
    (200, {"error": True, "message": "worker died"}),
]
ALL = [
    (status, body, outcome)
    for outcome, some in (
        ("broke", BROKE),
        ("throttled", THROTTLED),
        ("denied", DENIED),
        ("refused", REFUSED),
        ("error", ERROR),
    )
    for status, body in some
]


@pytest.mark.parametrize(("status", "body", "outcome"), ALL)
def test_what_a_service_says_and_what_it_means(status: int, body: Any, outcome: str) -> None:
    trouble = read_trouble(json.dumps(body)) if status != 200 else error_in(body)
    assert trouble is not None
    assert outcome_of(status, trouble, trouble.wait, "你好") == outcome


@pytest.mark.parametrize(
    ("words", "asked", "outcome"),
    [
        ("余额不足", "你好", "broke"),
        ("余额不足", "信用卡余额不足怎么办", "broke"),
        ("您的余额不足，请充值", "信用卡余额不足怎么办", "broke"),
        ("blocked: 信用卡余额不足怎么办", "信用卡余额不足怎么办", "denied"),
        ("blocked: “…余额不足怎么…”", "信用卡余额不足怎么办", "denied"),
        ("blocked: my credit balance is", "why is my credit balance low?", "denied"),
    ],
)
def test_words_of_the_request_that_a_server_repeats_mean_nothing(words: str, asked: str, outcome: str) -> None:
    assert outcome_of(403, read_trouble(json.dumps(of(words))), None, asked) == outcome


@pytest.mark.parametrize(
    "value",
    [{"choices": [], "usage": {"prompt_tokens": 1}}, {"error": {}}, {"error": None}, {"error": False}, {"code": 0}, 8],
)
def test_what_is_no_error(value: Any) -> None:
    assert error_in(value) is None
