"""Licences as the Hub names them in a card: https://huggingface.co/docs/hub/repositories-licenses."""

from __future__ import annotations

import re

_NAMES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0
bigcode-openrail-m openrail++ afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear
c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0
cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1
eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 lgpl-lr isc h-research intel-research
lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl
deepfloyd-if-license fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4
grok2-community gemma unknown other
"""
HUB_LICENCES = frozenset(_NAMES.split())
"""A card may have one of these, or "other" with a name and a link of its own."""

_LONG_NAMES = {
    "creative commons": "cc",
    "public domain dedication": "",
    "cc zero": "cc0",
    "attribution": "by",
    "non-?commercial": "nc",
    "no-?deriv(?:ative)?s": "nd",
    "share-?alike": "sa",
    "open data commons": "",
    "open database": "odbl",
    "affero general public": "agpl",
    "lesser general public": "lgpl",
    "general public": "gpl",
    "mozilla public": "mpl",
}
_SAY_NOTHING = {"the", "license", "licence", "public", "version", "v", "international", "unported", "generic", "gnu"}


def is_named(licence: str, name: str) -> bool:
    """Whether a name that people gave is one of this licence, as the Hub names it, however written; or is no name."""
    if not any(map(str.isalpha, name)):
        return True
    for long, short in _LONG_NAMES.items():
        name = re.sub(long, short, name.lower())
    return _words(name) == _words(licence)


def _words(name: str) -> list[str]:
    """The words and numbers that tell licences apart; version 2 is 2.0."""
    words = re.findall(r"[a-z]+|[0-9]+", name.lower())
    return sorted(word for word in words if word not in _SAY_NOTHING and word != "0")
