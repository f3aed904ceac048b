"""Lengths in tokens: how long rows are for a model, and which are too long for it.

The tokenizer is a tokenizer.json, read by the `tokenizers` library: no code of a repository runs.
Lengths are of the texts alone, without special tokens or a chat template, which adds a few
tokens a message.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, Mask
from coig_p.errors import DataError, UnknownNameError, UsageError

_TIKTOKEN = "tiktoken:"
CHARACTERS = "builtin:characters"
"""What stands for a tokenizer where every character counts as one token: no library is needed."""
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


@dataclass(frozen=True)
class LengthReport:
    """How long the rows were that were measured, in tokens.

    Attributes:
        rows: how many were measured.
        max_length: most tokens of prompt and longer response together; None where nothing was left out for it.
        too_long: rows left out.
        too_long_by_domain: the same, by domain.
        prompt, prompt_and_response: p50, p90, p99 and max, each a length that occurs; empty without rows.
    """

    rows: int
    max_length: int | None
    too_long: int
    too_long_by_domain: Mapping[str, int]
    prompt: Mapping[str, int]
    prompt_and_response: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: quantiles of no rows are left out."""
        found = asdict(self)
        return {name: value for name, value in found.items() if self.rows or not name.startswith("prompt")}


@dataclass
class Lengths:
    """Counts and measures rows by a tokenizer, and says which are short enough.

    Attributes:
        max_length: most tokens of prompt and longer response together; None drops nothing.
        too_long: rows left out, by domain.
    """

    tokenizer: Any
    max_length: int | None = None
    too_long: Counter[str] = field(default_factory=Counter)
    _prompt: list[Index] = field(default_factory=list)
    _total: list[Index] = field(default_factory=list)

    def keep(
        self,
        prompts: pa.StringArray | pa.ListArray,
        domains: pa.StringArray,
        prompt_of: Index,
        responses: pa.StringArray | pa.ListArray,
        responses_of: Sequence[Index],
        before: str | None = None,
        with_before: Mask | None = None,
    ) -> Mask:
        """Which rows are at most max_length tokens long; measures all of them.

        Args:
            prompts, domains: Q, of the queries of a batch; a prompt is one text, or the list of those of its turns.
            prompt_of: R, for each row its place in `prompts`.
            responses: texts of the batch's responses, each one text or a list.
            responses_of: for each response that a row shows (two for a pair), R places in `responses`.
            before, with_before: a text that stands before some of the prompts, and which (Q).

        Returns:
            R.
        """
        (prompt,) = self._of(prompts, [prompt_of])
        if before is not None and with_before is not None:
            prompt = prompt + with_before[prompt_of] * token_counts(self.tokenizer, pa.array([before]))[0]
        total = prompt + np.max(np.stack(self._of(responses, responses_of)), axis=0)
        self._prompt.append(prompt)
        self._total.append(total)
        if self.max_length is None:
            return np.ones(len(prompt_of), dtype=bool)
        short = np.asarray(total <= self.max_length)
        self.too_long.update(pc.take(domains, pa.array(prompt_of[~short])).to_pylist())
        return short

    def report(self) -> LengthReport:
        """Rows measured and left out, and quantiles of the lengths of what was measured."""
        return LengthReport(
            rows=sum(map(len, self._total)),
            max_length=self.max_length,
            too_long=sum(self.too_long.values()),
            too_long_by_domain=dict(sorted(self.too_long.items())),
            prompt=_quantiles(self._prompt),
            prompt_and_response=_quantiles(self._total),
        )

    def _of(self, text: pa.StringArray | pa.ListArray, sides: Sequence[Index]) -> list[Index]:
        """Token counts of text[side] for each side; every text is tokenized once."""
        used = np.unique(np.concatenate(sides))
        counts = np.zeros(len(text), dtype=np.int64)
        counts[used] = token_counts(self.tokenizer, pc.take(text, pa.array(used)))
        return [counts[side] for side in sides]


