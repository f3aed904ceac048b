"""How diverse what is asked is, stage by stage and discipline by discipline, also beside another store.

What a run with a taxonomy leaves in each query's meta is looked at again: the types of questions, their descriptions,
and the prompts. A store without such meta has prompts alone, and is what a run that asks plainly brought.

- Distinct n-grams: different n-grams of characters of the comparison forms, over all n-grams of them. The share falls
  as texts are added, so two numbers say something beside each other only where as many texts were measured; `sample`
  draws them, by a hash of seed and text's id, and two stores beside each other are cut to as many by themselves.
- Near-duplicates: the share of texts that would go were one of each cluster to stay (see `coig_p.dedup.queries`), and
  of these exact ones, whose comparison form another has.

Cost: an array of all n-grams of one stage in memory, sorted once for each n.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from coig_p.core.arrays import hash64
from coig_p.core.normalize import code_points, comparison_forms
from coig_p.core.progress import Advance
from coig_p.dedup.clusters import components
from coig_p.dedup.minhash import check_settings, similar_pairs
from coig_p.errors import DataError, UsageError
from coig_p.schema import RAW_SCHEMA
from coig_p.store.conversations import contents
from coig_p.store.meta import read_meta
from coig_p.store.reading import part_of
from coig_p.store.store import Store

if TYPE_CHECKING:
    import pandas as pd

TYPES, DESCRIPTIONS, PROMPTS = "types", "descriptions", "prompts"
STAGES = (TYPES, DESCRIPTIONS, PROMPTS)
ALL = "all"
GRAMS = (1, 2, 3, 4)
_READ = part_of(RAW_SCHEMA, "query_id", "domain", "query", "messages", "meta")


@dataclass(frozen=True)
class DiversityConfig:
    """What is measured.

    Attributes:
        sample: at most so many texts of a domain, and of all, at each stage; None for all of them.
        seed: of what is drawn.
        threshold, n: of near-duplicates, as `coig_p.dedup.queries.DedupConfig` has them.
    """

    sample: int | None = None
    seed: int = 0
    threshold: float = 0.7
    n: int = 3

    def __post_init__(self) -> None:
        if self.sample is not None and self.sample < 1:
            raise UsageError(f"sample={self.sample}: use a whole number of 1 or more")
        check_settings(self.threshold, self.n, self.seed)


@dataclass(frozen=True)
class Measured:
    """What was found of some texts.

    Attributes:
        texts: how many there are; measured: how many of them were looked at.
        distinct: by n, the share of n-grams that are different; None where there are none.
        near_duplicates, exact: the share of those measured that go as near-duplicates, and as exact ones among them.
    """

    texts: int
    measured: int
    distinct: Mapping[int, float | None]
    near_duplicates: float
    exact: float


@dataclass(frozen=True)
class Diversity:
    """What `measure_diversity` found: by stage and domain, "all" last; a stage without texts is not there."""

    stages: Mapping[str, Mapping[str, Measured]]

    def to_dict(self) -> dict[str, Any]:
        """As dicts and numbers; n as text."""
        return {
            stage: {
                domain: asdict(one) | {"distinct": {str(n): share for n, share in one.distinct.items()}}
                for domain, one in domains.items()
            }
            for stage, domains in self.stages.items()
        }

    def to_pandas(self) -> pd.DataFrame:
        """A row a stage and domain."""
        import pandas as pd

        rows = [
            {
                "stage": stage,
                "domain": domain,
                "texts": one.texts,
                "measured": one.measured,
                **{f"distinct_{n}": share for n, share in one.distinct.items()},
                "near_duplicates": one.near_duplicates,
                "exact": one.exact,
            }
            for stage, domains in self.stages.items()
            for domain, one in domains.items()
        ]
        return pd.DataFrame(rows).set_index(["stage", "domain"])


@dataclass(frozen=True)
class Text:
    """One text of a stage; `name` is by what it is known."""

    name: str
    domain: str
    form: str


@dataclass
class _Read:
    types: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    domains: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)


def read_texts(store: Store, advance: Advance = lambda queries: None) -> dict[str, list[Text]]:
    """The texts of each stage that has any. A type of a writer and a subject is one, whatever prompts it has.

    Raises:
        DataError: a meta that is no JSON object, or says a type or description that is no text.
    """
    read = _Read()
    for batch in store.batches(schema=_READ):
        names, domains = batch.column("query_id").to_pylist(), batch.column("domain").to_pylist()
        read.names += names
        read.domains += domains
        read.prompts += [text or "" for text in contents(batch).to_pylist()]
        for name, domain, meta in zip(names, domains, batch.column("meta").to_pylist(), strict=True):
            told = read_meta(name, meta)
            if told.get("question_type") is None:
                continue
            key = json.dumps([told.get("writer"), told.get("code"), told["question_type"]], ensure_ascii=False)
            read.types.setdefault(key, (domain, _text(name, told, "question_type"), _text(name, told, "description")))
        advance(batch.num_rows)
    keys, types = list(read.types), list(read.types.values())
    of_type = [domain for domain, _, _ in types]
    found = {
        TYPES: _texts(keys, of_type, [name for _, name, _ in types]),
        DESCRIPTIONS: _texts(keys, of_type, [told for _, _, told in types]),
        PROMPTS: _texts(read.names, read.domains, read.prompts),
    }
    return {stage: texts for stage, texts in found.items() if texts}


def measure_diversity(texts: Mapping[str, Sequence[Text]], config: DiversityConfig) -> Diversity:
    """Each stage's texts by domain and all together. Nothing depends on their order."""
    stages = {}
    for stage, own in texts.items():
        by_domain: dict[str, list[Text]] = {}
        for text in own:
            by_domain.setdefault(text.domain, []).append(text)
        stages[stage] = {domain: _measure(by_domain[domain], config) for domain in sorted(by_domain)}
        stages[stage][ALL] = _measure(own, config)
    return Diversity(stages)


