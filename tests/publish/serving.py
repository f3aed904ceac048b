"""A directory on a local Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coig_p.publish.local_hub import Account, LocalHub


@contextmanager
def serve(root: Path, repo: str = "org/name", token: str | None = None) -> Iterator[LocalHub]:
    """One dataset, with a tag v1.0.0; private where a token is given, which is then the one that may see it."""
    accounts = {token or "hf_" + "w" * 30: Account("me", (repo.split("/")[0],))}
    with tempfile.TemporaryDirectory() as folder, LocalHub(Path(folder), accounts).serving() as hub:
        repository = hub.create(repo, private=token is not None)
        repository.put_folder(root)
        repository.add_ref("refs/tags/v1.0.0", "main")
        yield hub


def head(hub: LocalHub, repo: str = "org/name") -> str:
    """The commit main stands at."""
    return hub.repositories[repo].find("main").oid
