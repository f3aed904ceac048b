"""A reward model from a store's pairs: a transformer with a scalar head, trained, held to queries that it never saw.

While it trains, OUT.unfinished/ has training.json, which says of what, and checkpoints. The same call goes on from the
last whole one, with the same weights at the end as if it had not been stopped; another one is refused. OUT appears at
the end, whole, with coig_p_reward.json (see `coig_p.reward.made`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coig_p.core.atomic import atomic_directory, atomic_file
from coig_p.core.progress import Bar, no_bar
from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.errors import DataError, UsageError
from coig_p.pairs.config import PairConfig
from coig_p.pairs.exclusion import check_exclusion
from coig_p.review.joining import manifest_sha256
from coig_p.reward.base import base_of, check_base
from coig_p.reward.bench.from_store import select_items
from coig_p.reward.checkpoints import newest_whole, remove, writing
from coig_p.reward.local_model import check_extra
from coig_p.reward.made import LENGTH, MAJORITY, TRANSFORMERS, HeldOut, TrainedModel, check_place, write_trained
from coig_p.reward.seeds import check_seed
from coig_p.reward.steps import PairArrays, Step, steps_of
from coig_p.reward.templates import hash_of
from coig_p.reward.tokens import Tokenized, Tokens, tokenized
from coig_p.reward.training_config import TrainConfig
from coig_p.reward.training_pairs import TrainingPairs, read_training_pairs
from coig_p.store.store import Store

if TYPE_CHECKING:
    from coig_p.reward.transformer import RewardModel

UNFINISHED, RECORD, LOG = ".unfinished", "training.json", "training_log.jsonl"
_PARTS = 1000  # queries are held out by the thousandth


@dataclass(frozen=True)
class _Data:
    """What is trained on and what is held out, by the same numbers of responses and queries."""

    found: Tokenized
    train: PairArrays
    held: PairArrays
    models: tuple[str, ...]
    characters: tuple[int, ...]
    counts: dict[str, Any]


def train_transformer(
    store: str | Path | Store,
    out: str | Path,
    model: str,
    pairs: PairConfig | None = None,
    config: TrainConfig | None = None,
    *,
    domains: Sequence[str] = (),
    split: str | None = None,
    half: int | None = None,
    max_responses: int | None = None,
    overwrite: bool = False,
    bar: Bar = no_bar,
    say: Callable[[str], None] = lambda line: None,
) -> TrainedModel | None:
    """Train a reward model on the pairs of a store, and write it to `out`, whole or not at all.

    Args:
        model: what it begins with: a folder, or the id of a repository on the Hub. A language model gets a new head, a
            reward model goes on.
        half: of the store, 1 or 2 (see `coig_p.reward.halves`).
        max_responses: whole queries are drawn by hash up to so many responses.
        say: called with what somebody should know, as that a checkpoint is not whole.

    Returns:
        What coig_p_reward.json says; None in all but the first of several processes.

    Raises:
        UsageError: the extra [train] is not installed, a model that cannot be loaded, options that do not fit, or
            another training stands at OUT.unfinished.
        DataError: a query that cannot be shown, or a loss that is no number.
    """
    check_extra()
    from coig_p.reward.transformer import load_base, load_tokenizer, longest_read

    root = Path(out)
    check_place(root, overwrite)
    config, pairs = (config or TrainConfig()).resolved(), pairs or PairConfig()
    check_seed(pairs.seed)
    check_base(model, config.revision)
    device, dtype = _where(config)
    opened = store if isinstance(store, Store) else Store.open(store)
    selection, source = select_items(opened, pairs, domains, split)
    check_exclusion(opened, selection.pairs.exclude)
    tokenizer = load_tokenizer(model, config.revision, config.template)
    assert config.max_length is not None
    longest = longest_read(model, config.revision, config.max_length)
    taken = read_training_pairs(opened, selection, source, half=half, max_responses=max_responses, seed=pairs.seed)
    data = _tokenize(taken, tokenizer, config, longest, pairs.seed, bar)
    steps = _steps(data.train, config, pairs.seed)
    made, is_new = load_base(
        model,
        tokenizer,
        revision=config.revision,
        language_model=config.lm_weight > 0,
        seed=pairs.seed,
        largest=int(data.found.tokens.ids.max()),
    )
    commit = getattr(made.classifier.config, "_commit_hash", None)
    told = TrainedModel(
        TRANSFORMERS,
        base=Path(model).resolve().name if Path(model).is_dir() else model,
        store={"name": opened.path.resolve().name, "manifest_sha256": manifest_sha256(opened)},
        pairs={name: value for name, value in selection.pairs.to_dict().items() if name != "format"},
        loss=config.loss_of().to_dict(),
        training={
            **config.to_dict(),
            "domains": list(selection.domains),
            "split": source,
            "seed": pairs.seed,
            "dtype": dtype,
            "revision": config.revision,
            "commit": commit,
            "base_sha256": base_of(model, commit),
            "data": data.counts,
            "template_sha256": hash_of(tokenizer.get_chat_template()),
            "tokens_sha256": data.found.sha256,
            "steps": len(steps),
            "processes": _world(),
        },
        half=half,
    )
    work = root.with_name(root.name + UNFINISHED)
    record = json.loads(json.dumps(told.to_dict()))
    last = _resumed(work, record, overwrite, say)
    if last is None and not _rank():
        _begin(work, record)
    history = _train(made, tokenizer, steps, data.found.tokens, config, device, dtype, work, last, pairs.seed, bar)
    if _world() > 1:
        _end_group()
    if _rank():
        return None
    more = {"head": "new" if is_new else "kept", **_said(history)}
    told = replace(told, training={**told.training, **more})
    return _finish(root, work, made, tokenizer, model, told, data, config, history, bar)


def _where(config: TrainConfig) -> tuple[str, str]:
    """The device, and what the body computes in."""
    import torch

    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise UsageError("--device cuda: torch sees no GPU. Use --device cpu, or look with: nvidia-smi")
    device = config.device or ("cuda" if there else "cpu")
    return device, config.dtype or ("bfloat16" if device == "cuda" else "float32")


def _tokenize(taken: TrainingPairs, tokenizer: Any, config: TrainConfig, longest: int, seed: int, bar: Bar) -> _Data:
    items = sorted(taken.items, key=lambda item: item.id)  # the same numbers however rows lie
    with bar("Tokenizing", len(items), "queries") as advance:
        found = tokenized(items, tokenizer, longest, with_begins=config.lm_weight > 0, advance=advance)
    if not len(found.pairs):
        raise UsageError(
            f"every pair has a response of more than {longest:,} tokens with what is asked, up to {found.longest:,}: "
            + ("raise --max-length" if longest == config.max_length else "the model reads no more")
        )
    limit = round(config.held_out * _PARTS)
    held = np.array([taken.part_of(item.id, _PARTS, seed) < limit for item in items], bool)[found.pairs.query]
    train = found.pairs.take(~held)
    if not len(train):
        raise UsageError("every query is held out, and none is left to train on: give more queries, or --held-out 0")
    responses = [one for item in items for one in item.responses]
    counts = {
        "queries": len(np.unique(train.query)), "pairs": len(train), "of": taken.to_dict(),
        "held_out_pairs": int(held.sum()), "too_long": found.too_long, "longest": found.longest, "read": longest,
        "responses": len(np.unique(np.concatenate([train.chosen, train.rejected]))),
    }  # fmt: skip
    models = tuple(one.model or "" for one in responses)
    return _Data(found, train, found.pairs.take(held), models, tuple(len(one.text) for one in responses), counts)


def _steps(pairs: PairArrays, config: TrainConfig, seed: int) -> list[Step]:
    assert config.batch_pairs is not None
    assert config.epochs is not None
    steps: list[Step] = []
    for epoch in range(config.epochs):
        steps += steps_of(pairs, config.batch, config.batch_pairs, config.forward_tokens, seed, epoch)
        if config.max_steps is not None and len(steps) >= config.max_steps:
            return steps[: config.max_steps]
    return steps


def _resumed(work: Path, record: dict[str, Any], overwrite: bool, say: Callable[[str], None]) -> Path | None:
    """The last whole checkpoint of the same training; None where there is none. Another one's is refused."""
    if not work.exists():
        return None
    try:
        found = strict_json(read_small(work / RECORD))
    except (OSError, ValueError, RecursionError):
        found = None
    # Another process may be about to write the record.
    if not isinstance(found, dict) and any(work.iterdir()) and not overwrite and not _rank():
        raise UsageError(f"{work} exists and is no training of ours: delete it, or choose another place")
    faults: list[tuple[Path, str]] = []
    last = newest_whole(work, lambda path, fault: faults.append((path, fault)))
    if last is None or found == record:
        if not _rank():
            _say_left(faults, last, say)
            for path, _ in faults:
                remove(path)
        return last
    if not overwrite:
        raise UsageError(
            f"{work} is another training, not yet at its end: it differs in {_differs(found or {}, record)}. Give the "
            "same options to go on with it, --overwrite to begin anew, or another place"
        )
    return None


