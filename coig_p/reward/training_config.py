"""How a transformer is trained into a reward model: two recipes of papers, and every number of them as an option."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from coig_p.errors import UnknownNameError, UsageError
from coig_p.reward.losses import BT, GAUSS, LOSSES, Loss
from coig_p.reward.steps import BATCHES, QUERY

CRM, CHEEMS = "crm", "cheems"
PRESETS: Mapping[str, Mapping[str, Any]] = {
    # COIG-P's CRM on Llama-3.1-8B-Instruct, and Cheems' on Qwen2.5-72B-Instruct.
    CRM: {"loss": BT, "learning_rate": 2e-6, "schedule": "cosine", "warmup": 0.03, "weight_decay": 0.001,
          "batch_pairs": 512, "max_length": 4096, "epochs": 1},
    CHEEMS: {"loss": GAUSS, "learning_rate": 5e-6, "schedule": "cosine", "warmup": 0.1, "weight_decay": 0.0,
             "batch_pairs": 256, "max_length": 2048, "epochs": 2},
}  # fmt: skip
SCHEDULES = ("cosine", "linear", "constant")
DTYPES = ("float32", "bfloat16")
DEVICES = ("cpu", "cuda")


def _preset(words: str, **more: Any) -> Any:
    return field(default=None, metadata={"help": f"{words} Default: the preset's.", **more})


@dataclass(frozen=True)
class TrainConfig:
    """Options of training. What is None is the preset's, or the machine's.

    Raises:
        UsageError: a value that is not allowed.
    """

    preset: str = field(default=CRM, metadata={"help": "The paper whose numbers are used.", "choices": tuple(PRESETS)})
    loss: str | None = _preset("What is made small.", choices=LOSSES)
    loss_weight: float | None = field(
        default=None, metadata={"help": "Weight of the second term of tap and gauss. Default: .05 and .1, the papers'."}
    )
    loss_limit: float | None = field(
        default=None, metadata={"help": "Size of a reward above which tap holds it back. Default: 5."}
    )
    lm_weight: float = field(
        default=0.0, metadata={"help": "Weight of the next-token loss on chosen responses; 0 leaves it out."}
    )
    batch: str = field(
        default=QUERY,
        metadata={"help": "Whole queries a step, each response once, or pairs as rows.", "choices": BATCHES},
    )
    batch_pairs: int | None = _preset("Pairs of a step, at most.")
    epochs: int | None = _preset("How often every pair is seen.")
    max_steps: int | None = field(default=None, metadata={"help": "Stop after so many steps. Default: all."})
    learning_rate: float | None = _preset("At its highest.")
    schedule: str | None = _preset("How the learning rate falls.", choices=SCHEDULES)
    warmup: float | None = _preset("Share of the steps in which the learning rate rises.")
    weight_decay: float | None = _preset("Of AdamW.")
    max_grad_norm: float = field(default=1.0, metadata={"help": "Gradients are cut to this norm; 0 cuts none."})
    max_length: int | None = _preset("Pairs with a longer response are left out and counted; in tokens.")
    held_out: float = field(
        default=0.1, metadata={"help": "Share of queries that are not trained on, for the accuracy; 0 holds out none."}
    )
    dtype: str | None = field(
        default=None,
        metadata={"help": "What the body computes in. Default: bfloat16 on a GPU, else float32.", "choices": DTYPES},
    )
    device: str | None = field(
        default=None, metadata={"help": "Where. Default: cuda where there is one.", "choices": DEVICES}
    )
    forward_tokens: int = field(
        default=16_384, metadata={"help": "Tokens that go through the model at once, which changes no gradient."}
    )
    gradient_checkpointing: bool = field(
        default=False, metadata={"help": "Less memory, for a second forward pass of each layer."}
    )
    save_every: int = field(default=100, metadata={"help": "Steps after which a checkpoint is written; 0 writes none."})
    revision: str | None = field(default=None, metadata={"help": "A commit, tag or branch of a Hub id."})
    template: Path | None = field(
        default=None, metadata={"help": "A chat template, in the place of the model's.", "metavar": "FILE"}
    )

    def __post_init__(self) -> None:
        for option in fields(self):
            value, choices = getattr(self, option.name), option.metadata.get("choices")
            if choices and value is not None and value not in choices:
                raise UnknownNameError(option.name, value, choices)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < float("inf"):
                raise UsageError(f"{name}={value} (--{name.replace('_', '-')}): use a number of {least} or more")
        for name in ("learning_rate",):
            if getattr(self, name) == 0:
                raise UsageError("learning_rate=0 (--learning-rate): nothing would be learnt, use a number above 0")
        if self.warmup is not None and self.warmup > 1:
            raise UsageError(f"warmup={self.warmup:g} (--warmup): a share of the steps, from 0 to 1")
        if self.held_out >= 1:
            raise UsageError(f"held_out={self.held_out:g} (--held-out): a share of the queries, from 0 to below 1")
        self.loss_of()

    def resolved(self) -> TrainConfig:
        """With the preset's numbers where none are given."""
        given = {name: value for name, value in PRESETS[self.preset].items() if getattr(self, name) is None}
        return replace(self, **given)

    def loss_of(self) -> Loss:
        """The loss, with its constants."""
        name = self.loss or PRESETS[self.preset]["loss"]
        return Loss.of(name, self.loss_weight, self.loss_limit, self.lm_weight)

    def to_dict(self) -> dict[str, Any]:
        """What the weights depend on, as a record has it. The loss stands apart, and so does what is only about where
        and how fast."""
        found = asdict(self.resolved())
        for name in (*_ELSEWHERE, "loss", "loss_weight", "loss_limit", "lm_weight"):
            del found[name]
        return found


_LEAST = {
    "batch_pairs": 1, "epochs": 1, "max_steps": 1, "learning_rate": 0, "warmup": 0, "weight_decay": 0,
    "max_grad_norm": 0, "max_length": 2, "held_out": 0, "forward_tokens": 1, "save_every": 0,
}  # fmt: skip
_ELSEWHERE = ("dtype", "device", "save_every", "template", "revision", "forward_tokens", "gradient_checkpointing")
