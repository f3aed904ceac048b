"""Whether a model that is named can be had: a folder, a copy in the Hub's cache, or else the Hub, which is asked once.

transformers asks again and again, for more than a minute, before it says that a folder was misspelled.
"""

from __future__ import annotations

import re
from pathlib import Path

from coig_p.errors import RemoteError, UsageError
from coig_p.store.locate import granted, is_offline

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_SECONDS = 10


def check_named(name: str) -> None:
    """Raise UsageError for what is no folder, and can be no model on the Hub."""
    folder = name.strip() and Path(name).is_dir()  # an empty path would be the folder one stands in
    if not folder and not _HUB_ID.fullmatch(name):
        raise UsageError(f"{name}: no such folder, and no name of a model on the Hub, as org/name")


def check_there(name: str, revision: str | None = None) -> None:
    """See that a model is a folder or can be had, before anything is loaded.

    Raises:
        UsageError: no folder, and no name of a model on the Hub.
        RemoteError: no folder, and the Hub cannot be reached, or must not be.
    """
    check_named(name)
    if Path(name).is_dir():
        return
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            return
    except HFValidationError as error:
        raise UsageError(f"{name}: no such folder, and no name of a model on the Hub: {error}") from None
    if "/" not in name:
        raise UsageError(f"{name}: no such folder. A model on the Hub is named as org/name")
    absent = f"{name} is no folder here, and cannot be had from the Hub"
    if is_offline():
        raise RemoteError(f"{absent}: it is not in its cache ({constants.HF_HUB_CACHE}), and offline is asked for")
    try:
        HfApi().model_info(name, revision=revision, timeout=_SECONDS, token=granted(None))
    except HfHubHTTPError:
        return  # it answered: what is wrong transformers will say
    except Exception as error:  # of the Hub's client and of whichever HTTP library it uses
        raise RemoteError(f"{absent}: it could not be reached ({type(error).__name__})") from None
