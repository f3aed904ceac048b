"""Lengths in tokens: how long rows are for a model, and which are too long for it.

The tokenizer is a tokenizer.json, read by the `tokenizers` library: no code of a repository runs.
Lengths are of the texts alone, without special tokens or a chat template, which adds a few
tokens a message.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.arrays import Index, Mask
from coig_p.errors import DataError, UsageError
from coig_p.pairs.rows import Rows

_QUANTILES = (0.5, 0.9, 0.99, 1.0)


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

    def keep(self, rows: Rows) -> Mask:
        """Which rows are at most max_length tokens long; measures all of them."""
        prompt = self._of(rows.batch.column("query"), [rows.found.query])[0]
        answers = self._of(rows.responses.text, rows.sides)
        total = prompt + np.max(np.stack(answers), axis=0)
        self._prompt.append(prompt)
        self._total.append(total)
        if self.max_length is None:
            return np.ones(len(rows), dtype=bool)
        short = np.asarray(total <= self.max_length)
        domains = pc.take(rows.batch.column("domain"), pa.array(rows.found.query[~short]))
        self.too_long.update(domains.to_pylist())
        return short

    def report(self) -> dict[str, Any]:
        """Rows measured and left out, and quantiles of the lengths of what was measured."""
        measured = sum(map(len, self._total))
        found: dict[str, Any] = {
            "rows": measured,
            "max_length": self.max_length,
            "too_long": sum(self.too_long.values()),
            "too_long_by_domain": dict(sorted(self.too_long.items())),
        }
        for name, parts in (("prompt", self._prompt), ("prompt_and_response", self._total)):
            if measured:
                # "lower": a length that occurs, not one between two.
                values = np.quantile(np.concatenate(parts), _QUANTILES, method="lower")
                found[name] = {
                    f"p{share * 100:g}" if share < 1 else "max": int(value)
                    for share, value in zip(_QUANTILES, values, strict=True)
                }
        return found

    def _of(self, text: pa.StringArray, sides: list[Index]) -> list[Index]:
        """Token counts of text[side] for each side; every text is tokenized once."""
        used = np.unique(np.concatenate(sides)) if sides else np.zeros(0, np.int64)
        counts = np.zeros(len(text), dtype=np.int64)
        texts = [one or "" for one in pc.take(text, pa.array(used)).to_pylist()]
        encoded = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        counts[used] = [len(one.ids) for one in encoded]
        return [counts[side] for side in sides]


def read_tokenizer(path: str | Path) -> Any:
    """A tokenizer from a tokenizer.json, or from a directory that holds one.

    Raises:
        UsageError: the library is missing, or there is no such file.
        DataError: the file is no tokenizer.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UsageError("lengths in tokens need the tokenizers library: pip install tokenizers") from None
    file = Path(path)
    if file.is_dir():
        file = file / "tokenizer.json"
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
