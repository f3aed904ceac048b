"""A review on disk: what was drawn, for whom, and the key that says what stood behind each side.

    REVIEW/
      review.json             the form, who was asked, of which store; written last
      key.parquet             stays home: which responses stood on which side, and which the store prefers
      tasks-<annotator>.json  what one person sees, in an order of its own; tasks-<annotator>-2.json in a second round
      config.xml              how Label Studio shows a task
      answers/<annotator>.jsonl   see `coig_p.review.answers`

Nobody who answers needs review.json's neighbour key.parquet, and nothing that shows tasks reads it.

An answer says "A", and counts for what stood there: so review.json holds the sha256 of each file of tasks, of the key's
rows, and of itself, and what is not as it was written is an error before anybody is shown it, or counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coig_p.core.atomic import atomic_directory, atomic_file
from coig_p.core.small_files import read_small
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.store.conversations import canonical, said_beside
from coig_p.store.places import Marker
from coig_p.store.reading import DAMAGE

REVIEW, KEY, CONFIG, ANSWERS = "review.json", "key.parquet", "config.xml", "answers"
FORMAT, VERSION = "coig_p.review", 1
FORMS = ("pair", "triple", "accept", "query")
KINDS = ("drawn", "gold", "audit")
SIDES = ("a", "b", "c")
MARKER = Marker(REVIEW, (b'"coig_p.review"',))

_SIDE_TYPE = pa.struct(
    [("side", pa.string()), ("model", pa.string()), ("sample", pa.int32()), ("text_sha256", pa.string())]
)
KEY_SCHEMA = pa.schema(
    [
        ("item", pa.string()),
        ("annotator", pa.string()),
        ("round", pa.int32()),
        ("kind", pa.string()),
        ("query_id", pa.string()),
        ("domain", pa.string()),
        ("query_sha256", pa.string()),
        ("sides", pa.list_(_SIDE_TYPE)),
        ("chosen", pa.string()),
        ("margin", pa.float64()),
        ("gold", pa.string()),
    ]
)
"""One row for each item that an annotator was given in a round."""

_NAME = re.compile(r"\w[\w.@+-]*")
_LIKE_A_ROUND = re.compile(r"-\d+\Z")
_LONGEST_NAME = 80  # bytes; it is part of a file's name
_MOST_BYTES = 1 << 30  # of tasks: 240 take one


@dataclass(frozen=True)
class Side:
    """One response as an annotator saw it.

    Attributes:
        side: "a", "b" or "c", in the order shown.
        model, sample: whose it is; of a gold item that brings its own texts the model is "" and the sample its place.
        text_sha256: of what was shown (see `response_sha256`).
    """

    side: str
    model: str
    sample: int
    text_sha256: str

    @property
    def response(self) -> tuple[str, int]:
        """Which of the query's responses it is, whatever side it stands on."""
        return self.model, self.sample


@dataclass(frozen=True)
class KeyRow:
    """What stood behind one item for one annotator in one round.

    Attributes:
        kind: "drawn", "gold" (the answer is known) or "audit" (asked again).
        query_id: "" of a gold item that brings its own texts.
        query_sha256: of what was asked (see `prompt_sha256`).
        sides: in the order shown; none in form "query".
        chosen: the side that the store prefers; None where the form has none.
        margin: of the pair, on the judges' scale; None where there is none.
        gold: of a gold item the known answer in the sides shown, with the keys that are known; else None.
    """

    item: str
    annotator: str
    round: int
    kind: str
    query_id: str
    domain: str
    query_sha256: str
    sides: tuple[Side, ...] = ()
    chosen: str | None = None
    margin: float | None = None
    gold: Mapping[str, Any] | None = None

    @property
    def identity(self) -> tuple[str, str, int]:
        """What an answer names it by: item, annotator, round."""
        return self.item, self.annotator, self.round

    def side(self, name: str | None) -> Side | None:
        """The side of that letter, in either case."""
        return next((side for side in self.sides if name is not None and side.side == name.lower()), None)