def token_counts(tokenizer: Any, text: pa.StringArray | pa.ListArray) -> Index:
    """How many tokens each text has; those of a list are added up, and none is no tokens."""
    if pa.types.is_list(text.type):
        sizes = pc.fill_null(pc.list_value_length(text), 0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        of_parts = np.concatenate([[0], np.cumsum(token_counts(tokenizer, text.flatten()))])
        return np.asarray(np.diff(of_parts[ends]), dtype=np.int64)
    encoded = tokenizer.encode_batch_fast([one or "" for one in text.to_pylist()], add_special_tokens=False)
    return np.array([len(one.ids) for one in encoded], dtype=np.int64)


def _quantiles(parts: list[Index]) -> dict[str, int]:
    lengths = np.concatenate(parts) if parts else np.zeros(0, np.int64)
    if not len(lengths):
        return {}
    # "lower": a length that occurs, not one between two.
    values = np.quantile(lengths, list(_QUANTILES.values()), method="lower")
    return {name: int(value) for name, value in zip(_QUANTILES, values, strict=True)}


class _Characters:
    """Every character is a token."""

    def encode_batch_fast(self, texts: list[str], add_special_tokens: bool = False) -> list[_Ids]:
        return [_Ids(range(len(text))) for text in texts]


class _Tiktoken:
    """An encoding of tiktoken, as far as lengths need it."""

    def __init__(self, encoding: Any) -> None:
        self.encoding = encoding

    def encode_batch_fast(self, texts: list[str], add_special_tokens: bool = False) -> list[_Ids]:
        return [_Ids(ids) for ids in self.encoding.encode_ordinary_batch(texts)]


class _Ids(NamedTuple):
    ids: Sequence[int]


def _tiktoken(name: str) -> _Tiktoken:
    try:
        import tiktoken
    except ImportError:
        raise UsageError(f"{_TIKTOKEN}{name} needs tiktoken: pip install tiktoken") from None
    try:
        return _Tiktoken(tiktoken.get_encoding(name))
    except ValueError:
        raise UnknownNameError("encoding of tiktoken", name, tiktoken.list_encoding_names()) from None
    except OSError as error:  # requests' errors are of this kind: it fetches an encoding once, and keeps it
        raise UsageError(
            f"{_TIKTOKEN}{name}: tiktoken could not fetch it ({type(error).__name__}). Set TIKTOKEN_CACHE_DIR to where "
            "it has it, or name a tokenizer.json"
        ) from None


def tokenizer_hash(path: str | Path) -> str:
    """Which tokenizer `read_tokenizer` reads: the SHA-256 of its file, or the name of one without a file.

    Raises:
        OSError: there is no such file.
    """
    if str(path).startswith(_TIKTOKEN) or str(path) == CHARACTERS:
        return str(path)
    return hashlib.sha256(_tokenizer_file(path).read_bytes()).hexdigest()


def _tokenizer_file(path: str | Path) -> Path:
    file = Path(path)
    return file / "tokenizer.json" if file.is_dir() else file


def read_tokenizer(path: str | Path) -> Any:
    """A tokenizer from a tokenizer.json, or from a directory that holds one, or `tiktoken:` and an encoding's name.

    CHARACTERS is one, too, and counts characters.

    Raises:
        UsageError: the library is missing, or there is no such file or encoding.
        DataError: the file is no tokenizer.
    """
    if str(path).startswith(_TIKTOKEN):
        return _tiktoken(str(path).removeprefix(_TIKTOKEN))
    if str(path) == CHARACTERS:
        return _Characters()
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UsageError("lengths in tokens need the tokenizers library: pip install tokenizers") from None
    file = _tokenizer_file(path)
    if not file.is_file():
        raise UsageError(
            f"{path}: no tokenizer.json there. Save one with AutoTokenizer.from_pretrained(NAME).save_pretrained(DIR)"
        )
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises plain Exception
        raise DataError(f"{file} cannot be read as a tokenizer: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
