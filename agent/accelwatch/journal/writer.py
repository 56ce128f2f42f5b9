"""The one writer: a thread, so that a sick disk delays neither polls nor the page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from accelwatch.journal.store import CounterRow, DeviceRow, JournalError, Store
from accelwatch.readings.identity import DeviceKey

# A disk that came back is noticed soon; one that stays away is not asked at every change.
RETRY_SECONDS = 10.0


class Writer:
    """Holds changes in memory until they are on disk. `report` is told when writing fails and when it works."""

    def __init__(self, directory: Path, report: Callable[[str | None], None]) -> None:
        self._directory = directory
        self._report = report
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._devices: dict[DeviceKey, DeviceRow] = {}
        self._counters: dict[tuple[str, str, str], CounterRow] = {}
        self._links: set[tuple[str, str]] = set()
        self._store: Store | None = None
        self.degraded = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    def open(self) -> tuple[list[DeviceRow], list[CounterRow], list[tuple[str, str]]]:
        """Reads what is kept. A newer schema raises `JournalError`; a disk that fails leaves the agent in memory."""
        try:
            self._store = Store(self._directory)
            return self._store.devices(), self._store.counters(), self._store.links_seen_up()
        except JournalError as error:
            if "newer accelwatch" in str(error):
                raise
            self._failed(error)
            return [], [], []

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, devices: list[DeviceRow], counters: list[CounterRow], links: list[tuple[str, str]]) -> None:
        """Hands over changes; returns at once."""
        if not (devices or counters or links):
            return
        with self._lock:
            self._devices.update((row.identity.key, row) for row in devices)
            self._counters.update(((row.owner, row.name, row.labels), row) for row in counters)
            self._links.update(links)
        self._wake.set()

    def close(self, seconds: float = 2.0) -> None:
        """Writes what is left, waiting at most `seconds`."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait(RETRY_SECONDS if self.degraded else None)
            self._wake.clear()
            self._flush()
            if self._stopping:
                break
        if self._store is not None:
            self._store.close()

    def _flush(self) -> None:
        with self._lock:
            devices, counters, links = self._devices, self._counters, self._links
            self._devices, self._counters, self._links = {}, {}, set()
        try:
            if self._store is None:
                self._store = Store(self._directory)
            self._store.write(devices.values(), counters.values(), links)
        except JournalError as error:
            with self._lock:  # newer rows win over those that could not be written
                self._devices = devices | self._devices
                self._counters = counters | self._counters
                self._links |= links
            self._failed(error)
            return
        if self.degraded:
            self.degraded = False
            self._report(None)

    def _failed(self, error: JournalError) -> None:
        if not self.degraded:
            self.degraded = True
            self._report(str(error))
