"""From what was observed to pairs: which rows, which two responses, in which columns and order."""

from coig_p.pairs.config import PairConfig
from coig_p.pairs.kernel import Pairs, find_pairs
from coig_p.pairs.plan import ShardConfig
from coig_p.pairs.rows import pair_tables
from coig_p.pairs.selection import RawSelection, Selection, select, select_raw
from coig_p.pairs.splits import SplitConfig

__all__ = [
    "PairConfig",
    "Pairs",
    "RawSelection",
    "Selection",
    "ShardConfig",
    "SplitConfig",
    "find_pairs",
    "pair_tables",
    "select",
    "select_raw",
]
