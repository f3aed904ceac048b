"""What a TaP run asks from now on, as far as anybody can know: what is not there yet is taken to be as usual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeVar

from coig_p.annotate.asking.ledger import ANSWERED, BATCHED, INVALID, Ledger, Query
from coig_p.annotate.asking.request import PENDING, Outcome, Request, outcome
from coig_p.annotate.config import EndpointConfig, RunConfig
from coig_p.annotate.tap.chains import Chain, prompt_chain, refine_chain, types_chain
from coig_p.annotate.tap.comparing import Selecting, answers_to, compare_request, shown_to
from coig_p.annotate.tap.parsing import QuestionType, parse_completeness, parse_feasible
from coig_p.annotate.tap.requests import texts_of
from coig_p.annotate.tap.selecting import Response
from coig_p.annotate.tap.types import Candidate, query_id, source_of
from coig_p.annotate.tap.vectors import embed_requests
from coig_p.annotate.tap.walking import subjects_of
from coig_p.annotate.tasks.generate import GENERATE, generate_request
from coig_p.annotate.taxonomy.config import COMPLETE, FEASIBLE, PROMPT, REFINE, TYPES
from coig_p.annotate.taxonomy.tree import Subject

_CHARACTERS = {TYPES: 600, REFINE: 80, PROMPT: 250, COMPLETE: 4, FEASIBLE: 250}
"""Of an answer, until the ledger knows better."""

_FILLED = "甲乙丙丁戊己庚辛壬癸"
_RESPONSE = 500
_TYPES = 30  # of a subject, until some subjects are through
_ENOUGH = 20  # answers, or subjects, from which an average is taken

Made = TypeVar("Made")


class Foreseen(NamedTuple):
    """A request of the run.

    Attributes:
        found: what became of it.
        made_up: it holds answers that are not there yet, so its key is not known.
        times: how many there will be, about.
    """

    request: Request
    found: Outcome
    made_up: bool = False
    times: float = 1.0


@dataclass
class _Usual:
    """What answers are like so far.

    Attributes:
        types, subjects: how many types came of how many subjects.
        asked_for: how often a second round, or a check, of a candidate of this number was answered; said: how often it
            was that something is missing, or that it is not feasible.
        lacking: characters of the answers that say that something is missing, and bring the prompt anew.
        asked: prompts that models are asked.
        through: queries that need nothing more.
    """

    config: RunConfig
    ledger: Ledger
    types: int = 0
    subjects: int = 0
    asked_for: Counter[tuple[str, int]] = field(default_factory=Counter)
    said: Counter[tuple[str, int]] = field(default_factory=Counter)
    lacking: int = 0
    asked: set[str] = field(default_factory=set)
    through: set[str] = field(default_factory=set)
    selecting: Selecting = field(init=False)
    _lengths: dict[tuple[str, str], int] = field(default_factory=dict)
    _rounds: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    _carried: dict[tuple[str, int], Fraction] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.selecting = Selecting(self.config)
        for used in self.ledger.usage():
            if used.number >= _ENOUGH and used.prompt_tokens:
                tokens = used.completion_tokens / used.number
                self._lengths[used.endpoint, used.kind] = round(tokens * used.characters / used.prompt_tokens)

    @property
    def types_of_a_subject(self) -> float:
        """How many there are."""
        return self.types / self.subjects if self.subjects >= _ENOUGH else float(_TYPES)

    @property
    def compared(self) -> list[Response]:
        """As many responses as are compared, of the usual length."""
        assert self.config.tap is not None
        some = self.config.generators[: self.config.tap.select.clusters]
        lengths = [self._lengths.get((one.name, GENERATE), _RESPONSE) for one in self.config.generators]
        return [Response(one.name, "甲" * (sum(lengths) // len(lengths))) for one in some]

    def learn(self, request: Request, found: Outcome) -> None:
        """What an answer that is there says of those to come."""
        if request.kind == TYPES and found.text is not None:
            known = self._rounds.setdefault((request.endpoint.name, len(request.messages)), [0, 0])
            known[0], known[1] = known[0] + 1, known[1] + len(found.text)
        if request.kind not in (COMPLETE, FEASIBLE) or found.text is None:
            return
        words, about = texts_of(self.config).words, _about(request)
        self.asked_for[about] += 1
        if request.kind == FEASIBLE:
            self.said[about] += parse_feasible(found.text, words).feasible is False
        elif parse_completeness(found.text, words).prompt is not None:
            self.said[about] += 1
            self.lacking += len(found.text)

    def _says_so(self, request: Request) -> bool:
        """Whether this one says that something is missing, or cannot be done: as often as those that are there did.

        No chance is in it: each brings its share, and one says so whenever the shares, from a half on, make a whole.
        """
        about = _about(request)
        number = self.asked_for[about]
        if sum(self.asked_for[request.kind, at] for at in range(1, about[1] + 1)) < _ENOUGH or not number:
            return False
        whole, self._carried[about] = divmod(
            self._carried.get(about, Fraction(1, 2)) + Fraction(self.said[about], number), 1
        )
        return whole > 0

    def _usual_length(self, request: Request, answers: int, characters: int) -> int:
        """The mean length of a round's answers; what is less than a character goes to the next one."""
        about = request.kind, len(request.messages)
        whole, self._carried[about] = divmod(
            self._carried.get(about, Fraction(1, 2)) + Fraction(characters, answers), 1
        )
        return int(whole)

    @property
    def embedded(self) -> list[str]:
        """Texts of the usual lengths, of each model one, where an endpoint embeds them."""
        assert self.config.tap is not None
        settings = self.config.tap.select
        if settings.endpoint is None or len(self.config.generators) <= settings.clusters:
            return []
        longest = None if settings.bytes is None else settings.bytes // 4
        lengths = [self._lengths.get((one.name, GENERATE), _RESPONSE) for one in self.config.generators]
        return [f"{at}{'甲' * length}"[:longest] for at, length in enumerate(lengths)]

    def answer(self, request: Request) -> Outcome:
        """An answer to a request as they usually are, of the usual length."""
        words, kind = texts_of(self.config).words, request.kind
        length = self._lengths.get((request.endpoint.name, kind), _CHARACTERS[kind])
        if kind == TYPES:
            round_ = len(request.messages)
            known = self._rounds.get((request.endpoint.name, round_), (0, 0))  # the first ones bring the most
            text = _listed(round_, length if known[0] < _ENOUGH else self._usual_length(request, *known))
        elif kind == PROMPT:
            text = f"### {words.heading[0]}\n{'甲' * max(1, length - 7)}"
        elif kind == COMPLETE and self._says_so(request):
            length = self.lacking // sum(number for (of, _), number in self.said.items() if of == COMPLETE)
            head = f"{words.yes[0]}\n### {words.heading[0]}\n"
            text = head + "甲" * max(1, length - len(head))
        elif kind == COMPLETE:
            text = words.no[0]
        elif kind == FEASIBLE:
            verdict = words.infeasible[0] if self._says_so(request) else words.feasible[0]
            text = f"{'甲' * max(1, length - len(verdict) - 1)}\n{verdict}"
        else:
            text = "甲" * max(1, length)
        return Outcome(ANSWERED, None, text)


