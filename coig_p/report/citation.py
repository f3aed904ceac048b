"""CITATION.cff: how to cite a release, in the Citation File Format 1.2.0, of what card.toml says."""

from __future__ import annotations

from coig_p.core.front_matter import yaml_text
from coig_p.report.card_toml import CardInfo
from coig_p.report.terms import SPDX, terms

CITATION = "CITATION.cff"
_NEWER = frozenset({"CDLA-Permissive-2.0"})  # than CFF 1.2.0, which has a list of licences of its own


def render_citation(info: CardInfo) -> str:
    """CITATION.cff as text. Authors are entities by their names: which of them are people, card.toml does not say.

    The BibTeX of `citation` stands in the message as it is; nothing is guessed out of it. It holds no version and no
    words that change from release to release: those are the manifest's and the card's, which are published anyway.
    """
    spdx = SPDX.get(info.license)
    known = spdx is not None and spdx not in _NEWER
    fields = {
        "cff-version": "1.2.0",
        "message": f"If you use this dataset, please cite it:\n\n{info.citation.strip()}\n",
        "type": "dataset",
        "title": info.pretty_name,
        "authors": [{"name": name} for name in dict.fromkeys(info.authors)],
        "keywords": list(dict.fromkeys(info.tags)),
        "url": info.homepage,
        "license": spdx if known else "",
        "license-url": "" if known else terms(info).link,
    }
    return yaml_text({name: value for name, value in fields.items() if value})
