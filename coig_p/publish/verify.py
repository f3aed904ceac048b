"""Is what lies on a Hub the release, and does it load? Asked at a commit, before anybody else sees it."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fnmatch import translate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from coig_p.core.front_matter import read_front_matter
from coig_p.core.progress import Advance
from coig_p.errors import CoigPError, DataError, RemoteError
from coig_p.publish.client import HubRepo
from coig_p.publish.plan import Release, ReleaseFile, Tree, same
from coig_p.publish.remote import RemoteRepo
from coig_p.publish.results import RowCounts
from coig_p.store.writing import sha256_of

_THREADS = 4
_CARD = "README.md"
_logger = logging.getLogger("coig_p")


@dataclass(frozen=True)
class Loaded:
    """What loading configs one after the other in one way came to.

    Attributes:
        rows: of the configs that loaded, by split.
        failed: the config that did not, after which none was tried, or None.
        error: what stood in its way; where `failed` is None, what ended the loading altogether, or "".
    """

    rows: RowCounts
    failed: str | None = None
    error: str = ""


Load = Callable[[HubRepo, str, Sequence[str], str], Loaded]
"""From a repository, a commit, its configs and a way, "map-style" or "streaming", to what loading gave."""


def verify_commit(
    repo: HubRepo,
    commit: str,
    release: Release,
    advance: Advance = lambda read: None,
    load: Load | None = None,
    before: str = "",
) -> RowCounts:
    """Download a commit, compare every hash, and load every config of the card in both ways.

    Where the data is that of the release before, and the card names the same configs of it, only what changed is
    downloaded and compared, and nothing is loaded: that release was.

    Args:
        advance: called with the number of bytes downloaded, or known to be there, since the last call.
        load: default: `load_in_process`.
        before: the commit of the release before; "" where there is none.

    Returns:
        Rows by config and split, as both ways of loading gave them; where nothing was loaded, as the files say.

    Raises:
        DataError: a file or a number of rows is not as the release says.
        RemoteError: the Hub could not be asked.
    """

    def fetch(file: ReleaseFile) -> str:
        return sha256_of(repo.download(file.path, commit))

    then = repo.tree(before) if before else {}
    known = _same_data(release, then) and _loads_alike(repo, before, commit)
    asked = tuple(file for file in release.files if not (known and same(file, then.get(file.path))))
    with ThreadPoolExecutor(_THREADS) as threads:
        compare_hashes(replace(release, files=asked), threads.map(fetch, asked), f"{repo.id}@{commit}", advance)
    expected = expected_rows(release)
    if known:
        advance(release.bytes - sum(file.bytes for file in asked))
        _logger.info("%s: its data is that of the release before: only what changed was looked at", repo.id)
        return expected
    for way in ("map-style", "streaming"):
        for last in (False, True):  # datasets gives up sooner than we do
            loaded = (load or load_in_process)(repo, commit, list(expected), way)
            problem = load_problem(repo, commit, expected, way, loaded)
            if problem is None:
                break
            if last or not isinstance(problem, RemoteError):
                raise problem
    return expected


def _same_data(release: Release, then: Tree) -> bool:
    """Whether the release has the Parquet files that stood there, and no other; False where none did."""
    own = [file for file in release.files if _is_data(file.path)]
    return {file.path for file in own} == {path for path in then if _is_data(path)} and all(
        same(file, then[file.path]) for file in own
    )


def _is_data(path: str) -> bool:
    return path.endswith(".parquet")


def _loads_alike(repo: HubRepo, before: str, commit: str) -> bool:
    """Whether the cards of two commits, as the stock client reads them, name the same configs of the same files."""
    from huggingface_hub import DatasetCard

    def told(revision: str) -> Any:
        metadata = DatasetCard.load(repo.download(_CARD, revision)).data.to_dict()
        return metadata["configs"], metadata.get("dataset_info")

    try:
        return bool(told(before) == told(commit))
    except (yaml.YAMLError, ValueError, KeyError, TypeError):
        return False  # whoever loads it will say why


def compare_hashes(release: Release, found: Iterable[str], where: str, advance: Advance) -> None:
    """Compare the SHA-256 of what came back, file by file, with what was sent.

    Raises:
        DataError: the first that differs.
    """
    for file, sha256 in zip(release.files, found, strict=True):
        if sha256 != file.sha256:
            raise DataError(f"{where}: {file.path} came back with another sha256 than it was sent with. No tag was set")
        advance(file.bytes)


def expected_rows(release: Release) -> RowCounts:
    """Rows by config and split: the card's patterns, and the footers of the files they match.

    Raises:
        DataError: the card's metadata cannot be read, or a pattern matches nothing.
    """
    card = next((file for file in release.files if file.path == _CARD), None)
    if card is None:
        raise DataError(f"the release has no {_CARD}, so nobody could load it")
    try:
        configs = (read_front_matter(card.source.read_text("utf-8")) or {"configs": []})["configs"]
        wanted = [
            (config["config_name"], split, pattern)
            for config in configs
            for split, patterns in _data_files(config["data_files"])
            for pattern in patterns
        ]
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{_CARD}: its metadata names no configs that can be read: {error!r}") from None
    rows: dict[str, dict[str, int]] = {}
    by_path = {file.path: file for file in release.files}
    held: dict[str, int] = {}  # rows by path: many configs may read one file
    for config, split, pattern in wanted:
        files = _matching(by_path, pattern)
        if not files:
            raise DataError(f"{_CARD}: {pattern}, of config {config}, matches no file of the release")
        counts = rows.setdefault(config, {})
        for file in files:
            try:
                if file.path not in held:
                    held[file.path] = pq.read_metadata(file.source.absolute()).num_rows
            except pa.ArrowInvalid as error:
                raise DataError(f"{file.path}, of config {config}, is not readable as Parquet: {error}") from None
            counts[split] = counts.get(split, 0) + held[file.path]
    return rows


def _matching(by_path: Mapping[str, ReleaseFile], pattern: str) -> list[ReleaseFile]:
    """The files that a pattern of a card matches, in the release's order. Most patterns are paths."""
    if not any(sign in pattern for sign in "*?["):
        return [by_path[pattern]] if pattern in by_path else []
    matches = re.compile(translate(pattern)).match
    return [file for path, file in by_path.items() if matches(path)]


