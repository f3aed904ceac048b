"""The shapes that upstream rows come in, each turned into the nested shape of a store.

    nested         a query with its responses and their scores
    flat           one response, or one score of a response, a row
    ultrafeedback  instruction, completions with annotations per aspect
    pairwise       two responses side by side, scored or with a winner (TaP, section 3.3)
    pairs          released pairs: prompt, chosen, rejected; as text, sharegpt or message lists

Values are moved, not checked: what is wrong with one is said by `coig_p.ingest.intake`, under the
name that the upstream row has for it. To add a shape, write a module like `flat` and name its function
in `FORMS` and `detect`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from coig_p.ingest.fields import Fields, FormConfig, Shaped
from coig_p.ingest.forms.flat import flat
from coig_p.ingest.forms.lists import ultrafeedback
from coig_p.ingest.forms.nested import nested
from coig_p.ingest.forms.pairs import pairs
from coig_p.ingest.forms.pairwise import SIDES, pairwise

FORMS: dict[str, Callable[[Fields], Shaped]] = {
    "nested": nested,
    "flat": flat,
    "ultrafeedback": ultrafeedback,
    "pairwise": pairwise,
    "pairs": pairs,
}


def detect(row: Mapping[str, Any], config: FormConfig) -> str:
    """The form of a row; nested where nothing else fits, so that what is missing is named."""
    if config.form != "auto":
        return config.form
    has = Fields(row, config).has
    if isinstance(row.get("responses"), list):
        return "nested"
    if isinstance(row.get("completions"), list):
        return "ultrafeedback"
    if has("chosen") and has("rejected"):
        return "pairs"
    if any(has(f"response_{first}") and has(f"response_{second}") for first, second in SIDES):
        return "pairwise"
    return "flat" if has("query") and has("text") else "nested"


def shape(row: Mapping[str, Any], form: str, config: FormConfig, *, textual: bool = False) -> Shaped:
    """Turn a row of one of FORMS into the nested shape.

    Args:
        textual: every value is text (CSV); what reads as a number is one.
    """
    return FORMS[form](Fields(row, config, textual))
