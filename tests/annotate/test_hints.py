"""What headers and words of a server say about when it may be asked again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coig_p.annotate.asking.hints import RateHints, rate_hints, seconds_until
from coig_p.annotate.asking.refusals import read_trouble

NOW = "Thu, 26 Nov 2026 14:23:20 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400.0),
        ("60", 60.0),
        (" 0.5 ", 0.5),
        ("0", 0.0),
        ("-5", 0.0),
        ("1795703030", 30.0),
        ("1795703030500", 30.5),
        ("1795702000", 0.0),
        ("2026-11-26T14:23:50Z", 30.0),
        ("2026-11-26T22:23:50+08:00", 30.0),
        ("2026-11-26T14:23:50", 30.0),
        ("Thu, 26 Nov 2026 14:23:50 GMT", 30.0),
        ("Thu, 26 Nov 2020 14:23:50 GMT", 0.0),
        ("99999999", None),
        ("-1", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1s later", None),
        ("5 6", None),
    ],
)
def test_a_time_in_every_form(value: str, seconds: float | None) -> None:
    found = seconds_until(value, NOW)
    assert found == (None if seconds is None else pytest.approx(seconds))


@given(st.lists(st.sampled_from(["d", "h", "m", "s", "ms"]), min_size=1, unique=True), st.data())
def test_a_duration_is_the_sum_of_its_parts(units: list[str], data: st.DataObject) -> None:
    worth = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    numbers = [data.draw(st.integers(0, 99)) for _ in units]
    text = "".join(f"{number}{unit}" for number, unit in zip(numbers, units, strict=True))
    milliseconds = sum(number * worth[unit] for number, unit in zip(numbers, units, strict=True))
    assert seconds_until(text, NOW) == pytest.approx(milliseconds / 1000)


@given(st.text(max_size=30))
def test_any_text_is_a_time_from_now_or_none(value: str) -> None:
    found = seconds_until(value, NOW)
    assert found is None or 0 <= found <= 366 * 86400
    headers = [("X-RateLimit-Reset-Tokens", value), ("x-ratelimit-remaining-requests", value), ("Date", value)]
    rate_hints(headers)


@pytest.mark.parametrize(
    ("headers", "hints"),
    [
        ({}, None),
        ({"x-ratelimit-model": "m", "content-type": "x"}, None),
        ({"x-ratelimit-remaining-requests": "many"}, None),
        (
            {
                "X-RateLimit-Limit-Requests": "60",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateHints(59, 1, 149984, 360, 60, 150000),
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-11-26T14:23:50Z",
                "anthropic-ratelimit-tokens-remaining": "8000",
                "Date": "Thu, 26 Nov 2026 14:23:20 GMT",
            },
            RateHints(0, 30, 8000, None, 50, None),
        ),
        (
            {
                "x-ratelimit-limit": "20",
                "x-ratelimit-remaining": "19",
                "x-ratelimit-reset": "1795703030000",
                "date": "Thu, 26 Nov 2026 14:23:20 GMT",
            },
            RateHints(19, 30, None, None, 20, None),
        ),
        (
            {"ratelimit-limit": "20", "ratelimit-remaining": "-3", "ratelimit-reset": "12"},
            RateHints(0, 12, None, None, 20),
        ),
        (
            {
                "x-ratelimit-limit-req-minute": "60",
                "x-ratelimit-remaining-tokens-minute": "5",
                "x-ratelimit-remaining-tokens-day": "70000",
                "x-ratelimit-remaining-requests-day": "0",
            },
            RateHints(0, None, 5, None, 60, None),
        ),
        ({"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-requests": "9"}, RateHints(9)),
    ],
)
def test_headers_of_rate_limits(headers: dict[str, str], hints: RateHints | None) -> None:
    assert rate_hints(headers.items()) == hints


@pytest.mark.parametrize(
    ("words", "wait"),
    [
        ("Please try again in 20s.", 20),
        ("Please try again in 1m30.5s. Visit", 90.5),
        ("try again after 2 minutes", 120),
        ("Retry in 500 milliseconds", 0.5),
        ("retry after 3 seconds or later", 3),
        ("retry after 4", 4),
        ("请在 5 秒后重试", 5),
        ("try again in a while", None),
        ("try again in 0s", None),
        ("try again later", None),
    ],
)
def test_how_long_to_wait_stands_in_words(words: str, wait: float | None) -> None:
    assert read_trouble(json.dumps({"error": {"message": words}})).wait == wait
