"""What all recipes have in common: their options, the folder of a run, how it goes on, and errors in one line.

DIR/  the trained model, as from_pretrained reads it
  run.json              written first: the settings. A run of others is never gone on with
  base/, rows/          the tiny model, and rows that were exported, where there are any
  checkpoint-STEP/      with files.json, written last: one without it was not finished, and is left out
  rows-RANK.jsonl       with --log-rows: a hash of every row, and the step that took it
  result.json           written last: steps, rows, losses
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import torch
import transformers
from accelerate import PartialState
from rows import Rows, dumped, exported, of_export, of_store, steps_of, texts
from tiny import make_tiny
from transformers import PrinterCallback, Trainer, TrainerCallback

from coig_p.core.atomic import atomic_file
from coig_p.core.small_files import read_small
from coig_p.core.strict_json import strict_json
from coig_p.core.text import printable
from coig_p.errors import CoigPError, DataError, UsageError
from coig_p.export.settings import COIG_P, PRESETS, Preset, preset_of
from coig_p.reward.checkpoints import newest_whole, remove, write_list
from coig_p.reward.on_hub import check_there
from coig_p.reward.transformer import load_tokenizer
from coig_p.store.locate import BUNDLED

RUN, RESULT = "run.json", "result.json"
TINY = {"learning_rate": 1e-3, "max_length": 1024}  # random weights learn nothing in a minute at a paper's rate


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    Attributes:
        name: of its file.
        exports: whose rows it reads (`coigp export --for`); the first is made of a store where `streams` is False.
        streams: whether loading has its rows, so that a store needs no export.
        settings: the numbers of a preset, by the names of its options.
        make: the trainer, not begun.
        tiny: settings of a tiny model that are others.
        steps: how many steps the rows are; by default those of a stream.
        measure: what the trainer logs, and the result tells.
        batch_size: of one rank, where none is given.
    """

    name: str
    exports: tuple[str, ...]
    streams: bool
    settings: Callable[[Preset], dict[str, Any]]
    make: Callable[[Run], Trainer]
    tiny: Mapping[str, Any] = field(default_factory=lambda: TINY)
    steps: Callable[[Rows, dict[str, Any]], int] = lambda rows, settings: streamed_steps(rows.each, settings)
    measure: str = "loss"
    batch_size: int = 4


@dataclass(frozen=True)
class Run:
    """One run of a recipe: what is given to `Recipe.make`."""

    options: argparse.Namespace
    settings: dict[str, Any]
    folder: Path
    model: str
    rows: Rows
    steps: int

    @property
    def is_tiny(self) -> bool:
        """Whether the model was made on the spot."""
        return self.options.model is None

    def tokenizer(self) -> Any:
        """Of the model. It has a chat template, or there is an error."""
        return load_tokenizer(self.model)

    def arguments(self) -> dict[str, Any]:
        """Arguments of a Trainer, for the settings."""
        gpu = torch.cuda.is_available()
        given = self.settings
        return {
            "output_dir": str(self.folder),
            "learning_rate": given["learning_rate"],
            "lr_scheduler_type": given["schedule"],
            "warmup_steps": given["warmup"],
            "weight_decay": given.get("weight_decay", 0.0),
            "per_device_train_batch_size": given["batch_size"],
            "gradient_accumulation_steps": given["gradient_accumulation"],
            "max_steps": self.steps,  # a stream has no length: all epochs are counted beforehand
            "seed": given["seed"],
            "data_seed": given["seed"],
            "logging_steps": logged(self.steps),
            "save_strategy": "steps" if self.options.out else "no",
            "save_steps": self.options.save_steps,
            "report_to": [],
            "disable_tqdm": not sys.stderr.isatty(),
            "use_cpu": not gpu,
            "bf16": gpu,
            "gradient_checkpointing": gpu,
            "dataloader_num_workers": self.options.workers,
            # Each rank reads shards of its own. By default the first reads all, and the last batch repeats rows.
            "accelerator_config": {"dispatch_batches": False},
        }


