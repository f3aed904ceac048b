"""Raw rows into a store: every value checked, everything counted, nothing lost without a word.

`coig_p.ingest.intake` checks the rows and spools them to disk. Then rows of one query_id are merged,
responses without a model are named, and shards of equal size are written.
"""

from __future__ import annotations

import codecs
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coig_p._version import __version__
from coig_p.core.objects import as_path, is_object
from coig_p.core.progress import Advance
from coig_p.core.text import counted
from coig_p.engine.journal import resumable
from coig_p.engine.local import in_order
from coig_p.errors import UsageError
from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.bulk import ALL, clean_rows, first_row
from coig_p.ingest.columns import Rows
from coig_p.ingest.config import (
    COMPARISONS_THRESHOLD,
    SCORE_RANGE,
    ImportConfig,
    check_default_threshold,
    scaled_threshold,
)
from coig_p.ingest.fields import Fields, Survey, unfolded
from coig_p.ingest.forms import NO_FORM, SCORE_RANGES, detect
from coig_p.ingest.forms.kto import Codings
from coig_p.ingest.intake import Intake
from coig_p.ingest.media import is_media
from coig_p.ingest.readers import RawRow, file_encoding, find_inputs, has_lines, read_as, read_blocks, read_rows
from coig_p.ingest.recipes import RECIPES
from coig_p.ingest.row import shaped
from coig_p.ingest.spool import Spool
from coig_p.ingest.survey import score_range, survey
from coig_p.schema import SCORE_GRID, UNITS
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.places import check_target
from coig_p.store.replacing import carry_over, check_replaced
from coig_p.store.rewards_carried import with_replaced
from coig_p.store.store import Store
from coig_p.store.writing import Part, describe_file, sha256_of, write_store

_LOOKED_AT = 20  # rows of a file, for what they look like where a form is given


