"""What publishing needs of huggingface_hub beyond what it promises: all of it here, and looked at before use.

| part | what it is for |
|---|---|
| utils._http._GLOBAL_CLIENT_FACTORY | what makes its HTTP client: wrapped to add time-outs, and put back |
| constants.HF_HUB_DISABLE_XET, utils._runtime.is_xet_available | files go by LFS, each acknowledged by itself |
| constants.HF_HUB_OFFLINE | a rehearsal talks to this machine alone, network or not |
| CommitOperationAdd.as_file(with_tqdm), .upload_info.sha256 | what was sent is counted, and no file is hashed twice |
| CommitOperationAdd._upload_mode, ._is_uploaded | a file goes up once, by LFS, and both commits name its hash |

A version that keeps one of them elsewhere is told of before anything is sent. No other module of the
package touches such parts but load_script.py, which runs without the package and does without them.
"""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from coig_p.core.progress import Advance
from coig_p.errors import UsageError
from coig_p.publish.answers import check_answer, is_checked
from coig_p.publish.load_script import impatient
from coig_p.publish.plan import ReleaseFile

TESTED = "2.4.0"
"""The version that all of this was tried with."""


@contextmanager
def publishing_client(timeout: float) -> Iterator[None]:
    """In the block the client has time-outs (seconds without a byte), has its answers looked at, goes the plain LFS way
    and shows no bars.

    Raises:
        UsageError: the installed version is not as expected. Nothing was sent.
    """
    self_check()
    from huggingface_hub import constants, get_session, set_client_factory
    from huggingface_hub.utils import _http, _runtime
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before: Callable[[], Any] = _http._GLOBAL_CLIENT_FACTORY
    made: list[Any] = []

    def factory() -> Any:
        made[:] = [suspicious(impatient(before(), timeout))]
        return made[0]

    # Through hf_xet a file is acknowledged only when the whole batch is, and neither our time-outs nor
    # a server's Retry-After reach it; after a kill all of it is chunked and asked for again. Through LFS
    # each file is acknowledged by itself and never sent again. create_commit is atomic either way.
    xet, bars = constants.HF_HUB_DISABLE_XET, are_progress_bars_disabled()
    constants.HF_HUB_DISABLE_XET = True
    disable_progress_bars()
    set_client_factory(factory)
    try:
        _demand("constants.HF_HUB_DISABLE_XET", lambda: not _runtime.is_xet_available())
        _demand("set_client_factory", lambda: get_session() in made)
        with warnings.catch_warnings():
            # The client's own way of sending files, which is not ours to change.
            warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
            yield
    finally:
        set_client_factory(before)
        constants.HF_HUB_DISABLE_XET = xet
        if not bars:
            enable_progress_bars()


def suspicious(client: Any) -> Any:
    """The HTTP client, which raises WrongAnswerError at a 2xx that no Hub gave."""

    def look(response: Any) -> None:
        method, path = response.request.method, response.request.url.path
        if response.is_success and is_checked(method, path):
            check_answer(method, path, response.status_code, response.read())

    client.event_hooks = {**client.event_hooks, "response": [*client.event_hooks["response"], look]}
    return client