def foreseen(
    config: RunConfig,
    ledger: Ledger,
    limit: int | None = None,
    unless: Collection[str] = (),
) -> Iterator[Foreseen]:
    """Every request, one by one, once all that comes before it is answered.

    Args:
        limit: of the first so many subjects.
        unless: nothing of queries that are concluded with one of these marks.
    """
    usual = _Usual(config, ledger, through=set(ledger.concluded(unless)))
    begun: list[tuple[EndpointConfig, Subject]] = []
    for subject in subjects_of(config, limit):
        for writer in config.writers:
            made, real = yield from _driven(usual, types_chain(config, writer, subject), 1.0)
            if made is None:
                continue
            if not real:
                begun.append((writer, subject))
                continue
            usual.types += len(made.types)
            usual.subjects += 1
            for one in made.types:
                yield from _of_type(usual, writer, subject, one, 1.0, real=True)
    for writer, subject in begun:
        one = QuestionType("甲" * 6, "甲" * 30)
        yield from _of_type(usual, writer, subject, one, usual.types_of_a_subject, real=False)


def _of_type(
    usual: _Usual,
    writer: EndpointConfig,
    subject: Subject,
    one: QuestionType,
    times: float,
    *,
    real: bool,
) -> Iterator[Foreseen]:
    config, ledger = usual.config, usual.ledger
    assert config.tap is not None
    refined, known = yield from _driven(usual, refine_chain(config, writer, subject, one), times, real=real)
    if refined is None:
        return
    made, known = yield from _driven(usual, prompt_chain(config, writer, subject, refined), times, real=known)
    if not made:
        return
    every = config.tap.taxonomy.ask_infeasible
    for candidate in made if every else made[-1:]:
        if not (candidate.feasible or every):
            continue
        if known and candidate.prompt in usual.asked:  # the same request to each model
            continue
        usual.asked.add(candidate.prompt)
        query = _query(writer, subject, refined, candidate)
        if known and query.query_id in usual.through:
            stored = ledger.query(query.query_id)
            if stored is not None and stored.query == query.query:  # what is through is what the ledger has
                continue
        for author in config.generators:
            request = generate_request(config, author, query)
            yield Foreseen(request, outcome(ledger, request) if known else Outcome(PENDING), not known, times)
        yield from _compared(usual, query, times, known=known)


