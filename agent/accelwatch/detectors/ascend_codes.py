"""The codes that an Ascend device shows now: its error codes, and the events that newer tools list beside them."""

from __future__ import annotations

import msgspec

from accelwatch.readings.health import FaultEvent, Health
from accelwatch.readings.severity import Severity

# Which list told a code, or was read: bits of one number.
CODES, EVENTS = 1, 2

# What a code that no table has does, by the driver's own word: the vendor's device plugin handles hints (0) and minor
# events (1) as nothing, and takes the device out for anything higher (reference/ascend.md section 5).
_SEVERITIES = {
    0: Severity.INFORMATIONAL,
    1: Severity.INFORMATIONAL,
    2: Severity.RUN_ENDING,
    3: Severity.RUN_ENDING,
}


class Told(msgspec.Struct, frozen=True):
    """`lists`: those that were read. Of each code: the lists that have it, its text, what the driver says of it."""

    lists: int
    codes: dict[str, tuple[int, str, Severity | None]]


def codes_of(health: Health | None) -> Told:
    """The codes of both lists, each once, in their order."""
    if health is None:
        return Told(0, {})
    listed, events = health.error_codes, health.events
    texts = health.error_texts if listed and len(health.error_texts) == len(listed) else ()
    codes: dict[str, tuple[int, str, Severity | None]] = {}
    for number, code in enumerate(listed or ()):
        codes.setdefault(code, (CODES, texts[number] if texts else "", None))
    for event in events or ():
        which, text, _ = codes.get(event.code, (0, "", None))
        codes[event.code] = (which | EVENTS, text, _severity(event))
    return Told((CODES if listed is not None else 0) | (EVENTS if events is not None else 0), codes)


def _severity(event: FaultEvent) -> Severity | None:
    return None if event.severity is None else _SEVERITIES.get(event.severity)
