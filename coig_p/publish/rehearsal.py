"""A release published to a Hub that lives on this machine while the rehearsal does. Needs no network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from coig_p.core.progress import Bar, no_bar
from coig_p.publish.client import DEFAULT, HubConfig
from coig_p.publish.hub import publish
from coig_p.publish.hub_internals import online
from coig_p.publish.local_hub import Account, LocalHub
from coig_p.publish.plan import Release, check_repo
from coig_p.publish.results import Published
from coig_p.publish.verify import Load

_TOKEN = "local"


def rehearse(
    release: Release,
    repo_id: str = "org/name",
    config: HubConfig = DEFAULT,
    bar: Bar = no_bar,
    load: Load | None = None,
) -> Published:
    """Publish to a Hub that starts now and ends with the call: every step, every check, nothing kept.

    Takes and returns what `publish` does; no token is needed.

    Raises:
        DataError: what came back is not the release; it would fail on any Hub.
    """
    owner = check_repo(repo_id).split("/")[0]
    with tempfile.TemporaryDirectory(prefix="coigp-rehearsal-") as folder:
        hub = LocalHub(Path(folder), {_TOKEN: Account(owner)})
        with hub.serving(), _reaching_loopback():
            return publish(release, repo_id, replace(config, token=_TOKEN, endpoint=hub.endpoint), bar, load)


@contextmanager
def _reaching_loopback() -> Iterator[None]:
    """No proxy between us and ourselves, and HF_HUB_OFFLINE, which means the network, left out of it."""
    saved = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    os.environ.update(dict.fromkeys(saved, "127.0.0.1,localhost"))
    try:
        with online():
            yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
