"""One TOML file describes a run. It is read strictly: what cannot be right is an error before any request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from coig_p.annotate.asking.costs import MONEY, bounded, max_tokens
from coig_p.annotate.asking.endpoint import Endpoint, in_currency
from coig_p.annotate.asking.limits import MOST_INVALID
from coig_p.annotate.asking.request import recipe_of
from coig_p.annotate.parsing import HIGH, LOW
from coig_p.annotate.prompts import Prompt, bundled_prompt, read_prompt
from coig_p.annotate.sources import SourceConfig, TranslateConfig, check_parameters, read_personas
from coig_p.annotate.tables import as_table, check_keys, load_table, read_table, read_tables, read_value
from coig_p.annotate.taxonomy.config import CHECKS, EMBED, TABLES, TapConfig, check_endpoints, checkers, read_tap
from coig_p.errors import UnknownNameError, UsageError
from coig_p.ingest.intake import ImportConfig
from coig_p.schema import DOMAINS, check_domain

_TABLES = ("run", "queries", "sources", "translate", "judging", "domains", "prompts", "rates", "endpoints", *TABLES)
_WHOLE_SCORES = ("math",)  # COIG-P, figure 10: maths is scored in whole points


@dataclass(frozen=True, kw_only=True)
class EndpointConfig(Endpoint):
    """A table [[endpoints]]: what is asked, and what a run asks of it.

    Attributes:
        name: also what the store calls the model or judge.
        family: a judge never scores a response of its own family.
        generates, judges, writes: what it does; one that writes makes a TaP run's types and prompts.
        system: a system message before every query that it answers.
        structured: whether it is asked for judgements as JSON with a schema; "auto": where one request shows that
            it has that.
        parameters, judge_parameters: sent along when it generates, and when it judges.
    """

    family: str
    generates: bool = False
    judges: bool = False
    writes: bool = False
    system: str | None = None
    structured: bool | str = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    judge_parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.family.strip():
            raise UsageError("family is blank")
        if self.structured not in (True, False, "auto"):
            raise UsageError(f'structured = {self.structured!r}: use true, false or "auto"')
        if self.structured and "response_format" in self.judge_parameters:
            raise UsageError("judge_parameters: response_format is set by the run where structured is not false")
        for name in ("parameters", "judge_parameters"):
            check_parameters(name, getattr(self, name))
            limit = max_tokens(getattr(self, name))
            if limit is not None and self.tokens_per_minute is not None and limit >= self.tokens_per_minute:
                raise UsageError(f"{name}: max_tokens = {limit} does not fit in tokens_per_minute")


@dataclass(frozen=True)
class QueryConfig:
    """Where queries come from and which of them stay (COIG-P, section 3.1).

    Attributes:
        inputs: files of rows with a query each; see `coig_p.ingest.readers`. More in [[sources]].
        domain: of every row; otherwise each names its own.
        on_error: "fail", or "skip" bad rows and list them.
        near_duplicates: smallest Jaccard similarity of two queries' 3-grams; 0 keeps them.
        semantic: a query more similar than this by cosine is dropped, where sentence-transformers
            is installed; 0 keeps them.
        semantic_model: which sentence-transformers model says how similar.
        filter: the endpoint that scores queries; None keeps all.
        pass_score: smallest score of a query that stays.
        license: of the inputs, for the store's manifest.
    """

    inputs: tuple[str, ...] = ()
    domain: str | None = None
    on_error: str = "fail"
    near_duplicates: float = 0.7
    semantic: float = 0.85
    semantic_model: str = "paraphrase-multilingual-MiniLM-L12-v2"
    filter: str | None = None
    pass_score: float = 6.0
    license: str | None = None

    def __post_init__(self) -> None:
        if self.domain is not None:
            check_domain(self.domain)
        if self.on_error not in ("fail", "skip"):
            raise UnknownNameError("on_error", self.on_error, ("fail", "skip"))
        for name in ("near_duplicates", "semantic"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} = {getattr(self, name):g}: use a number from 0 to 1")


@dataclass(frozen=True)
class JudgingConfig:
    """Who scores what (COIG-P, section 3.3).

    Attributes:
        judges_per_response: drawn among the judges of another family than the author's.
        draw: "response" draws for each response anew; "query" keeps one order of judges for all
            responses of a query, so that its margins do not mix the leniency of judges.
        replace: whether a judge that refuses is replaced by the next of the draw.
        asks: how often a request whose answer is unusable is asked in all.
        default_threshold: of the store's pairs.
    """

    judges_per_response: int = 1
    draw: str = "response"
    replace: bool = False
    asks: int = 3
    default_threshold: float = 2.0

    def __post_init__(self) -> None:
        if self.judges_per_response < 1:
            raise UsageError(f"judges_per_response = {self.judges_per_response}: use 1 or more")
        if self.draw not in ("response", "query"):
            raise UnknownNameError("draw", self.draw, ("response", "query"))
        if not 1 <= self.asks <= 20:
            raise UsageError(f"asks = {self.asks}: use 1 to 20")
        ImportConfig(default_threshold=self.default_threshold)


@dataclass(frozen=True)
class DomainConfig:
    """How a domain's queries are asked, and how its responses are judged.

    Attributes:
        prompt: a template file that replaces the bundled one; needed for a domain of your own.
        half_points: whether a judge may give half points; default: not in maths.
        generate: a template file with {{query}}: what models are sent in place of the query alone.
        system: a system message before each query, in place of the endpoint's.
        personas: a file of system messages, of which each query gets one as its own; see `read_personas`.
    """

    prompt: str | None = None
    half_points: bool | None = None
    generate: str | None = None
    system: str | None = None
    personas: str | None = None


@dataclass(frozen=True)
class RunConfig:
    """A whole run, checked. Make one with `load_config`.

    Attributes:
        path: the TOML file; other paths are relative to its folder.
        max_cost: what the run may cost in all, in 1/MONEY; None: no limit.
        prompt_file: the filter's template as the file names it; None: the bundled one.
        currency: of the prices, the costs and the budget, as people call it; None where nobody says.
        keep_cut: a response that did not end by itself (at max_tokens, by a filter) is a response all the same.
        keep_thinking: the store keeps what a model thought before a response, in the response's `extra`.
        generate_prompts, personas: of those domains that have their own.
        sources: all of them, those of [queries] first.
        translate_prompt: the template of [translate].
        most_invalid: an endpoint is asked nothing more once a larger share of its last answers cannot be used.
        tap: what a TaP run has of its own; None for a run as COIG-P's.
    """

    path: Path
    folder: Path
    seed: int
    max_cost: int | None
    queries: QueryConfig
    judging: JudgingConfig
    endpoints: tuple[EndpointConfig, ...]
    domains: Mapping[str, DomainConfig]
    query_prompt: Prompt
    judge_prompts: Mapping[str, Prompt]
    prompt_file: str | None = None
    keep_cut: bool = False
    keep_thinking: bool = False
    generate_prompts: Mapping[str, Prompt] = field(default_factory=dict)
    personas: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: tuple[SourceConfig, ...] = ()
    translate: TranslateConfig | None = None
    translate_prompt: Prompt | None = None
    most_invalid: float = MOST_INVALID
    currency: str | None = None
    tap: TapConfig | None = None

    @cached_property
    def by_name(self) -> dict[str, EndpointConfig]:
        """Endpoints by their names."""
        return {endpoint.name: endpoint for endpoint in self.endpoints}

    @cached_property
    def generators(self) -> list[EndpointConfig]:
        """Every endpoint that answers queries, in the file's order."""
        return [endpoint for endpoint in self.endpoints if endpoint.generates]

    @cached_property
    def judges(self) -> list[EndpointConfig]:
        """Every endpoint that scores responses, in the file's order."""
        return [endpoint for endpoint in self.endpoints if endpoint.judges]

    @cached_property
    def writers(self) -> list[EndpointConfig]:
        """Every endpoint that writes types and prompts, in the file's order."""
        return [endpoint for endpoint in self.endpoints if endpoint.writes]

    @cached_property
    def pools(self) -> dict[str, list[str]]:
        """For each model the names of the judges that may score it."""
        return {
            author.name: [judge.name for judge in self.judges if not same_family(judge, author)]
            for author in self.generators
        }

    @cached_property
    def recipes(self) -> dict[tuple[str, str, str], str]:
        """With what each kind of request to an endpoint is made, by kind, domain and the endpoint's name."""
        found = {}
        for domain in self.tap.domains if self.tap is not None else ():
            for one in self.endpoints:
                found["generate", domain, one.name] = recipe_of(one, one.parameters, self.system(one, domain))
                for kind, templates in self.tap.templates.items() if self.tap is not None else ():
                    sent = one.judge_parameters if kind in CHECKS else one.parameters
                    found[kind, domain, one.name] = recipe_of(one, sent, *templates)
                if self.tap is not None and one.name == self.tap.select.endpoint:
                    found[EMBED, domain, one.name] = recipe_of(one, self.tap.select.embed_parameters)
        for domain, prompt in self.judge_prompts.items():
            for one in self.endpoints:
                template = self.generate_prompts.get(domain)
                more = () if template is None else (template.text,)
                found["generate", domain, one.name] = recipe_of(one, one.parameters, self.system(one, domain), *more)
                found["query", domain, one.name] = recipe_of(one, one.judge_parameters, self.query_prompt.text)
                found["judge", domain, one.name] = recipe_of(one, one.judge_parameters, prompt.text)
                if self.translate is not None and self.translate_prompt is not None:
                    sent = self.translate.parameters or one.parameters
                    found["translate", domain, one.name] = recipe_of(one, sent, self.translate_prompt.text)
        return found

    def system(self, author: EndpointConfig, domain: str) -> str | None:
        """The system message before a query that has none itself: the domain's, else the endpoint's, else TaP's."""
        settings = self.domains.get(domain)
        own = None if settings is None else settings.system
        if own is None and author.system is None and self.tap is not None:
            return self.tap.texts.respond
        return author.system if own is None else own

    def half_points(self, domain: str) -> bool:
        """Whether judges of a domain may give half points."""
        given = self.domains.get(domain, DomainConfig()).half_points
        return domain not in _WHOLE_SCORES if given is None else given


