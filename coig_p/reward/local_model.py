"""A reward model of transformers, on this machine: sequence classification with one label.

Its head works in float32 whatever the body does: in bfloat16 rewards around 20 would stand .125 apart. The last token
is found by the attention mask, never by the first padding, which may also be the token that ends a turn. Code of the
model's repository is never run.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from coig_p.core.text import printable
from coig_p.errors import CoigPError, DataError, RemoteError, UsageError
from coig_p.reward.batching import key
from coig_p.reward.on_hub import check_named, check_there
from coig_p.reward.scorer import DTYPES, EMPTY, NOT_FINITE, REFUSED, TOO_LONG, Asked, Scored
from coig_p.reward.templates import TemplateRefuses, hash_of, ids_of
from coig_p.store.writing import sha256_of

Truncate = Literal["left", "right"]
WEIGHTS = ("*.safetensors", "*.bin")
_SHOWN = 3  # keys that a message names
_NO_LIMIT = 10**6  # tokens: what tokenizers write for "none" is far more
_OFFLINE = ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError", "ConnectTimeout")

_KEPT = 50_000_000  # tokens of what was read and not scored yet
Ids = npt.NDArray[np.int32]
_Read = tuple[Ids | None, Scored]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelConfig:
    """How a model is run.

    Attributes:
        revision: of a model on the Hub; default: its newest.
        device: as torch names it; "auto": a GPU where there is one.
        dtype: of the body: one of DTYPES; "auto": bfloat16 on a GPU, float32 elsewhere.
        max_length: tokens of a whole conversation; default: what the model says, if it does.
        cap: the same where the model reads more.
        truncate: cut what is longer at this end; default: it is not scored.
        template: a file with a chat template, in place of the model's own.
        head: "float32", or "body": in the body's dtype, as some benchmarks' own code has it.
        strip: take off the newlines behind a conversation's last mark.
    """

    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_length: int | None = None
    cap: int | None = None
    truncate: Truncate | None = None
    template: str | None = None
    head: Literal["float32", "body"] = "float32"
    strip: bool = True

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f"dtype={self.dtype!r}: use one of {', '.join(DTYPES)}")
        if self.max_length is not None and self.max_length < 1:
            raise UsageError(f"max_length={self.max_length}: use 1 or more")


def check_extra() -> None:
    """Import what runs models, which takes a while; raise UsageError where it is not installed."""
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError:
        raise UsageError("reward models of transformers need the extra: pip install 'coig-p[train]'") from None


class LocalModel:
    """A scorer: a model's weights in memory.

    Args:
        name: a folder, or a model's id on the Hub.

    Raises:
        UsageError: transformers is not installed, there is no such model, it is none with one label, it has no chat
            template, or an option does not fit it.
        DataError: its weights are not whole: what is missing would be made up at random.
        RemoteError: the Hub cannot be reached.
    """

    def __init__(self, name: str, config: ModelConfig | None = None) -> None:
        self.config = config or ModelConfig()
        check_named(name)
        check_extra()
        check_there(name, self.config.revision)
        import torch

        self.name = name
        self.device = _device(self.config.device)
        body = self.config.dtype
        self.dtype = ("bfloat16" if self.device.type == "cuda" else "float32") if body == "auto" else body
        self.tokenizer = self._tokenizer()
        self.model, self.revision = self._load()
        self.max_length = self._max_length()
        self.head = self._float_head() if self.config.head == "float32" else None
        self._pad = self._padding()
        self._torch = torch
        self._sha256: str | None = None
        self._kept: dict[bytes, _Read] = {}
        self._room = _KEPT

    def describe(self) -> dict[str, Any]:
        """What it is; see `Scorer`."""
        if self._sha256 is None:
            self._sha256 = _weights_hash(self.name, self.revision)
        return {
            "kind": "model",
            "name": Path(self.name).resolve().name if Path(self.name).is_dir() else self.name,
            "revision": self.revision,
            "sha256": self._sha256,
            "template_sha256": hash_of(self.tokenizer.get_chat_template()),
            "dtype": self.dtype,
            "max_length": self.max_length,
            "truncate": self.config.truncate,
            "head": "float32" if self.head is not None else self.dtype,
            "strip": self.config.strip,
        }

    def length(self, asked: Asked) -> int:
        """Tokens that the model reads of one."""
        read = self._read(asked)
        number = 0 if read[0] is None else len(read[0])
        if self._room >= number:  # until it is scored, so that it is not read twice
            self._room -= number
            self._kept[key(asked)] = read
        return number

    def score(self, asked: Sequence[Asked]) -> list[Scored]:
        """The reward of each; see `Scorer`. In bfloat16 a batch's padding moves a reward by that type's noise."""
        read = [self._taken(one) for one in asked]
        rows = [ids for ids, _ in read if ids is not None]
        together = self.head is not None and bool(rows)  # none of a batch may be for the model to read
        rewards = iter(self._rewards(rows) if together else [self._rewards([row])[0] for row in rows])
        found = []
        for ids, none in read:
            if ids is None:
                found.append(none)
                continue
            reward = next(rewards)
            finite = math.isfinite(reward)
            found.append(replace(none, reward=reward if finite else None, reason=None if finite else NOT_FINITE))
        return found

    def close(self) -> None:
        """Let the weights go, on a GPU too."""
        del self.model, self.head
        if self.device.type == "cuda":
            self._torch.cuda.empty_cache()

    def _taken(self, asked: Asked) -> _Read:
        """What was kept of one, which then is no longer; or it is read now."""
        found = self._kept.pop(key(asked), None)
        if found is None:
            return self._read(asked)
        self._room += 0 if found[0] is None else len(found[0])
        return found

    def _read(self, asked: Asked) -> _Read:
        """What the model reads of one, None where it reads nothing; and what is known of it without a reward."""
        try:
            ids = ids_of(self.tokenizer, asked.conversation, strip=self.config.strip)
        except TemplateRefuses as error:
            log.info("the chat template refuses a conversation: %s", printable(str(error)))
            return None, Scored(None, REFUSED, None)
        if not ids:
            return None, Scored(None, EMPTY, 0)
        most, truncate = self.max_length, self.config.truncate
        if most is None or len(ids) <= most:
            return np.array(ids, np.int32), Scored(None, None, len(ids))
        if truncate is None:
            return None, Scored(None, TOO_LONG, len(ids))
        cut = ids[-most:] if truncate == "left" else ids[:most]
        return np.array(cut, np.int32), Scored(None, None, len(ids), truncated=True)

    def _rewards(self, rows: Sequence[Ids]) -> list[float]:
        """Of what is read of each; where there is no room for all at once, of fewer at a time."""
        try:
            return self._forward(rows)
        except CoigPError:
            raise
        except self._torch.OutOfMemoryError:
            if len(rows) == 1:
                raise UsageError(
                    f"{self.name}: {len(rows[0]):,} tokens need more memory than {self.device} has: lower max_length, "
                    "or choose another device or dtype"
                ) from None
        except Exception as error:  # of a model's own, as one that knows no bfloat16
            words = printable(str(error).strip().partition("\n")[0])
            hint = ": try dtype float32" if self.dtype != "float32" else ""
            raise DataError(f"{self.name} cannot be run: {type(error).__name__}: {words}{hint}") from error
        self._torch.cuda.empty_cache()
        return [*self._rewards(rows[: len(rows) // 2]), *self._rewards(rows[len(rows) // 2 :])]

    def _forward(self, rows: Sequence[Ids]) -> list[float]:
        torch = self._torch
        longest, largest = max(map(len, rows)), max(int(row.max()) for row in rows)
        if largest >= self._tokens():
            raise DataError(
                f"{self.name}: its tokenizer writes token {largest:,}, and the model knows {self._tokens():,}: they "
                "are not of one model"
            )
        ids = np.full((len(rows), longest), self._pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        given = {"input_ids": torch.from_numpy(ids).to(self.device), "attention_mask": torch.from_numpy(mask)}
        given["attention_mask"] = given["attention_mask"].to(self.device)
        with torch.inference_mode():
            if self.head is None or self.head is self.model:
                logits = self.model(**given).logits
            else:
                hidden = self.model.base_model(**given, use_cache=False).last_hidden_state
                last = given["attention_mask"].sum(1) - 1
                logits = self.head(hidden[torch.arange(len(rows), device=self.device), last].float())
        return [float(one) for one in logits[:, 0].float().cpu()]

    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        with _loading(self.name):
            tokenizer = AutoTokenizer.from_pretrained(self.name, revision=self.config.revision, trust_remote_code=False)
        if self.config.template is not None:
            from coig_p.reward.templates import read_template

            tokenizer.chat_template = read_template(self.config.template).text
        if not tokenizer.chat_template:
            raise UsageError(f"{self.name} has no chat template: name a file that has one with --template")
        return tokenizer

    def _load(self) -> tuple[Any, str | None]:
        import torch
        from transformers import AutoConfig, AutoModelForSequenceClassification

        options: dict[str, Any] = {"revision": self.config.revision, "trust_remote_code": False}
        with _loading(self.name):
            config = AutoConfig.from_pretrained(self.name, **options)
        revision = getattr(config, "_commit_hash", None)
        if config.num_labels != 1:
            raise UsageError(
                f"{self.name} has {config.num_labels} labels, and a reward model has one: "
                "train one with coigp reward train"
            )
        with _loading(self.name):
            model, info = AutoModelForSequenceClassification.from_pretrained(
                self.name,
                config=config,
                dtype=getattr(torch, self.dtype),
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # which are told of below
                **options,
            )
        _check_weights(self.name, info)
        return model.to(self.device).eval(), revision

    def _float_head(self) -> Any:
        """What stands above the body, in float32; where it is not a layer of its own, it is told to take float32."""
        body = self.model.base_model
        if _by_last_token(self.model):
            head = self.model.score.float()
            stored = None if self.dtype == "float32" else _stored(self.name, self.revision, "score.weight")
            if stored is not None:  # a head that was saved in float32 beside a body that was not
                head.weight.data = stored.to(head.weight)
            return head
        for module in self.model.children():
            if module is not body:
                module.float().register_forward_pre_hook(lambda _, given: tuple(_in_float(one) for one in given))
        return self.model

    def _padding(self) -> int:
        """A token for behind the last one, which nothing looks at."""
        for one in (self.tokenizer.pad_token_id, self.model.config.get_text_config().pad_token_id):
            if one is not None and 0 <= one < self._tokens():
                return int(one)
        return 0

    def _tokens(self) -> int:
        """How many different tokens the model knows."""
        return int(self.model.get_input_embeddings().num_embeddings)

    def _max_length(self) -> int | None:
        most = _positions(self.model.config)
        given = self.config.max_length
        if given is not None and most is not None and given > most:
            raise UsageError(f"max_length={given:,}: {self.name} reads {most:,} tokens at most")
        known = self.tokenizer.model_max_length
        said = [one for one in (most, known, self.config.cap) if one is not None and one < _NO_LIMIT]
        return given if given is not None else min(said, default=None)


def _device(name: str) -> Any:
    import torch

    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UsageError(f"device={name!r}: use auto, cpu, or cuda, cuda:1, ...") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"device={name!r}: there is no such GPU here")
    return device


def _by_last_token(model: Any) -> bool:
    """Whether its reward is read off the last token, by one layer, as that of every decoder is."""
    import torch

    return isinstance(getattr(model, "score", None), torch.nn.Linear) and model.base_model is not model


def _in_float(value: Any) -> Any:
    import torch

    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _positions(config: Any) -> int | None:
    """Tokens of the longest text that a model has places for."""
    found = getattr(config.get_text_config(), "max_position_embeddings", None)
    return found if isinstance(found, int) and 0 < found < _NO_LIMIT * 100 else None


def _check_weights(name: str, info: Mapping[str, Any]) -> None:
    """Raise DataError where transformers made up weights that the files do not hold."""
    missing = sorted(map(str, info.get("missing_keys") or ()))
    wrong = sorted(str(one[0] if isinstance(one, tuple) else one) for one in info.get("mismatched_keys") or ())
    for keys, what in ((missing, "missing"), (wrong, "of another shape")):
        if keys:
            shown = ", ".join(keys[:_SHOWN]) + (f" and {len(keys) - _SHOWN:,} more" if len(keys) > _SHOWN else "")
            raise DataError(
                f"{name}: weights are {what}: {shown}. transformers would draw them at random, and every reward with "
                "them: this is no whole reward model"
            )
    unread = sorted(map(str, info.get("unexpected_keys") or ()))
    unread = [key for key in unread if not key.startswith("lm_head")]  # of the language model that it was
    if unread:
        log.warning("%s: %s weights are read by nothing, as %s", name, f"{len(unread):,}", printable(unread[0]))


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """Make one error of ours of what transformers raises where a model cannot be loaded; it says nothing beside."""
    from transformers.utils import logging as said

    level, bars = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        yield
    except CoigPError:
        raise
    except Exception as error:  # what a file that is cut short brings about has a class of its own
        words = _said(error)
        if "trust_remote_code" in str(error):
            words = "it needs code of its own repository, which is never run"
        if Path(name).exists() and not isinstance(error, ImportError):
            raise DataError(f"{name} cannot be loaded: {printable(words)}") from None
        if any(type(one).__name__ in _OFFLINE for one in _chain(error)):
            raise RemoteError(f"{name} is no folder here, and cannot be had from the Hub: {printable(words)}") from None
        raise UsageError(f"{name} cannot be loaded: {printable(words)}") from None
    finally:
        said.set_verbosity(level)
        if bars:
            said.enable_progress_bar()


def _said(error: BaseException) -> str:
    """What an error says: its first line, with the one that follows where that only begins a list."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    words = lines[0] if lines else type(error).__name__
    for line in lines[1:]:
        if not words.endswith(":"):
            break
        words = f"{words} {line}"
    return words.rstrip(":")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _stored(name: str, revision: str | None, key: str) -> Any:
    """One tensor as the files of a model have it, whatever it was loaded as; None where they are not at hand."""
    from safetensors import safe_open

    folder = model_folder(name, revision)
    for path in sorted(folder.glob("*.safetensors")) if folder is not None else ():
        with safe_open(path, framework="pt") as file:
            if key in file.keys():  # noqa: SIM118  it is no mapping
                return file.get_tensor(key)
    return None


def model_folder(name: str, revision: str | None) -> Path | None:
    """Where the files of a model are; None where nobody knows."""
    if Path(name).is_dir():
        return Path(name)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(found).parent if isinstance(found, str) else None


def _weights_hash(name: str, revision: str | None) -> str | None:
    """SHA-256 over the names and hashes of the files that hold a model's weights; None where they are not at hand."""
    folder = model_folder(name, revision)
    if folder is None:
        return None
    files = next((found for form in WEIGHTS if (found := sorted(folder.glob(form)))), [])
    if not files:
        return None
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name} {hash_in_cache(path)}\n".encode())
    return digest.hexdigest()


def hash_in_cache(path: Path) -> str:
    """SHA-256 of a file; in the Hub's cache a large one is named by it, and need not be read."""
    blob = path.resolve().name
    known = re.fullmatch(r"[0-9a-f]{64}", blob) is not None and path.is_symlink()
    return blob if known else sha256_of(path)
