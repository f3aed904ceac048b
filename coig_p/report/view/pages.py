"""Pages as functions of an index and an address: what the templates are given, and nothing that they must compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pyarrow as pa
import pyarrow.compute as pc

from coig_p.core.listing import join_names, split_names
from coig_p.core.text import printable
from coig_p.errors import DataError, UnknownNameError, UsageError
from coig_p.pairs.config import STRATEGIES, PairConfig, check_judges
from coig_p.report.one_query import OneQuery, Place, place_of, read_query
from coig_p.report.sections import LANGUAGES
from coig_p.report.templating import environment
from coig_p.report.view.difference import differences
from coig_p.report.view.index import Index
from coig_p.report.view.judged import judges_tables
from coig_p.report.view.selecting import ORDERS, Look, found_places, listed
from coig_p.report.view.words import words
from coig_p.store.store import CALIBRATION
from coig_p.validation.findings import tally

_NUMBERS = {"threshold": float, "comparison_threshold": float, "min_judges": int}
_FLAGS = ("strict", "same_judges")
_YES, _NO = ("1", "true", "on", "yes"), ("0", "false", "off", "no")
_OPTIONS = (*_NUMBERS, "strategy", *_FLAGS, "both_orders", "judges", "calibrate", "agree_with", "min_reward_margin")
MOST_PAIRS = 200  # of one query that a page lists
MOST_RESPONSES = 200  # of one query that are on a page
_MOST_APART = 10  # pairs on the page of judges
_FIRST = 20  # queries of a list on the page that compares


@dataclass(frozen=True)
class View:
    """What is looked at.

    Attributes:
        findings: of a check of the store; None where none was named.
        root: what stands before every path: /TOKEN on a server.
        called: the store's name, for people; "" for that of its folder.
    """

    index: Index
    findings: pa.Table | None = None
    root: str = ""
    called: str = ""

    @property
    def name(self) -> str:
        """Of the store, for people."""
        return self.called or self.index.store.path.resolve().name

    @property
    def calibration(self) -> Path:
        """Where the store's calibration file lies, if it has one."""
        return self.index.store.path / CALIBRATION


def page(view: View, path: str, address: Mapping[str, str]) -> str | None:
    """The HTML of a page; None where there is none at this path.

    Args:
        path: without `view.root`, for instance "queries".
        address: what stands behind the question mark.

    Raises:
        CoigPError: what is asked for cannot be shown; the message is for people.
    """
    if path not in _PAGES:
        return None
    template, context = _PAGES[path]
    return render(template, view, path, address, context(view, address))


def render(template: str, view: View, path: str, address: Mapping[str, str], context: Mapping[str, Any]) -> str:
    """A template, with what all of them are given."""
    language = address.get("lang", "en")
    language = language if language in LANGUAGES else "en"

    def link(to: str, /, **changes: Any) -> str:
        """The address of a page, with what is always carried along, and what is given; None leaves out."""
        kept = {"lang": language if language != "en" else None} | changes
        query = urlencode({name: value for name, value in kept.items() if value not in (None, "")})
        return f"{view.root}/{to}" + (f"?{query}" if query else "")

    other = LANGUAGES[1 - LANGUAGES.index(language)]
    given = {
        "w": words(language),
        "lang": language,
        "path": path,
        "link": link,
        "root": view.root,
        "store": view.name,
        "address": dict(address),
        "other_language": f"{view.root}/{path}?{urlencode({**address, 'lang': other})}",
        "domains": list(view.index.statistics["domains"]),
    }
    return str(environment().get_template(template).render(**given, **context))


def error_page(view: View, address: Mapping[str, str], message: str) -> str:
    """A page that says what cannot be shown."""
    return render("error.html.jinja", view, "", address, {"message": message})


# The pages.


