"""How close asking comes to what an endpoint could do, and memory over a large ledger.

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
from itertools import islice
from pathlib import Path
from typing import Any

from measuring import PeakMemory, in_own_process, median, progress, publish, spread, where

REQUESTS, LATENCY, CONCURRENCY, RUNS = 2000, 0.05, 64, 5
LEDGER_ROWS = (10_000, 100_000)


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


def run_file(folder: Path, base_url: str, queries: int) -> Any:
    from coig_p.annotate.config import load_config

    with (folder / "queries.jsonl").open("w", encoding="utf-8") as stream:
        for at in range(queries):
            query = f"第{at}个问题：" + "请说明这件事的来龙去脉。" * 8
            stream.write(json.dumps({"query_id": f"q-{at}", "domain": "chat", "query": query}) + "\n")
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
        for name, does in (("writer", "generates"), ("judge", "judges"))
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


def measure_memory(rows: int) -> dict[str, float]:
    """Growth while a run goes over a ledger that has every answer already, and writes its status."""
    from coig_p.annotate.asking.asker import Asker
    from coig_p.annotate.asking.ledger import ANSWERED, FromBatch, LedgerWriter, Taken
    from coig_p.annotate.asking.limits import Budget
    from coig_p.annotate.stages import requests_of
    from coig_p.annotate.status import status_of
    from coig_p.annotate.tasks.queries import collect, decide

    with tempfile.TemporaryDirectory(prefix="coigp-bench-") as folder:
        config = run_file(Path(folder), "http://127.0.0.1:1/v1", rows)
        # Filled long ago: no rate limit has these answers in its window.
        with LedgerWriter.open(config.folder, now=lambda: time.time() - 3600) as ledger:
            collect(config, ledger)
            decide(config, ledger)
            body = json.dumps({"choices": [{"message": {"content": "回答" * 200}, "finish_reason": "stop"}]})
            taken = Taken(ANSWERED, None, None, None, None, 0, "stop", body)
            requests = requests_of(config, ledger, "generate")["writer"]
            while some := list(islice(requests, 1000)):
                ledger.put_out(request.entry(0, request.key(0)) for request in some)
                ledger.take_in(FromBatch(request.key(0), "writer", taken, "") for request in some)
        del some

        async def go(ledger: LedgerWriter) -> None:
            asker = Asker(config.by_name, ledger, Budget(None, 0))
            await asker.ask_all(requests_of(config, ledger, "generate"))
            assert not asker.asked
            await asker.close()

        import aiohttp  # what every run has, whatever the ledger holds

        assert aiohttp
        with LedgerWriter.open(config.folder) as ledger:
            began = time.perf_counter()
            with PeakMemory() as memory:
                asyncio.run(go(ledger))
                assert status_of(config, ledger).stages["generate"].done == rows
            return {"mebibytes": memory.grown() / 2**20, "seconds": time.perf_counter() - began}


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
    progress("memory")
    memory = {rows: in_own_process("memory", rows) for rows in LEDGER_ROWS}
    lines = [
        f"| {label} | {spread(found[name], 'seconds')} | {ideal / median(found[name], 'seconds'):.0%} | "
        f"{median(found[name], 'processor'):.2f} s |"
        for name, label in (("asking", "coigp annotate generate"), ("bare", "AsyncOpenAI in a bare loop"))
    ]
    held = [f"| {rows:,} | {one['mebibytes']:.1f} MiB | {one['seconds']:.1f} s |" for rows, one in memory.items()]
    publish(
        "annotate.md",
        f"""{REQUESTS:,} requests of {LATENCY * 1000:.0f} ms, {CONCURRENCY} at a time, against a scripted server on
loopback; ideal {ideal:.2f} s. Median of {RUNS} runs (spread). {where("openai", "aiohttp")}
Load average before the first run: {busy:.1f}.

| | time | of the ideal throughput | time of the processor |
|---|---|---|---|
{chr(10).join(lines)}

A run over a ledger that has every answer already, with its status:

| answers in the ledger | memory grown | time |
|---|---|---|
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
            else measure_memory(int(argument))
        )
        print(json.dumps(measured))
    else:
        main()