@dataclass(frozen=True)
class Review:
    """What review.json says.

    Attributes:
        path: the folder.
        form: one of FORMS.
        seed: of every draw.
        store: "name" and "manifest_sha256" of the store it was drawn from.
        pairs: pair options that were in effect, as `PairConfig` names them.
        annotators: who is asked.
        overlap: how many are asked about each item.
        rounds: how often there were new tasks: 1 after the draw.
        domains: of each domain "pairs" and "queries" that could be drawn in the store, and "drawn" items.
        options: other options of the draw.
        tool: what wrote it, with its version.
        files: of each file of tasks its sha256.
        key_sha256: of the key's rows, up to the last round.
    """

    path: Path
    form: str
    seed: int
    store: Mapping[str, str]
    pairs: Mapping[str, Any]
    annotators: tuple[str, ...]
    overlap: int
    rounds: int = 1
    domains: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    tool: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    key_sha256: str = ""

    @property
    def letters(self) -> tuple[str, ...]:
        """The sides that an item of this form has."""
        return sides_of(self.form)

    def check_annotator(self, name: str) -> str:
        """Return `name`; raise UnknownNameError where nobody of that name is asked."""
        if name not in self.annotators:
            raise UnknownNameError("annotator", name, self.annotators, self.path / REVIEW)
        return name

    def to_json(self) -> str:
        """As review.json has it."""
        told = {"format": FORMAT, "version": VERSION}
        told |= {name: value for name, value in asdict(self).items() if name != "path"}
        return (
            json.dumps(
                told | {"sha256": {name: seal(value) for name, value in told.items()}}, ensure_ascii=False, indent=2
            )
            + "\n"
        )


def seal(told: Any) -> str:
    """The hash of what JSON says, however it is laid out; review.json holds one of each of its other fields."""
    return _sha256(json.dumps(told, sort_keys=True, separators=(",", ":")))


def sides_of(form: str) -> tuple[str, ...]:
    """The sides of an item of a form."""
    return {"query": (), "triple": SIDES}.get(form, SIDES[:2])


def check_annotator_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of annotators; raise UsageError where one cannot be part of a file's name, or stands twice."""
    seen: dict[str, str] = {}
    for name in names:
        if not _NAME.fullmatch(name) or len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
            raise UsageError(f"annotator {name!r}: use letters, digits, _ . @ + and -, {_LONGEST_NAME} bytes at most")
        if _LIKE_A_ROUND.search(name):
            raise UsageError(f"annotator {name!r}: a name that ends in - and a number is taken for a round: use _")
        other = seen.get(name.casefold())
        if other == name:
            raise UsageError(f"annotator {name!r} stands twice: each is one person, name each once")
        seen[name.casefold()] = name
        if other is not None:
            raise UsageError(f"annotators {other!r} and {name!r}: not every disk tells their files apart")
    if not seen:
        raise UsageError("no annotator: name those who are asked, as --annotators a,b,c")
    return tuple(names)


def tasks_path(folder: Path, annotator: str, round_: int = 1) -> Path:
    """Where the tasks of one annotator and round stand."""
    return folder / f"tasks-{annotator}{f'-{round_}' if round_ > 1 else ''}.json"


def response_sha256(response: Mapping[str, Any]) -> str:
    """The hash of what a response says: its text and, where it has them, its calls of tools and its reasoning."""
    beside = said_beside(response.get("extra"))
    return _sha256((response["text"] or "") + (f"\0{beside}" if beside else ""))


