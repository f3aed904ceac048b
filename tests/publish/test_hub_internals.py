"""Parts of huggingface_hub that nobody promises: each is looked at before it is used, and used in one module."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest
from faults import REPO
from huggingface_hub import CommitOperationAdd
from huggingface_hub.utils import _http, _runtime
from make import make_rows, make_store
from making import count_footers, make_release
from running import run_publish
from trials import ACCOUNTS, TOKEN

import coig_p.publish
from coig_p.errors import UsageError
from coig_p.publish import HubConfig, hub_internals, load_script, publish, read_release
from coig_p.publish.local_hub import LocalHub

ROOT = Path(coig_p.publish.__file__).parents[2]
Break = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    return make_release(make_store(folder / "store", make_rows({"math": 4})), folder / "release")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with LocalHub(tmp_path / "hub", ACCOUNTS).serving() as hub:
        yield hub


@contextmanager
def as_file_of_old(self: Any) -> Iterator[Any]:
    yield None


# By part: that it is gone, and that it is there and does something else.
BROKEN: list[tuple[str, Break]] = [
    ("set_client_factory", lambda patch: patch.setattr(huggingface_hub, "set_client_factory", None)),
    ("set_client_factory", lambda patch: patch.setattr(huggingface_hub, "set_client_factory", lambda factory: None)),
    ("set_client_factory", lambda patch: patch.setattr(_http, "_GLOBAL_CLIENT_FACTORY", object)),
    ("utils._http._GLOBAL_CLIENT_FACTORY", lambda patch: patch.delattr(_http, "_GLOBAL_CLIENT_FACTORY")),
    (
        "utils._http._GLOBAL_CLIENT_FACTORY",
        lambda patch: patch.setattr(_http, "_GLOBAL_CLIENT_FACTORY", lambda options: None),
    ),
    ("constants.HF_HUB_DISABLE_XET", lambda patch: patch.delattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET")),
    ("constants.HF_HUB_DISABLE_XET", lambda patch: patch.setattr(_runtime, "is_xet_available", lambda: True)),
    ("utils._runtime.is_xet_available", lambda patch: patch.delattr(_runtime, "is_xet_available")),
    ("constants.HF_HUB_OFFLINE", lambda patch: patch.delattr(huggingface_hub.constants, "HF_HUB_OFFLINE")),
    ("constants.HF_HUB_OFFLINE", lambda patch: patch.setattr(huggingface_hub, "is_offline_mode", lambda: True)),
    ("CommitOperationAdd.as_file(with_tqdm)", lambda patch: patch.delattr(CommitOperationAdd, "as_file")),
    (
        "CommitOperationAdd.as_file(with_tqdm)",
        lambda patch: patch.setattr(CommitOperationAdd, "as_file", as_file_of_old),
    ),
    (
        "CommitOperationAdd.upload_info.sha256",
        lambda patch: patch.setattr(huggingface_hub.lfs.UploadInfo, "sha256", property(lambda self: bytes(32))),
    ),
    (
        "CommitOperationAdd.upload_info.sha256",
        lambda patch: patch.setattr(CommitOperationAdd, "__post_init__", lambda self: None),
    ),
    ("CommitOperationAdd._upload_mode", lambda patch: patch.delattr(CommitOperationAdd, "_upload_mode")),
    ("CommitOperationAdd._upload_mode", lambda patch: patch.setattr(CommitOperationAdd, "_upload_mode", "regular")),
    ("CommitOperationAdd._is_uploaded", lambda patch: patch.delattr(CommitOperationAdd, "_is_uploaded")),
    ("CommitOperationAdd._is_uploaded", lambda patch: patch.setattr(CommitOperationAdd, "_is_uploaded", True)),
]


@pytest.mark.parametrize(("part", "break_"), BROKEN)
def test_a_part_that_is_not_as_expected_is_named(
    part: str, break_: Break, hub: LocalHub, release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module("huggingface_hub.lfs")
    with monkeypatch.context() as patch:
        break_(patch)
        where = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        how = ["--rehearse"] if "OFFLINE" in part else []
        said = run_publish(release, REPO, "--version", "1.0.0", *how, code=2, **where).stderr.splitlines(keepends=True)[
            -1
        ]
    version = re.escape(huggingface_hub.__version__)
    assert re.fullmatch(
        rf"error: publishing relies on {re.escape(part)} of huggingface_hub, which the installed {version} does not "
        rf"have as expected\. Nothing was sent\. .* pip install 'huggingface_hub=={hub_internals.TESTED}'\n",
        said,
    ), said
    assert hub.requests == []
    # What was touched to look at it is as it was.
    published = publish(
        read_release(release, "1.0.0"), REPO, HubConfig(TOKEN, endpoint=hub.endpoint), load=count_footers
    )
    assert published.tag == "v1.0.0"


def test_every_part_was_broken() -> None:
    assert {part for part, _ in BROKEN} == set(hub_internals._PARTS)


def test_the_tested_version_is_the_one_of_the_tests() -> None:
    constraints = ROOT / "constraints.txt"
    if not constraints.exists():
        pytest.skip("no constraints.txt beside the package")
    assert f"huggingface_hub=={hub_internals.TESTED}" in constraints.read_text("utf-8").splitlines()


def test_the_client_is_put_back() -> None:
    def state() -> tuple[object, ...]:
        constants = huggingface_hub.constants
        return _http._GLOBAL_CLIENT_FACTORY, constants.HF_HUB_DISABLE_XET, constants.HF_HUB_OFFLINE

    before = state()
    with pytest.raises(ZeroDivisionError), hub_internals.publishing_client(1.0):
        assert state() != before
        raise ZeroDivisionError
    with hub_internals.online():
        pass
    assert state() == before


def test_every_request_has_a_time_out(hub: LocalHub, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client lists files with none by name: a server that never answers would hold it for ever."""
    limits: list[tuple[str, dict[str, float | None]]] = []

    def watched(client: Any, seconds: float) -> Any:
        client = load_script.impatient(client, seconds)
        hooks = client.event_hooks
        note = lambda request: limits.append((request.url.path, request.extensions["timeout"]))  # noqa: E731
        client.event_hooks = {**hooks, "request": [*hooks["request"], note]}
        return client

    monkeypatch.setattr(hub_internals, "impatient", watched)
    config = HubConfig(TOKEN, endpoint=hub.endpoint, timeout=7.0)
    publish(read_release(release, "1.0.0"), REPO, config, load=count_footers)
    assert len(limits) >= len(hub.requests) - sum(at.path.startswith("/lfs/") for at in hub.requests)
    assert any("/tree/" in path for path, _ in limits)
    for path, limit in limits:
        assert limit.keys() == {"connect", "read", "write", "pool"}, path
        assert all(seconds is not None and 0 < seconds <= 60 for seconds in limit.values()), (path, limit)