def _compared(usual: _Usual, query: Query, times: float, *, known: bool) -> Iterator[Foreseen]:
    """What judges are asked of a query; of one that is not selected from yet, as many as there may be."""
    config, ledger, some = usual.config, usual.ledger, usual.compared
    assert config.tap is not None
    if known:
        answers = answers_to(config, ledger, query)
        chosen = usual.selecting.known(ledger, query, answers)
        if chosen is not None:
            for judge in config.judges:
                for shown in shown_to(config, judge, query.query_id, chosen):
                    request = compare_request(config, judge, query, shown)
                    yield Foreseen(request, outcome(ledger, request))
            return
        if answers.complete:
            for request in usual.selecting.requests(query, answers):
                yield Foreseen(request, outcome(ledger, request))
            distinct = {one.text: one for one in answers.responses}
            some = list(distinct.values())[: config.tap.select.clusters]
    if usual.embedded and not (known and answers.complete):
        for request in embed_requests(config, query, usual.embedded):
            yield Foreseen(request, Outcome(PENDING), True, times)
    for judge in config.judges:
        every = list(shown_to(config, judge, query.query_id, some))
        if every:
            request = compare_request(config, judge, query, every[0])
            yield Foreseen(request, Outcome(PENDING), True, times * len(every))


def _driven(
    usual: _Usual, chain: Chain[Made], times: float, *, real: bool = True
) -> Generator[Foreseen, None, tuple[Made | None, bool]]:
    """Every request of a chain; returns what it makes, with usual answers in place of those that are missing.

    Behind it stands whether none was. What is out in a batch, or refused for good,
    brings nothing that anybody could foresee: None.
    """
    try:
        request = next(chain)
        while True:
            found = outcome(usual.ledger, request) if real else Outcome(PENDING)
            known = found.state in (ANSWERED, INVALID)
            if known:
                usual.learn(request, found)
            yield Foreseen(request, found, not real, times)
            if found.state == BATCHED or found.is_refused:
                return None, real
            real = real and known
            request = chain.send(found if known else usual.answer(request))
    except StopIteration as end:
        return end.value, real


def _listed(round_: int, length: int) -> str:
    """Types as an answer to a round lists them, in all of this length, where it is enough for one."""
    number = max(1, length // 40)
    names = [f'"""Q{round_}{at}x：' for at in range(number)]
    left = length - sum(len(name) + 3 for name in names) - (number - 1)  # quotes behind, and ends of lines
    each = [max(1, left // number + (at < left % number)) for at in range(number)]
    return "\n".join(f'{name}{(_FILLED * told)[:told]}"""' for name, told in zip(names, each, strict=True))


def _about(request: Request) -> tuple[str, int]:
    """The kind of a request about a candidate, and the number of that one."""
    return request.kind, int(request.query_id.rpartition("/")[2])


def _query(writer: EndpointConfig, subject: Subject, one: QuestionType, candidate: Candidate) -> Query:
    about = query_id(writer.name, subject, one.name, candidate.number)
    return Query(0, about, subject.domain, candidate.prompt, source_of(subject, one.name), None)
