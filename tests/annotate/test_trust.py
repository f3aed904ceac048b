"""A run's file that somebody sent: what it asks for is said before anything is sent, and some of it is refused."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from annotating import endpoint, write_run
from commands import run

from coig_p.annotate.asking.ledger import LEDGER, Ledger, LedgerWriter
from coig_p.annotate.config import RunConfig, load_config
from coig_p.annotate.stages import run_stages
from coig_p.annotate.trust import check_named, grant, unknown, wishes
from coig_p.errors import UsageError

LOCAL = "http://127.0.0.1:1/v1"
AWAY = "https://models.example.org/v1"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def config(folder: Path, *settings: dict[str, Any], **tables: Any) -> RunConfig:
    """Two endpoints that judge each other, with these settings of the first ones."""
    given = [*settings, {}, {}][:2]
    made = [endpoint(f"m{at}", LOCAL, judges=True) | one for at, one in enumerate(given)]
    return write_run(folder, made, judging={"judges_per_response": 1}, **tables)


def words(config: RunConfig) -> list[str]:
    return [wish.words for wish in wishes(config)]


def test_what_asks_for_nothing_needs_nothing(tmp_path: Path) -> None:
    assert wishes(config(tmp_path)) == []


@pytest.mark.parametrize(
    ("variable", "url", "name"),
    [
        ("MODEL_A_KEY", AWAY, ""),
        ("MODEL_A_KEY", "https://MODELS.example.org.:8443/v1", ""),
        ("OPENAI_API_KEY", "https://api.openai.com/v1", ""),
        ("OPENAI_API_KEY", AWAY, "OPENAI_API_KEY@models.example.org"),
        ("OPENAI_API_KEY", "https://openai.com.example.org/v1", "OPENAI_API_KEY@openai.com.example.org"),
        ("OPENAI_API_KEY", "https://notopenai.com/v1", "OPENAI_API_KEY@notopenai.com"),
        ("HF_TOKEN", LOCAL, "HF_TOKEN@127.0.0.1:1"),
        *(
            (name, AWAY, f"{name}@models.example.org")
            for name in (
                "MY_HF_TOKEN",
                "HF_TOKEN_2",
                "hf_token",
                "HUGGINGFACE_TOKEN",
                "HUGGINGFACEHUB_API_TOKEN",
                "HUGGING_FACE_HUB_TOKEN",
                "HF_HUB_TOKEN",
                "MY_OPENAI_API_KEY",
                "ANTHROPIC_API_KEY_2",
                "SECRET_KEY",
                "DJANGO_SECRET_KEY",
                "CLIENT_SECRET",
                "HISTFILE",
                "BASH_ENV",
                "SHELL",
                "OLDPWD",
                "LD_PRELOAD",
                "PYTHONPATH",
                "HTTPS_PROXY",
                "XDG_CONFIG_HOME",
            )
        ),
        ("MY_HF_TOKEN", "https://router.huggingface.co/v1", ""),
        ("HUGGINGFACE_TOKEN", "https://huggingface.co/v1", ""),
        ("HF_TOKEN_2", "https://huggingface.co.example.org/v1", "HF_TOKEN_2@huggingface.co.example.org"),
        ("MY_OPENAI_API_KEY_2", "https://api.openai.com/v1", ""),
        ("MY_AZURE_OPENAI_API_KEY", "https://api.openai.com/v1", "MY_AZURE_OPENAI_API_KEY@api.openai.com"),
        *((name, AWAY, "") for name in ("SHELF_KEY", "MODEL_HISTORY_KEY", "HOSTED_KEY", "LANGUAGE_MODEL_KEY")),
        ("AWS_SECRET_ACCESS_KEY", AWAY, "AWS_SECRET_ACCESS_KEY@models.example.org"),
        ("github_token", AWAY, "github_token@models.example.org"),
        ("MY_DB_PASSWORD", AWAY, "MY_DB_PASSWORD@models.example.org"),
        ("DATABASE_URL", AWAY, "DATABASE_URL@models.example.org"),
        ("HOME", AWAY, "HOME@models.example.org"),
    ],
)
def test_a_key_by_host_and_variable(tmp_path: Path, variable: str, url: str, name: str) -> None:
    (wish,) = wishes(config(tmp_path, {"base_url": url, "key_env": variable}))
    assert variable in wish.words
    assert wish.name == name


def test_variables_of_headers_and_query_are_asked_for_as_keys_are(tmp_path: Path) -> None:
    headers = {"api-key": {"env": "MODEL_KEY"}, "x-token": {"env": "HF_TOKEN"}, "x-region": "cn"}
    asked = wishes(config(tmp_path, {"base_url": AWAY, "headers": headers, "query": {"sig": {"env": "MODEL_SIG"}}}))
    assert [(one.words.split()[4], one.name) for one in asked] == [
        ("MODEL_KEY", ""),
        ("HF_TOKEN", "HF_TOKEN@models.example.org"),
        ("MODEL_SIG", ""),
    ]
    plain = AWAY.replace("https", "http")
    words_of = [one.words for one in wishes(config(tmp_path, {"base_url": plain, "headers": headers}))]
    assert any("send texts and a key to models.example.org" in one for one in words_of)


@pytest.mark.parametrize("host", ["models.example.org", "10.0.0.7:8000", "localhost.example.org"])
def test_a_connection_that_is_not_encrypted_has_to_be_named(tmp_path: Path, host: str) -> None:
    (wish,) = wishes(config(tmp_path, {"base_url": f"http://{host}/v1"}))
    assert wish.name == f"http://{host}"
    assert "not encrypted" in wish.words


def test_files_outside_its_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "run", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    (outside / "prompt.md").write_text("{{query}} {{response}}", "utf-8")
    (outside / "queries.jsonl").write_text('{"query": "一加一？", "domain": "math"}\n', "utf-8")
    (inside / "link.jsonl").symlink_to(outside / "queries.jsonl")
    found = config(
        inside,
        queries={
            "inputs": ["queries.jsonl", "../elsewhere/queries.jsonl", "link.jsonl", "hf://datasets/org/name/a.csv"]
        },
        run={"folder": "../elsewhere/out"},
        **{"domains.math": {"prompt": "../elsewhere/prompt.md"}},
    )
    asked = words(found)
    assert sum("read " in one for one in asked) == 3  # the link leads to the file that is named, too
    assert any("prompt.md" in one for one in asked)
    assert any("write to" in one for one in asked)
    assert all("not in its own folder" in one for one in asked)


def test_a_yes_is_kept_by_file_host_and_variable(tmp_path: Path, home: Path) -> None:
    found = config(tmp_path, {"base_url": AWAY, "key_env": "MODEL_A_KEY"})
    grant(unknown(found))
    assert unknown(found) == []
    assert json.loads((home / "coig-p" / "trusted.json").read_text("utf-8"))["granted"]
    (tmp_path / "other").mkdir()
    changed = [
        config(tmp_path / "other", {"base_url": AWAY, "key_env": "MODEL_A_KEY"}),
        config(tmp_path, {"base_url": AWAY, "key_env": "MODEL_B_KEY"}),
        config(tmp_path, {"base_url": "https://models.example.com/v1", "key_env": "MODEL_A_KEY"}),
        config(tmp_path, {"base_url": "https://models.example.org:444/v1", "key_env": "MODEL_A_KEY"}),
        config(tmp_path, {"base_url": AWAY.replace("https", "http"), "key_env": "MODEL_A_KEY"}),
    ]
    for one in changed:
        assert unknown(one), one.endpoints[0]
    (home / "coig-p" / "trusted.json").write_text("{", "utf-8")
    with pytest.raises(UsageError, match="Delete it"):
        unknown(found)


def test_what_is_allowed_is_named_as_the_error_says(tmp_path: Path) -> None:
    found = config(tmp_path, {"base_url": AWAY.replace("https", "http"), "key_env": "HF_TOKEN"})
    left = unknown(found)
    with pytest.raises(UsageError, match=r"--allow HF_TOKEN@models\.example\.org"):
        check_named(left, [], found.path)
    with pytest.raises(UsageError, match=r"--allow http://models\.example\.org"):
        check_named(left, ["HF_TOKEN@models.example.org"], found.path)
    check_named(left, ["HF_TOKEN@models.example.org", "http://models.example.org"], found.path)
    with pytest.raises(UsageError, match="does not ask for that"):
        check_named(left, ["HF_TOKEN@else"], found.path)


@pytest.mark.parametrize(
    "stage",
    [
        *("run", "queries", "generate", "judge", "store", "audit --apply"),
        *("run --batch-in answers.jsonl", "run --batch-out batch", "run --batch-forget"),
    ],
)
def test_nothing_is_sent_before_somebody_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answers.jsonl").write_text("{}\n", encoding="utf-8")
    stage, *options = stage.split()
    monkeypatch.setenv("MODEL_A_KEY", "sk-of-somebody")
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody")
    found = config(tmp_path, {"key_env": "MODEL_A_KEY", "attempts": 1, "give_up": 0.1}, {"attempts": 1, "give_up": 0.1})
    said = run("annotate", stage, found.path, *options, code=2).stderr
    assert "wants to send the value of MODEL_A_KEY to 127.0.0.1:1" in said
    assert "--trust" in said
    assert not (tmp_path / "annotation").exists()
    assert not (tmp_path / "batch").exists()
    secret = config(tmp_path, {"key_env": "HF_TOKEN"})
    said = run("annotate", stage, secret.path, *options, "--trust", code=2).stderr
    assert "--allow HF_TOKEN@127.0.0.1:1" in said
    assert "hf_of_somebody" not in said
    assert load_config(secret.path).endpoints[0].key_env == "HF_TOKEN"


def test_an_estimate_sends_nothing_and_asks_about_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODEL_A_KEY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    plain = {"base_url": AWAY.replace("https", "http"), "key_env": "HF_TOKEN"}
    inside = tmp_path / "run"
    inside.mkdir()
    found = config(inside, {"base_url": AWAY, "key_env": "MODEL_A_KEY"}, plain)
    assert "requests left" in run("annotate", "run", found.path, "--estimate").stdout
    assert len(unknown(found)) == 3, "the run itself still has to be allowed to send"
    (tmp_path / "queries.jsonl").write_text('{"query": "一加一？", "domain": "math"}\n', "utf-8")
    found = config(inside, {"base_url": AWAY, "key_env": "MODEL_A_KEY"}, queries={"inputs": ["../queries.jsonl"]})
    said = run("annotate", "run", found.path, "--estimate", code=2).stderr
    assert f"wants to read {tmp_path / 'queries.jsonl'}" in said
    assert "MODEL_A_KEY" not in said


def test_once_said_it_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_A_KEY", "sk-of-somebody")
    found = config(tmp_path, {"key_env": "MODEL_A_KEY"})
    assert "requests left" in run("annotate", "run", found.path, "--estimate", "--trust").stdout
    assert "requests left" in run("annotate", "run", found.path, "--estimate").stdout
    assert "nothing" not in run("annotate", "status", found.path).stderr  # which sends nothing asks nothing


OURS = [
    *(".lock", "ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "ledger.sqlite-journal"),
    *("queries.jsonl", "dropped.jsonl", "rows.jsonl", "missing.jsonl", "store"),
]


def database(path: Path) -> bytes:
    """Somebody's file, which SQLite would write to."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (content TEXT)")
        connection.commit()
    return path.read_bytes()