def _overview(view: View, address: Mapping[str, str]) -> dict[str, Any]:
    statistics, sweep = view.index.statistics, view.index.sweep
    rows = [
        {
            "threshold": row["threshold"],
            "pairs": row["pairs"],
            "queries": row["queries"],
            "kept": row["queries_kept"],
            "agrees": row["second_judge"]["agrees"]["share"],
        }
        for row in sweep["thresholds"]
    ]
    return {
        "statistics": statistics,
        "sweep": rows,
        "default_threshold": sweep["default_threshold"],
        "models": by_win_rate(statistics["total"]["models"]),
        "plots": list(view.index.plots["en"]),
        "captions": view.index.captions["zh" if address.get("lang") == "zh" else "en"],
        "findings": findings_by_rule(view.findings),
        "store_path": str(view.index.store.path),
    }


def findings_by_rule(findings: pa.Table | None) -> list[dict[str, Any]] | None:
    """Rule, severity and number, errors first and the most first; None without a check."""
    if findings is None:
        return None
    counts = tally(findings, "rule", "severity")
    order = {"error": 0, "warning": 1}
    rows = [{"rule": rule, "severity": severity, "number": number} for (rule, severity), number in counts.items()]
    return sorted(rows, key=lambda row: (order.get(row["severity"], 2), -row["number"], row["rule"]))


def check_findings(findings: pa.Table | None, queries: pa.Table, report: Path) -> None:
    """Raise DataError where findings are of queries that the store has not: those of another store."""
    if findings is None:
        return
    named = findings.column("query_id").drop_null()
    other = named.filter(pc.invert(pc.is_in(named, queries.column("query_id").combine_chunks())))
    if len(other):
        name = printable(str(report))
        raise DataError(
            f"{name}: {len(other):,} of {len(named):,} findings are of queries that this store has not, for instance "
            f"{printable(repr(other[0].as_py()))}. It is the report of another store: make this one's with: "
            "coigp check STORE --report DIR"
        )


def _look(view: View, address: Mapping[str, str]) -> Look:
    """What an address looks for; UnknownNameError where it names what the store has not, shown or as it is."""
    look, counted = Look.of(address), view.index.statistics
    known = {
        "domain": counted["domains"],
        "source": view.index.queries.column("source").unique().drop_null().to_pylist() if look.source else (),
        "model": counted["total"]["models"],
        "judge": {*counted["total"]["judges"], *view.index.store.manifest.judges},
    }
    for option in ("domain", "source", "model", "model_too", "judge", "judge_too"):
        name, kind = getattr(look, option), option.removesuffix("_too")
        shown = name.replace("\r\n", "\n")  # as forms send line breaks
        if name and name not in known[kind] and shown not in map(printable, known[kind]):
            raise UnknownNameError(kind, name, known[kind])
    return look


def _queries(view: View, address: Mapping[str, str]) -> dict[str, Any]:
    look = _look(view, address)
    found = listed(view.index.queries, look, view.findings)
    kept = {name: value for name, value in address.items() if name in Look.__dataclass_fields__ and value}
    statistics = view.index.statistics["total"]
    rules = [] if view.findings is None else [row["rule"] for row in findings_by_rule(view.findings) or []]
    return {
        "look": look,
        "found": found,
        "kept": kept,
        "orders": list(ORDERS),
        "sources": _values(view.index.queries.column("source")),
        "models": sorted(statistics["models"]),
        "judges": sorted(statistics["judges"]),
        "rules": rules,
    }


_MOST_VALUES = 200


def _values(column: pa.ChunkedArray) -> list[str]:
    """The values of a column, the most frequent first."""
    counts = pc.value_counts(column.drop_null()).to_pylist()
    return [one["values"] for one in sorted(counts, key=lambda one: (-one["counts"], one["values"]))][:_MOST_VALUES]


