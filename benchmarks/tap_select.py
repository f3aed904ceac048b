"""Which of 65 responses are compared, for 1,000 prompts: seconds and memory of `select`'s K-means over n-grams.

    python benchmarks/tap_select.py [--prompts 1000] [--responses 65] [--length 400]

The responses are made up: a few themes a prompt, in Chinese characters, some of them copies. Beside it the same with
scikit-learn's HashingVectorizer in place of our n-grams, each in a process of its own. Prints a table and keeps it in
benchmarks/results/tap_select.md. Needs the extra [tap].
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from measuring import Measured, in_own_process, progress, publish, where
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer

from coig_p.annotate.tap.embedding import Vectors, embed_ngrams, unit
from coig_p.annotate.tap.selecting import Response, choose


def made(prompts: int, responses: int, length: int) -> Iterator[list[Response]]:
    rng = random.Random(1)
    signs = [chr(at) for at in range(0x4E00, 0x4E00 + 3000)]
    for _ in range(prompts):
        themes = ["".join(rng.choices(signs, k=length)) for _ in range(6)]
        texts = []
        for at in range(responses):
            if at and rng.random() < 0.05:
                texts.append(rng.choice(texts))
                continue
            theme = list(rng.choice(themes))
            for _ in range(length // 3):
                theme[rng.randrange(length)] = rng.choice(signs)
            texts.append("".join(theme))
        yield [Response(f"model-{at:02}", text) for at, text in enumerate(texts)]


def hashing(texts: Sequence[str]) -> Vectors:
    """The same with scikit-learn's own n-grams."""
    counts = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=2**12).transform(texts)
    return unit(np.asarray(TruncatedSVD(32, random_state=0).fit_transform(counts), np.float64))


WAYS: dict[str, Callable[[Sequence[str]], Vectors]] = {"coig_p": embed_ngrams, "HashingVectorizer": hashing}


def measure(name: str, prompts: int, responses: int, length: int) -> Measured:
    """Seconds by the clock and of the processor, of all threads, and the most memory of the process in GiB."""
    spent, processor, kept = 0.0, 0.0, 0
    for some in made(prompts, responses, length):
        before, busy = time.perf_counter(), time.process_time()
        vectors = WAYS[name]([one.text for one in some])
        kept += len(choose(some, vectors, 5, anchor="model-07"))
        spent += time.perf_counter() - before
        processor += time.process_time() - busy
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
    return {"seconds": spent, "processor": processor, "kept": kept, "memory": most}


def main() -> None:
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], *map(int, sys.argv[3:6]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("prompts", 1000), ("responses", 65), ("length", 400)):
        parser.add_argument(f"--{name}", type=int, default=number)
    given = parser.parse_args()
    lines = [
        f"Of {given.responses} responses of {given.length} characters five stay, for {given.prompts:,} prompts, one "
        f"after another: vectors and K-means. {where('scikit-learn', 'numpy')}",
    ]
    rows = ["| vectors | time | of the processor | memory | responses kept | load average before |"]
    rows.append("|---|---|---|---|---|---|")
    for name in WAYS:
        load = os.getloadavg()[0]
        progress(name)
        one = in_own_process(name, given.prompts, given.responses, given.length)
        rows.append(
            f"| {name} | {one['seconds']:.1f} s | {one['processor']:.1f} s | {one['memory']:.2f} GiB | "
            f"{one['kept']:,.0f} | {load:.1f} |"
        )
    publish("tap_select.md", "\n".join([*lines, "", *rows, ""]))


if __name__ == "__main__":
    main()
