"""A fault as it is shown."""

from __future__ import annotations

import msgspec

from accelwatch.readings.severity import Severity

__all__ = ["Fault", "Severity"]


class Fault(msgspec.Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """One episode of one class on one device; times are RFC 3339 in UTC."""

    class_: str
    severity: Severity
    vendor: str
    device: str | None
    code: str | None
    codes: tuple[str, ...]
    incident: str
    echo: bool
    message: str
    action: str
    first_seen: str
    last_seen: str
    count: int
    run_id: str | None
    drill: bool = False  # an operator's, to prove that paging works
