"""Notices of what was withdrawn: always as main's manifest says, and no edit of a person's is lost in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faults import REPO, FaultyHub
from hypothesis import given
from hypothesis import strategies as st
from make import make_rows, make_store
from making import count_footers, make_release
from trials import TOKEN

from coig_p.errors import RemoteError
from coig_p.publish import HubConfig, Published, publish, read_release, status, yank
from coig_p.publish.local_hub import Repository
from coig_p.publish.local_hub.repository import MAIN
from coig_p.publish.notices import with_notices, without_notices, yanked_in
from coig_p.store.manifest import Manifest

ROWS = make_rows({"math": 8})
YANKED = st.dictionaries(st.sampled_from(["1.0.0", "1.0.1-beta.2", "10.0.0"]), st.text(min_size=1).filter(str.strip))


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("releases")
    old = make_release(make_store(folder / "old-store", ROWS), folder / "old", "第一行\n\n第二行")
    new = make_release(make_store(folder / "new-store", ROWS[1:]), folder / "new", "第一行\n\n第二行\n\n新的一行")
    return old, new


@pytest.fixture
def repository(hub: FaultyHub, releases: tuple[Path, Path]) -> Repository:
    """With 1.0.0 in it, which is withdrawn."""
    to(hub, releases[0], "1.0.0")
    yank(REPO, "1.0.0", "泄漏", config(hub))
    return hub.repositories[REPO]


def config(hub: FaultyHub, **options: bool) -> HubConfig:
    return HubConfig(token=TOKEN, endpoint=hub.endpoint, **options)  # type: ignore[arg-type]


def to(hub: FaultyHub, folder: Path, version: str, **options: bool) -> Published:
    return publish(read_release(folder, version), REPO, config(hub, **options), load=count_footers)


def card(repository: Repository) -> str:
    return repository.objects.path(repository.find("main").tree["README.md"].sha256).read_bytes().decode()


def put(repository: Repository, path: str, content: str) -> None:
    repository.commit("main", {path: repository.objects.regular(content.encode())}, [], "theirs")


@given(st.text(), st.sampled_from(["", "---\na: 1\n---\n", "---\r\na: 1\r\n---\r\n"]), YANKED)
def test_notices_come_out_as_they_went_in(body: str, head: str, yanked: dict[str, str]) -> None:
    """Whatever the card and the reasons say: even a reason that looks like the end of a notice."""
    text = head + body
    if without_notices(text, {}) == text:
        yanked = {version: " ".join(why.split()) for version, why in yanked.items()}
        assert without_notices(with_notices(text, yanked), yanked) == text


def test_text_between_the_marks_stays(hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]) -> None:
    put(repository, "README.md", card(repository).replace("<!-- end of", "改用 1.1.0，他们写的\n<!-- end of"))
    yank(REPO, "1.0.0", "另一个原因", config(hub))
    for folder, version in ((releases[1], "1.1.0"), (releases[0], "1.2.0")):
        assert card(repository).count("改用 1.1.0，他们写的") == 1
        assert card(repository).count("<!-- withdrawn 1.0.0 -->") == card(repository).count("另一个原因") == 1
        assert "泄漏" not in card(repository)
        to(hub, folder, version)
    assert to(hub, releases[0], "1.2.0").added == 0


def test_a_reason_that_a_person_wrote_anew_stays(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    put(repository, "README.md", card(repository).replace("泄漏", "泄漏，见讨论 3"))
    to(hub, releases[1], "1.1.0")
    assert "泄漏，见讨论 3" in card(repository)
    assert card(repository).count("<!-- withdrawn 1.0.0 -->") == 1


def test_a_card_that_was_saved_with_other_ends_of_lines_has_one_notice(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    for mark in ("", "\ufeff"):
        put(repository, "README.md", mark + card(repository).replace("\n", "\r\n"))
        yank(REPO, "1.0.0", f"另一个原因{len(mark)}", config(hub))
        assert card(repository).count("<!-- withdrawn 1.0.0 -->") == 1
        to(hub, releases[1 - len(mark)], f"1.{len(mark) + 1}.0")
        assert card(repository).count("<!-- withdrawn 1.0.0 -->") == 1
        assert "\r" not in card(repository)
        assert card(repository).startswith("---\n")


@pytest.mark.parametrize("deed", ["deleted", "damaged", "reverted", "moved"])
def test_a_withdrawal_is_known_whatever_became_of_the_manifest(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], deed: str
) -> None:
    to(hub, releases[1], "1.1.0")
    yank(REPO, "1.1.0", "也泄漏", config(hub))
    told = {"1.0.0": "泄漏", "1.1.0": "也泄漏"}
    if deed == "deleted":
        repository.commit("main", {}, ["manifest.json"], "theirs")
    elif deed == "damaged":
        put(repository, "manifest.json", "{}")
    else:
        old = repository.find("v1.0.0")
        if deed == "moved":  # and what came after is in no history any more; the newest tag says what it knew
            repository.refs[MAIN] = old.oid
            told = {"1.0.0": "泄漏"}
        else:
            repository.commit("main", old.tree, [], "Revert")
    assert status(REPO, config(hub)).withdrawn == told
    with pytest.raises(RemoteError, match=r"v1\.0\.0 was withdrawn: 泄漏"):
        to(hub, releases[0], "1.0.0", restore=True)
    to(hub, releases[1], "1.2.0", overwrite=True)
    assert status(REPO, config(hub)).withdrawn == told
    for why in told.values():
        assert card(repository).count(f"** {why}\n") == 1


def test_a_notice_that_was_deleted_from_the_card_comes_back(hub: FaultyHub, repository: Repository) -> None:
    whole = card(repository)
    put(repository, "README.md", without_notices(whole, {"1.0.0": "泄漏"}))
    assert yank(REPO, "1.0.0", "泄漏", config(hub)) == repository.refs[MAIN]
    assert card(repository) == whole
    head = repository.refs[MAIN]
    assert yank(REPO, "1.0.0", "泄漏", config(hub)) == head == repository.refs[MAIN]


def test_only_versions_can_have_been_withdrawn(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    """A manifest that somebody wrote: nothing of it lives in the card, and no line of a status is made up."""
    path = repository.objects.path(repository.find("main").tree["manifest.json"].sha256)
    fields = json.loads(path.read_bytes())
    fields["release"]["yanked"] |= {"--> <img src=x onerror=alert(1)>": "x", "9.9.9": "a\nmain      1.0.0\n# b"}
    put(repository, "manifest.json", json.dumps(fields))
    found = yanked_in(Manifest.from_json(json.dumps(fields), "it"))
    assert found == {"1.0.0": "泄漏", "9.9.9": "a main 1.0.0 # b"}
    to(hub, releases[1], "1.1.0")
    assert "<img" not in card(repository)
    assert "\n# b" not in card(repository)