def parser_of(recipe: Recipe, doc: str, *more: tuple[str, dict[str, Any]]) -> argparse.ArgumentParser:
    """The options of a recipe, and its own."""
    made = argparse.ArgumentParser(
        prog=f"{recipe.name}.py", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = made.add_mutually_exclusive_group()
    data.add_argument("--store", help="a directory or org/name; default: the bundled one")
    data.add_argument("--data", metavar="EXPORT", help=f"what coigp export --for {recipe.exports[0]} wrote")
    made.add_argument("--config", default="all", metavar="NAME", help="a domain, or all; of a store")
    made.add_argument("--threshold", type=float, help="of a store's pairs; default: the store's own")
    made.add_argument("--model", help="a directory, or org/name; default: a tiny one, made on the spot")
    made.add_argument("--out", type=Path, metavar="DIR", help="default: a temporary folder, gone again at the end")
    again = made.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="go on in DIR, or begin where there is nothing yet")
    again.add_argument("--overwrite", action="store_true", help="remove an earlier run in DIR")
    made.add_argument("--preset", default=COIG_P, choices=list(PRESETS), help="whose numbers; default: %(default)s")
    made.add_argument("--seed", type=_from(0), default=0, help="of the order of rows, and of training")
    for name, kind in (("learning_rate", float), ("beta", float), ("epochs", _from(1)), ("max_length", _from(2))):
        if name in recipe.settings(preset_of(None)):
            made.add_argument(f"--{name.replace('_', '-')}", type=kind, help="default: the preset's")
    made.add_argument(
        "--batch-size", type=_from(1), default=recipe.batch_size, help="of one rank; default: %(default)s"
    )
    made.add_argument("--gradient-accumulation", type=_from(1), default=1, help="batches of a step")
    made.add_argument("--max-steps", type=_from(1), help="stop after so many")
    made.add_argument(
        "--save-steps", type=_from(1), default=500, help="a checkpoint after so many; default: %(default)s"
    )
    made.add_argument("--workers", type=_from(0), default=0, help="of each rank, that read rows")
    made.add_argument("--world-size", type=_from(1), default=None, help="ranks; default: as the launcher says")
    made.add_argument("--log-rows", action="store_true", help="write down which row was in which step")
    made.add_argument("--json", action="store_true", help="the result as JSON, and nothing else on standard output")
    for name, options in more:
        made.add_argument(name, **options)
    return made


