"""Stores in an object store: read in place, written manifest last, and every way that it can go wrong."""

from __future__ import annotations

import copy
import gc
import gzip
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("s3fs", reason="no client for S3 is installed: pip install 'coig-p[s3]'")
pytest.importorskip("moto.server", reason="no server that plays S3 is installed: pip install 'moto[server]'")

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import s3_server
from commands import run
from make import make_rows, make_store
from s3_server import BUCKET, SECRET

import coig_p
from coig_p.core import upload
from coig_p.core.objects import ObjectPath, object_path
from coig_p.errors import RemoteError, StoreError, UsageError
from coig_p.review.answers import Answer, append_all
from coig_p.review.drawing import DrawConfig
from coig_p.review.folder import open_review, read_key
from coig_p.review.making import make_review
from coig_p.stats.counts import statistics
from coig_p.store.changes import Change
from coig_p.store.locate import locate
from coig_p.store.rewrite import rewrite_store
from coig_p.store.store import Store
from coig_p.store.watching import state_of
from coig_p.validation import check

ROWS = make_rows({"math": 30, "chat": 12})


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    with s3_server.serving() as options:
        yield options


@pytest.fixture
def s3(server: dict[str, Any]) -> dict[str, Any]:
    return dict(server)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("objects") / "store", ROWS)


@pytest.fixture
def there(s3: dict[str, Any], local: Path) -> Iterator[str]:
    yield s3_server.put(s3, local, "store")
    s3_server.files(s3).rm(f"{BUCKET}/store", recursive=True)


