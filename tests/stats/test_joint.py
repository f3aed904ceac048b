"""The joint model: the maximum of its likelihood, intervals that hold what was planted, and sums that are exact."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from planted import Judges, batch_of, judged_of, rows_of, scores_of
from scipy.stats import multivariate_normal

from coig_p.stats.design import refusals_of, units_of
from coig_p.stats.joint import Fitted, JointFit, fit, fit_joint, sums_of
from coig_p.stats.judged import BLOCKS, Judged

NUMBERS = ("offset", "leniency", "spread", "self_preference")


def fitted(seed: int, seen: Any = True, judges: Judges | None = None, resamples: int = 60) -> JointFit:
    judges = judges or Judges()
    scores = scores_of(judges, 120, 5, seed)
    judged = judged_of(rows_of(scores, seen, judges.names))
    assert refusals_of(judged) == ()
    return fit_joint(units_of(judged), resamples=resamples)


def test_intervals_hold_what_was_planted() -> None:
    """A small version of benchmarks/judges.py, which tries 200 seeds: 40 of them, with bounds 40 can be held to."""
    judges = Judges()
    offset = np.array(judges.offset)
    true = {
        "offset": offset,
        "leniency": offset - offset.mean(),
        "spread": np.array(judges.spread),
        "self_preference": np.array(judges.favour),
    }
    found = [fitted(seed) for seed in range(40)]
    for name in NUMBERS:
        told = [[getattr(one.judges[judge], name) for judge in judges.names] for one in found]
        held = np.array([[e.low <= t <= e.high for e, t in zip(row, true[name], strict=True)] for row in told])
        errors = np.array([[e.value - t for e, t in zip(row, true[name], strict=True)] for row in told])
        assert 0.88 <= held.mean() <= 0.99, name
        assert np.abs(errors.mean(0)).max() < 0.04, name


def test_least_squares_with_a_parameter_a_response_would_be_wrong() -> None:
    """Why it is not done: its spreads are too near to one another, and that does not end with more queries."""
    judges = Judges(spread=(1.5, 1.2, 0.6), noise=(0.5, 0.7, 1.0))
    scores = scores_of(judges, 1_500, 5, 0)
    y = scores.reshape(-1, 3)
    s = np.ones(3)
    for _ in range(300):
        theta = ((y - y.mean(0)) * s).sum(1)
        theta = (theta - theta.mean()) / theta.std()
        s = ((y - y.mean(0)) * theta[:, None]).mean(0)
    found = fit_joint(units_of(judged_of(rows_of(scores, True, judges.names))), resamples=5)
    ours = np.array([found.judges[name].spread.value for name in judges.names])
    planted = np.array(judges.spread)
    assert np.abs(s / s.sum() - planted / planted.sum()).max() > 0.02
    assert np.abs(ours / ours.sum() - planted / planted.sum()).max() < 0.01


def log_likelihood(parameters: Any, rows: Any, names: list[str], groups: list[str], own: Any) -> float:
    """Of single responses: each is normal, given its model, in the judges that scored it."""
    n = len(names)
    c, s, b, noise = (parameters[at * n : (at + 1) * n] for at in range(4))
    mean, variance = parameters[4 * n :].reshape(2, len(groups))
    total = 0.0
    for row in rows:
        for response in row["responses"]:
            at = [names.index(one["judge"]) for one in response["scores"]]
            if len(at) < 2:
                continue
            g = groups.index(response["model"])
            mu = c[at] + s[at] * mean[g] + b[at] * own[g, at]
            sigma = np.outer(s[at], s[at]) * variance[g] + np.diag(noise[at])
            total += multivariate_normal.logpdf([one["score"] for one in response["scores"]], mu, sigma)
    return total


def test_it_is_the_maximum_of_the_likelihood_of_single_responses() -> None:
    """With scores missing at random. In every direction the log-likelihood is flat, and bends down."""
    judges = Judges()
    rng = np.random.default_rng(7)
    scores = scores_of(judges, 60, 5, 3)
    rows = rows_of(scores, rng.random(scores.shape) < 0.8, judges.names)
    units = units_of(judged_of(rows))
    favours = (units.own[units.group] & units.seen).any(0)
    # groups of fewer than 50 responses are together by family, which here is a model
    whole = _whole(units, favours)
    groups = [f"model-{at}" for at in range(5)]
    names = list(units.judges)
    own = np.array([[name == model for name in names] for model in groups], float)
    found = np.concatenate([np.asarray(part)[0] for part in whole[:6]])
    n = len(names)
    best = log_likelihood(found, rows, names, groups, own)
    for at in range(len(found)):
        step = np.zeros_like(found)
        step[at] = 1e-3
        up, down = (log_likelihood(found + sign * step, rows, names, groups, own) for sign in (1, -1))
        slope, bend = (up - down) / 2e-3, (up - 2 * best + down) / 1e-6
        assert bend < 0, at
        assert abs(slope / bend) < 2e-4 * (1 if at < 4 * n else 10), (at, slope, bend)


def _whole(units: Any, favours: Any) -> Fitted:
    blocks, block = np.unique(units.block, return_inverse=True)
    return fit(sums_of(units, np.ones((1, len(blocks))), block), units, favours)


def test_without_noise_all_is_found() -> None:
    judges = Judges(noise=(0.02, 0.02, 0.02))
    found = fitted(1, judges=judges, resamples=5)
    for name, spread, favour in zip(judges.names, judges.spread, judges.favour, strict=True):
        one = found.judges[name]
        assert one.self_preference is not None
        assert abs(one.self_preference.value - favour) < 0.02
        ratio = one.spread.value / found.judges[judges.names[0]].spread.value
        assert abs(ratio - spread / judges.spread[0]) < 0.01


def test_the_same_scores_and_seed_give_the_same_numbers() -> None:
    assert fitted(5) == fitted(5)


@pytest.mark.parametrize("scale", [1, 7.5])
def test_units_do_not_matter(scale: float) -> None:
    """Scores times a number, and a number more: c and s follow, whatever the scale."""
    judges = Judges()
    scores = scores_of(judges, 120, 5, 2)
    one = fit_joint(units_of(judged_of(rows_of(scores, True, judges.names))), resamples=20)
    moved = np.round(scores * scale + 20, 4)
    two = fit_joint(units_of(judged_of(rows_of(moved, True, judges.names))), resamples=20)
    for name in judges.names:
        assert two.judges[name].offset.value == pytest.approx(scale * one.judges[name].offset.value + 20, abs=2e-3)
        assert two.judges[name].spread.value == pytest.approx(scale * one.judges[name].spread.value, abs=2e-3)
        assert two.judges[name].spread.high == pytest.approx(scale * one.judges[name].spread.high, abs=4e-3)


def plain_sums(rows: list[dict[str, Any]]) -> dict[tuple[str, str, tuple[str, ...]], tuple[int, list[Fraction], Any]]:
    """Domain, model and judges -> responses, sums, and sums of products, in fractions."""
    found: dict[Any, Any] = {}
    for row in rows:
        for response in row["responses"]:
            by_judge: dict[str, list[Fraction]] = {}
            for score in response["scores"] or ():
                if score["score"] is not None:
                    by_judge.setdefault(score["judge"], []).append(Fraction(str(score["score"])))
            judges = tuple(sorted(by_judge))
            if not judges:
                continue
            y = [sum(by_judge[name], Fraction(0)) / len(by_judge[name]) for name in judges]
            n, total, products = found.get(
                (row["domain"], response["model"], judges),
                (0, [Fraction(0)] * len(y), [[Fraction(0)] * len(y)] * len(y)),
            )
            total = [a + b for a, b in zip(total, y, strict=True)]
            products = [[p + a * b for p, b in zip(line, y, strict=True)] for line, a in zip(products, y, strict=True)]
            found[row["domain"], response["model"], judges] = (n + 1, total, products)
    return found


def told_sums(judged: Judged) -> Any:
    names = {number: group for group, number in judged.groups.items()}
    found: dict[Any, Any] = {}
    for judges, sums in judged.tables.items():
        for at, key in enumerate((sums.key // BLOCKS).tolist()):
            k = len(judges)
            n, total, products = found.get((*names[key], judges), (0, [Fraction(0)] * k, [[Fraction(0)] * k] * k))
            scale = judged.scale
            more = [Fraction(int(one), scale) for one in sums.total[at]]
            square = [[Fraction(int(one), scale * scale) for one in line] for line in sums.products[at]]
            total = [a + b for a, b in zip(total, more, strict=True)]
            products = [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(products, square, strict=True)]
            found[(*names[key], judges)] = (n + int(sums.number[at]), total, products)
    return found


def test_sums_are_exact_whatever_the_batches() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for q in range(40):
        responses = []
        for m in range(4):
            given = [
                {"judge": f"j{j}", "score": None if rng.random() < 0.1 else float(rng.integers(10, 100)) / 10}
                for j in range(3)
                for _ in range(int(rng.integers(0, 4)))  # dimensions, which are averaged first
            ]
            responses.append({"model": f"m{m}", "sample": 0, "text": f"{q}{m}", "scores": given})
        rows.append({"query_id": str(q), "domain": "ab"[q % 2], "query": "", "responses": responses})
    whole = judged_of(rows)
    assert told_sums(whole) == plain_sums(rows)
    parts = [judged_of(rows[at : at + 7]) for at in range(0, 40, 7)]
    merged = Judged()
    for part in reversed(parts):
        merged.merge(part)
    assert told_sums(merged) == told_sums(whole)
    assert merged.missing == whole.missing and sum(whole.missing.values()) > 0
    assert merged.blocks == whole.blocks
    assert merged.opinions.margins == whole.opinions.margins
    for key, verdicts in whole.opinions.verdicts.items():
        assert (merged.opinions.verdicts[key] == verdicts).all()


def test_sums_of_large_scores_do_not_overflow() -> None:
    rows = rows_of(np.full((30, 2, 3), 3e9), True, ["a", "b", "c"])
    assert told_sums(judged_of(rows)) == plain_sums(rows)
    assert batch_of(rows).num_rows == 30
