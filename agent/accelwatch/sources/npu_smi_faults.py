"""Reads `npu-smi info -t current-fault-event`: the faults that are active now, each with the driver's own severity.

950 has it from 25.7 on; its source has a branch for the other chips too, whose tool still refuses the query there
(hicann/driver, npu_chip_info_ext.c and the table of types in npu_cmd_parse.c).
"""

from __future__ import annotations

import re

from accelwatch.readings.health import FaultEvent
from accelwatch.sources.npu_smi_values import hexadecimal, integer

_COUNT = re.compile(r"^\s*Fault Event Count\s*:\s*(\d{1,6})\s*$", re.MULTILINE | re.ASCII)
_EVENT = re.compile(r":\s*(event id\s*=.*)$")


def parse_fault_events(output: str) -> tuple[FaultEvent, ...] | None:
    """() when none is active; `None` unless the output has as many readable events as it counts."""
    count = _COUNT.search(output)
    if count is None:
        return None
    found = [_event(match[1]) for line in output.splitlines() if (match := _EVENT.search(line))]
    events = tuple(event for event in found if event is not None)
    return events if len(events) == len(found) == int(count[1]) else None


def _event(text: str) -> FaultEvent | None:
    """`event id=0x81AF8000, severity=2, node type ex=215, node id=0, sub node type ex=0, sub node id=0`."""
    fields = {key.strip(): value.strip() for key, _, value in (part.partition("=") for part in text.split(","))}
    code = hexadecimal(fields.get("event id"))
    if code is None or code > 0xFFFFFFFF:
        return None
    return FaultEvent(
        code=f"{code:08X}",
        severity=integer(fields.get("severity")),
        node_type=integer(fields.get("node type ex")),
        node_id=integer(fields.get("node id")),
        sub_node_type=integer(fields.get("sub node type ex")),
        sub_node_id=integer(fields.get("sub node id")),
    )