@contextmanager
def online() -> Iterator[None]:
    """HF_HUB_OFFLINE is set aside in the block.

    Raises:
        UsageError: the installed version is not as expected.
    """
    self_check()
    import huggingface_hub
    from huggingface_hub import constants

    # The first versions that are supported have no such question: they look at the constant.
    is_offline = getattr(huggingface_hub, "is_offline_mode", lambda: constants.HF_HUB_OFFLINE)
    offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    try:
        _demand("constants.HF_HUB_OFFLINE", lambda: not is_offline())
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def upload(file: ReleaseFile, advance: Advance) -> Any:
    """The client's operation for a file, which tells how many bytes of it were sent, each of them once.

    Its `finish()` tells of the rest, for a file that the Hub had already. A commit repeats the content of a regular
    file, and a release is committed twice, to its branch and to main: so whatever no page shows goes by LFS, by which
    content is sent once. The Hub adds such paths to .gitattributes by itself. Where it refuses them, `as_hub_wants()`
    leaves the choice to it, as the client does.
    """
    from huggingface_hub import CommitOperationAdd

    class Upload(CommitOperationAdd):
        sent = 0
        # The page of a repository shows Markdown of git alone, and no storage keeps nothing.
        by_lfs = file.bytes > 0 and not file.path.endswith(".md")

        @contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[Any]:
            # with_tqdm marks the reads that go to the storage.
            with _Counted(str(file.source), self.seen if with_tqdm else lambda position: None) as stream:
                yield stream

        def seen(self, position: int) -> None:
            if position > self.sent:
                advance(position - self.sent)
                self.sent = position

        def finish(self) -> None:
            self.seen(file.bytes)

        def as_hub_wants(self) -> None:
            self._upload_mode, self._is_uploaded = None, False

    add = Upload(file.path, str(file.source))
    add.upload_info.sha256 = bytes.fromhex(file.sha256)  # known: the client need not read the file for it
    if add.by_lfs:
        add._upload_mode = "lfs"
    return add


class _Counted(io.FileIO):
    """A file that tells how far it was read; what is read again counts once."""

    def __init__(self, path: str, seen: Callable[[int], None]) -> None:
        super().__init__(path)
        self._seen = seen

    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(-1 if size is None else size)
        self._seen(self.tell())
        return piece


# The self-check.


def self_check() -> None:
    """Look at the name and the shape of every part that is used here. Whether it is heeded is seen when it is used.

    Raises:
        UsageError: the installed huggingface_hub has one of them elsewhere, or otherwise.
    """
    for part, fits in _PARTS.items():
        _demand(part, fits)


def _demand(part: str, fits: Callable[[], bool]) -> None:
    try:
        if fits():
            return
    except (ImportError, AttributeError, KeyError, TypeError, ValueError):
        pass
    import huggingface_hub

    raise UsageError(
        f"publishing relies on {part} of huggingface_hub, which the installed {huggingface_hub.__version__} does not "
        f"have as expected. Nothing was sent. Install the version that was tested: "
        f"pip install 'huggingface_hub=={TESTED}'"
    )


def _part(path: str) -> Any:
    """The module huggingface_hub.<path>."""
    return import_module(f"huggingface_hub.{path}" if path else "huggingface_hub")


def _takes_nothing(function: Any) -> bool:
    inspect.signature(function).bind()
    return True


def _an_upload() -> Any:
    return _part("").CommitOperationAdd("name", b"content")


def _counts_reads() -> bool:
    with _an_upload().as_file(with_tqdm=True) as stream:
        return bool(stream.read() == b"content")


def _keeps_hashes() -> bool:
    add = _an_upload()
    add.upload_info.sha256 = bytes(32)
    return bool(add.upload_info.sha256 == bytes(32))


_PARTS: dict[str, Callable[[], bool]] = {
    "set_client_factory": lambda: callable(_part("").set_client_factory) and _takes_nothing(_part("").get_session),
    "utils._http._GLOBAL_CLIENT_FACTORY": lambda: _takes_nothing(_part("utils._http")._GLOBAL_CLIENT_FACTORY),
    "constants.HF_HUB_DISABLE_XET": lambda: isinstance(_part("constants").HF_HUB_DISABLE_XET, bool),
    "utils._runtime.is_xet_available": lambda: _takes_nothing(_part("utils._runtime").is_xet_available),
    "constants.HF_HUB_OFFLINE": lambda: isinstance(_part("constants").HF_HUB_OFFLINE, bool),
    "CommitOperationAdd.as_file(with_tqdm)": _counts_reads,
    "CommitOperationAdd.upload_info.sha256": _keeps_hashes,
    "CommitOperationAdd._upload_mode": lambda: _an_upload()._upload_mode is None,
    "CommitOperationAdd._is_uploaded": lambda: _an_upload()._is_uploaded is False,
}
