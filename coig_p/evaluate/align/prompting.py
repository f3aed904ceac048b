"""What a judge of a benchmark is sent. The prompts are the package's own; those of the benchmarks have no licence.

A folder of the user's replaces some or all of them, and words.toml beside them what they say around what is judged: so
a judge can be asked in any language. Its scores are read by the names that words.toml gives, and kept by AlignBench's.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from coig_p.annotate.prompt_folder import WORDS_FILE, check_words, files_in, read_words
from coig_p.annotate.prompts import Markers, Prompt, Value, parse_prompt, read_prompt
from coig_p.errors import UsageError
from coig_p.evaluate.align.benchmarks import Question
from coig_p.evaluate.align.kinds import ALIGNBENCH, OVERALL
from coig_p.evaluate.align.reading import folded, read_scores

_ALIGN, _JUDGED = ("dimensions", "form"), ("query", "response")
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "alignbench": (*_ALIGN, "query", "reference", "response"),
    "alignbench-general": (*_ALIGN, *_JUDGED),
    "mt-bench-zh": ("query", "reference", "response"),
    "mt-bench-zh-general": _JUDGED,
}
"""Each template's slots; those of AlignBench may have {{category}}, too."""

_OPTIONAL: Mapping[str, tuple[str, ...]] = {"alignbench": ("category",), "alignbench-general": ("category",)}
# Slots in the texts of words.toml, each once.
_SLOTS_OF: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("markers", "turn"): ("turn",),
    ("form", "dimension"): ("name", "definition"),
    ("again", "asks"): ("form",),
}
_OF_ALIGNBENCH = ("form", "names", "definitions", "categories")
_SAME = {"refusal": "empty", "refused": "empty"}

Words = Mapping[str, Any]
"""As words.toml has them, every key of the package's there."""


