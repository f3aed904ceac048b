"""The hash of what each job makes of one store, a line a job: equal for every Python that has the same Arrow.

python tests/digests.py [--processes N]
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from pathlib import Path

from jobs import JOBS, RELEASE, THREADS, Made, clean, many


def digest(made: Made) -> str:
    """Of names and bytes, whatever their order."""
    found = hashlib.sha256()
    for name, content in sorted(made.items()):
        found.update(f"{name}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()


def main() -> None:
    """Print them."""
    processes = int(sys.argv[sys.argv.index("--processes") + 1]) if "--processes" in sys.argv else 1
    # A report names paths: those are no part of what is compared.
    with tempfile.TemporaryDirectory() as folder:
        store, releasable = many(Path(folder) / "store"), clean(Path(folder) / "releasable")
        for name, job in (JOBS | THREADS | {"release": RELEASE}).items():
            of = releasable if name == "release" else store
            made = job(of, Path(folder) / "out" / name, num_proc=processes)
            told = {each: content.replace(folder.encode(), b"FOLDER") for each, content in made.items()}
            print(f"{digest(told)}  {name}")


if __name__ == "__main__":
    main()