@pytest.fixture
def asked(s3: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is asked, as commands find it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3["secret"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3["endpoint_url"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def names(s3: dict[str, Any], folder: str) -> set[str]:
    return {name.removeprefix(f"{BUCKET}/{folder}/") for name in s3_server.files(s3).find(f"{BUCKET}/{folder}")}


def test_what_is_said_of_it_equals_what_is_said_of_the_same_folder(s3: dict[str, Any], there: str, local: Path) -> None:
    store, same = Store.open(there, storage_options=dict(s3)), Store.open(local)
    assert store.manifest == same.manifest
    assert store.verify() == []
    assert list(store.batches()) == list(same.batches())
    assert statistics(store).to_json() == statistics(same).to_json()
    assert check(store).findings == check(same).findings
    assert check(store, num_proc=2).findings == check(same).findings


@pytest.mark.parametrize("way", [{}, {"streaming": True}, {"shuffle_seed": 3}, {"raw": True}])
def test_it_loads_as_the_same_folder_does(
    s3: dict[str, Any], there: str, local: Path, tmp_path: Path, way: dict[str, Any]
) -> None:
    options = {"split": "train", "cache_dir": str(tmp_path), **way}
    found = datasets.load_dataset("coig-p", "all", data_dir=there, storage_options=dict(s3), **options)
    assert list(found) == list(datasets.load_dataset("coig-p", "all", data_dir=str(local), **options))
    under = coig_p.load_dataset("all", data_dir=there, storage_options={"s3": s3}, **options)
    assert list(under) == list(found)
    for path in tmp_path.rglob("*"):
        assert SECRET not in str(path)
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()


def test_a_view_of_it_equals_that_of_the_same_folder_and_other_thresholds_read_no_shard(
    s3: dict[str, Any], there: str, local: Path, tmp_path: Path, requests: list[tuple[str, str, str]]
) -> None:
    shards = Store.open(local).data_files()
    each = [("get_object", f"store/{file.path}", f"bytes=0-{file.bytes - 1}") for file in shards]
    options: Any = {"split": "train", "cache_dir": str(tmp_path), "lazy": True, "storage_options": dict(s3)}
    requests.clear()
    for way in ({}, {"threshold": 4}, {"shuffle_seed": 3}, {"weights": {"math": 2.0}}):
        found = datasets.load_dataset("coig-p", "all", data_dir=there, **options, **way)
        assert type(found).__name__ == "ViewDataset"
        assert list(found) == list(coig_p.load_dataset("all", data_dir=str(local), split="train", **way))
        if "threshold" in way:
            assert [one for one in requests if one[1].endswith(".parquet")] == each


def test_a_stream_goes_on_where_it_stopped_and_is_planned(s3: dict[str, Any], there: str) -> None:
    def load() -> Any:
        return datasets.load_dataset(
            "coig-p",
            "all",
            data_dir=there,
            storage_options=dict(s3),
            split="train",
            streaming=True,
            shuffle_seed=1,
            shards=8,
        )

    stream = load()
    rows, state = [], {}
    for at, row in enumerate(stream):
        rows.append(row)
        if at == 10:
            state = copy.deepcopy(stream.state_dict())
    again = load()
    again.load_state_dict(state)
    assert list(again) == rows[11:]
    planned = coig_p.plan("all", data_dir=there, storage_options=dict(s3), shuffle_seed=1, shards=8)
    assert planned.rows == len(rows)
    assert list(pickle.loads(pickle.dumps(stream))) == rows


def test_a_changed_shard_is_loaded_anew(s3: dict[str, Any], there: str, tmp_path: Path) -> None:
    other = make_store(tmp_path / "other", make_rows({"math": 30, "chat": 12}, seed=7))
    first = coig_p.load_dataset(
        "math", data_dir=there, storage_options=dict(s3), split="train", cache_dir=str(tmp_path)
    )
    s3_server.put(s3, other, "store")
    second = coig_p.load_dataset(
        "math", data_dir=there, storage_options=dict(s3), split="train", cache_dir=str(tmp_path)
    )
    assert list(first) != list(second)


@pytest.mark.usefixtures("asked")
def test_commands_take_its_url(s3: dict[str, Any], there: str, local: Path, tmp_path: Path) -> None:
    for words in (["check"], ["stats"], ["sweep"], ["info"], ["show"], ["verify"], ["plan"]):
        here, remote = run(*words, str(local), code=None), run(*words, there, code=None)
        assert remote.returncode == here.returncode, remote.stderr
        assert remote.stdout.replace(there, str(local)) == here.stdout
    assert run("diff", there, str(local)).stdout == "nothing differs\n"
    made = {
        "clean": ["clean", there],
        "dedup": ["dedup", there],
        "dpo": ["export", there, "--for", "trl-dpo"],
    }
    for name, words in made.items():
        run(*words, "--out", f"s3://{BUCKET}/{name}")
        run(words[0], str(local), *words[2:], "--out", str(tmp_path / name))
        files = {path.relative_to(tmp_path / name).as_posix(): path for path in (tmp_path / name).rglob("*.parquet")}
        assert files
        assert names(s3, name) >= files.keys()
        assert upload.NOTE not in names(s3, name)
        for file, path in files.items():
            assert s3_server.files(s3).cat_file(f"{BUCKET}/{name}/{file}") == path.read_bytes()
        again = run(*words, "--out", f"s3://{BUCKET}/{name}", "--overwrite", code=2)
        assert "choose a new name" in again.stderr
    run("verify", f"s3://{BUCKET}/clean")
    s3_server.files(s3).rm([f"{BUCKET}/{name}" for name in made], recursive=True)


@pytest.mark.usefixtures("asked")
def test_what_people_said_is_applied_there(s3: dict[str, Any], local: Path, tmp_path: Path) -> None:
    make_review(Store.open(local), tmp_path / "review", DrawConfig(form="pair", per_domain=2), ["a"])
    review = open_review(tmp_path / "review")
    said = {"preference": "A", "correct": []}
    at = "2026-11-26T10:00:00+00:00"
    append_all(review, "a", [Answer(*row.identity, said, at=at, skipped=False) for row in read_key(review)])
    run("review", "apply", tmp_path / "review", local, "--out", tmp_path / "applied")
    done = run("review", "apply", tmp_path / "review", local, "--out", f"s3://{BUCKET}/applied")
    assert f"wrote s3://{BUCKET}/applied\n" in done.stdout
    there = Store.open(f"s3://{BUCKET}/applied", storage_options=dict(s3))
    assert there.manifest == Store.open(tmp_path / "applied").manifest
    assert there.verify() == []
    s3_server.files(s3).rm(f"{BUCKET}/applied", recursive=True)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str]]:
    return s3_server.requests(monkeypatch)


def test_a_long_file_is_asked_for_in_growing_pieces_and_no_byte_twice(
    s3: dict[str, Any], requests: list[tuple[str, str, str]]
) -> None:
    content = bytes(range(256)) * (30 << 12)
    s3_server.files(s3).pipe_file(f"{BUCKET}/long", content)
    requests.clear()
    with object_path(f"s3://{BUCKET}/long", s3).open("rb") as stream:
        assert b"".join(iter(lambda: stream.read(3_000_001), b"")) == content
        stream.seek(-1000, 2)
        assert stream.read() == content[-1000:]
    ranges = [one.removeprefix("bytes=").split("-") for _, _, one in requests if one]
    sizes = [int(end) - int(begin) + 1 for begin, end in ranges]
    assert sizes == [4 << 20, 8 << 20, 16 << 20, 2 << 20]
    assert object_path(f"s3://{BUCKET}/long", s3).read_first(10) == content[:10]  # type: ignore[attr-defined]
    s3_server.files(s3).rm_file(f"{BUCKET}/long")


@pytest.mark.usefixtures("asked")
def test_files_are_imported_from_there(s3: dict[str, Any], tmp_path: Path) -> None:
    rows = [{"prompt": f"{at}加1等于几？", "chosen": f"等于{at + 1}。", "rejected": f"等于{at}。"} for at in range(40)]
    folder = tmp_path / "in"
    folder.mkdir()
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (folder / "a.jsonl").write_text("".join(lines[:20]), "utf-8")
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("".join(lines[20:30]).encode()))
    pq.write_table(pa.Table.from_pylist(rows[30:]), folder / "c.parquet")
    there = s3_server.put(s3, folder, "in")
    for inputs in (["*"], ["a.jsonl", "b.jsonl.gz", "c.parquet"]):
        made = []
        for at, place in enumerate((there, f"{folder}", f"file://{folder}")):
            out = tmp_path / f"{len(inputs)}-{at}"
            run("import", *(f"{place}/{name}" for name in inputs), "--domain", "math", "--out", out)
            made.append(Store.open(out))
        assert sum(file.rows or 0 for file in made[0].data_files()) == len(rows)
        assert [one.manifest.sources for one in made[1:]] == [made[0].manifest.sources] * 2
        assert [one.data_files() for one in made[1:]] == [made[0].data_files()] * 2
    for name, said in (("none.jsonl", "no such file"), ("*.csv", "no file fits"), ("", "in is a directory")):
        assert f"{there}{'/' * bool(name)}{name}"[:-1] in (
            shown := run("import", f"{there}/{name}", "--out", tmp_path / "no", code=2).stderr
        )
        assert said in shown
    s3_server.files(s3).pipe_file(f"{BUCKET}/in/c.parquet", b"PAR1 cut")
    shown = run("import", f"{there}/c.parquet", "--domain", "math", "--out", tmp_path / "no", code=1).stderr
    assert f"{there}/c.parquet: not readable as Parquet" in shown
    assert not (tmp_path / "no").exists()
    s3_server.files(s3).rm(f"{BUCKET}/in", recursive=True)


