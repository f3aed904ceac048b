"""A taxonomy: a tree whose leaves are the subjects that queries are made for (TaP, section 3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from coig_p.errors import DataError, UnknownNameError
from coig_p.schema import domain_problem

_NO_SLUG = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Node:
    """A node of the tree.

    Attributes:
        code: by which the tree knows it, unique in it; where its file has none, the names from the top down, with /.
        name: as models are told it.
        slug: of a node at the top, the domain of its queries; None: made of its name, or of its code.
    """

    code: str
    name: str
    slug: str | None = None
    children: tuple[Node, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, its children in it."""
        told: dict[str, Any] = {"code": self.code, "name": self.name}
        told |= {} if self.slug is None else {"slug": self.slug}
        return told | ({"children": [child.to_dict() for child in self.children]} if self.children else {})


@dataclass(frozen=True)
class Subject:
    """A leaf with the way to it.

    Attributes:
        path: the nodes from the top down, the leaf last.
        domain: of its queries.
    """

    path: tuple[Node, ...]
    domain: str

    @property
    def code(self) -> str:
        """The leaf's."""
        return self.path[-1].code

    @property
    def name(self) -> str:
        """The leaf's."""
        return self.path[-1].name

    @property
    def names(self) -> tuple[str, ...]:
        """From the top down. Names that stand at two levels in a row are both there: levels are told by codes."""
        return tuple(node.name for node in self.path)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"code": self.code, "name": self.name, "domain": self.domain, "path": list(self.names)}


@dataclass(frozen=True)
class Selection:
    """Which subjects are taken.

    Attributes:
        only: codes of nodes whose subjects are taken; empty: all.
        drop: codes of nodes whose subjects are not.
        keep: codes of nodes whose subjects are taken all the same.
    """

    only: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taxonomy:
    """A whole tree, checked.

    Attributes:
        name: of the file, or as the file says.
        levels: what nodes of each depth are called, the top first; "" where nobody says.
        roots: in the file's order.
        domains: of each root, in their order.
        source: where it is from; None where nobody says.
    """

    name: str
    levels: tuple[str, ...]
    roots: tuple[Node, ...]
    domains: tuple[str, ...]
    source: str | None = None

    def subjects(self, selection: Selection = Selection()) -> list[Subject]:
        """The leaves, in the file's order.

        Raises:
            UnknownNameError: a code of the selection is no node's.
        """
        known = {node.code for path in paths(self.roots) for node in path[-1:]}
        for code in (*selection.only, *selection.drop, *selection.keep):
            if code not in known:
                raise UnknownNameError("code", code, known, self.name)
        found = []
        for root, domain in zip(self.roots, self.domains, strict=True):
            for path in paths([root]):
                if not path[-1].children and _taken({node.code for node in path}, selection):
                    found.append(Subject(path, domain))
        return found

    def counts(self) -> list[int]:
        """How many nodes there are at each depth, the top first."""
        found = [0] * len(self.levels)
        for path in paths(self.roots):
            found[len(path) - 1] += 1
        return found


def paths(nodes: Iterable[Node]) -> Iterator[tuple[Node, ...]]:
    """Every node below these, with the way to it from the top, parents before their children."""
    waiting: list[tuple[Node, ...]] = [(node,) for node in reversed(list(nodes))]
    while waiting:
        path = waiting.pop()
        yield path
        waiting += [(*path, child) for child in reversed(path[-1].children)]


def _taken(codes: set[str], selection: Selection) -> bool:
    if not codes.isdisjoint(selection.keep):
        return True
    return codes.isdisjoint(selection.drop) and (not selection.only or not codes.isdisjoint(selection.only))


def domains_of(roots: Sequence[Node], name: str, where: str) -> tuple[str, ...]:
    """The domain of each root: its slug, else its name in Latin letters, else `s-` and its code, or a hash of that.

    Where no root has children they are the subjects, and share one domain: the taxonomy's name.

    Raises:
        DataError: one cannot be a domain, or two roots have the same.
    """
    if not any(root.children or root.slug for root in roots):
        domain = _latin(name)
        return (domain if domain and domain_problem(domain) is None else "subjects",) * len(roots)
    found: dict[str, Node] = {}
    for root in roots:
        domain = root.slug or _latin(root.name)
        if root.slug is None and domain_problem(domain) is not None:
            domain = "s-" + (_latin(root.code) or sha256(root.code.encode()).hexdigest()[:8])
        problem = domain_problem(domain)
        if problem is not None:
            raise DataError(f"{where}: {root.name} ({root.code}): domain {domain!r}: {problem}. Give it a slug")
        if domain in found:
            raise DataError(
                f"{where}: {found[domain].name} and {root.name} would both be the domain {domain!r}: give them slugs"
            )
        found[domain] = root
    return tuple(found)


def _latin(text: str) -> str:
    """A text as a domain is written; nothing where it has other letters."""
    return _NO_SLUG.sub("-", text.lower()).strip("-") if text.isascii() else ""