def import_files(
    inputs: Sequence[str | Path],
    out: str | Path,
    config: ImportConfig,
    *,
    overwrite: bool = False,
    advance: Advance = lambda read: None,
    num_proc: int | None = 1,
) -> tuple[Store, ImportReport]:
    """Import files into a new store at `out`, which appears whole or not at all.

    Args:
        overwrite: replace an existing store, whose card.toml stays, and rewards of what is in both; anything else at
            `out`, or in that store, is refused all the same.
        advance: called with the number of bytes read since the last call.
        num_proc: threads that write (see `coig_p.store.writing.write_store`).

    Raises:
        UsageError: an input or `out` that cannot be used.
        ImportFailed: problems with on_error "fail", or nothing left with "skip".
    """
    if not inputs:
        raise UsageError("no input: name one or more files")
    paths, again = _each_once(find_inputs(inputs), config)
    target = as_path(out)
    check_target(target, overwrite)
    check_replaced(target, paths)
    _check_files(config, paths)
    encodings = {path: file_encoding(path, config.encoding) for path in paths}
    tried = {*config.form.fields.values(), *config.form.score_columns.values()}
    report = ImportReport(tried=tried, domain_is_given=config.domain is not None or config.default_domain is not None)
    report.notes += again
    report.encodings = {
        str(path): found
        for path, found in encodings.items()
        if codecs.lookup(found).name != codecs.lookup(config.encoding).name
    }
    key = {"command": "import", "inputs": list(map(str, paths)), "options": repr(config)}
    found, asked = survey(encodings, config.form), config.score_range
    config = replace(
        config,
        form=replace(config.form, survey=found),
        score_range=config.score_range or score_range(found) or SCORE_RANGE,
    )
    report.score_range, report.range_is_given = config.score_range, asked is not None
    with resumable(target, MANIFEST, key) as journal, ThreadPoolExecutor(1) as hashing, _spool(journal.root) as folder:
        root = journal.root
        hashes = [hashing.submit(sha256_of, path) for path in paths]
        with (root / "rejects.jsonl").open("w", encoding="utf-8", newline="\n") as rejects:
            intake = Intake(config, report, rejects, _names(paths), folder)
            columns_there: set[str] = set()
            codings = Codings()
            for path, encoding in encodings.items():
                _take_in(path, encoding, intake, columns_there, codings, advance, asked=asked is not None)
            codings.check()
            _check_whole(config, report, asked, columns_there)
            _say_more(config, report, columns_there)
            spools = intake.close()
        published = {old for recipe in RECIPES.values() for old in recipe.domain_map}  # not all are in each file
        report.notes += [
            f"no row is of the domain {name}, which --domain-map renames"
            for name in sorted(config.domain_map.keys() - intake.named - published)
        ]
        report.notes += _copies(paths, [sha256.result() for sha256 in hashes])
        report.default_threshold = _default_threshold(config, report)
        report.comparison_threshold = _comparison_threshold(config, report, spools)
        if report.comparison_threshold is not None:
            report.notes += _small_margins(spools, report.comparison_threshold)
        problems = sum(report.reasons.values())
        if problems and config.on_error == "fail":
            raise ImportFailed(
                f"nothing was written: {problems} problem{'s' * (problems > 1)}. Mend them, or pass --on-error skip",
                report,
            )
        if not report.counts["responses"]["stored"]:
            left = "no response is left" if report.counts["rows"]["read"] else "no file holds a row"
            raise ImportFailed(f"nothing was written: {left}", report)
        extra = []
        if problems:
            extra.append(describe_file(root, "rejects.jsonl", "rejects", rows=problems))
        else:
            (root / "rejects.jsonl").unlink()
        names = _names(paths)
        write_store(
            root,
            [Part(spool.domain, config.split, spool.queries, spool.batches()) for spool in spools],
            Manifest(
                score_range=intake.score_range,
                default_threshold=report.default_threshold,
                comparison_threshold=report.comparison_threshold,
                both_orders=config.both_orders and report.comparison_threshold is not None,
                tool=f"coig-p {__version__}",
                files=tuple(extra),
                sources=tuple(
                    {
                        "name": names[str(path)],
                        "bytes": path.stat().st_size,
                        "sha256": sha256.result(),
                        "license": config.license,
                    }
                    for path, sha256 in zip(paths, hashes, strict=True)
                ),
                options={
                    "domain": config.domain,
                    "domain_map": dict(config.domain_map),
                    "split": config.split,
                    "format": {names[path]: ", ".join(forms) for path, forms in report.forms.items()},
                    "fields": dict(config.form.fields),
                    "score_columns": dict(config.form.score_columns),
                    "values": dict(config.form.values),
                    "judges": {names.get(name, name): judge for name, judge in config.judges.items()},
                    "keep": sorted(config.form.keep),
                    "drop": sorted(config.form.drop),
                    "round": config.form.round_scores,
                    "encoding": config.encoding,
                    "on_error": config.on_error,
                },
                accounting=report.accounting(),
            ),
            lambda manifest: with_replaced(manifest, root, target),
            num_proc,
            journal,
            of=repr([sha256.result() for sha256 in hashes]),
        )
        carry_over(root, target)
    return Store.open(target), report


@contextmanager
def _spool(root: Path) -> Iterator[Path]:
    """A folder for rows on their way; it does not outlive the block, also where finished shards do."""
    folder = root / "spool"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _each_once(paths: Sequence[Path], config: ImportConfig) -> tuple[list[Path], list[str]]:
    """The paths without those that lead to a file again, by a link or another spelling, and what to say of these.

    Raises:
        UsageError: --judge names such a one: whose the scores of the one file are is said twice.
    """
    known: dict[object, Path] = {}
    notes = []
    for path in paths:
        found: Any = str(path) if is_object(path) else path.stat()
        first = known.setdefault(found if is_object(path) else (found.st_dev, found.st_ino), path)
        if first is path:
            continue
        if path.name != first.name and not config.judges.keys().isdisjoint((str(path), path.name)):
            raise UsageError(f"{path} is the file {first} again: --judge names one judge for it, by its first name")
        notes.append(f"{path} is the file {first} again: it was read once")
    return list(known.values()), notes


def _copies(paths: Sequence[Path], hashes: Sequence[str]) -> list[str]:
    """What to say of files with the same content: what they hold is there twice."""
    first: dict[str, Path] = {}
    return [
        f"{path} has the same content as {one}: every score and comparison in it counts twice. Leave one out"
        for path, sha256 in zip(paths, hashes, strict=True)
        if (one := first.setdefault(sha256, path)) is not path
    ]


