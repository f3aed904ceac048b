"""Who judges, and how it is asked: one TOML file, read strictly, or an address and a model's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

from coig_p.annotate.alone.endpoint import LoneEndpoint, check_asking, endpoint_at, endpoint_of
from coig_p.annotate.asking.costs import MONEY
from coig_p.annotate.prompts import Prompt, parse_prompt, read_prompt
from coig_p.annotate.tables import check_keys, load_table, read_table
from coig_p.annotate.trust import Wish, asked_by
from coig_p.errors import UsageError

COMPARE, RATE = "compare", "rate"
SLOTS: Mapping[str, tuple[str, ...]] = {COMPARE: ("query", "first", "second"), RATE: ("query", "response")}
"""What a judge may be asked, and the slots of its prompt."""


@dataclass(frozen=True)
class Judge:
    """A judge, and how it is asked. Make one with `load_judge` or `judge_at`.

    Attributes:
        path: the TOML file; None where there is none.
        asks: how often a request whose answer is unusable is asked in all.
        max_cost: what all runs of a ledger may cost, in 1/MONEY; None: no limit.
        most_invalid: it is asked nothing more once a larger share of its last 100 answers cannot be used.
        compare, rate: the prompts.
        prompts: a folder of templates in place of the package's, which `coigp align judge` reads.
        prompt_files: those, and it, that the file names, as it names them.
    """

    endpoint: LoneEndpoint
    compare: Prompt
    rate: Prompt
    path: Path | None = None
    asks: int = 3
    max_cost: int | None = None
    most_invalid: float = 1.0
    prompts: Path | None = None
    prompt_files: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.max_cost is not None:
            self.check_budget()

    def check_budget(self) -> None:
        """Raise UsageError where an answer's cost has no upper bound, so that no budget could be kept."""
        self.endpoint.check_budget()

    def prompt(self, kind: str) -> Prompt:
        """The prompt of one of SLOTS."""
        return self.compare if kind == COMPARE else self.rate

    def describe(self, kind: str) -> dict[str, Any]:
        """Who it is, and with what it was asked, as JSON has it: nothing secret, and no address."""
        return {
            "kind": "judge",
            "name": self.endpoint.name,
            "model": self.endpoint.model,
            "system": self.endpoint.system,
            "parameters": dict(self.endpoint.parameters),
            "prompt_sha256": sha256(self.prompt(kind).text.encode()).hexdigest(),
        }

    @cached_property
    def wishes(self) -> list[Wish]:
        """What the file asks for that its reader may not have meant."""
        path = Path("--judge") if self.path is None else self.path
        return asked_by(path, [self.endpoint], {"read": self.prompt_files})


@dataclass(frozen=True)
class _JudgeTable:
    asks: int = 3
    max_cost: Decimal | None = None
    most_invalid: float = 1.0
    compare: str | None = None
    rate: str | None = None
    prompts: str | None = None

    def __post_init__(self) -> None:
        check_asking(self.asks, self.max_cost, self.most_invalid)


def load_judge(path: str | Path) -> Judge:
    """Read a judge's TOML file; docs/judging.md has every setting.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value that cannot be; names the file and the key.
    """
    path = Path(path)
    table = load_table(path, ". Name a TOML file, or an http(s) address")
    try:
        return _judge(path, table)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _judge(path: Path, table: dict[str, Any]) -> Judge:
    check_keys(table, ("judge", "endpoint"), "")
    told = read_table(_JudgeTable, table.get("judge", {}), "judge")
    endpoint = endpoint_of(table)
    named = {COMPARE: told.compare, RATE: told.rate}
    prompts = {
        kind: bundled_prompt(kind) if file is None else read_prompt(path.parent / file, SLOTS[kind])
        for kind, file in named.items()
    }
    return Judge(
        endpoint,
        compare=prompts[COMPARE],
        rate=prompts[RATE],
        path=path,
        asks=told.asks,
        max_cost=None if told.max_cost is None else int(told.max_cost * MONEY),
        most_invalid=told.most_invalid,
        prompts=None if told.prompts is None else path.parent / told.prompts,
        prompt_files=tuple(file for file in (*named.values(), told.prompts) if file is not None),
    )


def judge_at(base_url: str, model: str, key_env: str | None = None) -> Judge:
    """A judge at an OpenAI-compatible address, asked at temperature 0.

    Args:
        model: what the server calls it, and what the results call it.
        key_env: the environment variable that holds its key.

    Raises:
        UsageError: an address that cannot be.
    """
    endpoint = endpoint_at(base_url, model, key_env, {"temperature": 0})
    return Judge(endpoint, compare=bundled_prompt(COMPARE), rate=bundled_prompt(RATE))


def bundled_prompt(kind: str) -> Prompt:
    """The package's prompt of one of SLOTS."""
    text = files("coig_p.reward.judging").joinpath("prompts", f"{kind}.md").read_text(encoding="utf-8")
    return parse_prompt(text, SLOTS[kind], f"prompts/{kind}.md")
