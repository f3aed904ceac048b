"""The least that a release's card needs."""

from __future__ import annotations

CARD = """
pretty_name = "试验用偏好数据"
license = "cc-by-4.0"
authors = ["甲"]
citation = "@misc{trial, title={Trial}}"
intended_use = "Trying releases."
[[sources]]
name = "written for tests"
license = "CC0"
"""
