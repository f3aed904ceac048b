"""Publishing to a Hub: what it does, what it refuses, what it says. The clients are the real ones."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import huggingface_hub
import huggingface_hub.constants
import pytest
from commands import run_code
from faults import REPO
from hub_calls import hub_environment
from make import make_rows, make_store
from making import change_card, count_footers, listed, make_release, write_manifest
from oracle import oracle_pairs
from trials import ACCOUNTS, TOKEN

from coig_p.errors import DataError, RemoteError, StoreError, UsageError
from coig_p.publish.client import HubConfig, check_token, refuse_mirror
from coig_p.publish.hub import plan_release, publish, status
from coig_p.publish.local_hub import Account, LocalHub
from coig_p.publish.plan import Release, read_release
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

ROWS = make_rows({"math": 14, "chat": 6})
READER = "hf_" + "R3ader" * 5


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    return make_release(make_store(folder / "store", ROWS), folder / "release")


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release whose math differs; chat does not."""
    rows = [row for row in ROWS if row["query_id"] != "math-0013"]
    folder = tmp_path_factory.mktemp("later")
    return make_release(make_store(folder / "store", rows), folder / "release")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    accounts = ACCOUNTS | {READER: Account("reader", ("org",), role="read")}
    with LocalHub(tmp_path / "hub", accounts).serving() as hub:
        yield hub


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading takes seconds; tests of something else count rows instead."""
    monkeypatch.setattr("coig_p.publish.verify.load_in_process", count_footers)


def config(hub: LocalHub, token: str = TOKEN, **options: Any) -> HubConfig:
    return HubConfig(token=token, endpoint=hub.endpoint, **options)


def read(folder: Path, version: str = "1.0.0") -> Release:
    return read_release(folder, version)


def writes(hub: LocalHub) -> list[str]:
    return [f"{at.method} {at.path}" for at in hub.requests if at.method not in ("GET", "HEAD")]


def shown(hub: LocalHub, revision: str = "main") -> dict[str, str]:
    return {path: blob.sha256 for path, blob in hub.repositories[REPO].find(revision).tree.items()}


LOADING = """
import json, sys, datasets
for options in json.loads(sys.argv[1]):
    if options.get("path") == "coig-p":
        import coig_p
    print(json.dumps(list(datasets.load_dataset(split="train", **options))))
