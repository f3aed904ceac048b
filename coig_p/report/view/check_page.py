"""What a check found, as one HTML file that anyone can open: verdict, rules, examples, plots. No script is in it."""

from __future__ import annotations

from base64 import b64encode
from importlib.resources import files
from typing import Any

from coig_p.report.rule_words import WHY_IN_CHINESE
from coig_p.report.templating import environment
from coig_p.report.view.pages import cut
from coig_p.report.view.words import words
from coig_p.validation.findings import Report, place_in_excerpt, tally
from coig_p.validation.report import by_rule_model_domain, examples, report_plots, worst_first
from coig_p.validation.rules import RULES

_GROUPS = 1_000  # rows of the last table
_EXCERPT = 2_000  # characters of an excerpt


def check_page(report: Report, store: str, language: str = "en") -> str:
    """The HTML of report.html.

    Args:
        store: its name, for people.
        language: "en" or "zh".
    """
    w = words(language)
    style = (files("coig_p.report.view") / "static" / "view.css").read_text(encoding="utf-8")
    worst = worst_first(report)
    by_model = tally(report.findings, "model", "severity")
    wrong = sum(number for (model, severity), number in by_model.items() if model and severity != "metric")
    alts = {
        "rules.svg": f"{w['plot-rules']}: " + ", ".join(f"{id} {number:,}" for id, number in worst[:5]),
        "models.svg": f"{w['plot-models']}: {wrong:,}",
    }
    plots = report_plots(report, w["plot-rules"], w["plot-models"], w["none"])
    groups = by_rule_model_domain(report)
    return str(
        environment()
        .get_template("check.html.jinja")
        .render(
            w=w,
            lang=language,
            style=style,
            store=store,
            report=report,
            counts=report.counts.to_dict(),
            benchmarks=[one.name for check in report.compared for one in check.against],
            rules=[_rule(report, id, number, language) for id, number in worst],
            changes=[_change(one, w) for one in report.changes],
            plots=[{"alt": alts[name], "data": b64encode(svg.encode()).decode()} for name, svg in plots.items()],
            groups=[
                {"rule": rule, "model": model, "domain": domain, "number": number}
                for rule, model, domain, number in groups[:_GROUPS]
            ],
            more_groups=max(0, len(groups) - _GROUPS),
        )
    )


def _rule(report: Report, id: str, number: int, language: str) -> dict[str, Any]:
    rule = report.rules[id]
    return {
        "id": id,
        "severity": rule.severity,
        "usual": RULES[id].severity if id in RULES else rule.severity,
        "why": WHY_IN_CHINESE.get(id, rule.why) if language == "zh" else rule.why,
        "number": number,
        "examples": [one | {"pieces": _pieces(id, one)} for one in examples(report, id)],
    }


def _pieces(rule: str, finding: dict[str, Any]) -> Any:
    """An excerpt, with the character where its rule found something apart, where it says which."""
    excerpt = (finding["excerpt"] or "")[:_EXCERPT]
    places = {} if finding["offset"] is None else {place_in_excerpt(finding["offset"]): [rule]}
    return cut(excerpt, places)


def _change(change: Any, w: dict[str, str]) -> dict[str, str]:
    """A rule that is not as usual, in words of the page where the severity is another."""
    if change.what == "severity":
        return {"rule": change.rule, "what": w["severity"], "now": w[change.value], "usual": w[change.default]}
    now, usual = change.words
    return {"rule": change.rule, "what": change.what, "now": now, "usual": usual}