@pytest.mark.parametrize("dangling", [False, True])
@pytest.mark.parametrize("name", OURS)
def test_a_link_in_its_folder_leads_nowhere(tmp_path: Path, name: str, dangling: bool) -> None:
    inside, theirs = tmp_path / "run", tmp_path / "theirs"
    (inside / "annotation").mkdir(parents=True)
    content = None if dangling else database(theirs)
    found = config(inside)
    (inside / "annotation" / name).symlink_to(theirs)
    for command in (["run"], ["generate"], ["store"], ["run", "--batch-out", tmp_path / "batch"]):
        said = run("annotate", command[0], found.path, *command[1:], code=2).stderr
        assert f"{name} is a symbolic link" in " ".join(said.split()), command
        assert "Traceback" not in said
    assert (theirs.read_bytes() if theirs.exists() else None) == content
    assert not {path.name for path in inside.rglob("*")} & set(OURS) - {name, "queries.jsonl", ".lock", "ledger.sqlite"}


@pytest.mark.parametrize("name", OURS[:5])
def test_every_way_to_a_ledger_refuses_links(tmp_path: Path, name: str) -> None:
    theirs, folder = tmp_path / "theirs", tmp_path / "annotation"
    content = database(theirs)
    LedgerWriter.open(folder).close()
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(theirs)
    for kind in (Ledger, LedgerWriter):
        with pytest.raises(UsageError, match="is a symbolic link"):
            kind.open(folder)
    assert theirs.read_bytes() == content


