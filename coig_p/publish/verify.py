"""Is what lies on a Hub the release, and does it load? Asked at a commit, before anybody else sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from coig_p.errors import DataError, RemoteError
from coig_p.publish.client import HubRepo
from coig_p.publish.plan import Release
from coig_p.store.writing import sha256_of

Rows = dict[str, dict[str, int]]
_THREADS = 4
_CARD = "README.md"


def verify_commit(
    repo: HubRepo, commit: str, release: Release, advance: Callable[[int], None] = lambda read: None
) -> Rows:
    """Download a commit, compare every hash, and load every config of the card in both ways.

    Args:
        advance: called with the number of bytes downloaded since the last call.

    Returns:
        Rows by config and split, as both ways of loading gave them.

    Raises:
        DataError: a file or a number of rows is not as the release says.
        RemoteError: the Hub could not be asked.
    """

    def fetch(at: int) -> str | None:
        file = release.files[at]
        found = sha256_of(repo.download(file.path, commit))
        advance(file.bytes)
        return None if found == file.sha256 else file.path

    with ThreadPoolExecutor(_THREADS) as threads:
        wrong = [path for path in threads.map(fetch, range(len(release.files))) if path]
    if wrong:
        raise DataError(f"{repo.id}@{commit}: {wrong[0]} came back with another sha256 than it was sent with")
    expected = expected_rows(release)
    for way in ("map-style", "streaming"):
        problem = _load(repo, commit, expected, way)
        if isinstance(problem, RemoteError):  # datasets gives up sooner than we do
            problem = _load(repo, commit, expected, way)
        if problem is not None:
            raise problem
    return expected


def expected_rows(release: Release) -> Rows:
    """Rows by config and split: the card's patterns, and the footers of the files they match.

    Raises:
        DataError: the card's metadata cannot be read, or a pattern matches nothing.
    """
    card = next((file for file in release.files if file.path == _CARD), None)
    if card is None:
        raise DataError(f"the release has no {_CARD}, so nobody could load it")
    head = card.source.read_text("utf-8").split("---\n")
    try:
        configs = yaml.safe_load(head[1])["configs"] if len(head) > 2 else []
        wanted = [
            (config["config_name"], split, pattern)
            for config in configs
            for split, patterns in _data_files(config["data_files"])
            for pattern in patterns
        ]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{_CARD}: its metadata names no configs that can be read: {error!r}") from None
    rows: Rows = {}
    for config, split, pattern in wanted:
        files = [file for file in release.files if fnmatchcase(file.path, pattern)]
        if not files:
            raise DataError(f"{_CARD}: {pattern}, of config {config}, matches no file of the release")
        counts = rows.setdefault(config, {})
        for file in files:
            try:
                counts[split] = counts.get(split, 0) + pq.read_metadata(file.source).num_rows
            except pa.ArrowInvalid as error:
                raise DataError(f"{file.path}, of config {config}, is not readable as Parquet: {error}") from None
    return rows


def _data_files(given: Any) -> Iterator[tuple[str, list[str]]]:
    """Split and patterns, of the three forms that a card may have."""
    for entry in given if isinstance(given, list) else [given]:
        if isinstance(entry, Mapping):
            path = entry["path"]
            yield str(entry.get("split", "train")), [path] if isinstance(path, str) else list(path)
        else:
            yield "train", [entry]


def _load(repo: HubRepo, commit: str, expected: Rows, way: str) -> Exception | None:
    """What is wrong with loading every config in one way, or None."""
    home = repo.scratch / "home"
    # A cache of its own: nothing that this machine has seen before can stand in for the Hub. The files
    # that were just compared with their hashes are in repo.scratch / "hub".
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    environment |= {
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(repo.scratch / "hub"),
        "HF_ENDPOINT": repo.endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "PYTHONIOENCODING": "utf-8",
        # Streaming imports torch where it is installed, 200 MB for nothing.
        **dict.fromkeys(("USE_TORCH", "USE_TF", "USE_JAX"), "0"),
    }
    asked = {
        "repo": repo.id,
        "revision": commit,
        "configs": list(expected),
        "way": way,
        "cache": str(repo.scratch / "tables"),
        "timeout": repo.timeout,
        "token": repo.token or False,
    }
    script = Path(__file__).with_name("load_script.py")
    done = subprocess.run(
        [sys.executable, "-P", str(script)],
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for answer in answers:
        config = answer["config"]
        if "error" in answer:
            if "NonMatchingSplitsSizesError" in answer["error"]:
                return DataError(
                    f"config {config}: the card's dataset_info counts other rows than its files have. "
                    f"Make the release again; nothing but the branch was changed. {answer['error']}"
                )
            return repo.problem(
                f"config {config} could not be loaded from commit {commit}: {answer['error']}. "
                "main is as it was: run the same command again"
            )
        if answer["rows"] != expected[config]:
            return DataError(
                f"config {config}, {way}: {answer['rows']} rows, {expected[config]} in the files. "
                "Nothing but the branch was changed"
            )
    if len(answers) != len(expected):
        tail = " ".join(done.stderr.split()[-60:])
        return repo.problem(f"loading ended with code {done.returncode}: {tail}. main is as it was")
    return None
