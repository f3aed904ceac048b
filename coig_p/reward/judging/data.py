"""Judging conversations made of a store's pairs, to train a judge that writes: what to judge, why, and the verdict.

    DIR/
      data/train-00000.parquet   rows: messages (or prompt and completion), what they are of, and the verdict
      README.md                  lets load_dataset(DIR) find them
      judge-data.json            what they were made of, and what was left out; written last

Each pair is there twice, in both orders, so that no place is right more often than the other. What a judge in the store
wrote stands before the verdict where it fits: of a comparison in the order in which it was shown, of scores what was
written of either response, by judges who scored the chosen one higher. Stored text is not edited, and each answer is
read back: one that `verdicts` would not read as its verdict has the verdict alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p._version import __version__
from coig_p.annotate.asking.message import Message
from coig_p.annotate.prompts import Prompt, read_prompt
from coig_p.core.arrays import hash64
from coig_p.core.atomic import atomic_directory
from coig_p.core.front_matter import front_matter
from coig_p.errors import DataError, UnknownNameError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import check_exclusion
from coig_p.pairs.rows import find_rows
from coig_p.reward.bench.form import Item, pairs_of
from coig_p.reward.bench.from_store import NO_PAIR, items_in, select_items
from coig_p.reward.judging.asked import shown_prompt
from coig_p.reward.judging.config import COMPARE, SLOTS, bundled_prompt
from coig_p.reward.judging.verdicts import FIRST, MARKS, SCORES, SECOND, read_verdict
from coig_p.schema import MESSAGES_TYPE, RAW_SCHEMA, without
from coig_p.store.manifest import MANIFEST
from coig_p.store.places import Marker, check_directory, check_outside
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of, told_of_rows

MADE, README = "judge-data.json", "README.md"
FORMAT, VERSION = "coig_p.judge-data", 1
MARKER = Marker(MADE, (b'"coig_p.judge-data"',))
FORMS = ("messages", "prompt-completion")
RATIONALES = ("keep", "only", "none")
_READ = without(RAW_SCHEMA, {"source", "meta"})
_ROWS_PER_FILE, _ROWS_PER_GROUP = 20_000, 256
_FACTS = [
    ("verdict", pa.string()),
    ("first_model", pa.string()),
    ("second_model", pa.string()),
    ("judges", pa.list_(pa.string())),
    ("query_id", pa.string()),
    ("domain", pa.string()),
]

Row = dict[str, Any]


@dataclass(frozen=True)
class JudgeDataConfig:
    """How conversations are made.

    Attributes:
        form: one of FORMS: one list of turns, or what is asked and what is answered apart.
        rationale: keep: what judges wrote, where there is any; only: rows with it alone; none: verdicts alone.
        prompt: a template file in place of the package's, with {{query}}, {{first}} and {{second}}.
    """

    form: str = "messages"
    rationale: str = "keep"
    prompt: Path | None = None

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise UnknownNameError("form", self.form, FORMS)
        if self.rationale not in RATIONALES:
            raise UnknownNameError("rationale", self.rationale, RATIONALES)


@dataclass(frozen=True)
class JudgeData:
    """What was written.

    Attributes:
        pairs, rows: each pair is two rows, but for those left out.
        verdicts: rows by verdict.
        with_rationale: rows that have one.
        left_out: rows without one where only those with one are wanted.
        unused: rows without a rationale though judges wrote some, by why none of it fits.
    """

    pairs: int
    rows: int
    verdicts: Mapping[str, int]
    with_rationale: int
    left_out: int
    unused: Mapping[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


class _Why(NamedTuple):
    """What judges wrote for one order of a pair, and who."""

    text: str
    judges: tuple[str, ...]


def check_judge_data(out: Path, overwrite: bool) -> None:
    """Raise UsageError where judge data cannot be written to `out`."""
    check_outside(out, "judge data")
    check_directory(out, MARKER, "judge data", overwrite)


def write_judge_data(
    store: Store,
    out: Path,
    pairs: PairConfig,
    config: JudgeDataConfig | None = None,
    *,
    domains: Sequence[str] = (),
    split: str | None = None,
    overwrite: bool = False,
    advance: Callable[[int], None] = lambda queries: None,
) -> JudgeData:
    """Write judging conversations, whole or not at all. The same store, options and version give the same bytes.

    Args:
        advance: called with the number of queries read since the last call.

    Raises:
        UsageError: an option that cannot be right for this store, a template that is none, or a place that is taken.
        DataError: a query that cannot be shown, or no row at all.
    """
    config = config or JudgeDataConfig()
    check_judge_data(out, overwrite)
    prompt = bundled_prompt(COMPARE) if config.prompt is None else read_prompt(config.prompt, SLOTS[COMPARE])
    making = _Making(config, prompt, pairs)
    selection, source = select_items(store, pairs, domains, split)
    check_exclusion(store, selection.pairs.exclude)

    def rows() -> Iterator[Row]:
        for domain in selection.domains:
            for batch in store.batches(domain, source, schema=_READ, rewards=selection.rewards):
                found = find_rows(batch, selection.pairs, selection.shape)
                if len(found):
                    places = {id_: at for at, id_ in enumerate(batch.column("query_id").to_pylist())}
                    for item in items_in(found):
                        yield from making.rows(item, batch.slice(places[item.id], 1).to_pylist()[0])
                advance(batch.num_rows)

    schema = pa.schema([*_columns(config.form), *_FACTS])
    with atomic_directory(out) as root:
        files = _write_files(root, rows(), schema)
        if not files:
            if config.rationale == "only" and making.left_out:
                raise DataError(f"{store.path}: no pair with a rationale that fits: take --rationale keep")
            raise DataError(f"{store.path}: no pair with these options: {NO_PAIR}")
        made = making.made()
        told: dict[str, Any] = {"format": FORMAT, "version": VERSION, "store": _told_of(store)}
        told |= {
            "pairs": {name: one for name, one in selection.options.items() if name != "format"},
            "domains": list(selection.domains),
            "split": source,
        }
        told |= {"form": config.form, "rationale": config.rationale}
        told |= {"prompt_sha256": sha256(prompt.text.encode()).hexdigest(), "counts": made.to_dict()}
        told |= {"files": {name: {"rows": number, "sha256": hash_} for name, number, hash_ in files}}
        told |= {"tool": f"coig_p {__version__}"}
        (root / README).write_text(_readme(made, config, [hash_ for _, _, hash_ in files]), "utf-8", newline="\n")
        text = json.dumps(told, ensure_ascii=False, indent=2) + "\n"
        (root / MADE).write_text(text, encoding="utf-8", newline="\n")
    return made


def _columns(form: str) -> list[tuple[str, pa.DataType]]:
    names = ("messages",) if form == "messages" else ("prompt", "completion")
    return [(name, MESSAGES_TYPE) for name in names]


def _told_of(store: Store) -> dict[str, str]:
    return {"name": store.path.resolve().name, "manifest_sha256": sha256_of(store.path / MANIFEST)}


def _write_files(root: Path, rows: Iterator[Row], schema: pa.Schema) -> list[tuple[str, int, str]]:
    """Name, rows and sha256 of each file."""
    files: list[tuple[str, int, str]] = []
    (root / "data").mkdir()
    while first := list(islice(rows, _ROWS_PER_GROUP)):
        name = f"data/train-{len(files):05d}.parquet"
        options = {"compression": "zstd", "compression_level": 3, "write_page_index": True}
        number = 0
        with pq.ParquetWriter(root / name, schema, use_dictionary=["verdict", "domain"], **options) as writer:
            while first:
                writer.write_table(pa.Table.from_pylist(first, schema=schema))
                number += len(first)
                first = list(islice(rows, min(_ROWS_PER_GROUP, _ROWS_PER_FILE - number)))
        files.append((name, number, sha256_of(root / name)))
    return files


class _Making:
    """Rows of items, counted."""

    def __init__(self, config: JudgeDataConfig, prompt: Prompt, pairs: PairConfig) -> None:
        self.config, self.prompt, self.allowed = config, prompt, pairs
        self.pairs = self.with_rationale = self.left_out = 0
        self.verdicts: Counter[str] = Counter()
        self.unused: Counter[str] = Counter()

    def made(self) -> JudgeData:
        number = sum(self.verdicts.values())
        return JudgeData(
            self.pairs,
            number,
            dict(self.verdicts),
            self.with_rationale,
            self.left_out,
            dict(sorted(self.unused.items())),
        )

    def rows(self, item: Item, raw: Row) -> Iterator[Row]:
        """Two rows for each pair of an item, whose row in the store is `raw`."""
        places = {(one["model"], one["text"]): at for at, one in reversed([*enumerate(raw["responses"])])}
        query = shown_prompt(item.messages)
        for better, worse in pairs_of(item):
            self.pairs += 1
            ids = json.dumps([item.id, item.responses[better].id, item.responses[worse].id])
            orders = [(better, worse, FIRST), (worse, better, SECOND)]
            for first, second, verdict in orders[:: -1 if hash64(f"judge data {ids}") & 1 else 1]:
                sides = item.responses[first], item.responses[second]
                texts = [one.text for one in sides]
                at = [places[one.model, one.text] for one in sides]
                why = None if self.config.rationale == "none" else self._why(raw, at[0], at[1], verdict, texts, ids)
                if why is None and self.config.rationale == "only":
                    self.left_out += 1
                    continue
                self.verdicts[verdict] += 1
                self.with_rationale += why is not None
                asked = {
                    "role": "user",
                    "content": self.prompt.fill({"query": query, "first": texts[0], "second": texts[1]}),
                }
                answered = {"role": "assistant", "content": MARKS[verdict] if why is None else why.text}
                turns: Row = {"prompt": [asked], "completion": [answered]}
                if self.config.form == "messages":
                    turns = {"messages": [asked, answered]}
                yield turns | {
                    "verdict": verdict,
                    "first_model": sides[0].model,
                    "second_model": sides[1].model,
                    "judges": [] if why is None else list(why.judges),
                    "query_id": item.id,
                    "domain": item.domain,
                }

    def _why(self, raw: Row, first: int, second: int, verdict: str, texts: list[str], ids: str) -> _Why | None:
        """What judges wrote that fits an order and its verdict; where there are several, one by hash."""
        why: list[str] = []
        found = [*self._of_comparisons(raw, first, second, verdict, why)] or [
            *self._of_scores(raw, first, second, verdict, why)
        ]
        found.sort(key=lambda one: (len(one.judges), hash64(f"rationale {ids} {' '.join(one.judges)}"), one))
        for one in found:
            said = one.text if one.text.endswith(MARKS[verdict]) else f"{one.text}\n\n{MARKS[verdict]}"
            if read_verdict(Message(said, "stop", None, None, None), responses=texts).score == SCORES[verdict]:
                return _Why(said, one.judges)
        if found:
            why = ["reads otherwise"]
        self.unused.update(why[:1])
        return None

    def _of_comparisons(self, raw: Row, first: int, second: int, verdict: str, unused: list[str]) -> Iterator[_Why]:
        """Of judges that were shown the two in this order, and decided so."""
        authors = [raw["responses"][at]["model"] for at in (first, second)]
        for one in raw["comparisons"] or ():
            if not _text(one["rationale"]) or not self._allows(one["judge"], authors):
                continue
            if (one["first"], one["second"]) != (first, second):
                if (one["second"], one["first"]) == (first, second):
                    unused.append("of the other order")
                continue
            ahead = (one["first_score"] or 0.0) - (one["second_score"] or 0.0)
            if ahead * (1 if verdict == FIRST else -1) > 0:
                yield _Why(one["rationale"].strip(), (one["judge"],))
            else:
                unused.append("decides otherwise")

    def _of_scores(self, raw: Row, first: int, second: int, verdict: str, unused: list[str]) -> Iterator[_Why]:
        """Of judges that wrote of either response, one of each, where the better one has the higher score."""
        sides = []
        for at in (first, second):
            response = raw["responses"][at]
            sides.append(
                [
                    one
                    for one in response["scores"] or ()
                    if _text(one["rationale"])
                    and one["score"] is not None
                    and self._allows(one["judge"], [response["model"]])
                ]
            )
        sign = 1 if verdict == FIRST else -1
        both = [(one, other) for one in sides[0] for other in sides[1]]
        fit = [(one, other) for one, other in both if sign * (one["score"] - other["score"]) > 0]
        fit = [(one, other) for one, other in fit if one["dimension"] == other["dimension"]]
        if both and not fit:
            unused.append("scores decide otherwise")
        for one, other in fit:
            judges = tuple(dict.fromkeys([one["judge"], other["judge"]]))
            yield _Why(f"回答 A：\n{one['rationale'].strip()}\n\n回答 B：\n{other['rationale'].strip()}", judges)

    def _allows(self, judge: str | None, authors: Sequence[str | None]) -> bool:
        """Whether a judge's words count, as for pairs: one of those named, and no author of what it judges."""
        if self.allowed.judges is not None and judge not in self.allowed.judges:
            return False
        own = {str(author).strip().lower() for author in authors}
        return judge is not None and (self.allowed.include_self_judged or judge.strip().lower() not in own)


def _text(value: str | None) -> bool:
    return value is not None and bool(value.strip())


def _readme(made: JudgeData, config: JudgeDataConfig, hashes: Sequence[str]) -> str:
    files = [{"split": "train", "path": "data/*.parquet"}]
    head = front_matter(
        {"configs": [{"config_name": "default", "description": told_of_rows(hashes), "data_files": files}]}
    )
    columns = "`messages`" if config.form == "messages" else "`prompt` and `completion`"
    return f"""{head}
# Judging conversations

{made.rows:,} conversations of {made.pairs:,} pairs, each in both orders; {made.with_rationale:,} have a rationale
before the verdict, which is last: {MARKS[FIRST]} the first response is better, {MARKS[SECOND]} the second. Each row has
{columns}, and beside them what it is of. `{MADE}` says of which store, with which options.

```python
from datasets import load_dataset

rows = load_dataset("parquet", data_files="data/*.parquet", split="train")
```
"""
