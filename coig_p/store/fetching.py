"""Shards of an object store that are read one after the other: the next ones come while one is read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

from coig_p.core.objects import ObjectPath, as_path
from coig_p.engine.ahead import ahead
from coig_p.engine.local import Processes, Threads, Workers, in_order
from coig_p.store.locate import Location
from coig_p.store.manifest import StoreFile
from coig_p.store.reading import LARGEST_FETCHED, fetch

AT_ONCE = 3  # each of up to 32 MiB; one connection gives less than a load can take
Opens = Callable[[], AbstractContextManager[Any]]
Result = TypeVar("Result")


def opened_in_turn(
    location: Location, urls: Sequence[str], opened: Callable[[str], Any], *, whole: bool, soon: bool = False
) -> Iterator[Opens]:
    """What opens each of these shards for `coig_p.store.reading.open_shard`.

    Args:
        urls: of shards, in the order in which they are read.
        opened: opens one, wherever it is.
        whole: they are read from end to end: of an object store a few are fetched ahead and held.
        soon: and the first rows are waited for: the first shard is read in place, and whoever stops there has asked for
            no other. From then on one is read, one waits, and one is fetched.

    Raises:
        StoreError, RemoteError: see `coig_p.store.reading.fetch`; in the turn of the shard.
    """
    if not whole or not location.is_object:
        yield from (partial(opened, url) for url in urls)
        return
    sizes = {file.path: file.bytes for file in location.manifest.data_files()}
    root = cast(ObjectPath, as_path(location.root, location.storage_options))
    names = [url.removeprefix(f"{location.root}/") for url in urls]
    if soon:
        yield from (partial(opened, url) for url in urls[:1])
        # By a thread that ends with the program, also where some other thread reads this stream until then.
        if names[1:]:
            for one in ahead(fetch(root / name, sizes[name]) for name in names[1:]):
                yield partial(_given, one)
        return
    with _coming(root, {name: sizes[name] for name in names}) as folder:
        for name in names:
            yield partial(_given, fetch(folder / name, sizes[name]))


def _given(one: Any) -> Any:
    return one


def over_shards(
    function: Callable[..., Result], root: Path, given: tuple[Any, ...], files: Sequence[StoreFile], workers: Workers
) -> Generator[tuple[StoreFile, Result], None, None]:
    """Each shard with function(root, *given, shard), as `in_order` has it.

    Where one process reads a store in an object store, those that wait for shards are not those that count: while
    these are at some shards, AT_ONCE more are here or on their way. More threads that count would wait for each other.

    Args:
        root: of the store.
        workers: who counts.
    """
    if not isinstance(root, ObjectPath) or not (isinstance(workers, Threads) or workers == Processes(1)):
        yield from in_order(partial(function, root, *given), files, workers)
        return
    with _coming(root, {file.path: file.bytes for file in files}) as folder:
        yield from in_order(partial(function, cast(Path, folder), *given), files, workers)


@contextmanager
def _coming(root: ObjectPath, sizes: Mapping[str, int]) -> Iterator[ObjectPath]:
    """The same folder, of which these files come ahead in their order, but for those that are not fetched whole."""
    fetched = {(root / name).key: size for name, size in sizes.items() if size <= LARGEST_FETCHED}
    coming = _Coming(root, fetched)
    try:
        yield _Folder(root.protocol, root.key, root.options, coming)
    finally:
        coming.pool.shutdown(wait=False, cancel_futures=True)  # they only read


class _Coming:
    """Files of a folder that are fetched in their order, each once, when the one before was taken.

    Not `in_order`: its results have one taker, and wait with their items for it. Here whichever thread counts asks by
    name and holds its file alone, and a file that is waited for has the connection for itself.

    Attributes:
        pool: threads that fetch.
    """

    def __init__(self, root: ObjectPath, sizes: dict[str, int]) -> None:
        self.pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="coig_p-fetch")
        self._root = root
        self._left = dict(sizes)  # that nobody asked for yet
        self._begun: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()

    def take(self, key: str, size: int) -> bytes:
        """So many bytes of a file. What is waited for comes first: the next ones are begun when it is here."""
        with self._lock:
            known = self._left.pop(key, None) is not None
            begun = self._begun.pop(key, None)
        content = self._fetch(key, size) if begun is None else begun.result()
        with self._lock:
            while (known or begun) and self._left and len(self._begun) < AT_ONCE:
                name = next(iter(self._left))
                self._begun[name] = self.pool.submit(self._fetch, name, self._left.pop(name))
        return content

    def _fetch(self, key: str, size: int) -> bytes:
        return ObjectPath(self._root.protocol, key, self._root.options).read_first(size)


@dataclass(frozen=True)
class _Folder(ObjectPath):
    """A folder of which some files are on their way, or a file in it."""

    coming: _Coming | None = field(default=None, repr=False, compare=False)

    def __truediv__(self, name: object) -> ObjectPath:
        return _Folder(self.protocol, super().__truediv__(name).key, self.options, self.coming)

    def read_first(self, size: int) -> bytes:
        """So many bytes, which may be here already."""
        return super().read_first(size) if self.coming is None else self.coming.take(self.key, size)
