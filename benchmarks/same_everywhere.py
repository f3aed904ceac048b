"""Whether every command makes the same bytes in one process, in two, on Ray's workers, and on other Pythons.

    python benchmarks/same_everywhere.py [--python PATH ...] [--only CORPUS,...] [--jobs JOB,...] [--data DIR]
                                         [--questions N] [--ways WAY,...] [--cuts CUT,...] [--keep DIR]

Each corpus stands there three times: as it was written, with the same rows in many small shards, and with these in a
random order in the manifest. Every job of tests/jobs.py and some more run on each, in one process, in two, and by two
workers of Ray where it is installed: by this Python, and by others that --python names, with the packages that each
has. All bytes of what is made are compared. Of the first two, what does not tell of the shards themselves must be
equal, too; of the third what does not follow the rows' order. DIR of --data holds halluqa.jsonl and zh_queries.txt;
without it these are left out. With --keep the stores and what was found stay: a run that was ended goes on, and runs of
some ways, cuts or Pythons are compared with those before, as long as the package is the same. Prints a
table, keeps it in benchmarks/results/same_everywhere.md, and exits 1 on a difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE / "tests" / folder) for folder in ("", "publish", "review")]

import pyarrow as pa  # noqa: E402
from measuring import progress, publish, where  # noqa: E402

ONE, TWO, RAY = "one process", "two processes", "two workers of Ray"
CORPORA = ("mixed", "corpus", "HalluQA", "questions")
CUTS = ("as written", "small shards", "random order")
ORDERLESS = ("check", "sweep", "contamination", "export", "export with labels", "export as JSON Lines", "export agreed")
"""What makes the same of the same rows in any order. A fraction of a domain is dealt in the store's order."""
_FACTS = "import platform, importlib.util as u; print(platform.python_version(), u.find_spec('ray') is not None)"
Made = dict[str, bytes]
Job = Callable[..., Made]
Found = dict[str, dict[str, str]]
"""By job the hash of every file that was made."""


# The corpora


def write(path: Path, rows: list[dict[str, Any]], cut: str, *, scale: tuple[float, float], threshold: float) -> None:
    """A store of rows, by domain and split, with a card and rewards."""
    from make import completed
    from releasing import CARD
    from rewarding import with_given

    from coig_p.core.atomic import atomic_directory
    from coig_p.report.card_toml import CARD_TOML
    from coig_p.schema import RAW_SCHEMA
    from coig_p.store import writing
    from coig_p.store.listing import write_manifest
    from coig_p.store.manifest import Manifest
    from coig_p.store.store import Store

    parts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        parts.setdefault((row["domain"], row.get("split", "train")), []).append(row)
    small = cut != CUTS[0]
    with (
        mock.patch.object(writing, "ROWS_PER_SHARD", 1_000 if not small else 37 if len(rows) < 50_000 else 700),
        mock.patch.object(writing, "ROWS_PER_GROUP", 11 if small else 256),
        atomic_directory(path) as root,
    ):
        given = (
            writing.Part(*name, len(own), pa.Table.from_pylist(completed(own), RAW_SCHEMA).to_batches(256))
            for name, own in parts.items()
        )
        writing.write_store(root, given, Manifest(score_range=scale, default_threshold=threshold, tool="benchmark"))
    with_given(path, "crm", lambda query, model, sample, text: len(text) / 16 if len(text) % 11 else None)
    (path / CARD_TOML).write_text(CARD, encoding="utf-8")
    if cut == CUTS[2]:
        manifest = Store.open(path).manifest
        files = random.Random(5).sample(manifest.files, len(manifest.files))
        write_manifest(path, replace(manifest, files=tuple(files)))


