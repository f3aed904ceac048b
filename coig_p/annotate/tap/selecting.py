"""Which responses to a query are compared: K-means over their vectors, and one response of each cluster (TaP, 3.3).

65 responses are 2,080 pairs, and five are ten. Of each cluster the response stays that is nearest to its centroid, or
the anchor's own where the cluster holds it. Who stands in which order changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from coig_p.annotate.tap.embedding import Vectors, one_thread

_STARTS = 32  # of K-means; the best of them stays
_EQUAL = 1e-9  # squared distances that differ by less are equal: the two of a pair are as far from its centroid


class Response(NamedTuple):
    """A model's answer."""

    model: str
    text: str


def choose(
    responses: Sequence[Response], vectors: Vectors, clusters: int, anchor: str | None = None, seed: int = 0
) -> list[int]:
    """The places of the responses that stay, ordered by model.

    Responses of one text are one, of the anchor where that is one of them, else of the model that comes first by name;
    each pulls its centroid. With no more distinct texts than clusters all of them stay.

    Args:
        responses: one a model.
        vectors: a row each, equal for equal texts; see `coig_p.annotate.tap.embedding`.
        clusters: how many stay at most.
        anchor: whose response stays wherever its cluster has it.
        seed: of K-means.
    """
    first: dict[str, int] = {}
    for at in sorted(range(len(responses)), key=lambda at: _rank(responses[at], anchor)):
        first.setdefault(responses[at].text, at)
    own = sorted(first.values(), key=lambda at: responses[at].text)  # in one order, whatever came first
    if len(own) <= clusters:
        return _by_model(responses, own)
    number: dict[str, int] = {}
    for one in responses:
        number[one.text] = number.get(one.text, 0) + 1
    points = np.asarray(vectors, np.float64)[own]
    weights = np.array([number[responses[at].text] for at in own], np.float64)
    label = cluster(points, weights, clusters, seed)
    chosen = []
    for group in np.unique(label):
        inside = np.flatnonzero(label == group)
        centre = np.average(points[inside], axis=0, weights=weights[inside])
        away = ((points[inside] - centre) ** 2).sum(axis=1)
        near = [own[at] for at in inside[away <= away.min() + _EQUAL]]
        anchors = [own[at] for at in inside if responses[own[at]].model == anchor]
        chosen.append((anchors or sorted(near, key=lambda at: _rank(responses[at], anchor)))[0])
    return _by_model(responses, chosen)


def cluster(points: Vectors, weights: Vectors, clusters: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """The cluster of each point, numbered by their first points; at most so many, and no more than distinct points.

    scikit-learn's K-means with fixed starts. Points of one place are in one cluster.
    """
    from sklearn.cluster import KMeans

    places, at = np.unique(points, axis=0, return_inverse=True)
    at = np.asarray(at).reshape(-1)
    label = np.arange(len(places))
    if len(places) > clusters:
        heavy = np.bincount(at, weights, len(places))
        with one_thread():
            found = KMeans(clusters, n_init=_STARTS, random_state=seed, tol=0).fit(places, sample_weight=heavy)
        label = found.labels_
    _, begins, own = np.unique(label[at], return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(begins))[np.asarray(own).reshape(-1)], np.int64)


def _rank(one: Response, anchor: str | None) -> tuple[bool, str, str]:
    return (one.model != anchor, one.model, one.text)


def _by_model(responses: Sequence[Response], chosen: Sequence[int]) -> list[int]:
    return sorted(chosen, key=lambda at: (responses[at].model, responses[at].text))
