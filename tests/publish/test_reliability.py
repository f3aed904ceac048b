"""A part of tests/publish/reliability.py, which runs every fault at every request."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import KINDS
from trials import Scene, make_scene, requests_of, rivals, run_trial, what


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture(scope="module")
def requests(scene: Scene) -> list[str]:
    return [what(request.partition("?")[0]) for request in requests_of(scene)]


@pytest.mark.parametrize(
    ("kind", "request_"),
    [
        ("cut", "PUT /lfs/*"),
        ("kill done", "PUT /lfs/*"),
        ("403", "POST /commit/release%2F1.1.0"),
        ("cut done", "POST /commit/main"),
        ("kill done", "POST /commit/main"),
        ("429", "POST /commit/main"),
        ("500 done", "POST /tag/*"),
        ("time-out", "GET /tree/*"),
    ],
)
def test_a_fault_breaks_no_promise(scene: Scene, requests: list[str], kind: str, request_: str) -> None:
    assert kind in KINDS
    trial = run_trial(scene, kind, requests.index(request_))
    assert what(trial.hit) == request_
    assert trial.wrong == []
    told_and_tried_again = kind.split()[0] not in ("kill", "403")
    assert (trial.first == 0) == told_and_tried_again


def test_of_two_publishers_one_wins_and_the_other_says_so(scene: Scene) -> None:
    assert rivals(scene, 0) == {"one won, the other said so": 1}


def test_the_trials_notice_a_broken_promise(scene: Scene, tmp_path: Path) -> None:
    """A publisher that takes main apart file by file would not pass."""
    from making import listed
    from trials import NEW, REPO, broken, fresh_hub

    with fresh_hub(scene) as hub:
        repository = hub.repositories[REPO]
        path = next(path for path in listed(scene.release) if path.startswith("data/"))
        content = (scene.release / path).read_bytes()
        repository.commit("main", {path: repository.objects.regular(content)}, [], "half of it")
        repository.delete_ref("refs/heads/theirs")
        wrong = broken(scene, hub, finished=True)
    assert wrong == [
        "main was torn",
        "refs/heads/theirs, which is not ours, was touched",
        "done, but the tag is not at main",
    ]
    assert NEW not in str(wrong)