def corpus_rows(queries: int, folder: Path) -> list[dict[str, Any]]:
    """The corpus of the benchmarks, with something to find for every job."""
    from corpus import make_store

    from coig_p.store.store import Store

    make_store(folder, queries, characters=200)
    rows = [row for batch in Store.open(folder).batches() for row in batch.to_pylist()]
    shutil.rmtree(folder)
    for at, row in enumerate(rows):
        if at % 20 == 7:
            row["query"] = rows[at - 5]["query"] + "吧"
        if at % 9 == 2:
            row["responses"][0]["text"] = row["responses"][1]["text"] = row["responses"][4]["text"] * 2
            row["responses"][2]["text"] = "请打电话给我：13800138000。<|im_end|>"
        row["split"] = "validation" if at % 10 == 3 else "train"
    return rows


def halluqa_rows(data: Path, folder: Path) -> list[dict[str, Any]]:
    """As it is imported."""
    from coig_p.ingest.config import ImportConfig
    from coig_p.ingest.files import import_files
    from coig_p.store.store import Store

    config = ImportConfig(domain="chat", score_range=(0, 1), default_threshold=1, on_error="skip")
    store, _ = import_files([data / "halluqa.jsonl"], folder, config)
    rows = [row for batch in Store.open(store.path).batches() for row in batch.to_pylist()]
    shutil.rmtree(folder)
    return rows


def question_rows(data: Path, number: int) -> list[dict[str, Any]]:
    """Real questions, each with two short answers, judged by two."""
    lines = (data / "zh_queries.txt").read_text("utf-8").splitlines()[:number]
    rows = []
    for at, line in enumerate(lines):
        rng = random.Random(at)
        responses = [
            {
                "model": f"model-{nth}",
                "text": f"这个问题可以这样看：{line[rng.randint(0, 3) :]}，{'所以' * rng.randint(0, 3)}就是这样。",
                "scores": [
                    {"judge": judge, "dimension": "overall", "score": rng.randint(2, 20) / 2} for judge in ("j", "k")
                ],
            }
            for nth in rng.sample(range(4), 2)
        ]
        domain, split = ("math", "chat", "code")[at % 3], "validation" if at % 50 == 3 else "train"
        own = {"query_id": f"q-{at:06d}", "domain": domain, "split": split}
        rows.append(own | {"query": line, "responses": responses})
    return rows


def mixed_rows() -> list[dict[str, Any]]:
    """Conversations, some with tools, comparisons, several samples of a model, dimensions, rationales, two splits."""
    from conversations import as_json, turn
    from make import make_rows

    from coig_p.store.conversations import transcript

    rng = random.Random(7)
    rows = make_rows({"math": 210, "chat": 150, "code": 60}, seed=3)
    called = [{"function": {"name": "查天气", "arguments": '{"城市": "杭州"}'}, "id": "c", "type": "function"}]
    for at, row in enumerate(rows):
        row["split"] = "validation" if at % 7 == 3 else "train"
        row["source"], row["meta"] = rng.choice([None, "手写"]), rng.choice([None, as_json({"号": at})])
        if at % 3 == 0:
            turns = [turn("system", "请用中文回答。")] if at % 2 else []
            turns += [turn("user", f"先说第{at}件事"), turn("assistant", "好。")]
            if at % 4 == 0:
                row["tools"] = as_json([{"type": "function", "function": {"name": "查天气"}}])
                turns += [turn("user", "天气？"), turn("assistant", "", tool_calls=called)]
                turns += [turn("tool", "晴", tool_call_id="c"), turn("assistant", "今天晴。")]
            row["messages"] = [*turns, turn("user", row["query"])]
            row["query"] = transcript(row["messages"])
        for response in row["responses"]:
            if rng.random() < 0.1:
                response["extra"] = as_json({"tool_calls": called, "reasoning_content": "想一想"})
            for score in response["scores"]:
                score["rationale"] = rng.choice([None, "说得清楚。"])
                if rng.random() < 0.2:
                    score["dimension"] = "正确性"
        first = row["responses"][0]
        row["responses"].append({**first, "sample": 1, "text": first["text"] + "再说一遍。"})
        if at % 9 == 2:
            row["responses"][1]["text"] = row["responses"][2]["text"] = "这是同一个回答，一个字也不差，所以是重复的。"
        if rng.random() < 0.4:
            number = len(row["responses"])
            row["comparisons"] = [
                {
                    **{"first": one, "second": other, "judge": "人", "dimension": "overall", "rationale": None},
                    **{"first_score": float(won), "second_score": 1.0 - won},
                }
                for one, other in (rng.sample(range(number), 2) for _ in range(3))
                for won in [rng.choice([0, 0.5, 1])]
            ]
        if at % 15 == 9 and not row["messages"] and not rows[at - 2]["messages"]:
            row["query"] = rows[at - 2]["query"] + "吧"
    return rows