def same_family(one: EndpointConfig, other: EndpointConfig) -> bool:
    """Whether two endpoints are of one family, or are one model under two names."""
    return any(
        getattr(one, name).strip().lower() == getattr(other, name).strip().lower() for name in ("family", "name")
    )


def template(recipe: str = "coig-p") -> str:
    """A commented TOML file to start from: for "coig-p", or with a taxonomy for "tap"."""
    name = "tap.toml" if recipe == "tap" else "run.toml"
    return files("coig_p.annotate").joinpath(name).read_text(encoding="utf-8")


def load_config(path: str | Path) -> RunConfig:
    """Read a run's TOML file, as `coigp annotate init` writes one; docs/annotate.md has every setting.

    Raises:
        UsageError: no such file, not TOML, an unknown key, a value that cannot be, or a run that
            cannot work, as one where a model's only judges are of its own family.
    """
    path = Path(path)
    table = load_table(path, ". `coigp annotate init` writes one")
    try:
        return _run(path, table)
    except UsageError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise UsageError(f"{path}: {error}") from None


@dataclass(frozen=True)
class _RunTable:
    folder: str = "annotation"
    seed: int = 1
    max_cost: Decimal | None = None
    keep_cut: bool = False
    keep_thinking: bool = False
    most_invalid: float = MOST_INVALID
    currency: str | None = None