def test_no_other_module_touches_what_is_private() -> None:
    """Underscores, and constants that are set, of huggingface_hub."""
    allowed = {"coig_p/publish/hub_internals.py", "coig_p/publish/load_script.py"}
    found = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "coig_p").rglob("*.py")
        if private_parts(path.read_text("utf-8"))
    }
    assert found == allowed


def test_what_counts_as_private() -> None:
    for code in (
        "from huggingface_hub.utils import _http",
        "from huggingface_hub.utils._http import default_client_factory",
        "import huggingface_hub._commit_api as api",
        "import_module('huggingface_hub.utils._http')",
        "import huggingface_hub\nhuggingface_hub.utils._xet",
        "import huggingface_hub as h\nh.constants.HF_HUB_OFFLINE = False",
        "from huggingface_hub import constants\nconstants.HF_HUB_OFFLINE = False",
        "from huggingface_hub import constants\na, constants.HF_HUB_OFFLINE = 1, False",
        "from huggingface_hub import set_client_factory",
    ):
        assert private_parts(code), code
    for code in (
        "from huggingface_hub import HfApi, constants\nprint(constants.ENDPOINT)",
        "class A:\n    def f(self):\n        self._x = 1",
    ):
        assert not private_parts(code), code


def private_parts(code: str) -> list[str]:
    """Lines of a module that use a name of huggingface_hub with an underscore, set one, or swap its client."""
    tree = ast.parse(code)
    ours: set[str] = set()
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "huggingface_hub":
                    ours.add(name.asname or "huggingface_hub")
                    found += [name.name] * ("._" in name.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "huggingface_hub":
            for name in node.names:
                ours.add(name.asname or name.name)
                full = f"{node.module}.{name.name}"
                found += [full] * ("._" in full or name.name == "set_client_factory")
        elif isinstance(node, ast.Constant) and re.search(r"huggingface_hub[\w.]*\._", str(node.value)):
            found.append(str(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root: ast.expr = node
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in ours:
                found += [ast.unparse(node)] * (node.attr.startswith("_") or isinstance(node.ctx, ast.Store))
    return found


# The script that loads back, which runs without this package.


def test_the_script_needs_nothing_of_the_package() -> None:
    path = ROOT / "coig_p" / "publish" / "load_script.py"
    names = [
        name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in [node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name]
    ]
    assert names
    assert not any(name.startswith("coig_p") for name in names)


@pytest.mark.parametrize("there", [True, False])
def test_the_script_has_time_outs_with_and_without_its_private_part(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _http._GLOBAL_CLIENT_FACTORY
    huggingface_hub.close_session()
    if not there:
        monkeypatch.delattr(_http, "default_client_factory")
    try:
        load_script.limit_waits(7.0)
        request = huggingface_hub.get_session().build_request("GET", "http://127.0.0.1:9", timeout=None)
        for hook in huggingface_hub.get_session().event_hooks["request"]:
            hook(request)
        assert request.extensions["timeout"]["read"] == 7.0
    finally:
        huggingface_hub.set_client_factory(before)


def test_an_old_client_is_told_of_before_anything_is_sent() -> None:
    with pytest.raises(UsageError, match="set_client_factory"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub, "set_client_factory", None)
        hub_internals.self_check()
