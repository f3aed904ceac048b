"""Shards of an object store that are read one after the other: the next ones come while one is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

from coig_p.core.objects import ObjectPath, as_path
from coig_p.engine.local import Threads, in_order
from coig_p.store.locate import Location
from coig_p.store.reading import fetch

AT_ONCE = 3  # each of up to 32 MiB; one connection gives less than a load can take
Opens = Callable[[], AbstractContextManager[Any]]


def opened_in_turn(
    location: Location, urls: Sequence[str], opened: Callable[[str], Any], *, whole: bool
) -> Iterator[Opens]:
    """What opens each of these shards for `coig_p.store.reading.open_shard`.

    Args:
        urls: of shards, in the order in which they are read.
        opened: opens one, wherever it is.
        whole: they are read from end to end: of an object store a few are fetched ahead and held.

    Raises:
        StoreError, RemoteError: see `coig_p.store.reading.fetch`; in the turn of the shard.
    """
    if not whole or not location.is_object:
        yield from (partial(opened, url) for url in urls)
        return
    sizes = {location.url(file): file.bytes for file in location.manifest.data_files()}

    def fetched(url: str) -> Any:
        return fetch(cast(ObjectPath, as_path(url, location.storage_options)), sizes[url])

    for _, one in in_order(fetched, urls, Threads(AT_ONCE, only_read=True)):
        yield partial(_given, one)


def _given(one: Any) -> Any:
    return one
