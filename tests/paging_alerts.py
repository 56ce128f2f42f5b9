"""Alerts as the rules and the fast path make them."""

from __future__ import annotations

DEVICE = {"vendor": "nvidia", "device": "3", "model": "H100"}
RUN = {"run_id": "4711", "incident": "run/4711"}
IDLE = {"incident": "node/gpu-17"}
NODE = {"node": "gpu-17", "rack": "r12"}
PAGE, TICKET, INFO = ({"severity": word} for word in ("page", "ticket", "info"))
FAST, DRILL = {"path": "fast"}, {"drill": "true"}


def fault(class_: str, *more: dict[str, str], ends_run: bool = True) -> dict[str, str]:
    """A fault's alert, as rules and the fast path make it: a page of GPU 3 of gpu-17 in run 4711, unless told otherwise."""
    name = "Accelwatch" + "".join(word.capitalize() for word in class_.split("_"))
    effect = {"class": class_, "fault_severity": "run_ending" if ends_run else "degrading"}
    return merged({"alertname": name}, effect, NODE, DEVICE, RUN, PAGE, *more)


def other(name: str, *more: dict[str, str]) -> dict[str, str]:
    return merged({"alertname": f"Accelwatch{name}"}, *more)


def merged(*parts: dict[str, str]) -> dict[str, str]:
    """Later ones win; an empty value takes a label away."""
    whole: dict[str, str] = {}
    for part in parts:
        whole |= part
    return {name: value for name, value in whole.items() if value}


LOST, ECC, HOT = fault("device_lost"), fault("mem_uncorrectable"), fault("thermal", TICKET, ends_run=False)
HOST = fault("host", {"vendor": "host", "device": "", "model": ""})
LINK = fault("net_link_down")
HANG = other("RunHang", PAGE, RUN)
DARK, DARK_IDLE = other("NodeDark", PAGE, NODE, RUN), other("NodeDark", TICKET, NODE, IDLE)
SILENT, SOURCE = (
    other("AgentSilent", TICKET, NODE, IDLE),
    other("SourceFailing", TICKET, NODE, IDLE, {"source": "nvml"}),
)
MISSING = other("DevicesMissing", TICKET, NODE, IDLE)
RACK = other("SharedComponent", PAGE, {"rack": "r12"}, RUN)
RACK_IDLE = other("SharedComponent", TICKET, {"rack": "r12", "incident": "rack/r12"})
WORK = other("Maintenance", INFO, NODE, IDLE)
ELSEWHERE = {"node": "gpu-18"}
OTHER_RUN = {"run_id": "4712", "incident": "run/4712"}