def _take_in(
    path: Path,
    encoding: str,
    intake: Intake,
    columns_there: set[str],
    codings: Codings,
    advance: Advance,
    *,
    asked: bool = False,
) -> None:
    """Every row of a file, whole blocks at once where that can be; which columns that were named it has is added.

    Args:
        codings: the labels of its rows are added; whole blocks have none but true and false.
        asked: the user gave the range of scores.
    """
    config, forms = intake.config, intake.report.forms.setdefault(str(path), Counter())
    judge = config.judges.get(str(path), config.judges.get(path.name, config.form.judge))
    config = replace(config, form=replace(config.form, judge=judge))
    columns = {*config.form.score_columns.values(), *config.form.fields.values()}
    wanted = {*config.form.keep, *config.form.drop}

    looks: list[str] = []

    def add(rows: Iterable[RawRow]) -> None:
        for row in rows:
            form = "nested"
            if isinstance(row.value, dict):
                form = detect(row.value, config.form)
                forms[form] += 1
                if config.form.form != "auto" and len(looks) < _LOOKED_AT:
                    looks.append(detect(row.value, replace(config.form, form="auto")))
                if wanted:
                    columns_there.update(wanted & _all_names(row.value))
                if columns:
                    columns_there.update(columns & (_listed_names(row.value) | unfolded(row.value, config.form).keys()))
                if form == "kto":
                    codings.add(Fields(row.value, config.form), f"{row.file}:{row.line}")
                if form == "kto" and asked:
                    _check_labels(path, config, intake.score_range)
            intake.add(shaped(row, form, config.form))

    forms_in_blocks = _in_blocks(config)
    if not (forms_in_blocks and has_lines(path) and codecs.lookup(read_as(encoding)).name == "utf-8"):
        add(read_rows(path, encoding, advance))
        _say_misfit(path, config, intake.report, looks)
        return
    check = partial(clean_rows, rows=Rows(intake.score_range, config.form.judge), forms=forms_in_blocks)
    for block, clean in in_order(check, read_blocks(path, encoding, advance)):
        if isinstance(block, RawRow):
            add([block])
        elif clean is not None and intake.add_clean(clean):
            if clean.form == "kto" and asked:
                _check_labels(path, config, intake.score_range)
            forms[clean.form] += clean.batch.num_rows
            columns_there.update(wanted & first_row(block.data).keys() if wanted else ())
        else:
            add(block.rows(read_as(encoding)))
    _say_misfit(path, config, intake.report, looks)


def _say_misfit(path: Path, config: ImportConfig, report: ImportReport, looks: Sequence[str]) -> None:
    """Where rows were refused, and look like another shape than the one that was said, say so."""
    ((form, number),) = Counter(looks).most_common(1) or [(NO_FORM, 0)]
    if report.reasons and form not in (NO_FORM, config.form.form) and number == len(looks):
        report.notes.append(f"{path}: rows look like {form} ones, not {config.form.form}: leave out --format")


def _all_names(row: Mapping[str, Any]) -> set[str]:
    """The names of a row's fields and of those in the objects inside it, the latter also as FIELD.NAME."""
    names = set(row)
    for field, value in row.items():
        for part in _objects_in(value):
            names.update(part, (f"{field}.{name}" for name in part), (f"responses.{name}" for name in part))
    return names


def _listed_names(value: Any) -> set[str]:
    """The names of fields in the objects of lists, as answers and scores are: --map names them without a path."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    names = {name for part in parts if isinstance(part, dict) for name in part} if isinstance(value, list) else set()
    return names.union(*map(_listed_names, parts))


def _objects_in(value: Any) -> Iterator[Mapping[str, Any]]:
    """A value where it is an object, and every object inside it."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects_in(part)


def _check_labels(path: Path, config: ImportConfig, found: tuple[float, float]) -> None:
    """Raise UsageError where rows with a label would be scored on another range than theirs."""
    if found != SCORE_RANGES["kto"]:
        name = config.form.fields.get("label", "label")
        raise UsageError(
            f"{path}: a label, good or bad, is a score of 1 or 0 on a range from 0 to 1, not from {found[0]:g} to "
            f"{found[1]:g}: import such rows apart, without --score-range. If {name} holds scores, pass --format flat "
            f"--map score={name}"
        )


