"""A conversation as a model reads it: its chat template, here with transformers' tokenizer or without transformers.

Training and scoring both go through this module, so that a model is asked what it learnt on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from coig_p.core.text import printable
from coig_p.errors import DataError, UsageError

Turns = Sequence[Mapping[str, str]]
FILE, CONFIG = "chat_template.jinja", "tokenizer_config.json"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Llama 3's templates say which day it is, today where nobody tells: a reward would be another one tomorrow.
_DAY = datetime(2024, 7, 26)
_GIVEN = {"date_string": "26 Jul 2024"}


class TemplateRefuses(Exception):
    """A template has no place for a conversation, as for two turns of one role in a row; the message says why."""


def text_of(tokenizer: Any, conversation: Turns, *, strip: bool = True) -> str:
    """A conversation as a transformers tokenizer's template has it.

    Args:
        strip: without the newlines behind its last mark, which a model would otherwise be asked about.

    Raises:
        TemplateRefuses: the template does.
    """
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(list(conversation), tokenize=False, add_generation_prompt=False, **_GIVEN)
    except (TemplateError, TypeError) as error:  # a TypeError: it adds what is not text
        raise TemplateRefuses(str(error)) from None
    return str(text).rstrip("\n") if strip else str(text)


def ids_of(tokenizer: Any, conversation: Turns, *, strip: bool = True) -> list[int]:
    """The same as token ids: what a reward model is trained on, and asked about.

    Raises:
        TemplateRefuses: the template does.
    """
    return list(tokenizer(text_of(tokenizer, conversation, strip=strip), add_special_tokens=False)["input_ids"])


def hash_of(template: str) -> str:
    """SHA-256 of a template's text, in hexadecimal digits."""
    return sha256(template.encode()).hexdigest()


@dataclass(frozen=True)
class ChatTemplate:
    """A chat template that needs no transformers.

    Attributes:
        text: in Jinja.
        special: what it may name, as bos_token.
    """

    text: str
    special: Mapping[str, str] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """Of its text."""
        return hash_of(self.text)

    def renderer(self, leave_out: Sequence[str] = ()) -> Callable[..., str]:
        """What makes texts of conversations; with `prompt=True` one that the assistant is about to answer.

        Args:
            leave_out: special tokens that are written as nothing, since who reads the text adds them.

        Raises:
            UsageError: it is no template.
        """
        from jinja2 import TemplateError

        template = _compiled(self.text)
        special = {name: "" if name in leave_out else value for name, value in self.special.items()}

        def render(conversation: Turns, *, prompt: bool = False) -> str:
            try:
                text = template.render(
                    messages=[dict(turn) for turn in conversation],
                    add_generation_prompt=prompt,
                    **_GIVEN,
                    **special,
                )
            except (TemplateError, TypeError) as error:
                raise TemplateRefuses(str(error)) from None
            return str(text) if prompt else str(text).rstrip("\n")

        return render


def _compiled(text: str) -> Any:
    """A template in the environment that transformers gives it."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """Marks what an assistant wrote, for training: here its content alone."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    def refuse(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals |= {
        "raise_exception": refuse,
        "strftime_now": _DAY.strftime,
    }
    try:
        return environment.from_string(text)
    except TemplateError as error:
        raise UsageError(f"no chat template: {printable(str(error))}") from None


def read_template(path: str | Path) -> ChatTemplate:
    """The template of a model's folder, with its special tokens; or a file of Jinja alone, which knows none.

    Raises:
        UsageError: there is none.
        DataError: a file of the folder cannot be read.
    """
    root = Path(path)
    if root.is_file():
        return ChatTemplate(_text(root))
    if not root.is_dir():
        raise UsageError(f"{path}: neither a file with a chat template nor the folder of a model")
    config: Any = {}
    if (root / CONFIG).is_file():
        try:
            config = json.loads(_text(root / CONFIG))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{root / CONFIG}: {error}") from None
    if not isinstance(config, dict):
        raise DataError(f"{root / CONFIG}: not an object")
    text = _text(root / FILE) if (root / FILE).is_file() else config.get("chat_template")
    if isinstance(text, list):  # several by name
        named = {one.get("name"): one.get("template") for one in text if isinstance(one, dict)}
        text = named.get("default")
    if not isinstance(text, str):
        raise UsageError(f"{root}: no chat template: neither {FILE} nor chat_template in {CONFIG}")
    return ChatTemplate(text, _special(config))


def _special(config: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for name in _SPECIAL:
        value = config.get(name)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            found[name] = value
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8") from None