def make_stores(name: str, place: Path, data: Path, questions: int) -> None:
    """The stores of a corpus, but for those that are there."""
    missing = [cut for cut in CUTS if not folder_of(place, cut).exists()]
    if not missing:
        return
    progress(f"{name}: making {len(missing)} stores ...")
    place.mkdir(parents=True, exist_ok=True)
    rows = {
        "mixed": mixed_rows,
        "corpus": lambda: corpus_rows(1_000, place / "made"),
        "HalluQA": lambda: halluqa_rows(data, place / "made"),
        "questions": lambda: question_rows(data, questions),
    }[name]()
    scale, threshold = ((0.0, 1.0), 1.0) if name == "HalluQA" else ((1.0, 10.0), 2.0)
    for cut in missing:
        write(folder_of(place, cut), rows, cut, scale=scale, threshold=threshold)


def folder_of(place: Path, cut: str) -> Path:
    return place / cut.replace(" ", "-")


# The jobs


def jobs_of(name: str) -> dict[str, Job]:
    """From a store, a folder that is not there and num_proc= and engine= to what is made."""
    import jobs

    from coig_p.export.write import ExportConfig
    from coig_p.pairs.config import PairConfig
    from coig_p.pairs.plan import ShardConfig
    from coig_p.pairs.splits import SplitConfig

    talks = name == "mixed"
    split, first = (None, "chat") if name == "HalluQA" else ("train", "math")
    agreed = PairConfig(agree_with="crm", multi_turn="skip" if talks else None)
    of = partial(ExportConfig, split=split)
    turns = {"conversational": talks}
    exports = {
        "export": ExportConfig("trl-dpo", splits=SplitConfig(test_size=0.2), order=ShardConfig(world_size=4), **turns),
        "export with labels": of("trl-kto", weights={first: 2.0}, order=ShardConfig(world_size=4), **turns),
        "export as JSON Lines": of("llama-factory", replace(agreed, strategy="best_worst")),
        "export one by one": of("trl-dpo", weights={first: 0.5}, **turns),
        "export agreed": of("verl", agreed, order=ShardConfig(world_size=2)),
    }
    return {
        **jobs.EVERY,
        **{job: partial(jobs.EVERY["export"], config=config) for job, config in exports.items()},
        "stats agreed": partial(jobs.EVERY["stats"], config=agreed),
        "release": partial(jobs.RELEASE, rows_per_shard=1_500, format="conversational" if talks else "dpo"),
        "contamination": contamination,
        "review apply": review,
    }


def contamination(store: Path, out: Path, **workers: Any) -> Made:
    """Beside a benchmark of the store's own queries and answers, the same whatever its shards."""
    import jobs

    from coig_p.dedup.contamination import ContaminationConfig
    from coig_p.store.store import Store

    rows = sorted(
        (row["query_id"], row["query"], (row["responses"] or [{"text": ""}])[0]["text"])
        for batch in Store.open(store).batches()
        for row in batch.to_pylist()
    )[::37]
    own = [{"prompt": query, "answer": text} for _, query, text in rows]
    return jobs.EVERY["contamination"](store, out, rows=own, config=ContaminationConfig(), **workers)


