"""`accelwatch report --prometheus` as its user starts it, with what it took."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Report:
    """`megabytes`: the most that it had in memory."""

    document: dict[str, Any]
    seconds: float
    megabytes: float


def report(url: str, directory: Path, *options: str) -> Report:
    """`options`: beside `--json`. Raises `AssertionError` with its words where it fails."""
    out, err = directory / "report.json", directory / "report.err"
    began = time.monotonic()
    with out.open("wb") as output, err.open("wb") as errors:
        command = [sys.executable, "-m", "accelwatch", "report", "--prometheus", url, "--json", *options]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - began
    assert child.returncode == 0, f"accelwatch report ended with {child.returncode}: {err.read_text()}"
    return Report(json.loads(out.read_text()), seconds, used.ru_maxrss / 1024)
