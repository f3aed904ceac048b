"""Every error the package raises on purpose, all of them below one base class.

    CoigPError                exit 1
      UsageError              exit 2; also a ValueError: an option or a value that cannot be right
        UnknownNameError      a name outside a known set
      DataError               input that cannot be read or does not fit the schema
        ImportFailed          nothing was imported; carries the report (coig_p.ingest.accounting)
        DesignError           scores cannot tell this; says what to collect (coig_p.stats.design)
      StoreError              not a whole, readable store
      WorkersLost             processes that shared the work ended, or were killed
      RemoteError             exit 3: the network, the Hub or its permissions
        Absent                a repository that is not there, or not to be seen (coig_p.publish.client)

Each message says what was wrong and what to do next. The command line prints the message
alone and exits with ``exit_code``. All of them can be pickled, so that they come whole out of
a process that shares the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

_SHOWN = 60  # names that a message lists


class CoigPError(Exception):
    """Base of every error raised on purpose.

    Attributes:
        exit_code: what a command exits with: 1 bad data, 2 usage, 3 remote.
    """

    exit_code = 1

    def __str__(self) -> str:
        """The message, harmless on a terminal: of what cannot be printed, line breaks alone stay as they are."""
        return "".join(
            character
            if character.isprintable() or character == "\n"
            else character.encode("unicode_escape").decode("ascii")
            for character in super().__str__()
        )

    def __reduce__(self) -> tuple[Callable[..., CoigPError], tuple[Any, ...]]:
        # By default an error is made anew from its message, which is not what ours are called with.
        return _as_it_was, (type(self), self.args, self.__dict__)


def _as_it_was(kind: type[CoigPError], args: tuple[Any, ...], attributes: Mapping[str, Any]) -> CoigPError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(attributes)
    return error


class UsageError(CoigPError, ValueError):
    """An option, a value or a name that cannot be right, whatever the data."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name outside a known set: a config, an option, a split, a judge.

    Attributes:
        kind: what was named, for instance "config".
        name: the name as given.
        valid: every name that would have done.
        within: the file that names it, where one does; "" otherwise.
    """

    def __init__(self, kind: str, name: object, valid: Iterable[str], within: object = "") -> None:
        self.within = str(within)
        self.kind, self.name, self.valid = kind, name, sorted(valid)
        close = get_close_matches(str(name), self.valid, n=1)
        hint = " A quote in it is not closed." if str(name).count('"') % 2 else ""
        hint += f" Did you mean {close[0]!r}?" if close else ""
        many = len(self.valid) > _SHOWN
        shown = [*get_close_matches(str(name), self.valid, n=5), *self.valid] if many else self.valid
        shown = list(dict.fromkeys(shown))[:_SHOWN]
        valid_names = ", ".join(map(named, shown)) or "(none)"
        valid_names += f" and {len(self.valid) - len(shown):,} more" if len(shown) < len(self.valid) else ""
        where = f"{self.within}: " if self.within else ""
        super().__init__(f"{where}unknown {kind} {name!r}.{hint} Valid: {valid_names}")


def named(name: str) -> str:
    """A name as a message shows it: in quotes where it could be taken for something else."""
    plain = name == name.strip() and name.isprintable() and ", " not in name and name
    return name if plain else repr(name)


class DataError(CoigPError):
    """Input that cannot be read or does not fit the schema."""


class StoreError(CoigPError):
    """A directory or repository that is not a whole, readable store.

    Attributes:
        store: where it is, as the user named it.
    """

    def __init__(self, store: object, problem: str) -> None:
        self.store = str(store)
        super().__init__(f"{named(self.store)}: {problem}")


NO_MORE_THREADS = "the system lets no more threads start (ulimit -u): let fewer processes share the work"
"""What to say where that is what went wrong: Arrow and Python have errors of their own for it."""


class WorkersLost(CoigPError):
    """Processes that shared the work ended before it was done: nothing is known to be wrong with the data."""


class RemoteError(CoigPError):
    """The network, the Hub or its permissions stood in the way."""

    exit_code = 3
