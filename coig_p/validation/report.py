"""A report for people: tables in Markdown, plots in SVG, and every finding in Parquet beside them.

What is shown in a browser is made above this room, by `coig_p.report.view.check_page`, and given to `write_report`.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coig_p.core.atomic import atomic_directory
from coig_p.core.markdown import cell, table
from coig_p.core.svg import bars
from coig_p.core.text import counted
from coig_p.errors import DataError
from coig_p.store.places import check_folder
from coig_p.validation.findings import FINDINGS, Report, tally
from coig_p.validation.rules import SEVERITIES

EXAMPLES = 3
_COLOURS = {"error": "#c0392b", "warning": "#d68910", "metric": "#5d6d7e"}
PAGE = "report.html"
FILES = {"findings.parquet", "report.md", "rules.svg", "models.svg", PAGE}


def write_report(report: Report, folder: Path, overwrite: bool = False, page: str | None = None) -> None:
    """Write findings.parquet, report.md, rules.svg and models.svg into a new folder.

    Args:
        overwrite: replace an earlier report.
        page: written as report.html, where there is one.

    Raises:
        UsageError: the folder is a store, lies in one, or holds something else, or a report.
    """
    check_folder(folder, FILES, "a report", overwrite)
    with atomic_directory(folder) as root:
        pq.write_table(report.findings, root / "findings.parquet", compression="zstd")
        (root / "report.md").write_text(as_markdown(report), encoding="utf-8", newline="\n")
        for name, plot in report_plots(report).items():
            (root / name).write_text(plot, encoding="utf-8", newline="\n")
        if page is not None:
            (root / PAGE).write_text(page, encoding="utf-8", newline="\n")


def report_plots(
    report: Report,
    by_rule: str = "Findings by rule",
    by_model: str = "Errors and warnings by model",
    empty: str = "none",
) -> dict[str, str]:
    """SVG by file name.

    Args:
        by_rule, by_model: their titles.
        empty: what a plot without any bar says.
    """
    found = dict(worst_first(report))
    colours = [_COLOURS[report.rules[id].severity] for id in found]
    models = tally(report.findings, "model", "severity")
    wrong = {
        model: sum(models[(model, severity)] for severity in ("error", "warning"))
        for model in sorted({str(model) for model, _ in models if model is not None})
    }
    return {
        "rules.svg": bars(by_rule, found, colours, empty=empty),
        "models.svg": bars(by_model, {name: number for name, number in wrong.items() if number}, empty=empty),
    }


def read_findings(folder: Path) -> pa.Table:
    """The findings that `write_report` wrote into a folder.

    Raises:
        DataError: there are none, or they are no findings.
    """
    path = folder / "findings.parquet"
    try:
        found = pq.read_table(path.absolute())
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: no findings can be read: {error}. Make them with: coigp check --report") from None
    if not found.schema.remove_metadata().equals(FINDINGS):
        raise DataError(f"{path}: its columns are not those of findings. Make them with: coigp check --report")
    return found


def as_markdown(report: Report) -> str:
    """The report as text: verdict, rules with examples, counts by rule, model and domain."""
    counts = report.counts
    verdict = "passed" if report.passed else "not to be released"
    changed = table(["rule", "what", "is", "by default"], [[one.rule, one.what, *one.words] for one in report.changes])
    benchmarks = [cell(one.name) for check in report.compared for one in check.against]
    lines = [
        "# Check of a store",
        "",
        f"**{verdict}**: {counted(counts.error, 'error')}, {counted(counts.warning, 'warning')}, "
        f"{counted(counts.metric, 'metric')} in {counted(report.queries, 'query', 'queries')} and "
        f"{counted(report.responses, 'response')}{report.told_of_changes()}.",
        "",
        *((f"Not checked, since the rule is off: {', '.join(report.not_checked)}.", "") if report.not_checked else ()),
        *((f"Compared with benchmarks: {', '.join(benchmarks)}.", "") if benchmarks else ()),
        "![Findings by rule](rules.svg)",
        "",
        "![Errors and warnings by model](models.svg)",
        "",
        "## By rule",
        "",
        *table(
            ["rule", "severity", "findings", "what it is"],
            [[id, report.told_severity(id), f"{n:,}", report.rules[id].why] for id, n in worst_first(report)],
        ),
        "",
        *(("## Rules that were changed", "", *changed, "") if report.changes else ()),
        "## Examples",
        "",
    ]
    for id, _ in worst_first(report):
        lines += [f"### {id}", ""]
        rows = [
            [row["domain"], row["query_id"], row["model"] or row["judge"], row["field"], row["excerpt"]]
            for row in examples(report, id)
        ]
        lines += [*table(["domain", "query", "model or judge", "field", "excerpt"], rows), ""]
    lines += ["## By rule, model and domain", ""]
    groups = [[*row[:3], f"{row[3]:,}"] for row in by_rule_model_domain(report)]
    lines += table(["rule", "model", "domain", "findings"], groups)
    return "\n".join(lines) + "\n"


def by_rule_model_domain(report: Report) -> list[tuple[str | None, str | None, str | None, int]]:
    """How many findings there are of each, the most of a rule first; None where a finding has no model or domain."""
    counts = tally(report.findings, "rule", "model", "domain")
    rows = [(rule, model, domain, number) for (rule, model, domain), number in counts.items()]
    return sorted(rows, key=lambda row: (str(row[0]), -row[3], str(row[1]), str(row[2])))


def worst_first(report: Report) -> list[tuple[str, int]]:
    """Rules with findings: errors before warnings before metrics, more before fewer."""
    found = [(id, number) for id, number in report.by_rule().items() if number]
    return sorted(found, key=lambda item: (SEVERITIES.index(report.rules[item[0]].severity), -item[1], item[0]))


def examples(report: Report, rule: str, number: int = EXAMPLES) -> list[dict[str, str]]:
    """The first findings of a rule."""
    begin = pc.index(report.findings.column("rule"), rule).as_py()  # those of a rule stand together
    found = report.findings.slice(begin, number).to_pylist() if begin >= 0 else []
    return [one for one in found if one["rule"] == rule]
