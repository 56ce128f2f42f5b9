"""Faults that only Ascend nodes show (reference/ascend.md sections 2 to 5)."""

from __future__ import annotations

from accelwatch.simulator.fault import Context, Kind, add
from accelwatch.simulator.state import Link, ToolTrouble

# A health word and the level that stands above it, lowest first.
_HEALTH = ("OK", "Warning", "Alarm", "Critical")


def alarm(c: Context, code: str, health: str) -> None:
    """Raises one of the device's codes; its health is that of the worst code."""
    device = c.ascend
    if code not in device.error_codes:
        device.error_codes.append(code)
    if health not in _HEALTH or (device.health in _HEALTH and _HEALTH.index(health) > _HEALTH.index(device.health)):
        device.health = health


def _code(c: Context) -> None:
    for code in c.word("code", "80C98008").split(","):
        alarm(c, code.upper().removeprefix("0X"), c.word("health", "Alarm"))


def _health_out_of_range(c: Context) -> None:
    c.ascend.health = ""


def _isolated(c: Context) -> None:
    for name in ("hbm_double_isolated", "hbm_double_aggregate"):
        add(c.ascend.ecc, name, int(c.number("pages", 1)))


def _too_many_isolated(c: Context) -> None:
    _isolated(c)
    if c.ascend.ecc["hbm_double_isolated"] >= 64:
        alarm(c, "80E18402", "Alarm")


def _port(c: Context) -> Link:
    port = c.ascend.roce
    if port is None:
        raise ValueError("this device has no RoCE port")
    return port


def _change_state(port: Link, at: float, up: bool) -> None:
    port.history.append((at, up))
    port.history.sort()
    if up:
        port.ups += 1
    else:
        port.drops += 1


def _roce_down(c: Context) -> None:
    port = _port(c)
    port.up = False
    _change_state(port, c.started, False)
    alarm(c, "81078603", "Warning")
    c.ascend.net_health = "Unreachable"


def _roce_came_back(c: Context) -> None:
    port = _port(c)
    _change_state(port, c.started, False)
    _change_state(port, c.ended, True)


def _roce_flap(c: Context) -> None:
    """Down and up again between two polls: only the history tells."""
    port = _port(c)
    for number in range(int(c.number("times", 1))):
        _change_state(port, c.started + 2 * number, False)
        _change_state(port, c.started + 2 * number + 1, True)


def _roce_errors(c: Context) -> None:
    add(_port(c).errors, c.word("counter", "roce_new_pkt_rty_num"), int(c.number("per_second", 10) * c.age) + 1)


def _net_health(c: Context) -> None:
    c.ascend.net_health = c.word("word", "Receive timeout")


def _optics(c: Context) -> None:
    lane = int(c.number("lane", 0))
    c.ascend.optical_present = bool(c.number("present", 1))
    powers = list(c.ascend.rx_power_milliwatts)
    if not 0 <= lane < len(powers):
        raise ValueError(f"the module has lanes 0 to {len(powers) - 1}, not {lane}")
    powers[lane] = c.number("milliwatts", 0.05)
    c.ascend.rx_power_milliwatts = powers


def _hccs_unhealthy(c: Context) -> None:
    c.ascend.hccs_healthy = False


def _tool(c: Context) -> None:
    trouble = ToolTrouble(c.word("kind", "garbage"), c.word("match", ""), c.number("seconds", 3))
    if trouble.kind not in _TOOL_TROUBLES:
        raise ValueError(f"no tool trouble {trouble.kind!r}; expected one of {', '.join(_TOOL_TROUBLES)}")
    tool = c.word("tool", "npu-smi")
    (c.node.hccn_tool_trouble if tool == "hccn_tool" else c.node.npu_smi_trouble).append(trouble)


_TOOL_TROUBLES = ("block", "garbage", "truncate", "empty", "flood", "language", "error_8005", "slow")

KINDS: dict[str, Kind] = {
    "error_code": Kind("Ascend error codes `code` (with commas) with `health`", _code),
    "health_out_of_range": Kind("npu-smi leaves out the chip's first line", _health_out_of_range),
    "isolated_pages": Kind("`pages` of HBM are isolated; from 64 on with 80E18402", _too_many_isolated, leaves=_isolated),
    "roce_down": Kind("the NPU's RoCE port goes down, with 81078603", _roce_down, leaves=_roce_came_back),
    "roce_flap": Kind("the RoCE port drops and returns `times` between two polls", _roce_flap, leaves=_roce_flap),
    "roce_errors": Kind("`counter` of the RoCE port grows, `per_second`", _roce_errors, leaves=_roce_errors),
    "net_health": Kind("hccn_tool's net health is `word`", _net_health),
    "optics": Kind("lane `lane` receives `milliwatts`; `present`=0: no module", _optics),
    "hccs_unhealthy": Kind("HCCS is NOK with every lane up", _hccs_unhealthy),
    "tool": Kind(f"`tool` (npu-smi, hccn_tool) does `kind`: {', '.join(_TOOL_TROUBLES)}", _tool),
}  # fmt: skip
