"""The command that examines a store's judges: judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coig_p.cli.engines import num_proc_option
from coig_p.cli.options import as_json, domains_option, language_option, open_store, overwrite_option, store_argument
from coig_p.cli.screen import check_apart, harmless_json, one_line, pasted, progress, table
from coig_p.cli.tree import command
from coig_p.core.text import counted, printable

if TYPE_CHECKING:
    from coig_p.stats.calibrating import Method, Scales
    from coig_p.stats.examined import JudgesExamined
    from coig_p.stats.judged import Judged
    from coig_p.store.store import Store

_NAMED = 6  # judges in a message


@command("judges")
@store_argument()
@click.option(
    "--families",
    "families_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="TOML that says whose model is whose: pattern = family. Default: the makers of COIG-P's models and judges.",
)
@click.option(
    "--human",
    default="human:",
    show_default=True,
    metavar="PREFIX|REVIEW",
    help="How the names of judges begin who are people, or the folder of a review, whose answers are read.",
)
@click.option(
    "--no-self-preference", is_flag=True, help="Leave it out: the model needs no scores of own families then."
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Write a page, Markdown, JSON and plots there."
)
@overwrite_option("what an earlier run wrote at DIR, and FILE")
@click.option(
    "--calibrate",
    "calibrate",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Fit what brings the judges to one scale, and write it there, for pairs: --calibrate FILE.",
)
@click.option(
    "--method",
    type=click.Choice(["joint", "zscore"]),
    default=None,
    help="Of --calibrate. joint (default): of responses that judges share. zscore: one judge a response, at random.",
)
@language_option("Of the words at DIR.")
@domains_option
@num_proc_option
@as_json
def judges(
    store: Path,
    families_file: Path | None,
    human: str,
    no_self_preference: bool,
    out: Path | None,
    overwrite: bool,
    calibrate: Path | None,
    method: Method | None,
    language: str,
    domains: tuple[str, ...],
    num_proc: int | None,
    json_: bool,
) -> None:
    """Examine the judges of a STORE: leniency, spread, self-preference, position, agreement.

    Exits 1 where the scores cannot tell, and says what to collect; what they can tell is shown all the same.

    \b
    coigp judges store
    coigp judges store --no-self-preference --out judges
    coigp judges store --human review --families families.toml --json | jq .judges
    coigp judges store --calibrate calibration.json --method zscore
    """
    from coig_p.report.judges_report import FILES
    from coig_p.stats.examined import examined, missing_of_run
    from coig_p.stats.families import DEFAULT, read_families
    from coig_p.stats.judged import judge_sums
    from coig_p.store.places import check_file, check_folder

    if method is not None and calibrate is None:
        raise click.UsageError("--method is how --calibrate FILE is fitted: name the FILE, or leave it out.")
    if not human:
        raise click.BadParameter("an empty beginning makes every judge a person", param_hint="--human")
    families = DEFAULT if families_file is None else read_families(families_file)
    if out is not None:
        check_folder(out, FILES, "a folder of coigp judges", overwrite)
        check_apart(out, [families_file, calibrate])
    if calibrate is not None:
        if calibrate.suffix.lower() != ".json":
            raise click.BadParameter(f"{calibrate}: name a file that ends in .json", param_hint="--calibrate")
        check_file(calibrate, "a calibration file", overwrite)
        check_apart(calibrate, [families_file])
    opened = open_store(store)
    added, person = _people(human, opened)
    if not added:
        _check_person(person, opened)
    files = opened.selected_files(domains)
    with progress("Examining", sum(file.rows or 0 for file in files), "queries") as advance:
        sums = judge_sums(opened, domains=domains, person=person, added=added, num_proc=num_proc, advance=advance)
    found = examined(
        sums,
        opened,
        families=families,
        person=person,
        self_preference=not no_self_preference,
        missing=missing_of_run(opened, domains),
    )
    if out is not None:
        _write(out, found, store.resolve().name, language)
    scales = None
    if calibrate is not None:
        scales = _calibrate(
            calibrate, opened, sums, method or "joint", families, domains, self_preference=not no_self_preference
        )
    if json_:
        click.echo(harmless_json(found.to_json()), nl=False)
    else:
        _print(found)
        if out is not None:
            click.echo(f"\nwrote {printable(str(out))}")
        if scales is not None:
            _print_scales(calibrate, scales)
    if found.refusals and calibrate is None:
        raise SystemExit(1)


def _people(human: str, store: Store) -> tuple[dict[str, list[dict[str, Any]]], str]:
    """What people said in a review, by query_id, and how the names of judges begin who are people."""
    from coig_p.stats.said import PERSON

    folder = Path(human)
    if (folder / "review.json").is_file():
        from coig_p.review.applying import comparisons_of_review

        return comparisons_of_review(folder, store), PERSON
    if folder.is_dir():
        raise click.BadParameter(f"{human} is a folder without review.json, so no review", param_hint="--human")
    return {}, human


def _check_person(person: str, store: Store) -> None:
    """Refuse a beginning that no judge's name has: a folder that was mistyped, or people who are not there."""
    from coig_p.stats.said import PERSON

    names = store.manifest.judges  # of an older store they may not be told
    if person != PERSON and names and not any(name.startswith(person) for name in names):
        raise click.BadParameter(
            f"{person!r} is neither the folder of a review nor how a judge's name begins; this store has "
            f"{_listed(sorted(names))}",
            param_hint="--human",
        )


