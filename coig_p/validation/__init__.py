"""Checks of a store: rules as data, findings as data, and a gate that is a thin wrapper.

from coig_p.validation import check
report = check("store")
report.passed, report.counts, report.to_pandas()
"""

from coig_p.validation.cleaning import clean_store
from coig_p.validation.findings import FINDINGS, Counts, Report
from coig_p.validation.gate import check
from coig_p.validation.report import write_report
from coig_p.validation.rules import RULES, Rule, load_rules

__all__ = ["FINDINGS", "RULES", "Counts", "Report", "Rule", "check", "clean_store", "load_rules", "write_report"]