@pytest.mark.usefixtures("asked")
def test_commands_that_take_two_take_urls_and_others_say_that_they_do_not(
    s3: dict[str, Any], there: str, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uvicorn = pytest.importorskip("uvicorn", reason="the extra [view] is not installed")

    class Ended:
        def __init__(self, config: object) -> None:
            pass

        def run(self, sockets: object) -> None:
            pass

    monkeypatch.setattr(uvicorn, "Server", Ended)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run("view", there).stdout.startswith("http://127.0.0.1:")
    ids = [row for batch in Store.open(local).batches() for row in batch.column("query_id").to_pylist()]
    (tmp_path / "some.txt").write_text(ids[0] + "\n")
    for words in (
        ["contamination", "STORE", "--against", "STORE"],
        ["dedup", "STORE", "--against", "STORE", "--dry-run"],
        ["pairs", "STORE", "--exclude", str(tmp_path / "some.txt"), "--out", "-"],
        ["card", "STORE", "--version", "1.0.0"],
    ):
        remote, here = (run(*(one.replace("STORE", str(at)) for one in words), code=None) for at in (there, local))
        assert (remote.returncode, remote.stdout.replace(there, str(local))) == (here.returncode, here.stdout)
        assert remote.stderr.replace(there, str(local)) == here.stderr
    for words in (["score", there, "--model", "x", "--as", "x"], ["publish", there, "--version", "1.0.0"]):
        said = run(*words, code=2).stderr
        assert f"{there} is the address of an object store" in said
        assert "copy" in said
        assert len(said.splitlines()) == 1


def test_whether_a_store_that_is_shown_changed_is_told_by_its_listing(
    s3: dict[str, Any], there: str, requests: list[tuple[str, str, str]]
) -> None:
    store = Store.open(there, storage_options=dict(s3))
    before = state_of(store)
    requests.clear()
    assert state_of(store) == before
    assert [one[0] for one in requests] == ["list_objects_v2"]
    shard = f"{BUCKET}/store/{store.data_files()[0].path}"
    content = s3_server.files(s3).cat_file(shard)
    s3_server.files(s3).pipe_file(shard, content[:-1] + bytes([content[-1] ^ 1]))
    assert state_of(store) != before
    s3_server.files(s3).rm_file(shard)
    with pytest.raises(StoreError, match="is not there any more"):
        state_of(store)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["check", "s3://bucket/none"], 1, "not a store: no manifest.json there"),
        (["check", "s3://absent/store"], 3, "no such bucket"),
        (["import", "s3://absent/in/*.jsonl", "--out", "made"], 3, "no such bucket"),
        (["check", "s3://A bucket/store"], 2, "no bucket can have this name"),
        (["import", "s3://buck*/a.jsonl", "--out", "made"], 2, "no bucket can have this name"),
        (["check", "hdfs:///user/store"], 2, "hdfs:///user/store/manifest.json: hdfs:// needs more"),
        (["check", "oss://bucket/store"], 2, "pip install ossfs"),
        (["clean", "s3://bucket/store", "--out", "memory://new"], 2, "memory of this command, and gone when it ends"),
        (["clean", "s3://bucket/store", "--out", "s3://absent/new"], 3, "no such bucket"),
        (["check", "s4://bucket/store"], 2, "unknown protocol 's4'"),
        (["check", "s3://key:hush@bucket/store"], 2, "a URL with s3:// holds a password"),
        (["stats", "s3://bucket/store", "--out", "s3://bucket/said"], 2, "address of an object store"),
    ],
)
def test_what_cannot_be_is_one_error(there: str, words: list[str], code: int, said: str) -> None:
    done = run(*words, code=code)
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hush" not in done.stderr