"""


def load(home: Path, hub: LocalHub, *calls: dict[str, Any], **environment: str) -> list[Any]:
    """The rows of each load_dataset call, made in a process of its own: the Hub is read on import."""
    done = run_code(LOADING, json.dumps(calls), **hub_environment(hub.endpoint, home) | environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


def math(threshold: float) -> list[dict[str, Any]]:
    return oracle_pairs([row for row in ROWS if row["domain"] == "math"], threshold=threshold)


def test_what_was_published_loads_row_for_row(hub: LocalHub, release: Path, tmp_path: Path) -> None:
    bars: dict[str, list[int]] = {}

    def bar(what: str, total: int, unit: str = "B") -> Any:
        bars[what] = [total]
        return nullcontext(bars[what].append)

    published = publish(read(release), REPO, config(hub, private=True), bar)
    assert published.tag == "v1.0.0"
    assert published.rows["math"] == {"train": len(math(2))}
    assert all(sum(moved) == total for total, *moved in bars.values()), bars
    assert bars["Verifying"][0] == read(release).bytes
    assert hub.repositories[REPO].private
    pairs = {"path": "coig-p", "name": "math", "threshold": 3}
    stock = {"path": REPO, "name": "math"}
    found = load(
        tmp_path,
        hub,
        stock,
        stock | {"streaming": True},
        {"path": REPO, "name": "math-raw"},
        {"path": REPO},
        pairs | {"data_dir": REPO},
        pairs | {"data_dir": REPO, "streaming": True},
        pairs | {"data_dir": f"hf://datasets/{REPO}@v1.0.0"},
        HF_TOKEN=TOKEN,
    )
    raw = [row for row in ROWS if row["domain"] == "math"]
    every = [
        pair
        for domain in ("chat", "math")
        for pair in oracle_pairs([r for r in ROWS if r["domain"] == domain], threshold=2)
    ]
    assert found == [math(2), math(2), raw, every, math(3), math(3), math(3)]
    # The Hub is asked no more: what was loaded once is in the cache.
    before = len(hub.requests)
    assert load(tmp_path, hub, stock, pairs | {"data_dir": REPO}, HF_HUB_OFFLINE="1") == [math(2), math(3)]
    assert len(hub.requests) == before


@pytest.mark.usefixtures("counted")
def test_publishing_again_changes_nothing(hub: LocalHub, release: Path) -> None:
    first = publish(read(release), REPO, config(hub))
    done = writes(hub)
    again = publish(read(release), REPO, config(hub))
    assert writes(hub) == done
    assert (again.commit, again.added, again.deleted) == (first.commit, 0, 0)


@pytest.mark.usefixtures("counted")
def test_a_version_never_changes(hub: LocalHub, release: Path, later: Path) -> None:
    publish(read(release), REPO, config(hub))
    before = dict(hub.repositories[REPO].refs)
    with pytest.raises(RemoteError, match=r"v1.0.0 is there with other content .* new number"):
        publish(read(later), REPO, config(hub))
    assert hub.repositories[REPO].refs == before


@pytest.mark.usefixtures("counted")
def test_a_second_release_sends_only_what_changed(hub: LocalHub, release: Path, later: Path) -> None:
    publish(read(release), REPO, config(hub))
    hub.requests.clear()
    planned = plan_release(read(later, "1.1.0"), REPO, config(hub))
    assert writes(hub) == []
    old, new = listed(release), listed(later)
    changed = {path for path, sha256 in new.items() if old.get(path) != sha256} | {"manifest.json"}
    assert {file.path for file in planned.add} == changed
    assert not any("chat" in path for path in changed)
    assert set(planned.delete) == old.keys() - new.keys()
    assert planned.to_dict()["delete"] == list(planned.delete)
    published = publish(read(later, "1.1.0"), REPO, config(hub))
    assert (published.added, published.deleted) == (len(changed), len(old.keys() - new.keys()))
    sent = sorted(at.path.split("/")[4].partition("?")[0] for at in hub.requests if at.method == "PUT")
    by_lfs = new | {"manifest.json": sha256_of(later / "manifest.json")}
    assert sent == sorted(sha256 for path, sha256 in by_lfs.items() if path in changed and path != "README.md")
    assert shown(hub).items() >= new.items()
    assert shown(hub, "v1.0.0").items() >= old.items()


@pytest.mark.usefixtures("counted")
def test_files_in_parts(tmp_path: Path, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with LocalHub(tmp_path, ACCOUNTS, part_size=1000).serving() as hub:
        publish(read(release), REPO, config(hub))
        assert any(at.path.endswith("/complete?key=signed") for at in hub.requests)
        assert shown(hub).items() >= listed(release).items()


@pytest.mark.usefixtures("counted")
def test_what_is_not_ours_is_named_and_left(hub: LocalHub, release: Path, later: Path, tmp_path: Path) -> None:
    repository = hub.create(REPO)
    repository.commit("main", {"theirs.csv": repository.objects.regular(b"a,b")}, [], "theirs")
    before = dict(repository.refs)
    with pytest.raises(RemoteError, match=r"holds theirs.csv, which no coig-p release put there"):
        publish(read(release), REPO, config(hub, overwrite=True))
    assert repository.refs == before
    repository.commit("main", {}, ["theirs.csv"], "out of the way")
    repository.commit("main", {"card.toml": repository.objects.regular(b"")}, [], "may stay")
    publish(read(release), REPO, config(hub))
    # The card is edited on the Hub's page; a release must not undo that unasked.
    repository.commit("main", {"README.md": repository.objects.regular(b"corrected")}, [], "a correction")
    before = dict(repository.refs)
    edited = tmp_path / "edited"
    shutil.copytree(later, edited)
    change_card(edited, "第二版")
    second = read(edited, "1.1.0")
    with pytest.raises(RemoteError, match=r"README.md was changed in the repository since .* --overwrite"):
        publish(second, REPO, config(hub))
    assert repository.refs == before
    publish(second, REPO, config(hub, overwrite=True))
    assert "card.toml" in shown(hub)


@pytest.mark.usefixtures("counted")
def test_a_manifest_that_is_not_ours_gives_no_right_to_delete(hub: LocalHub, release: Path) -> None:
    repository = hub.create(REPO)
    theirs = b'{"files": [{"path": "theirs.csv"}]}'
    added = {"manifest.json": repository.objects.regular(theirs), "theirs.csv": repository.objects.regular(b"a")}
    repository.commit("main", added, [], "theirs")
    with pytest.raises(RemoteError, match=r"holds manifest.json, theirs.csv"):
        publish(read(release), REPO, config(hub))


@pytest.mark.usefixtures("counted")
def test_a_stale_branch_is_taken_up_and_a_strange_one_left(hub: LocalHub, release: Path, later: Path) -> None:
    publish(read(release), REPO, config(hub))
    repository = hub.repositories[REPO]
    repository.add_ref("refs/heads/release/1.1.0", "main")  # as a run leaves it that was killed at once
    publish(read(later, "1.1.0"), REPO, config(hub))
    assert "refs/heads/release/1.1.0" not in repository.refs
    repository.add_ref("refs/heads/release/1.2.0", "v1.0.0")
    repository.commit("release/1.2.0", {"theirs.csv": repository.objects.regular(b"a")}, [], "theirs")
    before = dict(repository.refs)
    with pytest.raises(RemoteError, match=r"holds theirs\.csv"):
        publish(read(release, "1.2.0"), REPO, config(hub))
    assert repository.refs == before


def test_a_card_with_wrong_counts_never_reaches_main(hub: LocalHub, release: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(release, wrong)
    card = (wrong / "README.md").read_text("utf-8")
    info = "dataset_info:\n- config_name: chat\n  splits:\n  - name: train\n    num_bytes: 1\n    num_examples: 7\n"
    (wrong / "README.md").write_text(card.replace("language:", info + "language:", 1), "utf-8")
    change_card(wrong, "")
    with pytest.raises(DataError, match="config chat: the card's dataset_info counts other rows"):
        publish(read(wrong), REPO, config(hub))
    assert list(shown(hub)) == [".gitattributes"]
    assert not any(ref.startswith("refs/tags") for ref in hub.repositories[REPO].refs)


@pytest.mark.usefixtures("counted")
def test_a_pull_request_then_the_tag(hub: LocalHub, release: Path) -> None:
    repository = hub.create(REPO)
    before = dict(repository.refs)
    proposed = publish(read(release), REPO, config(hub, pr=True))
    assert (proposed.pull_request, proposed.tag) == ("1", None)
    assert proposed.rows["math"] == {"train": len(math(2))}
    assert {ref: at for ref, at in repository.refs.items() if ref != "refs/pr/1"} == before
    assert publish(read(release), REPO, config(hub, pr=True)).pull_request == "1"
    assert len(repository.pulls) == 1
    repository.merge(1)
    assert publish(read(release), REPO, config(hub)).tag == "v1.0.0"
    assert shown(hub, "v1.0.0").items() >= listed(release).items()


@pytest.mark.usefixtures("counted")
def test_status_tells_what_was_begun(hub: LocalHub, release: Path) -> None:
    assert not status(REPO, config(hub)).exists
    publish(read(release), REPO, config(hub))
    repository = hub.repositories[REPO]
    found = status(REPO, config(hub))
    assert (found.version, found.unfinished, found.domains) == ("1.0.0", (), ("math", "chat"))
    assert found.files == len(listed(release)) + 2
    repository.add_ref("refs/heads/release/1.1.0", "main")
    assert status(REPO, config(hub)).to_dict()["unfinished"] == ["1.1.0"]


@pytest.mark.usefixtures("counted")
def test_who_may_not_is_told_what_to_do(hub: LocalHub, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RemoteError, match=r"no permission .* write access") as refused:
        publish(read(release), REPO, config(hub, READER))
    assert refused.value.exit_code == 3
    with pytest.raises(RemoteError, match=r"token is not valid .* hf auth login"):
        publish(read(release), REPO, config(hub, "hf_unknown"))
    assert hub.repositories == {}
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(RemoteError, match="not signed in"):
        publish(read(release), REPO, HubConfig(endpoint=hub.endpoint))
    hub.create(REPO)
    with pytest.raises(RemoteError, match="it is public, and --private"):
        publish(read(release), REPO, config(hub, private=True))


def test_a_hub_out_of_reach(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coig_p.publish.client.WAITS", ())
    nowhere = HubConfig(token=TOKEN, endpoint="http://127.0.0.1:9", timeout=2)
    with pytest.raises(RemoteError, match=r"HF_HUB_OFFLINE is set\. Unset it"):
        publish(read(release), REPO, nowhere)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(RemoteError, match=r"no answer .* run the same command again"):
        publish(read(release), REPO, nowhere)


@pytest.mark.parametrize("endpoint", ["https://hf-mirror.com", "https://www.HF-mirror.com/", "http://hf-cdn.sufy.com"])
def test_no_token_goes_to_a_mirror(endpoint: str, release: Path) -> None:
    with pytest.raises(UsageError, match="mirror for downloads"):
        publish(read(release), REPO, HubConfig(token=TOKEN, endpoint=endpoint))


@pytest.mark.parametrize("endpoint", ["https://hf-mirror.com.", "https://www.hf-mirror.com./x"])
def test_a_dot_at_the_end_makes_it_no_other_host(endpoint: str) -> None:
    with pytest.raises(UsageError, match="mirror for downloads"):
        refuse_mirror(endpoint)


def test_a_password_in_the_address_is_refused_and_not_repeated(release: Path) -> None:
    for endpoint in ("https://me:s3cret@hub.example.org", "https://s3cret@hub.example.org"):
        with pytest.raises(UsageError, match=r"\*\*\*@hub\.example\.org") as refused:
            publish(read(release), REPO, HubConfig(token=TOKEN, endpoint=endpoint))
        assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    "endpoint",
    ["http://[::1", "https://hub.example.org:port", "https://hub.example.org/?key=s3cret", "https://h/#s3cret"],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(endpoint: str) -> None:
    with pytest.raises(UsageError, match="write it as https://host") as refused:
        refuse_mirror(endpoint)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("token", ["hf_a b", "hf_a\nX-Header: b", "hf_é", "hf_\x1b[31m"])
def test_a_token_that_cannot_be_one_is_not_sent(token: str) -> None:
    with pytest.raises(UsageError, match="copy it again") as refused:
        check_token(token)
    assert token not in str(refused.value)


def test_an_empty_token_is_no_token(hub: LocalHub, release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    assert check_token(f" {TOKEN}\n") == TOKEN
    with pytest.raises(RemoteError, match="not signed in"):
        publish(read(release), REPO, HubConfig(token="", endpoint=hub.endpoint))
    assert hub.requests == []


def test_a_hub_of_ones_own_is_no_mirror(caplog: pytest.LogCaptureFixture) -> None:
    refuse_mirror("https://hub.example.org")
    assert caplog.text == ""
    refuse_mirror("http://hub.example.org")
    assert "not encrypted" in caplog.text


def test_a_release_folder_must_be_whole(release: Path, tmp_path: Path) -> None:
    for version in ("1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0/x"):
        with pytest.raises(UsageError, match="three numbers"):
            read_release(release, version)
    copy = tmp_path / "copy"
    shutil.copytree(release, copy)
    (copy / "notes.txt").write_text("forgotten", "utf-8")
    with pytest.raises(StoreError, match=r"notes.txt: not listed"):
        read_release(copy, "1.0.0")
    (copy / "notes.txt").unlink()
    card = (copy / "README.md").read_bytes()
    (copy / "README.md").write_bytes(card[:-1] + b"!")
    with pytest.raises(StoreError, match=r"README.md: sha256 .* Nothing was published"):
        read_release(copy, "1.0.0")
    (copy / "README.md").write_bytes(card)
    write_manifest(copy, Store.open(copy).manifest)
    assert {file.path for file in read_release(copy, "1.0.0").files} == {*listed(copy), "manifest.json"}
