"""The report against COIG-P's human check, and against small reviews whose numbers can be counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reviewed import tell
from voting import make_votes

from coig_p.errors import DataError
from coig_p.review.report_text import as_markdown
from coig_p.review.reporting import review_report

# Table 2 of COIG-P: pairs and queries by domain; and the answers that were right of 40 in each (section 3.4).
COIG_P = {
    "chat": (702_398, 37_323, 38),
    "math": (155_872, 27_259, 34),
    "logic": (54_617, 8_816, 36),
    "code": (40_213, 7_774, 38),
    "novel": (34_483, 6_682, 36),
    "role": (19_363, 4_930, 36),
}
DOMAINS = {name: {"pairs": pairs, "queries": queries, "drawn": 40} for name, (pairs, queries, _) in COIG_P.items()}


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 items, of which two of three always say the same."""
    folder = tmp_path_factory.mktemp("review") / "review"
    items = []
    for domain, (_, _, right) in COIG_P.items():
        for at in range(40):
            says = "right" if at < right else ("worse", "tie", "better")[at % 3]
            said = dict.fromkeys("abc", says)
            if at % 5 == 0:
                said["abc"[at % 3]] = "tie" if says != "tie" else "worse"
            items.append((domain, said))
    make_votes(folder, items, domains=DOMAINS, margins=(2.0, 2.5, 3.0, 4.0, 6.5))
    return folder


def test_the_human_check_of_coig_p(check: Path) -> None:
    found = review_report(check)
    assert found.items == found.answered == 240
    assert {name: one["right"].share for name, one in found.domains.items()} == {
        "chat": 0.95, "math": 0.85, "logic": 0.9, "code": 0.95, "novel": 0.9, "role": 0.9,
    }  # fmt: skip
    whole = found.all["right"]
    assert (whole.right, whole.n, whole.open) == (218, 240, 0)
    assert rounded(whole) == (90.8, 86.5, 93.9)
    means = found.weighted["right"]
    assert rounded(means["macro"]) == (90.8, 86.5, 93.9)
    assert means["macro"].share == pytest.approx(0.9083, abs=5e-5)
    assert rounded(means["pairs"])[0] == 92.9
    assert rounded(means["queries"])[0] == 91.0
    # The standard error by its definition.
    sizes = np.array([pairs for pairs, _, _ in COIG_P.values()]) / 1_006_946
    p = np.array([right / 40 for _, _, right in COIG_P.values()])
    assert means["pairs"].se == pytest.approx(float(np.sqrt((sizes**2 * p * (1 - p) / 40).sum())))
    assert means["pairs"].low < means["pairs"].share - 1.5 * means["pairs"].se
    assert found.domains["logic"]["right"].needed == 139


def rounded(found: object) -> tuple[float, ...]:
    return tuple(round(100 * getattr(found, name), 1) for name in ("share", "low", "high"))


def test_criteria_alone_and_together_and_what_each_annotator_says(tmp_path: Path) -> None:
    make_votes(
        tmp_path / "review",
        [
            ("math", {"a": "right", "b": "right", "c": "right"}),
            ("math", {"a": "right", "b": "better", "c": "better"}),  # preferred, but not correct
            ("math", {"a": "both", "b": "worse", "c": "worse"}),
            # No majority of what is preferred, and still wrong: a majority says that it is not correct.
            ("chat", {"a": "right", "b": "tie", "c": "worse"}),
            ("chat", {"a": "right", "b": "right", "c": "skip"}),
            ("chat", {"a": "right", "b": "worse", "c": "skip"}),  # open in both
            ("chat", {"a": "right", "b": None, "c": None}),
            ("chat", {"a": None, "b": None, "c": None}),
        ],
    )
    found = review_report(tmp_path / "review")
    assert (found.items, found.answered, found.waiting, found.skipped) == (8, 7, 2, 2)
    counts = {
        name: {column: (one.right, one.n, one.open, one.missing) for column, one in columns.items()}
        for name, columns in found.domains.items()
    }
    assert counts == {
        "math": {"preferred": (2, 3, 0, 0), "correct": (1, 3, 0, 0), "right": (1, 3, 0, 0)},
        "chat": {"preferred": (2, 2, 2, 1), "correct": (2, 3, 1, 1), "right": (2, 3, 1, 1)},
    }
    assert found.all["preferred"].open_wrong == 4 / 7
    assert {name: one.shares["right"].share for name, one in found.annotators.items()} == {
        "a": 1.0,
        "b": 1 / 3,
        "c": 1 / 4,
    }
    assert (found.mean["right"].right, found.mean["right"].n) == (10, 17)
    quality = found.annotators["c"].quality
    assert (quality.given, quality.answered, quality.skipped) == (8, 4, 2)
    assert found.weighted["right"]["macro"].share == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert "pairs" not in found.weighted["right"]  # how many pairs the domains have is not known here
    json.dumps(found.to_dict(), allow_nan=False)


