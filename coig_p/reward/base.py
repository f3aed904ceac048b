"""What a training begins with: which models can be, and which one it was, by its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from coig_p.errors import UsageError
from coig_p.reward.local_model import WEIGHTS, hash_in_cache, model_folder
from coig_p.reward.made import MADE, NGRAM, is_trained, read_trained

_BESIDE = frozenset({".json", ".jinja", ".model", ".txt", ".tiktoken"})


def check_name(model: str) -> None:
    """Raise UsageError for a name of a model that says nothing: an empty path would be the folder one stands in."""
    if not model.strip():
        raise UsageError("--model is empty: name a folder, or a model on the Hub, as org/name")


def check_revision(model: str, revision: str | None) -> None:
    """Raise UsageError where a folder is named with a revision, which only a repository has."""
    if revision is not None and Path(model).is_dir():
        raise UsageError(f"--revision {revision}: no effect on a folder, and {model} is one. Leave it out")


def check_base(model: str, revision: str | None) -> None:
    """Look at what training is to begin with, before it is loaded; one of ours must be whole.

    Raises:
        UsageError: it is no name, a floor, or a folder with a revision.
        DataError: a reward model of ours, a file of which is missing or changed.
    """
    check_name(model)
    check_revision(model, revision)
    if is_trained(model) and read_trained(model).kind == NGRAM:
        raise UsageError(
            f"{model} is a floor of n-grams, and training cannot go on from it: name a language model or a reward "
            "model of transformers, or --model builtin:ngram to train another floor"
        )


def base_of(model: str, commit: str | None) -> str | None:
    """SHA-256 over the weights, the config and the tokenizer of a model; None where its files are not at hand."""
    folder = model_folder(model, commit)
    if folder is None:
        return None
    weights = next((found for form in WEIGHTS if (found := sorted(folder.glob(form)))), [])
    beside = [path for path in folder.iterdir() if path.suffix in _BESIDE and path.name != MADE]
    digest = hashlib.sha256()
    for path in sorted({*weights, *beside}):
        if path.is_file():
            digest.update(f"{path.name} {hash_in_cache(path)}\n".encode())
    return digest.hexdigest()
