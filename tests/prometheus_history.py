"""A real Prometheus with a history that is written by hand, and a moment in it to ask about."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

STEP_SECONDS = 15
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None, reason="Prometheus is not installed"
)


class History:
    """Series with a sample every 15 s, also those that rules would have recorded."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, str, float]] = []

    def add(self, name: str, labels: Mapping[str, str], start: float, end: float, value: float | None = None) -> None:
        """A constant from `start` until before `end`; without a value that of the clock."""
        text = ",".join(f'{label}="{of}"' for label, of in labels.items() if of)
        at = start
        while at < end:
            self._samples.append((at, f"{name}{{{text}}}", at if value is None else value))
            at += STEP_SECONDS

    def write(self, path: Path) -> None:
        """In the format that promtool backfills from."""
        lines = [f"{series} {value!r} {at:.3f}" for at, series, value in sorted(self._samples)]
        path.write_text("\n".join([*lines, "# EOF\n"]))


@contextlib.contextmanager
def served(history: History, directory: Path) -> Iterator[str]:
    """The URL of a Prometheus that holds it. A series without a sample for 20 s is gone, as when a scrape lacks it."""
    page, data = directory / "history.txt", directory / "tsdb"
    history.write(page)
    subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(data)], check=True, capture_output=True
    )
    flags = ("--storage.tsdb.retention.time=60d", "--query.lookback-delta=20s")
    with running(directory, data, *flags) as url:
        yield url


@contextlib.contextmanager
def running(directory: Path, data: Path, *flags: str) -> Iterator[str]:
    """The URL of a Prometheus over these blocks; it scrapes nothing."""
    (directory / "prometheus.yml").write_text("global: {scrape_interval: 15s}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (directory / "prometheus.log").open("wb") as log:
        server = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address=127.0.0.1:{port}",
                *flags,
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(f"{url}/-/ready", server)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20.0
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError("Prometheus did not start")
