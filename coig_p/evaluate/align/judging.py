"""A judge scores the answers of a model: requests for the ledger, results from it.

The same question, answer and prompt are the same request, so that nothing is judged twice, whoever answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from coig_p.annotate.alone.running import Work
from coig_p.annotate.alone.said import said_to
from coig_p.annotate.asking.ledger import ANSWERED, INVALID, Ledger
from coig_p.annotate.asking.message import Message, encodable, read_body, usable_text
from coig_p.annotate.asking.request import Messages, Outcome, Request, assistant_message, recipe_of, user_message
from coig_p.evaluate.align.answering import why
from coig_p.evaluate.align.benchmarks import Question
from coig_p.evaluate.align.files import Kept, Turn
from coig_p.evaluate.align.kinds import ALIGNBENCH, OVERALL
from coig_p.evaluate.align.official import official_rating, official_score
from coig_p.evaluate.align.prompting import JudgePrompts, read_prompts
from coig_p.evaluate.align.reading import Read, read_rating, read_scores
from coig_p.reward.judging.config import Judge
from coig_p.reward.judging.verdicts import why_without

JUDGE = "align-judge"


@dataclass(frozen=True)
class Judging:
    """A judge that is asked about answers, with these prompts. Make it with `of`."""

    answers: Kept
    judge: Judge
    prompts: JudgePrompts

    @classmethod
    def of(cls, answers: Kept, judge: Judge) -> Judging:
        """With the judge's own prompts, where it has some; raise UsageError where these cannot be."""
        return cls(answers, judge, read_prompts(judge.prompts))

    @property
    def kind(self) -> str:
        """Of the benchmark."""
        return self.answers.benchmark.kind

    def work(self) -> Work:
        """What is to be asked: every turn that has an answer."""
        return Work(self.judge.endpoint, self._requests, self.judge.most_invalid)

    def describe(self) -> dict[str, Any]:
        """Who judges, and with which prompts; results are compared only where all of it is the same."""
        one = self.judge.endpoint
        told = {"kind": "judge", "name": one.name, "model": one.model, "system": one.system}
        return told | {"parameters": dict(one.parameters), "prompt_sha256": self.prompts.sha256(self.kind)}

    def _requests(self, _ledger: Ledger | None) -> Iterator[Request]:
        for question, turns in zip(self.answers.benchmark.questions, self.answers.turns, strict=True):
            for turn in turns:
                if turn.text is not None:
                    yield self.request(question, turns, turn.turn)

    def request(self, question: Question, turns: tuple[Turn, ...], turn: int) -> Request:
        """One answer, to be judged."""
        endpoint = self.judge.endpoint
        texts = tuple(str(one.text) for one in turns[:turn])
        material, dimensions = _material(question, turns, turn), question.dimensions_for(self.kind)
        prompt = self.prompts.prompt_of(self.kind, question, has_reference=question.references[turn - 1] is not None)
        return Request(
            endpoint,
            kind=JUDGE,
            domain=question.category,
            query_id=f"{self.answers.benchmark.name}: {question.id}",
            author=f"{self.answers.model['name']}, turn {turn}",
            messages=endpoint.opened((user_message(self.prompts.filled(self.kind, question, turn, texts)),)),
            parameters=endpoint.parameters,
            read=partial(read_message, kind=self.kind, dimensions=dimensions, material=material, prompts=self.prompts),
            asks=self.judge.asks,
            recipe=recipe_of(endpoint, endpoint.parameters, endpoint.system, prompt.text),
            again=partial(judged_again, kind=self.kind, dimensions=dimensions, prompts=self.prompts),
        )

    def results(self, ledger: Ledger) -> Iterator[Turn]:
        """What was said of each turn, in the benchmark's order."""
        for question, turns in zip(self.answers.benchmark.questions, self.answers.turns, strict=True):
            for turn in turns:
                if turn.text is None:
                    yield Turn(question.id, turn.turn, reason="no-first" if turn.reason == "no-first" else "no-answer")
                    continue
                request = self.request(question, turns, turn.turn)
                said, official = said_to(ledger, request), self._official(ledger, request)
                if said.state != ANSWERED or said.raw is None:
                    yield Turn(question.id, turn.turn, said.raw, why(said, "not-judged"), None, official)
                    continue
                material, dimensions = _material(question, turns, turn.turn), question.dimensions_for(self.kind)
                read = read_judgement(said.raw, self.kind, dimensions, material, self.prompts)
                yield Turn(question.id, turn.turn, said.raw, read.reason, read.scores, official)

    def _official(self, ledger: Ledger, request: Request) -> float | None:
        """What the benchmark's own code reads in the first answer, which it does not ask for again."""
        found = ledger.get(request.key(0))
        if found is None or found.state not in (ANSWERED, INVALID) or found.body is None:
            return None
        text = encodable(read_body(str(found.body)).text or "")
        return official_score(text, self.prompts.names[OVERALL]) if self.kind == ALIGNBENCH else official_rating(text)


def _material(question: Question, turns: tuple[Turn, ...], turn: int) -> tuple[str, ...]:
    """All that a judge is shown of a turn, whose scores are not its own."""
    texts = (str(one.text) for one in turns[:turn])
    return (*question.turns[:turn], *texts, *(one for one in question.references[:turn] if one is not None))


def read_judgement(
    text: str, kind: str, dimensions: tuple[str, ...], material: tuple[str, ...], prompts: JudgePrompts
) -> Read:
    """The scores in a judgement of a benchmark."""
    if kind == ALIGNBENCH:
        return read_scores(text, dimensions, material, names=prompts.names)
    return read_rating(text, material)


def read_message(
    message: Message, *, kind: str, dimensions: tuple[str, ...], material: tuple[str, ...], prompts: JudgePrompts
) -> Outcome:
    """What a judge's answer says: usable where it is whole, and has all its scores."""
    text, reason = usable_text(message)
    if text is None:
        return why_without(message, Outcome(INVALID, reason))
    if message.cut:
        return Outcome(INVALID, f"cut: {message.cut}", text)
    read = read_judgement(text, kind, dimensions, material, prompts)
    if read.scores is None:
        return why_without(message, Outcome(INVALID, read.reason, text))
    return Outcome(ANSWERED, None, text, float(read.scores[OVERALL]))


def judged_again(
    sent: Messages, message: Message, reason: str, *, kind: str, dimensions: tuple[str, ...], prompts: JudgePrompts
) -> list[Messages]:
    """What a judge is sent once more whose scores could not be read: for this reason, and for every other one."""
    text, _ = usable_text(message)
    told = prompts.words["again"]
    said = told["cut_off"] if message.cut else told["nothing"] if text is None else text
    words = prompts.again(kind, dimensions, reason, has_text=text is not None)
    return [(*sent, assistant_message(said), user_message(each)) for each in words]
