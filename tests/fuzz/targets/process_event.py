"""Messages of the kernel's process connector."""

import struct

from accelwatch.sources.proc_connector import parse_exit


def seeds() -> list[bytes]:
    header = struct.pack("=IHHII IIIIHH", 76, 3, 0, 0, 0, 1, 1, 1, 0, 40, 0)
    return [header + struct.pack("=IIQIIII", 0x80000000, 1, 123456789, 42, 42, 256, 17), header, b"\0" * 300]


def one(data: bytes) -> None:
    found = parse_exit(data)
    assert found is None or all(number >= 0 for number in found)
