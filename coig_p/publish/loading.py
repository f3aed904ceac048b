"""Load every config of a dataset with nothing but the stock library, in a process of its own.

Run as a script, so that coig_p is not imported: what a user without it gets. The request comes as
JSON on standard input, the token with it; one JSON line goes out for each config and way of loading.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

_CONNECT = 10.0  # seconds


def main() -> None:
    """Count the rows of every split of every config: map-style, then streaming."""
    asked: dict[str, Any] = json.load(sys.stdin)
    import datasets
    import huggingface_hub
    from huggingface_hub.utils import _http

    huggingface_hub.set_client_factory(lambda: impatient(_http.default_client_factory(), asked["timeout"]))
    datasets.config.STREAMING_READ_RETRY_INTERVAL = 1
    datasets.config.STREAMING_READ_MAX_RETRIES = 5
    cache = Path(asked["cache"])
    for config in asked["configs"]:
        options = {"revision": asked["revision"], "token": asked["token"]}
        try:
            loaded = datasets.load_dataset(asked["repo"], config, cache_dir=str(cache), **options)
            tell(config, "map-style", {split: rows.num_rows for split, rows in loaded.items()})
            del loaded
            shutil.rmtree(cache, ignore_errors=True)  # one config's tables on disk at a time
            streams = datasets.load_dataset(asked["repo"], config, streaming=True, cache_dir=str(cache), **options)
            tell(config, "streaming", {split: count(stream) for split, stream in streams.items()})
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print(json.dumps({"config": config, "error": reason[:1000]}), flush=True)
            return


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


def tell(config: str, way: str, rows: dict[str, int]) -> None:
    """One line of the answer."""
    print(json.dumps({"config": config, "way": way, "rows": rows}), flush=True)


if __name__ == "__main__":
    main()
