"""The hash of every file that each job makes of one store: equal for every Python that has the same Arrow.

python tests/digests.py [--processes N]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from jobs import EVERY, clean, hashes, many


def main() -> None:
    """Print them."""
    processes = int(sys.argv[sys.argv.index("--processes") + 1]) if "--processes" in sys.argv else 1
    # A report names paths: those are no part of what is compared.
    with tempfile.TemporaryDirectory() as folder:
        store, releasable = many(Path(folder) / "store"), clean(Path(folder) / "releasable")
        for name, job in EVERY.items():
            of = releasable if name == "release" else store
            made = job(of, Path(folder) / "out" / name, num_proc=processes)
            told = {each: content.replace(folder.encode(), b"FOLDER") for each, content in made.items()}
            print(*(f"{found}  {name}: {each}" for each, found in hashes(told).items()), sep="\n")


if __name__ == "__main__":
    main()
