"""The dataset card, a pure function of manifest, statistics, findings and card.toml.

    STORE/card.toml    what no program can know: names, licence, sources, what the data is for
    README.md          English, with the YAML that makes the stock datasets library load everything
    README.zh.md       Chinese

Numbers come from the data alone. Whatever a query, a response, a model or a judge says is escaped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import pyarrow as pa

from coig_p.core.front_matter import front_matter
from coig_p.core.markdown import block, cell, code, fenced, markdown
from coig_p.core.text import counted_as
from coig_p.errors import UnknownNameError
from coig_p.pairs.config import LATER
from coig_p.report.captions import captions
from coig_p.report.card_tables import cut, domain_rows, figures, judge_rows, model_rows, number, percent
from coig_p.report.card_toml import CardInfo
from coig_p.report.rule_words import WHY_IN_CHINESE
from coig_p.schema import PAIR_SCHEMAS, RAW_SCHEMAS, RAW_SUFFIX
from coig_p.stats.changes import StoreDiff
from coig_p.stats.results import Statistics, described
from coig_p.stats.sweep import Sweep
from coig_p.store.benchmarks import benchmark_checks
from coig_p.store.manifest import Manifest
from coig_p.store.store import CALIBRATION, EXCLUDED
from coig_p.validation.rules import RULES, RuleChange

LANGUAGES = {"en": "README.md", "zh": "README.zh.md"}
PREVIEWED = 20
"""Pairs of a preview, at most."""
_PLACE = "PATH/OR/REPO"
_CHANGED = 30  # models, judges and other names that are listed as changed
_PRIVACY = ("mobile", "id-card", "bank-card", "email", "ip-address")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_SIZES += ((10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"))  # type: ignore[assignment]


@dataclass(frozen=True)
class Config:
    """A config of a release as the stock library loads it.

    Attributes:
        files: by split, the patterns of its files, for instance pairs/math/train-*.parquet.
        rows, memory, size: by split: rows, bytes in memory once loaded, bytes of the files.
        raw: whether its rows are a store's, or pairs.
        told: of its rows, as `coig_p.store.writing.told_of_rows` has it.
    """

    name: str
    files: Mapping[str, Sequence[str]]
    rows: Mapping[str, int]
    memory: Mapping[str, int]
    size: Mapping[str, int]
    raw: bool
    told: str


@dataclass(frozen=True)
class CardFacts:
    """What a card is made of.

    Attributes:
        findings: how many there are by rule and severity.
        rule_changes: in what the rules that ran are not the usual ones.
        example: one pair, as a row of PAIR_SCHEMAS["dpo"]; None where there is none.
        preview: up to PREVIEWED of them.
        pair_columns: of the release's pairs.
        plots: names of plots in the release, without "plots/" and ".svg".
        repo: org/name, or "." for a folder.
        changes: since the release before; None where none was named.
    """

    info: CardInfo
    manifest: Manifest
    statistics: Statistics
    sweep: Sweep
    findings: Mapping[tuple[str, str], int]
    configs: Sequence[Config]
    example: Mapping[str, Any] | None
    plots: Sequence[str]
    version: str
    repo: str
    preview: Sequence[Mapping[str, Any]] = ()
    pair_columns: pa.Schema = PAIR_SCHEMAS["dpo"]
    rule_changes: Sequence[RuleChange] = ()
    changes: StoreDiff | None = None


def render_card(facts: CardFacts, language: str = "en") -> str:
    """README.md, or README.zh.md for "zh", as text.

    Raises:
        UnknownNameError: another language.
    """
    if language not in LANGUAGES:
        raise UnknownNameError("language", language, LANGUAGES)
    body: str = _environment().get_template(f"README.{language}.md.jinja").render(_context(facts, language))
    head = f"{front_matter(_metadata(facts).to_dict())}\n" if language == "en" else ""
    return f"{head}{body.strip()}\n"


@cache
def _environment() -> Any:
    from jinja2 import DictLoader, Environment, StrictUndefined

    folder = files("coig_p") / "card_templates"
    names = [f"README.{language}.md.jinja" for language in LANGUAGES]
    environment = Environment(
        loader=DictLoader({name: (folder / name).read_text(encoding="utf-8") for name in names}),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # this is Markdown: `cell` and `block` escape for it
    )
    environment.filters |= {
        "cell": cell,
        "block": block,
        "code": code,
        "counted": counted_as,
        "fenced": fenced,
        "markdown": markdown,
        "agreeing": lambda counted, one, many: one if counted == 1 else many,
        "cut": cut,
        "number": number,
        "percent": percent,
        "size": _size,
        "plain": _plain_number,
    }
    return environment


def _metadata(facts: CardFacts) -> Any:
    """The card's YAML, of the Hub client's and datasets' own types."""
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo
    from datasets.info import DatasetInfosDict
    from datasets.utils.metadata import MetadataConfigs
    from huggingface_hub import DatasetCardData

    info = facts.info
    rows = max((sum(config.rows.values()) for config in facts.configs), default=0)
    data = DatasetCardData(
        language=["zh"],
        license=info.license,
        license_name=info.license_name or None,
        license_link=info.license_link or None,
        annotations_creators=list(info.annotations_creators),
        task_categories=["text-generation", "reinforcement-learning"],
        size_categories=[next((size for most, size in _SIZES if rows < most), "n>100M")],
        pretty_name=info.pretty_name,
        tags=list(dict.fromkeys(["preference", "dpo", "rlhf", "reward-model", "chinese", "coig-p", *info.tags])),
    )
    configs, infos = MetadataConfigs(), DatasetInfosDict()
    raw = RAW_SCHEMAS[facts.manifest.schema_version]
    for config in facts.configs:
        patterns = [
            {"split": split, "path": of_split[0] if len(of_split) == 1 else list(of_split)}
            for split, of_split in config.files.items()
        ]
        configs[config.name] = {"description": config.told, "data_files": patterns}
        if config.name == "default":
            configs[config.name]["default"] = True
        splits = SplitDict(dataset_name=config.name)
        for split in config.files:
            splits.add(SplitInfo(split, num_bytes=config.memory[split], num_examples=config.rows[split]))
        infos[config.name] = DatasetInfo(
            features=Features.from_arrow_schema(raw if config.raw else facts.pair_columns),
            splits=splits,
            download_size=sum(config.size.values()),
            dataset_size=sum(config.memory.values()),
            config_name=config.name,
        )
    configs.to_dataset_card_data(data)
    infos.to_dataset_card_data(data)
    return data