@pytest.mark.usefixtures("asked")
def test_any_name_may_be_that_of_a_store_and_others_beside_it_are_not_of_it(
    s3: dict[str, Any], local: Path, tmp_path: Path
) -> None:
    run("clean", local, "--out", tmp_path / "clean")
    same = Store.open(tmp_path / "clean")
    odd = "数据 50% a+b#c?d=[1]&~'\"*"
    for name in ("data", odd, f"{odd}2"):
        run("clean", local, "--out", f"s3://{BUCKET}/odd/{name}/")
    client = s3_server.files(s3)
    for mark in ("data/", "data/data/", f"{odd}/data/"):  # as some tools put them for folders
        client.call_s3("put_object", Bucket=BUCKET, Key=f"odd/{mark}", Body=b"")
    run("verify", f"s3://{BUCKET}/odd/{odd}")
    store = Store.open(f"s3://{BUCKET}/odd/{odd}/", storage_options=dict(s3))
    assert list(store.batches()) == list(same.batches())
    options: Any = {"split": "train", "cache_dir": str(tmp_path), "storage_options": dict(s3)}
    for lazy in (True, False):
        found = coig_p.load_dataset("math", data_dir=str(store.path), lazy=lazy, **options)
        assert list(found) == list(coig_p.load_dataset("math", data_dir=str(same.path), split="train"))
    assert Store.open(f"s3://{BUCKET}/odd/data", storage_options=dict(s3)).verify() == []
    said = run("clean", local, "--out", f"s3://{BUCKET}/odd/data/new", code=2).stderr
    assert f"is inside the store s3://{BUCKET}/odd/data" in said
    client.pipe_file(f"{BUCKET}/odd/only/only/a", b"of somebody else")
    assert "exists and is not" in run("clean", local, "--out", f"s3://{BUCKET}/odd/only", code=2).stderr
    client.rm(f"{BUCKET}/odd", recursive=True)