def measure_beside(
    texts: Mapping[str, Sequence[Text]], others: Mapping[str, Sequence[Text]], config: DiversityConfig
) -> dict[str, tuple[Measured, Measured]]:
    """Of each stage that both have, as many texts of one as of the other, drawn by hash."""
    found = {}
    for stage in STAGES:
        if stage in texts and stage in others:
            most = min(len(texts[stage]), len(others[stage]), config.sample or len(texts[stage]))
            cut = DiversityConfig(most, config.seed, config.threshold, config.n)
            found[stage] = (_measure(texts[stage], cut), _measure(others[stage], cut))
    return found


def distinct_grams(forms: Sequence[str]) -> dict[int, tuple[int, int]]:
    """By n, how many different n-grams the texts have, and how many there are: none reaches over a text's end."""
    letters, ends = code_points(forms)
    if not len(letters):
        return dict.fromkeys(GRAMS, (0, 0))
    left = np.repeat(ends, np.diff(ends, prepend=0)) - np.arange(len(letters))  # to the end of its text
    different, first = np.unique(letters, return_inverse=True)
    key, found = first.astype(np.int64), {}
    for n in GRAMS:
        if n > 1:  # a number for each n-gram: that of the one before it, and of its last letter
            key = np.unique(key[:-1] * len(different) + first[n - 1 :], return_inverse=True)[1].astype(np.int64)
        whole = key[left[: len(key)] >= n]
        found[n] = (len(np.unique(whole)), len(whole))
    return found


def _measure(texts: Sequence[Text], config: DiversityConfig) -> Measured:
    forms = [text.form for text in _drawn(texts, config)]
    different = sorted(set(forms))
    similar = similar_pairs(different, config.threshold, config.n)
    clusters = len(np.unique(components(len(different), similar.pairs))) if different else 0
    # An empty form is alike to nothing, not even to another.
    empty = forms.count("")
    exact = len(forms) - len(different) - max(0, empty - 1)
    gone = exact + len(different) - clusters
    return Measured(
        texts=len(texts),
        measured=len(forms),
        distinct={n: one / every if every else None for n, (one, every) in distinct_grams(forms).items()},
        near_duplicates=gone / len(forms),
        exact=exact / len(forms),
    )


def _drawn(texts: Sequence[Text], config: DiversityConfig) -> list[Text]:
    if config.sample is None or config.sample >= len(texts):
        return list(texts)
    return sorted(texts, key=lambda text: (hash64(f"diversity {config.seed} {text.name}"), text.name))[: config.sample]


def _texts(names: Sequence[str], domains: Sequence[str], texts: Sequence[str]) -> list[Text]:
    given = [(name, domain, text) for name, domain, text in zip(names, domains, texts, strict=True) if text]
    forms = comparison_forms([text for _, _, text in given])
    return [Text(name, domain, form) for (name, domain, _), form in zip(given, forms, strict=True)]


def _text(query_id: str, told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    if not isinstance(value, str | None):
        raise DataError(f"query_id {query_id!r}: {key} of its meta is {value!r}, and should be a text")
    return value or ""