def _data_files(given: Any) -> Iterator[tuple[str, list[str]]]:
    """Split and patterns, of the three forms that a card may have."""
    for entry in given if isinstance(given, list) else [given]:
        if isinstance(entry, Mapping):
            path = entry["path"]
            yield str(entry.get("split", "train")), [path] if isinstance(path, str) else list(path)
        else:
            yield "train", [entry]


def load_in_process(repo: HubRepo, commit: str, configs: Sequence[str], way: str) -> Loaded:
    """Load every config by the stock library, in a process that has seen nothing of this machine's caches."""
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
        "configs": list(configs),
        "way": way,
        "cache": str(repo.scratch / "tables"),
        "timeout": repo.timeout,
        "token": repo.token or False,
    }
    script = Path(__file__).with_name("load_script.py")
    nowhere = repo.scratch / "nowhere"  # datasets would take a folder ORG/NAME of where we are for the repository
    nowhere.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-P", str(script)],
        input=json.dumps(asked),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        cwd=nowhere,
        check=False,
    )
    rows: dict[str, dict[str, int]] = {}
    for answer in map(json.loads, done.stdout.splitlines()):
        if "error" in answer:
            return Loaded(rows, answer["config"], answer["error"])
        rows[answer["config"]] = answer["rows"]
    if len(rows) < len(configs):
        return Loaded(rows, None, f"loading ended with code {done.returncode}: {' '.join(done.stderr.split()[-60:])}")
    return Loaded(rows)


def load_problem(repo: RemoteRepo, commit: str, expected: RowCounts, way: str, loaded: Loaded) -> CoigPError | None:
    """What is wrong with what loading gave, or None: rows first, in the configs' order, then what failed."""
    for config, rows in loaded.rows.items():
        if rows != expected[config]:
            return DataError(
                f"config {config}, {way}: {rows} rows, {expected[config]} in the files. "
                "Nothing but the branch was changed"
            )
    if loaded.failed is None:
        if loaded.rows.keys() == expected.keys():
            return None
        return repo.problem(f"{loaded.error or 'not every config was loaded'}. main is as it was")
    if "NonMatchingSplitsSizesError" in loaded.error:
        return DataError(
            f"config {loaded.failed}: the card's dataset_info counts other rows than its files have. "
            f"Make the release again; nothing but the branch was changed. {loaded.error}"
        )
    return repo.problem(
        f"config {loaded.failed} could not be loaded from commit {commit}: {loaded.error}. "
        "main is as it was: run the same command again"
    )
