"""Versions of a repository that people edit: what main shows, what is withdrawn, and what a plan says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from editing import config, edit_card, put, shown, text, to
from faults import REPO, FaultyHub
from making import listed
from running import run_publish
from trials import TOKEN

from coig_p.errors import RemoteError, UsageError
from coig_p.publish import abort, plan_release, read_release, status, yank
from coig_p.publish.local_hub import Repository
from coig_p.publish.local_hub.repository import MAIN


@pytest.mark.parametrize("version", ["0.9.0", "1.1.0-beta.2", "1.0.0-rc1"])
def test_main_is_for_the_highest_version(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], version: str
) -> None:
    before = repository.refs[MAIN]
    published = to(hub, releases[1], version)
    assert repository.refs[MAIN] == before
    assert repository.refs[f"refs/tags/v{version}"] == published.commit
    assert shown(repository, f"v{version}").items() >= listed(releases[1]).items()
    assert f"refs/heads/release/{version}" not in repository.refs
    assert to(hub, releases[1], version).added == 0
    assert status(REPO, config(hub)).version == "1.0.0"


def test_a_pre_release_keeps_no_version_from_main(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    to(hub, releases[1], "1.1.0-beta")
    published = to(hub, releases[1], "1.0.1")
    assert repository.refs[MAIN] == published.commit == repository.refs["refs/tags/v1.0.1"]


@pytest.mark.parametrize(
    ("version", "options", "words"),
    [
        ("1.1.0", {"restore": True}, "is not published"),
        ("0.9.0", {"pr": True}, "main is not for"),
    ],
)
def test_a_plan_refuses_what_the_command_does(
    hub: FaultyHub,
    repository: Repository,
    releases: tuple[Path, Path],
    version: str,
    options: dict[str, bool],
    words: str,
) -> None:
    with pytest.raises(RemoteError, match=words):
        plan_release(read_release(releases[1], version), REPO, config(hub, **options))


def test_main_gets_a_lower_version_when_told(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    to(hub, releases[1], "0.9.1", latest=True)
    assert repository.refs[MAIN] == repository.refs["refs/tags/v0.9.1"]


@pytest.mark.parametrize("version", ["1.0.0-a..b", "1.0.0-", "1.0.0-a.", "1.0.0-a.lock", "1.0.0-01", "1.0.0-é"])
def test_tags_that_git_refuses(releases: tuple[Path, Path], version: str) -> None:
    with pytest.raises(UsageError, match="three numbers"):
        read_release(releases[0], version)


def test_what_was_begun_is_named_and_ended(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    repository.add_ref("refs/heads/release/0.5.0", "main")
    to(hub, releases[1], "1.1.0")
    assert "coigp-publish --abort org/name --version 0.5.0" in caplog.text
    put(repository, "theirs.csv", "a", revision="release/0.5.0")
    with pytest.raises(RemoteError, match="holds a commit that no release made: 'theirs'"):
        abort(REPO, "0.5.0", config(hub))
    repository.refs["refs/heads/release/0.5.0"] = repository.refs["refs/tags/v1.0.0"]
    done = run_publish("--abort", REPO, "--version", "0.5.0", "--token", TOKEN, HF_ENDPOINT=hub.endpoint)
    assert "is ended" in done.stdout
    assert "refs/heads/release/0.5.0" not in repository.refs
    with pytest.raises(RemoteError, match=r"no release of 0\.5\.0 was begun"):
        abort(REPO, "0.5.0", config(hub))


def test_a_version_is_withdrawn(hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]) -> None:
    reason = "评审模型的 <b>名字</b> 泄漏了 [x](http://example.org)"
    asked = ("--yank", REPO, "--version", "1.0.0", "--reason", reason, "--token", TOKEN)
    assert "its tag stays" in run_publish(*asked, HF_ENDPOINT=hub.endpoint).stdout
    head = repository.refs[MAIN]
    assert json.loads(run_publish(*asked, "--json", HF_ENDPOINT=hub.endpoint).stdout)["commit"] == head
    card = text(repository, "README.md")
    assert "**1.0.0 已撤回 / was withdrawn:**" in card
    assert "<b>" not in card.split("withdrawn:")[1]
    assert status(REPO, config(hub)).withdrawn == {"1.0.0": reason}
    with pytest.raises(RemoteError, match=r"v1\.0\.0 was withdrawn: "):
        to(hub, releases[0], "1.0.0")
    # What is published next still says so.
    to(hub, releases[1], "1.1.0")
    assert "**1.0.0 已撤回 / was withdrawn:**" in text(repository, "README.md", "v1.1.0")
    assert status(REPO, config(hub)).withdrawn == {"1.0.0": reason}
    assert to(hub, releases[1], "1.1.0").added == 0
    yank(REPO, "1.0.0", "另一个原因", config(hub))
    assert text(repository, "README.md").count("was withdrawn") == 1


@pytest.mark.parametrize("reason", ["", " \n ", "x" * 501])
def test_a_withdrawal_has_a_reason(hub: FaultyHub, repository: Repository, reason: str) -> None:
    with pytest.raises(UsageError, match="--reason"):
        yank(REPO, "1.0.0", reason, config(hub))
    with pytest.raises(RemoteError, match=r"no release 9\.0\.0"):
        yank(REPO, "9.0.0", "x", config(hub))


def test_a_withdrawal_stays_whatever_is_done_to_main(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    def told() -> bool:
        shown = status(REPO, config(hub)).withdrawn == {"1.0.0": "泄漏"}
        return shown and text(repository, "README.md").count("1.0.0 已撤回") == 1

    to(hub, releases[1], "1.1.0")
    yank(REPO, "1.0.0", "泄漏", config(hub))
    assert to(hub, releases[1], "1.1.0").added == 0  # main is 1.1.0, and says what was withdrawn
    assert told()
    repository.commit("main", {}, [next(path for path in listed(releases[1]) if path.startswith("data/"))], "gone")
    to(hub, releases[1], "1.1.0", restore=True)
    assert told()
    edit_card(repository, "第三行", "第三行，他们的")
    to(hub, releases[1], "1.2.0", overwrite=True)
    assert told()
    assert "他们的" not in text(repository, "README.md")
    edit_card(repository, "<!-- withdrawn 1.0.0 -->", "")
    to(hub, releases[0], "1.3.0", keep=(), overwrite=True)
    assert told()
    with pytest.raises(RemoteError, match=r"v1\.0\.0 was withdrawn"):
        to(hub, releases[0], "1.0.0")


def test_main_gets_a_version_that_is_tagged_already(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    to(hub, releases[1], "0.9.0")
    planned = plan_release(read_release(releases[1], "0.9.0"), REPO, config(hub, latest=True))
    assert planned.add
    published = to(hub, releases[1], "0.9.0", latest=True)
    assert published.added == len(planned.add)
    assert shown(repository) == shown(repository, "v0.9.0")
    assert status(REPO, config(hub)).version == "0.9.0"
    # What comes next is made on what is there, and nobody is blamed.
    to(hub, releases[0], "1.1.0")
    assert shown(repository).items() >= listed(releases[0]).items()


def test_a_plan_says_what_the_command_would(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    release = read_release(releases[0], "1.0.0")
    data = next(path for path in listed(releases[0]) if path.startswith("data/"))
    repository.commit("main", {}, [data], "gone")
    with pytest.raises(RemoteError, match="main is not it"):
        plan_release(release, REPO, config(hub))
    before = repository.refs[MAIN]
    assert [file.path for file in plan_release(release, REPO, config(hub, restore=True)).add] == [data]
    assert repository.refs[MAIN] == before
