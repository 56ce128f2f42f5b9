"""Answers of npu-smi, each read by every parser of them."""

from collections.abc import Callable
from typing import Any

from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.sources import npu_smi_queries as queries
from accelwatch.sources.base import SourceError
from accelwatch.sources.npu_smi_errors import explain, unsupported
from accelwatch.sources.npu_smi_faults import parse_fault_events
from accelwatch.sources.npu_smi_host import parse_lspci, parse_version_info
from accelwatch.sources.npu_smi_info import parse_info
from accelwatch.sources.npu_smi_naming import named
from accelwatch.sources.npu_smi_topology import parse_superpod, parse_topology
from accelwatch.sources.npu_smi_values import whole_lines
from accelwatch.sources.npu_smi_watch import parse_watch
from fuzz.seeds import captures

KEY = DeviceKey(Vendor.ASCEND, "npu0/chip0")
WHOLE: tuple[Callable[[str], Any], ...] = (
    queries.parse_map, queries.parse_list, queries.numbered, queries.parse_processes, queries.processes_of_chips,
    parse_fault_events, parse_topology, parse_watch, parse_lspci, parse_version_info, whole_lines,
)  # fmt: skip
OF_BLOCK: tuple[Callable[[queries.Block], Any], ...] = (
    queries.parse_health, queries.parse_ecc, queries.parse_ecc_enabled, parse_superpod,
    lambda block: queries.parse_hccs(block, KEY), lambda block: queries.parse_sio(block, KEY),
    lambda block: queries.number(block, *block),
)  # fmt: skip


def seeds() -> list[bytes]:
    return [
        *captures("ascend/npu-smi", "ascend/host"),
        b"        NPU ID                         : 0\n        Health                         : OK\n        Chip ID : 0\n",
    ]


def one(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    try:
        info = parse_info(text)
        named(info, info.chips, [])
    except SourceError:
        pass
    for parse in WHOLE:
        parse(text)
    for block in queries.blocks(text).values():
        for read in OF_BLOCK:
            read(block)
    unsupported(text, 1)
    explain("info", text, 1)
