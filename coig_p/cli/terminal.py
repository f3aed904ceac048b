"""What standard output and standard error cannot hold: it stands as an escape, and that is said once."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from encodings import ascii as ascii_codec
from typing import IO

from coig_p.errors import UsageError

_HANDLER = "coig_p.escape"
_OURS = ("strict", "surrogateescape", "backslashreplace")  # how Python sets streams up where nobody says
_PLAIN = "coigp_ascii"


@contextmanager
def whole_or_escaped() -> Iterator[set[str]]:
    r"""While the block runs, what the streams' encodings cannot hold is written as JSON would escape it, \u4e2d.

    Yields:
        Every character of which that was done so far.
    """
    escaped: set[str] = set()

    def escape(error: UnicodeError) -> tuple[str, int]:
        if not isinstance(error, UnicodeEncodeError):
            raise error
        piece = error.object[error.start : error.end]
        escaped.update(one for one in piece if not "\ud800" <= one <= "\udfff")  # halves of pairs are in no encoding
        return json.dumps(piece)[1:-1], error.end

    codecs.register_error(_HANDLER, escape)
    before = []
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _OURS:
            before.append((stream, stream.encoding, stream.errors))
            # click takes a stream of ASCII for a mistake and writes UTF-8 there, unless it has another name.
            is_ascii = codecs.lookup(stream.encoding).name == "ascii"
            stream.reconfigure(encoding=_PLAIN if is_ascii else None, errors=_HANDLER)
    try:
        yield escaped
    finally:
        for stream, encoding, errors in before:
            with suppress(OSError, ValueError):  # closed, or full: found out where the output is flushed
                stream.reconfigure(encoding=encoding, errors=errors)


def _ascii(name: str) -> codecs.CodecInfo | None:
    if name != _PLAIN:
        return None
    return codecs.CodecInfo(
        codecs.ascii_encode,
        codecs.ascii_decode,
        streamreader=ascii_codec.StreamReader,
        streamwriter=ascii_codec.StreamWriter,
        incrementalencoder=ascii_codec.IncrementalEncoder,
        incrementaldecoder=ascii_codec.IncrementalDecoder,
        name=_PLAIN,
    )


codecs.register(_ascii)


def about_escapes(escaped: set[str]) -> str:
    """The line that says so."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").upper().replace(_PLAIN.upper(), "ASCII")
    variable = "PYTHONIOENCODING=utf-8" if os.environ.get("PYTHONIOENCODING") else "PYTHONUTF8=1"
    what = "1 character" if len(escaped) == 1 else f"{len(escaped):,} characters"
    stand = "stands as an escape" if len(escaped) == 1 else "stand as escapes"
    example = json.dumps(min(escaped))[1:-1]
    return (
        f"note: {what} that {encoding}, the encoding of this output, cannot hold {stand} such as {example}. For UTF-8 "
        f"set {variable}; files that are written, and --json, hold everything"
    )


def wants_color() -> bool | None:
    """False where the environment says that colours are not wanted, or not understood; None: where it is a terminal."""
    plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return False if plain else None


def is_utf_8(stream: IO[str] | None) -> bool:
    """Whether a stream can hold every character."""
    encoding = getattr(stream, "encoding", None)
    return encoding is None or codecs.lookup(encoding).name.startswith("utf-8")


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise UsageError where the locale's encoding took UTF-8 for something else, as ASCII does."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            with suppress(UnicodeError):
                text = os.fsencode(argument).decode("utf-8")
                locale = sys.getfilesystemencoding().upper()
                raise UsageError(
                    f"{text!r}: {locale}, the encoding of this locale, cannot hold it: set PYTHONUTF8=1"
                ) from None
