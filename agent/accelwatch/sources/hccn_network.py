"""Reads hccn_tool's answers about addresses, routes and reachability (reference/ascend.md section 3)."""

from __future__ import annotations

import ipaddress
import re

import msgspec

from accelwatch.readings.link import LinkState
from accelwatch.sources.hccn_outputs import values
from accelwatch.sources.npu_smi_values import decimal, integer

_SUMMARY = re.compile(
    r"^(\d{1,9}) packets transmitted, (\d{1,9}) received, (\d{1,3}(?:\.\d{1,6})?)% packet loss\s*$",
    re.MULTILINE | re.ASCII,
)
_REPLY = re.compile(r"^recv seq=\d{1,9},\s*time=(\d{1,9}(?:\.\d{1,9})?)ms\s*$", re.MULTILINE | re.ASCII)
_TLS = re.compile(r"dev_id:(\d{1,6}), tls switch\[([01])\]", re.ASCII)
_PRESET = re.compile(r"tls preconfigured\[([01])\]")
_ALARM_DAYS = re.compile(r"tls alarm time threshold\[(\d{1,6})\]days", re.ASCII)
_BANDWIDTH = re.compile(r"^Bandwidth ([TR]X):\s*(\d{1,9}(?:\.\d{1,6})?) MB/sec\s*$", re.MULTILINE | re.ASCII)


class Address(msgspec.Struct, frozen=True):
    """`-ip -g`."""

    address: str
    netmask: str | None


def parse_ip(output: str) -> Address | None:
    """`None` when none is set: some versions print nothing then, others a sentence."""
    found = values(output)
    address, netmask = _address(found.get("ipaddr")), _address(found.get("netmask"))
    return None if address is None else Address(address, netmask)


class Vnic(msgspec.Struct, frozen=True):
    """`-vnic -g`: the chip's virtual card."""

    state: LinkState
    address: str | None
    netmask: str | None


def parse_vnic(output: str) -> Vnic | None:
    """`None` when it says nothing of the card's link."""
    found = values(output)
    word = found.get("vnic link status")
    if word is None:
        return None
    state = {"UP": LinkState.UP, "DOWN": LinkState.DOWN}.get(word.upper(), LinkState.UNKNOWN)
    return Vnic(state, _address(found.get("vnic ipaddr")), _address(found.get("vnic netmask")))


class Route(msgspec.Struct, frozen=True):
    """One line of `-route -g`; `gateway` is `None` for a network that is on the link itself (`*`)."""

    destination: str  # an address, a name, or default
    gateway: str | None
    genmask: str
    flags: str
    interface: str


def parse_routes(output: str) -> tuple[Route, ...] | None:
    """By the words of its header; `None` without one."""
    header: list[str] | None = None
    routes = []
    for words in (line.split() for line in output.splitlines()):
        if {"Destination", "Gateway", "Genmask", "Flags", "Iface"} <= set(words):
            header = words
        elif header and len(words) == len(header):
            row = dict(zip(header, words, strict=True))
            gateway = None if row["Gateway"] in ("*", "0.0.0.0") else row["Gateway"]  # noqa: S104 - not bound to
            routes.append(Route(row["Destination"], gateway, row["Genmask"], row["Flags"], row["Iface"]))
    return None if header is None else tuple(routes)


class Ping(msgspec.Struct, frozen=True):
    """`-ping -g`; `loss_ratio` from 0 to 1, one time per answer that came."""

    transmitted: int
    received: int
    loss_ratio: float
    milliseconds: tuple[float, ...]


def parse_ping(output: str) -> Ping | None:
    """`None` without its last line."""
    match = _SUMMARY.search(output)
    if match is None:
        return None
    return Ping(
        int(match[1]), int(match[2]), float(match[3]) / 100, tuple(float(time) for time in _REPLY.findall(output))
    )


class Tls(msgspec.Struct, frozen=True):
    """`-tls -g`: whether the device's links are encrypted."""

    device: int
    enabled: bool
    preset: bool | None
    alarm_days: int | None


def parse_tls(output: str) -> Tls | None:
    """`None` without the switch."""
    match = _TLS.search(output)
    if match is None:
        return None
    preset, days = _PRESET.search(output), _ALARM_DAYS.search(output)
    return Tls(
        int(match[1]), match[2] == "1", None if preset is None else preset[1] == "1", integer(days[1] if days else None)
    )


class Bandwidth(msgspec.Struct, frozen=True):
    """`-bandwidth -g`: what went through in the last second or so, in the tool's MB/sec."""

    sent: float
    received: float


def parse_bandwidth(output: str) -> Bandwidth | None:
    """`None` unless both ways are there."""
    found = {way: decimal(number) for way, number in _BANDWIDTH.findall(output)}
    sent, received = found.get("TX"), found.get("RX")
    return None if sent is None or received is None else Bandwidth(sent, received)


def _address(text: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address(text or ""))
    except ValueError:
        return None