def test_domains_of_a_few_items_do_not_promise_that_nothing_varies(tmp_path: Path) -> None:
    """Of a domain of one item p (1 - p) is 0 whatever it says: such domains take the share of all items."""
    said = [("math", "right" if at % 4 else "worse") for at in range(8)]
    said += [(name, "right") for name in ("chat", "code", "logic")]
    make_votes(tmp_path / "few", [(domain, {"a": one}) for domain, one in said], annotators=["a"])
    mean = review_report(tmp_path / "few").weighted["right"]["macro"]
    assert mean.share == pytest.approx((0.75 + 3) / 4)
    of_all = 9 / 11
    wanted = (0.75 * 0.25 / 8 + 3 * of_all * (1 - of_all)) / 16
    assert mean.se == pytest.approx(wanted**0.5)
    assert mean.pooled == ("chat", "code", "logic")
    english, chinese = (as_markdown(review_report(tmp_path / "few"), language) for language in ("en", "zh"))
    assert "Domains with fewer than 5 items (chat, code, logic) cannot say" in english
    assert "不足 5 条的领域（chat、code、logic）" in chinese
    assert "standard error" in english
    # Where all are right the formula gives none.
    make_votes(tmp_path / "all", [(name, {"a": "right"}) for name in ("math", "chat") * 3], annotators=["a"])
    told = as_markdown(review_report(tmp_path / "all"))
    assert "Mean over domains: 100.0% (61.0 – 100.0)\n" in told
    # Five items are enough, and say so themselves.
    said = [("math", "right" if at else "worse") for at in range(5)] + [("chat", "right")] * 5
    make_votes(tmp_path / "enough", [(domain, {"a": one}) for domain, one in said], annotators=["a"])
    mean = review_report(tmp_path / "enough").weighted["right"]["macro"]
    assert (mean.se, mean.pooled) == (pytest.approx((0.8 * 0.2 / 5 / 4) ** 0.5), ())
    assert "cannot say how much" not in as_markdown(review_report(tmp_path / "enough"))


def test_without_boxes_right_is_preferred_alone(tmp_path: Path) -> None:
    make_votes(tmp_path / "review", [("math", {"a": "better"}), ("math", {"a": "worse"})], annotators=["a"])
    found = review_report(tmp_path / "review")
    assert found.criteria == ("preferred",)
    assert found.all["preferred"].share == 0.5
    assert found.notes == ("no-boxes", "alone")


def test_agreement_of_people_by_domain_and_margin(check: Path) -> None:
    parts = {(one.kind, one.name): one.found for one in review_report(check).agreement}
    assert set(parts) == {
        ("all", ""),
        *(("domain", name) for name in COIG_P),
        *(("margin", name) for name in ("2 – 2.5", "3", "4", "6.5")),
    }
    whole = parts["all", ""]
    # One of three differs in every fifth item: of the three pairs of people two differ there.
    assert whole.percent.value == pytest.approx(1 - 2 / 15)
    assert whole.units == 240
    assert [(pair.one, pair.two, pair.units) for pair in whole.pairs] == [
        ("a", "b", 240),
        ("a", "c", 240),
        ("b", "c", 240),
    ]
    assert whole.fleiss.value is not None
    assert whole.alpha.value is not None
    assert whole.alpha.low is not None
    assert whole.ac1.value is not None
    assert whole.ac1.value > whole.alpha.value
    assert sum(parts["domain", name].units for name in COIG_P) == 240
    assert sum(one.units for (kind, _), one in parts.items() if kind == "margin") == 240


