"""The functions that look for faults: in texts, in rows, in a store as a whole.

CHECKS has the function of each rule. It is called with what the rule is over and, as keywords, the rule's options:

    over texts     find(texts: Texts, ...) -> Hits; hits on texts outside the rule's scope are left out
    over rows      find(view: BatchView, ...) -> Iterable[Spot]
    over totals    find(totals: Totals, ...) -> Iterable[Remark]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from coig_p.validation.checks import fences, integrity, privacy, rows, script, totals, turns

CHECKS: Mapping[str, Callable[..., Any]] = {
    "empty": integrity.empty,
    "replacement-character": integrity.replacement_character,
    "control-character": integrity.control_character,
    "zero-width": integrity.zero_width,
    "bidi-control": integrity.bidi_control,
    "private-use": integrity.private_use,
    "mojibake": integrity.mojibake,
    "special-token": integrity.special_token,
    "thinking": integrity.thinking,
    "repetition": integrity.repetition,
    "truncated": integrity.truncated,
    "no-terminal-punctuation": integrity.no_terminal_punctuation,
    "outer-whitespace": integrity.outer_whitespace,
    "brackets": integrity.brackets,
    "code-fence": fences.code_fence,
    "latex": integrity.latex,
    "refusal": integrity.refusal,
    "ai-disclosure": integrity.ai_disclosure,
    "self-identity": integrity.self_identity,
    "mobile": privacy.mobile,
    "id-card": privacy.id_card,
    "bank-card": privacy.bank_card,
    "ip-address": privacy.ip_address,
    "email": privacy.email,
    "words": privacy.listed_words,
    "script-traditional": script.traditional,
    "script-some-traditional": script.some_traditional,
    "mixed-script": script.mixed_script,
    "query-language": script.query_language,
    "response-language": script.response_language,
    "turns": turns.turns,
    "conversation-end": turns.conversation_end,
    "json": turns.json_text,
    "score-range": rows.score_range,
    "score-grid": rows.score_grid,
    "no-judge": rows.no_judge,
    "comparison": rows.comparison,
    "unscored": rows.unscored,
    "self-judged": rows.self_judged,
    "no-model": rows.no_model,
    "model-twice": rows.model_twice,
    "too-few-responses": rows.too_few_responses,
    "same-text": rows.same_text,
    "score-conflict": rows.score_conflict,
    "files": totals.files,
    "manifest-counts": totals.manifest_counts,
    "query-id-twice": totals.query_id_twice,
    "rare-model": totals.rare_model,
    "rare-judge": totals.rare_judge,
    "rare-domain": totals.rare_domain,
    "no-pairs": totals.no_pairs,
    "judge-sets-differ": totals.judge_sets_differ,
    "length-bias": totals.length_bias,
    "one-sided-model": totals.one_sided_model,
    "ties": totals.ties,
    "pairs-per-query": totals.pairs_per_query,
    "margins": totals.margins,
}
"""By a rule's id, what finds it; one for each of `coig_p.validation.rules.RULES`, in its order."""
