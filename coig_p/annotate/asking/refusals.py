"""What a server says when it does not answer, in the many forms that servers have for it, and what that means.

Codes decide before words, and words before the status: services say 429 both to who is too fast and
to who has no money left, and some say everything with 200.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from coig_p.annotate.asking.hints import seconds_until

_DENIED = (401, 403, 404, 405, 407, 410)  # of this request, or the key, the address or the model is wrong for all
_TRY_AGAIN = (408, 409, 425)

# In brackets below: Zhipu 13xx; MiniMax base_resp; Baidu error_code; iFlytek 112xx; SiliconFlow 30001.
_TOO_FAST = re.compile(
    r"^throttling|rate[-_ .]?(limit|quota)|too[-_ ]?many[-_ ]?requests|(^|[-_.])[rtq]p[ms]([-_.]|limit|exceeded|$)|"
    r"requestlimitexceeded|serverlimitexceeded|overload|burst|inflight|concurren|resource_exhausted|slow_down|"
    r"^(1302|1303|1305|1312|11202|11203)$|^base_resp:(1002|1039|1041)$|^error_code:(4|18|33650[12])$"
)
_NO_MONEY = re.compile(
    r"insufficient[-_ .]?(\w+[-_ .])?(quota|balance|credits?|funds)|insufficientbalance|arrear|overdue|billing|"
    r"exceeded_current_quota|credit_balance|payment_?required|balance_?(not_?enough|insufficient)|"
    r"allocationquota\.free|resourcepackexhausted|setlimitexceeded|commoditynotpurchased|quota_failed|"
    r"exceed_token_quota|quota[-_ .]?(not_?enough|exhausted|used_?up)|out_?of_?quota|"
    r"^(1113|1304|1308|1309|1310|11201|30001)$|^base_resp:(1008|2056)$|^error_code:(17|19)$"
)
_NO_ACCESS = re.compile(
    r"invalid_?(iam_?)?(api_?)?(key|token|client)|api_?key_?(invalid|not)|authenticat|authfail|unauthori[sz]ed|"
    r"permission|access_?denied|forbidden|not_?found|^base_resp:(1004|2049)$|^error_code:(6|13|14|100|110|111)$"
)
_NEVER = re.compile(
    r"invalid_?(request|param|argument|prompt|messages)|bad_?request|context_?length|too_?long|content_?(filter|policy)|"
    r"data_?inspection|sensitive|safety|^(1301|1261|1210)$|^base_resp:(1026|1027|2013)$|^error_code:(33600[1-9]|336104)$"
)
_NO_MONEY_SAID = re.compile(
    r"余额(已)?(不足|为|用|耗)|欠费|额度(已)?(不足|用尽|用完|耗尽)|配额(已)?(用尽|用完|耗尽)|请(及时|先)?充值|"
    r"资源包.{0,8}(用尽|用完|耗尽)|credit balance|insufficient (account )?(balance|credits?|funds)|"
    r"(balance|credits?) (is|are|was) (too low|insufficient|not enough|exhausted|depleted|used up)|"
    r"out of (credits?|funds)|no credits|have any credits|"
    r"overdue (balance|payment|bill)|in arrears|arrearage|is in good standing|"
    r"billing hard limit|spending limit|key limit exceeded|call volume quota|used all available credits|"
    r"token quota is not enough|free (allocated|tier|trial|quota)[^.]{0,40}(exceeded|exhausted|used up)|"
    r"exhausted[^.]{0,20} free (tier|trial|quota)",
    re.IGNORECASE,
)
# DashScope says that a minute's tokens are used up in the words of OpenAI for an account without money.
_A_MINUTES_TOKENS = "error-code#token-limit"
_WAIT_SAID = re.compile(
    r"(?:again|retry)\s+(?:in|after)\s+((?:\d+(?:\.\d+)?\s*[a-z]+\s*)+|\d+(?:\.\d+)?)|(\d+)\s*秒后", re.IGNORECASE
)

_NUMBERED = ("code", "Code", "error_code", "errorCode", "err_code", "status_code")
_BESIDE = 2  # characters
_LOOKED_AT = 4096  # characters of what a server says

_CODES = ("code", "Code", "errorCode", "err_code", "type", "error_type", "status")
_WORDS = ("message", "msg", "error_msg", "error_description", "detail", "status_msg", "Message", "reason", "title")
_FINE = ("", "0", "200", "ok", "success", "none", "null")


class Trouble(NamedTuple):
    """What a server says that is wrong.

    Attributes:
        codes: in small letters; those of services that number everything with the name of their field.
        words: for people.
        wait: seconds until it may be asked again, where the body says so.
    """

    codes: frozenset[str]
    words: str
    wait: float | None = None


def read_trouble(body: str) -> Trouble:
    """What the body of an answer that is none says."""
    try:
        value = json.loads(body.removeprefix("\ufeff"))
        found = error_in(value)
    except (ValueError, RecursionError):
        found = None
    if found is not None:
        return found
    words = body[:_LOOKED_AT]
    return Trouble(frozenset(), words, _wait_in(words, {}))


_PLACES = frozenset({"error", "Error", "Response", "base_resp"})  # of errors in a body that has an answer


def error_in(value: Any) -> Trouble | None:
    """The error that JSON holds, None where it holds none, as in an answer with `error` null."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, dict):
        return None
    choices = value.get("choices")
    if type(choices) is list and choices and type(choices[0]) is dict and _PLACES.isdisjoint((*value, *choices[0])):
        return None  # nothing to look through, as in nearly all answers
    error = next(_errors(value), None)
    if error is None:
        return None
    words = (_words(error) or _words(value) or json.dumps(error, ensure_ascii=False))[:_LOOKED_AT]
    return Trouble(frozenset(_codes(error, value)), words, _wait_in(words, error))


