"""Stores in a repository: by id, pinned, private, offline. The clients are the real ones."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import huggingface_hub.constants
import pytest
from commands import run_each
from datasets import load_dataset
from huggingface_hub.errors import LocalEntryNotFoundError
from make import make_store
from oracle import oracle_pairs
from rewarding import with_given
from serving import head, serve

from coig_p.core.mirrors import is_mirror
from coig_p.errors import RemoteError
from coig_p.publish.local_hub import Account, LocalHub
from coig_p.stats.diff import changed_shards
from coig_p.store.locate import is_offline, locate
from coig_p.store.store import Store

SCRIPT = """
import json, sys
import coig_p, datasets
from coig_p.errors import CoigPError
for options in json.loads(sys.argv[1]):
    load = coig_p.load_dataset if options.pop("package", False) else datasets.load_dataset
    try:
        print(json.dumps(list(load("coig-p", options.pop("name", "math"), split="train", **options))))
    except CoigPError as error:
        print(json.dumps(f"{error.exit_code} {error}"))
"""


def call(home: Path, endpoint: str, *calls: dict[str, Any], offline: str = "") -> list[Any]:
    """The rows, or exit code and message, of each load_dataset call, made in a process of its own:
    clients read their environment on import.

    Args:
        offline: the variable that says so.
    """
    environment = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "USE_TORCH": "0",  # streaming imports torch where it is installed, two seconds for nothing
    } | ({offline: "1"} if offline else {})
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(calls)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not any(options.get("token", "no token") in done.stderr for options in calls)
    return [json.loads(line) for line in done.stdout.splitlines()]


def at(hub: LocalHub, home: Path) -> dict[str, str]:
    """The environment of commands that ask this Hub."""
    return {
        "HF_HOME": str(home),
        "HF_ENDPOINT": hub.endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def math(rows: list[dict[str, Any]], threshold: float) -> list[dict[str, Any]]:
    return oracle_pairs([row for row in rows if row["domain"] == "math"], threshold=threshold)


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


MIRRORED = """
import socket, sys
stock = socket.getaddrinfo
def resolve(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else str(host)
    return stock("127.0.0.1" if "mirror" in name.lower() else host, *args, **kwargs)
socket.getaddrinfo = resolve
"""


def at_mirror(hub: LocalHub, home: Path, host: str, script: str, *words: object) -> tuple[str, str]:
    """What a program prints whose clients have a saved token, and take the local Hub for `host`."""
    home.mkdir(exist_ok=True)
    (home / "token").write_text(SAVED, encoding="utf-8")
    environment = {
        "HF_HOME": str(home),
        "HF_ENDPOINT": f"http://{host.replace('PORT', str(hub.port))}",
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "*",
        "USE_TORCH": "0",
    }
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED + script, *map(str, words)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SAVED not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


SAVED = "hf_" + "s" * 30
COMMANDS = """
import json
from coig_p.__main__ import main, publish
for program, *words in json.loads(sys.argv[1]):
    sys.argv[:] = [program, *words]
    try:
        {"coigp": main, "coigp-publish": publish}[program]()
    except SystemExit as ended:
        print("ended with", ended.code or 0)
"""


@pytest.mark.parametrize("host", ["hf-mirror.com:PORT", "HF-Mirror.com.:PORT", "127.0.0.1:PORT"])
def test_a_mirror_is_sent_no_token_by_any_way_of_loading(store: Path, rows: Any, tmp_path: Path, host: str) -> None:
    calls: list[dict[str, Any]] = [
        {"data_dir": "org/name"},
        {"data_dir": "org/name@v1.0.0", "token": SAVED},
        {"data_dir": "hf://datasets/org/name", "token": True, "streaming": True},
        {"data_dir": "org/name", "package": True, "streaming": True, "storage_options": {"hf": {"token": SAVED}}},
        {"data_dir": "org/name", "package": True, "storage_options": {"token": SAVED}},
    ]
    with serve(store) as hub:
        hub.accounts = {SAVED: Account("me", ("org",))}
        found, said = at_mirror(hub, tmp_path / "home", host, SCRIPT, json.dumps(calls))
        assert [json.loads(line) for line in found.splitlines()] == [math(rows, 2)] * 5
        sent = [request for request in hub.requests if request.authorized]
    if "mirror" in host.lower():
        assert sent == []
        assert said.count("is a mirror for downloads: the token is not sent there") == 2, "once a call that gives one"
    else:
        assert sent  # a Hub of one's own gets it
        assert "mirror" not in said


def test_a_mirror_is_sent_no_token_by_commands(store: Path, tmp_path: Path) -> None:
    home, host = tmp_path / "home", "hf-mirror.com.:PORT"
    data = next(path.relative_to(store) for path in (store / "data").rglob("*.parquet"))
    shown = shutil.copytree(store, tmp_path / "shown")
    (shown / "lines.jsonl").write_text(
        json.dumps({"prompt": "一加一等于几？请说明理由。"}, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    with serve(shown) as hub:
        hub.accounts = {SAVED: Account("me", ("org",))}
        asking: list[tuple[object, ...]] = [
            ("coigp", "import", f"hf://datasets/org/name@v1.0.0/{data.as_posix()}", "--out", tmp_path / "other"),
            ("coigp", "contamination", store, "--against", "hf://datasets/org/name/lines.jsonl"),
            ("coigp", "contamination", store, "--against", "org/name"),  # it is the store itself
        ]
        found, _ = at_mirror(hub, home, host, COMMANDS, json.dumps(asking, default=str))
        assert re.findall("ended with (.*)", found) == ["0", "0", "1"]
        asked = len(hub.requests)
        assert asked > 5
        asking = [
            ("coigp-publish", "--status", "org/name"),
            ("coigp-publish", "--abort", "org/name", "--version", "2.0.0"),
            ("coigp-publish", "--yank", "org/name", "--version", "1.0.0", "--reason", "why"),
        ]
        found, said = at_mirror(hub, home, host, COMMANDS, json.dumps(asking))
        assert re.findall("ended with (.*)", found) == ["2", "2", "2"]
        assert said.count("is a mirror for downloads") == 3
        assert len(hub.requests) == asked
        assert not any(request.authorized for request in hub.requests)


def test_what_only_a_token_opens_is_not_at_a_mirror(store: Path, tmp_path: Path) -> None:
    with serve(store, token=SAVED) as hub:
        calls = [{"data_dir": "org/name", "token": SAVED}]
        (said,) = at_mirror(hub, tmp_path / "home", "hf-mirror.com:PORT", SCRIPT, json.dumps(calls))[0].splitlines()
        assert not any(request.authorized for request in hub.requests)
    assert json.loads(said).startswith("3 ")
    assert "unset HF_ENDPOINT: hf-mirror.com is a mirror, which is sent no token" in said


def test_a_token_does_not_follow_to_another_host(store: Path, rows: Any, tmp_path: Path) -> None:
    with serve(store, token=SAVED) as hub:
        calls = [{"data_dir": "org/name", "streaming": streaming} for streaming in (True, False)]
        found, _ = at_mirror(hub, tmp_path / "home", "127.0.0.1:PORT", SCRIPT, json.dumps(calls))
        assert [json.loads(line) for line in found.splitlines()] == [math(rows, 2)] * 2
        elsewhere = [request for request in hub.requests if request.path.startswith("/lfs/")]
        assert elsewhere, {request.path for request in hub.requests}
        assert not any(request.authorized for request in elsewhere)


@pytest.mark.parametrize(
    ("endpoint", "known"),
    [
        ("https://hf-mirror.com", True),
        ("https://HF-MIRROR.com:8443/x", True),
        ("https://me:word@www.hf-mirror.com.", True),
        ("hf-mirror.com", True),
        ("https://hf%2Dmirror.com", True),
        ("https://\uff48f-mirror\uff0ecom", True),
        ("https://hf-mirror\u3002com", True),
        ("http://hf-cdn.sufy.com", True),
        ("https://huggingface.co", False),
        ("https://hf-mirror.com.example.org", False),
        ("https://my-hf-mirror.com", False),
        ("https://huggingface.co/hf-mirror.com", False),
        ("https://[", False),
        ("", False),
    ],
)
def test_which_addresses_are_mirrors(endpoint: str, known: bool) -> None:
    assert is_mirror(endpoint) is known


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
            **at(hub, tmp_path),
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
        (done,) = run_each(["contamination", store, "--against", "org/bench"], **at(hub, tmp_path / "home"))
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
        environment = at(hub, tmp_path / "home")
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
        environment = at(hub, tmp_path / "home")
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
        environment = at(hub, tmp_path / "home")
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
        (done,) = run_each(["diff", "org/name", other.path], **at(hub, tmp_path / "home"))
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
