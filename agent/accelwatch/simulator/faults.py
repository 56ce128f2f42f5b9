"""The faults that a simulated node can show, by name; those of both vendors are made here."""

from __future__ import annotations

from accelwatch.simulator import faults_ascend, faults_host, faults_nvidia
from accelwatch.simulator.fault import Context, Kind, add, xid_line
from accelwatch.simulator.state import AscendDevice, NvidiaDevice

__all__ = ["KINDS", "Context", "Kind"]


def _lost(c: Context) -> None:
    if isinstance(c.any, NvidiaDevice):
        c.any.status = int(c.number("code", 15))
        c.any.xid_events.append(79)
    else:
        c.any.present = False


def _lost_event(c: Context) -> None:
    if isinstance(c.any, NvidiaDevice):
        c.any.xid_events.append(79)


def _lost_lines(c: Context) -> list[str]:
    if isinstance(c.any, NvidiaDevice):
        return [xid_line(c, 79, faults_nvidia.xid_text(79))]
    number = c.ascend.phy_id
    return [
        f"[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/0:1> Heartbeat lost! (device={number}; old_count=1204; lost_count=4)"
    ]


def _vanish(c: Context) -> None:
    c.any.present = False


def _corrected(c: Context) -> None:
    count = int(c.number("count", 1) + c.number("per_second", 0) * c.age)
    if isinstance(c.any, NvidiaDevice):
        for counts in (c.any.ecc_volatile, c.any.ecc_aggregate):
            add(counts, f"{c.word('memory', 'hbm')}_corrected", count)
        return
    for suffix in ("", "_aggregate"):
        add(c.ascend.ecc, f"{c.word('memory', 'hbm')}_single{suffix}", count)


def _uncorrected_count(c: Context) -> None:
    count = int(c.number("count", 1))
    if isinstance(c.any, NvidiaDevice):
        for counts in (c.any.ecc_volatile, c.any.ecc_aggregate):
            add(counts, f"{c.word('memory', 'hbm')}_uncorrected", count)
        c.any.xid_events += _ecc_xids(c)
        return
    for suffix in ("", "_aggregate"):
        add(c.ascend.ecc, f"{c.word('memory', 'hbm')}_double{suffix}", count)


def _uncorrected(c: Context) -> None:
    _uncorrected_count(c)
    if isinstance(c.any, AscendDevice):
        faults_ascend.alarm(c, c.word("code", "80E01801"), "Alarm")


def _ecc_xids(c: Context) -> list[int]:
    """48 alone, or with `cascade` the usual train of lines."""
    return [48, 63, 94, 45, 154] if c.number("cascade", 0) else [48]


def _ecc_lines(c: Context) -> list[str]:
    if not isinstance(c.any, NvidiaDevice):
        return []
    return [xid_line(c, xid, faults_nvidia.xid_text(xid), xid in (48, 94, 45)) for xid in _ecc_xids(c)]


def _link_down(c: Context) -> None:
    c.link.up = False
    c.link.drops += 1
    if isinstance(c.any, AscendDevice):
        c.any.hccs_healthy = False


def _link_came_back(c: Context) -> None:
    c.link.drops += 1
    c.link.ups += 1


def _link_flap(c: Context) -> None:
    """Down for `down` of every `period` seconds, so that some polls see it down and others up."""
    period, down = c.number("period", 10), c.number("down", 4)
    begun = int(c.age // period) + 1
    c.link.drops += begun
    c.link.up = c.over or c.age % period >= down
    c.link.ups += begun if c.link.up else begun - 1
    if isinstance(c.any, AscendDevice) and not c.link.up:
        c.any.hccs_healthy = False


def _link_errors(c: Context) -> None:
    own = {"hopper": "crc_flit", "ampere": "crc_flit", "blackwell": "rx_errors"}.get(c.node.family, "error")
    add(c.link.errors, c.word("counter", own), int(c.number("per_second", 10) * c.age) + 1)


def _thermal(c: Context) -> None:
    c.any.temperature_celsius = c.number("celsius", 95)
    if isinstance(c.any, NvidiaDevice):
        c.any.throttle_bits |= 0x48
        c.any.clocks_mhz["sm"] = int(c.number("megahertz", 345))
        _thermal_time(c)
    else:
        c.ascend.aicore_clock_mhz = int(c.number("megahertz", 800))
        faults_ascend.alarm(c, c.word("code", "80E00209"), "Warning")


def _thermal_time(c: Context) -> None:
    if isinstance(c.any, NvidiaDevice):
        add(c.any.violation_nanoseconds, "thermal", int(c.age * 1e9))


_OF_BOTH = {
    "lost": Kind("the device falls off the bus (NVML 15 or `code`; gone from npu-smi)", _lost, _lost_lines, _lost_event),
    "vanish": Kind("the device is not listed any more, without a word", _vanish),
    "ecc_corrected": Kind("`count` corrected errors in `memory`, then `per_second`", _corrected, leaves=_corrected),
    "ecc_uncorrected": Kind("`count` uncorrected errors in `memory`; `cascade`=1: with the Xids that follow 48", _uncorrected, _ecc_lines, _uncorrected_count),
    "link_down": Kind("NVLink or HCCS `link` goes down", _link_down, leaves=_link_came_back),
    "link_flap": Kind("NVLink or HCCS `link` is down for `down` of every `period` seconds", _link_flap, leaves=_link_flap),
    "link_errors": Kind("`counter` grows on NVLink or HCCS `link`, `per_second`", _link_errors, leaves=_link_errors),
    "thermal": Kind("the device gets `celsius` hot and slows down to `megahertz`", _thermal, leaves=_thermal_time),
}  # fmt: skip

KINDS: dict[str, Kind] = {**_OF_BOTH, **faults_nvidia.KINDS, **faults_ascend.KINDS, **faults_host.KINDS}
