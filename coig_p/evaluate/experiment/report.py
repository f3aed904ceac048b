"""The table of an experiment for people: text, CSV, and a page without scripts, in two languages."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from coig_p.core.svg import signed
from coig_p.evaluate.experiment.spread import Difference, Number
from coig_p.evaluate.experiment.table import Row, Table
from coig_p.evaluate.experiment.words import words
from coig_p.report.sections import Section
from coig_p.report.sections import as_page as sections_page

_Words = Mapping[str, str]
COLUMNS = (
    *("arm", "test", "overall", "seeds", "seeds_low", "seeds_high", "questions_low", "questions_high"),
    *("baseline", "difference", "difference_low", "difference_high", "p_holm"),
    *("scored", "invalid", "unanswered", "missing_seeds"),
)


def sections(table: Table, language: str = "en") -> list[Section]:
    """What the table says, in order; what there is nothing of is left out.

    Raises:
        UnknownNameError: a language that is none of LANGUAGES.
    """
    w = words(language)
    found = [_head(table, w)]
    for test in table.tests:
        rows = [row for row in table.rows if row.test == test]
        found += [_results(table, test, rows, w), _parts(test, rows, w)]
    return [*found, *_choices(table, w), *_failed(table, w)]


def as_page(table: Table, language: str = "en") -> str:
    """The table as one HTML file, without any script."""
    return sections_page(sections(table, language), language)


def as_csv(table: Table) -> str:
    """A line an arm and test, numbers whole, for a spreadsheet; a text that it would take for a formula is quoted."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table.rows:
        seeds, questions, apart = (_three(one) for one in (row.seeds, row.questions, row.difference))
        writer.writerow(
            [
                *(_no_formula(row.arm), _no_formula(row.test), seeds[0], len(row.by_seed), *seeds[1:]),
                *(*questions[1:], _no_formula(row.baseline or ""), *apart),
                "" if row.difference is None or row.difference.p_holm is None else repr(row.difference.p_holm),
                *(row.scored, row.invalid, row.unanswered),
                " ".join(map(str, row.missing)),
            ]
        )
    return stream.getvalue()


def _three(one: Number | None) -> list[str]:
    values = (None, None, None) if one is None else (one.value, one.low, one.high)
    return ["" if value is None else repr(value) for value in values]


def _no_formula(text: str) -> str:
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _head(table: Table, w: _Words) -> Section:
    named = ", ".join(map(str, table.seeds))
    lines = [w["seeds-are" if len(table.seeds) > 1 else "one-seed"].format(seeds=named)]
    if any(row.baseline is not None for row in table.rows):
        lines.append(w["difference-is"])
    if any(_p(row.difference) for row in table.rows):
        lines.append(w["p-is"])
    if table.chosen_on:
        lines.append(w["chosen-on"].format(tests=", ".join(table.chosen_on)))
    return Section(w["title"].format(name=table.name), tuple(lines))


def _results(table: Table, test: str, rows: list[Row], w: _Words) -> Section:
    many = len(table.seeds) > 1
    compared = any(row.baseline is not None for row in rows)
    lacking = any(row.missing for row in rows)
    silent = any(row.unanswered for row in rows)
    tested = any(row.difference is not None and row.difference.p_holm is not None for row in rows)
    header = [w["arm"], w["mean"], *([w["over-seeds"]] if many else []), w["over-questions"]]
    header += [w["by-seed"]] if many else []
    header += [w["against"], w["difference"], *([w["p"]] if tested else [])] if compared else []
    header += [w["invalid"], *([w["unanswered"]] if silent else []), *([w["missing"]] if lacking else [])]
    shown = []
    for row in rows:
        cells = [row.arm, "–" if row.seeds is None else f"{row.seeds.value:.2f}"]
        cells += [_interval(row.seeds)] if many else []
        cells.append(_interval(row.questions))
        cells += [" ".join("–" if one is None else f"{one:.2f}" for one in row.by_seed.values())] if many else []
        if compared:
            apart = row.difference
            cells += [row.baseline or "", "" if apart is None else f"{signed(apart.value)} {_interval(apart)}"]
            cells += [_p(apart)] if tested else []
        cells += [f"{row.invalid:,}", *([f"{row.unanswered:,}"] if silent else [])]
        cells += [*([" ".join(map(str, row.missing))] if lacking else [])]
        shown.append(tuple(cells))
    title = w["of-test"].format(test=test) if len(table.tests) > 1 else w["table"]
    return Section(title, (), tuple(header), tuple(shown))


def _parts(test: str, rows: list[Row], w: _Words) -> Section:
    names = list(dict.fromkeys(name for row in rows for name in row.parts))
    shown = []
    for row in rows:
        told = [row.parts.get(name) for name in names]
        shown.append((row.arm, *("–" if one is None else f"{one:.2f}" for one in told)))
    return Section(w["parts"].format(test=test), (), (w["arm"], *names), tuple(shown))


def _choices(table: Table, w: _Words) -> list[Section]:
    if not table.choices:
        return []
    benchmark = next(iter(table.choices.values())).benchmark
    rows = [
        (
            cell,
            choice.checkpoint,
            ", ".join(f"{name} {score:.2f}" for name, score in choice.scores.items()),
            f"{choice.tied}" if choice.tied > 1 else "",
        )
        for cell, choice in table.choices.items()
    ]
    line = w["choice-is"].format(benchmark=benchmark)
    return [Section(w["choices"], (line,), (w["cell"], w["checkpoint"], w["scores"], w["tied"]), tuple(rows))]


def _failed(table: Table, w: _Words) -> list[Section]:
    if not table.failed:
        return []
    rows = [(cell, _on_one_line(why)) for cell, why in table.failed.items()]
    return [Section(w["failed"], (), (w["cell"], w["why"]), tuple(rows))]


def _on_one_line(why: str) -> str:
    """The first line of an error, and where it shows the end of a log, which is indented, the last line of that."""
    first, *others = why.split("\n")
    log = [line.strip() for line in others if line.startswith("  ")]
    return " ".join([first, *log[-1:]])


def _p(apart: Difference | None) -> str:
    if apart is None or apart.p_holm is None:
        return ""
    return "< .001" if apart.p_holm < 0.001 else f"{apart.p_holm:.3f}"


def _interval(one: Number | None) -> str:
    return "–" if one is None or one.low is None or one.high is None else f"({one.low:.2f} – {one.high:.2f})"