def config_of(address: Mapping[str, str], prefix: str = "", calibration: Path | None = None) -> PairConfig:
    """The pair options that an address says; UsageError where they cannot be.

    Args:
        calibration: the store's own file; an address names no other.
    """
    given: dict[str, Any] = {}
    numbers = dict(_NUMBERS)
    if address.get(f"{prefix}agree_with", "").strip():
        given["agree_with"] = address[f"{prefix}agree_with"].strip()
        numbers["min_reward_margin"] = float
    for option, kind in numbers.items():
        number = address.get(f"{prefix}{option}", "").strip()
        if number:
            try:
                given[option] = kind(number)
            except ValueError:
                raise UsageError(f"{option}={number!r}: use a number") from None
    if address.get(f"{prefix}strategy", "").strip():
        given["strategy"] = address[f"{prefix}strategy"].strip()
    for option in (*_FLAGS, "both_orders"):
        said = address.get(f"{prefix}{option}", "").strip().lower()
        if said not in ("", *_YES, *_NO):
            raise UsageError(f"{option}={said!r}: use 1 or 0")
        if said in _YES or (said and option == "both_orders"):  # which stores may ask for by themselves
            given[option] = said in _YES
    if address.get(f"{prefix}calibrate"):
        if calibration is None or not calibration.is_file():
            raise UsageError(
                f"calibrate: there is no {CALIBRATION} beside the store. Fit one: coigp judges --calibrate"
            )
        given["calibrate"] = calibration
    judges = tuple(filter(None, split_names(address.get(f"{prefix}judges", ""))))
    if judges:
        given["judges"] = judges
    return PairConfig(**given)


def _known(view: View, address: Mapping[str, str], prefix: str = "") -> PairConfig:
    """What an address asks of pairs, judges those that a form shows like this.

    Raises:
        UnknownNameError: it names a judge that the store has not.
    """
    config, known = config_of(address, prefix, view.calibration), view.index.store.manifest.judges
    if config.judges is not None:
        sent = {name: name.replace("\r\n", "\n") for name in config.judges}  # as forms send line breaks
        named = [
            [name] if name in known else [one for one in known if printable(one) == sent[name]] or [name]
            for name in config.judges
        ]
        config = replace(config, judges=tuple(one for some in named for one in some))
    check_judges(config, known)
    return config


def _form(view: View) -> dict[str, Any]:
    """What the form of pair options needs."""
    return {
        "judges": sorted(view.index.statistics["total"]["judges"]),
        "strategies": STRATEGIES,
        "pair_options": _OPTIONS,
        "calibration": view.calibration.is_file(),
        "rewards": sorted(view.index.store.manifest.rewards),
        "has_comparisons": any(file.comparisons for file in view.index.store.data_files()),
    }


def _said(config: PairConfig) -> dict[str, Any]:
    """A config as an address says it; what is not said is None."""
    said: dict[str, Any] = {name: getattr(config, name) for name in (*_NUMBERS, "strategy")}
    said |= {name: "1" if getattr(config, name) else None for name in (*_FLAGS, "calibrate")}
    return said | {
        "judges": join_names(config.judges or ()),
        "min_judges": config.min_judges if config.min_judges > 1 else None,
        "both_orders": None if config.both_orders is None else str(int(config.both_orders)),
        "agree_with": config.agree_with,
        "min_reward_margin": config.min_reward_margin or None,
    }


def _query(view: View, address: Mapping[str, str]) -> dict[str, Any]:
    store = view.index.store
    config = _known(view, address)
    query_id = address.get("id") or address.get("query_id")
    if query_id:
        place = place_of(store, query_id)
    else:
        place = _place(view, address)
    found = read_query(store, place, config, most_pairs=MOST_PAIRS)
    begin = _first_shown(address, len(found.responses))
    # Neighbours in the list that the reader came from, else in the store.
    look = _look(view, address)
    before, after = neighbours(view, look, place)
    kept = {name: address[name] for name in (*Look.__dataclass_fields__, *_OPTIONS) if address.get(name)}
    return {
        "found": found,
        "marked": marked(view.findings, found),
        "kept": kept,
        "begin": begin,
        "end": begin + MOST_RESPONSES,
        "step": MOST_RESPONSES,
        "before": before,
        "after": after,
        "config": found.config,
        "default_threshold": config.store_threshold(store.manifest),
        **_form(view),
        "difference": _difference(found, address),
    }