def _check_files(config: ImportConfig, paths: Sequence[Path]) -> None:
    """Raise UsageError where --judge names a file that is no input, or stands for two."""
    for name in config.judges:
        fits = [path for path in paths if name in (str(path), path.name)]
        if len(fits) != 1:
            what = "no input has this name" if not fits else "two inputs have this name: give the whole path"
            raise UsageError(f"--judge {name}={config.judges[name]}: {what}")


def _in_blocks(config: ImportConfig) -> Collection[str]:
    """The forms whose rows may be taken in whole blocks: none where fields mean other than they say."""
    form = config.form
    if form.fields or form.drop or form.score_columns:
        return ()
    return ALL if form.form == "auto" else ALL & {form.form}


def _check_whole(
    config: ImportConfig, report: ImportReport, asked: tuple[float, float] | None, columns_there: set[str]
) -> None:
    """Raise UsageError where the import as a whole is not what the options say, or not what its first rows said.

    Args:
        asked: the range of scores that the user gave.
    """
    for option, given in (("--score-column", config.form.score_columns), ("--map", config.form.fields)):
        for ours, column in given.items() if any(report.forms.values()) else ():
            if column not in columns_there:
                raise UsageError(f"{option} {ours}={column}: no row has a field {column}")
    read = {form for found in report.forms.values() for form in found}
    for judge, column in config.form.score_columns.items() if read.isdisjoint(("flat", "pairwise")) else ():
        if column in report.unread:
            raise UsageError(
                f"--score-column {judge}={column}: not read, since these are {', '.join(sorted(read))} rows. It is for "
                "rows of one answer (flat) and of two answers side by side (pairwise), where judges have columns"
            )
    forms = Survey(forms=tuple(dict.fromkeys(form for found in report.forms.values() for form in found)))
    said = score_range(forms)
    if asked is None and said not in (None, report.score_range):
        low, high = said or SCORE_RANGE
        found = f"rows further down are scored from {low:g} to {high:g}"
        others = [one for one in (report.lowest, report.highest) if one is not None and not low <= one <= high]
        if others:
            raise UsageError(f"{found}, and others are not, such as {others[0]:g}: import them apart")
        raise UsageError(f"{found}: pass --score-range {low:g} {high:g}")
    labels = sum(found.get("kto", 0) for found in report.forms.values())
    beside = report.counts["scores"]["read"] - labels
    # Labels out of the range of scores are told as problems, with advice; scores out of that of labels are one here.
    told = (
        bool(report.reasons) and config.on_error == "fail" and report.score_range != score_range(Survey(forms=("kto",)))
    )
    if asked is None and labels and beside > 0 and not told:
        raise UsageError(
            f"{counted(labels, 'label')}, which count as 1 and 0, and {counted(beside, 'score')} of judges are not on "
            "one scale: import the rows with labels apart"
        )


def _say_more(config: ImportConfig, report: ImportReport, columns_there: Collection[str]) -> None:
    """Say which names that were given stand in no row, and what became of ids."""
    asked = dict.fromkeys((*config.form.keep, *config.form.drop))
    told = {name for name in asked if report.kept[name] or report.kept[f"responses.{name}"] or report.dropped[name]}
    unknown = [name for name in asked if name != "all" and name not in columns_there and name not in told]
    unknown = [name for name in unknown if not (name in config.form.drop and is_media(name))]  # of a placeholder
    if unknown:
        report.notes.append(f"no row has a field {' or '.join(unknown)} to keep or to drop")
    numbers = [name for name, found in report.unread.items() if found.count == found.numbers]
    for judge, column in config.form.score_columns.items():
        if any(one.field == column and one.reason == "not-a-number" for one in report.problems):
            others = f": fields of numbers are {', '.join(numbers)}" if numbers else ""
            report.notes.append(f"--score-column {judge}={column} names a column that does not hold numbers{others}")
    if config.form.survey.unheld:
        report.notes.append(f"--values names {' and '.join(config.form.survey.unheld)}, which no verdict is")
    if any(report.forms.values()) and not report.reasons:
        report.notes += [f"{path}: no row is in this file" for path, forms in report.forms.items() if not forms]
    for name in sorted(config.form.survey.row_numbers):
        report.notes.append(f"{name} numbers rows, since prompts come again under other values: it is no query's id")


