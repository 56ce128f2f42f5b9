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
# Counters come with the driver, which makes the port anew; of one that came by itself is known after a minute.
LOOK_AGAIN_POLLS = 12

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
        self._ports: dict[str, _Port] = {}  # by path: those of the last poll

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
        kept, self._ports = self._ports, {}
        for device in devices:
            ports = f"{self._sysfs}/{device}/ports"
            try:
                numbers = sorted(os.listdir(ports))
            except OSError as error:
                problems.append(f"{ports}: cannot be listed: {error.strerror}")
                continue
            for number in numbers:
                path = f"{ports}/{number}"
                port = kept.get(path) or _Port(path, f"{device}/{number}")
                try:
                    links.append(port.read())
                except OSError as error:
                    problems.append(f"{path}: cannot be read: {error.strerror}")
                    continue
                self._ports[path] = port
        if problems and not links:
            raise SourceError(problems[0])
        return Snapshot(links=tuple(links), problems=tuple(problems))

    def close(self) -> None:
        """Nothing is held between polls."""


class _Port:
    """One port. What it does not have is looked for now and then only: of 20 counters a driver has half."""

    def __init__(self, path: str, name: str) -> None:
        self._path = path
        self._name = name
        self._absent: set[str] = set()
        self._polls = 0

    def read(self) -> Link:
        """Raises `OSError` when it cannot be read at all."""
        if self._polls % LOOK_AGAIN_POLLS == 0:
            self._absent.clear()
        self._polls += 1
        path = self._path
        state = _read(f"{path}/state").partition(b":")[2].strip().decode(errors="replace")
        layer = _read(f"{path}/link_layer").strip()
        rate = _RATE.match(_text(f"{path}/rate"))
        errors = {name: count for name in ERROR_COUNTERS if (count := self._count("counters", name)) is not None}
        errors |= {name: n for name in HW_ERROR_COUNTERS if (n := self._count("hw_counters", name)) is not None}
        sent, received = self._count("counters", "port_xmit_packets"), self._count("counters", "port_rcv_packets")
        return Link(
            key=None,
            link=self._name,
            kind=LinkKind.ROCE if layer == b"Ethernet" else LinkKind.IB,
            state=_STATES.get(state, LinkState.UNKNOWN),
            speed_bits_per_second=float(rate[1]) * 1e9 if rate else None,
            verdict=_text(f"{path}/phys_state").partition(":")[2].strip() or None,
            drops=self._count("counters", "link_downed"),
            errors=errors or None,
            packets=None if sent is None or received is None else sent + received,
        )

    def _count(self, folder: str, name: str) -> int | None:
        if name in self._absent:
            return None
        try:
            digits = _read(f"{self._path}/{folder}/{name}").strip()
        except FileNotFoundError:
            self._absent.add(name)
            return None
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
