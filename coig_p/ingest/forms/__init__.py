"""The shapes that upstream rows come in, each turned into the nested shape of a store.

    nested         a query with its responses and their scores
    flat           one response, or one score of a response, a row
    kto            one answer with a label, good or bad
    attributes     one response with HelpSteer's scores, a column each
    ultrafeedback  instruction, completions with annotations per aspect
    rated          a list of answers with a rating each
    ranked         a list of answers with a rank each, the lower the better
    best-first     a list of answers, the first better than the others: only where --format says so
    pairwise       two responses side by side, scored or with a verdict (TaP, section 3.3)
    pairs          released pairs: prompt, chosen, rejected; as text, messages or transcripts

Values are moved, not checked: what is wrong with one is said by `coig_p.ingest.intake`, under the
name that the upstream row has for it. To add a shape, write a module like `kto`, name its function
in `FORMS` and what it needs in `_fitting`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from coig_p.errors import UnknownNameError
from coig_p.ingest.fields import ALIASES, Fields, FormConfig, Shaped, empty, known_names, unfolded
from coig_p.ingest.forms import attributes as helpsteer
from coig_p.ingest.forms import kto as labelled
from coig_p.ingest.forms.attributes import ATTRIBUTES, attributes
from coig_p.ingest.forms.flat import flat
from coig_p.ingest.forms.kto import kto
from coig_p.ingest.forms.lists import LISTS, annotated, best_first, form_of, ranked, rated, ultrafeedback
from coig_p.ingest.forms.nested import nested
from coig_p.ingest.forms.pairs import SWIFT, pairs
from coig_p.ingest.forms.pairwise import find_layout, holds_answers, pairwise
from coig_p.ingest.forms.sides import column_layout
from coig_p.ingest.values import Rejected, shown
from coig_p.store.conversations import CALLS

FORMS: dict[str, Callable[[Fields], Shaped]] = {
    "nested": nested,
    "flat": flat,
    "kto": kto,
    "attributes": attributes,
    "ultrafeedback": ultrafeedback,
    "rated": rated,
    "ranked": ranked,
    "best-first": best_first,
    "pairwise": pairwise,
    "pairs": pairs,
}

SCORE_RANGES: Mapping[str, tuple[float, float]] = {"kto": labelled.RANGE, "attributes": helpsteer.RANGE}
"""The range of the scores that a form gives, where the form itself says it."""

NO_FORM = "unknown"
"""What `detect` says of a row that no form fits."""


class _Seen:
    """Which of our fields a row has filled, and of what kind: "str", "dict", "list of dict", ..."""

    def __init__(self, kinds: tuple[tuple[str, str], ...], mapped: tuple[tuple[str, str], ...]) -> None:
        self.kinds, self.mapped = dict(kinds), dict(mapped)
        self.known = known_names(tuple(self.kinds), mapped)

    def kind(self, ours: str) -> str:
        """The kind of the field, "" where it is not there."""
        return self.kinds[self.known[ours][0]] if ours in self.known else ""

    def __call__(self, ours: str) -> bool:
        return ours in self.known


def _fitting(row: _Seen) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """Every form, the more telling first, with what it needs and whether the row has it."""
    asked = any(map(row, ("query", "messages", "input", "context", "history")))
    conversation = row.kind("messages") in ("list of dict", "list of list", "str")
    chosen, rejected = (row.kind(side) in _ANSWERS for side in ("chosen", "rejected"))
    beside = rejected and (conversation or ("response" in row.kinds and SWIFT in row.kinds))
    whole = asked or (chosen and rejected)  # the answers may hold the prompt
    sided = column_layout(tuple(row.kinds), frozenset(row.kinds), tuple(row.mapped.items())) is not None
    # Three of the five: one alone may be anybody's, and one may be missing.
    scored = sum(name in row.kinds for name in ATTRIBUTES) >= 3
    answered = row("text") or conversation or CALLS in row.kinds
    alone = not (chosen or rejected)  # one answer of a pair is no row of one answer
    listed = row.kind("completions").startswith("list") and not (chosen and rejected)
    yield "nested", [("responses", row.kind("responses") in ("list", "list of dict"))]
    yield "ultrafeedback", [("completions", row.kind("completions") == "list of dict" or listed)]
    yield "pairs", [("rejected", rejected), ("chosen", chosen or beside), ("a prompt", whole)]
    yield "pairwise", [("response_a and response_b", sided)]
    yield "attributes", [(" and ".join(ATTRIBUTES), scored), ("text", answered), ("a prompt", asked)]
    yield (
        "kto",
        [
            ("label", row("label") and ("label" in row.mapped or not row("score")) and alone),
            ("text", answered),
            ("a prompt", asked),
        ],
    )
    yield "flat", [("text", answered and alone), ("a prompt", asked)]


_ANSWERS = ("str", "dict", "list of str", "list of dict", "list of list")
_OF_A_SCORE = ("query_id", "text", "model", "sample", "judge", "dimension", "score", "rationale", "domain", "source")


@lru_cache(maxsize=4096)
def _detected(kinds: tuple[tuple[str, str], ...], mapped: tuple[tuple[str, str], ...], columns: tuple[str, ...]) -> str:
    row = _Seen(kinds, mapped)
    for form, needs in _fitting(row):
        if all(there for _, there in needs):
            return form
    return "flat" if _is_keyed(row, columns) else NO_FORM


def _is_keyed(row: _Seen, columns: tuple[str, ...]) -> bool:
    """Whether a row is a score for an answer that stands elsewhere: a key and nothing else that could be a prompt."""
    if not (row("score") or any(column in row.kinds for column in columns)):
        return False
    if (row("query_id") or row("query")) and not row("text"):
        if row("model") or row("sample"):
            return True
        if not row("query_id"):
            return False
        # Of a query with one response alone; where there are more, what is missing is named.
    elif not row("text"):
        return False
    known = {name for ours in _OF_A_SCORE for name in row.known.get(ours, ())}
    return row.kinds.keys() <= known.union(columns)


@lru_cache(maxsize=4096)
def _is_sided(kinds: tuple[tuple[str, str], ...], mapped: tuple[tuple[str, str], ...]) -> bool:
    names = tuple(name for name, _ in kinds)
    return column_layout(names, frozenset(names), mapped) is not None


def detect(row: Mapping[str, Any], config: FormConfig) -> str:
    """The form of a row, NO_FORM where none fits; rows of the same fields and kinds are looked at once.

    Raises:
        UnknownNameError: the config names no form.
    """
    if config.form != "auto":
        if config.form not in FORMS:
            raise UnknownNameError("format", config.form, ["auto", *FORMS])
        return config.form
    row = unfolded(row, config)
    if not _is_ours(row) and any(type(row.get(name)) is list for name in (*LISTS, *config.fields.values())):
        fields = Fields(row, config)
        listed = form_of(fields)
        if listed is not None:
            unsaid = listed in ("rated", "ultrafeedback") and not annotated(fields)
            return "pairwise" if unsaid and find_layout(fields) else listed
    drop = config.drop
    kinds = tuple(
        [
            (name, _kind(value))
            for name, value in row.items()
            if (value or value == 0) and value == value and not (drop and name in drop)
        ]
    )
    columns, mapped = tuple(config.score_columns.values()), tuple(config.fields.items())
    form = _detected(kinds, mapped, columns)
    if row.get("responses") == [] and form in (NO_FORM, "flat") and all(empty(row.get(one)) for one in ALIASES["text"]):
        return "nested"  # a query that nobody answered yet
    if form == "pairs" and _is_sided(kinds, mapped) and not holds_answers(Fields(row, config)):
        return "pairwise"
    if form == "flat" and _lacks_label(row, config):
        return "kto"
    if form != NO_FORM:
        return form
    scores = {*ALIASES["score"], *columns, config.fields.get("score")}
    unscored = tuple((name, "float") for name in row if name in scores and empty(row[name]))
    return _detected(kinds + unscored, mapped, columns) if unscored else form


def _lacks_label(row: Mapping[str, Any], config: FormConfig) -> bool:
    """Whether a row has a place for a label, which is empty, and none for a score: then the label is missing."""
    label = {config.fields["label"]} if "label" in config.fields else set(ALIASES["label"])
    scores = {*ALIASES["score"], *config.score_columns.values(), config.fields.get("score")}
    return any(name in row and name not in config.drop for name in label) and row.keys().isdisjoint(scores)


def _is_ours(row: Mapping[str, Any]) -> bool:
    """Whether the answers have scores as a store has them: most rows, and then their list needs no closer look."""
    answers = row.get("responses")
    first = answers[0] if type(answers) is list and answers else None
    return type(first) is dict and "text" in first and "scores" in first and "rank" not in first and "rank" not in row


def _kind(value: Any) -> str:
    kind = type(value)
    return f"list of {type(value[0]).__name__}" if kind is list and value else kind.__name__


def shape(row: Mapping[str, Any], form: str, config: FormConfig, *, textual: bool = False) -> Shaped:
    """Turn a row of one of FORMS into the nested shape.

    Args:
        textual: every value is text (CSV); what reads as a number is one.

    Raises:
        Rejected: the row is no such row, or says what cannot be kept. The field is the upstream one.
    """
    if form == NO_FORM:
        raise _nearest(Fields(row, config, textual))
    return FORMS[form](Fields(row, config, textual))


def _nearest(row: Fields) -> Rejected:
    """Which form a row comes nearest to, and what it lacks."""
    seen = _Seen(tuple((name, _kind(value)) for name, value in row.row.items()), tuple(row.config.fields.items()))
    best: tuple[float, str, list[str]] = (0.0, "", [])
    for form, needs in _fitting(seen):
        missing = [name for name, there in needs if not there]
        share = 1 - len(missing) / len(needs)
        if share > best[0]:
            best = (share, form, missing)
    have = f"the row has {shown_names(row.row)}" if row.row else "the row has no filled field"
    if any(not _is_text(str(name)) for name in row.row):
        said = (
            "the names of its columns are not UTF-8. Which encoding is it? For instance --encoding gb18030 or shift_jis"
        )
        return Rejected("", "wrong-encoding", said)
    if not best[1]:
        return Rejected("", "no-form", f"no known shape: {have}. Name the shape with --format, or fields with --map")
    empties = {name for name in best[2] if any(theirs in row.given for theirs in ALIASES.get(name, (name,)))}
    lack = " and ".join(f"{name} (there, but empty)" if name in empties else name for name in best[2])
    return Rejected(
        "",
        "no-form",
        f"no known shape: {have}. Nearest: {best[1]}, but {lack} {'is' if len(best[2]) == 1 else 'are'} missing. "
        "If it goes by another name, pass --map OURS=THEIRS; what misleads is left out with --drop NAME",
    )


def _is_text(name: str) -> bool:
    """Whether a name is more than bytes that could not be read, which Python has as lone surrogates."""
    return not any("\udc80" <= letter <= "\udcff" for letter in name)


def shown_names(row: Mapping[str, Any]) -> str:
    """A row's fields in a message."""
    names = [shown(name)[1:-1] for name in row]
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
