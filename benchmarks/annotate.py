"""How close asking comes to what an endpoint could do, and what a large ledger takes.

A scripted server in a process of its own answers 2,000 requests after 50 ms each, 64 at a time. The
alternative beside it is OpenAI's own client in a bare loop: no ledger, no limits, nothing kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from measuring import PeakMemory, in_own_process, median, progress, publish, spread, where

REQUESTS, LATENCY, CONCURRENCY, RUNS = 2000, 0.05, 64, 5
LEDGER_ROWS = (30_000, 300_000)  # and, where --all says so, as many as COIG-P took
ALL_ROWS = 2_800_000
MODELS = 15
WORDS = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]  # more different ones than prose has


def server() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, sys.argv[0], "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process


def serve() -> None:
    from coig_p.annotate.scripted import ScriptedServer

    with ScriptedServer(lambda request: "一个不长不短的回答。", latency=LATENCY) as scripted:
        print(scripted.base_url, flush=True)
        sys.stdin.read()


def run_file(folder: Path, base_url: str, queries: int, models: int = 1) -> Any:
    from coig_p.annotate.config import load_config

    with (folder / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for at in range(queries):
            query = f"第{at}个问题：" + "请说明这件事的来龙去脉。" * 8
            stream.write(json.dumps({"query_id": f"q-{at}", "domain": "chat", "query": query}) + "\n")
    roles = [(f"writer-{at}" if models > 1 else "writer", "generates") for at in range(models)]
    roles += [(f"judge-{at}" if models > 1 else "judge", "judges") for at in range(models)]
    endpoints = "".join(
        f"""
[[endpoints]]
name = "{name}"
model = "{name}"
base_url = "{base_url}"
family = "{name}"
{does} = true
concurrency = {CONCURRENCY}
"""
        for name, does in roles
    )
    (folder / "run.toml").write_text(
        f'[queries]\ninputs = ["queries.jsonl"]\nnear_duplicates = 0\nsemantic = 0\n{endpoints}'
    )
    return load_config(folder / "run.toml")


def measure_asking(base_url: str) -> dict[str, float]:
    """Seconds that the stage takes, between the first request's sending and the last one's record."""
    import aiohttp  # not part of the asking

    from coig_p.annotate.asking.ledger import LEDGER
    from coig_p.annotate.stages import run_stages

    assert aiohttp
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        config = run_file(Path(folder), base_url, REQUESTS)
        began = time.process_time()
        report = run_stages(config, ("generate",))
        processor = time.process_time() - began
        assert report.sent == {"writer": REQUESTS}, report
        with closing(sqlite3.connect(config.folder / LEDGER)) as ledger:
            begin = ledger.execute("SELECT MIN(at) FROM attempts").fetchone()[0]
            done = "SELECT MAX(at), COUNT(*) FROM requests WHERE state = 'answered'"
            end, answered = ledger.execute(done).fetchone()
        assert answered == REQUESTS
    return {"seconds": end - begin, "processor": processor}


def measure_bare(base_url: str) -> dict[str, float]:
    import httpx2
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async def work() -> dict[str, float]:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        async with AsyncOpenAI(
            api_key="none", base_url=base_url, max_retries=0, http_client=DefaultAioHttpClient(limits=limits)
        ) as client:
            numbers = iter(range(REQUESTS))

            async def worker() -> None:
                for at in numbers:
                    query = f"第{at}个问题：" + "请说明这件事的来龙去脉。" * 8
                    messages: Any = [{"role": "user", "content": query}]
                    answer = await client.chat.completions.create(model="writer", messages=messages)
                    assert answer.choices[0].message.content

            began, processor = time.perf_counter(), time.process_time()
            await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
            return {"seconds": time.perf_counter() - began, "processor": time.process_time() - processor}

    return asyncio.run(work())


def measure_ledger(rows: int) -> dict[str, float]:
    """A ledger of so many answers, half of them judgements, as a run of 15 models leaves it.

    It is filled, gone over by a run that finds all answered and writes the store, by one that has nothing
    to do, and by `status`, each in a process of its own as people start them.
    """
    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        config = run_file(Path(folder), "http://127.0.0.1:1/v1", rows // (2 * MODELS), MODELS)
        found = {"texts": fill(config), "bytes": 0.0}
        found["bytes"] += sum(path.stat().st_size for path in config.folder.glob("ledger.sqlite*"))
        for name in ("over", "nothing", "status"):
            once = in_own_process(name, config.path)
            found |= {f"{name} {what}": value for what, value in once.items()}
    return found


def fill(config: Any) -> float:
    """Answer everything that a run would ask; the bytes of all answers as they came."""
    from coig_p.annotate.asking.ledger import ANSWERED, FromBatch, LedgerWriter, Taken
    from coig_p.annotate.tasks.generate import generate_request
    from coig_p.annotate.tasks.judge import drawn_judges, judge_request
    from coig_p.annotate.tasks.queries import collect, decide

    rng, words = np.random.default_rng(0), np.array(WORDS)
    pieces = ["，".join("".join(rng.choice(words, 4)) for _ in range(8)) + "。" for _ in range(20_000)]
    texts = 0
    # Filled long ago: no rate limit has these answers in its window.
    with LedgerWriter.open(config.folder, now=lambda: time.time() - 3600) as ledger:
        collect(config, ledger)
        decide(config, ledger)
        for query in ledger.queries():
            entries: list[Any] = []
            answers: list[Any] = []
            for author in config.generators:
                text = "".join(pieces[at] for at in rng.integers(0, len(pieces), 6))
                made = [generate_request(config, author, query)]
                for name in drawn_judges(config, query.query_id, author.name):
                    made.append(judge_request(config, config.by_name[name], query, author.name, text))
                for request in made:
                    judged = request.kind == "judge"
                    content = f"{pieces[int(rng.integers(len(pieces)))]}\n总体评分：[8]" if judged else text
                    body = scripted_body(request.endpoint.model, content, len(entries))
                    texts += len(body.encode())
                    score = 8.0 if judged else None
                    taken = Taken(ANSWERED, None, score, 200, 100, 10**9, "stop", body)
                    entries.append(request.entry(0, request.key(0)))
                    answers.append(FromBatch(request.key(0), request.endpoint.name, taken, ""))
            ledger.put_out(entries)
            ledger.take_in(answers)
    return float(texts)


def scripted_body(model: str, content: str, at: int) -> str:
    """An answer as OpenAI's servers send it."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "annotations": []}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 200, "completion_tokens": 100, "total_tokens": 300}
    about = {"id": f"chatcmpl-{at:029d}", "object": "chat.completion", "created": 1_750_000_000 + at, "model": model}
    return json.dumps({**about, "choices": [choice], "usage": usage, "service_tier": "default"}, ensure_ascii=False)