def _context(facts: CardFacts, language: str) -> dict[str, Any]:
    manifest, statistics = facts.manifest, facts.statistics
    told = captions(statistics, facts.sweep, language)
    by_severity: Counter[str] = Counter()
    for (_, severity), found_by in facts.findings.items():
        by_severity[severity] += found_by
    found = {rule: found_by for (rule, _), found_by in facts.findings.items()}
    paired = [config for config in facts.configs if not config.raw]
    pairs = statistics.total.pairs
    largest = max(statistics.domains.items(), key=lambda item: (item[1].pairs, item[0]), default=None)
    shown = next(config for config in [*paired, *facts.configs] if config.name != "default")
    domain = shown.name.removesuffix(RAW_SUFFIX) if shown.raw else shown.name
    return {
        "info": facts.info.in_language(language),
        "manifest": manifest,
        "statistics": statistics,
        "total": statistics.total,
        "domains": statistics.domains,
        "configs": facts.configs,
        "with_pairs": bool(paired),
        "pair_columns": facts.pair_columns.names,
        "domain_has_tools": manifest.with_tools(domain) > 0,
        "asked": _asked(facts, domain),
        "domain": domain,
        "split": next(iter(shown.rows)),
        "raw_suffix": RAW_SUFFIX,
        "threshold": statistics.config.threshold,
        "other_threshold": _other_threshold(facts, domain),
        "pair_options": {
            name: value
            for name, value in described(statistics.config, "threshold", "format").items()
            if value not in (None, False) and name not in LATER
        },
        "example": facts.example,
        "models": list(statistics.total.models),
        "judges": list(statistics.total.judges),
        "domain_rows": domain_rows(statistics, "合计" if language == "zh" else "all"),
        "model_rows": model_rows(statistics),
        "judge_rows": judge_rows(statistics),
        "figures": figures,
        "preview": facts.preview,
        "plots": {name: told[name] for name in facts.plots},
        "sweep": facts.sweep,
        "errors": by_severity["error"],
        "warnings": by_severity["warning"],
        "metrics": by_severity["metric"],
        "worst": sorted(
            ((rule, severity, found_by) for (rule, severity), found_by in facts.findings.items() if found_by),
            key=lambda row: (("error", "warning", "metric").index(row[1]), -row[2], row[0]),
        ),
        "rules": len(facts.findings),
        "why": WHY_IN_CHINESE if language == "zh" else {id: rule.why for id, rule in RULES.items()},
        "rule_changes": facts.rule_changes,
        "not_checked": [change.rule for change in facts.rule_changes if change.is_off],
        "usually": {change.rule: change.default for change in facts.rule_changes if change.what == "severity"},
        "privacy_off": [rule for rule in _PRIVACY if rule not in found],
        "privacy": {rule: found[rule] for rule in _PRIVACY if rule in found},
        "largest": largest[0] if largest and pairs else None,
        "largest_share": largest[1].pairs / pairs if largest and pairs else None,
        "steps": _steps(manifest),
        "version": facts.version,
        "changes": facts.changes,
        "changed": facts.changes and _changed(facts.changes),
        # Not ".": the stock library names what it loads by the last part of its path, which . has not.
        "repo": _PLACE if facts.repo == "." else facts.repo,
        "in_folder": facts.repo == ".",
    }


