"""The kernel's process events: a netlink socket that tells of each exit, with its status.

Formats: linux/netlink.h (nlmsghdr), linux/connector.h (cn_msg), linux/cn_proc.h (proc_event). Needs
CAP_NET_ADMIN before Linux 6.6, and always the first network, user and process namespaces.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
import struct
import time

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC, _CN_VAL_PROC, _LISTEN = 1, 1, 1
_NLMSG_DONE = 3
_HEADERS = struct.Struct("=IHHII IIIIHH")  # nlmsghdr, cn_msg
_EVENT = struct.Struct("=IIQ")  # what, cpu, timestamp_ns (CLOCK_MONOTONIC)
_EXIT = struct.Struct("=IIII")  # pid, tgid, exit_code (as wait(2) gives it), exit_signal
_AT_EVENT = _HEADERS.size
_AT_EXIT = _AT_EVENT + _EVENT.size
_NONE, _EXITED = 0, 0x80000000
_ACKNOWLEDGED_WITHIN_SECONDS = 1.0
# 10,000 exits in a second are about 8 MB of buffers; the follower looks every 50 ms.
_BUFFER_BYTES = 4 << 20
_SO_ATTACH_FILTER, _SO_DETACH_FILTER, _SO_RCVBUFFORCE = 26, 27, 33
_PID_NAMESPACE = "/proc/self/ns/pid"
_FIRST_PID_NAMESPACE = 0xEFFFFFFC  # linux/proc_ns.h, PROC_PID_INIT_INO
LONGEST = 256


def open_connector(given: socket.socket | None = None) -> socket.socket:
    """A non-blocking socket whose every message is the exit of a whole process. Raises `OSError`.

    `given` is one that systemd bound (`ListenNetlink=connector 1`) for a service in another network namespace, where
    the kernel has no connector: a copy of it is returned, without what came for an earlier reader.
    """
    if os.path.exists(_PID_NAMESPACE) and os.stat(_PID_NAMESPACE).st_ino != _FIRST_PID_NAMESPACE:
        raise OSError(errno.ENOTCONN, "this is another pid namespace than the host's: the kernel's pids are not ours")
    connector = _bound() if given is None else given.dup()
    try:
        if given is not None:
            _emptied(connector)
        try:
            connector.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        except OSError:
            connector.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        operation = struct.pack("=I", _LISTEN)
        length = _HEADERS.size + len(operation)
        header = _HEADERS.pack(length, _NLMSG_DONE, 0, 0, os.getpid(), _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, 4, 0)
        connector.sendto(header + operation, (0, 0))
        _acknowledged(connector)
        _attach_filter(connector)
        connector.setblocking(False)
    except BaseException:
        connector.close()
        raise
    return connector


def _bound() -> socket.socket:
    connector = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _NETLINK_CONNECTOR)
    try:
        connector.bind((0, _CN_IDX_PROC))
    except BaseException:
        connector.close()
        raise
    return connector


def _emptied(connector: socket.socket) -> None:
    """The filter of the reader before would keep the acknowledgement away."""
    with contextlib.suppress(OSError):  # it has none
        connector.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    connector.setblocking(False)
    while True:
        try:
            connector.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise


def parse_exit(message: bytes | memoryview) -> tuple[int, int, int] | None:
    """Pid, status as wait(2) gives it, and monotonic nanoseconds; `None` for anything but the end of a process."""
    if len(message) < _AT_EXIT + _EXIT.size:
        return None
    what, _, nanoseconds = _EVENT.unpack_from(message, _AT_EVENT)
    if what != _EXITED:
        return None
    pid, group, status, _ = _EXIT.unpack_from(message, _AT_EXIT)
    return (pid, status, nanoseconds) if pid == group else None  # else one thread of many


def _acknowledged(connector: socket.socket) -> None:
    """Outside the first namespaces the kernel takes the request without a word, and never sends an event."""
    deadline = time.monotonic() + _ACKNOWLEDGED_WITHIN_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        connector.settimeout(left)
        try:
            message = connector.recv(LONGEST)
        except TimeoutError:
            break
        if len(message) >= _AT_EXIT + 4 and _EVENT.unpack_from(message, _AT_EVENT)[0] == _NONE:
            (problem,) = struct.unpack_from("=I", message, _AT_EXIT)
            if problem:
                raise OSError(problem, os.strerror(problem))
            return
    raise OSError(errno.ENOTCONN, "the kernel does not acknowledge: not in the first user and process namespaces")


def _attach_filter(connector: socket.socket) -> None:
    """Lets through only exits whose pid is their thread group's: the kernel drops the rest before it wakes us.

    Classic BPF loads words in network order, so the host's words are compared as they lie in memory.
    """
    exited = int.from_bytes(struct.pack("=I", _EXITED), "big")
    instructions = (
        (0x20, 0, 0, _AT_EVENT),  # load word: what
        (0x15, 0, 4, exited),  # else drop
        (0x20, 0, 0, _AT_EXIT),  # load word: pid
        (0x07, 0, 0, 0),  # copy to x
        (0x20, 0, 0, _AT_EXIT + 4),  # load word: tgid
        (0x1D, 1, 0, 0),  # equal to x: keep
        (0x06, 0, 0, 0),  # drop
        (0x06, 0, 0, 0xFFFFFFFF),  # keep
    )
    program = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in instructions))
    address, _ = program.buffer_info()  # as ctypes has it too, for half a megabyte more
    connector.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(instructions), address))
