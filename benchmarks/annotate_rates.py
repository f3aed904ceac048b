"""How much of what a rate-limited server allows a run really uses: `python benchmarks/annotate_rates.py [SECONDS]`.

A scripted server on loopback, in a process of its own, takes 2, 10 or 100 requests a second, counted by a
token bucket or a sliding window of a second, and says 429 to the rest, with and without Retry-After.
The run has 16 or 64 workers, and is stopped after some seconds.
"""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import in_own_process, progress, publish, where

RATES, WORKERS, KINDS, WAITS = (2, 10, 100), (16, 64), ("bucket", "window"), ("none", "seconds")
LATENCY = 0.05
BODY: dict[str, Any] = {"choices": [{"message": {"content": "一个不长不短的回答。"}, "finish_reason": "stop"}]}


def bucket(rate: int) -> Callable[[float], float]:
    tokens, last = float(rate), 0.0

    def wait(now: float) -> float:
        nonlocal tokens, last
        tokens, last = min(float(rate), tokens + (now - last) * rate), now
        if tokens < 1:
            return (1 - tokens) / rate
        tokens -= 1
        return 0.0

    return wait


def window(rate: int) -> Callable[[float], float]:
    taken: deque[float] = deque()

    def wait(now: float) -> float:
        while taken and taken[0] <= now - 1:
            taken.popleft()
        if len(taken) >= rate:
            return taken[0] + 1 - now
        taken.append(now)
        return 0.0

    return wait


async def serve(kind: str, rate: int, says: str) -> None:
    limit = {"bucket": bucket, "window": window}[kind](rate)

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0]))
                wait = limit(time.monotonic())
                status, more, value = "200 OK", "", BODY
                if wait:
                    status, value = "429 Too Many Requests", {"error": {"message": "slow down"}}
                    more = f"Retry-After: {math.ceil(wait)}\r\n" if says == "seconds" else ""
                else:
                    await asyncio.sleep(LATENCY)
                content = json.dumps(value).encode()
                writer.write(f"HTTP/1.1 {status}\r\n{more}Content-Length: {len(content)}\r\n\r\n".encode() + content)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def measure(kind: str, rate: int, workers: int, says: str, seconds: float) -> dict[str, float]:
    """What a run had answered after so many seconds, as a share of what the server takes in them."""
    from coig_p.annotate.asking.ledger import ANSWERED, Ledger
    from coig_p.annotate.config import load_config
    from coig_p.annotate.stages import run_stages

    command = [sys.executable, sys.argv[0], "--serve", kind, str(rate), says]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        with tempfile.TemporaryDirectory(prefix="coigp-bench-") as name:
            folder, number = Path(name), int(rate * seconds * 2)
            lines = (json.dumps({"query_id": f"q-{at}", "domain": "chat", "query": f"问 {at}"}) for at in range(number))
            (folder / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
            shared = f'base_url = "{url}"\nconcurrency = {workers}\n'
            (folder / "run.toml").write_text(
                '[queries]\ninputs = ["queries.jsonl"]\nnear_duplicates = 0\nsemantic = 0\n'
                f'[[endpoints]]\nname = "a"\nmodel = "a"\nfamily = "a"\ngenerates = true\n{shared}'
                f'[[endpoints]]\nname = "b"\nmodel = "b"\nfamily = "b"\njudges = true\n{shared}',
                encoding="utf-8",
            )
            config = load_config(folder / "run.toml")
            run_stages(config, ("queries",))
            report = run_stages(config, ("generate",), max_seconds=seconds)
            with Ledger.open(config.folder) as ledger:
                answers = sum(some.number for some in ledger.requests() if some.state == ANSWERED)
    finally:
        server.communicate("")
    sent = sum(report.sent.values())
    return {"share": answers / (rate * seconds), "in_vain": (sent - answers) / max(1, answers)}


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    lines = []
    for kind in KINDS:
        for says in WAITS:
            for rate in RATES:
                cells = []
                for workers in WORKERS:
                    progress(f"{kind}, {rate} a second, Retry-After {says}, {workers} workers")
                    found = in_own_process(kind, rate, workers, says, seconds)
                    cells.append(f"{found['share']:.0%} ({found['in_vain']:.2f})")
                lines.append(f"| {kind} | {says} | {rate} | {' | '.join(cells)} |")
    publish(
        "annotate_rates.md",
        f"""Answers in {seconds:g} s as a share of what the server takes in them; a bucket also gives what it held at
first. In brackets: requests that were turned away, for each answer. {where("aiohttp")}

| server | Retry-After | requests a second | 16 workers | 64 workers |
|---|---|---|---|---|
{chr(10).join(lines)}
""",
    )


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(serve(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    elif "--measure" in sys.argv:
        kind, rate, workers, says, seconds = sys.argv[2:7]
        print(json.dumps(measure(kind, int(rate), int(workers), says, float(seconds))))
    else:
        main()