def test_form_query_tells_how_many_are_feasible(tmp_path: Path) -> None:
    said = [{"a": {"feasible": True}, "b": {"feasible": at > 0}} for at in range(4)]
    make_votes(tmp_path / "review", [("math", one) for one in said], "query", ["a", "b"])
    found = review_report(tmp_path / "review")
    assert (found.all["feasible"].right, found.all["feasible"].n, found.all["feasible"].open) == (3, 3, 1)
    assert found.agreement[0].found.percent.value == 0.75


def test_form_accept_asks_three_things(tmp_path: Path) -> None:
    good: dict[str, Any] = {"preference": "A", "correct": ["a"], "query_ok": True}
    said = [good, good | {"query_ok": False}, good | {"correct": []}, good | {"preference": "B"}]
    # The sides of every second item are exchanged: there A is the worse response.
    other = [
        one | {"preference": {"A": "B", "B": "A"}[one["preference"]], "correct": ["b"] * len(one["correct"])}
        for one in said
    ]
    items = [("math", {"a": (other if at % 2 else said)[at]}) for at in range(4)]
    make_votes(tmp_path / "review", items, "accept", ["a"])
    found = review_report(tmp_path / "review")
    assert {name: one.right for name, one in found.all.items()} == {
        "query_ok": 3,
        "correct": 3,
        "preferred": 3,
        "right": 1,
    }


def test_triples_give_ranks_and_say_what_does_not_fit(tmp_path: Path) -> None:
    straight = {"ranking": [["good"], ["bad", "other"]]}
    said = [{"a": straight, "b": straight}, {"a": straight, "b": {"ranking": [["bad"], ["good"], ["other"]]}}]
    make_votes(tmp_path / "review", [("math", one) for one in said], "triple", ["a", "b"])
    found = review_report(tmp_path / "review")
    first, second = found.ranked
    assert first.ranks == (("good", 0, 0), ("bad", 0, 1), ("other", 0, 1))
    assert (first.relations, first.kept, first.pairs) == (3, 3, 2)
    # Of the second two relations have no majority: good over other is all that is said.
    assert second.ranks == (("good", 0, 0), ("other", 0, 1))
    assert found.agreement[0].found.units == 6
    assert found.all == {}


def test_strata_weigh_as_the_pairs_that_the_store_has_in_them(tmp_path: Path) -> None:
    folder = tmp_path / "review"
    said = [{"a": "right" if at % 4 else "worse"} for at in range(12)]
    make_votes(folder, [("math" if at < 8 else "chat", one) for at, one in enumerate(said)], margins=(2.0, 5.0))
    strata = {"math": {"2": 60, "3": 7, "5": 20}, "chat": {"2": 10, "5": 3}}
    tell(folder, options={"strata": "margin", "strata_pairs": strata})
    found = review_report(folder)
    # Items 0, 4 and 8 are wrong, which lie at margin 2: there half are right in math and in chat, at 5 all.
    (mean,) = found.weighted["preferred"].values()
    assert mean.share == pytest.approx((60 * 0.5 + 20 + 10 * 0.5 + 3) / 93)
    assert mean.covered == pytest.approx(93 / 100)
    assert mean.se > 0.1  # also where each of a stratum's few items says the same
    assert "strata" in found.notes
    for wrong in ([1], {"math": 3}, {"math": {"x": 1}}, {"math": {"2": -1}}, {"math": {"2": "1"}}):
        tell(folder, options={"strata_pairs": wrong})
        with pytest.raises(DataError, match=r"options\.strata_pairs is not"):
            review_report(folder)
    tell(folder, options={"by": "margin"})
    assert review_report(folder).weighted["preferred"] == {}