def _place(view: View, address: Mapping[str, str]) -> Place:
    """The place that an address names by numbers; UsageError, in these numbers, where no query is there."""
    try:
        place = Place(int(address.get("file", "0")), int(address.get("row", "0")))
    except ValueError:
        raise UsageError("file and row: use whole numbers") from None
    files = view.index.store.data_files()
    if not 0 <= place.file < len(files):
        raise UsageError(f"file={place.file}: {_numbers_of(len(files), 'shard')}")
    rows = files[place.file].rows or 0
    if not 0 <= place.row < rows:
        raise UsageError(f"row={place.row}: {_numbers_of(rows, 'row')} of file={place.file}")
    return place


def _numbers_of(number: int, what: str) -> str:
    return (
        f"there is none. Use 0 to {number - 1}, the {what}s" if number > 1 else f"there is none. Use 0, the one {what}"
    )


def _first_shown(address: Mapping[str, str], responses: int) -> int:
    """The place of the first response on a page, of which each has MOST_RESPONSES."""
    try:
        at = int(address.get("from", "1")) - 1
    except ValueError:
        at = 0
    return max(0, min(at, responses - 1)) // MOST_RESPONSES * MOST_RESPONSES


def neighbours(view: View, look: Look, place: Place) -> tuple[Place | None, Place | None]:
    """The queries before and after one among those that are looked for."""
    queries = view.index.queries
    places = found_places(queries, look, view.findings)
    file, row = queries.column("file").to_numpy()[places], queries.column("row").to_numpy()[places]
    own = ((file == place.file) & (row == place.row)).nonzero()[0]
    if not len(own):
        return None, None
    at = int(own[0])
    ends = (at - 1, at + 1)
    before, after = (Place(int(file[one]), int(row[one])) if 0 <= one < len(places) else None for one in ends)
    return before, after


def _difference(found: OneQuery, address: Mapping[str, str]) -> dict[str, Any] | None:
    """Two responses side by side, where the address names two."""
    given = [address.get(name, "").strip() for name in ("first", "second")]
    if not any(given):
        return None
    number = len(found.responses)
    try:
        first, second = map(int, given)
    except ValueError:
        first = second = -1
    if not (0 <= first < number and 0 <= second < number) or first == second:
        said = "&".join(f"{name}={value}" for name, value in zip(("first", "second"), given, strict=True))
        raise UsageError(f"{said}: name two responses of this query, from 0 to {number - 1}")
    one, two = (printable(found.responses[at]["text"] or "") for at in (first, second))
    pairs = [pair for pair in found.pairs if {pair.chosen, pair.rejected} == {first, second}]
    return {"first": first, "second": second, "found": differences(one, two), "pairs": pairs}


@dataclass(frozen=True)
class Piece:
    """A stretch of a text; `rules` found something where it begins."""

    text: str
    rules: tuple[str, ...] = ()


def marked(findings: pa.Table | None, found: OneQuery) -> dict[str, Any]:
    """Findings of a query: of the whole, and each text cut where one begins, by the path of its field."""
    if findings is None:
        return {"whole": [], "texts": {}}
    own = findings.filter(
        pc.and_(
            pc.equal(findings.column("query_id"), found.raw["query_id"]),
            pc.equal(findings.column("domain"), found.raw["domain"]),
        )
    ).to_pylist()
    places: dict[str, dict[int, list[str]]] = {}
    whole = []
    for one in own:
        if one["field"] is not None and one["offset"] is not None:
            places.setdefault(one["field"], {}).setdefault(one["offset"], []).append(one["rule"])
        whole.append(
            {"rule": one["rule"], "severity": one["severity"], "field": one["field"], "excerpt": one["excerpt"]}
        )
    texts = {field: cut(_text_at(found, field), at) for field, at in places.items()}
    return {"whole": whole, "texts": texts}


