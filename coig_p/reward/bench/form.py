"""A benchmark on disk: what is asked, the responses, and which of them are better.

    BENCH/
      bench.jsonl   one item a line
      bench.json    name, licence, preset, where it is from, and the hash of the other; written last
      train-exclude.txt   of one that was built from a store: queries that must not be trained on

    {"id": "crb-17", "domain": "math", "prompt": "..." or [{"role": "user", "content": "..."}],
     "responses": [{"id": "a", "text": "...", "model": "..."}, ...], "ranks": [0, 1], "pairs": [["a", "b"]], "meta": {}}

Lower rank is better, equal ranks are tied. Where responses are not all comparable, `pairs` says which are, the better
one first, and alone decides; ranks then may be missing. A multi-turn prompt ends with a user's turn; the response
becomes one turn of the assistant.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory
from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError
from coig_p.store.places import Marker, check_directory, check_outside

ITEMS, BENCH = "bench.jsonl", "bench.json"
FORMAT, VERSION = "coig_p.bench", 1
PRESETS = ("crbench", "cheems", "rewardbench", "rewardbench2", "rm-bench", "judgebench", "pairs")
ROLES = ("system", "user", "assistant")
MARKER = Marker(BENCH, (b'"coig_p.bench"',))
TOOL = f"coig_p {__version__}"
_FIELDS = ("id", "domain", "prompt", "responses", "ranks", "pairs", "meta")

Problem = tuple[str, str]
"""The field that is wrong, and what is wrong with it."""


@dataclass(frozen=True)
class Response:
    """One response of an item.

    Attributes:
        id: unique in the item.
        model: whose it is; None where nobody says.
    """

    id: str
    text: str
    model: str | None = None


@dataclass(frozen=True)
class Item:
    """A prompt, its responses, and which are better.

    Attributes:
        id: unique in the benchmark.
        prompt: one user's text, or the turns before the response as {"role", "content"}, a user's last.
        ranks: of each response, lower is better, equal is tied; None where `pairs` alone says what is known.
        pairs: ids of responses, the better one first; None where ranks decide.
        meta: what a preset needs, as "subset" or "style", and what the source says beside.
    """

    id: str
    domain: str
    prompt: str | tuple[Mapping[str, str], ...]
    responses: tuple[Response, ...]
    ranks: tuple[int, ...] | None = None
    pairs: tuple[tuple[str, str], ...] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def messages(self) -> list[dict[str, str]]:
        """The turns before the response."""
        if isinstance(self.prompt, str):
            return [{"role": "user", "content": self.prompt}]
        return [dict(turn) for turn in self.prompt]

    def to_dict(self) -> dict[str, Any]:
        """As a line has it."""
        told: dict[str, Any] = {"id": self.id, "domain": self.domain}
        told["prompt"] = self.prompt if isinstance(self.prompt, str) else self.messages
        told["responses"] = [
            {"id": one.id, "text": one.text} | ({} if one.model is None else {"model": one.model})
            for one in self.responses
        ]
        if self.ranks is not None:
            told["ranks"] = list(self.ranks)
        if self.pairs is not None:
            told["pairs"] = [list(pair) for pair in self.pairs]
        return told | ({"meta": dict(self.meta)} if self.meta else {})


@dataclass(frozen=True)
class Bench:
    """A benchmark, read whole.

    Attributes:
        path: the folder.
        licence: as its source says it; None where it says none.
        preset: one of PRESETS: whose aggregates a report shows.
        source: "name" and "sha256" of what it was made from.
        sha256: of bench.jsonl.
        options: what it was made with.
        tool: what made it, with its version.
    """

    path: Path
    name: str
    licence: str | None
    preset: str
    source: Mapping[str, Any]
    sha256: str
    items: tuple[Item, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    tool: str = ""


def pairs_of(item: Item) -> list[tuple[int, int]]:
    """The pairs that an item asserts, as places of its responses: (the better one, the worse one).

    From `pairs` in their order where there are any, else every two responses whose ranks differ, the better one's
    place first, then the worse one's. Ties are no pair.
    """
    if item.pairs is not None:
        place = {one.id: at for at, one in enumerate(item.responses)}
        return [(place[winner], place[loser]) for winner, loser in item.pairs]
    ranks = item.ranks or ()
    places = range(len(ranks))
    return [(better, worse) for better in places for worse in places if ranks[better] < ranks[worse]]


def item_problem(told: Any) -> Problem | None:
    """What is wrong with a line of a benchmark; None where nothing is."""
    if not isinstance(told, dict):
        return "", f"{shown(told)} is not an object"
    for name in told:
        if name not in _FIELDS:
            return str(name)[:80], f"no field of an item, which has {', '.join(_FIELDS)}"
    for name in ("id", "domain"):
        if not isinstance(told.get(name), str) or not told[name].strip():
            return name, not_as(told, name, "text that is not blank")
    found = _prompt_problem(told) or _responses_problem(told)
    if found is not None:
        return found
    ids = [one["id"] for one in told["responses"]]
    found = _ranks_problem(told, ids) or _pairs_problem(told, ids)
    if found is None and "meta" in told and not isinstance(told["meta"], dict):
        found = "meta", not_as(told, "meta", "an object")
    return found


def _prompt_problem(told: dict[str, Any]) -> Problem | None:
    prompt = told.get("prompt")
    if isinstance(prompt, str):
        return None
    if not isinstance(prompt, list) or not prompt:
        return "prompt", not_as(told, "prompt", "text, or a list of turns")
    for at, turn in enumerate(prompt):
        where = f"prompt[{at}]"
        if not isinstance(turn, dict) or set(turn) != {"role", "content"}:
            return where, f"{shown(turn)} is not an object with role and content alone"
        if turn["role"] not in ROLES:
            return f"{where}.role", f"{shown(turn['role'])} is none of {', '.join(ROLES)}"
        if not isinstance(turn["content"], str):
            return f"{where}.content", f"{shown(turn['content'])} is not text"
    if prompt[-1]["role"] != "user":
        return (
            f"prompt[{len(prompt) - 1}].role",
            f"the last turn is {prompt[-1]['role']!r}: a prompt ends with a user's",
        )
    return None


def _responses_problem(told: dict[str, Any]) -> Problem | None:
    responses = told.get("responses")
    if not isinstance(responses, list) or len(responses) < 2:
        return "responses", not_as(told, "responses", "a list of two responses or more")
    seen: set[str] = set()
    for at, one in enumerate(responses):
        where = f"responses[{at}]"
        if not isinstance(one, dict) or not set(one) <= {"id", "text", "model"}:
            return where, f"{shown(one)} is not an object with id, text and model alone"
        if not isinstance(one.get("id"), str) or not one["id"]:
            return f"{where}.id", not_as(one, "id", "text that is not empty")
        if not isinstance(one.get("text"), str):
            return f"{where}.text", not_as(one, "text", "text")
        if not isinstance(one.get("model", ""), str | None):
            return f"{where}.model", not_as(one, "model", "text or null")
        if one["id"] in seen:
            return f"{where}.id", f"{shown(one['id'])} stands twice in the item"
        seen.add(one["id"])
    return None


def _ranks_problem(told: dict[str, Any], ids: list[str]) -> Problem | None:
    ranks = told.get("ranks")
    if ranks is None:
        return None if told.get("pairs") is not None else ("ranks", "missing, and there are no pairs: one of the two")
    if not isinstance(ranks, list) or not all(type(rank) is int and rank >= 0 for rank in ranks):
        return "ranks", not_as(told, "ranks", "a list of whole numbers of 0 or more")
    if len(ranks) != len(ids):
        return "ranks", f"{len(ranks)} of them for {len(ids)} responses"
    return None


def _pairs_problem(told: dict[str, Any], ids: list[str]) -> Problem | None:
    pairs = told.get("pairs")
    if pairs is None:
        return None
    if not isinstance(pairs, list):
        return "pairs", not_as(told, "pairs", "a list of pairs of ids, or null")
    rank = dict(zip(ids, told.get("ranks") or (), strict=False))
    seen: set[tuple[str, str]] = set()
    for at, pair in enumerate(pairs):
        where = f"pairs[{at}]"
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(one, str) for one in pair):
            return where, f"{shown(pair)} is not two ids of responses, the better one first"
        winner, loser = pair
        for one in pair:
            if one not in ids:
                return where, f"{shown(one)} is no response of the item"
        if winner == loser:
            return where, f"{shown(winner)} against itself"
        if (winner, loser) in seen or (loser, winner) in seen:
            again = "stands twice" if (winner, loser) in seen else "stands the other way round, too"
            return where, f"{shown(pair)} {again}"
        if rank and rank[winner] >= rank[loser]:
            return where, f"{shown(winner)} has rank {rank[winner]}, and {shown(loser)} {rank[loser]}: lower is better"
        seen.add((winner, loser))
    return None


def shown(value: Any) -> str:
    """A value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def not_as(told: Mapping[str, Any], name: str, wanted: str) -> str:
    """What to say of a field that is missing, or is not what is wanted."""
    return f"{shown(told[name])} is not {wanted}" if name in told else f"missing, where it must be {wanted}"