def _small_margins(spools: Sequence[Spool], threshold: float) -> list[str]:
    """What to say of comparisons that the default threshold leaves out; of ties no threshold makes a pair."""
    whole = below = 0
    smallest = threshold
    for spool in spools:
        for batch in spool.batches():
            comparisons = batch.column("comparisons").flatten()
            first, second = (
                np.rint(comparisons.field(name).to_numpy() * SCORE_GRID) for name in ("first_score", "second_score")
            )
            margins = np.abs(first - second)[~_are_scored(batch)] / SCORE_GRID
            small = margins[(margins > 0) & (margins < threshold)]
            whole, below = whole + len(margins), below + len(small)
            smallest = min(smallest, small.min(initial=smallest))
    if not below:
        return []
    return [
        f"{below:,} of {whole:,} comparisons have a margin below the default threshold of {threshold:g}: they give "
        f"pairs with a threshold of {smallest:g}"
    ]


def _comparison_threshold(config: ImportConfig, report: ImportReport, spools: Sequence[Spool]) -> float | None:
    """The store's for comparisons: what the user gave, 1 where all are verdicts, else 0; None without any."""
    if not report.counts["comparisons"]["stored"]:
        return None
    if config.comparison_threshold is not None:
        return float(config.comparison_threshold)
    if config.default_threshold is not None and not report.counts["scores"]["stored"]:
        return report.default_threshold
    batches = (batch.column("comparisons").flatten() for spool in spools for batch in spool.batches())
    return COMPARISONS_THRESHOLD if all(map(_are_verdicts, batches)) else 0.0


def _are_verdicts(comparisons: Any) -> bool:
    """Whether all comparisons say which side is better, or how much, or that none is, and score neither.

    Such are 1 and 0, .8 and .2, .5 and .5, which share one point; 3 and 0, a strength; 0 and 0.
    """
    sides = [np.rint(comparisons.field(name).to_numpy() * SCORE_GRID) for name in ("first_score", "second_score")]
    lower, higher = np.minimum(*sides), np.maximum(*sides)
    shared = (lower >= 0) & (lower + higher == SCORE_GRID)
    return bool((shared | ((lower == 0) & ((higher == 0) | (higher >= COMPARISONS_THRESHOLD * SCORE_GRID)))).all())


def _are_scored(batch: pa.RecordBatch) -> Any:
    """For each comparison of a batch, whether both its responses have scores, which then say who won."""
    responses, comparisons = batch.column("responses"), batch.column("comparisons")
    scored = pc.list_value_length(responses.flatten().field("scores")).fill_null(0).to_numpy() > 0
    starts = responses.offsets.to_numpy()[pc.list_parent_indices(comparisons).to_numpy()] - responses.offsets[0].as_py()
    first, second = (comparisons.flatten().field(side).to_numpy() for side in ("first", "second"))
    return scored[starts + first] & scored[starts + second]


def _names(paths: Sequence[Path]) -> dict[str, str]:
    """For each path as given, what a store calls it: as few of its last parts as no other path ends with."""
    parts = [path.parts[bool(path.anchor) :] for path in paths]  # where a machine keeps its files is nobody's business
    endings = Counter(own[-length:] for own in parts for length in range(1, len(own) + 1))

    def shortest(own: tuple[str, ...]) -> str:
        lengths = range(1, len(own) + 1)
        length = next((length for length in lengths if endings[own[-length:]] == 1), len(own))
        return "/".join(own[-length:])

    return {str(path): shortest(own) for path, own in zip(paths, parts, strict=True)}


def _default_threshold(config: ImportConfig, report: ImportReport) -> float:
    """The store's: what the user gave, 1 for verdicts and labels, else what the range of scores says.

    Scores that were compared are on that range where the user gave it.
    """
    assert report.score_range is not None
    if config.default_threshold is not None:
        return check_default_threshold(config.default_threshold, report.score_range)
    stored = {unit: report.counts[unit]["stored"] for unit in UNITS}
    compared = stored["comparisons"] and not stored["scores"]
    verdicts = compared and (report.verdicts or not report.range_is_given)
    labels = report.score_range == (0, 1) and all(set(forms) <= {"kto"} for forms in report.forms.values())
    return COMPARISONS_THRESHOLD if verdicts or labels else scaled_threshold(report.score_range)