def test_damage_is_named_with_its_file(s3: dict[str, Any], there: str) -> None:
    shard = Store.open(there, storage_options=dict(s3)).data_files("math")[0]
    place, files = f"{BUCKET}/store/{shard.path}", s3_server.files(s3)
    whole = files.cat_file(place)
    files.pipe_file(place, whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=rf"{shard.path}: \d+ bytes"):
        Store.open(there, storage_options=dict(s3))
    store = Store.open(there, check_sizes=False, storage_options=dict(s3))
    with pytest.raises(StoreError, match=f"{shard.path} cannot be read"):
        list(store.batches())
    assert any(shard.path in problem for problem in store.verify())
    with pytest.raises(StoreError, match=f"{shard.path} is not the file"):
        coig_p.load_dataset("math", data_dir=there, storage_options=dict(s3), split="train")
    files.rm_file(place)
    with pytest.raises(StoreError, match=f"{shard.path} cannot be read"):
        list(store.batches())
    with pytest.raises(StoreError, match="missing"):
        Store.open(there, storage_options=dict(s3))


def test_a_file_that_is_replaced_while_it_is_open_is_an_error(s3: dict[str, Any], there: str) -> None:
    files = s3_server.files(s3)
    files.pipe_file(f"{BUCKET}/store/large", b"a" * (9 << 20))
    with object_path(f"{there}/large", s3).open("rb") as stream:
        assert stream.read(10) == b"a" * 10
        files.pipe_file(f"{BUCKET}/store/large", b"b" * (9 << 20))
        stream.seek(8 << 20)
        with pytest.raises(StoreError, match="replaced while it was read"):
            stream.read(10)


def test_a_server_that_is_not_there_and_one_that_refuses_say_so_without_secrets(s3: dict[str, Any]) -> None:
    from s3fs import S3FileSystem

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S3FileSystem, "retries", 1)
        gone = s3 | {"endpoint_url": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 1}}}
        with pytest.raises(RemoteError, match="could not be reached") as caught:
            Store.open(f"s3://{BUCKET}/store", storage_options=gone)
        assert SECRET not in str(caught.value)

        async def refused(*_: object, **__: object) -> None:
            raise PermissionError(f"Signature of {SECRET} does not match")

        patch.setattr(S3FileSystem, "_call_s3", refused)
        with pytest.raises(RemoteError, match="access was refused") as caught:
            Store.open(f"s3://{BUCKET}/store", storage_options=dict(s3))
        assert SECRET not in str(caught.value)
    place = object_path(f"s3://{BUCKET}/store", s3)
    assert SECRET not in repr(place)
    for on in (gc.disable, gc.enable):
        on()
        before = gc.isenabled()
        with pytest.raises(UsageError, match="storage_options"):
            Store.open(f"s3://{BUCKET}/store", storage_options=s3 | {"no_such": 1})
        assert gc.isenabled() == before


