"""A taxonomy that an endpoint lets grow: a tree from a topic, or nodes below those of a file (TaP, appendix A).

For each node that is to have children one request asks for some; what is listed and is new becomes nodes, and those are
asked for in the next level. What the tree had stays as it was. A person edits the file afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from coig_p.annotate.alone.endpoint import LoneEndpoint
from coig_p.annotate.alone.running import Work
from coig_p.annotate.alone.said import said_to
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger
from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Outcome, Request, recipe_of, user_message
from coig_p.annotate.tap.parsing import parse_types
from coig_p.annotate.taxonomy.prompts import GROW, TapPrompts
from coig_p.annotate.taxonomy.reading import DEEPEST, text_problem
from coig_p.annotate.taxonomy.tree import Node, Taxonomy, domains_of, paths
from coig_p.core.normalize import comparison_form
from coig_p.core.text import printable
from coig_p.errors import DataError, UnknownNameError, UsageError

_ASKS = 3
_MOST = 200  # children of a node


@dataclass(frozen=True)
class GrowConfig:
    """How a taxonomy grows.

    Attributes:
        children: most nodes below each that grows, those that it has included.
        levels: how many levels are added.
        under: codes of nodes that grow; (): every leaf.
    """

    children: int = 10
    levels: int = 1
    under: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.children <= _MOST:
            raise UsageError(f"children = {self.children}: use 1 to {_MOST}")
        if not 1 <= self.levels <= DEEPEST:
            raise UsageError(f"levels = {self.levels}: use 1 to {DEEPEST}")


@dataclass
class Grown:
    """What became of a tree.

    Attributes:
        taxonomy: with its new nodes.
        grew: nodes that got children; added: nodes that are new.
        repeated: names that were listed and stand there already, at the same place or above it; unfit: that cannot
            be names; beyond: that were more than asked for.
        without: nodes whose answers could not be used, so that they got nothing, by code.
        waiting: nodes that have no answer yet, by code.
    """

    taxonomy: Taxonomy
    grew: int = 0
    added: int = 0
    repeated: int = 0
    unfit: int = 0
    beyond: int = 0
    without: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """As JSON has it, without the tree."""
        names = ("grew", "added", "repeated", "unfit", "beyond")
        told: dict[str, object] = {name: getattr(self, name) for name in names}
        return told | {"without": list(self.without), "waiting": list(self.waiting)}


@dataclass(frozen=True)
class Growing:
    """A tree that grows by what an endpoint says.

    Attributes:
        taxonomy: as it is; without a node where it begins with a topic.
        topic: what a tree without nodes is about; None where it has some.
    """

    taxonomy: Taxonomy
    endpoint: LoneEndpoint
    texts: TapPrompts
    config: GrowConfig = GrowConfig()
    topic: str | None = None

    def __post_init__(self) -> None:
        if (self.topic is None) != bool(self.taxonomy.roots):
            raise UsageError("a tree grows from a FILE or from --about a topic: name one of the two")
        problem = None if self.topic is None else "blank" if not self.topic.strip() else text_problem(self.topic)
        if problem is not None:
            raise UsageError(f"--about {self.topic!r}: {problem}")
        if self.topic is not None and self.config.under:
            raise UsageError("--under names nodes of a FILE: leave it out with --about")
        ways = {way[-1].code: way for way in paths(self.taxonomy.roots)}
        for code in self.config.under:
            if code not in ways:
                raise UnknownNameError("code", code, ways, self.taxonomy.name)
            inside = next((one for one in self.config.under if one != code and one in _codes(ways[code])), None)
            if inside is not None:
                raise UsageError(f"--under {code} stands below --under {inside}: name one of the two")
        if self.topic is None and not any(self._room(way[-1]) for way in ways.values()):
            raise UsageError(
                f"nothing can grow: each node has {self.config.children} children or more. Raise --children"
            )
        deepest = max((len(way) for code, way in ways.items() if self._grows(way[-1])), default=0)
        if deepest + self.config.levels > DEEPEST:
            raise UsageError(f"{deepest} levels and {self.config.levels} more: a taxonomy has {DEEPEST} at most")

    def work(self) -> Work:
        """What is asked for, to be gone over again with what was answered."""
        return Work(
            self.endpoint,
            lambda ledger: (request for request, _ in self._walk(ledger, Grown(self.taxonomy))[1]),
            later=self._later,
            grows=self.config.levels > 1,
        )

    def grown(self, ledger: Ledger) -> Grown:
        """The tree with what a ledger has.

        Raises:
            DataError: two nodes at the top would be one domain.
        """
        found = Grown(self.taxonomy)
        roots, _ = self._walk(ledger, found)
        try:
            domains = domains_of(roots, self.taxonomy.name, self.taxonomy.name)
        except DataError:  # names of models: each gets a domain of its own, which a person can mend
            roots = tuple(replace(root, slug=root.slug or f"s-{at}") for at, root in enumerate(roots, 1))
            domains = domains_of(roots, self.taxonomy.name, self.taxonomy.name)
        depth = max((len(way) for way in paths(roots)), default=0)
        levels = (*self.taxonomy.levels, *[""] * (depth - len(self.taxonomy.levels)))[:depth]
        found.taxonomy = replace(self.taxonomy, roots=roots, domains=domains, levels=levels)
        return found

    def _grows(self, node: Node) -> bool:
        return node.code in self.config.under if self.config.under else not node.children

    def _room(self, node: Node) -> bool:
        return self._grows(node) and len(node.children) < self.config.children

    def _walk(self, ledger: Ledger | None, found: Grown) -> tuple[tuple[Node, ...], list[tuple[Request, int]]]:
        """The tree with what a ledger has, and every request with how many levels come after it."""
        walk = _Walk(self, ledger, found, {way[-1].code for way in paths(self.taxonomy.roots)})
        if self.topic is not None:
            root = walk.below((Node("", self.topic.strip()),), self.config.levels)
            return root.children, walk.requests
        return tuple(walk.of((root,)) for root in self.taxonomy.roots), walk.requests

    def _later(self, ledger: Ledger | None) -> Iterator[tuple[Request, float]]:
        """For each request without an answer those that would follow, if it brought as many nodes as it may."""
        _, requests = self._walk(ledger, Grown(self.taxonomy))
        for request, after in requests:
            if ledger is not None and said_to(ledger, request).is_settled:
                continue
            for level in range(1, after + 1):
                yield request, float(self.config.children**level)

    def request(self, way: Sequence[Node]) -> Request:
        """What is asked for a node."""
        node = way[-1]
        prompt = self.texts.grow([one.name for one in way], [one.name for one in node.children], self.config.children)
        return Request(
            self.endpoint,
            kind=GROW,
            domain=GROW,
            query_id=node.code or "top",
            messages=self.endpoint.opened((user_message(prompt),)),
            parameters=self.endpoint.parameters,
            read=partial(_read, texts=self.texts),
            asks=_ASKS,
            recipe=recipe_of(self.endpoint, self.endpoint.parameters, self.texts.templates[GROW].text),
            again=self.texts.again(GROW),
        )


@dataclass
class _Walk:
    """One walk over a tree, with all that is new below it."""

    growing: Growing
    ledger: Ledger | None
    found: Grown
    codes: set[str]

    def __post_init__(self) -> None:
        self.requests: list[tuple[Request, int]] = []

    def of(self, way: tuple[Node, ...]) -> Node:
        """A node of the file, with what grew anywhere below it."""
        node = way[-1]
        if self.growing._grows(node):
            return self.below(way, self.growing.config.levels)
        return replace(node, children=tuple(self.of((*way, child)) for child in node.children))

    def below(self, way: tuple[Node, ...], levels: int) -> Node:
        """A node with its new children, and theirs, so many levels down; those that it had stay as they are."""
        node = way[-1]
        if len(node.children) >= self.growing.config.children:
            return node
        request = self.growing.request(way)
        self.requests.append((request, levels - 1))
        listed = self._listed(node, request)
        new = self._new(way, listed)
        self.found.grew += bool(new)
        self.found.added += len(new)
        if levels > 1:
            new = [self.below((*way, child), levels - 1) for child in new]
        return replace(node, children=(*node.children, *new))

    def _listed(self, node: Node, request: Request) -> list[str]:
        if self.ledger is None:
            return []
        said = said_to(self.ledger, request)
        if not said.is_settled:
            self.found.waiting = (*self.found.waiting, node.code or "top")
        elif said.state != ANSWERED or said.raw is None:
            self.found.without = (*self.found.without, node.code or "top")
        else:
            return [one.name for one in parse_types(said.raw, self.growing.texts.words).types]
        return []

    def _new(self, way: tuple[Node, ...], listed: Sequence[str]) -> list[Node]:
        """Those of some names that are no node yet, neither at this place nor above it."""
        node = way[-1]
        known = {comparison_form(one.name) for one in (*way, *node.children)}
        room = self.growing.config.children - len(node.children)
        new: list[Node] = []
        for name in (one.strip() for one in listed):
            form = comparison_form(name)
            if not form or text_problem(name) is not None:
                self.found.unfit += 1
            elif form in known:
                self.found.repeated += 1
            elif len(new) == room:
                self.found.beyond += 1
            else:
                known.add(form)
                new.append(Node(self._code(way, len(node.children) + len(new) + 1, name), name))
        return new

    def _code(self, way: tuple[Node, ...], number: int, name: str) -> str:
        """A code for a new node: as its parent's is made, of names or of numbers."""
        above = way[-1].code
        by_names = above != "" and above == "/".join(one.name for one in way)
        while True:
            code = f"{above}/{name}" if by_names else f"{above}-{number}" if above else str(number)
            if code not in self.codes:
                self.codes.add(code)
                return code
            by_names, number = False, number + 1


def _codes(way: Sequence[Node]) -> set[str]:
    return {node.code for node in way}


def _read(message: Message, *, texts: TapPrompts) -> Outcome:
    """Whether an answer lists anything."""
    text, reason = usable_text(message)
    if text is None:
        return Outcome(INVALID, reason)
    if message.cut:
        return Outcome(INVALID, f"cut: {printable(message.cut)}")
    reason = parse_types(text, texts.words).reason
    return Outcome(ANSWERED, None, text) if reason is None else Outcome(INVALID, reason, text)
