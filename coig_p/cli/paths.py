"""What arguments that name a file or a folder are: of this machine, or also the URL of one in an object store.

`coig_p.cli.tree` makes every click.Path a Here, so that no URL becomes a path that lacks a slash, nor a folder s3: is
written. What takes URLs is a Place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coig_p.core.objects import as_path, is_object, is_repository, is_url, url_of
from coig_p.errors import UsageError


class _Repository(type(Path())):  # type: ignore[misc]
    """The name of a repository, hf:// or modelscope://, where a path is passed around; shown with both slashes."""

    __slots__ = ()

    def __str__(self) -> str:
        return url_of(super().__str__())


class Place(click.Path):
    """A path of this machine, the URL of one in an object store, or that of a repository."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path, or what stands in its place (see `coig_p.core.objects`)."""
        if isinstance(value, str) and is_url(value):
            found = as_path(value)
            if str(found).startswith("memory:"):
                raise UsageError(f"{found} is memory of this command, and gone when it ends: name a folder")
            return found
        if isinstance(value, str) and is_repository(value):
            return _Repository(value)
        return value if is_object(value) else super().convert(value, param, ctx)


class Here(click.Path):
    """A path of this machine, which file:// names, too; the URL of an object store is a UsageError."""

    def __init__(self, like: click.Path) -> None:
        vars(self).update(vars(like))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A path, or an error."""
        if isinstance(value, str) and is_url(value):
            found = as_path(value)
            if is_object(found):
                name = param.get_error_hint(ctx).strip("'") if param is not None and ctx is not None else "path"
                raise UsageError(
                    f"{name}: {found} is the address of an object store, and this is a path of this machine: copy what "
                    "is there first, or write to a folder and copy that"
                )
            value = str(found)
        return super().convert(value, param, ctx)