def cut(text: str, places: Mapping[int, Sequence[str]]) -> list[Piece]:
    """A text in pieces that, joined, are the text; one begins wherever a rule found something."""
    starts = sorted(at for at in places if 0 <= at < len(text))
    ends = [*starts[1:], len(text)] if starts else []
    pieces = [Piece(text[: starts[0]] if starts else text)]
    for at, end in zip(starts, ends, strict=True):
        pieces += [Piece(text[at : at + 1], tuple(sorted(set(places[at])))), Piece(text[at + 1 : end])]
    return [piece for piece in pieces if piece.text or piece.rules]


def _text_at(found: OneQuery, field: str) -> str:
    if field == "query":
        return found.raw["query"] or ""
    kind, _, rest = field.partition("[")
    number, _, name = rest.partition("].")
    try:
        return str(found.raw[kind][int(number)][name] or "")
    except (KeyError, IndexError, ValueError, TypeError):
        return ""


def _judges(view: View, address: Mapping[str, str]) -> dict[str, Any]:
    judges = view.index.statistics["total"]["judges"]
    return {
        "statistics": judges,
        "names": sorted(judges),
        "matrices": view.index.matrices,
        "apart": view.index.apart.of()[:_MOST_APART],
        "examined": judges_tables(view.index.store, "zh" if address.get("lang") == "zh" else "en"),
    }


def _apart(view: View, address: Mapping[str, str]) -> dict[str, Any]:
    judges = sorted(view.index.statistics["total"]["judges"])
    look = _look(view, address)
    named = [
        next((one for one in judges if name in (one, printable(one))), name) for name in (look.judge, look.judge_too)
    ]
    if named[0] and named[0] == named[1]:
        raise UsageError(f"judge and judge_too are both {named[0]!r}: name two judges, or one")
    found = view.index.apart.of(*(name or None for name in named))
    return {"look": look, "judges": judges, "apart": found, "most": view.index.apart.most}


def _models(view: View, address: Mapping[str, str]) -> dict[str, Any]:
    models = view.index.statistics["total"]["models"]
    names = [name for name, _ in by_win_rate(models)]
    return {"statistics": models, "names": names, "matrices": view.index.matrices}


def by_win_rate(models: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Models with what is known of them, who wins most first; last those that stand in no pair."""

    def order(of: tuple[str, Any]) -> tuple[bool, float, str]:
        share = of[1]["win_rate"]["share"]
        return share is None, -(share or 0), of[0]

    return sorted(models.items(), key=order)


def _compare(view: View, address: Mapping[str, str]) -> dict[str, Any]:
    from coig_p.report.view.compared import compare_configs

    manifest = view.index.store.manifest
    configs = [_known(view, address, prefix) for prefix in ("a_", "b_")]
    found = None
    if any(address.get(f"{prefix}{name}") for prefix in ("a_", "b_") for name in _OPTIONS):
        found = compare_configs(view.index.store, configs[0], configs[1], first=_FIRST)
    return {
        "configs": [config.with_defaults(manifest) for config in configs],
        "found": found,
        "asked": _said(configs[1].with_defaults(manifest)),
        **_form(view),
        "default_threshold": configs[0].store_threshold(manifest),
        "kept": {name: value for name, value in address.items() if name[:2] in ("a_", "b_")},
    }


_PAGES = {
    "": ("overview.html.jinja", _overview),
    "queries": ("queries.html.jinja", _queries),
    "query": ("query.html.jinja", _query),
    "judges": ("judges.html.jinja", _judges),
    "apart": ("apart.html.jinja", _apart),
    "models": ("models.html.jinja", _models),
    "compare": ("compare.html.jinja", _compare),
}
