"""A reward model from a store's pairs: a transformer with a scalar head, trained, held to queries that it never saw.

While it trains, OUT.unfinished/ has training.json, which says of what, and checkpoints. The same call goes on from the
last whole one, with the same weights at the end as if it had not been stopped; another one is refused. OUT appears at
the end, whole, with coig_p_reward.json (see `coig_p.reward.made`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
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
from coig_p.reward.baselines import beside
from coig_p.reward.bench.from_store import select_items
from coig_p.reward.losses import Loss
from coig_p.reward.made import MARKER, TRANSFORMERS, Accuracy, HeldOut, TrainedModel, write_trained
from coig_p.reward.steps import PairArrays, Step, steps_of
from coig_p.reward.tokens import Tokenized, Tokens, tokenized
from coig_p.reward.training_config import TrainConfig
from coig_p.reward.training_pairs import read_training_pairs
from coig_p.store.manifest import MANIFEST
from coig_p.store.places import check_directory, check_outside
from coig_p.store.store import Store
from coig_p.store.writing import sha256_of

if TYPE_CHECKING:
    from coig_p.reward.transformer import RewardModel

UNFINISHED, RECORD, LOG = ".unfinished", "training.json", "training_log.jsonl"
_PARTS = 1000  # queries are held out by the thousandth
