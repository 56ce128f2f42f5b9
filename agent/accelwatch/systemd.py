"""systemd without a library: notifications (sd_notify(3)) and given sockets (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
import time

_FIRST_GIVEN = 3  # SD_LISTEN_FDS_START


class Notifier:
    """Tells systemd how the service does; silent where there is none."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET")
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdigit() and for_us else None

    def send(self, *assignments: str) -> None:
        """Sends `READY=1`, `STATUS=...`, `WATCHDOG=1` and the like."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto("\n".join(assignments).encode(), address)
        except OSError:
            return  # systemd itself notices a service that does not report

    def reloading(self) -> None:
        """Says that a reload has begun; `READY=1` ends it."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def given_sockets() -> dict[str, socket.socket]:
    """The sockets that systemd opened for this process, by their `FileDescriptorName=`; told to no child of it."""
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    count = os.environ.pop("LISTEN_FDS", "0")
    if os.environ.pop("LISTEN_PID", "") != str(os.getpid()) or not count.isdecimal():
        return {}
    found = {}
    for name, descriptor in zip(names, range(_FIRST_GIVEN, _FIRST_GIVEN + int(count)), strict=False):
        os.set_inheritable(descriptor, False)
        found[name] = socket.socket(fileno=descriptor)
    return found
