"""Load every config of a dataset in one way with nothing but the stock library, in a process of its own.

Run as a script, so that coig_p is not imported: what a user without it gets. The request comes as
JSON on standard input, the token with it; one JSON line goes out for each config. A process loads
map-style or streaming, not both, so that what one leaves in memory is not added to the other.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

_CONNECT = 10.0  # seconds


def main() -> None:
    """Count the rows of every split of every config."""
    asked: dict[str, Any] = json.load(sys.stdin)
    import datasets

    limit_waits(asked["timeout"])
    datasets.config.STREAMING_READ_RETRY_INTERVAL = 1
    datasets.config.STREAMING_READ_MAX_RETRIES = 5
    cache = Path(asked["cache"])
    for config in asked["configs"]:
        options = {"revision": asked["revision"], "token": asked["token"], "cache_dir": str(cache)}
        try:
            if asked["way"] == "streaming":
                streams = datasets.load_dataset(asked["repo"], config, streaming=True, **options)
                rows = {split: count(stream) for split, stream in streams.items()}
            else:
                loaded = datasets.load_dataset(asked["repo"], config, **options)
                rows = {split: table.num_rows for split, table in loaded.items()}
                del loaded
                shutil.rmtree(cache, ignore_errors=True)  # one config's tables on disk at a time
            print(json.dumps({"config": config, "rows": rows}), flush=True)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(json.dumps({"config": config, "error": reason[:1000]}), flush=True)
            return


def limit_waits(seconds: float) -> None:
    """Time-outs for every request from now on."""
    import huggingface_hub

    try:
        from huggingface_hub.utils._http import default_client_factory
    except ImportError:  # no promise is made about it: then for the client that there is, until it is made anew
        impatient(huggingface_hub.get_session(), seconds)
        return
    huggingface_hub.set_client_factory(lambda: impatient(default_client_factory(), seconds))


def impatient(client: Any, seconds: float) -> Any:
    """The HTTP client with a time-out for every request, in seconds without a byte.

    Listing files asks for no time-out by name, which a default of the client would not change.
    """

    def limit(request: Any) -> None:
        wanted = request.extensions.get("timeout") or {}
        limits = {"connect": min(_CONNECT, seconds), "read": seconds, "write": seconds, "pool": seconds}
        request.extensions["timeout"] = {name: wanted.get(name) or limit for name, limit in limits.items()}

    client.event_hooks = {**client.event_hooks, "request": [*client.event_hooks["request"], limit]}
    return client


def count(stream: Any) -> int:
    """Rows of a stream, every one of them decoded."""
    return sum(batch.num_rows for batch in stream.with_format("arrow").iter(batch_size=256))


if __name__ == "__main__":
    main()
