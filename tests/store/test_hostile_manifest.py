"""Manifests that somebody sent: of any shape, size and nesting, each is read or one error of ours; nothing is live."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from commands import run
from make import make_rows, make_store
from markdown_it import MarkdownIt

from coig_p.core.small_files import read_small
from coig_p.errors import CoigPError, StoreError
from coig_p.publish import release
from coig_p.publish.release import ReleaseConfig, write_release
from coig_p.report.card import CardFacts, render_card
from coig_p.stats.info import store_info
from coig_p.store.benchmarks import benchmark_checks, rows_digest
from coig_p.store.locate import BUNDLED
from coig_p.store.manifest import MANIFEST, Manifest
from coig_p.store.store import Store

LIVE = "<img src=x onerror=y>[a](http://b.c)![d](e)`x` http://f.g h@i.jk mailto:l@m.no\n\n# q\n|r|"
LOST = {"rows": 1, "responses": 2, "scores": 3}
CARD = """pretty_name = "x"\nlicense = "mit"\nauthors = ["a"]\ncitation = "c"\nintended_use = "u"
sources = [{ name = "s", license = "mit" }]\n"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store whose manifest has everything that one can have."""
    store = make_store(tmp_path_factory.mktemp("whole") / "store", make_rows({"math": 6, "chat": 3}))
    manifest = Manifest.from_json((store / MANIFEST).read_text("utf-8"), store)
    fields = json.loads(manifest.to_json())
    units = ("rows", "responses", "scores", "comparisons")
    fields["accounting"] = {unit: {"read": 4, "stored": 2, "rejected": 1, "merged": 1} for unit in units}
    used = {"name": "bench", "sha256": "0" * 64}
    check = {"against": [used], "prompts": 3, "answers": 1, "options": {}, "tool": "t"}
    held = {"queries": 1, "responses": 1}
    fields["options"] = {
        "dedup": {"method": "minhash", "threshold": 0.8, "dropped": LOST, "against": [{**used, "queries": 3}]},
        "dedup_responses": {"dropped": {"math": LOST}, "rules": {"math": {"threshold": 0.9}}},
        "clean": {"dropped": {"mobile": LOST}},
        "contamination": {"rows": rows_digest(manifest), "checks": [check | {"left": held, "dropped": held}]},
    }
    fields["sources"] = [{"name": "rows.jsonl", "sha256": "0" * 64, "license": "mit"}]
    fields["release"] = {}
    (store / MANIFEST).write_text(json.dumps(fields), encoding="utf-8")
    (store / "card.toml").write_text(CARD, encoding="utf-8")
    return store


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> CardFacts:
    made: list[CardFacts] = []

    def render(facts: CardFacts, language: str = "en") -> str:
        made.append(facts)
        return render_card(facts, language)

    with mock.patch.object(release, "render_card", render):
        out = tmp_path_factory.mktemp("release") / "out"
        store = Path(shutil.copytree(BUNDLED, out.with_name("store")))
        (store / "card.toml").write_text(CARD, encoding="utf-8")
        write_release(Store.open(store), out, ReleaseConfig("1.0.0"))
    return made[0]


VALUES: list[Any] = [
    *(
        None,
        True,
        -1,
        0,
        10**17,
        10**40,
        1.5,
        float("nan"),
        float("inf"),
        "",
        LIVE,
        "\x1b[2J\u202e",
        "x" * 5000,
        "a\0b",
    ),
    *([], {}, [[]], [None], {"": {}}, {LIVE: 1}, [LIVE], {"rows": {"rows": {}}}, "../x", "/etc/passwd", "\ud800"),
    *({LIVE: {"read": 1, "stored": 1, "rejected": 0, "merged": 0}}, {LIVE: {"rows": 1, "responses": 1, "scores": 1}}),
]


