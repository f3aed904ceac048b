"""Mirrors of the Hub. They hand on what is public; a token sent there is a token given away."""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote, urlsplit

_MIRRORS = ("hf-mirror.com", "hf-cdn.sufy.com", "aliendao.cn")


def is_mirror(endpoint: str) -> bool:
    """Whether an address is one of a known mirror, however a client would read its host's name."""
    # As names are looked up: a dot at the end, letters of another width and the full stop of Chinese change no host.
    host = unquote(host_of(unicodedata.normalize("NFKC", endpoint).replace("\u3002", ".")))
    host = host.rstrip(".").lower()
    return any(host == mirror or host.endswith(f".{mirror}") for mirror in _MIRRORS)


def host_of(endpoint: str) -> str:
    """The host that an address names, in lower case; "" where it names none."""
    try:
        return (urlsplit(endpoint if "//" in endpoint else f"//{endpoint}").hostname or "").rstrip(".")
    except ValueError:
        return ""
