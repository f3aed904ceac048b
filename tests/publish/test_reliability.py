"""A part of tests/publish/reliability.py, which runs every fault at every request."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults import KINDS, REPO, what
from making import listed
from trials import NEW, Scene, broken, fresh_hub, make_scene, rivals, run_trial


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """Publishers count rows instead of loading them; tests/publish/reliability.py has them load."""
    return make_scene(tmp_path_factory.mktemp("scene"), loads=False)


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
    ],
)
def test_a_fault_breaks_no_promise(scene: Scene, kind: str, request_: str) -> None:
    assert kind in KINDS
    trial = run_trial(scene, kind, request_)
    assert what(trial.hit) == request_
    assert trial.wrong == []
    told_and_tried_again = kind.split()[0] not in ("kill", "403")
    assert (trial.first == 0) == told_and_tried_again


RIVALS = [
    "POST /branch/release%2F1.1.0",
    "PUT /lfs/*",
    "POST /commit/release%2F1.1.0",
    "POST /commit/main",
    "POST /tag/*",
    "DELETE /branch/release%2F1.1.0",
]


@pytest.mark.parametrize("at", RIVALS)
def test_of_two_publishers_one_wins_and_the_other_says_so(scene: Scene, at: str) -> None:
    """The second runs whole, in the middle of the first: the same each time."""
    assert rivals(scene, RIVALS.index(at), at) == {"one won, the other said so": 1}


def test_the_trials_notice_a_broken_promise(scene: Scene, tmp_path: Path) -> None:
    """A publisher that takes main apart file by file would not pass."""
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
