"""What the scripted models of `tap.py` say, and what follows of it by arithmetic alone.

Every number is drawn from the catalogue and hashes, so that who asks in which order changes nothing:

    types        of 724 subjects 1,984, two or three each: a tenth of what GPT-4 gave TaP. A round lists one that is
                 new and, from the second on, the one before once more; the last round of some brings nothing new
    candidates   2,771 of these types: most are feasible at once, others after one or three that are not
    responses    models answer in five ways, in words of their own each; the last ones copy the one before
    scores       of a judge for a way of answering a prompt and a dimension 1 to 8, and 0 to 2 more for what is shown
                 first; one answer in 64 is not to be read, until it is asked for once more

Two responses tie for a judge where its four scores have one sum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

from coig_p.annotate.taxonomy.reading import read_taxonomy, tap_selection
from coig_p.annotate.taxonomy.tree import Subject

PAPER = (724, 1984, 2771)  # subjects, and a tenth of the paper's types and prompts
WAYS = 5
KINDS = ("概念辨析", "史料解读", "计算推导", "方案设计", "错误诊断", "比较评述", "术语翻译")
_EXTRA = (1, 1, 1, 3, 0, 0)  # candidates more, over and over: as many as there are turns
_PHRASES = tuple(
    tuple(f"{first}{second}" for first in row for second in "当可须应先后再均")
    for row in ("依据材料推断", "结合案例说明", "列出步骤验算", "比较各方观点", "概括主要结论")
)

_CASE = re.compile(r"第([0-9A-Z]+)-(\d)-(\d)号个案")
_RESPONSE = re.compile(r"【(\S+)/(\d)】")
_TYPES = re.compile(r"请列出“(.*)”的题型。\Z")
_PROMPT = re.compile(r"出一道具体的题目.*\n学科：(?:.* > )?(.*)\n题型：(.*)\n简介：", re.DOTALL)
_REFINE = re.compile(r"请重写这个简介.*\n题型：(.*)\n简介：", re.DOTALL)


class Case(NamedTuple):
    """A candidate: of a subject, of one of its types from 0 on, and which of them from 1 on."""

    code: str
    type: int
    number: int

    def __str__(self) -> str:
        return f"{self.code}-{self.type}-{self.number}"


@dataclass(frozen=True)
class Plan:
    """All that is known before anything is asked.

    Attributes:
        types: how many each subject has; candidates: of each type of each subject.
    """

    subjects: tuple[Subject, ...]
    types: Mapping[str, int]
    candidates: Mapping[tuple[str, int], int]

    @classmethod
    def of(cls, subjects: int) -> Plan:
        """So many subjects of TaP's selection, evenly drawn."""
        every = read_taxonomy(None).subjects(tap_selection())
        some = tuple(every[at * len(every) // subjects] for at in range(subjects))
        types = {one.code: _share(at, PAPER[1], PAPER[0]) for at, one in enumerate(some)}
        each = [(one.code, at) for one in some for at in range(types[one.code])]
        candidates, turn = {}, 0
        for at, about in enumerate(each):
            more = _share(at, PAPER[2] - PAPER[1], PAPER[1])
            candidates[about] = 1 + (_EXTRA[turn % len(_EXTRA)] if more else 0)
            turn += more
        return cls(some, types, candidates)

    @property
    def cases(self) -> list[Case]:
        """Every candidate; all of them are asked about."""
        return [Case(*about, at) for about, most in self.candidates.items() for at in range(1, most + 1)]

    def ties(self, judge: str) -> int:
        """Pairs of two ways of answering of which a judge prefers neither."""
        found = 0
        for case in self.cases:
            sums = [sum(scores(judge, str(case), way)) for way in range(WAYS)]
            found += sum(one == other for one, other in combinations(sums, 2))
        return found


def _share(at: int, part: int, whole: int) -> int:
    """Of `part` things that are laid evenly on `whole` places those on place `at`."""
    return (at + 1) * part // whole - at * part // whole


def scores(judge: str, case: str, way: int) -> list[int]:
    """A judge's four scores of a way of answering, without what standing first adds."""
    return [1 + byte % 8 for byte in hashlib.sha256(f"{judge} {case} {way}".encode()).digest()[:4]]


def bias(judge: str) -> int:
    """What standing first is worth to a judge."""
    return _draw(judge) % 3


class Scripted:
    """Answers of all models to all that a run asks."""

    def __init__(self, plan: Plan, responders: int) -> None:
        self.plan, self.responders = plan, responders
        self._code = {subject.name: subject.code for subject in plan.subjects}
        self._first = {subject.code: _draw(subject.code) for subject in plan.subjects}

    def __call__(self, request: Mapping[str, Any]) -> str:
        said = [str(message["content"]) for message in request["messages"] if message["role"] == "user"]
        model = str(request["model"])
        if model.startswith("judge"):
            return self._compared(model, said)
        if not model.startswith("writer"):
            return self._response(int(model.rpartition("-")[2]), said[-1])
        if "它能不能完成这条指令" in said[0]:
            return self._checked(said[0])
        if (found := _TYPES.search(said[0])) is not None:
            return self._types(found[1], len(said))
        if (found := _REFINE.search(said[0])) is not None:
            return f"在真实的学习和工作中完成一次{found[1]}：说明依据、写出步骤，并交代结论适用的范围。"
        found = _PROMPT.search(said[0])
        assert found is not None, said[0]
        return self._prompt(found[1], found[2], said)

    def _types(self, subject: str, round_: int) -> str:
        code = self._code[subject]
        listed = [at for at in (round_ - 2, round_ - 1) if 0 <= at < self.plan.types[code]]
        return "\n\n".join(f'"""{self._kind(code, at)}：要求针对{subject}完成一次练习"""' for at in listed)

    def _kind(self, code: str, at: int) -> str:
        return KINDS[(self._first[code] + at) % len(KINDS)]

    def _prompt(self, subject: str, kind: str, said: Sequence[str]) -> str:
        code = self._code[subject]
        at = next(at for at in range(self.plan.types[code]) if self._kind(code, at) == kind)
        case = Case(code, at, 1 + sum("没有办法完成" in text for text in said))
        lacks = _draw("lacks", str(case)) % 4 == 0
        told = f"请围绕{subject}完成一次{kind}，背景材料是第{case}号个案，要求分三点作答，每点都要给出理由。"
        asked = "有没有因为缺少必要的输入" in said[-1]
        if asked:
            return f"是\n\n### 指令\n{told}材料全文：个案发生在去年，涉及三方，争议在于先后。" if lacks else "否"
        return f"### 指令\n{told}"

    def _checked(self, text: str) -> str:
        case = _case(text)
        if case.number < self.plan.candidates[case.code, case.type]:
            return "要到现场拍照，模型没有感官，也不能行动。\n\n不合理"
        return "所需要的都在文字里，写得出来。\n\n合理"

    def _response(self, model: int, prompt: str) -> str:
        if model >= self.responders - self.responders // 13 and model >= WAYS:
            model -= WAYS
        case = _case(prompt)
        drawn = hashlib.sha512(f"{model} {case}".encode()).digest()
        own = _PHRASES[model % WAYS]
        words = "，".join("".join(own[byte % len(own)] for byte in drawn[at : at + 4]) for at in range(0, 60, 4))
        return f"【{case}/{model % WAYS}】{words}。"

    def _compared(self, judge: str, said: Sequence[str]) -> str:
        found = _RESPONSE.findall(said[0])
        assert len(found) == 2, said[0]
        shown = [scores(judge, case, int(way)) for case, way in found]
        shown[0] = [one + bias(judge) for one in shown[0]]
        if len(said) == 1 and _draw(judge, *found[0], *found[1]) % 64 == 0:
            return "两个回答各有长短，难分高下。"
        return _EIGHT.format(*shown[0], *shown[1])


_EIGHT = "两个回答都扣住了个案，步骤的多少和理由的写法不同。" + "".join(
    f"\n\n### 回答{side}的评分" + "".join(f"\n- {name}：[[{{}}]]" for name in ("相关性", "准确性", "清晰性", "完整性"))
    for side in "一二"
)


def _case(text: str) -> Case:
    found = _CASE.search(text)
    assert found is not None, text
    return Case(found[1], int(found[2]), int(found[3]))


@lru_cache(maxsize=2**16)
def _draw(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\x00".join(parts).encode()).digest()[:4], "big")
