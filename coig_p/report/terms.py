"""Under which terms a dataset is, in words: the licence as SPDX knows it, and the file LICENSE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coig_p.report.card_toml import CardInfo

LICENSE = "LICENSE"
_MADE = "Made by coig-p of the dataset's card.toml. A file LICENSE beside its store is published in place of this one."

# Of HUB_LICENCES those that SPDX knows by an identifier of its own. Of gpl-2.0 and its like nobody
# says whether "or later".
_SPDX = """
Apache-2.0 MIT AFL-3.0 Artistic-2.0 BSL-1.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear C-UDA-1.0 CC0-1.0 CC-BY-2.0
CC-BY-2.5 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC-BY-NC-2.0 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-ND-4.0
CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-2.0 CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0 CDLA-Sharing-1.0 CDLA-Permissive-1.0
CDLA-Permissive-2.0 WTFPL ECL-2.0 EPL-1.0 EPL-2.0 etalab-2.0 EUPL-1.1 EUPL-1.2 AGPL-3.0 GPL-2.0 GPL-3.0 LGPL-2.1
LGPL-3.0 ISC LPPL-1.3c MS-PL MPL-2.0 OSL-3.0 PostgreSQL OFL-1.1 NCSA Unlicense Zlib ODC-By-1.0 ODbL-1.0 PDDL-1.0
"""
_HUBS = {"ODC-By-1.0": "odc-by", "ODbL-1.0": "odbl", "PDDL-1.0": "pddl", "C-UDA-1.0": "c-uda"}
SPDX = {_HUBS.get(name, name.lower()): name for name in _SPDX.split()}
"""SPDX's identifier by the Hub's."""


@dataclass(frozen=True)
class Terms:
    """A licence as people and programs look it up.

    Attributes:
        name: for people.
        spdx: its identifier; None where SPDX has none.
        link: where its terms are; "" where nobody said.
    """

    name: str
    spdx: str | None
    link: str


def terms(info: CardInfo) -> Terms:
    """The licence of a dataset, as its card.toml says: a name and a link there are its owner's own and come first."""
    spdx = SPDX.get(info.license)
    link = info.license_link or (f"https://spdx.org/licenses/{spdx}.html" if spdx else "")
    return Terms(info.license_name or spdx or info.license, spdx, link)


def render_licence(info: CardInfo) -> str:
    """LICENSE, where its owner gives none: which licence it is, and where its terms are. Ends with the line _MADE."""
    found = terms(info)
    named = found.name if found.spdx in (None, found.name) else f"{found.name} (SPDX: {found.spdx})"
    lines = [
        info.pretty_name,
        "",
        f"License: {named}",
        f"Terms: {found.link}" if found.link else "Terms: see the dataset card, README.md",
        "",
        "Queries, responses and scores came from these sources, under licenses of their own:",
        "",
        *(_source(source) for source in info.sources),
        "",
        _MADE,
    ]
    return "\n".join(lines) + "\n"


def is_made(licence: bytes) -> bool:
    """Whether a LICENSE is one that `render_licence` made, of this card.toml or another."""
    return licence.rstrip().endswith(_MADE.encode())


def _source(source: Mapping[str, str]) -> str:
    link = f", {source['url']}" if source.get("url") else ""
    return " ".join(f"- {source['name']}: {source['license']}{link}".split())
