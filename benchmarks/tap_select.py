"""Which of 65 responses are compared, for 1,000 prompts: seconds and memory of `select`'s K-means over n-grams.

    python benchmarks/tap_select.py [--prompts 1000] [--responses 65] [--length 400]

The responses are made up: a few themes a prompt, in Chinese characters, some of them copies. Beside it the same with
scikit-learn's HashingVectorizer in place of our n-grams. Needs the extra [tap].
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, number in (("prompts", 1000), ("responses", 65), ("length", 400)):
        parser.add_argument(f"--{name}", type=int, default=number)
    given = parser.parse_args()
    ways: dict[str, Callable[[Sequence[str]], Vectors]] = {"coig_p": embed_ngrams, "HashingVectorizer": hashing}
    for name, embed in ways.items():
        spent, kept = 0.0, 0
        for responses in made(given.prompts, given.responses, given.length):
            before = time.perf_counter()
            vectors = embed([one.text for one in responses])
            kept += len(choose(responses, vectors, 5, anchor="model-07"))
            spent += time.perf_counter() - before
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)
        print(f"{name}: {spent:.1f} s for {given.prompts:,} prompts, {kept:,} responses kept, at most {most:.2f} GB")


if __name__ == "__main__":
    main()
