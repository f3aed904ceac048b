"""Templates of a TaP run: a folder a language, with words.toml beside them; one of the user's replaces some or all.

A template is as in `coig_p.annotate.prompts`. Names and descriptions stand in it as they are; what is judged stands
between marker lines.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.message import Message, usable_text
from coig_p.annotate.asking.request import Again, Messages, assistant_message, user_message
from coig_p.annotate.prompt_folder import WORDS_FILE, check_words, files_in, read_words
from coig_p.annotate.prompts import Markers, Prompt, parse_prompt, read_prompt
from coig_p.annotate.taxonomy.tree import Subject
from coig_p.annotate.taxonomy.words import WORDS, Words
from coig_p.errors import UnknownNameError

LANGUAGES = ("zh", "en")
"""In which the package has templates."""

GROW = "grow"
"""What is asked for where a taxonomy grows, which is no stage of a run."""

TEMPLATES: dict[str, tuple[str, ...]] = {
    GROW: ("path", "number", "known", "name"),
    "types": ("path", "subject"),
    "more_types": ("subject",),
    "refine": ("path", "type", "description"),
    "prompt": ("path", "type", "description"),
    "plain": ("number",),
    "complete": (),
    "regenerate": ("reasons",),
    "feasible": ("prompt",),
    "respond": (),
    "compare": ("prompt", "first", "second"),
}
"""Each template's slots."""

KINDS: dict[str, tuple[str, ...]] = {
    "types": ("types", "more_types"),
    "refine": ("refine",),
    "prompt": ("prompt", "complete", "regenerate"),
    "complete": ("prompt", "complete", "regenerate"),
    "feasible": ("feasible",),
    "compare": ("compare",),
}
"""What is asked for, by the name that answers are read under, and the templates that such a request may hold."""

_MARKERS = ("prompt", "first", "second", "reasons", "begins", "ends")
_BESIDE = ("nothing", "cut_off")
_SAME = {"refusal": "empty"}


@dataclass(frozen=True)
class TapPrompts:
    """All templates of a run, and what its answers are read by.

    Attributes:
        templates: by name (see `TEMPLATES`).
        words: for the parsers.
        markers: around what is judged.
        lacks: by the reason for which an answer is invalid, what it lacked.
        asks: by what was asked for (see `KINDS`), how it is asked for again.
        nothing, cut_off: what stands in place of an answer without text, and of one that was cut off.
    """

    templates: Mapping[str, Prompt]
    words: Words
    markers: Markers
    lacks: Mapping[str, str]
    asks: Mapping[str, str]
    nothing: str
    cut_off: str

    def grow(self, names: Sequence[str], known: Sequence[str], number: int) -> str:
        """Asks for so many nodes below one, which has these names above it and itself, and these children."""
        told = {"path": " > ".join(names), "name": names[-1], "number": str(number)}
        return self.templates[GROW].put({**told, "known": ", ".join(known) or "-"})

    def types(self, subject: Subject) -> str:
        """Asks for question types of a subject."""
        return self.templates["types"].put({"path": way(subject), "subject": subject.name})

    def more_types(self, subject: Subject) -> str:
        """Asks for more, behind an answer."""
        return self.templates["more_types"].put({"subject": subject.name})

    def refine(self, subject: Subject, name: str, description: str) -> str:
        """Asks for a type's description in better words."""
        return self._of_type("refine", subject, name, description)

    def prompt(self, subject: Subject, name: str, description: str) -> str:
        """Asks for a prompt of a type."""
        return self._of_type("prompt", subject, name, description)

    def plain(self, number: str) -> str:
        """Asks for a prompt of no subject and no type."""
        return self.templates["plain"].put({"number": number})

    @cached_property
    def complete(self) -> str:
        """Asks behind a prompt whether it lacks anything."""
        return self.templates["complete"].put({})

    def regenerate(self, reasons: str) -> str:
        """Asks for another prompt behind one that is not feasible, for these reasons."""
        return self.templates["regenerate"].fill({"reasons": reasons}, self.markers)

    def feasible(self, prompt: str) -> str:
        """Asks whether a text-only model can do what a prompt asks."""
        return self.templates["feasible"].fill({"prompt": prompt}, self.markers)

    @cached_property
    def respond(self) -> str:
        """The system message of models that respond."""
        return self.templates["respond"].put({})

    def compare(self, prompt: str, first: str, second: str) -> str:
        """Asks for scores of two responses, as they are shown."""
        values = {"prompt": prompt, "first": first, "second": second}
        return self.templates["compare"].fill(values, self.markers)

    def texts(self, kind: str, *, plain: bool = False) -> tuple[str, ...]:
        """The templates that requests of a kind are made with, for a recipe; `plain`: of a run without a taxonomy."""
        return tuple(self.templates["plain" if plain and name == "prompt" else name].text for name in KINDS[kind])

    def again(self, kind: str) -> Again:
        """What is sent once more where an answer could not be used; see `Request.again`."""
        return partial(_again, prompts=self, kind=kind)

    def _of_type(self, template: str, subject: Subject, name: str, description: str) -> str:
        return self.templates[template].put({"path": way(subject), "type": name, "description": description})