def review(store: Path, out: Path, **workers: Any) -> Made:
    """A review of a few pairs, answered by a script, in the store."""
    import jobs
    from people import answer_in_browser

    from coig_p.review.applying import apply_review
    from coig_p.review.drawing import DrawConfig
    from coig_p.review.making import make_review
    from coig_p.store.store import Store

    opened, folder = Store.open(store), out / "review"
    out.mkdir(parents=True)
    make_review(opened, folder, DrawConfig(per_domain=12), ["a", "b"])
    for name in ("a", "b"):
        answer_in_browser(folder, name)
    apply_review(folder, opened, out / "store", **workers)
    return jobs.files(out / "store")


# The runs


def measure(way: str, name: str, place: Path, cut: str, only: list[str]) -> Found:
    """What every job makes of a store, in this process."""
    from jobs import hashes

    from coig_p.engine.local import Processes, held
    from coig_p.store import writing

    logging.disable(logging.WARNING)
    found: Found = {}
    engine: Any = nullcontext()
    if way == TWO:  # started once for all jobs
        engine = held(Processes(2))
    elif way == RAY:
        from coig_p.engine.ray import RayExecutor

        engine = RayExecutor(num_proc=2, scratch=place / "scratch")
    with (
        tempfile.TemporaryDirectory(prefix="out-", dir=place) as outs,
        engine as shared,
        mock.patch.object(writing, "ROWS_PER_SHARD", 60 if name != "questions" else 1_000),
    ):
        workers = {"num_proc": 1} if shared is None else {"engine": shared}
        for job, work in jobs_of(name).items():
            if only and job not in only:
                continue
            out = Path(outs) / "out"
            begin = time.perf_counter()
            try:
                found[job] = hashes(work(folder_of(place, cut), out, **workers))
            except Exception as error:
                found[job] = {"error": f"{type(error).__name__}: {error}"}
            finally:
                shutil.rmtree(out, ignore_errors=True)
            seconds = time.perf_counter() - begin
            progress(f"{name}, {platform.python_version()}, {way}: {cut}, {job}: {seconds:.1f} s")
    return found


def differences(name: str, found: Mapping[str, Mapping[str, Found]]) -> tuple[dict[str, str], list[str]]:
    """For each job what is equal in words, and a line for each difference.

    Args:
        found: by cut and the words for a way what it made.
    """
    firsts = {cut: next(iter(by_way.items())) for cut, by_way in found.items()}
    said, wrong = {}, []
    for job in next(iter(firsts.values()))[1]:
        before = len(wrong)
        for cut, (first, made) in firsts.items():
            one = made[job]
            if "error" in one:
                wrong.append(f"{name}, {job}, {cut}: {one['error']}")
            wrong += [
                f"{name}, {job}, {cut}: {way} is not {first}: {_unequal(one, other[job])}"
                for way, other in found[cut].items()
                if other[job] != one
            ]
        of_rows = {cut: _of_rows(job, made[job]) for cut, (_, made) in firsts.items()}
        if job not in ORDERLESS:
            of_rows.pop(CUTS[2], None)
        wrong += [
            f"{name}, {job}: {cut} is not {other_cut}: {_unequal(other, one)}"
            for (other_cut, other), (cut, one) in pairwise(of_rows.items())
            if other != one
        ]
        files = len(next(iter(firsts.values()))[1][job])
        said[job] = "differs" if len(wrong) > before else f"{files:,} files"
    return said, wrong


def _of_rows(job: str, made: Mapping[str, str]) -> dict[str, str]:
    """What tells of the rows alone, and not of the shards that they came in."""
    if job == "verify":
        return {}
    if job == "check":  # the report names the store
        return {"findings": made["findings"]}
    if job == "release":
        return {each: told for each, told in made.items() if each.startswith("pairs/")}
    if job == "review apply":  # the manifest remembers the review, which remembers the store
        return {each: told for each, told in made.items() if each != "manifest.json"}
    return dict(made)


