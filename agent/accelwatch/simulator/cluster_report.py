"""The comparison of the simulated cluster's vendors, written anew every few minutes: `accelwatch report` on its Prometheus."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

# What a site records each hour, or each five minutes, is recorded so often here, so that minutes are enough to show a
# report. The rest of what it reads is recorded each minute anyway (alerts/rules/serials.yml).
RECORDED_SECONDS = 60
AGAIN_SECONDS = 300.0
NEEDS = ("matplotlib", "scipy")


def hastened(rules: Path, directory: Path) -> str:
    """Copies the rules, with those of each hour and each five minutes recorded every minute; gives the pattern of their
    files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for path in rules.glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        copy = re.sub(r"^    interval: (1h|5m)$", f"    interval: {RECORDED_SECONDS}s", text, flags=re.MULTILINE)
        (directory / path.name).write_text(copy, encoding="utf-8")
    return str(directory / "*.yml")


class Reports:
    """`step` is called often, with the seconds since everything was ready; it never waits."""

    def __init__(self, prometheus: str, path: Path, after: float, say: Callable[[str], None]) -> None:
        self._prometheus = prometheus
        self._path = path
        self._next = after
        self._say = say
        self._child: subprocess.Popen[bytes] | None = None
        if lacking := [name for name in NEEDS if importlib.util.find_spec(name) is None]:
            self._next = float("inf")
            say(f"REPORT none: {' and '.join(lacking)} is not here; pip install 'accelwatch[report]' brings it")

    def step(self, passed: float) -> None:
        """Begins a report when it is time, and says when one is written."""
        if self._child is not None and (status := self._child.poll()) is not None:
            self._child = None
            log = self._path.with_suffix(".log")
            self._say(f"REPORT {self._path}" if status == 0 else f"REPORT failed (status {status}); see {log}")
        if self._child is None and passed >= self._next:
            self._next = passed + AGAIN_SECONDS
            with self._path.with_suffix(".log").open("wb") as log_file:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "accelwatch", "report", "--prometheus", self._prometheus,
                     "--window", f"{passed:.0f}s", "--recorded-every", f"{RECORDED_SECONDS}s", "--out", str(self._path)],
                    stdin=subprocess.DEVNULL, stdout=log_file, stderr=log_file, start_new_session=True,
                )  # fmt: skip

    def close(self) -> None:
        """Ends one that is being written."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