@dataclass(frozen=True)
class _PromptTable:
    query: str | None = None


def _run(path: Path, table: dict[str, Any]) -> RunConfig:
    check_keys(table, _TABLES, "")
    run = read_table(_RunTable, table.get("run", {}), "run")
    rates = _rates(as_table(table.get("rates", {}), "rates"), run.currency)
    endpoints = tuple(
        in_currency(endpoint, run.currency, rates) for endpoint in read_tables(EndpointConfig, table, "endpoints")
    )
    domains = {
        check_domain(name): read_table(DomainConfig, entry, f"domains.{name}")
        for name, entry in as_table(table.get("domains", {}), "domains").items()
    }
    beside = path.parent
    tap = read_tap(table, beside)
    query = read_table(_PromptTable, table.get("prompts", {}), "prompts").query
    judge_prompts = {}
    for name in dict.fromkeys((*DOMAINS, *domains)) if tap is None else ():
        own = domains[name].prompt if name in domains else None
        if own is None and name not in DOMAINS:
            raise UsageError(f"domains.{name}: a domain of your own needs a prompt")
        judge_prompts[name] = bundled_prompt(name) if own is None else read_prompt(beside / own, ("query", "response"))
    generate = {name: domain.generate for name, domain in domains.items() if domain.generate is not None}
    personas = {name: domain.personas for name, domain in domains.items() if domain.personas is not None}
    queries = read_table(QueryConfig, table.get("queries", {}), "queries")
    sources = read_tables(SourceConfig, table, "sources")
    if queries.inputs:
        sources = (SourceConfig(queries.inputs, domain=queries.domain), *sources)
    translate = read_table(TranslateConfig, table["translate"], "translate") if "translate" in table else None
    if run.max_cost is not None and run.max_cost < 0:
        raise UsageError(f"run.max_cost = {run.max_cost}: use 0 or more")
    if not 0 <= run.most_invalid <= 1:
        raise UsageError(f"run.most_invalid = {run.most_invalid:g}: use a share from 0 to 1")
    config = RunConfig(
        path=path,
        folder=beside / run.folder,
        seed=run.seed,
        max_cost=None if run.max_cost is None else int(run.max_cost * MONEY),
        queries=queries,
        judging=_judging(table, tap),
        endpoints=endpoints,
        domains=domains,
        query_prompt=bundled_prompt("query") if query is None else read_prompt(beside / query, ("query",)),
        judge_prompts=judge_prompts,
        prompt_file=query,
        keep_cut=run.keep_cut,
        keep_thinking=run.keep_thinking,
        generate_prompts={name: read_prompt(beside / given, ("query",)) for name, given in generate.items()},
        personas={name: read_personas(beside / given) for name, given in personas.items()},
        sources=sources,
        translate=translate,
        translate_prompt=_translate_prompt(beside, translate),
        most_invalid=run.most_invalid,
        currency=run.currency,
        tap=tap,
    )
    _check_run(config)
    if config.folder.exists() and not config.folder.is_dir():
        raise UsageError(f"run.folder: {config.folder} is a file, not a folder")
    return config