def prompt_sha256(row: Mapping[str, Any]) -> str:
    """The hash of what a raw row asks: its query, or its turns and tools."""
    turns = [[turn["role"], turn["content"], said_beside(turn.get("extra"))] for turn in row.get("messages") or ()]
    if not turns and not row.get("tools"):
        return _sha256(row["query"] or "")
    return _sha256(canonical([row["query"], turns, row.get("tools")]))


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def open_review(folder: str | Path) -> Review:
    """Read review.json.

    Raises:
        DataError: there is none, or it is not one that this version reads; says what to do.
    """
    root = Path(folder)
    path = root / REVIEW
    try:
        told = json.loads(read_small(path))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{root}: not a review: no {REVIEW} there. Make one with: coigp review draw") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise DataError(f'{path}: not a review: its "format" is not "{FORMAT}"')
    if told.get("version") != VERSION:
        raise DataError(
            f"{path}: version {told.get('version')!r} of a review, this package reads {VERSION}: upgrade it"
        )

    def get(name: str, kind: Any, default: Any = None) -> Any:
        value = told.get(name, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise DataError(f"{path}: {name} is missing or not a {kind.__name__}")
        return value

    form, annotators = get("form", str), get("annotators", list)
    if form not in FORMS:
        raise DataError(f"{path}: form {form!r} is none of {', '.join(FORMS)}")
    if not all(isinstance(name, str) for name in annotators):
        raise DataError(f"{path}: annotators is not a list of names")
    store = get("store", dict)
    if not all(isinstance(store.get(name), str) for name in ("name", "manifest_sha256")):
        raise DataError(f"{path}: store is not an object with name and manifest_sha256")
    try:
        names = check_annotator_names(annotators)
    except UsageError as error:
        raise DataError(f"{path}: {error}") from None
    domains = get("domains", dict, {})
    if not all(isinstance(of, dict) and all(type(one) is int for one in of.values()) for of in domains.values()):
        raise DataError(f"{path}: domains is not an object of counts")
    files = get("files", dict)
    found = Review(
        path=root,
        form=form,
        seed=get("seed", int),
        store=store,
        pairs=get("pairs", dict),
        annotators=names,
        overlap=get("overlap", int),
        rounds=get("rounds", int),
        domains=domains,
        options=get("options", dict, {}),
        tool=get("tool", str, ""),
        files=files,
        key_sha256=get("key_sha256", str),
    )
    sealed = get("sha256", dict)
    for name in sorted({*told, *sealed} - {"sha256"}):
        if sealed.get(name) != seal(told.get(name)):
            raise DataError(
                f"{path}: {name} is not as it was written, by its sha256: copy {REVIEW} from where the review was "
                "drawn. Who is asked, and about what, is changed by draw and resolve alone"
            )
    return found


def read_key(review: Review) -> list[KeyRow]:
    """The rows of key.parquet, in its order.

    Raises:
        DataError: it is missing, damaged, or a row contradicts the form; names file, row and field.
    """
    path = review.path / KEY
    try:
        with pq.ParquetFile(path.absolute(), page_checksum_verification=True) as file:
            if file.schema_arrow.remove_metadata() != KEY_SCHEMA:
                raise DataError(f"{path}: its columns are not those of a key. Draw the review anew: coigp review draw")
            rows = file.read().to_pylist()
    except FileNotFoundError:
        raise DataError(
            f"{path}: missing: without it no answer can be joined. Copy it from where it was drawn"
        ) from None
    except DAMAGE as error:
        raise DataError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    found = [_key_row(review, path, number, row) for number, row in enumerate(rows, 1)]
    known: set[tuple[str, str, int]] = set()
    for number, one in enumerate(found, 1):
        if one.identity in known:
            raise DataError(
                f"{path} row {number} .item: {one.item} of {one.annotator}, round {one.round}, stands twice"
            )
        known.add(one.identity)
    # Rows of a round whose writing was cut short are no part of the review.
    found = [one for one in found if one.round <= review.rounds]
    if _rows_sha256(found) != review.key_sha256:
        raise DataError(
            f"{path}: not the key that {REVIEW} was written with: answers would count for other sides. Copy both from "
            "where the review was drawn"
        )
    return found


def _rows_sha256(rows: Iterable[KeyRow]) -> str:
    return seal([asdict(row) for row in rows])


def _key_row(review: Review, path: Path, number: int, row: dict[str, Any]) -> KeyRow:
    def wrong(name: str, said: str) -> DataError:
        return DataError(f"{path} row {number} .{name}: {said}")

    for name in ("item", "annotator", "round", "kind", "query_id", "domain", "query_sha256"):
        if row[name] is None:
            raise wrong(name, "missing")
    if row["kind"] not in KINDS:
        raise wrong("kind", f"{row['kind']!r} is none of {', '.join(KINDS)}")
    sides = tuple(Side(**side) for side in row["sides"] or ())
    if tuple(side.side for side in sides) != review.letters:
        raise wrong("sides", f"{[side.side for side in sides]} in form {review.form}")
    if row["chosen"] is not None and row["chosen"] not in review.letters:
        raise wrong("chosen", f"{row['chosen']!r} is no side of form {review.form}")
    gold = None
    if row["gold"] is not None:
        try:
            gold = json.loads(row["gold"])
        except ValueError:
            gold = None
        if not isinstance(gold, dict) or not gold:
            raise wrong("gold", "not an object of JSON")
    return KeyRow(**{**row, "sides": sides, "gold": gold})


def write_key(path: Path, rows: Iterable[KeyRow]) -> None:
    """Write key.parquet, which who is asked on the same machine cannot read."""
    told = [
        asdict(row) | {"gold": None if row.gold is None else json.dumps(row.gold, ensure_ascii=False)} for row in rows
    ]
    with atomic_file(path, private=True) as stream:
        pq.write_table(
            pa.Table.from_pylist(told, schema=KEY_SCHEMA), stream, compression="zstd", write_page_checksum=True
        )


Tasks = list[dict[str, Any]]


def write_review(
    target: Path, review: Review, key: Sequence[KeyRow], tasks: Mapping[str, Tasks], config: str
) -> Review:
    """Write a new review, whole or not at all; it replaces a review that stands there.

    Args:
        tasks: of each annotator, as the file has them.
        config: the text of config.xml.

    Returns:
        The review as it was written.
    """
    with atomic_directory(target) as root:
        (root / ANSWERS).mkdir()
        files = {tasks_path(root, name).name: _write_tasks(tasks_path(root, name), own) for name, own in tasks.items()}
        review = replace(review, path=target, files=files, key_sha256=_rows_sha256(key))
        (root / CONFIG).write_text(config, encoding="utf-8", newline="\n")
        write_key(root / KEY, key)
        (root / REVIEW).write_text(review.to_json(), encoding="utf-8", newline="\n")
    return review


def add_round(review: Review, rows: Sequence[KeyRow], tasks: Mapping[str, Tasks], **changes: Any) -> Review:
    """Add a round to a review: its tasks, its rows of the key, and last review.json, which makes it count.

    Args:
        rows: of round `review.rounds` + 1; annotators who are new are added to the review.
        tasks: of each annotator who is asked.
        changes: of other fields of the review.

    Returns:
        The review as it is now.
    """
    round_ = review.rounds + 1
    assert all(row.round == round_ for row in rows)
    key = [*read_key(review), *rows]
    files = dict(review.files)
    for annotator, own in tasks.items():
        path = tasks_path(review.path, annotator, round_)
        files[path.name] = _write_tasks(path, own)
    write_key(review.path / KEY, key)
    names = check_annotator_names(tuple(dict.fromkeys([*review.annotators, *(row.annotator for row in rows)])))
    changes |= {"files": files, "key_sha256": _rows_sha256(key)}
    found = replace(review, rounds=round_, annotators=names, **changes)
    with atomic_file(review.path / REVIEW) as stream:
        stream.write(found.to_json().encode())
    return found


def _write_tasks(path: Path, tasks: Tasks) -> str:
    """Write a file of tasks; return its sha256."""
    text = json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"
    with atomic_file(path) as stream:
        stream.write(text.encode())
    return _sha256(text)


def read_tasks(review: Review, annotator: str, round_: int = 1) -> list[dict[str, Any]]:
    """The `data` of each task of an annotator and round, in the order of the file; none where none were given.

    Each has item, annotator, round, form, domain, dialogue ([{"role", "content"}, ...]) and, by form, response_a,
    response_b, response_c.

    Raises:
        UnknownNameError: nobody of that name is asked.
        DataError: the file is missing, damaged, or not as it was written; names task and field where it can.
    """
    path = tasks_path(review.path, review.check_annotator(annotator), round_)
    if path.name not in review.files:
        return []
    try:
        text = read_small(path, _MOST_BYTES)
        told = json.loads(text)
    except FileNotFoundError:
        raise DataError(f"{path}: missing: copy it from where the review was drawn") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    if not isinstance(told, list):
        raise DataError(f"{path}: not a list of tasks")
    texts = ["item", "annotator", "form", "domain", *(f"response_{side}" for side in review.letters)]
    found = []
    for number, task in enumerate(told, 1):
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise DataError(f"{path} task {number} .data: missing or not an object")
        for name in texts:
            if not isinstance(data.get(name), str):
                raise DataError(f"{path} task {number} .data.{name}: missing or not a string")
        turns = data.get("dialogue")
        if not isinstance(turns, list) or not all(
            isinstance(turn, dict) and all(isinstance(turn.get(name), str) for name in ("role", "content"))
            for turn in turns
        ):
            raise DataError(f"{path} task {number} .data.dialogue: not a list of turns with role and content")
        for name, wanted in (("annotator", annotator), ("form", review.form), ("round", round_)):
            if data.get(name) != wanted:
                raise DataError(f"{path} task {number} .data.{name}: {data.get(name)!r}, expected {wanted!r}")
        found.append(data)
    if _sha256(text) != review.files[path.name]:
        raise DataError(
            f"{path}: not as it was written, by its sha256: a task or a text has changed, and answers would count for "
            "what the key says in its place. Copy it from where the review was drawn"
        )
    return found


def check_tasks(review: Review) -> None:
    """See that all files of tasks are as they were written; raise DataError as `read_tasks` does."""
    for annotator in review.annotators:
        for round_ in range(1, review.rounds + 1):
            read_tasks(review, annotator, round_)