@dataclass(frozen=True)
class JudgePrompts:
    """All that a judge is sent of the benchmarks, and what it is read by. Make it with `read_prompts`."""

    templates: Mapping[str, Prompt]
    words: Words

    @property
    def names(self) -> Mapping[str, str]:
        """Of AlignBench's dimensions and the overall, how this judge writes them."""
        told: Mapping[str, str] = self.words["names"]
        return told

    @property
    def markers(self) -> Markers:
        """Around what is judged."""
        told = self.words["markers"]
        names = {slot: told[slot] for slot in ("query", "reference", "response")}
        speakers = {role: told[role] for role in ("user", "assistant")}
        return Markers(names, told["begins"], told["ends"], speakers, told["conversation"])

    def prompt_of(self, kind: str, question: Question, *, has_reference: bool) -> Prompt:
        """What a judge is sent about a question, with slots for what differs between models."""
        prompt = self.templates[kind if has_reference else f"{kind}-general"]
        if kind != ALIGNBENCH:
            return prompt
        listed = (
            _put(self.words["form"]["dimension"], name=self.names[one], definition=self.words["definitions"][one])
            for one in question.dimensions
        )
        return prompt.with_put(
            {
                "category": self.words["categories"][question.category],
                "dimensions": "\n".join(f"{at}. {one}" for at, one in enumerate(listed, 1)),
                "form": self.form(kind, question.dimensions),
            }
        )

    def form(self, kind: str, dimensions: Sequence[str]) -> str:
        """How a judge is to write its scores."""
        score = self.words["form"]["score"]
        if kind != ALIGNBENCH:
            return f"[[{score}]]"
        return "{" + ", ".join(f"'{self.names[one]}': {score}" for one in (*dimensions, OVERALL)) + "}"

    def filled(self, kind: str, question: Question, turn: int, answers: tuple[str, ...]) -> str:
        """The prompt about one turn of a question.

        Args:
            turn: from 1; answers: of the turns up to this one.
        """
        reference = self._reference(question, turn)
        prompt = self.prompt_of(kind, question, has_reference=reference is not None)
        query: Value = question.turns[0]
        if turn > 1:
            said = zip(question.turns[: turn - 1], answers, strict=False)
            before = [
                {"role": role, "content": text}
                for pair in said
                for role, text in zip(("user", "assistant"), pair, strict=True)
            ]
            query = [*before, {"role": "user", "content": question.turns[turn - 1]}]
        slots: dict[str, Value] = {"query": query, "response": answers[turn - 1]}
        return prompt.fill(slots if reference is None else slots | {"reference": reference}, self.markers)

    def _reference(self, question: Question, turn: int) -> str | None:
        """The reference of a turn, behind those of the turns before; None where the turn itself has none."""
        if question.references[turn - 1] is None:
            return None
        told = [(at, one) for at, one in enumerate(question.references[:turn], 1) if one is not None]
        if turn == 1:
            return told[0][1]
        label = self.words["markers"]["turn"]
        return "\n\n".join(f"{_put(label, turn=str(at))}\n{one}" for at, one in told)

    def again(self, kind: str, dimensions: Sequence[str], reason: str, *, has_text: bool) -> list[str]:
        """What a judge is told whose scores could not be read: for this reason, then for every other one."""
        told = self.words["again"]
        slug = reason.partition(":")[0]
        slug = _SAME.get(slug, slug if slug in told["lacks"] else "none" if has_text else "empty")
        lacks = [told["lacks"][slug], *(words for name, words in told["lacks"].items() if name != slug)]
        asked = _put(told["asks"], form=self.form(kind, dimensions))
        return [words + asked for words in lacks]

    def sha256(self, kind: str) -> str:
        """Of all that a judge of a benchmark may be sent, but for what is judged, and of what it is read by."""
        texts = [self.templates[name].text for name in (kind, f"{kind}-general")]
        words = {name: told for name, told in self.words.items() if kind == ALIGNBENCH or name not in _OF_ALIGNBENCH}
        words |= {} if kind == ALIGNBENCH else {"score": self.words["form"]["score"]}
        return sha256(json.dumps([*texts, words], ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def _put(text: str, **values: str) -> str:
    """A text of words.toml with its slots filled."""
    return parse_prompt(text, tuple(values), WORDS_FILE).put(values)


def read_prompts(folder: Path | None = None) -> JudgePrompts:
    """The package's prompts, with those of a folder in their place.

    Args:
        folder: of files named as `TEMPLATES` are, with .md, and words.toml; what they lack is the package's.

    Raises:
        UsageError: no such folder, a file that is none of these, a slot that is missing, or words that a judge's
            scores could not be read by; names the file.
    """
    own = {} if folder is None else files_in(folder, TEMPLATES)
    templates = {
        name: _bundled_template(name)
        if f"{name}.md" not in own
        else read_prompt(own[f"{name}.md"], slots, _OPTIONAL.get(name, ()))
        for name, slots in TEMPLATES.items()
    }
    words = _bundled_words()
    if WORDS_FILE in own:
        words = _merged(words, _told(own[WORDS_FILE], words))
        _check_read(own[WORDS_FILE], JudgePrompts(templates, words))
    return JudgePrompts(templates, words)


@cache
def _bundled_template(name: str) -> Prompt:
    return parse_prompt(_bundled(f"{name}.md"), TEMPLATES[name], f"prompts/{name}.md", _OPTIONAL.get(name, ()))


@cache
def _bundled_words() -> Words:
    return tomllib.loads(_bundled(WORDS_FILE))


def _bundled(name: str) -> str:
    return files("coig_p.evaluate.align").joinpath("prompts", name).read_text(encoding="utf-8")


def _merged(words: Words, told: Mapping[str, Any]) -> dict[str, Any]:
    """The package's words with the user's in their place, table by table."""
    both = {**words, **told}
    return {name: _merged(words[name], value) if isinstance(value, dict) else value for name, value in both.items()}


def _told(path: Path, known: Words) -> Mapping[str, Any]:
    """What a user's words.toml has, checked."""
    told = read_words(path)
    check_words(path, "", told, known, dict)
    for table, values in told.items():
        tables = [name for name in values if name in known[table] and isinstance(known[table][name], dict)]
        check_words(path, f"{table}.", {name: values[name] for name in tables}, tables, dict)
        for name in tables:
            check_words(path, f"{table}.{name}.", values[name], known[table][name], str)
        texts = {name: value for name, value in values.items() if name not in tables}
        check_words(path, f"{table}.", texts, known[table], str)
        for name, value in texts.items():
            slots = _SLOTS_OF.get((table, name), ())
            parse_prompt(value, slots, f"{path} {table}.{name}")
            if not value.strip() and (table, name) not in (("markers", "begins"), ("markers", "ends")):
                raise UsageError(f"{path} {table}.{name}: blank")
    return told


def _check_read(path: Path, prompts: JudgePrompts) -> None:
    """Raise UsageError where a judgement in the form that is asked for would not be read back."""
    markers = prompts.markers
    if markers.begins == markers.ends:
        raise UsageError(f"{path} markers.begins: it is the same as markers.ends: {markers.begins!r}")
    by_name: dict[str, str] = {}
    for one, name in prompts.names.items():
        other = by_name.setdefault(folded(name), one)
        if other != one:
            raise UsageError(f"{path} names.{one}: {name!r} is the name of {other}, too")
    score = prompts.words["form"]["score"]
    for one in (name for name in prompts.names if name != OVERALL):
        form = prompts.form(ALIGNBENCH, (one,))
        if read_scores(form, (one,), names=prompts.names).scores is not None:
            raise UsageError(f"{path} form.score: {score!r} is itself a score, as a judge would copy it. Use a word")
        name = prompts.names[one]
        form = f"{{'{name}': 5, '{prompts.names[OVERALL]}': 6}}"
        if read_scores(form, (one,), names=prompts.names).scores != {one: 5, OVERALL: 6}:
            raise UsageError(
                f"{path} names.{one}: {name!r} cannot be read in {form}: use up to 40 characters, no quotes, colons, "
                f"commas or braces, and no word for a whole score, as overall; in names.{OVERALL}, too"
            )