def item_of(told: dict[str, Any]) -> Item:
    """A line without a problem as an item."""
    prompt, ranks, pairs = told["prompt"], told.get("ranks"), told.get("pairs")
    return Item(
        id=told["id"],
        domain=told["domain"],
        prompt=prompt if isinstance(prompt, str) else tuple(prompt),
        responses=tuple(Response(one["id"], one["text"], one.get("model")) for one in told["responses"]),
        ranks=None if ranks is None else tuple(ranks),
        pairs=None if pairs is None else tuple((winner, loser) for winner, loser in pairs),
        meta=told.get("meta", {}),
    )


def read_bench(folder: str | Path) -> Bench:
    """Read a benchmark whole.

    Raises:
        DataError: there is none, a line is no item, an id stands twice, or bench.jsonl is not the file that bench.json
            was written for; names file, line and field.
    """
    root = Path(folder)
    told = read_header(root, BENCH, FORMAT, VERSION, "a benchmark. Make one with: coigp bench convert")
    path = root / BENCH
    name, preset, wanted = (header_field(path, told, one, str) for one in ("name", "preset", "sha256"))
    number = header_field(path, told, "items", int)
    licence = told.get("licence")
    if licence is not None and not isinstance(licence, str):
        raise DataError(f"{path} .licence: {shown(licence)} is not text or null")
    if preset not in PRESETS:
        raise DataError(f"{path} .preset: {shown(preset)} is none of {', '.join(PRESETS)}")
    source = header_field(path, told, "source", dict)
    for one in ("name", "sha256"):
        if not isinstance(source.get(one), str):
            raise DataError(f"{path} .source.{one}: {not_as(source, one, 'text')}")
    digest = sha256()
    items: list[Item] = []
    lines: dict[str, int] = {}
    for line, row in read_lines(root / ITEMS, digest):
        found = item_problem(row)
        if found is None and row["id"] in lines:
            found = "id", f"{shown(row['id'])} stands in line {lines[row['id']]}, too"
        if found is not None:
            raise located(root / ITEMS, line, found)
        lines[row["id"]] = line
        items.append(item_of(row))
    check_whole(root / ITEMS, digest.hexdigest() == wanted, len(items), number, BENCH)
    options = header_field(path, told, "options", dict, {})
    tool = header_field(path, told, "tool", str, "")
    return Bench(root, name, licence, preset, source, wanted, tuple(items), options, tool)


