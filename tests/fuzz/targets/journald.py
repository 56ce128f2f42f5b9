"""Lines of `journalctl -o json`, and of other collectors that wrap a message in JSON."""

import json

from accelwatch.logs import prefixes

NOW = 1_790_000_000.0
MESSAGE = "NVRM: Xid (PCI:0000:3b:00): 79, pid=4242, name=python3, GPU has fallen off the bus."


def seeds() -> list[bytes]:
    records: list[object] = [
        {"__REALTIME_TIMESTAMP": "1789990000123456", "_TRANSPORT": "kernel", "MESSAGE": MESSAGE, "PRIORITY": "3"},
        {"__REALTIME_TIMESTAMP": "1789990000123456", "_TRANSPORT": "stdout", "_PID": "1", "MESSAGE": MESSAGE},
        {"MESSAGE": [78, 86, 82, 77], "_SOURCE_MONOTONIC_TIMESTAMP": "12500000", "__MONOTONIC_TIMESTAMP": "12600000"},
        {"log": f"{MESSAGE}\n", "stream": "stderr", "time": "2026-11-27T13:13:41.123456789Z"},
        {"result": {"_raw": MESSAGE, "_time": "2026-11-27T13:13:41.000+00:00"}, "preview": False},
        {"line": MESSAGE, "timestamp": 1789990000123456789, "labels": {"node": "n1"}},
    ]
    return [json.dumps(record).encode() for record in records]


def one(data: bytes) -> None:
    for text in data.decode("utf-8", "replace").split("\n"):
        line = prefixes.read(text, NOW)
        assert isinstance(line.text, str)
        assert line.wall is None or 0 < line.wall < 253_402_300_800  # the year 10000
