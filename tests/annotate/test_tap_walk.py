"""What a newcomer does with a taxonomy: the commands of both pages, in both languages, as they are printed there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from walking import commands, in_bash

pytest.importorskip("aiohttp", reason="asking models needs the extra [annotate]")
pytest.importorskip("sklearn", reason="grouping responses needs scikit-learn: pip install 'coig-p[tap]'")
from coig_p.annotate.taxonomy.reading import read_taxonomy

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="the documents are for bash")


def rows(folder: Path) -> int:
    return sum(
        pq.read_metadata(path).num_rows if path.suffix == ".parquet" else len(path.read_text("utf-8").splitlines())
        for path in (folder / "train").iterdir()
    )


def test_the_rehearsal_and_all_that_is_made_of_it(tmp_path: Path) -> None:
    text = commands("tap.md", "A rehearsal") + commands("tap.md", "What is made of it")
    assert text == commands("tap.zh.md", "演练") + commands("tap.zh.md", "由此得到什么")
    said = in_bash(text, tmp_path / "run", tmp_path / "bin")
    page = Path(__file__).resolve().parents[2].joinpath("docs", "tap.md").read_text("utf-8")
    told = re.search(r"become (\d+) prompts, (\d+) selected responses and (\d+) pairs", page)
    assert told is not None
    prompts, responses, pairs = told.groups()
    assert re.search(rf"^all +{prompts} +{responses} +0 +[\d,]+ +{pairs}$", said, re.MULTILINE), said
    folder = tmp_path / "run"
    # Of each type of a writer and a subject one prompt; halves share no query, and are all of them.
    store = folder / "demo/annotation/store"
    metas = [json.loads(one) for file in store.rglob("*.parquet") for one in pq.read_table(file)["meta"].to_pylist()]
    types = {(one["writer"], one["code"], one["question_type"]) for one in metas}
    assert 0 < rows(folder / "sft") <= len(types)
    halves = [set((folder / f"halves/half-{at}.txt").read_text("utf-8").split()) for at in (1, 2)]
    assert not halves[0] & halves[1]
    assert len(halves[0] | halves[1]) == int(prompts)
    assert rows(folder / "reward") + rows(folder / "policy") == int(pairs)
    assert rows(folder / "dpo") > 0


def test_a_file_to_begin_with_is_estimated_without_a_key(tmp_path: Path) -> None:
    text = commands("tap.md", "A run")
    assert text == commands("tap.zh.md", "一次运行")
    first = [line for line in text.splitlines() if not re.search(r"annotate run \S+( --limit \d+)?$", line)]
    assert len(first) == len(text.splitlines()) - 2  # these two would pay
    asked = "\n".join(first).replace("--estimate", "--estimate --trust")  # on a terminal it asks whether to
    assert re.search(r"^all +[\d,]+ ", in_bash(asked, tmp_path / "run", tmp_path / "bin"), re.MULTILINE)


def test_a_tree_of_a_topic_that_grows(tmp_path: Path) -> None:
    text = commands("taxonomy.md", "A tree that a model proposes")
    assert text == commands("taxonomy.zh.md", "由模型提出的分类树")
    said = in_bash(text, tmp_path / "run", tmp_path / "bin")
    assert "campus.toml" in said
    campus, more = (read_taxonomy(tmp_path / "run" / name) for name in ("campus.toml", "more.tsv"))
    assert len(more.subjects()) > len(campus.subjects()) > 0
