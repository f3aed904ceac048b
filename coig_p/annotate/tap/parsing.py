"""What a model's answers say in a TaP run, as a careful reader takes them. What is not certain is not read.

Each function takes an answer, with its thinking or without, and the words that it may be written in. It never raises:
where it reads nothing it says why, in a word that `TapPrompts.again` knows.
"""

from __future__ import annotations

from coig_p.annotate.tap.completeness import parse_completeness
from coig_p.annotate.tap.feasible import parse_feasible
from coig_p.annotate.tap.listed import parse_types
from coig_p.annotate.tap.prompted import parse_prompt, parse_refined
from coig_p.annotate.tap.reads import (
    CompletenessRead,
    EightRead,
    FeasibleRead,
    Four,
    PromptRead,
    QuestionType,
    Read,
    TypesRead,
)
from coig_p.annotate.tap.scored import parse_eight

__all__ = [
    "CompletenessRead",
    "EightRead",
    "FeasibleRead",
    "Four",
    "PromptRead",
    "QuestionType",
    "Read",
    "TypesRead",
    "parse_completeness",
    "parse_eight",
    "parse_feasible",
    "parse_prompt",
    "parse_refined",
    "parse_types",
]
