"""Rows of a store and what becomes of some of them, for tests of a store that is written anew."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from make import completed

from coig_p.store.changes import Change, TakenIn

Row = dict[str, Any]
Changes = dict[tuple[str, str], Change]
REASONS = st.sampled_from(["alike", "bad", "late"])


@st.composite
def observed(draw: st.DrawFn) -> list[Row]:
    """Rows of two domains, some with comparisons, some responses without a score."""
    rows = []
    for at in range(draw(st.integers(1, 9))):
        models = draw(st.lists(st.sampled_from("abcde"), max_size=4, unique=True))
        responses = []
        for model in models:
            judges = draw(st.sampled_from([None, [], ["j"], ["j", "k"]]))
            scores: list[Row] | None = None
            if judges is not None:
                scores = [{"judge": judge, "dimension": "overall", "score": 5.0} for judge in judges]
            responses.append({"model": model, "text": f"{model} {at}", "scores": scores})
        comparisons = None
        if draw(st.booleans()):
            sides = st.integers(0, len(models) - 1)
            pairs = draw(st.lists(st.tuples(sides, sides), max_size=4)) if models else []
            names = {"judge": "h", "dimension": "overall", "first_score": 1.0, "second_score": 0.0}
            comparisons = [{"first": first, "second": second} | names for first, second in pairs]
        row = {"query_id": f"q{at}", "domain": draw(st.sampled_from(["math", "chat"])), "query": f"问{at}"}
        rows.append(row | {"source": None, "responses": responses, "comparisons": comparisons})
    return completed(sorted(rows, key=lambda row: row["domain"]))


@st.composite
def rewriting(draw: st.DrawFn) -> tuple[list[Row], Changes]:
    """Rows and what becomes of some; a row that is moved is taken in by one that stays."""
    rows = draw(observed())
    changes: Changes = {}
    for row in rows:
        key = row["domain"], row["query_id"]
        kind = draw(st.sampled_from(["same", "same", "gone", "moved", "edited"]))
        if kind in ("gone", "moved"):
            changes[key] = Change(row=draw(REASONS), moved=kind == "moved")
        elif kind == "edited":
            change = changes[key] = Change()
            for at, response in enumerate(row["responses"]):
                if draw(st.integers(0, 2)) == 0:
                    change.responses[at] = draw(REASONS)
                for nth in range(len(response["scores"] or ())):
                    if draw(st.integers(0, 2)) == 0:
                        change.scores[at, nth] = draw(REASONS)
            for at in range(len(row["comparisons"] or ())):
                if draw(st.integers(0, 2)) == 0:
                    change.comparisons[at] = draw(REASONS)
    stay = [row for row in rows if (own := changes.get((row["domain"], row["query_id"]))) is None or own.row is None]
    for row in rows:
        own = changes.get((row["domain"], row["query_id"]))
        if own is not None and own.moved:
            if stay:
                into = draw(st.sampled_from(stay))
                change = changes.setdefault((into["domain"], into["query_id"]), Change())
                change.taken_in.append(TakenIn(row["query_id"], str(own.row)))
            else:
                own.moved = False
    return rows, changes