def outcome_of(status: int, trouble: Trouble, wait: float | None, asked: str) -> str:
    """What an answer without an answer means for its request and its endpoint: an outcome of `client.Reply`.

    Args:
        status: of HTTP; one of 200 to 299 where the body alone says what is wrong.
        wait: seconds that the server asks to wait.
        asked: the texts of the request; what a server repeats of them means nothing.
    """
    codes, words = trouble.codes, trouble.words
    if 200 <= status < 300:
        status = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), 200)
    too_fast = any(map(_TOO_FAST.search, codes))
    said = any(not _repeated(found, asked) for found in _NO_MONEY_SAID.finditer(words))
    if _A_MINUTES_TOKENS in words or (any(code.startswith("throttling") for code in codes) and not said):
        return "throttled"
    if status == 402 or any(map(_NO_MONEY.search, codes)):
        return "broke"
    if said and status < 500:
        return "broke"
    if too_fast and status < 500:
        return "throttled"
    if status in (429, 529) or (status == 503 and (wait is not None or too_fast)):
        return "throttled"
    if status in _DENIED or (status in (200, 400) and any(map(_NO_ACCESS.search, codes))):
        return "denied"
    if status >= 500 or status in _TRY_AGAIN:
        return "error"
    return "refused" if status >= 300 or any(map(_NEVER.search, codes)) else "error"


def _repeated(found: re.Match[str], asked: str) -> bool:
    """Whether words are the request's own, with what is beside them: some servers repeat what they refuse."""
    words, start, end = found.string, found.start(), found.end()
    before, after = words[max(0, start - _BESIDE) : end], words[start : end + _BESIDE]
    return any(beside != found[0] and beside in asked for beside in (before, after))


def _errors(value: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Where services put an error: in a field of its own, or all of a body that holds no answer."""
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for holder in (value, value.get("Response"), first):
        if isinstance(holder, dict):
            for name in ("error", "Error"):
                error = holder.get(name)
                if isinstance(error, str) and error.strip().lower() not in _FINE:
                    yield {"message": error, "code": holder.get("code")}
                elif isinstance(error, dict) and error and not _is_fine(error):
                    yield error
                elif error and not isinstance(error, (str, dict)):
                    yield holder
    base = value.get("base_resp")
    if isinstance(base, dict) and str(base.get("status_code", 0)) not in _FINE:
        yield base
    if first is None and not value.get("usage"):
        errors = value.get("errors")
        if isinstance(errors, list) and errors:
            yield errors[0] if isinstance(errors[0], dict) else {"message": str(errors[0])}
        if not _is_fine(value) and any(name in value for name in (*_NUMBERED, *_WORDS)):
            yield value


def _is_fine(error: Mapping[str, Any]) -> bool:
    """Whether an error only says that there is none, as {"code": 0, "message": "success"}."""
    given = [error[name] for name in (*_NUMBERED, *_WORDS) if error.get(name) is not None]
    return bool(given) and all(str(one).strip().lower() in _FINE for one in given)


def _codes(error: Mapping[str, Any], value: Mapping[str, Any]) -> Iterator[str]:
    for holder in (error, value):
        for name in _CODES:
            code = holder.get(name)
            if isinstance(code, (str, int)) and not isinstance(code, bool) and str(code).lower() not in _FINE:
                yield str(code).lower()
    for name, code in (("error_code", value.get("error_code")), ("base_resp", error.get("status_code"))):
        if isinstance(code, (str, int)):
            yield f"{name}:{code}"


def _words(error: Mapping[str, Any]) -> str:
    for name in _WORDS:
        words = error.get(name)
        if isinstance(words, str) and words.strip():
            return words
        if isinstance(words, list) and words:  # FastAPI's: where, and what
            return "; ".join(map(_place_and_words, words[:3]))
        if isinstance(words, dict) and words:
            return json.dumps(words, ensure_ascii=False)
    return ""


def _place_and_words(one: Any) -> str:
    if not isinstance(one, dict) or not isinstance(one.get("msg"), str):
        return json.dumps(one, ensure_ascii=False)
    place = one.get("loc")
    return f"{'.'.join(map(str, place))}: {one['msg']}" if isinstance(place, list) and place else one["msg"]


def _wait_in(words: str, error: Mapping[str, Any]) -> float | None:
    """How long to wait, where it stands in a body: Google's retryDelay, retry_after, or words."""
    given = [error.get("retry_after"), error.get("retryDelay")]
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict):
            given.append(detail.get("retryDelay"))
    said = _WAIT_SAID.search(words)
    if said is not None:
        text = re.sub(r"\s+|(?<=m)illi(?=s)", "", (said[1] or said[2]).lower())
        given.append(re.sub(r"(\d)(ms|[dhms])[a-z]*", r"\1\2", text))
    for one in given:
        if isinstance(one, (str, int, float)) and not isinstance(one, bool):
            seconds = seconds_until(str(one))
            if seconds:
                return seconds
    return None
