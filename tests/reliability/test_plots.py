"""What the report's pictures hold."""

from __future__ import annotations

import re
from typing import Any

from accelwatch.reliability import plots


def curve(group: str, *at_risk: int) -> dict[str, Any]:
    """A failure every 100 hours, with so many at risk."""
    steps = [
        {"age_hours": 100.0 * (n + 1), "at_risk": of, "survival": 1 - 0.1 * (n + 1), "low": 0.1, "high": 1.0}
        for n, of in enumerate(at_risk)
    ]
    return {"group": group, "vendor": "nvidia", "steps": steps, "oldest_hours": 100.0 * (len(at_risk) + 1)}


def bands(svg: str | None) -> int:
    assert svg is not None
    return len(re.findall(r'id="FillBetweenPolyCollection_|id="PolyCollection_', svg))


def test_survival_has_its_limits_where_enough_devices_are_at_risk() -> None:
    """With delayed entry these are neither the first ages nor the last."""
    assert bands(plots.survival([curve("H100", 3, 12, 40, 9)])) == 2
    assert bands(plots.survival([curve("H100", 3, 9)])) == 0


def test_a_group_without_a_failure_is_a_line_of_its_own() -> None:
    svg = plots.survival([curve("H100", 12), curve("H$^200$ <&>")])
    assert svg is not None
    assert {"H100", "H$^200$ &lt;&amp;&gt;"} <= set(re.findall(r">([^<>]+)</text>", svg))
    assert plots.survival([curve("H100"), curve("H200")]) is None


def test_no_event_is_an_arrow_below_its_bound() -> None:
    """And no mark of a rate."""

    def row(group: str, count: int) -> dict[str, Any]:
        low, high = (0.0, 3.7e-4) if not count else (1e-4, 9e-4)
        rate = count / 10_000
        return {
            "group": group, "vendor": group, "class": "power", "count": count, "rate_per_device_hour": rate,
            "rate_low": low, "rate_high": high,
        }  # fmt: skip

    both = plots.rates([row("nvidia", 5), row("ascend", 0)], "class", [row("nvidia", 5), row("ascend", 0)])
    one = plots.rates([row("nvidia", 5), row("ascend", 4)], "class", [row("nvidia", 5), row("ascend", 4)])
    assert both is not None
    assert one is not None
    assert "stroke-dasharray" in both
    assert "stroke-dasharray" not in one
    assert plots.rates([row("nvidia", 0)], "class", [row("nvidia", 0)]) is None
