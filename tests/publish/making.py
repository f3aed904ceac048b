"""Release folders for tests: a store with its pairs, a card that names every config, a manifest of all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from coig_p.export.one_file import write_pairs
from coig_p.pairs.config import PairConfig
from coig_p.publish.verify import Loaded
from coig_p.store.manifest import MANIFEST
from coig_p.store.store import Store
from coig_p.store.writing import describe_file

CARD = """
pretty_name = "试验用偏好数据"
license = "cc-by-4.0"
authors = ["甲"]
citation = "@misc{trial, title={Trial}}"
intended_use = "Trying releases."
sources = [{ name = "written for tests", license = "CC0" }]
"""
"""card.toml with all that a release must have, and no more."""


def make_release(store: Path, folder: Path, note: str = "") -> Path:
    """A release of a store of one split: its data, its pairs at the default threshold, its card.

    Args:
        note: a line of the card, so that releases of one store can differ.
    """
    opened = Store.open(store)
    manifest = opened.manifest
    files = []
    for file in manifest.data_files():
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(store / file.path, folder / file.path)
        files.append(file)
    configs: list[dict[str, Any]] = []
    (split,) = manifest.splits()
    for domain in manifest.domains:
        path = f"pairs/{domain}/{split}-00000-of-00001.parquet"
        counts, _ = write_pairs(store, folder / path, PairConfig(), domains=[domain])
        files.append(describe_file(folder, path, "pairs", rows=counts[domain]))
        configs.append(_config(domain, split, f"pairs/{domain}/{split}-*.parquet"))
        configs.append(_config(f"{domain}-raw", split, f"data/{domain}/{split}-*.parquet"))
    configs.append(_config("default", split, f"pairs/*/{split}-*.parquet") | {"default": True})
    head = yaml.safe_dump({"configs": configs, "language": ["zh"]}, sort_keys=False)
    (folder / "README.md").write_text(f"---\n{head}---\n\n# 偏好数据\n\n{note}\n", encoding="utf-8")
    files.append(describe_file(folder, "README.md", "readme"))
    write_manifest(folder, replace(manifest, files=tuple(files)))
    return folder


def change_card(folder: Path, note: str) -> None:
    """Another line in the card, and the manifest that goes with it."""
    card = folder / "README.md"
    card.write_text(card.read_text("utf-8") + f"\n{note}\n", encoding="utf-8")
    manifest = Store.open(folder, check_sizes=False).manifest
    files = [file for file in manifest.files if file.path != "README.md"]
    write_manifest(folder, replace(manifest, files=(*files, describe_file(folder, "README.md", "readme"))))


def put_file(folder: Path, path: str, content: bytes, role: str) -> None:
    """A file of a release, in the place of the one that was there, and the manifest that goes with it."""
    (folder / path).write_bytes(content)
    manifest = Store.open(folder, check_sizes=False).manifest
    files = [file for file in manifest.files if file.path != path]
    write_manifest(folder, replace(manifest, files=(*files, describe_file(folder, path, role))))


def write_manifest(folder: Path, manifest: Any) -> None:
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def listed(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a release by path, the manifest left out."""
    return {file["path"]: file["sha256"] for file in json.loads((folder / MANIFEST).read_text("utf-8"))["files"]}


def _config(name: str, split: str, path: str) -> dict[str, Any]:
    return {"config_name": name, "data_files": [{"split": split, "path": path}]}


def count_footers(repo: Any, commit: str, configs: Sequence[str], way: str) -> Loaded:
    """In place of loading, which takes seconds: rows by config, as the downloaded card and files say.

    Unlike the release's own counting it reads what came back from the Hub.
    """
    card = repo.download("README.md", commit)
    named = {at["config_name"]: at for at in yaml.safe_load(card.read_text("utf-8").split("---\n")[1])["configs"]}
    return Loaded(
        {
            config: {
                at["split"]: sum(
                    pq.read_metadata(path).num_rows
                    for pattern in ([at["path"]] if isinstance(at["path"], str) else at["path"])
                    for path in card.parent.glob(pattern)
                )
                for at in named[config]["data_files"]
            }
            for config in configs
        }
    )
