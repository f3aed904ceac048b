"""Many responses through a scorer: each text once, in batches of about as many tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256

from coig_p.core.progress import Advance
from coig_p.reward.scorer import Asked, Scored, Scorer

TOKENS_PER_BATCH = 16_384
RESPONSES_PER_BATCH = 256

Keep = Callable[[Mapping[bytes, Scored]], None]


def score_all(
    scorer: Scorer,
    asked: Sequence[Asked],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    progress: Advance | None = None,
    known: Mapping[bytes, Scored] | None = None,
    keep: Keep | None = None,
) -> list[Scored]:
    """Score all of them, in the order given.

    The same response after the same turns is scored once. What is scored is sorted by length, the longest first, so
    that a batch holds little padding, and the largest comes while little is lost.

    Args:
        tokens_per_batch: at most so many in a batch, padding counted: its longest, times how many it has. One that is
            longer goes alone.
        progress: called with how many of `asked` were scored since.
        known: what an earlier run has said, by `key`. Batches are those of all of `asked`, and one that is not known
            whole is scored again: so a run that was stopped ends with the very numbers of one that was not.
        keep: called with each batch that was scored, by `key`.
    """
    waiting: dict[bytes, list[int]] = {}
    for at, one in enumerate(asked):
        waiting.setdefault(key(one), []).append(at)
    keys, places = list(waiting), list(waiting.values())
    lengths = [scorer.length(asked[same[0]]) for same in places]
    known = known or {}
    found: dict[int, Scored] = {}
    for batch in batches(lengths, tokens_per_batch):
        if all(keys[number] in known for number in batch):
            scored = [known[keys[number]] for number in batch]
        else:
            scored = scorer.score([asked[places[number][0]] for number in batch])
            if keep is not None:
                keep({keys[number]: said for number, said in zip(batch, scored, strict=True)})
        for number, said in zip(batch, scored, strict=True):
            found |= dict.fromkeys(places[number], said)
        if progress is not None:
            progress(sum(len(places[number]) for number in batch))
    return [found[at] for at in range(len(asked))]


def key(asked: Asked) -> bytes:
    """The same for the same turns and response, whatever order the keys of a turn have; 32 bytes."""
    text = json.dumps([[dict(turn) for turn in asked.messages], asked.response], sort_keys=True)
    return sha256(text.encode()).digest()


def batches(lengths: Sequence[int], tokens_per_batch: int) -> Iterator[list[int]]:
    """Places in `lengths`, the longest first, equal ones in their order; each once."""
    batch: list[int] = []
    longest = 0
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at]):
        if batch and (longest * (len(batch) + 1) > tokens_per_batch or len(batch) == RESPONSES_PER_BATCH):
            yield batch
            batch = []
        longest = longest if batch else lengths[at]
        batch.append(at)
    if batch:
        yield batch
