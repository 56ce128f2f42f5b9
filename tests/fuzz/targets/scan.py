"""Saved logs of any kind, as `accelwatch scan` reads them."""

import io

from accelwatch.logs.scanner import Scanner
from fuzz.seeds import captures

NOW = 1_790_000_000.0


def seeds() -> list[bytes]:
    return [
        *captures(
            "nvidia/kernel-xid", "nvidia/kernel-sxid", "nvidia/kernel-aer", "nvidia/kernel-mlx5", "nvidia/kernel-hung",
            "nvidia/kmsg-raw", "nvidia/nccl-log", "ascend/dmesg", "ascend/plog", "ascend/device-log",
        ),
        b"Jan  1 00:00:00 n kernel: [ 12.5] NVRM: Xid (PCI:0000:3b:00): 31, Ch 1\n",
        b"[Thu Feb 29 25:61:61 2026] NVRM: Xid (PCI:0000:3b:00): 79\r\n<4>[1.2] NVRM: Xid (PCI:0000:3b:00): 48\n",
    ]  # fmt: skip


def one(data: bytes) -> None:
    lines = data.count(b"\n") + 1
    for found in Scanner("log", lambda: NOW).scan(io.BytesIO(data)):
        assert 0 <= found.line <= lines
