"""RDMA ports of the host (InfiniBand and RoCE) in sysfs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.snapshot import Snapshot
from accelwatch.sources.base import Presence, SourceError

_RATE = re.compile(r"^(\d+(?:\.\d+)?) Gb/sec")
_STATES = {"ACTIVE": LinkState.UP, "DOWN": LinkState.DOWN, "INIT": LinkState.DOWN, "ARMED": LinkState.DOWN}
_PAGE_BYTES = 4096  # sysfs shows no more

# Counters of the port that count something wrong; absent ones are left out. link_downed stands apart.
ERROR_COUNTERS = (
    "symbol_error", "link_error_recovery", "port_rcv_errors", "port_rcv_remote_physical_errors",
    "port_rcv_switch_relay_errors", "port_xmit_discards", "local_link_integrity_errors",
    "excessive_buffer_overrun_errors", "VL15_dropped",
)  # fmt: skip
HW_ERROR_COUNTERS = (
    "out_of_sequence", "packet_seq_err", "local_ack_timeout_err", "rnr_nak_retry_err", "implied_nak_seq_err",
    "req_cqe_error", "resp_cqe_error", "rx_icrc_encapsulated", "roce_adp_retrans_to",
)  # fmt: skip


class Rdma:
    """See the module."""

    name = "rdma"

    def __init__(self, *, sysfs: Path) -> None:
        self._sysfs = sysfs

    def presence(self) -> Presence:
        """A host without RDMA devices is not unhealthy: the source is off there."""
        try:
            return Presence.PRESENT if os.listdir(self._sysfs) else Presence.ABSENT
        except (FileNotFoundError, NotADirectoryError):
            return Presence.ABSENT
        except OSError:
            return Presence.PRESENT  # `poll` says why it cannot be read

    def poll(self, everything: bool = False) -> Snapshot:  # noqa: ARG002 - the protocol's
        """Every port; see `sources.base.Source`. A port that was never cabled is `down`: what to make of that is
        for the reader, who has its phys_state (`verdict`: Disabled, Polling, LinkUp).
        """
        links: list[Link] = []
        problems: list[str] = []
        try:
            devices = sorted(os.listdir(self._sysfs))
        except OSError as error:
            raise SourceError(
                f"{self._sysfs}: cannot be listed: {error.strerror}; expected one directory per RDMA device: "
                "is the driver still loaded?"
            ) from error
        for device in devices:
            ports = f"{self._sysfs}/{device}/ports"
            try:
                numbers = sorted(os.listdir(ports))
            except OSError as error:
                problems.append(f"{ports}: cannot be listed: {error.strerror}")
                continue
            for number in numbers:
                path = f"{ports}/{number}"
                try:
                    links.append(_port(path, f"{device}/{number}"))
                except OSError as error:
                    problems.append(f"{path}: cannot be read: {error.strerror}")
        if problems and not links:
            raise SourceError(problems[0])
        return Snapshot(links=tuple(links), problems=tuple(problems))

    def close(self) -> None:
        """Nothing is held between polls."""


def _port(path: str, name: str) -> Link:
    """Raises `OSError` when it cannot be read at all. Of the counters a driver has about half."""
    state = _read(f"{path}/state").partition(b":")[2].strip().decode(errors="replace")
    layer = _read(f"{path}/link_layer").strip()
    rate = _RATE.match(_text(f"{path}/rate"))
    counts = {counter: _count(f"{path}/counters/{counter}") for counter in ERROR_COUNTERS}
    counts |= {counter: _count(f"{path}/hw_counters/{counter}") for counter in HW_ERROR_COUNTERS}
    errors = {counter: count for counter, count in counts.items() if count is not None}
    sent, received = _count(f"{path}/counters/port_xmit_packets"), _count(f"{path}/counters/port_rcv_packets")
    return Link(
        key=None,
        link=name,
        kind=LinkKind.ROCE if layer == b"Ethernet" else LinkKind.IB,
        state=_STATES.get(state, LinkState.UNKNOWN),
        speed_bits_per_second=float(rate[1]) * 1e9 if rate else None,
        verdict=_text(f"{path}/phys_state").partition(":")[2].strip() or None,
        drops=_count(f"{path}/counters/link_downed"),
        errors=errors or None,
        packets=None if sent is None or received is None else sent + received,
    )


def _count(path: str) -> int | None:
    try:
        digits = _read(path).strip()
    except OSError:
        return None
    return int(digits) if digits.isdigit() else None


def _read(path: str) -> bytes:
    """A small file of sysfs in one read: a port has two dozen, and a file object costs more than the read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _PAGE_BYTES)
    finally:
        os.close(descriptor)


def _text(path: str) -> str:
    try:
        return _read(path).decode(errors="replace").strip()
    except OSError:
        return ""