def check_bench_place(folder: Path, overwrite: bool) -> None:
    """Raise UsageError where a benchmark cannot be written to `folder`."""
    check_outside(folder, "a benchmark")
    check_directory(folder, MARKER, "a benchmark", overwrite)


def write_bench(
    folder: str | Path,
    items: Iterable[Item],
    *,
    name: str,
    preset: str,
    source: Mapping[str, Any],
    licence: str | None = None,
    options: Mapping[str, Any] | None = None,
    beside: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> int:
    """Write a benchmark, whole or not at all.

    Args:
        items: read once.
        source: "name" and "sha256" of what it was made from.
        options: what it was made with, where anything was chosen.
        beside: further files, by name.

    Returns:
        How many items were written.

    Raises:
        DataError: an item is none, or an id stands twice.
        UsageError: something else stands there.
    """
    root = Path(folder)
    check_bench_place(root, overwrite)
    assert preset in PRESETS
    seen: set[str] = set()
    with atomic_directory(root) as place:
        digest = sha256()
        with (place / ITEMS).open("wb") as stream:
            for item in items:
                data = checked_line(item.to_dict(), f"item {shown(item.id)}", item_problem)
                if item.id in seen:
                    raise DataError(f"item {shown(item.id)} .id: stands twice")
                seen.add(item.id)
                digest.update(data)
                stream.write(data)
        for file, content in (beside or {}).items():
            (place / file).write_bytes(content)
        told: dict[str, Any] = {"format": FORMAT, "version": VERSION, "name": name, "licence": licence}
        told |= {"preset": preset, "source": dict(source), "items": len(seen), "sha256": digest.hexdigest()}
        told |= {"options": dict(options)} if options else {}
        write_header(place / BENCH, told | {"tool": TOOL})
    return len(seen)


def checked_line(told: dict[str, Any], where: str, problem: Any) -> bytes:
    """An object as a line of JSON that can be read back; raise DataError where `problem` finds one, or JSON has no way
    to say it."""
    found = problem(told)
    if found is None:
        try:
            text = json.dumps(told, ensure_ascii=False, allow_nan=False)
            strict_json(text)
            return text.encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            found = "", f"cannot be written as JSON: {error}"
    raise DataError(f"{where} .{found[0]}: {found[1]}" if found[0] else f"{where}: {found[1]}")


def read_lines(path: Path, digest: Any) -> Iterator[tuple[int, Any]]:
    """Each line of a file of JSON Lines with its number, from 1; all bytes go into `digest`.

    A mark of byte order before the first line, which some editors write, is no part of it.

    Raises:
        DataError: the file cannot be read, or a line is no JSON.
    """
    try:
        if path.exists() and not path.is_file():  # to read a pipe would not end
            raise DataError(f"{path}: not a file")
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                digest.update(line)
                try:
                    row = strict_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
                except RecursionError:
                    raise DataError(f"{path} line {number}: nested too deep") from None
                except ValueError as error:
                    raise DataError(f"{path} line {number}: not JSON of UTF-8: {error}") from None
                yield number, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def located(path: Path, line: int, problem: Problem) -> DataError:
    """The error of a line."""
    return DataError(f"{path} line {line}" + (f" .{problem[0]}" if problem[0] else "") + f": {problem[1]}")


def check_whole(path: Path, is_same: bool, found: int, wanted: int, header: str) -> None:
    """Raise DataError where a file of lines is not the one that its header was written for."""
    if found != wanted:
        raise DataError(
            f"{path}: {found:,} lines, and {header} says {wanted:,}: it is cut short or changed, make it anew"
        )
    if not is_same:
        raise DataError(f"{path}: its sha256 is not the one in {header}: it was changed since, make it anew")


def read_header(root: Path, name: str, form: str, version: int, what: str) -> dict[str, Any]:
    """The object in a folder that says what the folder is.

    Raises:
        DataError: there is none, or it is none that this version reads.
    """
    path = root / name
    try:
        told = strict_json(read_small(path))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{root}: no {name} there, so it is not {what}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error or 'nested too deep'}") from None
    if not isinstance(told, dict) or told.get("format") != form:
        raise DataError(f'{path}: its "format" is not "{form}", so it is not {what}')
    if told.get("version") != version:
        raise DataError(f"{path} .version: {shown(told.get('version'))}, this package reads {version}: upgrade it")
    return told


def header_field(path: Path, told: Mapping[str, Any], name: str, kind: type, default: Any = None) -> Any:
    """A field of a header; raise DataError where it is not of a kind."""
    value = told.get(name, default)
    if not isinstance(value, kind) or isinstance(value, bool):
        named = {str: "text", int: "a whole number", dict: "an object"}[kind]
        raise DataError(f"{path} .{name}: {not_as(told, name, named)}")
    return value


def write_header(path: Path, told: Mapping[str, Any]) -> None:
    """Write the object that says what a folder is."""
    text = json.dumps(told, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
