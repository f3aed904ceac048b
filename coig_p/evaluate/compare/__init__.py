"""Datasets side by side: one table over any stores, every number that of the command which counts it for one store.

from coig_p.evaluate.compare import side_by_side
found = side_by_side(["coig-p", "huozi"])
found.to_pandas(), found.matrix_to_pandas()
"""

from coig_p.evaluate.compare.comparing import side_by_side
from coig_p.evaluate.compare.config import CompareConfig
from coig_p.evaluate.compare.results import SideBySide

__all__ = ["CompareConfig", "SideBySide", "side_by_side"]
