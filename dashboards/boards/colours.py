"""Colours with one meaning everywhere, from Okabe and Ito's palette, which colour-blind people can tell apart.

https://jfly.uni-koeln.de/color/: no meaning hangs on red against green, and none on colour alone: each has its word.
"""

from __future__ import annotations

SKY, ORANGE, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#56B4E9",
    "#E69F00",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#8E8E8E"

VENDORS = {"nvidia": SKY, "ascend": ORANGE}
# Network adapters and faults of the host itself carry the word `host` in place of a vendor.
PAINTED = {**VENDORS, "host": GREY}

FINE, WARNING, BAD, UNKNOWN = GREEN, YELLOW, VERMILION, GREY

SEVERITIES = {"run_ending": BAD, "degrading": WARNING, "informational": GREY}