@pytest.mark.parametrize("name", OURS[:-1])
def test_a_pipe_in_its_folder_holds_nothing_up(tmp_path: Path, name: str) -> None:
    found = config(tmp_path)
    found.folder.mkdir()
    os.mkfifo(found.folder / name)
    with pytest.raises(UsageError, match="is not a file"):
        run_stages(found)


def test_what_is_in_a_lock_stays(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("somebody's", "utf-8")
    with LedgerWriter.open(tmp_path), pytest.raises(UsageError, match="another run is working"):
        LedgerWriter.open(tmp_path)
    assert (tmp_path / ".lock").read_text("utf-8") == "somebody's"


@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe", "large", "folder", "none", "null"])
@pytest.mark.parametrize("table", ["prompts", "domains.math"])
def test_a_prompt_that_is_no_text_file_is_refused_at_once(tmp_path: Path, kind: str, table: str) -> None:
    prompt = tmp_path / "prompt.md"
    if "pipe" in kind:
        os.mkfifo(tmp_path / "pipe")
        prompt.symlink_to(tmp_path / "pipe")
    elif kind == "device":
        prompt.symlink_to("/dev/zero")
    elif kind == "large":
        prompt.write_bytes(b" " * (2**20 + 1))
    elif kind == "folder":
        prompt.mkdir()
    path = {"pipe": "pipe", "null": "a\0b"}.get(kind, "prompt.md")
    with pytest.raises(UsageError, match=r"prompt .*(pipe or a device|larger than|cannot be read)"):
        config(tmp_path, **{table: {"query" if table == "prompts" else "prompt": path}})


def test_a_prompt_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("{{query}}\r\n{{response}}\r\n" + " " * 2**19, "utf-8")
    (tmp_path / "prompt.md").symlink_to("there.md")
    found = config(tmp_path, **{"domains.math": {"prompt": "prompt.md"}})
    assert found.judge_prompts["math"].text == "{{query}}\n{{response}}\n"


@pytest.mark.parametrize("kind", ["somebody's folder", "a file", "a store with more in it", "a pipe for a manifest"])
def test_a_place_of_the_store_that_cannot_be_used_is_found_before_anything_is_asked(tmp_path: Path, kind: str) -> None:
    store = config(tmp_path).folder / "store"
    if kind == "a file":
        store.parent.mkdir()
        store.write_text("theirs", "utf-8")
    elif kind == "a store with more in it":
        run("annotate", "demo", "--out", tmp_path / "demo")
        store.parent.mkdir()
        (tmp_path / "demo" / "annotation" / "store").rename(store)
        (store / "theirs.txt").write_text("theirs", "utf-8")
    else:
        store.mkdir(parents=True)
        (store / "theirs.txt").write_text("theirs", "utf-8")
        if kind == "a pipe for a manifest":
            os.mkfifo(store / "manifest.json")
    found = load_config(tmp_path / "run.toml")
    with pytest.raises(UsageError, match=r"store"):
        run_stages(found)
    assert not (found.folder / LEDGER).exists(), "nothing was asked"
    assert [path.name for path in store.parent.iterdir()] == ["store"]
