"""Programs that load from a Hub, each in a process of its own, and what they should load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands import run_code
from oracle import oracle_pairs

SCRIPT = """
import json, sys
import coig_p, datasets
from coig_p.errors import CoigPError
for options in json.loads(sys.argv[1]):
    load = coig_p.load_dataset if options.pop("package", False) else datasets.load_dataset
    try:
        print(json.dumps(list(load("coig-p", options.pop("name", "math"), split="train", **options))))
    except CoigPError as error:
        print(json.dumps(f"{error.exit_code} {error}"))
"""


def call(home: Path, endpoint: str, *calls: dict[str, Any], offline: str = "") -> list[Any]:
    """The rows, or exit code and message, of each load_dataset call, made in a process of its own:
    clients read their environment on import.

    Args:
        offline: the variable that says so.
    """
    environment = hub_environment(endpoint, home) | ({offline: "1"} if offline else {})
    done = run_code(SCRIPT, json.dumps(calls), **environment)
    assert not any(options.get("token", "no token") in done.stderr for options in calls)
    return [json.loads(line) for line in done.stdout.splitlines()]


def hub_environment(endpoint: str, home: Path) -> dict[str, str]:
    """The environment of programs that ask this Hub, with all that they keep in `home`."""
    return {
        "HF_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "USE_TORCH": "0",  # streaming imports torch where it is installed, two seconds for nothing
    }


def math(rows: list[dict[str, Any]], threshold: float) -> list[dict[str, Any]]:
    return oracle_pairs([row for row in rows if row["domain"] == "math"], threshold=threshold)
