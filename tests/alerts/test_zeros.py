"""Zeros for what did not happen are written by name in the rules."""

from __future__ import annotations

import re
from pathlib import Path

from accelwatch.taxonomy.loader import load

RULES = Path(__file__).resolve().parents[2] / "alerts" / "rules" / "reliability.yml"


def test_each_class_has_its_zero() -> None:
    """A class that is new in the taxonomy is one that the report would call not recorded."""
    named = re.findall(r'label_replace\(accelwatch:model:none, "class", "(\w+)"', RULES.read_text())
    assert sorted(named) == sorted(load().classes)