def _unequal(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    names = sorted(each for each in one.keys() | other.keys() if one.get(each) != other.get(each))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more + (f" ({other['error']})" if "error" in other else "")


def runs_of(name: str, place: Path, given: argparse.Namespace) -> dict[str, dict[str, Found]]:
    """By cut and the words for a way what it made, now or in a run before."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path[:3], str(HERE / "benchmarks")])}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def said(python: str, *words: str) -> str:
        done = subprocess.run([python, *words], stdout=subprocess.PIPE, text=True, check=True, env=environment)
        return done.stdout.splitlines()[-1]

    kept = place / f"found-{_code()}"
    kept.mkdir(exist_ok=True)
    for python in [sys.executable, *given.python]:
        version, has_ray = said(python, "-c", _FACTS).split()
        for way in (way for way in given.ways.split(",") if way != RAY or has_ray == "True"):
            for cut in given.cuts.split(","):
                told = kept / f"{cut}, Python {version}, {way}.json"
                if not told.exists():
                    made = said(python, __file__, "--measure", way, name, str(place), cut, given.jobs)
                    told.write_text(made, encoding="utf-8")
    found: dict[str, dict[str, Found]] = {}
    for cut in CUTS:
        for told in sorted(kept.glob(f"{cut}, *.json")):
            found.setdefault(cut, {})[told.stem.removeprefix(f"{cut}, ")] = json.loads(told.read_text("utf-8"))
    return found


def _code() -> str:
    """A hash of the package and of the jobs."""
    files = [*sorted((HERE / "coig_p").rglob("*.py")), HERE / "tests" / "jobs.py", Path(__file__)]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], metavar="PATH")
    parser.add_argument("--only", default=",".join(CORPORA))
    parser.add_argument("--data", type=Path, default=HERE.parent / "shared" / "data")
    parser.add_argument("--questions", type=int, default=200_000)
    parser.add_argument("--jobs", default="", help="Of these alone.")
    parser.add_argument("--ways", default=f"{ONE},{TWO},{RAY}")
    parser.add_argument("--cuts", default=",".join(CUTS))
    parser.add_argument("--keep", type=Path, help="Where stores and findings stay.")
    parser.add_argument("--measure", nargs=5, metavar=("WAY", "CORPUS", "PLACE", "CUT", "JOBS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        way, name, place, cut, only = given.measure
        print(json.dumps(measure(way, name, Path(place), cut, [one for one in only.split(",") if one])))
        return
    if unknown := {*given.ways.split(",")} - {ONE, TWO, RAY} | {*given.cuts.split(",")} - {*CUTS}:
        parser.error(f"no way or cut is named {', '.join(sorted(unknown))}")
    rows, wrong, ways = [], [], []
    for name in given.only.split(","):
        if name in CORPORA[2:] and not given.data.is_dir():
            progress(f"{name}: no {given.data}")
            continue
        with nullcontext(given.keep) if given.keep else tempfile.TemporaryDirectory(prefix="coigp-same-") as folder:
            place = Path(folder).absolute() / name
            make_stores(name, place, given.data, given.questions)
            found = runs_of(name, place, given)
        said, more = differences(name, found)
        wrong += more
        rows += [f"| {name} | {job} | {told} |" for job, told in said.items()]
        ways += [f"- {name}, {cut}: {'; '.join(by_way)}" for cut, by_way in found.items()]
    lines = [
        f"Every job on stores of each corpus, in every way below. {where('pyarrow', 'numpy')}",
        *["", *ways],
        *["", "| corpus | job | the same bytes in every way |", "|---|---|---|", *rows],
        *["", *([f"- {one}" for one in wrong] or ["No difference."])],
    ]
    publish("same_everywhere.md", "\n".join(lines) + "\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
