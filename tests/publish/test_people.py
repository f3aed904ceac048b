"""A repository that people edit: each edit ends as docs/publishing.md says, and nothing of theirs is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from editing import config, edit_card, put, shown, text, to
from faults import REPO, Fault, FaultyHub
from making import change_card, listed, put_file, write_manifest

from coig_p.errors import RemoteError
from coig_p.publish import plan_release, publish, read_release
from coig_p.publish.local_hub import Repository
from coig_p.publish.local_hub.repository import MAIN, HubRefusal
from coig_p.store.store import Store
from coig_p.store.writing import describe_file

# Main is looked at.


def test_what_is_done_to_main_is_seen_and_put_back(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    whole = shown(repository)
    data = next(path for path in whole if path.startswith("data/"))
    deeds: list[Callable[[], Any]] = [
        lambda: repository.commit("main", {}, [data], "deleted"),
        lambda: put(repository, "manifest.json", "{}"),
        lambda: put(repository, data, "not Parquet"),
        lambda: put(repository, "data/math/train-00009-of-00010.parquet", "more of it"),
        lambda: edit_card(repository, "configs:", "nothing:"),
    ]
    for deed in deeds:
        deed()
        put(repository, "LICENSE", "theirs")
        with pytest.raises(RemoteError, match=r"v1\.0\.0 is published, and main is not it: .* --restore"):
            to(hub, releases[0], "1.0.0")
        before = repository.refs[MAIN]
        if "train-00009" in str(repository.find("main").tree.keys()):  # whose it is nobody knows
            with pytest.raises(RemoteError, match=r"train-00009-of-00010\.parquet stands in its way"):
                to(hub, releases[0], "1.0.0", restore=True)
            repository.commit("main", {}, ["data/math/train-00009-of-00010.parquet"], "out of the way")
            continue
        to(hub, releases[0], "1.0.0", restore=True)
        assert repository.find("main").parent == before
        assert shown(repository).items() >= whole.items()
        assert text(repository, "LICENSE") == "theirs"
        assert to(hub, releases[0], "1.0.0").added == 0


def test_a_main_that_was_put_back_to_an_older_release(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    to(hub, releases[1], "1.1.0")
    old = repository.find("v1.0.0").tree
    gone = [path for path in repository.find("main").tree if path not in old]
    repository.commit("main", dict(old), gone, "Revert")
    with pytest.raises(RemoteError, match=r"v1\.1\.0 is published, and main is not it"):
        to(hub, releases[1], "1.1.0")
    to(hub, releases[1], "1.1.0", restore=True)
    assert shown(repository) == shown(repository, "v1.1.0")
    repository.commit("main", dict(old), gone, "Revert again")
    # The next release is made on what is there: the files of the older one are ours to take away.
    with pytest.raises(RemoteError, match="since its last release"):
        to(hub, releases[1], "1.2.0")
    to(hub, releases[1], "1.2.0", overwrite=True)
    assert shown(repository) == shown(repository, "v1.2.0")


def test_nothing_to_restore(hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]) -> None:
    with pytest.raises(RemoteError, match=r"v1\.1\.0 is not published"):
        to(hub, releases[1], "1.1.0", restore=True)
    assert repository.refs[MAIN] == repository.refs["refs/tags/v1.0.0"]


def test_a_commit_between_promotion_and_tag(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    """The tag goes to the release, wherever main is by then; what came after is said, or is their card."""
    hub.arm(Fault("meanwhile", "POST /tag/*", meanwhile=lambda: edit_card(repository, "第一行", "第壹行")))
    assert to(hub, releases[1], "1.1.0").tag == "v1.1.0"
    assert repository.find("main").parent == repository.refs["refs/tags/v1.1.0"]
    assert shown(repository, "v1.1.0").items() >= listed(releases[1]).items()
    hub.arm(None)
    data = next(path for path in listed(releases[0]) if path.startswith("data/"))

    def delete() -> None:
        repository.commit("main", {}, [data], "gone")

    hub.arm(Fault("meanwhile", "POST /tag/*", meanwhile=delete))
    with pytest.raises(RemoteError, match=r"v1\.2\.0 is published, and main is not it: data/"):
        to(hub, releases[0], "1.2.0")
    assert repository.find("main").parent == repository.refs["refs/tags/v1.2.0"]


def test_a_run_that_ended_between_promotion_and_tag_and_people_after_it(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    to(hub, releases[1], "1.1.0")
    commit = repository.refs.pop("refs/tags/v1.1.0")
    put(repository, "LICENSE", "theirs")
    assert to(hub, releases[1], "1.1.0").commit == commit == repository.refs["refs/tags/v1.1.0"]
    assert text(repository, "LICENSE") == "theirs"


# Their files stay.


def test_a_file_of_theirs_is_asked_for_once(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    put(repository, "docs/a b.md", "theirs")
    put(repository, "LICENSE", "theirs")
    with pytest.raises(RemoteError, match=r"holds LICENSE, docs/a b.md, .* --keep LICENSE --keep 'docs/a b.md'"):
        to(hub, releases[1], "1.1.0")
    to(hub, releases[1], "1.1.0", keep=("LICENSE", "docs/a b.md"))
    to(hub, releases[0], "1.2.0")
    assert {text(repository, "LICENSE"), text(repository, "docs/a b.md", "v1.2.0")} == {"theirs"}


def test_a_file_that_somebody_lists_in_the_manifest_is_not_ours(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    put(repository, "theirs.csv", "a,b")
    fields = json.loads(text(repository, "manifest.json"))
    entry = {"path": "theirs.csv", "role": "readme", "bytes": 3, "sha256": shown(repository)["theirs.csv"]}
    put(repository, "manifest.json", json.dumps(fields | {"files": [*fields["files"], entry]}))
    with pytest.raises(RemoteError, match=r"holds theirs\.csv, which no coig-p release put there"):
        to(hub, releases[1], "1.1.0")
    to(hub, releases[1], "1.1.0", keep=("theirs.csv",))
    assert text(repository, "theirs.csv") == "a,b"


def test_a_file_that_somebody_deleted_comes_back_only_when_told(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], tmp_path: Path
) -> None:
    again = tmp_path / "again"
    shutil.copytree(releases[0], again)
    change_card(again, "再版")
    data = next(path for path in listed(again) if path.startswith("data/"))
    repository.commit("main", {}, [data], "it named somebody")
    with pytest.raises(RemoteError, match=rf"{data} was deleted in the repository since .* --overwrite"):
        to(hub, again, "1.1.0")
    to(hub, again, "1.1.0", overwrite=True)
    assert shown(repository).items() >= listed(again).items()


def test_a_repository_that_was_there_before(hub: FaultyHub, releases: tuple[Path, Path]) -> None:
    repository = hub.create(REPO)
    for path in ("README.md", "LICENSE", "notes/plan.md"):
        put(repository, path, f"their {path}")
    with pytest.raises(RemoteError, match=r"holds LICENSE, README\.md, notes/plan\.md"):
        to(hub, releases[0], "1.0.0")
    with pytest.raises(RemoteError, match=r"first release, and to see with --dry-run how: --adopt$"):
        to(hub, releases[0], "1.0.0")
    planned = plan_release(read_release(releases[0], "1.0.0"), REPO, config(hub, adopt=True))
    assert "before-first-release/README.md" in {file.path for file in planned.add}
    to(hub, releases[0], "1.0.0", adopt=True)
    assert text(repository, "before-first-release/README.md") == "their README.md"
    assert text(repository, "LICENSE") == "their LICENSE"
    assert text(repository, "notes/plan.md") == "their notes/plan.md"
    assert shown(repository).items() >= listed(releases[0]).items()
    assert to(hub, releases[0], "1.0.0").added == 0
    to(hub, releases[1], "1.1.0")
    assert text(repository, "notes/plan.md") == "their notes/plan.md"


CLASHES = ["LICENSE/a.txt", "manifest.json/x/y", "README.md/x", "data", "pairs"]


@pytest.mark.parametrize("theirs", CLASHES)
def test_a_file_where_a_folder_goes_or_the_other_way_round(
    hub: FaultyHub, releases: tuple[Path, Path], tmp_path: Path, theirs: str
) -> None:
    folder = tmp_path / "release"
    shutil.copytree(releases[0], folder)
    put_file(folder, "LICENSE", b"ours", "license")
    repository = hub.create(REPO)
    for path in (theirs, f"before-first-release/{theirs.partition('/')[0]}"):
        put(repository, path, f"their {path}")
    then = repository.refs[MAIN]
    for options in ({}, {"keep": (theirs, "before-first-release/" + theirs.partition("/")[0])}, {"overwrite": True}):
        for act in (publish, plan_release):
            with pytest.raises(RemoteError, match=f"{theirs} stands in its way: move it"):
                act(read_release(folder, "1.0.0"), REPO, config(hub, **options))
    assert repository.refs[MAIN] == then
    plan = plan_release(read_release(folder, "1.0.0"), REPO, config(hub, adopt=True))
    assert len(plan.add) == plan.files
    assert plan.delete == (theirs,)
    to(hub, folder, "1.0.0", adopt=True)
    assert text(repository, f"before-first-release-2/{theirs}") == f"their {theirs}"
    assert theirs not in shown(repository)
    assert shown(repository).items() >= listed(folder).items()
    assert to(hub, folder, "1.0.0").added == 0
    to(hub, releases[1], "1.1.0")
    assert text(repository, f"before-first-release-2/{theirs}") == f"their {theirs}"


def test_a_folder_in_the_place_of_a_file_after_a_release(
    hub: FaultyHub, releases: tuple[Path, Path], repository: Repository
) -> None:
    edited = {"README.md/x": repository.objects.regular(b"theirs")}
    repository.commit("main", edited, ["README.md"], "a folder")
    for options in ({}, {"keep": ("README.md/x",), "overwrite": True}, {"adopt": True}):
        with pytest.raises(RemoteError, match=r"README\.md/x stands in its way"):
            to(hub, releases[1], "1.1.0", **options)
    with pytest.raises(RemoteError, match=r"README\.md/x stands in its way"):
        to(hub, releases[0], "1.0.0", restore=True)


def test_what_the_next_release_has_is_not_taken_by_adopting_later(
    hub: FaultyHub, releases: tuple[Path, Path], repository: Repository, tmp_path: Path
) -> None:
    put(repository, "changes.json", "theirs")
    put(repository, "sweep.json", "theirs")
    folder = tmp_path / "release"
    shutil.copytree(releases[1], folder)
    put_file(folder, "changes.json", b"ours", "statistics")
    put_file(folder, "sweep.json", b"ours", "statistics")
    with pytest.raises(RemoteError, match=r"changes\.json, sweep\.json stand in its way: move them"):
        to(hub, folder, "1.1.0", adopt=True)
    assert text(repository, "changes.json") == "theirs"


def test_a_hub_has_no_path_that_is_both_file_and_folder(repository: Repository) -> None:
    with pytest.raises(HubRefusal, match=r"README\.md is a file, and README\.md/x/y would lie in it"):
        put(repository, "README.md/x/y", "theirs")


def test_nothing_is_overwritten_where_old_files_go(hub: FaultyHub, releases: tuple[Path, Path]) -> None:
    repository = hub.create(REPO)
    put(repository, "README.md", "mine")
    put(repository, "before-first-release/README.md", "older")
    to(hub, releases[0], "1.0.0", adopt=True)
    assert text(repository, "before-first-release/README.md") == "older"
    assert text(repository, "before-first-release-2/README.md") == "mine"


def test_a_change_of_the_manifest_by_hand_is_said(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    to(hub, releases[1], "1.1.0")
    assert "by hand" not in caplog.text
    fields = json.loads(text(repository, "manifest.json"))
    put(repository, "manifest.json", json.dumps(fields | {"tool": "somebody"}))
    to(hub, releases[0], "1.2.0")
    assert "manifest.json was changed on main by hand" in caplog.text


# Their card is merged.


def test_an_edit_of_the_card_goes_along(hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]) -> None:
    edit_card(repository, "第一行", "第一行，更正过")
    assert to(hub, releases[0], "1.0.0").added == 0  # what programs read is as it was
    assert to(hub, releases[1], "1.1.0").tag == "v1.1.0"
    card = text(repository, "README.md", "v1.1.0")
    assert "第一行，更正过" in card
    assert "新的一行" in card
    manifest = json.loads(text(repository, "manifest.json"))
    sha256 = next(file["sha256"] for file in manifest["files"] if file["path"] == "README.md")
    assert sha256 == shown(repository)["README.md"]
    assert manifest["release"]["merged"] == {"README.md": (releases[1] / "README.md").read_text("utf-8")}
    # The same release is known again, also where the run ended before the tag.
    assert to(hub, releases[1], "1.1.0").added == 0
    repository.refs.pop("refs/tags/v1.1.0")
    assert to(hub, releases[1], "1.1.0").tag == "v1.1.0"
    assert repository.refs[MAIN] == repository.refs["refs/tags/v1.1.0"]


def test_two_edits_of_one_line_are_shown(hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]) -> None:
    before = repository.refs[MAIN]
    edit_card(repository, "第三行", "第三行，他们的")
    edited = repository.refs[MAIN]
    with pytest.raises(RemoteError, match=r"(?s)lines that this one changes, too.*-第三行\n\+第三行，他们的"):
        to(hub, releases[1], "1.1.0")
    assert repository.refs[MAIN] == edited != before
    to(hub, releases[1], "1.1.0", overwrite=True)
    assert shown(repository).items() >= listed(releases[1]).items()


def test_an_edit_of_the_card_stays_for_good(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    edit_card(repository, "第一行", "第一行，更正过")
    for version, folder in (("1.1.0", releases[1]), ("1.2.0", releases[0]), ("1.3.0", releases[1])):
        to(hub, folder, version)
        assert "第一行，更正过" in text(repository, "README.md", f"v{version}")
        assert ("新的一行" in text(repository, "README.md")) == (folder == releases[1])
        assert to(hub, folder, version).added == 0


def test_a_broken_card_is_said_before_anything_is_staged(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path]
) -> None:
    put(repository, "README.md", text(repository, "README.md").replace("configs:", "configs: [broken\n : :"))
    with pytest.raises(RemoteError, match="cannot be read any more"):
        to(hub, releases[1], "1.1.0")
    assert "refs/heads/release/1.1.0" not in repository.refs


@pytest.fixture(scope="module")
def bilingual(tmp_path_factory: pytest.TempPathFactory, releases: tuple[Path, Path]) -> list[Path]:
    """The two with a Chinese card, of which the third line of text differs."""
    made = []
    for release, line in zip(releases, ("三", "新的三"), strict=True):
        folder = tmp_path_factory.mktemp("bilingual") / "release"
        shutil.copytree(release, folder)
        (folder / "README.zh.md").write_text(f"# 标题\n\n一\n\n二\n\n{line}\n", "utf-8")
        manifest = Store.open(folder).manifest
        files = (*manifest.files, describe_file(folder, "README.zh.md", "readme"))
        write_manifest(folder, replace(manifest, files=files))
        made.append(folder)
    return made


def test_an_edit_of_the_chinese_card_goes_along(hub: FaultyHub, bilingual: list[Path]) -> None:
    to(hub, bilingual[0], "1.0.0")
    repository = hub.repositories[REPO]
    put(repository, "README.zh.md", text(repository, "README.zh.md").replace("一\n", "一，更正过\n"))
    assert to(hub, bilingual[0], "1.0.0").added == 0
    for version, folder in (("1.1.0", bilingual[1]), ("1.2.0", bilingual[0])):
        to(hub, folder, version)
        card = text(repository, "README.zh.md", f"v{version}")
        assert "一，更正过" in card
        assert ("新的三" in card) == (folder == bilingual[1])
        assert to(hub, folder, version).added == 0


def test_two_edits_of_one_line_of_the_chinese_card_are_shown(hub: FaultyHub, bilingual: list[Path]) -> None:
    to(hub, bilingual[0], "1.0.0")
    repository = hub.repositories[REPO]
    put(repository, "README.zh.md", text(repository, "README.zh.md").replace("三", "三，他们的"))
    with pytest.raises(RemoteError, match=r"(?s)README\.zh\.md was changed.*lines that this one changes, too"):
        to(hub, bilingual[1], "1.1.0")
    to(hub, bilingual[1], "1.1.0", overwrite=True)
    assert shown(repository).items() >= listed(bilingual[1]).items()


def test_other_ends_of_lines_are_no_edit(hub: FaultyHub, bilingual: list[Path]) -> None:
    to(hub, bilingual[0], "1.0.0")
    repository = hub.repositories[REPO]
    for name in ("README.md", "README.zh.md"):
        put(repository, name, text(repository, name).replace("\n", "\r\n"))
    to(hub, bilingual[1], "1.1.0")
    assert shown(repository).items() >= listed(bilingual[1]).items()


# Proposals.


def test_a_reviewers_edit_stays(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], tmp_path: Path
) -> None:
    proposed = to(hub, releases[1], "1.1.0", pr=True)
    assert proposed.pull_request == "1"
    edit_card(repository, "第二行", "第二行，审过", "refs/pr/1")
    assert to(hub, releases[1], "1.1.0", pr=True).pull_request == "1"
    assert len(repository.pulls) == 1
    assert "审过" in text(repository, "README.md", "refs/pr/1")
    with pytest.raises(RemoteError, match=r"pull request 1 proposes 1\.1\.0, too, and reviewers changed README\.md"):
        to(hub, releases[1], "1.1.0")
    renewed = tmp_path / "renewed"
    shutil.copytree(releases[1], renewed)
    change_card(renewed, "最后一行")
    assert to(hub, renewed, "1.1.0", pr=True).pull_request == "1"
    card = text(repository, "README.md", "refs/pr/1")
    assert "审过" in card
    assert "最后一行" in card
    repository.merge(1)
    assert to(hub, renewed, "1.1.0").tag == "v1.1.0"
    assert "审过" in text(repository, "README.md")


def test_a_pull_request_is_known_by_its_ref(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    stock = HfApi.list_repo_refs

    def renamed(self: HfApi, *args: Any, **options: Any) -> Any:
        found = stock(self, *args, **options)
        for pull in found.pull_requests or []:
            pull.name = f"somebody's {pull.name}"
        return found

    monkeypatch.setattr(HfApi, "list_repo_refs", renamed)
    assert to(hub, releases[1], "1.1.0", pr=True).pull_request == "1"
    assert to(hub, releases[1], "1.1.0", pr=True).pull_request == "1"
    assert len(repository.pulls) == 1


@pytest.mark.parametrize("version", ["0.9.0", "1.1.0-rc.1"])
def test_a_pull_request_is_for_main(
    hub: FaultyHub, repository: Repository, releases: tuple[Path, Path], version: str
) -> None:
    with pytest.raises(RemoteError, match="main is not for"):
        to(hub, releases[1], version, pr=True)
    assert not repository.pulls