def new_store(local: Path, s3: dict[str, Any], name: str) -> Store:
    out = object_path(f"s3://{BUCKET}/{name}", s3)
    keep: Any = lambda domain, query_id: Change(row="gone") if domain == "chat" else None  # noqa: E731
    return rewrite_store(Store.open(local), out, keep, step="tried", record=lambda dropped: {}).store


def test_a_stopped_upload_is_no_store_and_is_replaced(
    s3: dict[str, Any], local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = upload.upload_file
    sent: list[str] = []

    def fails(path: Path, place: ObjectPath) -> None:
        if sent:
            raise RemoteError("the line is cut")
        sent.append(place.name)
        stock(path, place)

    monkeypatch.setattr(upload, "upload_file", fails)
    with pytest.raises(RemoteError, match="the line is cut"):
        new_store(local, s3, "new")
    monkeypatch.undo()
    left = names(s3, "new")
    assert upload.NOTE in left
    assert "manifest.json" not in left
    with pytest.raises(StoreError, match="not a store"):
        Store.open(f"s3://{BUCKET}/new", storage_options=dict(s3))
    s3_server.files(s3).pipe_file(f"{BUCKET}/new/mine.txt", b"of somebody else")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        new_store(local, s3, "new")
    s3_server.files(s3).rm_file(f"{BUCKET}/new/mine.txt")
    made = new_store(local, s3, "new")
    assert made.verify() == []
    assert made.manifest.domains == ("math",)
    assert names(s3, "new") == {file.path for file in made.manifest.files} | {"manifest.json"}
    with pytest.raises(UsageError, match="choose a new name"):
        new_store(local, s3, "new")


def test_two_writers_of_one_place_are_not_mixed(s3: dict[str, Any], tmp_path: Path) -> None:
    target: Any = object_path(f"s3://{BUCKET}/both", s3)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="somebody else"), upload.uploaded(target, "manifest.json", tmp_path):
        s3_server.files(s3).pipe_file(f"{BUCKET}/both/{upload.NOTE}", json.dumps({"nonce": "theirs"}).encode())
    assert not (target / "manifest.json").is_file()


def test_what_fails_before_anything_is_sent_leaves_nothing(s3: dict[str, Any], tmp_path: Path) -> None:
    target: Any = object_path(f"s3://{BUCKET}/nothing", s3)
    with pytest.raises(ZeroDivisionError), upload.uploaded(target, "manifest.json", tmp_path):
        raise ZeroDivisionError
    assert not names(s3, "nothing")


def test_other_protocols_go_the_same_way(local: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").put(f"{local}/", "/tried/store/", recursive=True)
    store = Store.open("memory://tried/store")
    assert list(store.batches()) == list(Store.open(local).batches())
    assert store.verify() == []
    made = rewrite_store(store, object_path("memory://tried/new"), lambda *_: None, step="tried", record=lambda _: {})
    assert made.store.verify() == []
    assert Store.open(f"file://{local}").path == local
    assert locate(f"file://{local}").root == str(local)
    with pytest.raises(UsageError, match="pip install"):
        Store.open("gs://bucket/store")
    with pytest.raises(UsageError, match="storage_options is a str: give a mapping") as refused:
        Store.open("memory://tried/store", storage_options="hush")  # type: ignore[arg-type]
    assert "hush" not in str(refused.value)