def way(subject: Subject) -> str:
    """Where a subject stands, as models are told it."""
    return " > ".join(subject.names)


def read_prompts(language: str = "zh", folder: Path | None = None) -> TapPrompts:
    """The package's templates of a language, with those of a folder in their place.

    Args:
        folder: of files named as `TEMPLATES` are, with .md, and words.toml; those that it lacks are the package's.

    Raises:
        UsageError: an unknown language; no such folder; a file that is none of these, or cannot be right.
    """
    if language not in LANGUAGES:
        raise UnknownNameError("language", language, LANGUAGES)
    own = {} if folder is None else files_in(folder, TEMPLATES)
    templates = {name: _template(language, name, own.get(f"{name}.md")) for name in TEMPLATES}
    bundled = tomllib.loads(_bundled(language, WORDS_FILE))
    told = _told(own[WORDS_FILE]) if WORDS_FILE in own else {}
    markers = {**bundled["markers"], **told.get("markers", {})}
    again = {**bundled["again"], **told.get("again", {})}
    lacks = {**bundled["again"]["lacks"], **again["lacks"]}
    asks = {**bundled["again"]["asks"], **again["asks"]}
    begins, ends = markers.pop("begins"), markers.pop("ends")
    read = {name: tuple(ways) for name, ways in told.get("read", {}).items()}
    words = WORDS + Words(**{one.name: read.get(one.name, ()) for one in fields(Words)})
    return TapPrompts(templates, words, Markers(markers, begins, ends), lacks, asks, again["nothing"], again["cut_off"])


def _template(language: str, name: str, path: Path | None) -> Prompt:
    slots = TEMPLATES[name]
    if path is not None:
        return read_prompt(path, slots)
    return parse_prompt(_bundled(language, f"{name}.md"), slots, f"prompts/tap/{language}/{name}.md")


def _bundled(language: str, name: str) -> str:
    return files("coig_p.annotate").joinpath("prompts", "tap", language, name).read_text(encoding="utf-8")


def _told(path: Path) -> Mapping[str, Any]:
    """What a user's words.toml has, checked."""
    told = read_words(path)
    check_words(path, "", told, ("markers", "again", "read"), dict)
    check_words(path, "markers.", told.get("markers", {}), _MARKERS, str)
    again = told.get("again", {})
    beside = {name: value for name, value in again.items() if name not in ("lacks", "asks")}
    check_words(path, "again.", beside, _BESIDE, str)
    for name, known in (("lacks", _LACKS), ("asks", (GROW, *KINDS))):
        check_words(path, "again.", {name: again.get(name, {})}, (name,), dict)
        check_words(path, f"again.{name}.", again.get(name, {}), known, str)
    check_words(path, "read.", told.get("read", {}), [one.name for one in fields(Words)], list)
    return told


_LACKS = tuple(tomllib.loads(_bundled("zh", WORDS_FILE))["again"]["lacks"])


def _again(sent: Messages, message: Message, reason: str, *, prompts: TapPrompts, kind: str) -> list[Messages]:
    """What was sent, the answer, and what it lacked: for this reason, and for every other one."""
    text, _ = usable_text(message)
    said = prompts.cut_off if message.cut else prompts.nothing if text is None else text
    slug = reason.partition(":")[0]
    slug = _SAME.get(slug, slug if slug in prompts.lacks else "empty" if text is None else "none")
    words = [prompts.lacks[slug], *(other for name, other in prompts.lacks.items() if name != slug)]
    return [(*sent, assistant_message(said), user_message(each + prompts.asks[kind])) for each in words]
