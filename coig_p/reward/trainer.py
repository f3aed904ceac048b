"""The optimizer's steps: transformers' Trainer over steps that are known before. Needs torch and transformers.

Trainer brings what a long run needs: mixed precision, several processes, checkpoints that hold the optimizer's state.
What a step is, is ours: its forward passes one after the other, their losses summed over pairs and divided by the pairs
of the step, so that no cut into passes, and no number of processes, changes the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import Trainer, TrainerCallback

from coig_p.errors import DataError
from coig_p.reward.checkpoints import write_list, writing
from coig_p.reward.losses import Loss
from coig_p.reward.passes import inputs_of, summed_loss
from coig_p.reward.steps import Step, split
from coig_p.reward.tokens import Tokens
from coig_p.reward.transformer import RewardModel


class StepData(Dataset[dict[str, Any]]):
    """Every step of a training, in order; with several processes each takes every so many-th."""

    def __init__(self, steps: Sequence[Step], tokens: Tokens, pad: int, loss: Loss, world: int = 1) -> None:
        self.steps, self.tokens, self.pad, self.loss, self.world = steps, tokens, pad, loss, world

    def __len__(self) -> int:
        return len(self.steps) * self.world

    def __getitem__(self, at: int) -> dict[str, Any]:
        step = self.steps[at // self.world]
        forwards = split(step, self.world)[at % self.world]
        return {"forwards": [inputs_of(one, self.tokens, self.pad, self.loss) for one in forwards], "pairs": step.pairs}


class PairTrainer(Trainer):
    """Trainer whose batch is one of `StepData`."""

    def __init__(self, model: RewardModel, *, loss: Loss, **options: Any) -> None:
        super().__init__(model=model, data_collator=_only, **options)
        self.loss, self.right, self.seen = loss, 0, 0

    def get_train_dataloader(self) -> Any:
        """The steps in their order."""
        loader: Any = DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=_only)
        return self.accelerator.prepare(loader)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """All forward and backward passes of a step.

        Returns:
            The mean loss of the step's pairs that this process saw, a scalar.

        Raises:
            DataError: it is no number.
        """
        model.train()
        inputs = self._prepare_inputs(inputs)
        total = torch.zeros((), device=self.args.device)
        # Gradients of several processes are averaged, and the loss is one over the pairs of all of them.
        scale = self.accelerator.num_processes / inputs["pairs"]
        for at, one in enumerate(inputs["forwards"]):
            is_last = at == len(inputs["forwards"]) - 1
            with nullcontext() if is_last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    loss, right = summed_loss(model, one, self.loss)
                self.accelerator.backward(loss * scale)
            total += loss.detach() * scale
            self.right, self.seen = self.right + right, self.seen + len(one["chosen"])
        if not torch.isfinite(total):
            raise DataError(
                f"step {self.state.global_step + 1}: the loss is {total.item():g}. Lower --learning-rate, or use "
                "--dtype float32"
            )
        return total

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write one, and then the list of its files.

        Raises:
            UsageError: a disk that is full.
        """
        step = self.state.global_step
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{step}"
        with writing(checkpoint, f"the checkpoint of step {step}"):
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()  # each process writes its own state of chance
            if self.args.should_save:
                write_list(checkpoint)

    def log(self, logs: dict[str, float], *more: Any, **options: Any) -> None:
        """Add how many pairs of the last steps were right before they were learnt from."""
        if "loss" in logs and self.seen:
            logs = logs | {"accuracy": round(self.right / self.seen, 4)}
            self.right = self.seen = 0
        super().log(logs, *more, **options)


class Progress(TrainerCallback):
    """Says how many steps were done."""

    def __init__(self, advance: Callable[[int], None]) -> None:
        self.advance = advance

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Called by Trainer."""
        self.advance(1)


def _only(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    (item,) = items
    return item
