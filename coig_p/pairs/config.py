"""Which pairs a store gives: the options, and how they are checked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from typing import Any

from coig_p.core.text import counted
from coig_p.errors import UnknownNameError, UsageError
from coig_p.pairs.calibration import Calibration
from coig_p.pairs.exclusion import Exclusion
from coig_p.pairs.options import finite_number, flag, grid_number, names, text, whole_number
from coig_p.schema import MESSAGE_FORMATS, PAIR_SCHEMAS, RANKED_FORMATS
from coig_p.store.manifest import Manifest
from coig_p.store.rewards import check_rewards

AGGREGATIONS = ("mean", "median", "min", "max")


STRATEGIES = ("all", "best_worst", "adjacent", "best_random")


LABELS = ("auto", "scores", "comparisons")


FORMATS = tuple(PAIR_SCHEMAS)


MULTI_TURN = ("text", "last", "skip")


LATER = (
    "comparison_threshold",
    "calibrate",
    "min_judges",
    "same_judges",
    "agree_with",
    "min_reward_margin",
    "exclude",
    "both_orders",
)
"""Options that came later: where one has no effect, records and states are as they were before there were any."""


@dataclass(frozen=True)
class PairConfig:
    """Which pairs a store gives. The same names are keywords of load_dataset and CLI options.

    All two-combinations of a query's responses are looked at; a pair is kept when its margin is at least
    the threshold, and chosen is the response with the higher score (COIG-P, sections 3.3 and 5.3). A
    threshold is on the judges' scale, a multiple of 1/10000, and compared exactly. A margin of 0 is
    never a pair, nor are two responses with the same text. A response's score is what `aggregation`
    makes of its judges, each judge's dimensions averaged first with equal weight. Every draw hashes
    (seed, query_id, both models), so that neither order nor shards change it.

    A threshold that is given is that of scores and of comparisons. Where none is, scores have the store's default
    and comparisons the store's own default for them, or `comparison_threshold`; in a store of comparisons alone
    there is the one for comparisons only.

    A score counts where its judge is in the pool (`judges`) and is not the model that answered
    (`include_self_judged`). Of the judges with such a score, its judges, a response needs `min_judges` to have a
    value at all, and a comparison as many judges to count. With `same_judges` two responses are compared by their
    scores where they have the same set of judges: a query's responses fall into groups, one for each set. `strategy`
    is followed in each group (best_worst: each group's best and worst; best_random: one pair for each group), and
    `max_pairs_per_query` draws from the pairs of all groups together. Where labels are "auto", two responses that
    cannot be compared by scores for either reason are compared by comparisons, whose judges saw both; a query with
    two responses of one group is ranked by scores alone, as ever. Formats of whole lists have no `same_judges`: a
    list orders all responses of a query. Comparisons are by the same judges as they are, so that nothing changes by it
    where they alone count; nor by `aggregation`, since of several judges shown two responses the mean counts.

    With `both_orders` a judge counts for two responses that it was shown only where it saw them in both orders: else a
    judge that favours what comes first would decide. What it said in each order is averaged first, then both orders.
    Default: what the store says (its manifest), False of most; `both_orders=False` asks for single orders all the same.

    `calibrate` names a file that `coigp judges --calibrate` wrote. Every score is brought to one scale by it (see
    `coig_p.pairs.calibration`), each dimension for itself, rounded to 1/10000, and then all is as exact as without;
    scores that rows show are these. Comparisons are not changed. A threshold above 0 is demanded, since calibration
    makes tiny margins of ties. What was read is in the config, so that workers need no file.

    `agree_with` names rewards that the store holds beside its scores (`coigp score`). Of the pairs that all other
    options give, draws among them, those are dropped whose chosen response has the lower reward; never is one turned
    around. Equal rewards stay, and with a `min_reward_margin` above 0 none does whose rewards, as float64, differ by
    less. A pair with a response that has no reward is dropped too, and counted apart (`coig_p.stats.filtering`).
    Formats of whole lists have no `agree_with`: a list is in the order of the scores.

    `exclude` names a file of query ids, one a line, as `coigp bench build` writes it: these queries give no pairs. What
    was read is in the config. Ids that a store has not are no error: `count_excluded` counts them.

    A conversation is a query of more than one user's text. Formats conversational and ranked_conversational give its
    turns; of the others, which are strings, `multi_turn` must say what they give of it.

    Formats ranked and ranked_conversational have a row for each query with a pair, and in it every response that has
    a score, best first.

    Values of numpy, Decimal and Fraction are taken as Python's own: np.int64(0) is 0, np.float32(.1) is .1.

    Raises:
        UsageError: a value that is not allowed; the message lists what is.
    """

    threshold: float | None = field(
        default=None, metadata={"help": "Smallest margin of a pair. Default: the store's, 2 for COIG-P."}
    )
    strict: bool = field(default=False, metadata={"help": "Keep margins above the threshold, not those equal to it."})
    aggregation: str = field(
        default="mean", metadata={"help": "How the judges of a response are combined.", "choices": AGGREGATIONS}
    )
    judges: tuple[str, ...] | None = field(default=None, metadata={"help": "Use these judges alone."})
    include_self_judged: bool = field(
        default=False, metadata={"help": "Also use scores that a model gave to its own response."}
    )
    labels: str = field(
        default="auto", metadata={"help": "Scores, comparisons, or scores where there are any.", "choices": LABELS}
    )
    strategy: str = field(default="all", metadata={"help": "Which pairs of a query are kept.", "choices": STRATEGIES})
    max_pairs_per_query: int | None = field(default=None, metadata={"help": "Draw at most so many pairs a query."})
    seed: int = field(default=0, metadata={"help": "Seed of every draw."})
    format: str = field(default="dpo", metadata={"help": "Columns for this kind of trainer.", "choices": FORMATS})
    multi_turn: str | None = field(
        default=None,
        metadata={
            "help": "What strings give of a conversation: its turns as one text, its last user turn, or leave it out.",
            "choices": MULTI_TURN,
        },
    )
    comparison_threshold: float | None = field(
        default=None,
        metadata={
            "help": "Smallest margin of a pair by comparisons. Default: the store's, unless one is given for both."
        },
    )
    calibrate: Calibration | None = field(
        default=None,
        metadata={"help": "Bring judges to one scale by a file of `coigp judges --calibrate`.", "metavar": "FILE"},
    )
    min_judges: int = field(default=1, metadata={"help": "Use responses with scores of at least so many judges."})
    same_judges: bool = field(default=False, metadata={"help": "Compare responses scored by the same judges alone."})
    agree_with: str | None = field(
        default=None,
        metadata={"help": "Drop pairs whose order these rewards of the store oppose (`coigp score --as NAME`)."},
    )
    min_reward_margin: float | None = field(
        default=None,
        metadata={"help": "With --agree-with: by how much the chosen reward is higher at least. Default: 0."},
    )
    exclude: Exclusion | None = field(
        default=None,
        metadata={"help": "Leave out the queries in this list, one query_id a line.", "metavar": "FILE"},
    )
    both_orders: bool | None = field(
        default=None,
        metadata={"help": "Of comparisons, use judges that saw two responses in both orders. Default: the store's."},
    )

    def __post_init__(self) -> None:
        taken: dict[str, Any] = {"seed": whole_number("seed", self.seed)}
        for name in ("threshold", "comparison_threshold"):
            if getattr(self, name) is not None:
                taken[name] = check_threshold(getattr(self, name), name)
        if taken.get("comparison_threshold") is not None and taken["comparison_threshold"] == taken.get("threshold"):
            taken["comparison_threshold"] = None  # one value, one config
        for name in ("strict", "include_self_judged", "same_judges"):
            taken[name] = flag(name, getattr(self, name))
        if self.both_orders is not None:
            taken["both_orders"] = flag("both_orders", self.both_orders)
        taken["min_judges"] = whole_number("min_judges", self.min_judges, 1)
        if self.calibrate is not None:
            taken["calibrate"] = Calibration.of(text(self.calibrate) or self.calibrate)
        if self.exclude is not None:
            taken["exclude"] = Exclusion.of(text(self.exclude) or self.exclude)
        for option in fields(self):
            choices, value = option.metadata.get("choices"), getattr(self, option.name)
            if choices and (value is not None or option.default is not None):
                taken[option.name] = text(value)
                if taken[option.name] not in choices:
                    raise UnknownNameError(option.name, value, choices)
        if self.judges is not None:
            taken["judges"] = tuple(sorted(set(names("judges", self.judges))))
        if self.max_pairs_per_query is not None:
            taken["max_pairs_per_query"] = whole_number("max_pairs_per_query", self.max_pairs_per_query, 1)
        taken |= self._agreeing()
        for name, value in taken.items():
            object.__setattr__(self, name, value)
        if self.format in MESSAGE_FORMATS and self.multi_turn is not None:
            raise UsageError(
                f"multi_turn={self.multi_turn!r} has no effect: format {self.format} gives conversations turn by turn"
            )
        if self.format in RANKED_FORMATS:
            self._check_ranked()
        self._check_calibrated()
        if self.labels == "scores" and self.comparison_threshold is not None:
            raise UsageError(f"comparison_threshold={self.comparison_threshold:g}: no effect with labels='scores'")
        if self.labels == "scores" and self.both_orders:
            raise UsageError(
                "both_orders=True: no effect with labels='scores': it is asked of comparisons. Leave one of the two out"
            )

    def _agreeing(self) -> dict[str, Any]:
        """The options of rewards as they are kept; raise UsageError where they cannot be."""
        least = self.min_reward_margin
        if self.agree_with is None:
            if least is not None:
                raise UsageError(
                    f"min_reward_margin={least!r}: no effect without agree_with= (--agree-with), which names rewards"
                )
            return {}
        name = text(self.agree_with)
        if not name:
            raise UsageError(f"agree_with={self.agree_with!r}: use the name of rewards that the store has")
        found = 0.0 if least is None else finite_number(least)
        if found is None or found < 0:
            raise UsageError(f"min_reward_margin={least!r}: use a finite number of 0 or more")
        return {"agree_with": name, "min_reward_margin": found}

    def _check_calibrated(self) -> None:
        """Raise UsageError where calibration would have no effect, or make pairs of ties."""
        if self.calibrate is None:
            return
        if self.labels == "comparisons":
            raise UsageError(
                "calibrate= has no effect with labels='comparisons': it brings scores to one scale, and comparisons "
                "are used as they are. Leave one of the two out"
            )
        if self.threshold == 0:
            raise UsageError(
                "threshold 0 with calibrate: scores that judges meant to be equal differ a little once calibrated, so "
                "a margin above 0 is needed. Give a threshold, for instance threshold=2 (--threshold 2)"
            )

    def _check_ranked(self) -> None:
        """Raise UsageError for options of pairs alone: a row holds a query's responses in the order of scores."""
        if self.labels == "comparisons":
            raise UsageError(
                f"labels='comparisons': format {self.format} orders all responses of a query by their scores, and a "
                'comparison says of two which is better. Leave it out, or use a format of pairs, as format="dpo"'
            )
        if self.same_judges:
            raise UsageError(
                f"same_judges=True: format {self.format} orders all responses of a query, and those of other judges "
                'have no place among them. Leave it out, or use a format of pairs, as format="dpo"'
            )
        if self.agree_with is not None:
            raise UsageError(
                f"agree_with={self.agree_with!r}: format {self.format} orders all responses of a query by scores, and "
                'rewards drop pairs. Leave it out, or use a format of pairs, as format="dpo"'
            )
        given: list[tuple[str, Any, Any]] = [
            ("strategy", self.strategy, "all"),
            ("max_pairs_per_query", self.max_pairs_per_query, None),
            ("comparison_threshold", self.comparison_threshold, None),
            ("both_orders", self.both_orders or None, None),
        ]
        named = ", ".join(f"{name}={value!r}" for name, value, default in given if value != default)
        if named:
            raise UsageError(
                f"{named}: no effect, since format {self.format} gives all responses of a query in one row. Leave it "
                'out, or use a format of pairs, as format="dpo"'
            )

    def with_default_threshold(self, default: float) -> PairConfig:
        """This config, with a default where no threshold was given."""
        return self if self.threshold is not None else replace(self, threshold=default)

    def with_defaults(self, manifest: Manifest) -> PairConfig:
        """This config, with the store's thresholds where none was given. Equal rows are equal configs then.

        Where scores alone or comparisons alone decide, `threshold` is theirs and `comparison_threshold` not set.
        """
        by_scores, _ = self._deciding(manifest)
        if self.calibrate is not None:
            self._check_calibration(self.calibrate, manifest, by_scores)
        self._check_enough_judges(manifest)
        self._check_rewards(manifest)
        threshold = self.threshold
        if not by_scores and self.comparison_threshold is not None:
            threshold = self.comparison_threshold
        if threshold is None:
            threshold = self.store_threshold(manifest)
        return replace(
            self,
            threshold=threshold,
            comparison_threshold=self.apart(manifest),
            both_orders=self.orders(manifest),
        )

    @property
    def margin(self) -> str:
        """The threshold in effect as people read it, with what else says which responses are compared: 2, or
        "2, by comparisons 1, of responses with scores of 2 judges or more"."""
        said = [f"{self.threshold:g}"]
        if self.comparison_threshold is not None:
            said.append(f"by comparisons {self.comparison_threshold:g}")
        if self.calibrate is not None:
            said.append(f"scores calibrated by the file with sha256 {self.calibrate.sha256[:12]}")
        if self.min_judges > 1:
            said.append(f"of responses with scores of {self.min_judges} judges or more")
        if self.same_judges:
            said.append("between responses of the same judges")
        if self.both_orders is not None:
            orders = "comparisons that judges made in both orders" if self.both_orders else "comparisons in any order"
            said.append(f"by {orders}")
        if self.agree_with is not None:
            least = f" by {self.min_reward_margin:g} or more" if self.min_reward_margin else ""
            said.append(f"agreeing with the rewards {self.agree_with}{least}")
        if self.exclude is not None:
            number = counted(self.exclude.count, "query", "queries")
            said.append(f"without the {number} of the list with sha256 {self.exclude.sha256[:12]}")
        return ", ".join(said)

    @property
    def later(self) -> dict[str, Any]:
        """Of `to_dict` those of LATER that are in effect."""
        return {name: value for name, value in self.to_dict().items() if name in LATER}

    def store_threshold(self, manifest: Manifest) -> float:
        """The store's threshold where none is given: that of scores, or of comparisons where they alone decide."""
        by_scores, _ = self._deciding(manifest)
        if not by_scores and manifest.comparison_threshold is not None:
            return manifest.comparison_threshold
        return manifest.default_threshold

    def apart(self, manifest: Manifest) -> float | None:
        """The threshold that comparisons have apart from scores; None where both have one, or one kind decides."""
        if not all(self._deciding(manifest)):
            return None
        given = self.threshold is not None or self.comparison_threshold is not None
        return self.comparison_threshold if given else manifest.comparison_threshold

    def orders(self, manifest: Manifest) -> bool | None:
        """Whether judges must have seen both orders; None where nothing is asked that the store does not say itself.

        None stands for False, and is what it is where comparisons decide nothing: equal rows are equal configs.
        """
        if not self._deciding(manifest)[1]:
            return None
        if self.both_orders is None:
            return manifest.both_orders or None
        return self.both_orders if self.both_orders or manifest.both_orders else None

    def _deciding(self, manifest: Manifest) -> tuple[bool, bool]:
        """Whether scores, and whether comparisons, may decide. An older manifest may not say what there is: None."""
        if self.labels != "auto" or self.format in RANKED_FORMATS:
            return self.labels != "comparisons", self.labels == "comparisons"
        files = manifest.data_files()
        by_comparisons = any(file.comparisons != 0 for file in files)
        return not by_comparisons or any(file.scores != 0 for file in files), by_comparisons

    def _check_calibration(self, file: Calibration, manifest: Manifest, by_scores: bool) -> None:
        """Raise UsageError where no score would be calibrated, or by a file for others, or not all judges'.

        Of a store with comparisons the manifest does not say who scored: there the scores themselves are looked at.
        """
        if not by_scores:
            raise UsageError(
                "calibrate= brings scores to one scale, and this store has comparisons alone: leave it out"
            )
        if file.score_range not in (None, manifest.score_range):
            fitted, own = (f"{low:g} to {high:g}" for low, high in (file.score_range, manifest.score_range))
            raise UsageError(
                f"{file.name}: it was fitted on scores from {fitted}, and this store's are from {own}, so its offsets "
                "are not theirs. Fit one on this store: coigp judges STORE --calibrate FILE"
            )
        if not any(one.comparisons != 0 for one in manifest.data_files()):
            file.check_judges(name for name in manifest.judges if self.judges is None or name in self.judges)

    def _check_enough_judges(self, manifest: Manifest) -> None:
        """Raise UsageError where more judges are asked for than there are. An older manifest may name none."""
        if self.min_judges == 1 or not manifest.judges:
            return
        pool = [name for name in manifest.judges if self.judges is None or name in self.judges]
        given = [count for file in manifest.data_files() for count in (file.scores, file.comparisons)]
        named = sum(manifest.judges.values()) == sum(count or 0 for count in given) and None not in given
        most = len(pool) + (self.judges is None and not named)  # those without a name count as one
        if self.min_judges > most:
            of = "this store has" if self.judges is None else "of these judges this store has"
            raise UsageError(
                f"min_judges={self.min_judges} (--min-judges {self.min_judges}): {of} {most}, so no response has "
                f"scores of so many: use {most} or fewer"
            )

    def _check_rewards(self, manifest: Manifest) -> None:
        """Raise UsageError where the store does not have the rewards that pairs must agree with, or StoreError where
        it has them of some shards alone."""
        if self.agree_with is None:
            return
        if not manifest.rewards:
            raise UsageError(
                f"agree_with={self.agree_with!r} (--agree-with {self.agree_with}): this store has no rewards. Let a "
                "reward model give some: coigp score STORE --model M --as NAME"
            )
        check_rewards(manifest, self.agree_with)

    def of_one_judge(self, judge: str) -> PairConfig:
        """What a judge says for itself, as it said it: its scores are not calibrated, and need no second judge's."""
        return replace(self.without_rewards(), judges=(judge,), calibrate=None, min_judges=1, same_judges=False)

    def without_rewards(self) -> PairConfig:
        """This config without the filter of rewards."""
        return replace(self, agree_with=None, min_reward_margin=None)

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON has them. Those of LATER are left out where they have no effect."""
        found = {option.name: getattr(self, option.name) for option in fields(self)}
        for option in fields(self):
            if option.name in LATER and found[option.name] == option.default:
                del found[option.name]
        if not self.min_reward_margin:
            found.pop("min_reward_margin", None)
        if self.judges is not None:
            found["judges"] = list(self.judges)
        if self.calibrate is not None:
            found["calibrate"] = self.calibrate.to_dict()
        if self.exclude is not None:
            found["exclude"] = self.exclude.to_dict()
        return found

    def record(self) -> dict[str, Any]:
        """As `to_dict`, with what files say: with it the same pairs can be made where the files are not at hand."""
        told = self.to_dict()
        return told | {name: getattr(self, name).record() for name in ("calibrate", "exclude") if told.get(name)}


def check_threshold(value: Any, name: str = "threshold") -> float:
    """Return `value` as a float; raise UsageError unless finite, at least 0 and on the grid."""
    threshold = grid_number(value)
    if threshold is None:
        raise UsageError(f"{name}={value!r}: use a finite number of 0 or more with at most 4 decimals")
    return threshold


def check_judges(config: PairConfig, known: Collection[str]) -> None:
    """Raise UnknownNameError where the config names a judge that gave no score.

    Args:
        known: the store's judges; empty where they are not known.
    """
    for judge in config.judges or ():
        if known and judge not in known:
            raise UnknownNameError("judge", judge, known)
