"""Reads what hccn_tool tells of 950's UnifiedBus ports and interfaces (hicann/driver, Ascend_950_HCCN_Tool)."""

from __future__ import annotations

import re

import msgspec

from accelwatch.sources.hccn_outputs import table_rows, values
from accelwatch.sources.npu_smi_values import hexadecimal, integer

_SECTION = re.compile(r"^[=-]{3,}\s*(\S.*?)\s*[=-]{3,}\s*$")


class Port(msgspec.Struct, frozen=True):
    """One row of `-dev_info`; `up` is `None` for a word that is neither UP nor DOWN."""

    udie: int
    port: int
    up: bool | None
    speed_gigabits: int | None = None  # what it can do
    kind: str | None = None  # UB
    medium: str | None = None  # Electrical, Optical


class Interface(msgspec.Struct, frozen=True):
    """A network interface of the chip, with all its addresses and their netmasks."""

    name: str
    addresses: tuple[tuple[str, str], ...]


def parse_ports(output: str) -> list[Port]:
    """`-dev_info`: its first table."""
    found = []
    for row in table_rows(output):
        udie, port = integer(row.get("UDie ID")), integer(row.get("Port ID"))
        if udie is None or port is None:
            continue
        found.append(
            Port(
                udie,
                port,
                {"UP": True, "DOWN": False}.get(row.get("Link Status", "").upper()),
                integer(row.get("Speed Ability(Gbps)")),
                row.get("Port Type"),
                row.get("Media Type"),
            )
        )
    return found


def parse_interfaces(output: str) -> tuple[Interface, ...]:
    """`-dev_info`: further addresses stand in rows without a name."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for row in table_rows(output):
        name = row.get("Interface Name")
        if name is None:
            continue
        if name:
            found.append((name, []))
        if found:
            found[-1][1].append((row.get("IP Address", ""), row.get("Netmask", "")))
    return tuple(Interface(name, tuple(addresses)) for name, addresses in found)


def parse_eids(output: str) -> dict[str, tuple[str, ...]]:
    """`-dev_info`: the UnifiedBus addresses (EID) of each device, in the order of their index."""
    found: dict[str, dict[int, str]] = {}
    current = ""
    for row in table_rows(output):
        index = integer(row.get("EID Index"))
        if index is None:
            continue
        current = row.get("Name") or current
        found.setdefault(current, {})[index] = row.get("EID", "")
    return {name: tuple(eids[index] for index in sorted(eids)) for name, eids in found.items()}


class PortInfo(msgspec.Struct, frozen=True):
    """`-port_info`: its keys by section, such as UB PORT LINK INFO and UB DLPHY INFO."""

    port: int
    sections: dict[str, dict[str, str]]


def parse_port_info(output: str) -> PortInfo | None:
    """`None` unless it says which port it is."""
    parts: dict[str, list[str]] = {"": []}
    title = ""
    for line in output.splitlines():
        if match := _SECTION.match(line):
            title = match[1]
            parts.setdefault(title, [])
        else:
            parts[title].append(line)
    port = hexadecimal(values("\n".join(parts.pop(""))).get("port_id"))
    if port is None:
        return None
    return PortInfo(port, {title: values("\n".join(lines)) for title, lines in parts.items()})


class BitErrors(msgspec.Struct, frozen=True):
    """`-bit_err`: counters of the forward error correction by the tool's own names."""

    port: int
    counts: dict[str, int]


def parse_bit_errors(output: str) -> BitErrors | None:
    """`None` unless it says which port it is, and has a counter."""
    numbers = {key: number for key, text in values(output).items() if (number := hexadecimal(text)) is not None}
    port = numbers.pop("port_id", None)
    return BitErrors(port, numbers) if port is not None and numbers else None
