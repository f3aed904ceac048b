"""Fields that a store has no place for: left unread and told, kept beside the row or the response, or left out."""

from __future__ import annotations

from typing import Any

from coig_p.ingest.accounting import ImportReport
from coig_p.ingest.fields import ALIASES, FormConfig
from coig_p.ingest.row import Row
from coig_p.ingest.values import Rejected, is_missing, json_at, object_at, shown
from coig_p.schema import COMPARISON_TYPE, RESPONSE_TYPE, SCORE_TYPE

_FIELDS = {
    "responses.": frozenset(part.name for part in RESPONSE_TYPE),
    "scores.": frozenset(part.name for part in SCORE_TYPE),
    "comparisons.": frozenset(part.name for part in COMPARISON_TYPE),
}


class Rest:
    """What becomes of such fields, by --keep and --drop. A unit is "responses.", "scores." or "comparisons."."""

    def __init__(self, config: FormConfig, report: ImportReport) -> None:
        self.keep, self.drop, self.report = frozenset(config.keep), config.drop, report

    def check_systems(self, responses: list[Any]) -> None:
        """Refuse answers with system prompts of their own: what is asked is one for all answers of a row."""
        for name in ALIASES["system"]:
            if self.dropped_as("responses.", name) or self.keeps_in("responses.", name):
                continue
            told = [
                (f"responses[{at}].{name}", one[name])
                for at, one in enumerate(responses)
                if isinstance(one, dict) and not is_missing(one.get(name))
            ]
            if not told:
                continue
            (first, text), *others = told
            said = f"{shown(text)}: a system prompt belongs to the row, not to an answer"
            for place, other in others:
                if other != text:
                    said = f"{shown(text)}, and {place} is {shown(other)}: answers to two prompts cannot be compared"
                    break
            raise Rejected(first, "no-place", f"{said}. Without it: --drop responses.{name}")

    def meta(self, row: Row) -> str | None:
        """What is kept of a row's other fields."""
        meta = object_at(row.value.get("meta"), "meta")
        if isinstance(row.raw, dict):
            for name in row.ignored:
                if self.keeps(name):
                    given = row.inside[name] if name in row.inside else row.raw[name]
                    json_at(given, name)  # what JSON does not know is told by its own name
                    meta[name] = given
        return json_at(meta, "meta") if meta else None

    def keeps(self, name: str) -> bool:
        """Whether a field of a row, or of its values by its path, is kept."""
        return name in self.keep or "all" in self.keep

    def unread_in(self, unit: str, value: dict[str, Any]) -> list[str]:
        """The filled fields of a part of a row that a store has no place for."""
        rest = [name for name in sorted(value.keys() - _FIELDS[unit]) if not is_missing(value[name])]
        return [name for name in rest if self.dropped_as(unit, name) is None]

    def dropped_as(self, unit: str, name: str) -> str | None:
        """Under which name a field of a unit is left out on purpose, None where it is not."""
        return next((said for said in (name, f"{unit}{name}") if said in self.drop), None)

    def keeps_in(self, unit: str, name: str) -> bool:
        """Whether a field of a unit is kept."""
        return self.keeps(name) or f"{unit}{name}" in self.keep

    def count_in(self, unit: str, value: dict[str, Any]) -> None:
        """Count the fields of a unit that were not read, by what became of them."""
        for name in value.keys() - _FIELDS[unit] if self.drop else ():
            said = self.dropped_as(unit, name)
            if said is not None:
                self.report.dropped[said] += not is_missing(value[name])
        for name in self.unread_in(unit, value):
            if unit == "responses." and self.keeps_in(unit, name):
                self.report.kept[f"{unit}{name}"] += 1
            else:
                self.report.left_unread(f"{unit}{name}", value[name], name)

    def count(self, row: Row) -> None:
        """Count the fields of a row that were not read, by what became of them."""
        raw = row.raw if isinstance(row.raw, dict) else {}
        for name in row.ignored:
            if self.keeps(name):
                self.report.kept[name] += 1
            else:
                self.report.left_unread(name, row.inside.get(name, raw.get(name)), name)
        for name in self.drop:
            self.report.dropped[name] += name in row.dropped or not is_missing(raw.get(name))
