"""Checks of a store: rules as data, findings as data, and a gate that is a thin wrapper.

from coig_p.validation import check
report = check("store")
report.passed, report.by_rule(), report.findings.to_pandas()
"""

from coig_p.validation.gate import Report, check
from coig_p.validation.rules import Rule, load_rules

__all__ = ["Report", "Rule", "check", "load_rules"]
