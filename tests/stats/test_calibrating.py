"""Calibration: what is planted is found, what cannot be told is refused, and pairs are won back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import Judges, batch_of, judged_of, rows_of, scores_of

from coig_p.pairs.calibration import read_calibration, write_calibration
from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import find_pairs
from coig_p.stats.calibrating import collinearity, fit_scales
from coig_p.stats.design import DesignError

Q, M = 300, 5
EVEN = Judges((6.0, 6.0), (1.5, 1.5), (0.0, 0.0), (0.8, 0.8), (-1, -1))


def one_judge_a_response(seed: int, judges: int, shares: Any = None) -> Any:
    """(Q, M, judges), one of each response; `shares` (M, judges) says how likely each judge is for a model."""
    rng = np.random.default_rng(seed)
    shares = np.full((M, judges), 1 / judges) if shares is None else np.asarray(shares)
    who = (rng.random((Q, M, 1)) > np.cumsum(shares, 1)[None, :, :-1]).sum(-1)
    return who[..., None] == np.arange(judges)


@pytest.mark.parametrize("method", ["joint", "zscore"])
def test_what_was_planted_is_found(method: Any) -> None:
    judges = Judges((7.0, 6.0, 5.0), (1.5, 1.2, 1.0), (0.0,) * 3, (0.5,) * 3, (-1,) * 3)
    seen = True if method == "joint" else one_judge_a_response(0, 3)
    found = fit_scales(judged_of(rows_of(scores_of(judges, Q, M, 0), seen, judges.names)), method)
    offset, scale = (np.array([getattr(found.judges[name], of) for name in judges.names]) for of in ("offset", "scale"))
    assert np.abs(offset - offset.mean() - [1, 0, -1]).max() < (0.06 if method == "joint" else 0.15)
    if method == "joint":
        assert np.abs(scale - judges.spread).max() < 0.08
    else:  # noise and all, and without what models differ in
        assert (np.diff(scale) < 0).all()
    number = np.array([found.judges[name].responses for name in judges.names])
    assert found.reference.offset == pytest.approx(offset @ number / number.sum())
    assert found.reference.scale == pytest.approx(scale @ number / number.sum())


def test_mean_scores_of_judges_that_got_better_models_are_not_leniency() -> None:
    """The first judge got mostly the good models: its mean is higher, and it is no more lenient."""
    shares = np.array([[0.15, 0.85], [0.3, 0.7], [0.5, 0.5], [0.7, 0.3], [0.85, 0.15]])
    rows = rows_of(scores_of(EVEN, Q, M, 1), one_judge_a_response(1, 2, shares), EVEN.names)
    found = fit_scales(judged_of(rows), "zscore").judges
    means = [np.mean([s["score"] for r in rows for a in r["responses"] for s in a["scores"] if s["judge"] == name])
             for name in EVEN.names]  # fmt: skip
    assert abs(means[0] - means[1]) > 0.5
    assert abs(found["judge-0"].offset - found["judge-1"].offset) < 0.2


def nearly(own: float) -> Any:
    """Two judges; models 0 to 2 go to the first with this share, the others to the second."""
    return np.array([[own, 1 - own]] * 3 + [[1 - own, own]] * 2)


@pytest.mark.parametrize("own", [1.0, 0.99, 0.98])
def test_judge_and_model_nearly_the_same_is_refused(own: float) -> None:
    rows = rows_of(scores_of(EVEN, Q, M, 2), one_judge_a_response(2, 2, nearly(own)), EVEN.names)
    with pytest.raises(DesignError, match="nearly the same thing") as error:
        fit_scales(judged_of(rows), "zscore")
    assert error.value.refusals[0].kind == "collinear"
    assert "drawn at random" in str(error.value)


@pytest.mark.parametrize("own", [0.5, 0.8, 0.95])
def test_less_of_it_is_not_refused(own: float) -> None:
    judges = Judges((7.0, 6.0), (1.5, 1.5), (0.0, 0.0), (0.8, 0.8), (-1, -1))
    rows = rows_of(scores_of(judges, Q, M, 2), one_judge_a_response(2, 2, nearly(own)), judges.names)
    found = fit_scales(judged_of(rows), "zscore").judges
    assert abs(found["judge-0"].offset - found["judge-1"].offset - 1) < 0.3


def test_no_judge_scores_its_own_is_not_refused() -> None:
    """As in COIG-P: five judges that are the five models, each response to one of the four others."""
    judges = Judges((7.0, 6.5, 6.0, 5.5, 5.0), (1.5,) * 5, (0.0,) * 5, (0.6,) * 5, (0, 1, 2, 3, 4))
    shares = (1 - np.eye(5)) / 4
    rows = rows_of(scores_of(judges, Q, M, 3), one_judge_a_response(3, 5, shares), judges.names)
    found = fit_scales(judged_of(rows), "zscore").judges
    offset = np.array([found[name].offset for name in judges.names])
    assert np.abs(offset - offset.mean() - [1, 0.5, 0, -0.5, -1]).max() < 0.3


def test_collinearity_is_one_of_parts_and_none_of_even_mixes() -> None:
    assert collinearity(np.array([[5, 0], [0, 7]])) == pytest.approx(1)
    assert collinearity(np.array([[5, 10], [10, 20]])) == pytest.approx(0)
    assert collinearity(np.array([[9, 1], [1, 9]])) == pytest.approx(0.64)
    assert collinearity(np.array([[9, 1]])) == 0


def test_joint_needs_shared_responses_and_says_the_other_way() -> None:
    rows = rows_of(scores_of(EVEN, Q, M, 4), one_judge_a_response(4, 2), EVEN.names)
    with pytest.raises(DesignError, match="--method zscore"):
        fit_scales(judged_of(rows), "joint")


@pytest.mark.parametrize("kind", ["few", "constant", "none"])
def test_what_zscore_cannot_do_is_refused(kind: str) -> None:
    scores, seen = scores_of(EVEN, Q, M, 5), one_judge_a_response(5, 2)
    if kind == "few":
        seen[20:, :, 1] = False
        seen[:, 1:, 1] = False
    if kind == "constant":
        scores[..., 1] = 7
    if kind == "none":
        seen[:] = False
    with pytest.raises(DesignError) as error:
        fit_scales(judged_of(rows_of(scores, seen, EVEN.names)), "zscore")
    assert error.value.refusals[0].kind == {"none": "judges"}.get(kind, kind)


def test_own_families_do_not_make_a_judge_lenient() -> None:
    """The joint model takes liking for its own family apart, where it can be told."""
    judges = Judges((6.0, 6.0, 6.0), (1.5, 1.2, 1.0), (2.0, 0.0, 0.0), (0.5,) * 3, (0, -1, -1))
    found = fit_scales(judged_of(rows_of(scores_of(judges, Q, M, 6), True, judges.names)), "joint").judges
    assert abs(found["model-0"].offset - found["judge-1"].offset) < 0.12


@pytest.mark.parametrize("leniency", [0.0, 1.0, 2.0])
def test_pairs_are_won_back(leniency: float, tmp_path: Path) -> None:
    """A small version of benchmarks/judges.py: at an equal number of pairs, the share that is really better."""
    right = np.zeros(3)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        theta = np.linspace(-0.7, 0.7, M) + 0.8 * rng.normal(size=(Q, M))
        noise, seen = rng.normal(0, 0.8, (Q, M)), one_judge_a_response(seed, 2)
        ways = []
        for more in (0.0, leniency):
            score = np.round(2 * (5.5 + 1.6 * theta + noise + more * seen[..., 0])) / 2
            ways.append(batch_of(rows_of(np.repeat(score[..., None], 2, -1), seen, ["a", "b"])))
        found = fit_scales(_judged(ways[1]), "zscore")
        out = tmp_path / f"{seed}.json"
        write_calibration(out, method="zscore", judges=found.judges, reference=found.reference)
        configs = [
            PairConfig(threshold=0),
            PairConfig(threshold=0),
            PairConfig(threshold=0.0001, calibrate=read_calibration(out)),
        ]
        each = [find_pairs(batch, config) for batch, config in zip([*ways, ways[1]], configs, strict=True)]
        number = int((each[0].margin >= 2).sum())
        right += [_right(one, theta.reshape(-1), number) for one in each]
    even, lenient, calibrated = right / 6
    if leniency:
        assert even - lenient > 0.005
        assert (calibrated - lenient) / (even - lenient) >= 0.8
    else:
        assert calibrated >= even - 0.003


def _judged(batch: Any) -> Any:
    from coig_p.stats.judged import Judged

    found = Judged()
    found.add(batch)
    return found


def _right(pairs: Any, theta: Any, number: int) -> float:
    """Of those with the largest margins the share that is right, of equal margins each as likely."""
    is_right = theta[pairs.chosen] > theta[pairs.rejected]
    edge = np.sort(pairs.margin)[::-1][number - 1]
    above, on = pairs.margin > edge, pairs.margin == edge
    return float((is_right[above].sum() + is_right[on].mean() * (number - above.sum())) / number)


REVERSED = Judges((6.0, 6.0, 5.0), (1.5, 1.2, -1.2), (0.0,) * 3, (0.6,) * 3, (-1,) * 3)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_a_judge_whose_scores_run_the_other_way_is_refused_by_zscore(shared: bool, seed: int) -> None:
    seen = True if shared else one_judge_a_response(seed, 3)
    rows = rows_of(scores_of(REVERSED, Q, M, seed), seen, REVERSED.names)
    with pytest.raises(DesignError, match="'judge-2' fall where those of others rise") as error:
        fit_scales(judged_of(rows), "zscore")
    assert [(one.kind, one.judges) for one in error.value.refusals] == [("reversed", ("judge-2",))]


@pytest.mark.parametrize("shared", [True, False])
def test_judges_that_see_nothing_do_not_run_the_other_way(shared: bool) -> None:
    judges = Judges((6.0, 5.0), (1e-9, 1.5), (0.0,) * 2, (1.0, 0.6), (-1,) * 2)
    for seed in range(10):
        seen = True if shared else one_judge_a_response(seed, 2)[:60]
        fit_scales(judged_of(rows_of(scores_of(judges, 60, M, seed), seen, judges.names)), "zscore")


@pytest.mark.parametrize("kind", ["twins", "constant", "queries"])
def test_joint_does_not_recommend_zscore_where_judges_share(kind: str) -> None:
    judges = Judges((7.0, 6.0, 5.0), (1.5, 1.2, 1.0), (0.0,) * 3, (0.5,) * 3, (-1,) * 3)
    scores = scores_of(judges, 14 if kind == "queries" else Q, M, 0)
    if kind == "twins":
        scores[..., 2] = scores[..., 0]
    if kind == "constant":
        scores[..., 2] = 6
    with pytest.raises(DesignError) as error:
        fit_scales(judged_of(rows_of(scores, True, judges.names)))
    assert "zscore" not in str(error.value)


def test_joint_does_not_recommend_zscore_where_that_is_refused() -> None:
    rows = rows_of(scores_of(EVEN, Q, M, 2), one_judge_a_response(2, 2, nearly(1.0)), EVEN.names)
    with pytest.raises(DesignError) as error:
        fit_scales(judged_of(rows))
    assert "zscore" not in str(error.value)
