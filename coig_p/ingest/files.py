"""Raw rows into a store: every value checked, everything counted, nothing lost without a word.

`coig_p.ingest.intake` checks the rows and spools them to disk. Then rows of one query_id are merged,
responses without a model are named, and shards of equal size are written.
"""

from __future__ import annotations

import codecs
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from coig_p._version import __version__
from coig_p.core.atomic import atomic_directory
from coig_p.core.progress import Advance
from coig_p.engine.local import in_order
from coig_p.errors import UsageError
from coig_p.ingest.accounting import ImportFailed, ImportReport
from coig_p.ingest.bulk import clean_rows
from coig_p.ingest.forms import detect
from coig_p.ingest.intake import DEFAULT_THRESHOLD, ImportConfig, Intake, shaped
from coig_p.ingest.readers import RawRow, find_inputs, has_lines, read_blocks, read_rows
from coig_p.schema import UNITS
from coig_p.store.manifest import Manifest
from coig_p.store.places import check_target
from coig_p.store.store import Store
from coig_p.store.writing import Part, describe_file, sha256_of, write_store

COMPARISONS_THRESHOLD = 1.0  # "A wins" is 1 and 0


def import_files(
    inputs: Sequence[str | Path],
    out: str | Path,
    config: ImportConfig,
    *,
    overwrite: bool = False,
    advance: Advance = lambda read: None,
) -> tuple[Store, ImportReport]:
    """Import files into a new store at `out`, which appears whole or not at all.

    Args:
        overwrite: replace an existing store; anything else at `out` is refused all the same.
        advance: called with the number of bytes read since the last call.

    Raises:
        UsageError: an input or `out` that cannot be used.
        ImportFailed: problems with on_error "fail", or nothing left with "skip".
    """
    if not inputs:
        raise UsageError("no input: name one or more files")
    paths = find_inputs(inputs)
    target = Path(out)
    check_target(target, overwrite)
    report = ImportReport()
    with atomic_directory(target) as root, ThreadPoolExecutor(1) as hashing:
        hashes = [hashing.submit(sha256_of, path) for path in paths]
        spool_folder = root / "spool"
        spool_folder.mkdir()
        with (root / "rejects.jsonl").open("w", encoding="utf-8", newline="\n") as rejects:
            intake = Intake(config, report, rejects, _names(paths), spool_folder)
            for path in paths:
                _take_in(path, intake, advance)
            spools = intake.close()
        problems = sum(report.reasons.values())
        if problems and config.on_error == "fail":
            raise ImportFailed(
                f"nothing was written: {problems} problem{'s' * (problems > 1)}. Mend them, or pass --on-error skip",
                report,
            )
        if not report.counts["responses"]["stored"]:
            raise ImportFailed("nothing was written: no response is left", report)
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
                score_range=config.score_range,
                default_threshold=_default_threshold(config, report),
                tool=f"coig-p {__version__}",
                files=tuple(extra),
                sources=tuple(
                    {"name": names[str(path)], "sha256": sha256.result(), "license": config.license}
                    for path, sha256 in zip(paths, hashes, strict=True)
                ),
                options={
                    "domain": config.domain,
                    "domain_map": dict(config.domain_map),
                    "split": config.split,
                    "format": {names[path]: form for path, form in report.forms.items()},
                    "fields": dict(config.form.fields),
                    "encoding": config.encoding,
                    "on_error": config.on_error,
                },
                accounting=report.accounting(),
            ),
        )
        shutil.rmtree(spool_folder)
    return Store.open(target), report


def _take_in(path: Path, intake: Intake, advance: Advance) -> None:
    """Every row of a file, whole blocks at once where that can be."""
    config, file = intake.config, str(path)

    def add(rows: Iterable[RawRow]) -> None:
        forms = intake.report.forms
        for row in rows:
            if file not in forms and isinstance(row.value, dict):
                forms[file] = detect(row.value, config.form)
            intake.add(shaped(row, forms.get(file, "nested"), config.form))

    may_be_nested = config.form.form in ("auto", "nested") and not config.form.fields
    if not (may_be_nested and has_lines(path) and codecs.lookup(config.encoding).name == "utf-8"):
        add(read_rows(path, config.encoding, advance))
        return
    check = partial(clean_rows, score_range=config.score_range)
    for block, clean in in_order(check, read_blocks(path, advance)):
        if isinstance(block, RawRow):
            add([block])
        elif clean is not None and intake.report.forms.get(file, "nested") == "nested" and intake.add_clean(clean):
            intake.report.forms[file] = "nested"
        else:
            add(block.rows(config.encoding))


def _names(paths: Sequence[Path]) -> dict[str, str]:
    """For each path as given, what a store calls it: its last part where that is unique."""
    last = Counter(path.name for path in paths)
    return {str(path): path.name if last[path.name] == 1 else path.as_posix() for path in paths}


def _default_threshold(config: ImportConfig, report: ImportReport) -> float:
    if config.default_threshold is not None:
        return config.default_threshold
    stored = {unit: report.counts[unit]["stored"] for unit in UNITS}
    return COMPARISONS_THRESHOLD if stored["comparisons"] and not stored["scores"] else DEFAULT_THRESHOLD
