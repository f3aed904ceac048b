"""Stores in a repository: by id, pinned, private, offline. The clients are the real ones."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import huggingface_hub.constants
import pytest
from commands import run_each
from datasets import load_dataset
from hub_calls import call, hub_environment, math
from huggingface_hub.errors import LocalEntryNotFoundError
from make import make_store
from rewarding import with_given
from serving import head, serve

from coig_p.errors import RemoteError
from coig_p.stats.diff import changed_shards
from coig_p.store.locate import is_offline, locate
from coig_p.store.store import Store


def test_a_repository_is_shuffled_cut_and_split_as_a_directory_is(store: Path, tmp_path: Path) -> None:
    options = {"shuffle_seed": 1, "world_size": 2, "test_size": 0.3}
    local = [*load_dataset("coig-p", "math", data_dir=str(store), split="train", streaming=True, **options)]
    with serve(store) as hub:
        calls = [{"data_dir": "org/name", "streaming": streaming, **options} for streaming in (True, False)]
        assert call(tmp_path, hub.endpoint, *calls) == [local] * 2


def test_every_way_of_naming_a_repository(store: Path, rows: Any, tmp_path: Path) -> None:
    with serve(store) as hub:
        found = call(
            tmp_path,
            hub.endpoint,
            {"data_dir": "org/name", "threshold": 3},
            {"data_dir": "hf://datasets/org/name", "threshold": 3},
            {"data_dir": "hf://datasets/org/name@v1.0.0", "threshold": 3, "streaming": True},
            {"data_dir": "org/name@v1.0.0", "threshold": 3},
            {"data_dir": f"hf://datasets/org/name@{head(hub)}", "threshold": 3, "streaming": True},
            {"data_dir": "org/name", "revision": "v1.0.0", "package": True, "threshold": 3},
        )
        assert found == [math(rows, 3)] * 6
        assert not any("chat" in request.path for request in hub.requests), "another domain was downloaded"
    # The server is gone: another threshold comes from the files in the hub cache.
    cached = {"data_dir": "org/name", "threshold": 2}
    assert (
        call(tmp_path, hub.endpoint, cached, cached | {"streaming": True}, offline="HF_HUB_OFFLINE")
        == [math(rows, 2)] * 2
    )


def test_a_private_repository_needs_its_token(store: Path, rows: Any, tmp_path: Path) -> None:
    token = "hf_" + "x" * 30
    with serve(store, token=token) as hub:
        refused, *allowed = call(
            tmp_path,
            hub.endpoint,
            {"data_dir": "org/name"},
            {"data_dir": "org/name", "token": token},
            {"data_dir": "org/name", "token": token, "streaming": True},
        )
    assert refused.startswith("3 ")
    assert "pass token=" in refused
    assert allowed == [math(rows, 2)] * 2


def test_of_rewards_those_are_fetched_that_pairs_must_agree_with(store: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(store, tmp_path / "store"))
    with_given(path, "crm", lambda query_id, model, sample, text: len(text) % 23)
    with_given(path, "other", lambda query_id, model, sample, text: -len(text) % 23)
    local = {"data_dir": str(path), "split": "train", "streaming": True}
    wanted = [list(load_dataset("coig-p", "math", agree_with=name, **local)) for name in ("crm", "other")]
    plain = list(load_dataset("coig-p", "math", **local))
    assert 0 < len(wanted[0]) < len(plain) > len(wanted[1]) > 0
    for name, options in (("streamed", {"streaming": True}), ("whole", {}), ("shuffled", {"shuffle_seed": 1})):
        with serve(path) as hub:
            asked = {"data_dir": "org/name", "agree_with": "crm", **options}
            (found,) = call(tmp_path / name, hub.endpoint, asked)
            assert sorted(map(str, found)) == sorted(map(str, wanted[0]))
            fetched = [request.path for request in hub.requests if "/rewards/" in request.path]
            assert fetched
            assert all("/rewards/crm/math/" in one for one in fetched), "other rewards, or another domain's"
            assert call(tmp_path / name, hub.endpoint, {"data_dir": "org/name", "streaming": True}) == [plain]
            assert len([one for one in hub.requests if "/rewards/" in one.path]) == len(fetched), "asked for by nobody"
    offline = call(
        tmp_path / "whole", hub.endpoint, {"data_dir": "org/name", "agree_with": "crm"}, offline="HF_HUB_OFFLINE"
    )
    assert offline == [wanted[0]]
    (refused,) = call(
        tmp_path / "whole", hub.endpoint, {"data_dir": "org/name", "agree_with": "other"}, offline="HF_HUB_OFFLINE"
    )
    assert refused.startswith("3 ")
    assert "rewards/other/math/" in refused


def test_what_is_not_there_is_said(tmp_path: Path, store: Path) -> None:
    with serve(store) as hub:
        other, revision = call(tmp_path, hub.endpoint, {"data_dir": "org/other"}, {"data_dir": "org/name@v9"})
    assert other.startswith("3 ")
    assert "no such dataset on the Hub" in other
    assert revision.startswith("3 org/name@v9: the repository has no such revision")
    (tmp_path / "plain").mkdir()
    with serve(tmp_path / "plain") as hub:
        (plain,) = call(tmp_path, hub.endpoint, {"data_dir": "org/name"})
    assert plain.startswith("1 ")
    assert "not a whole coig-p store" in plain
    (offline,) = call(tmp_path / "fresh", hub.endpoint, {"data_dir": "org/name"}, offline="HF_HUB_OFFLINE")
    assert offline.startswith("3 ")
    assert "HF_HUB_OFFLINE" in offline


def test_files_of_a_repository_are_imported(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    (tmp_path / "repo" / "pairs.jsonl").write_text('{"prompt": "问", "chosen": "好", "rejected": "差"}\n', "utf-8")
    with serve(tmp_path / "repo") as hub:
        rest = ["--out", tmp_path / "store", "--domain", "chat"]
        results = run_each(
            *(
                ["import", f"hf://datasets/org/name{name}", *rest]
                for name in ("@main/pairs.jsonl", "/absent.jsonl", "")
            ),
            **hub_environment(hub.endpoint, tmp_path),
        )
    assert [done.returncode for done in results] == [0, 1, 2], [done.stderr for done in results]
    assert Store.open(tmp_path / "store").manifest.data_files()[0].comparisons == 1


def test_a_hub_out_of_reach_is_a_remote_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("connection error") from ConnectionError()

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_answer)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, False, raising=False)
    with pytest.raises(RemoteError, match="org/name: no such directory here, and the Hub could not be reached"):
        locate("org/name")
    with pytest.raises(RemoteError, match="org/name: the Hub could not be reached"):
        locate("hf://datasets/org/name")


def test_a_name_beside_what_is_there_is_first_said_to_be_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, said in (("sub/A", "sub/A: no such directory here, though sub is one"), ("other/A", "")):
        caplog.clear()
        with pytest.raises(RemoteError, match=name):
            locate(name)
        assert said in caplog.text
        assert bool(said) == bool(caplog.text)


def test_a_repository_is_a_benchmark_to_compare_with(store: Path, rows: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    (folder / "test.jsonl").write_text(json.dumps({"prompt": rows[0]["query"]}) + "\n", encoding="utf-8")
    (folder / "README.md").write_text("# a card is no benchmark\n", encoding="utf-8")
    with serve(folder, repo="org/bench") as hub:
        (done,) = run_each(
            ["contamination", store, "--against", "org/bench"], **hub_environment(hub.endpoint, tmp_path / "home")
        )
    assert done.returncode == 1, done.stderr
    assert f"{rows[0]['domain']} {rows[0]['query_id']} query: 100% of test.jsonl:1" in done.stdout


OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")


@pytest.mark.parametrize("variable", OFFLINE)
def test_offline_the_cache_is_read_and_nobody_is_asked(variable: str, store: Path, rows: Any, tmp_path: Path) -> None:
    ways: list[dict[str, Any]] = [
        {},
        {"streaming": True, "threshold": 3},
        {"streaming": True, "raw": True},
        {"streaming": True, "shuffle_seed": 1, "test_size": 0.3},
        {"streaming": True, "package": True},
        {"data_dir": "org/name@v1.0.0", "streaming": True},
    ]
    calls = [{"data_dir": "org/name"} | way for way in ways]
    with serve(store) as hub:
        online = call(tmp_path, hub.endpoint, *[way | {"streaming": False} for way in calls])
        hub.requests.clear()
        assert call(tmp_path, hub.endpoint, *calls, offline=variable) == online
        # What is not there is said, also where it would be had for the asking.
        chat, revision, other = call(
            tmp_path,
            hub.endpoint,
            {"data_dir": "org/name", "streaming": True, "name": "all"},
            {"data_dir": "org/name@other"},
            {"data_dir": "org/other"},
            offline=variable,
        )
        assert hub.requests == []
    end = f"in the Hub's cache ({tmp_path / 'hub'}), and {variable} is set. Unset it and load once, or fill the cache "
    end += "where there is a network: hf download --repo-type dataset org/"
    assert chat.startswith("3 org/name@")
    assert f" is without data/chat/train-00000-of-00006.parquet (and 5 more of the 15 files needed) {end}name" in chat
    assert revision == f"3 org/name@other is without manifest.json {end}name --revision other"
    assert other == f"3 org/other is without manifest.json {end}other"


@pytest.mark.parametrize("variable", OFFLINE)
def test_offline_commands_read_the_cache_and_ask_nobody(variable: str, store: Path, rows: Any, tmp_path: Path) -> None:
    folder = tmp_path / "bench"
    folder.mkdir()
    pair = {"prompt": rows[0]["query"], "chosen": "好", "rejected": "差"}
    (folder / "test.jsonl").write_text(json.dumps(pair) + "\n", encoding="utf-8")

    def words(repo: str) -> list[list[object]]:
        out = ["--out", tmp_path / "out", "--domain", "chat", "--overwrite"]
        return [
            ["contamination", store, "--against", repo],
            ["import", f"hf://datasets/{repo}/test.jsonl", *out],
        ]

    with serve(folder, repo="org/bench") as hub:
        environment = hub_environment(hub.endpoint, tmp_path / "home")
        online = run_each(*words("org/bench"), **environment)
        hub.requests.clear()
        found = run_each(*words("org/bench"), *words("org/other"), **environment | {variable: "1"})
        offline, absent = found[:2], found[2:]
        assert hub.requests == []
    assert [done.returncode for done in online] == [1, 0], [done.stderr for done in online]
    assert [(done.returncode, done.stdout) for done in offline] == [(done.returncode, done.stdout) for done in online]
    assert [done.returncode for done in absent] == [3, 3]
    assert all(f"and {variable} is set. Unset it" in done.stderr for done in absent)
    assert all(done.stderr.count("\n") == 1 for done in absent), [done.stderr for done in absent]


def test_looking_takes_a_repository_as_a_folder(store: Path, rows: Any, tmp_path: Path) -> None:
    changed = copy.deepcopy(rows)
    changed[0]["responses"][0]["text"] += "。"
    other = make_store(tmp_path / "other", changed)
    query, cache = rows[0]["query_id"], ["--cache", tmp_path / "cache"]

    def words(named: object) -> list[list[object]]:
        return [
            ["show", named, query, "--json"],
            ["show", named, "--disagree", "-n", "3"],
            ["diff", named, other, "--json"],
            ["diff", other, named, "--json"],
            ["diff", named, "--a", "threshold=2", "--b", "threshold=3", "--json"],
            ["view", named, "--out", tmp_path / "page.html", "--overwrite", "--sample", "2", *cache],
        ]

    def answers(named: object, **environment: str) -> list[tuple[int, str]]:
        found = [(done.returncode, done.stdout) for done in run_each(*words(named), **environment)]
        return [*found, (0, (tmp_path / "page.html").read_text("utf-8"))]

    *local, page = answers(store)
    assert [code for code, _ in local] == [0] * 6
    page = (0, page[1].replace(f"<bdi>{store.name}</bdi>", "<bdi>org/name</bdi>"))
    page = (0, page[1].replace(f"<title>{store.name}</title>", "<title>org/name</title>"))
    with serve(store) as hub:
        environment = hub_environment(hub.endpoint, tmp_path / "home")
        for named in ("org/name", "org/name@v1.0.0", "hf://datasets/org/name", "hf://datasets/org/name@v1.0.0"):
            assert answers(named, **environment) == [*local, page], named
        fetched = {request.path.partition("/resolve/")[2].partition("/")[2] for request in hub.requests}
        assert fetched - {""} <= {"manifest.json", *(file.path for file in Store.open(store).data_files())}
        hub.requests.clear()
        assert answers("org/name", **environment, HF_DATASETS_OFFLINE="1") == [*local, page]
        absent = run_each(*words("org/absent"), **environment, HF_DATASETS_OFFLINE="1")
        assert hub.requests == []
        gone = run_each(*words("org/absent"), **environment)
    assert [done.returncode for done in absent + gone] == [3] * 12
    assert all("HF_DATASETS_OFFLINE is set. Unset it" in done.stderr for done in absent)
    assert all("no such directory here, and no such dataset on the Hub" in done.stderr for done in gone)


def test_a_repository_stands_beside_folders_and_is_the_same_as_its_folder(
    store: Path, rows: Any, tmp_path: Path
) -> None:
    other = make_store(tmp_path / "other", rows[:4])
    words = ["--max-responses", "40", "--json"]

    def numbers(told: str) -> Any:
        found = json.loads(told.replace('"org/name"', '"STORE"').replace('"org/name@v1.0.0"', '"STORE"'))
        return [{name: value for name, value in one.items() if name != "store"} for one in found["stores"]], [
            {name: value for name, value in one.items() if name not in ("store", "other", "why")}
            for one in found["across"]
        ]

    (alone,) = run_each(["compare", store, other, *words])
    assert alone.returncode == 0, alone.stderr
    expected = numbers(alone.stdout.replace(f'"name": "{store.name}"', '"name": "STORE"'))
    with serve(store) as hub:
        environment = hub_environment(hub.endpoint, tmp_path / "home")
        for named in ("org/name", "org/name@v1.0.0"):
            (done,) = run_each(["compare", named, other, *words], **environment)
            assert done.returncode == 0, done.stderr
            assert numbers(done.stdout) == expected
        (twice,) = run_each(["compare", "org/name", "org/name@v1.0.0", *words], **environment)
        assert (twice.returncode, "are the same store: name it once" in twice.stderr) == (2, True)
        (absent,) = run_each(["compare", "org/absent", other, *words], **environment)
        assert absent.returncode == 3


def test_only_what_two_releases_do_not_share_is_fetched_to_compare(store: Path, rows: Any, tmp_path: Path) -> None:
    changed = copy.deepcopy(rows)
    changed[0]["responses"][0]["text"] += "。"
    other = Store.open(make_store(tmp_path / "other", changed))
    with serve(store) as hub:
        (done,) = run_each(["diff", "org/name", other.path], **hub_environment(hub.endpoint, tmp_path / "home"))
        assert done.returncode == 0, done.stderr
        fetched = {request.path.partition("/resolve/")[2].partition("/")[2] for request in hub.requests}
    assert {path for path in fetched if path.endswith(".parquet")} == {
        file.path for file in changed_shards(Store.open(store).manifest, other.manifest)
    }


def test_a_folder_of_two_names_is_the_folder(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(store, tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9"}
    out = ["--out", tmp_path / "page.html", "--cache", tmp_path / "cache"]
    done = run_each(["show", "org/name"], ["view", "org/name", *out], ["diff", "org/name", "org/name"], **environment)
    assert [one.returncode for one in done] == [0, 0, 0], [one.stderr for one in done]


@pytest.mark.parametrize("place", [huggingface_hub.constants, datasets.config])
def test_a_program_that_turns_the_network_off_is_heeded(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (huggingface_hub.constants, datasets.config):
        for name in OFFLINE:
            monkeypatch.setattr(module, name, False, raising=False)
    assert not is_offline()
    monkeypatch.setattr(place, "HF_HUB_OFFLINE", True)
    assert is_offline()