def _judging(table: Mapping[str, Any], tap: TapConfig | None) -> JudgingConfig:
    """How a run judges. Of it a TaP run, whose judges compare, has the asks, and a threshold that keeps every pair."""
    if tap is not None:
        return JudgingConfig(asks=tap.compare.asks, default_threshold=0.0)
    return read_table(JudgingConfig, table.get("judging", {}), "judging")


def _translate_prompt(beside: Path, translate: TranslateConfig | None) -> Prompt | None:
    if translate is None:
        return None
    given = translate.prompt
    return bundled_prompt("translate") if given is None else read_prompt(beside / given, ("query",))


def _rates(table: Mapping[str, Any], currency: str | None) -> dict[str, Decimal]:
    """What one unit of each other currency is worth in the run's."""
    rates = {name: read_value(Decimal, worth, f"rates.{name}") for name, worth in table.items()}
    if rates and currency is None:
        raise UsageError("rates are into the currency of the run: say under [run] which that is, as currency")
    for name, worth in rates.items():
        if name == currency or not 0 < worth <= 10**6:
            raise UsageError(f"rates.{name} = {worth}: use what one {name} is worth in {currency}, a number above 0")
    return rates


def _check_run(config: RunConfig) -> None:
    """What no part of the file shows alone."""
    seen: set[str] = set()
    for endpoint in config.endpoints:
        name = endpoint.name.strip().lower()
        if name in seen:
            raise UsageError(f"endpoint {endpoint.name!r}: two endpoints have this name")
        seen.add(name)
    if config.tap is not None:
        check_endpoints(config.tap, config.endpoints)
    else:
        _check_queries(config)
    if config.max_cost is not None:
        check_budget(config)


def _check_queries(config: RunConfig) -> None:
    """The same of a run that has its queries from files, and whose judges score."""
    if not config.sources:
        raise UsageError("queries.inputs: name one file of queries or more")
    translates = None if config.translate is None else config.translate.endpoint
    if translates is not None and translates not in config.by_name:
        raise UnknownNameError("translate.endpoint", translates, config.by_name)
    if translates is None and any(source.translate for source in config.sources):
        raise UsageError("sources: translate = true needs a table [translate] that names an endpoint")
    for endpoint in config.endpoints:
        if endpoint.writes:
            raise UsageError(f"endpoint {endpoint.name!r}: writes is of a TaP run: add a table [taxonomy], or leave it")
        if not (endpoint.generates or endpoint.judges or endpoint.name in (config.queries.filter, translates)):
            raise UsageError(f"endpoint {endpoint.name!r} does nothing: set generates = true or judges = true")
    if not config.generators:
        raise UsageError("no endpoint generates: set generates = true for one or more")
    if config.queries.filter is not None and config.queries.filter not in config.by_name:
        raise UnknownNameError("queries.filter", config.queries.filter, config.by_name)
    wanted = config.judging.judges_per_response
    for author, pool in config.pools.items():
        if len(pool) < wanted:
            family = config.by_name[author].family
            raise UsageError(
                f"{author!r} has {len(pool)} judge{'s' * (len(pool) != 1)} outside its family {family!r}, and "
                f"judges_per_response is {wanted}: add judges of other families"
            )
    if not LOW <= config.queries.pass_score <= HIGH:
        raise UsageError(f"queries.pass_score = {config.queries.pass_score:g} is not from {LOW} to {HIGH}")


def check_budget(config: RunConfig) -> None:
    """Raise UsageError where an answer's cost has no upper bound, so that no budget could be kept."""
    for endpoint in config.endpoints:
        uses = []
        checks = config.tap is not None and endpoint.name in checkers(config.tap, config.endpoints)
        if endpoint.generates or endpoint.writes:
            uses.append(("parameters", endpoint.parameters))
        if endpoint.judges or checks or endpoint.name == config.queries.filter:
            uses.append(("judge_parameters", endpoint.judge_parameters))
        if config.translate is not None and endpoint.name == config.translate.endpoint:
            own = bool(config.translate.parameters)
            uses.append(("parameters of [translate]" if own else "parameters", translating_parameters(config)))
        for name, parameters in uses:
            if not bounded(endpoint.output_price, parameters):
                raise UsageError(f"endpoint {endpoint.name!r}: a budget can be kept only where {name} has max_tokens")


def translating_parameters(config: RunConfig) -> Mapping[str, Any]:
    """What is sent along when a query is translated."""
    assert config.translate is not None
    return config.translate.parameters or config.by_name[config.translate.endpoint].parameters
