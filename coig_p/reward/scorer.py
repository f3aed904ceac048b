"""What scores responses: a reward model here, one behind a server, or the floor that is trained on n-grams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from coig_p.errors import DataError, RemoteError

Kind = Literal["model", "server", "ngram"]
KINDS: tuple[Kind, ...] = ("model", "server", "ngram")
SERVERS = ("vllm", "sglang", "openrlhf")
DTYPES = ("auto", "float32", "bfloat16")

_ENOUGH = 20  # different rewards by which they are judged

TOO_LONG = "too-long"
"""The conversation has more tokens than the model takes, and nothing says to cut it."""
EMPTY = "empty"
"""Nothing of the response is left for the model to read."""
NOT_FINITE = "not-finite"
"""The model gave no finite number."""
REFUSED = "refused"
"""The model's chat template, or its server, does not take such a conversation."""


@dataclass(frozen=True)
class Asked:
    """One response that is to be scored.

    Attributes:
        messages: the turns before it: role, content, and what else a turn has.
        response: its text, which becomes one turn of the assistant.
    """

    messages: tuple[Mapping[str, str], ...]
    response: str

    @property
    def conversation(self) -> list[dict[str, str]]:
        """All turns, the response's last."""
        return [*(dict(turn) for turn in self.messages), {"role": "assistant", "content": self.response}]


@dataclass(frozen=True)
class Scored:
    """What came of one.

    Attributes:
        reward: a finite number; None where there is none.
        reason: why there is none, a word or two joined by hyphens, as TOO_LONG; None where there is one.
        tokens: of the whole conversation as it was read or would have been; None where nobody knows.
        truncated: the conversation was cut to fit, so the reward is of a part of it.
    """

    reward: float | None
    reason: str | None
    tokens: int | None
    truncated: bool = False


class Scorer(Protocol):
    """What scores; `opening.open_scorer` makes one."""

    def describe(self) -> dict[str, Any]:
        """What it is, as JSON: the same for the same scorer, whatever it has scored.

        Always: kind (one of KINDS), name, revision, sha256 (of the weights), template_sha256, dtype, max_length,
        truncate; null where it is not known. What else is known of it beside.
        """
        ...

    def length(self, asked: Asked) -> int:
        """How much work one is: tokens, or characters where tokens are not known. It only shapes batches."""
        ...

    def score(self, asked: Sequence[Asked]) -> list[Scored]:
        """One batch, in the order given. Alone and in any batch one has the same reward, but for float32's noise."""
        ...

    def close(self) -> None:
        """Give back what it holds: memory, connections. It scores nothing after."""
        ...


def check_any(described: Mapping[str, Any], scored: Iterable[Scored]) -> None:
    """Raise where no response has a reward, since the scorer gave no finite number for those that it read.

    Args:
        described: see `Scorer.describe`.

    Raises:
        RemoteError: a server.
        DataError: a model here.
    """
    without: Counter[str | None] = Counter()
    for one in scored:
        if one.reward is not None:
            return
        without[one.reason] += 1
    if without[NOT_FINITE]:
        counts = ", ".join(f"{reason} {count:,}" for reason, count in sorted(without.items(), key=str))
        who = "server" if described["kind"] == "server" else "model"
        said = f"the {who} {described['name']} gives no finite number at all ({counts}), so nothing was written"
        raise (RemoteError if who == "server" else DataError)(f"{said}: look whether its weights are whole")


def finite(value: Any) -> float | None:
    """A number of JSON as a reward; None where it is not finite, or a whole number too large for a float.

    Args:
        value: int or float.
    """
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def looks_squashed(rewards: Sequence[float]) -> bool:
    """Whether rewards went through a sigmoid, as some servers have it by default: none lies outside of 0 to 1.

    Never said of fewer than 20 different ones.
    """
    return len(set(rewards)) >= _ENOUGH and all(0 <= one <= 1 for one in rewards)
