"""Rates with intervals in PromQL, from what the rules record per hour.

Byar's approximation of the exact (Garwood) 95 % limits of a Poisson count k: Breslow and Day, Statistical Methods in
Cancer Research II (1987), 2.3. Its upper limit is within 0.6 % of the exact one at every k; its lower limit is 48 %
too low at k = 1 and within 0.8 % from 5 on, so that for k <= 3 the exact limits stand as constants.
"""

from __future__ import annotations

from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Kind

Z = 1.96
# Exact lower limits: chi2.ppf(0.025, 2 k) / 2.
EXACT_LOWER = {1: 0.0253, 2: 0.2422, 3: 0.6187}

INTERCONNECT = ("intra_node_link", "fabric_switch", "net_link_down", "net_link_flap", "net_errors")


def hardware() -> str:
    """Classes that enter the comparison of vendors, as an expression."""
    return "|".join(name for name, class_ in load().classes.items() if class_.hardware)


def causes() -> dict[str, str]:
    """Groups of causes of an interruption, each as an expression of classes; together all, none twice."""
    classes = load().classes
    interconnect = list(INTERCONNECT)
    unknown = [name for name, class_ in classes.items() if class_.kind is Kind.SYMPTOM or name == "unknown"]
    software = [name for name, class_ in classes.items() if class_.kind is Kind.APPLICATION]
    software += ["driver_software", "operator"]
    rest = [name for name in classes if name not in {*interconnect, *unknown, *software}]
    return {
        "hardware": "|".join(rest),
        "interconnect": "|".join(interconnect),
        "software": "|".join(software),
        "unknown": "|".join(unknown),
    }


def lower(count: str) -> str:
    """Lower 95 % limit of an expected count, where `count` gave whole numbers."""
    byar = f"({count} > 3) * (1 - 1 / (9 * {count}) - {Z} / (3 * sqrt({count}))) ^ 3"
    constants = " or ".join(f"0 * ({count} == {k}) + {value}" for k, value in EXACT_LOWER.items())
    return f"({byar} or {constants} or ({count} == 0))"


def upper(count: str) -> str:
    """Upper 95 % limit of an expected count; of none 3.7."""
    return f"(({count} + 1) * (1 - 1 / (9 * ({count} + 1)) + {Z} / (3 * sqrt({count} + 1))) ^ 3)"
