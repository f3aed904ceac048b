"""manifest.json: what a store holds, file by file, and how it came about."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from coig_p.core.small_files import read_whole
from coig_p.core.strict_json import strict_json
from coig_p.core.text import counted_as, printable
from coig_p.errors import StoreError, UnknownNameError
from coig_p.schema import LISTED_APART, NEWEST_VERSION, SCHEMA_VERSION, domain_problem, on_grid

MANIFEST = "manifest.json"
LISTING = "listing"
"""The role of a list of files beside a manifest (see `coig_p.store.listing`)."""
LARGEST_MARGIN = "largest_comparison_margin"
"""In the options of a store with comparisons: how far apart the two scores of any of them are at most."""
SIGNATURE = f"{MANIFEST}.minisig"  # over the manifest, which cannot list it
_COUNTED = ("queries", "responses", "scores", "comparisons")
_TOLD_WHERE_ANY = ("comparisons", "conversations")
_SPECIAL = ("conversations", "with_tools")
_SHOWN = 8  # domains that a short line names
LARGEST_MANIFEST = 32 << 20
"""Of a manifest.json; a shard that it lists itself takes some 400."""
_LONGEST_NAME = 255  # bytes of a part of a path, as file systems have it
_SPLIT = re.compile(r"\w+(\.\w+)*")  # as the stock library reads one
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REWARDS = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_EACH = "*"
_TEXT = "a string"
_COUNT = "a whole number of 0 or more"
_NUMBER = "a number"
_LOST = {"rows": _COUNT, "responses": _COUNT, "scores": _COUNT}
_HELD = {"queries": _COUNT, "responses": _COUNT}
_BENCHMARKS = {"against": [{"name": _TEXT, "sha256": _TEXT}], "prompts": _COUNT, "answers": _COUNT}
_REVIEWED = {
    **{"form": _TEXT, "items": _COUNT, "answered": _COUNT, "people": _COUNT, "shared": _COUNT, "criteria": [_TEXT]},
    **dict.fromkeys(("percent?", "alpha?", "ac1?", "share?", "low?", "high?"), _NUMBER),
    **dict.fromkeys(("macro?", "pairs?", "queries?", "strata?"), _NUMBER),
    **dict.fromkeys(("right?", "of?", "open?"), _COUNT),
}
# What the parts of a manifest look like that others read without asking again. A name with "?" may be left out or
# null, and "*" is every name there is.
_SHAPES: Mapping[str, Any] = {
    "accounting": {_EACH: dict.fromkeys(("read", "stored", "rejected", "merged"), _COUNT)},
    "models": {_EACH: _COUNT},
    "judges": {_EACH: _COUNT},
    "options": {
        f"{LARGEST_MARGIN}?": _NUMBER,
        "dedup?": {
            "method": _TEXT,
            "threshold": _NUMBER,
            "dropped": _LOST,
            "against?": [{"name": _TEXT, "sha256": _TEXT, "queries": _COUNT}],
        },
        "dedup_responses?": {"dropped": {_EACH: _LOST}, "rules": {_EACH: {"threshold": _NUMBER}}},
        "clean?": {"dropped": {_EACH: _LOST}},
        "review?": {"applied": [{"name": _TEXT, "key_sha256": _TEXT, "comparisons": _COUNT, "report": _REVIEWED}]},
        "contamination?": {
            "rows": _TEXT,
            "checks": [{**_BENCHMARKS, "options": {}, "left": _HELD, "dropped": _HELD, "tool": _TEXT}],
        },
    },
    "release": {
        "version?": _TEXT,
        "inputs?": {_EACH: _TEXT},
        "rules?": {"contamination?": {"against": [_TEXT]}},
        "since?": {"version": _TEXT, "manifest_sha256": _TEXT},
        "yanked?": {_EACH: _TEXT},
        "merged?": {_EACH: _TEXT},
    },
    "rewards": {
        _EACH: {
            **{"model": _TEXT, "responses": _COUNT, "scored": _COUNT, "without": {_EACH: _COUNT}},
            **dict.fromkeys(("kind?", "revision?", "sha256?", "template_sha256?", "dtype?"), _TEXT),
            **dict.fromkeys(("max_length?", "truncated?"), _COUNT),
        }
    },
    "sources": [{"name": _TEXT, "sha256": _TEXT, "license?": _TEXT, "bytes?": _COUNT}],
}


@dataclass(frozen=True)
class StoreFile:
    """One file of a store. Most counts are set for role "data" alone; "pairs" and "rewards" have rows, domain and
    split. Other counts are None.

    Attributes:
        path: relative to the store, with forward slashes.
        role: data, readme, rejects, duplicates, rewards or listing; in a release also pairs, plot, statistics,
            findings, license, citation, croissant, calibration, excluded.
        sha256: of the file, 64 hexadecimal digits.
        bytes: its size.
        rows, queries, responses, scores, comparisons: how many it holds; a data file has a row a query.
        conversations: how many queries are more than one user's text: turns before the response, or tools.
        with_tools: how many have tool definitions, or a turn or an answer with more in it than text, as a tool
            call is. Both counts are unset in files of schema version 1, which have neither.
    """

    path: str
    role: str
    sha256: str
    bytes: int
    rows: int | None = None
    domain: str | None = None
    split: str | None = None
    queries: int | None = None
    responses: int | None = None
    scores: int | None = None
    comparisons: int | None = None
    conversations: int | None = None
    with_tools: int | None = None

    @property
    def content(self) -> dict[str, tuple[int, str]]:
        """Its bytes and SHA-256, by its path."""
        return {self.path: (self.bytes, self.sha256)}


Listed = Callable[[StoreFile, tuple[str, ...]], Sequence[StoreFile]]
"""From the file that lists others, and the domains of the store, to those others."""


@dataclass(frozen=True)
class Manifest:
    """What manifest.json says. Values that come from elsewhere are taken in by `from_json`, which checks them.

    Attributes:
        score_range: lowest and highest score a judge may give.
        default_threshold: the smallest margin of a pair where a user gives none, on the judges' scale.
        comparison_threshold: the same for pairs by comparisons: 1 where they are verdicts ("A wins" is 1 and 0), 0
            where both sides were scored. None in older stores: theirs is default_threshold.
        both_orders: whether a judge counts for two responses only where it saw them in both orders, where a user does
            not say. Of comparisons that were asked for in both, as TaP does.
        tool: what wrote the store, with its version.
        domains: in the order in which they are read.
        files: every file of the store but manifest.json.
        sources: name, bytes, sha256 and license (null where nobody said) of every input file.
        options: how the store was made.
        accounting: for rows, responses, scores and comparisons: read, stored, rejected, merged.
        models, judges: how many responses, and how many scores, each gave.
        rewards: by the name under which a reward model's scores of the responses are kept: model and what else is known
            of it, and how many responses have a reward, or none for which reason.
        release: of a release its version, pair options, what it was made of, and what its check found; else empty.
        sha256: of the file that it was read from; None where it was made and not read.
        place: the store that it was read from, for messages; None where it was made and not read.
    """

    score_range: tuple[float, float]
    default_threshold: float
    tool: str
    schema_version: int = SCHEMA_VERSION
    domains: tuple[str, ...] = ()
    files: tuple[StoreFile, ...] = ()
    sources: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    accounting: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    models: Mapping[str, int] = field(default_factory=dict)
    judges: Mapping[str, int] = field(default_factory=dict)
    rewards: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)
    comparison_threshold: float | None = None
    both_orders: bool = False
    sha256: str | None = field(default=None, compare=False)
    place: str | None = field(default=None, compare=False)

    @cached_property
    def reward_files_by_path(self) -> Mapping[str, StoreFile]:
        """Kept, as it is asked for shard after shard."""
        return {file.path: file for file in self.files if file.role == "rewards"}

    def __repr__(self) -> str:
        return f"Manifest({self.summary()})"

    def summary(self) -> str:
        """One short line: domains, how many queries, responses, scores, and the layout's version.

        Comparisons and conversations are told where there are any.
        """
        files = self.data_files()
        counts = {name: sum(getattr(file, name) or 0 for file in files) for name in (*_COUNTED, "conversations")}
        counts = {name: count for name, count in counts.items() if count or name not in _TOLD_WHERE_ANY}
        named = ", ".join(self.domains[:_SHOWN]) + (", ..." if len(self.domains) > _SHOWN else "")
        numbers = ", ".join(counted_as(count, name) for name, count in counts.items())
        return f"domains: {named or 'none'}; {numbers}; schema {self.schema_version}"

    def data_files(self, domain: str | None = None, split: str | None = None) -> list[StoreFile]:
        """The shards of a domain and split (default: of all)."""
        own = self._shards if domain is None else self._shards_of.get(domain, [])
        return [file for file in own if split in (None, file.split)]

    @cached_property
    def _shards(self) -> list[StoreFile]:
        return [file for file in self.files if file.role == "data"]

    @cached_property
    def _shards_of(self) -> dict[str | None, list[StoreFile]]:
        # Callers ask domain by domain, and a store may have hundreds.
        found: dict[str | None, list[StoreFile]] = {}
        for file in self._shards:
            found.setdefault(file.domain, []).append(file)
        return found

    def conversations(self, domain: str) -> int:
        """How many queries of a domain are more than one user's text: turns before the response, or tools."""
        return sum(file.conversations or 0 for file in self.data_files(domain))

    def with_tools(self, domain: str) -> int:
        """How many queries of a domain have tool definitions, or a turn or an answer with more in it than text."""
        return sum(file.with_tools or 0 for file in self.data_files(domain))

    def splits(self) -> list[str]:
        """Every split of the store, in the files' order."""
        return list(self._splits)

    @cached_property
    def _splits(self) -> dict[str, None]:
        return dict.fromkeys(file.split for file in self._shards if file.split)

    def to_json(self) -> str:
        """As one text that lists every file itself, with one key order.

        Unset counts, rewards and a release that are none, are left out.
        """
        files = tuple(file for file in self.files if file.role != LISTING)
        version = SCHEMA_VERSION if self.schema_version == LISTED_APART else self.schema_version
        return manifest_text(replace(self, files=files, schema_version=version))

    @classmethod
    def from_json(cls, text: str, store: object, listed: Listed | None = None) -> Manifest:
        """Read and validate.

        Args:
            listed: reads the list of files beside the manifest, where it names one.

        Raises:
            StoreError: not JSON, a field missing or of the wrong kind (also within one), a path outside
                the store, or a schema version newer than this package reads.
        """
        try:
            fields = strict_json(text)
        except RecursionError:
            raise StoreError(store, f"{MANIFEST} is nested too deep") from None
        except ValueError as error:
            raise StoreError(store, f"{MANIFEST} is not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise StoreError(store, f"{MANIFEST} is not a JSON object")
        version = _get(fields, "schema_version", int, store)
        if version > NEWEST_VERSION:
            raise StoreError(
                store,
                f"its schema version is {version}, this coig-p reads up to {NEWEST_VERSION}: pip install -U coig-p",
            )
        if version < 1:
            raise StoreError(store, f"{MANIFEST}: schema_version {version} does not exist")
        score_range = _get(fields, "score_range", list, store)
        if (
            len(score_range) != 2
            or not all(_is_number(bound) for bound in score_range)
            or score_range[0] >= score_range[1]
        ):
            raise StoreError(store, f"{MANIFEST}: score_range is not a lower and a higher number")
        threshold = _threshold(fields, "default_threshold", store)
        compared = fields.get("comparison_threshold")
        both_orders = fields.get("both_orders", False)
        if not isinstance(both_orders, bool):
            raise StoreError(store, f"{MANIFEST}: both_orders {both_orders!r} is not true or false")
        domains = tuple(_get(fields, "domains", list, store))
        for domain in domains:
            problem = domain_problem(domain) if isinstance(domain, str) else "not a string"
            if problem:
                raise StoreError(store, f"{MANIFEST}: domain {domain!r}: {problem}")
        if len(set(domains)) < len(domains):
            raise StoreError(store, f"{MANIFEST}: a domain is listed twice in domains")
        files = tuple(
            read_entry(at, entry, domains, store) for at, entry in enumerate(_get(fields, "files", list, store))
        )
        if version == LISTED_APART:
            files = (*_listed_apart(files, domains, store, listed), *files)
        paths = [file.path for file in files]
        twice = next((path for path, times in Counter(paths).items() if times > 1), None)
        if twice is not None:
            raise StoreError(store, f"{MANIFEST}: {twice!r} is listed twice in files")
        told = {name: fields.get(name, [] if isinstance(shape, list) else {}) for name, shape in _SHAPES.items()}
        for name, shape in _SHAPES.items():
            _check_shape(told[name], shape, name, store)
        for name in told["rewards"]:
            problem = rewards_problem(name)
            if problem:
                raise StoreError(store, f"{MANIFEST}: rewards {name[:80]!r}: {problem}")
        return cls(
            score_range=(float(score_range[0]), float(score_range[1])),
            default_threshold=threshold,
            comparison_threshold=None if compared is None else _threshold(fields, "comparison_threshold", store),
            both_orders=both_orders,
            tool=str(fields.get("tool", "")),
            schema_version=version,
            domains=domains,
            files=files,
            **told | {"sources": tuple(told["sources"])},
            sha256=hashlib.sha256(text.encode()).hexdigest(),
            place=str(store),
        )


def manifest_text(manifest: Manifest) -> str:
    """What is written for a manifest that lists these files, and no other, itself."""
    fields = asdict(manifest)
    del fields["sha256"], fields["place"]
    for name in ("rewards", "release"):
        if not fields[name]:
            del fields[name]
    compared = fields.pop("comparison_threshold")
    both = {"both_orders": True} if fields.pop("both_orders") else {}
    if compared is not None or both:  # beside the other; older packages leave it unread, and use the other for both
        at = list(fields).index("default_threshold") + 1
        entries = list(fields.items())
        own = {} if compared is None else {"comparison_threshold": _plain(compared)}
        fields = dict([*entries[:at], *own.items(), *both.items(), *entries[at:]])
    fields["files"] = [{key: value for key, value in file.items() if value is not None} for file in fields["files"]]
    fields["score_range"] = [_plain(bound) for bound in manifest.score_range]
    fields["default_threshold"] = _plain(manifest.default_threshold)
    return json.dumps(fields, ensure_ascii=False, indent=2) + "\n"


def read_manifest(path: Path) -> str:
    """The text of a manifest.json, which may come from anybody: see `coig_p.core.small_files`.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read, or is larger than any that this package writes.
    """
    return read_whole(path, LARGEST_MANIFEST).decode("utf-8")


def check_domain_name(manifest: Manifest, domain: str) -> None:
    """Raise UnknownNameError where the store has no such domain."""
    if domain not in manifest.domains:
        raise UnknownNameError("domain", domain, manifest.domains)


def check_split_name(manifest: Manifest, split: str) -> None:
    """Raise UnknownNameError where the store has no such split."""
    if split not in manifest.splits():
        raise UnknownNameError("split", split, manifest.splits())


def rewards_problem(name: str) -> str | None:
    """Why `name` cannot be what the rewards of a model are kept as, or None where it can."""
    if not _REWARDS.fullmatch(name) or name.endswith("."):
        return "made of a-z, 0-9, _, . and - alone, 64 at most, the first a letter or digit and the last no ."
    return None


def _plain(number: float) -> float:
    return int(number) if number == int(number) else number


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _get(
    fields: Mapping[str, Any], name: str, kind: Any, store: object, *, at: str = "", manifest: str = MANIFEST
) -> Any:
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        wanted = kind.__name__ if isinstance(kind, type) else "number"
        raise StoreError(store, f"{manifest}: {at}{name} is missing or not a {wanted}")
    return value


def _threshold(fields: Mapping[str, Any], name: str, store: object) -> float:
    threshold = _get(fields, name, (int, float), store)
    if not _is_number(threshold) or threshold < 0 or not on_grid(threshold):
        raise StoreError(store, f"{MANIFEST}: {name} {threshold} is not 0 or more with at most 4 decimals")
    return float(threshold)


def _check_shape(value: Any, shape: Any, at: str, store: object) -> None:
    """Raise StoreError where a value is not as _SHAPES says; `at` is where it stands in the manifest."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise StoreError(store, f"{MANIFEST}: {at} is missing or not a list")
        for index, one in enumerate(value):
            _check_shape(one, shape[0], f"{at}[{index}]", store)
    elif isinstance(shape, Mapping):
        if not isinstance(value, dict):
            raise StoreError(store, f"{MANIFEST}: {at} is missing or not an object")
        for name, inner in shape.items():
            key = name.removesuffix("?")
            for one in value if name == _EACH else [key]:
                if key == name or value.get(one) is not None:
                    _check_shape(value.get(one), inner, f"{at}.{one}", store)
    else:
        right = isinstance(value, str) if shape == _TEXT else _is_number(value)
        if not right or (shape == _COUNT and (not isinstance(value, int) or value < 0)):
            raise StoreError(store, f"{MANIFEST}: {at} is missing or not {shape}")


def _listed_apart(
    files: Sequence[StoreFile], domains: tuple[str, ...], store: object, listed: Listed | None
) -> Sequence[StoreFile]:
    """What the list of files beside a manifest holds."""
    lists = [file for file in files if file.role == LISTING]
    if len(lists) != 1:
        said = "none" if not lists else f"{len(lists)} of them"
        raise StoreError(store, f"{MANIFEST}: files names {said} of role {LISTING}, and one is what its version has")
    if lists[0].path != listing_name(lists[0].sha256):
        raise StoreError(store, f"{MANIFEST}: {lists[0].path!r} is not what a list of such a sha256 is called")
    if lists[0].rows is None:
        raise StoreError(store, f"{MANIFEST}: rows of {lists[0].path} is missing or not a int")
    if listed is None:
        raise StoreError(store, f"{MANIFEST}: its files are listed in {lists[0].path}, which is not at hand")
    return listed(lists[0], domains)


def listing_name(sha256: str) -> str:
    """What the list of files with a hash is called: lists that differ do not take the place of each other."""
    return f"files-{sha256[:16]}.parquet"


def read_entry(index: int, entry: Any, domains: tuple[str, ...], store: object, manifest: str = MANIFEST) -> StoreFile:
    """A file as an entry of a manifest, or of a list beside one, has it.

    Args:
        index: of the entry, for messages.
        manifest: what messages call the file that the entry stands in.

    Raises:
        StoreError: a field is missing, of the wrong kind, or cannot be.
    """
    at = f"files[{index}]."
    if not isinstance(entry, dict):
        raise StoreError(store, f"{manifest}: files[{index}] is not an object")
    get: Callable[..., Any] = lambda name, kind: _get(entry, name, kind, store, at=at, manifest=manifest)  # noqa: E731
    path, role, sha256 = get("path", str), get("role", str), get("sha256", str)
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ":" in path or {"..", "."} & set(path.split("/")):
        raise StoreError(store, f"{manifest}: {at}path {path!r} does not lie inside the store")
    if printable(path) != path or any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise StoreError(store, f"{manifest}: {at}path {path[:80]!r} cannot be a name of a file of a store")
    if any(part.rstrip(". ").lower() == ".git" for part in parts):  # as git itself refuses it
        raise StoreError(store, f"{manifest}: {at}path {path!r} is where git keeps its own files")
    if not _SHA256.fullmatch(sha256):
        raise StoreError(store, f"{manifest}: {at}sha256 of {path} is not 64 hexadecimal digits")
    counts = {}
    if role == "data":
        domain, split = get("domain", str), get("split", str)
        if domain not in domains:
            raise StoreError(store, f"{manifest}: {at}domain {domain!r} is not among the store's domains")
        if parts[:2] != ("data", domain) or len(parts) != 3 or not parts[2].startswith(f"{split}-"):
            raise StoreError(store, f"{manifest}: {at}path {path!r} is not data/{domain}/{split}-*.parquet")
        counts = {name: get(name, int) for name in ("rows", "queries", "responses", "scores")}
        counts |= {"comparisons": entry.get("comparisons", 0), "domain": domain, "split": split}
        counts |= {name: entry[name] for name in _SPECIAL if entry.get(name) is not None}
    elif role == "rewards":
        counts = {"rows": get("rows", int), "domain": get("domain", str), "split": get("split", str)}
        if parts[:1] != ("rewards",) or len(parts) != 4 or parts[2] != counts["domain"] or rewards_problem(parts[1]):
            raise StoreError(store, f"{manifest}: {at}path {path!r} is not rewards/<name>/{counts['domain']}/*.parquet")
    elif "rows" in entry:
        counts = {"rows": get("rows", int)}
        counts |= {name: get(name, str) for name in ("domain", "split") if name in entry}
    split = counts.get("split")
    if split is not None and not _SPLIT.fullmatch(split):
        raise StoreError(store, f"{manifest}: {at}split {split[:80]!r} is not a name of letters, digits, _ and dots")
    counts["bytes"] = get("bytes", int)
    for name, number in counts.items():
        if name not in ("domain", "split") and (type(number) is not int or number < 0):
            raise StoreError(store, f"{manifest}: {at}{name} is {number!r}, not a number of 0 or more")
    return StoreFile(path=path, role=role, sha256=sha256, **counts)