def _from(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        found = int(text)
        if found < least:
            raise argparse.ArgumentTypeError(f"{found}: use {least} or more")
        return found

    return number


def main(recipe: Recipe, parser: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> int:
    """Run a recipe; the exit code."""
    options = parser.parse_args(argv)
    try:
        told = run(recipe, options)
        if not PartialState().is_main_process:
            return 0
        sys.stdout.write(dumped(told) + "\n" if options.json else _said(recipe, told))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail(parser, "interrupted", 130)
    except CoigPError as error:
        return _fail(parser, f"error: {error}", error.exit_code)
    except OSError as error:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  what is left in it cannot be written either
        return _fail(parser, f"error: {error}", 1)
    return 0


def _fail(parser: argparse.ArgumentParser, line: str, code: int) -> int:
    sys.stderr.write(f"{parser.prog}: {printable(line)}\n")
    return code


def _said(recipe: Recipe, told: dict[str, Any]) -> str:
    name, left = recipe.measure, told["left_out"]
    line = f"{told['steps']} steps on {told['rows']} rows: {name} {told[f'{name}_first']:.4f} in the first third, "
    line += f"{told[f'{name}_last']:.4f} in the last\n"
    if left:
        line = f"left out, longer than {told['settings']['max_length']} tokens: {left} rows\n" + line
    return line


def run(
    recipe: Recipe, options: argparse.Namespace, begun: Callable[[Trainer], None] = lambda trainer: None
) -> dict[str, Any]:
    """Train; what result.json says.

    Args:
        begun: called with the trainer before it begins.

    Raises:
        CoigPError: what is named is not there, is not whole, or does not fit.
    """
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")  # of names that TRL uses
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
        transformers.logging.disable_progress_bar()
    settings = settings_of(recipe, options)
    PartialState(cpu=not torch.cuda.is_available())  # without being told, it takes ranks on CPUs for single processes
    with ExitStack() as stack:
        folder = _folder(options, stack)
        done = _begun(folder, recipe, settings)
        if done is not None:
            return done
        if options.model is not None:
            check_there(options.model)  # what is not there is said before anything is done
        rows = _rows(recipe, options, settings, folder)
        steps = recipe.steps(rows, settings)
        made = Run(
            options, settings, folder, _model(options, rows, folder), rows, min(steps, options.max_steps or steps)
        )
        trainer = recipe.make(made)
        left_out = _count(trainer, made)
        trainer.remove_callback(PrinterCallback)
        if options.log_rows:
            _log_rows(trainer, folder / f"rows-{PartialState().process_index}.jsonl")
        if options.out:
            trainer.add_callback(_Whole())
        last = _last(folder, options)
        if PartialState().is_main_process and last is None:
            _write(folder / RUN, {"recipe": recipe.name, "settings": settings})
        begun(trainer)
        trainer.train(resume_from_checkpoint=str(last) if last else None)
        told = _result(recipe, trainer, rows, settings, left_out)
        if options.out:
            trainer.save_model(str(folder))
            if PartialState().is_main_process:
                _write(folder / RESULT, told)
        return told


def settings_of(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """The preset's numbers, those that were given, and what else the weights depend on."""
    found = recipe.settings(preset_of(options.preset))
    if options.model is None:
        found |= recipe.tiny
    for name in found:
        if getattr(options, name, None) is not None:
            found[name] = getattr(options, name)
    for name, value in found.items():
        if isinstance(value, float) and not 0 <= value < float("inf"):
            raise UsageError(f"--{name.replace('_', '-')} {value}: use a number of 0 or more")
    if options.data and options.threshold is not None:
        raise UsageError("--threshold is of a store: an export has its own. Leave it out, or name --store")
    if options.data and options.config != "all":
        raise UsageError("--config is of a store: an export has its domains. Leave it out, or name --store")
    world = options.world_size or int(os.environ.get("WORLD_SIZE", "1"))
    found |= {"preset": options.preset, "seed": options.seed, "batch_size": options.batch_size}
    found |= {"gradient_accumulation": options.gradient_accumulation, "max_steps": options.max_steps}
    found |= {"world_size": world, "workers": options.workers, "model": options.model}
    found |= {"store": options.store, "data": options.data, "config": options.config, "threshold": options.threshold}
    return found | {"reward_model": getattr(options, "reward_model", None)}


def _folder(options: argparse.Namespace, stack: ExitStack) -> Path:
    if options.out is None:
        if options.resume or options.overwrite:
            raise UsageError("--resume and --overwrite are of a folder: name it with --out")
        return Path(stack.enter_context(tempfile.TemporaryDirectory()))
    out: Path = options.out
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is no directory: choose another place with --out")
    first = PartialState().is_main_process
    if first and out.is_dir() and any(out.iterdir()):
        if not (out / RUN).is_file() and any(one.name not in ("base", "rows") for one in out.iterdir()):
            raise UsageError(f"{out} is not empty, and no run of a recipe: choose another place with --out")
        if options.overwrite:
            shutil.rmtree(out)
        elif not options.resume:
            raise UsageError(f"{out} has a run already: go on with --resume, or begin anew with --overwrite")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from None
    return out


def _begun(folder: Path, recipe: Recipe, settings: dict[str, Any]) -> dict[str, Any] | None:
    """Compare with what was begun in the folder; its result, where it is finished."""
    if not (folder / RUN).is_file():
        return None
    before = _read(folder / RUN)
    if before.get("recipe") != recipe.name:
        raise UsageError(f"{folder} is a run of {before.get('recipe')}.py: choose another place, or --overwrite")
    now = json.loads(dumped(settings))
    own = before.get("settings") if isinstance(before.get("settings"), dict) else {}
    for name in sorted({*now, *own}):
        if now.get(name) != own.get(name):
            raise UsageError(
                f"{folder} was begun with {name} {dumped(own.get(name))}, and now it is {dumped(now.get(name))}: give "
                "the same, or begin anew with --overwrite"
            )
    return _read(folder / RESULT) if (folder / RESULT).is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = strict_json(read_small(path))
        if isinstance(found, dict):
            return found
    except ValueError:
        pass
    raise DataError(f"{path} is damaged: begin anew with --overwrite")


def _write(path: Path, value: dict[str, Any]) -> None:
    with atomic_file(path) as stream:
        stream.write(json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n")


def _rows(recipe: Recipe, options: argparse.Namespace, settings: dict[str, Any], folder: Path) -> Rows:
    readers = {"world_size": settings["world_size"], "workers": options.workers}
    if options.data:
        return of_export(options.data, recipe.exports, epochs=settings["epochs"], **readers)
    store, chosen = options.store or str(BUNDLED), {"threshold": options.threshold, "seed": options.seed}
    if recipe.streams:
        return of_store(store, options.config, epochs=settings["epochs"], **chosen, **readers)
    with PartialState().main_process_first():
        made = exported(store, options.config, recipe.exports[0], folder, **chosen, **readers)
    return of_export(str(made), recipe.exports, epochs=settings["epochs"], **readers)


def _model(options: argparse.Namespace, rows: Rows, folder: Path) -> str:
    if options.model is not None:
        load_tokenizer(options.model)  # one that cannot be read is said before it is trained
        return str(options.model)
    base = folder / "base"
    with PartialState().main_process_first():
        if not (base / "model.safetensors").is_file():
            make_tiny(base, texts(rows), seed=options.seed)
    return str(base)


def logged(steps: int) -> int:
    """Steps between two losses that are logged: thirty, where there are so many."""
    return max(1, steps // 30)


def streamed_steps(each: Sequence[int], settings: dict[str, Any]) -> int:
    """Steps that every rank can take of what its readers read.

    Raises:
        DataError: none.
    """
    batch, accumulation = settings["batch_size"], settings["gradient_accumulation"]
    found = steps_of(tuple(each), settings["workers"], batch, accumulation)
    if not found:
        raise DataError(
            f"{min(each)} rows of a reader are fewer than one step takes ({batch} x {accumulation}): give more rows, "
            "or a smaller --batch-size"
        )
    return found


def _count(trainer: Trainer, made: Run) -> int:
    """Take from the steps what the trainer leaves out of the rows: those of which --max-length leaves nothing to learn.

    TRL drops them without a word, and a Trainer that runs out of rows begins again at the first.
    """
    stream = trainer.train_dataset
    if made.options.max_steps is not None or not isinstance(stream, datasets.IterableDataset):
        return 0
    readers = len(made.rows.each)
    if readers == 1:
        kept = [sum(1 for _ in stream)]
    else:
        kept = [sum(1 for _ in stream.shard(num_shards=readers, index=at)) for at in range(readers)]
    trainer.args.max_steps = streamed_steps(kept, made.settings)
    trainer.args.logging_steps = logged(trainer.args.max_steps)
    return made.rows.total - sum(kept)


class _Whole(TrainerCallback):
    """Says of every checkpoint which files it has, once all ranks have written theirs."""

    def on_save(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        PartialState().wait_for_everyone()
        if PartialState().is_main_process:
            write_list(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def _last(folder: Path, options: argparse.Namespace) -> Path | None:
    if not options.resume:
        return None

    def left(path: Path, why: str) -> None:
        sys.stderr.write(printable(f"{path} is left out: {why}") + "\n")
        remove(path)

    if PartialState().is_main_process:
        newest_whole(folder, left)
    PartialState().wait_for_everyone()
    return newest_whole(folder, lambda path, why: None)


def _log_rows(trainer: Trainer, path: Path) -> None:
    """Write down a hash of every row that is trained on, with its step."""
    take, cut = trainer.training_step, []

    def training_step(model: Any, inputs: Any, *rest: Any, **named: Any) -> Any:
        step = trainer.state.global_step
        if not cut:  # what a stopped run did after its last checkpoint is done again
            cut.append(True)
            lines = path.read_text("utf-8").splitlines() if path.is_file() else []
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] < step]
            path.write_text("".join(line + "\n" for line in kept), "utf-8")
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, "rows": hashes(inputs)}) + "\n")
        return take(model, inputs, *rest, **named)

    trainer.training_step = training_step  # type: ignore[method-assign]


def hashes(inputs: Any) -> list[str]:
    """Of each row of a batch: of its tokens, or of its texts where these are not tokenized yet."""
    if isinstance(inputs, list):
        rows = [dumped({name: row[name] for name in ("prompt", "query_id") if name in row}).encode() for row in inputs]
    else:
        masks = inputs["attention_mask"].bool()
        rows = [ids[mask].tolist() for ids, mask in zip(inputs["input_ids"].cpu(), masks.cpu(), strict=True)]
        rows = [json.dumps(row).encode() for row in rows]
    return [hashlib.sha256(row).hexdigest()[:16] for row in rows]


def _result(recipe: Recipe, trainer: Trainer, rows: Rows, settings: dict[str, Any], left_out: int) -> dict[str, Any]:
    name = recipe.measure
    found = [entry[name] for entry in trainer.state.log_history if name in entry]
    third = -(-len(found) // 3)
    first, last = (sum(part) / third for part in (found[:third], found[-third:]))
    return {
        "recipe": recipe.name, "preset": settings["preset"], "steps": trainer.state.global_step, "rows": rows.total,
        "left_out": left_out, f"{name}_first": first, f"{name}_last": last, "settings": settings,
        "trained_on": rows.told,
    }  # fmt: skip


def end() -> None:
    """End the group of processes.

    Gloo's threads end with it, and that once nothing else holds it: the trainer did. One that is left may come to
    Python while the interpreter ends, which aborts this rank, and the launcher says that it failed.
    """
    gc.collect()  # what watches a trainer is held by it, and holds it
    PartialState().destroy_process_group()