def _begin(work: Path, record: dict[str, Any]) -> None:
    """An empty folder with the record of a training alone."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with atomic_file(work / RECORD) as stream:
        stream.write(json.dumps(record, ensure_ascii=False, indent=2).encode() + b"\n")


def _differs(found: dict[str, Any], record: dict[str, Any]) -> str:
    names = []
    for name in sorted(set(found) | set(record)):
        one, other = found.get(name), record.get(name)
        if one == other:
            continue
        if isinstance(one, dict) and isinstance(other, dict):
            names += [f"{name}.{key}" for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
        else:
            names.append(name)
    return ", ".join(names[:5])


def _say_left(faults: Sequence[tuple[Path, str]], last: Path | None, say: Callable[[str], None]) -> None:
    """Say which checkpoints are not whole, and what training goes on from instead."""
    for path, fault in faults:
        say(f"{path} is left out: {fault}")
    if faults:
        say(f"going on from {last}" if last else "no checkpoint is whole: training begins anew")


def _train(
    model: RewardModel, tokenizer: Any, steps: Sequence[Step], tokens: Tokens, config: TrainConfig, device: str,
    dtype: str, work: Path, last: Path | None, seed: int, bar: Bar,
) -> list[dict[str, Any]]:  # fmt: skip
    """Take all steps; what was logged of each."""
    import torch
    from transformers import PrinterCallback, TrainingArguments

    from coig_p.reward.trainer import PairTrainer, Progress, StepData
    from coig_p.reward.transformer import save_memory

    if config.gradient_checkpointing:
        save_memory(model.classifier)
    assert config.warmup is not None
    assert config.learning_rate is not None
    assert config.weight_decay is not None
    options = TrainingArguments(
        output_dir=str(work),
        per_device_train_batch_size=1,
        num_train_epochs=1,
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.schedule if config.schedule != "constant" else "constant_with_warmup",
        warmup_steps=int(np.ceil(config.warmup * len(steps))),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=dtype == "bfloat16",
        use_cpu=device == "cpu",
        save_strategy="steps" if config.save_every else "no",
        save_steps=config.save_every or 1,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_find_unused_parameters=config.lm_weight > 0,  # the words' head, where a pass foretells none
        seed=seed % 2**32,
    )
    loss = config.loss_of()
    data = StepData(steps, tokens, tokenizer.pad_token_id, loss, _world())
    with bar("Training", len(steps), "steps") as advance:
        trainer = PairTrainer(model, loss=loss, args=options, train_dataset=data, callbacks=[Progress(advance)])
        trainer.remove_callback(PrinterCallback)
        if last is not None:
            advance(int(last.name.rpartition("-")[2]))
        try:
            trainer.train(resume_from_checkpoint=None if last is None else str(last))
        except (DataError, torch.OutOfMemoryError) as error:
            if not any(work.glob("checkpoint-*")):
                shutil.rmtree(work, ignore_errors=True)
            if isinstance(error, DataError):
                raise
            raise UsageError(
                f"memory is not enough for {config.forward_tokens:,} tokens at once: lower --forward-tokens, or use "
                "--gradient-checkpointing"
            ) from None
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def _end_group() -> None:
    """End the group of processes, once nothing else holds it: its threads else may come to Python while the interpreter
    ends, which aborts a process."""
    import gc

    from accelerate import PartialState

    gc.collect()  # the trainer, which holds itself
    PartialState().destroy_process_group()


def _said(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean loss of the first and of the last tenth of the steps."""
    tenth = max(1, len(history) // 10)
    losses = [entry["loss"] for entry in history]
    return {"loss_first": float(np.mean(losses[:tenth])), "loss_last": float(np.mean(losses[-tenth:]))}


def _finish(
    root: Path, work: Path, model: RewardModel, tokenizer: Any, base: str, told: TrainedModel, data: _Data,
    config: TrainConfig, history: Sequence[dict[str, Any]], bar: Bar,
) -> TrainedModel:  # fmt: skip
    """Measure what is saved, and save it."""
    import torch

    from coig_p.reward.transformer import save, to_save

    model = to_save(model, getattr(torch, told.training["dtype"]))
    held_out = _held_out(model, tokenizer.pad_token_id, data, config, bar) if len(data.held) else None
    with atomic_directory(root) as folder, writing(root, "the model"):
        save(model, tokenizer, folder, base, config.revision)
        lines = (json.dumps({"step": at, **_numbers(entry)}) + "\n" for at, entry in enumerate(history, 1))
        (folder / LOG).write_text("".join(lines), encoding="utf-8", newline="\n")
        for path in folder.rglob("*.safetensors"):  # which are written for their owner alone
            path.chmod((folder / LOG).stat().st_mode)
        told = write_trained(folder, replace(told, held_out=held_out))
    shutil.rmtree(work, ignore_errors=True)
    return told


def _numbers(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("loss", "accuracy", "learning_rate", "grad_norm") if name in entry}


def _held_out(model: RewardModel, pad: int, data: _Data, config: TrainConfig, bar: Bar) -> HeldOut:
    held = data.held
    rewards = _rewards(model, pad, data.found.tokens, np.unique([held.chosen, held.rejected]), config, bar)
    difference = rewards[held.chosen] - rewards[held.rejected]
    characters, rates = np.array(data.characters, float), _win_rates(data)
    others = {
        LENGTH: characters[held.chosen] - characters[held.rejected],
        MAJORITY: rates[held.chosen] - rates[held.rejected],
    }
    return HeldOut.of(held.query, difference, others, f"{config.held_out:.1%} of the queries, by hash")


def _win_rates(data: _Data) -> Any:
    """Of each response how often its model was the better one in pairs that were trained on; NaN of a model unseen."""
    won, seen = Counter[str](), Counter[str]()
    for one, other in zip(data.train.chosen.tolist(), data.train.rejected.tolist(), strict=True):
        won[data.models[one]] += 1
        seen.update((data.models[one], data.models[other]))
    return np.array([won[name] / seen[name] if seen[name] and name else np.nan for name in data.models])


def _rewards(
    model: RewardModel, pad: int, tokens: Tokens, wanted: Any, config: TrainConfig, bar: Bar
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Of each response by number; NaN where none is wanted."""
    import torch

    from coig_p.reward.batching import batches
    from coig_p.reward.transformer import padded

    found = np.full(len(tokens.starts) - 1, np.nan)
    model.eval()
    with torch.no_grad(), bar("Measuring", len(wanted), "responses") as advance:
        for batch in batches(tokens.lengths[wanted].tolist(), config.forward_tokens):
            some = wanted[batch]
            ids, mask = padded([tokens.of(at) for at in some.tolist()], pad, model.device)
            found[some] = model(ids, mask)[0].double().cpu().numpy()
            advance(len(some))
    return found


def _world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))
