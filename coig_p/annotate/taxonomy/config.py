"""The tables of a run's file that make it a TaP run: [taxonomy], [select] and [compare]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from coig_p.annotate.tables import read_table
from coig_p.annotate.taxonomy.prompts import KINDS, LANGUAGES, TapPrompts, read_prompts
from coig_p.annotate.taxonomy.reading import NINE, SELECTIONS, read_taxonomy, tap_selection
from coig_p.annotate.taxonomy.tree import Node, Selection, Subject
from coig_p.errors import UnknownNameError, UsageError

TABLES = ("taxonomy", "select", "compare")
NOT_BESIDE = ("queries", "sources", "translate", "judging", "domains", "prompts")
"""Tables that a TaP run has no use for: its queries come of the taxonomy, and its judges compare."""

TYPES, REFINE, PROMPT, COMPLETE, FEASIBLE, COMPARE = KINDS
"""What a TaP run asks for, beside responses, as the ledger knows it."""

EMBED = "embed"
"""Vectors of responses, where an endpoint embeds."""

CHECKS = (FEASIBLE, COMPARE)
"""Those of them that are judgements, and asked with judge_parameters."""

PLAIN = "plain"
"""The domain of prompts that are asked for without a taxonomy."""

_EMBEDDINGS = ("ngrams", "sentence-transformers:NAME")
_EMBEDS: dict[str, type] = {"endpoint": str, "inputs": int, "bytes": int, "dimensions": int, "encoding": str}
_ENCODINGS = ("float", "base64")
_NAMED: dict[type, str] = {str: "text", int: "a whole number of 1 or more"}
_INPUTS = 32  # texts of a request, where nobody says


class Does(Protocol):
    """An endpoint by what it does."""

    @property
    def name(self) -> str:
        """By which the run knows it."""

    @property
    def writes(self) -> bool:
        """Types and prompts."""

    @property
    def generates(self) -> bool:
        """Responses."""

    @property
    def judges(self) -> bool:
        """Comparisons."""

    @property
    def batch(self) -> bool:
        """Whether it is asked through a batch API."""

    @property
    def structured(self) -> bool | str:
        """Whether it has structured output."""


@dataclass(frozen=True)
class TaxonomyConfig:
    """Which subjects there are, and how queries are made of them (TaP, sections 3.1 and 3.2).

    Attributes:
        file: of the taxonomy; None: the catalogue that comes along.
        select: a named selection of that one.
        only, drop, keep: codes, as `Selection` has them.
        languages: codes of the languages that TaP's cut keeps; () with another selection.
        plain: in place of a taxonomy: so many prompts of each writer, asked for with no subject and no type, to measure
            beside those of a taxonomy; 0: none.
        rounds: of types.
        dry: a subject whose last round brought a smaller share of new types than this gets no further round.
        near_duplicates: smallest Jaccard similarity of the 2-grams of characters of two types' names within a subject;
            0: equal ones alone.
        regenerations: of a prompt that was found not feasible.
        ask_infeasible: candidates that were found not feasible are queries of their own that models are asked, too.
        language: of the package's prompts.
        prompts: a folder of templates in place of some or all of them.
        checker: the endpoint that says whether a prompt is feasible; None: its writer.
    """

    file: str | None = None
    select: str | None = None
    only: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    languages: tuple[str, ...] | None = None
    plain: int = 0
    rounds: int = 3
    dry: float = 0.1
    near_duplicates: float = 0.8
    regenerations: int = 3
    ask_infeasible: bool = False
    language: str = "zh"
    prompts: str | None = None
    checker: str | None = None

    def __post_init__(self) -> None:
        if self.select is not None and self.file is not None:
            raise UsageError(f"select = {self.select!r} is of the catalogue that comes along: leave file or select out")
        if self.select is not None and self.select not in SELECTIONS:
            raise UnknownNameError("select", self.select, SELECTIONS)
        if self.languages is not None and self.select != "tap":
            raise UsageError('languages are of TaP\'s cut: set select = "tap", or say only, drop and keep')
        named = [name for name in ("file", "select", "only", "drop", "keep") if getattr(self, name)]
        if self.plain and named:
            raise UsageError(f"plain = {self.plain} is of a run without a taxonomy: leave out {' and '.join(named)}")
        for name, low, high in (("rounds", 1, 20), ("regenerations", 0, 20), ("plain", 0, 1_000_000)):
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} = {getattr(self, name)}: use {low} to {high}")
        for name in ("dry", "near_duplicates"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} = {getattr(self, name):g}: use a share from 0 to 1")
        if self.language not in LANGUAGES:
            raise UnknownNameError("language", self.language, LANGUAGES)

    def selection(self) -> Selection:
        """Which subjects are taken."""
        named = Selection()
        if self.select == "tap":
            named = tap_selection(NINE if self.languages is None else self.languages)
        return Selection(self.only, (*named.drop, *self.drop), (*named.keep, *self.keep))


@dataclass(frozen=True)
class SelectConfig:
    """Which responses to a query are compared (TaP, section 3.3).

    Attributes:
        clusters: how many responses stay.
        anchor: the model whose response stays wherever its cluster has it; None: always the nearest to the centroid.
        embeddings: "ngrams", "sentence-transformers:NAME", or a table: `endpoint`, the one that
            embeds; `inputs` and `bytes`, the most texts of a request and the most bytes of them, of which a token has
            one at least; `dimensions` and `encoding` ("float" or "base64") are sent along.
        all_responses: the store keeps the others, too, without comparisons.
    """

    clusters: int = 5
    anchor: str | None = None
    embeddings: str | Mapping[str, Any] = "ngrams"
    all_responses: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.clusters <= 100:
            raise UsageError(f"clusters = {self.clusters}: use 2 to 100")
        if isinstance(self.embeddings, str):
            kind, _, name = self.embeddings.partition(":")
            if self.embeddings != "ngrams" and (kind != "sentence-transformers" or not name.strip()):
                raise UsageError(f"embeddings = {self.embeddings!r}: use {' or '.join(_EMBEDDINGS)}, or a table")
            return
        for key, value in self.embeddings.items():
            if key not in _EMBEDS:
                raise UnknownNameError("key", f"embeddings.{key}", [f"embeddings.{one}" for one in _EMBEDS])
            if type(value) is not _EMBEDS[key]:
                raise UsageError(f"embeddings.{key} = {value!r}: use {_NAMED[_EMBEDS[key]]}")
            if value == "" or (isinstance(value, int) and value < 1):
                raise UsageError(f"embeddings.{key} = {value!r}: use {_NAMED[type(value)]}")
        if "endpoint" not in self.embeddings:
            raise UsageError("embeddings.endpoint is missing")
        if self.embeddings.get("encoding", "float") not in _ENCODINGS:
            raise UnknownNameError("embeddings.encoding", str(self.embeddings["encoding"]), _ENCODINGS)

    @property
    def endpoint(self) -> str | None:
        """The endpoint that embeds, where one does."""
        return None if isinstance(self.embeddings, str) else str(self.embeddings["endpoint"])

    @property
    def inputs(self) -> int:
        """How many texts a request for vectors has at most."""
        return _INPUTS if isinstance(self.embeddings, str) else self.embeddings.get("inputs", _INPUTS)

    @property
    def bytes(self) -> int | None:
        """How many bytes these have together at most."""
        return None if isinstance(self.embeddings, str) else self.embeddings.get("bytes")

    @property
    def embed_parameters(self) -> dict[str, Any]:
        """What is sent along with a request for vectors."""
        told = {} if isinstance(self.embeddings, str) else self.embeddings
        names = {"dimensions": "dimensions", "encoding": "encoding_format"}
        return {name: told[key] for key, name in names.items() if key in told}


@dataclass(frozen=True)
class CompareConfig:
    """Who compares which responses (TaP, section 3.4).

    Attributes:
        both_orders: each pair in both orders.
        own_family: judges also judge responses of their own family.
        least_judges: a run with fewer judges is an error.
        asks: how often a request of any stage whose answer is unusable is asked in all.
    """

    both_orders: bool = True
    own_family: bool = True
    least_judges: int = 5
    asks: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.asks <= 20:
            raise UsageError(f"asks = {self.asks}: use 1 to 20")
        if self.least_judges < 1:
            raise UsageError(f"least_judges = {self.least_judges}: use 1 or more")


@dataclass(frozen=True)
class TapConfig:
    """What a TaP run has beside what every run has.

    Attributes:
        subjects: that are taken, in the taxonomy's order.
        levels: of the taxonomy, the top first; "" where nobody says.
        texts: what is asked with, and read by.
    """

    taxonomy: TaxonomyConfig
    select: SelectConfig
    compare: CompareConfig
    subjects: tuple[Subject, ...]
    levels: tuple[str, ...]
    texts: TapPrompts

    @property
    def templates(self) -> dict[str, tuple[str, ...]]:
        """For each kind of request those that it is made with."""
        return {kind: self.texts.texts(kind, plain=bool(self.taxonomy.plain)) for kind in KINDS}

    @property
    def domains(self) -> tuple[str, ...]:
        """Of the subjects, each once."""
        return tuple(dict.fromkeys(subject.domain for subject in self.subjects))


def read_tap(table: Mapping[str, Any], beside: Path) -> TapConfig | None:
    """The tables of a TaP run; None where a run's file has no [taxonomy].

    Raises:
        UsageError: a table that a TaP run cannot have, or that only a TaP run can; a taxonomy that cannot be read.
        DataError: a taxonomy that is no tree.
    """
    if "taxonomy" not in table:
        for name in TABLES[1:]:
            if name in table:
                raise UsageError(f"[{name}] is of a TaP run: add a table [taxonomy], or leave it out")
        return None
    others = [name for name in NOT_BESIDE if name in table]
    if others:
        named = ", ".join(f"[{name}]" for name in others)
        raise UsageError(f"[taxonomy] makes the queries of a TaP run, which has no {named}: leave one or the other out")
    taxonomy = read_table(TaxonomyConfig, table["taxonomy"], "taxonomy")
    subjects, levels = _subjects(taxonomy, beside)
    return TapConfig(
        taxonomy,
        read_table(SelectConfig, table.get("select", {}), "select"),
        read_table(CompareConfig, table.get("compare", {}), "compare"),
        subjects,
        levels,
        read_prompts(taxonomy.language, None if taxonomy.prompts is None else beside / taxonomy.prompts),
    )


def _subjects(taxonomy: TaxonomyConfig, beside: Path) -> tuple[tuple[Subject, ...], tuple[str, ...]]:
    """The subjects of a run and the levels of their tree; without a taxonomy the numbers of its prompts stand in."""
    if taxonomy.plain:
        top = Node(PLAIN, PLAIN)
        numbers = range(1, taxonomy.plain + 1)
        return tuple(Subject((top, Node(f"{PLAIN}-{at}", str(at))), PLAIN) for at in numbers), ()
    tree = read_taxonomy(None if taxonomy.file is None else beside / taxonomy.file)
    try:
        subjects = tuple(tree.subjects(taxonomy.selection()))
    except UsageError as error:
        raise UsageError(f"taxonomy: {error}") from None
    if not subjects:
        raise UsageError("taxonomy: only, drop and keep leave no subject")
    return subjects, tree.levels


def check_endpoints(tap: TapConfig, endpoints: Sequence[Does]) -> None:
    """Raise UsageError where a TaP run cannot work with its endpoints."""
    names = [endpoint.name for endpoint in endpoints]
    used = {"taxonomy.checker": tap.taxonomy.checker, "select.embeddings.endpoint": tap.select.endpoint}
    for where, name in used.items():
        if name is not None and name not in names:
            raise UnknownNameError(where, name, names)
    generates = [endpoint.name for endpoint in endpoints if endpoint.generates]
    if tap.select.anchor is not None and tap.select.anchor not in generates:
        raise UnknownNameError("select.anchor", tap.select.anchor, generates)
    for endpoint in endpoints:
        if not (endpoint.writes or endpoint.generates or endpoint.judges or endpoint.name in used.values()):
            raise UsageError(
                f"endpoint {endpoint.name!r} does nothing: set writes = true, generates = true or judges = true"
            )
        if endpoint.batch and endpoint.name == tap.select.endpoint:
            raise UsageError(f"endpoint {endpoint.name!r}: batch = true: vectors are asked for online. Leave it out")
        if endpoint.structured is not False:
            raise UsageError(f"endpoint {endpoint.name!r}: structured is of judges that score; a TaP run compares")
    for what in ("writes", "generates"):
        if not any(getattr(endpoint, what) for endpoint in endpoints):
            raise UsageError(f"no endpoint {what}: set {what} = true for one or more")
    judges = sum(endpoint.judges for endpoint in endpoints)
    if judges < tap.compare.least_judges:
        raise UsageError(
            f"compare.least_judges = {tap.compare.least_judges}, and the run has {judges}: set judges = true for more "
            "endpoints, or set least_judges"
        )


def checkers(tap: TapConfig, endpoints: Sequence[Does]) -> list[str]:
    """Who says whether prompts are feasible, each once."""
    if tap.taxonomy.checker is not None:
        return [tap.taxonomy.checker]
    return [endpoint.name for endpoint in endpoints if endpoint.writes]