def _changed(changes: StoreDiff) -> Mapping[str, Any]:
    """Of what changed since the release before, what a card shows by name: most first, and no more than fits."""
    total = changes.total
    kinds = {
        "queries": total.queries,
        "responses": total.responses,
        "scores": total.scores,
        "comparisons": total.comparisons,
        "rationales": total.rationales,
        "pairs": total.pairs,
    }
    models = [(name, one) for name, one in total.models.items() if one.gained or one.lost]
    judges = [
        (name, one)
        for name, one in total.judges.items()
        if any(part.kept != part.before or part.gained for part in (one.scores, one.comparisons))
    ]
    lists = {
        "domains_gained": changes.domains_gained,
        "domains_lost": changes.domains_lost,
        "models_gained": total.models_gained,
        "models_lost": total.models_lost,
        "judges_gained": total.judges_gained,
        "judges_lost": total.judges_lost,
        "columns_gained": changes.columns_gained,
        "columns_lost": changes.columns_lost,
    }
    return {
        "kinds": {kind: one for kind, one in kinds.items() if one.before or one.after},
        "domains": {name: one for name, one in changes.domains.items() if not one.is_same},
        "models": sorted(models, key=lambda item: (-item[1].gained - item[1].lost, item[0]))[:_CHANGED],
        "judges": sorted(judges, key=lambda item: (-item[1].scores.after, item[0]))[:_CHANGED],
        "lists": {what: _shown_list(names) for what, names in lists.items() if names},
    }


def _shown_list(names: Sequence[str]) -> str:
    more = f" … (+{len(names) - _CHANGED})" if len(names) > _CHANGED else ""
    return ", ".join(map(cell, names[:_CHANGED])) + more


def _asked(facts: CardFacts, domain: str) -> str:
    """What a call must say to load other pairs of a domain: what compares responses, and shows conversations."""
    config = facts.statistics.config
    files = {"calibrate": CALIBRATION, "exclude": EXCLUDED}
    asked = "".join(f', {name}="{file}"' for name, file in files.items() if name in config.later)
    for name in LATER:
        if name not in files and name in config.later:
            asked += f", {name}={_plain(config.later[name])}"
    if not facts.manifest.conversations(domain):
        return asked
    return asked + (f', multi_turn="{config.multi_turn}"' if config.multi_turn else ', format="conversational"')


def _plain(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _other_threshold(facts: CardFacts, domain: str) -> float:
    """A threshold above the release's at which a domain still has pairs, near one more; the release's where none is."""
    config = facts.statistics.config
    own = config.threshold or 0.0
    largest = facts.statistics.domains[domain].margins.max or 0
    above = [
        row.threshold
        for row in facts.sweep.thresholds
        if own < row.threshold < largest or (own < row.threshold == largest and not config.strict)
    ]
    return min(above, key=lambda step: abs(step - own - 1), default=own)


def _steps(manifest: Manifest) -> Mapping[str, Any]:
    """What was done to the store before its release, as its manifest has it."""
    options = manifest.options
    return {
        "accounting": manifest.accounting,
        "dedup": options.get("dedup"),
        "dedup_responses": options.get("dedup_responses"),
        "clean": options.get("clean"),
        "benchmarks": benchmark_checks(manifest),
        "reviews": (options.get("review") or {}).get("applied", []),
    }


def _size(size: int) -> str:
    """Bytes for people."""
    units = (unit for unit in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)) if size >= unit[1])
    unit, of = next(units, ("B", 1))
    return f"{size / of:,.1f} {unit}" if of > 1 else f"{size:,} B"


def _plain_number(value: float) -> str:
    return f"{value:g}"
