"""A whole run without a network or a model: bundled queries, scripted models and judges."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from coig_p.annotate.config import load_config
from coig_p.annotate.scripted import ScriptedServer
from coig_p.annotate.stages import run_stages
from coig_p.annotate.tasks.queries import write_lines
from coig_p.errors import DataError, UsageError
from coig_p.schema import DOMAINS
from coig_p.store.locate import BUNDLED
from coig_p.store.places import check_folder_name
from coig_p.store.store import Store

MODELS, JUDGES, WRITERS = 6, 3, 2
SUBJECTS = ("010101", "020101", "030101K", "040101", "050101", "060101", "070101", "080101", "090101", "120101")
_QUERIES_A_DOMAIN = 2
_PLAYGROUND = "http://127.0.0.1:8000/v1"  # of `python -m coig_p.annotate.scripted`


def run(folder: str | Path) -> Store:
    """Annotate 12 bundled queries (two of each domain) in a new folder; the store is folder/annotation/store.

    Six scripted models of six families answer, three of them also judge. Their answers and scores
    are made by a script and mean nothing; see `coig_p.annotate.scripted`. The run.toml that it leaves goes on
    where `python -m coig_p.annotate.scripted` serves the same models: change it, and run it again.

    Raises:
        UsageError: the folder is not empty, or the extra [annotate] is not installed.
    """
    folder = _new(folder)
    raw = BUNDLED.parent / "raw"
    lines: list[str] = []
    for domain in DOMAINS:
        with (raw / f"{domain}.jsonl").open(encoding="utf-8") as rows:
            lines += [line.rstrip("\n") for line in islice(rows, _QUERIES_A_DOMAIN)]
    write_lines(folder / "queries.jsonl", lines)
    return _annotated(folder, run_file)


def run_tap(folder: str | Path) -> Store:
    """Make preference data from ten subjects of the bundled catalogue alone, in a new folder (TaP).

    Two scripted writers list types of questions and write prompts, six scripted models answer, three of their responses
    to each prompt are selected, and three judges compare each two of these in both orders.

    Raises:
        UsageError: the folder is not empty, or the extra [annotate] or [tap] is not installed.
    """
    return _annotated(_new(folder), tap_file)


def _new(folder: str | Path) -> Path:
    folder = Path(folder)
    check_folder_name(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists: choose a new folder")
    return folder


def _annotated(folder: Path, file: Callable[[str], str]) -> Store:
    with ScriptedServer() as server:
        write_lines(folder / "run.toml", [file(server.base_url)])
        report = run_stages(load_config(folder / "run.toml"))
    write_lines(folder / "run.toml", [file(_PLAYGROUND)])
    if report.stored is None or report.stored.missing:
        raise DataError(f"{folder}: the scripted models did not answer everything: {report.left or report.stopped}")
    return report.stored.store


def tap_file(base_url: str) -> str:
    """The TOML file of the demo's run from a taxonomy."""
    endpoints = "".join(
        f"""
[[endpoints]]
name = "scripted-{number}"
model = "scripted-{number}"
base_url = "{base_url}"
family = "script-{number}"
writes = {"true" if number <= WRITERS else "false"}
generates = true
judges = {"true" if number <= JUDGES else "false"}
parameters = {{ max_tokens = 1024 }}
judge_parameters = {{ max_tokens = 512 }}
"""
        for number in range(1, MODELS + 1)
    )
    only = ", ".join(f'"{code}"' for code in SUBJECTS)
    return f"""# The demo's run from a taxonomy, to play with. Its models are scripts. This serves them:
#     python -m coig_p.annotate.scripted
[taxonomy]
only = [{only}]
rounds = 2

[select]
clusters = 3
anchor = "scripted-1"

[compare]
least_judges = {JUDGES}
{endpoints}"""


def run_file(base_url: str) -> str:
    """The TOML file of the demo's run."""
    endpoints = "".join(
        f"""
[[endpoints]]
name = "scripted-{number}"
model = "scripted-{number}"
base_url = "{base_url}"
family = "script-{number}"
generates = true
judges = {"true" if number <= JUDGES else "false"}
parameters = {{ max_tokens = 512 }}
judge_parameters = {{ max_tokens = 512 }}
"""
        for number in range(1, MODELS + 1)
    )
    return f"""# The demo's run, to play with. Its models are scripts. This serves them:
#     python -m coig_p.annotate.scripted
[queries]
inputs = ["queries.jsonl"]
filter = "scripted-1"
semantic = 0

[judging]
judges_per_response = 2
{endpoints}"""
