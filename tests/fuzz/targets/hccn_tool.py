"""Answers of hccn_tool, each read by every parser of them."""

from collections.abc import Callable
from typing import Any

from accelwatch.sources import hccn_950 as unified_bus
from accelwatch.sources import hccn_outputs as outputs
from accelwatch.sources.hccn_optics import parse_optical
from fuzz.seeds import captures

PARSERS: tuple[Callable[[str], Any], ...] = (
    outputs.values, outputs.table_rows, outputs.parse_link, outputs.parse_link_stat, outputs.parse_last_change,
    outputs.parse_net_health, outputs.parse_speed, outputs.parse_fec, outputs.parse_stat, parse_optical,
    unified_bus.parse_ports, unified_bus.parse_interfaces, unified_bus.parse_eids, unified_bus.parse_port_info,
    unified_bus.parse_bit_errors,
)  # fmt: skip


def seeds() -> list[bytes]:
    return [
        *captures("ascend/hccn_tool"),
        b"link status: UP\n",
        b"[device 0]current time        : Tue Oct 15 15:49:28 2024\n[device 0]link up count : 1\n",
    ]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for parse in PARSERS:
        parse(text)