def measure_once(what: str, path: Path) -> dict[str, float]:
    """One command over a ledger: seconds of the clock and of the processor, and memory at its peak."""
    from coig_p.annotate.asking.ledger import Ledger
    from coig_p.annotate.config import load_config
    from coig_p.annotate.stages import run_stages
    from coig_p.annotate.status import status_of

    config = load_config(path)
    began, processor = time.perf_counter(), time.process_time()
    with PeakMemory() as memory:
        if what == "status":
            with Ledger.open(config.folder) as ledger:
                status = status_of(config, ledger)
            assert status.stages["judge"].done == status.stages["judge"].planned
        else:
            report = run_stages(config)
            assert not report.sent
            assert report.stored is not None
            assert not report.stored.missing
    seconds = {"seconds": time.perf_counter() - began, "processor": time.process_time() - processor}
    return {**seconds, "mebibytes": (memory.begin + memory.grown()) / 2**20}


def ledger_row(rows: int, found: dict[str, float]) -> str:
    """A row of the table on ledgers."""
    took = [
        f"{found[f'{name} processor']:.1f} s, {found[f'{name} mebibytes']:.0f} MiB"
        for name in ("over", "nothing", "status")
    ]
    sizes = [f"{found['texts'] / rows:,.0f} bytes", f"{found['bytes'] / rows:,.0f} bytes"]
    return f"| {' | '.join([f'{rows:,}', *sizes, *took])} |"


def main() -> None:
    busy = os.getloadavg()[0]  # others on this machine slow the client and the server alike
    process = server()
    assert process.stdout is not None
    base_url = process.stdout.readline().strip()
    ideal = REQUESTS / CONCURRENCY * LATENCY
    found: dict[str, list[dict[str, float]]] = {"asking": [], "bare": []}
    try:
        for at in range(RUNS):
            progress(f"asking, run {at + 1} of {RUNS}")
            for name in found:
                found[name].append(in_own_process(name, base_url))
    finally:
        process.communicate("")
    held = []
    for rows in (*LEDGER_ROWS, *([ALL_ROWS] if "--all" in sys.argv else [])):
        progress(f"a ledger of {rows:,} requests")
        held.append(ledger_row(rows, in_own_process("ledger", rows)))
    lines = [
        f"| {label} | {spread(found[name], 'seconds')} | {ideal / median(found[name], 'seconds'):.0%} | "
        f"{median(found[name], 'processor'):.2f} s |"
        for name, label in (("asking", "coigp annotate generate"), ("bare", "AsyncOpenAI in a bare loop"))
    ]
    publish(
        "annotate.md",
        f"""{REQUESTS:,} requests of {LATENCY * 1000:.0f} ms, {CONCURRENCY} at a time, against a scripted server on
loopback; ideal {ideal:.2f} s. Median of {RUNS} runs (spread). {where("openai", "aiohttp")}
Load average before the first run: {busy:.1f}.

| | time | of the ideal throughput | time of the processor |
|---|---|---|---|
{chr(10).join(lines)}

A ledger that has every answer already, of {MODELS} models and as many judges (time of the processor, peak memory):

| requests | answers as they came | file, a request | a run that looks up all | one with nothing to do | status |
|---|---|---|---|---|---|
{chr(10).join(held)}
""",
    )


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve()
    elif "--measure" in sys.argv:
        what, argument = sys.argv[2:4]
        measured = (
            measure_asking(argument)
            if what == "asking"
            else measure_bare(argument)
            if what == "bare"
            else measure_ledger(int(argument))
            if what == "ledger"
            else measure_once(what, Path(argument))
        )
        print(json.dumps(measured))
    else:
        main()