def _listed(names: Sequence[str]) -> str:
    """Names for a message, of many the first."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more


def _print(found: JudgesExamined) -> None:
    from coig_p.report.judges_report import sections

    first = True
    for section in sections(found):
        if not first:
            click.echo()
        first = False
        click.echo(section.title)
        if section.note:
            click.echo(section.note)
        if found.refusals and section.header[1:] == ("why", "what to collect"):
            for one in found.refusals:
                click.echo(printable(f"- {one.why}."))
                click.echo(printable(f"  Collect: {one.collect}"))
            continue
        click.echo(table(section.header, section.rows))
    if first:
        click.echo("no judge said anything")
    elif not any(one.responses for one in found.judges.values()):
        click.echo("\nno judge gave scores: leniency, spread and self-preference cannot be told by comparisons alone")
    if found.joint is not None:
        joint = found.joint
        click.echo(
            f"\nthe joint model: {counted(joint.responses, 'shared response')}, "
            f"{counted(joint.queries, 'query', 'queries')}, at rest after {counted(joint.steps, 'step')}"
        )


def _write(out: Path, found: JudgesExamined, store: str, language: str) -> None:
    from coig_p.core.atomic import atomic_directory
    from coig_p.report.judges_report import DOCUMENT, NUMBERS, PAGE, as_markdown, judges_page, plots

    with atomic_directory(out) as root:
        made = {
            PAGE: judges_page(found, store, language),
            DOCUMENT: as_markdown(found, store, language),
            NUMBERS: found.to_json(),
            **plots(found, language),
        }
        for name, text in made.items():
            (root / name).write_text(text, encoding="utf-8", newline="\n")


def _calibrate(
    out: Path,
    store: Store,
    sums: Judged,
    method: Method,
    families: Mapping[str, str],
    domains: Sequence[str],
    *,
    self_preference: bool,
) -> Scales:
    from coig_p.pairs.calibration import write_calibration
    from coig_p.stats.calibrating import fit_scales
    from coig_p.store.manifest import MANIFEST
    from coig_p.store.writing import sha256_of

    scales = fit_scales(sums, method, families, self_preference=self_preference)
    write_calibration(
        out,
        method=method,
        judges=scales.judges,
        reference=scales.reference,
        score_range=store.manifest.score_range,
        store={"manifest_sha256": sha256_of(store.path / MANIFEST), "name": store.path.resolve().name},
        options={"domains": list(domains), "families": dict(families), "own_in_leniency": list(scales.folded)},
    )
    if scales.folded:
        click.echo(
            one_line(
                f"note: what {_listed(scales.folded)} may give answers of its own family beyond others' is in its "
                f"leniency in {out}: it "
                + ("cannot be told here" if self_preference and method == "joint" else "was not fitted apart")
            ),
            err=True,
        )
    return scales


def _print_scales(out: Path | None, scales: Scales) -> None:
    rows = [
        [name, one.responses, f"{one.offset:.3f}", f"{one.scale:.3f}"]
        for name, one in [*scales.judges.items(), ("(brought to)", scales.reference)]
    ]
    click.echo()
    click.echo(table(["judge", "responses", "offset", "scale"], rows))
    click.echo(
        f"wrote {pasted(out)}. Use it: coigp pairs STORE --calibrate {pasted(out)} --threshold 2 --out pairs.parquet"
    )