def mutated(fields: Any, rng: random.Random) -> Any:
    """The fields with one to three places changed, taken away, doubled or put somewhere else."""
    fields = copy.deepcopy(fields)
    for _ in range(rng.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        waiting = [fields]
        while waiting:
            value = waiting.pop()
            keys = list(value) if isinstance(value, dict) else list(range(len(value)))
            places += [(value, key) for key in keys]
            waiting += [value[key] for key in keys if isinstance(value[key], dict | list)]
        if not places:
            return fields
        holder, key = rng.choice(places)
        match rng.randrange(5):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[str(rng.choice(VALUES))] = holder.pop(key)
            case 2:
                other, at = rng.choice(places)
                holder[key] = copy.deepcopy(other[at] if at in other or not isinstance(other, dict) else None) \
                    if isinstance(other, dict) or at < len(other) else None  # fmt: skip
            case 3:
                deep: Any = rng.choice(VALUES)
                for _ in range(rng.choice([1, 3, 70, 300])):
                    deep = {"a": deep} if rng.random() < 0.5 else [deep]
                holder[key] = deep
            case _:
                holder[key] = rng.choice(VALUES)
    return fields


def check_card(facts: CardFacts, manifest: Manifest) -> None:
    changed = CardFacts(**{**vars(facts), "manifest": manifest})
    for language in ("en", "zh"):
        body = render_card(changed, language).rpartition("\n---\n")[2]
        html = MarkdownIt("commonmark").enable("table").render(body)
        known = re.findall(r'<(?:a href|img src)="(?:README|report\.|plots/|https://example)', html)
        assert len(re.findall(r"<(?:a|img) ", html)) == len(known), html
        assert "onerror" not in re.sub(r"&lt;.*?&gt;", "", html)


def test_what_a_manifest_says_is_text_in_the_card(whole: Path, facts: CardFacts) -> None:
    fields = json.loads((whole / MANIFEST).read_text("utf-8"))
    counts = fields["accounting"].pop("rows")
    fields["accounting"][LIVE] = counts
    fields["options"]["dedup"] |= {"method": LIVE, "against": [{"name": LIVE, "sha256": LIVE, "queries": 1}]}
    fields["options"]["clean"]["dropped"] = {LIVE: LOST}
    check = fields["options"]["contamination"]["checks"][0]
    check["against"], check["tool"] = [{"name": LIVE, "sha256": LIVE}], LIVE
    fields |= {"tool": LIVE, "models": {LIVE: 1}, "judges": {LIVE: 1}}
    manifest = Manifest.from_json(json.dumps(fields), "x")
    assert benchmark_checks(manifest)
    check_card(facts, manifest)


def test_a_manifest_of_any_shape_is_read_or_one_error(whole: Path, facts: CardFacts, tmp_path: Path) -> None:
    fields = json.loads((whole / MANIFEST).read_text("utf-8"))
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    rng = random.Random(7)
    read, said = 0, []
    for at in range(int(os.environ.get("COIGP_FUZZ_MANIFESTS", "400"))):
        text = json.dumps(mutated(fields, rng))
        (store / MANIFEST).write_text(text, encoding="utf-8")
        try:
            opened = Store.open(store, check_sizes=False)
        except StoreError as error:
            said.append(str(error))
            continue
        read += 1
        try:
            opened.verify()
            store_info(store)
            repr(opened), opened._repr_html_(), benchmark_checks(opened.manifest)
            assert Manifest.from_json(opened.manifest.to_json(), store).to_json() == opened.manifest.to_json()
            check_card(facts, opened.manifest)
        except CoigPError:
            continue
        if at % 40 == 0:
            run("verify", store, code=None)
            run("stats", store, code=None)
    assert read > at / 20
    assert all(map(str.isprintable, said))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"options": ' + '{"a":' * 80 + "1" + "}" * 80 + "}", "nested too deep"),
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": 1e999}', "too large"),
        ('{"a": ' + "9" * 5000 + "}", "5,000 digits"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        (r'{"a": "\ud800"}', "surrogates"),
        ("\x00", "is not JSON"),
        (" " * (33 << 20), "larger than 32 MiB"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=said):
        Store.open(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"split": "train\x1b", "path": "data/math/train\x1b-0.parquet"},
        {"split": 'a"; x', "path": 'data/math/a"; x-0.parquet'},
        {"path": f"data/math/train-{'x' * 300}.parquet"},
        {"path": "data/math/train-\u202e.parquet"},
    ],
)
def test_names_that_would_harm(whole: Path, tmp_path: Path, change: dict[str, str]) -> None:
    fields = json.loads((whole / MANIFEST).read_text("utf-8"))
    at = next(at for at, file in enumerate(fields["files"]) if file["path"].startswith("data/math/"))
    fields["files"][at] |= change
    with pytest.raises(StoreError, match=rf"files\[{at}\]\.(path|split)"):
        Manifest.from_json(json.dumps(fields), "x")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_does_not_hang(whole: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(whole, tmp_path / "store"))
    shard = next((store / "data").rglob("*.parquet"))
    for name in (MANIFEST, "card.toml", shard.relative_to(store)):
        path, aside = store / name, store / "aside"
        path.rename(aside)
        os.mkfifo(path)
        done = run("card", store, code=1)
        assert "Traceback" not in done.stderr
        assert done.stderr.count("error: ") == 1
        path.unlink()
        os.symlink("/dev/zero", path)
        run("card", store, code=1)
        path.unlink()
        aside.rename(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize(
    "words",
    [
        *("check STORE --rules PIPE", "annotate status PIPE", "import PIPE --out NEW", "verify PIPE"),
        *("contamination STORE --against PIPE", "dedup STORE --against PIPE --out NEW"),
    ],
)
def test_a_pipe_for_a_file_is_one_error(whole: Path, tmp_path: Path, words: str) -> None:
    os.mkfifo(tmp_path / "p.jsonl")
    for path in (str(tmp_path / "p.jsonl"), "/dev/zero", "/dev/stdin"):
        names = {"STORE": str(whole), "PIPE": path, "NEW": str(tmp_path / "new")}
        done = run(*(names.get(word, word) for word in words.split()), code=None)
        assert done.returncode in (1, 2)
        assert done.stderr.strip()


def test_small_files(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes("中".encode() * 10)
    assert read_small(path) == "中" * 10
    assert read_small(path, 30) == "中" * 10
    marked = tmp_path / "marked"
    marked.write_text("\ufeff\ufeff中", encoding="utf-8")
    assert read_small(marked) == "\ufeff中"
    with pytest.raises(OSError, match="larger than"):
        read_small(path, 29)
    with pytest.raises(IsADirectoryError):
        read_small(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_small(tmp_path / "none")
    with pytest.raises(OSError, match="pipe or a device"):
        read_small(Path("/dev/zero"))
