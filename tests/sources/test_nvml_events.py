"""NVML's event set: a real worker and the simulated library; and the waiting thread on libraries that misbehave."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from accelwatch.readings.identity import DeviceKey, Vendor
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.memory import ErrorKind
from accelwatch.readings.snapshot import Snapshot
from accelwatch.simulator import nvml_library
from accelwatch.sources import nvml_events
from accelwatch.sources.base import SourceError
from accelwatch.sources.nvml import Nvml
from accelwatch.sources.nvml_device import Gpu
from accelwatch.sources.nvml_driver import Driver
from accelwatch.sources.nvml_events import Events
from accelwatch.sources.nvml_progress import Progress
from support import FakeClock, node_of

TIMEOUT = 0.4


class Rig:
    """A node behind the simulated library, the source that reads it, and the events that it gave."""

    def __init__(self, directory: Path) -> None:
        self.node = node_of("hopper", 3)
        self.clock = FakeClock()
        self._state = nvml_library.StateFile(directory)
        self.show()
        self.source = Nvml(library=str(nvml_library.install(directory)), timeout=TIMEOUT, interval=1, clock=self.clock)
        self.events: list[LogEvent] = []

    def show(self) -> None:
        self._state.write(self.node)

    def xid(self, gpu: int, *numbers: int) -> None:
        self.node.nvidia[gpu].xid_events += numbers
        self.show()

    def poll(self) -> Snapshot:
        snapshot = self.source.poll()
        self.events += snapshot.events
        return snapshot

    def told(self) -> list[tuple[str | None, str | None]]:
        return [(event.pci, event.code) for event in self.events]

    def until(self, count: int) -> None:
        soon(lambda: self.poll() is not None and len(self.events) >= count)

    def worker(self) -> int:
        worker = self.source._child._worker
        assert worker is not None
        return worker.pid

    def pci(self, gpu: int) -> str:
        return self.node.nvidia[gpu].pci.partition(".")[0].lower()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.source.close()


def soon(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "not within 5 s"
        time.sleep(0.02)


def test_an_xid_between_two_polls_comes_once_with_its_gpu(rig: Rig) -> None:
    """Address as the kernel log writes it, so that both can be recognised as one; with the wall time of the event."""
    rig.xid(1, 13)  # before anybody listened: for the kernel log to tell
    assert rig.poll().events == ()
    before = time.time()
    rig.xid(1, 79)
    rig.until(1)
    event = rig.events[0]
    assert (event.kind, event.vendor, event.code, event.pci) == ("xid", "nvidia", "79", rig.pci(1))
    assert event.wall is not None
    assert before <= event.wall <= time.time()
    time.sleep(0.1)
    assert rig.poll().events == ()


def test_a_burst_on_several_gpus_comes_in_order(rig: Rig) -> None:
    """Each with its own address."""
    rig.poll()
    for gpu in (2, 0):
        rig.xid(gpu, 48, 63, 94)
    rig.until(6)
    for gpu in (0, 2):
        assert [code for pci, code in rig.told() if pci == rig.pci(gpu)] == ["48", "63", "94"]


def test_an_xid_that_the_driver_does_not_number_has_no_code(rig: Rig) -> None:
    """999 is no Xid."""
    rig.poll()
    rig.xid(0, 999)
    rig.until(1)
    assert rig.told() == [(rig.pci(0), None)]


def test_an_event_has_its_gpu_read_in_full_at_the_next_poll(rig: Rig) -> None:
    """The counters that belong to the Xid are not a full period late."""
    rig.poll()
    rig.poll()
    rig.node.nvidia[2].ecc_volatile = {"hbm_uncorrected": 1}
    rig.node.nvidia[1].ecc_volatile = {"hbm_uncorrected": 5}
    rig.xid(2, 48)
    rig.until(1)

    def uncorrected(gpu: int) -> list[int]:
        counts = rig.source._devices[DeviceKey(Vendor.NVIDIA, rig.node.nvidia[gpu].pci)].ecc or ()
        return [c.count for c in counts if c.kind is ErrorKind.UNCORRECTED and not c.lifetime and c.memory == "hbm"]

    assert rig.source._polls < 9  # no full reading came by itself
    assert uncorrected(2) == [1]
    assert uncorrected(1) == [0]


def test_a_driver_that_was_reloaded_is_listened_to_again(rig: Rig) -> None:
    """The old set is dead; the new worker registers anew, and what was heard before is still given."""
    rig.poll()
    first = rig.worker()
    rig.xid(0, 119)
    time.sleep(0.1)
    rig.node.call_results = {"nvmlDeviceGetFieldValues": 1, "nvmlEventSetWait_v2": 1}
    rig.show()
    with pytest.raises(SourceError, match="driver was reloaded"):
        rig.source.poll()
    rig.node.call_results = {}
    rig.show()
    rig.clock.now += 2
    assert [event.code for event in rig.poll().events] == ["119"]
    assert rig.worker() != first
    rig.xid(1, 31)
    rig.until(2)
    assert rig.told() == [(rig.pci(0), "119"), (rig.pci(1), "31")]


def test_a_wait_that_blocks_holds_up_neither_answers_nor_a_release(rig: Rig) -> None:
    """It blocks in a thread of its own, outside of every deadline."""
    rig.node.blocked_library_calls = ["nvmlEventSetWait_v2"]
    rig.show()
    assert len(rig.poll().devices) == 3
    time.sleep(0.1)
    worker = rig.worker()
    for _ in range(25):
        started = time.monotonic()
        assert all(device.sensors is not None for device in rig.poll().devices)
        assert time.monotonic() - started < TIMEOUT
    assert rig.worker() == worker
    started = time.monotonic()
    rig.source.release(60)
    assert time.monotonic() - started < 2.5
    assert rig.source.abandoned == 0


@pytest.mark.parametrize("call", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlDeviceGetSupportedEventTypes"])
def test_a_registration_that_blocks_costs_the_events_only(rig: Rig, call: str) -> None:
    """No GPU is set apart for it, and it is tried again later."""
    if call == "nvmlEventSetCreate":
        rig.node.blocked_library_calls = [call]
    else:
        rig.node.nvidia[1].blocked_calls = [call]
    rig.show()
    snapshot = rig.poll()
    assert len(snapshot.devices) == 3
    assert all(device.sensors is not None for device in snapshot.devices)
    assert "no events for 600 s" in snapshot.problems[0]
    rig.xid(0, 79)
    time.sleep(0.1)
    assert rig.poll().events == ()


@pytest.mark.parametrize("call", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlDeviceGetSupportedEventTypes"])
@pytest.mark.parametrize("code", [3, 13, 4, 999])
def test_a_driver_without_events_costs_nothing(rig: Rig, call: str, code: int) -> None:
    """No thread, no problem; the values are all there."""
    rig.node.call_results = {call: code}
    rig.show()
    snapshot = rig.poll()
    assert (len(snapshot.devices), snapshot.problems, snapshot.events) == (3, (), ())
    assert len(list(Path(f"/proc/{rig.worker()}/task").iterdir())) == 1


@pytest.mark.parametrize("call", ["nvmlDeviceRegisterEvents", "nvmlDeviceGetSupportedEventTypes"])
@pytest.mark.parametrize("code", [3, 15, 16])
def test_one_gpu_without_events_does_not_silence_the_others(rig: Rig, call: str, code: int) -> None:
    """A lost one, or one of another kind."""
    rig.node.nvidia[0].call_results = {call: code}
    rig.show()
    rig.poll()
    rig.xid(0, 13)
    rig.xid(1, 13)
    rig.until(1)
    assert rig.told() == [(rig.pci(1), "13")]


class Library:
    """Stands for pynvml: answers the wait with what it is told to."""

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            super().__init__(value)
            self.value = value

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.waits = 0

    def nvmlDeviceGetSupportedEventTypes(self, _handle: object) -> int:
        return 0xFFFF

    def nvmlEventSetCreate(self) -> object:
        return object()

    def nvmlDeviceRegisterEvents(self, _handle: object, wanted: int, _set: object) -> None:
        self.wanted = wanted

    def nvmlEventSetWait_v2(self, _set: object, milliseconds: int) -> object:
        self.waits += 1
        answer = self.answers.pop(0) if self.answers else 10
        if callable(answer):
            answer = answer()
        if isinstance(answer, int):
            if answer == 10:
                time.sleep(milliseconds / 1000)
            raise self.NVMLError(answer)
        return answer


class Event:
    """nvmlEventData_t."""

    def __init__(self, device: object, type_: int, data: int) -> None:
        self.device, self.eventType, self.eventData = device, type_, data


HANDLE = ctypes.pointer(ctypes.c_int(7))
OTHER = ctypes.pointer(ctypes.c_int(8))


def listen(library: Library) -> Events:
    driver = Driver(library, Progress())
    identity = {"key": {"vendor": "nvidia", "native": "0000:3b:00.0"}, "pci": "0000:3b:00.0"}
    return Events(driver, [Gpu(driver, 5, HANDLE, identity)])


def test_what_has_no_code_only_asks_for_a_look() -> None:
    """Recovery action, poison and the like stand in the readings; no Xid is made up for them."""
    library = Library(Event(HANDLE, 0x8000, 0), Event(HANDLE, 0x4000, 0))
    events = listen(library)
    soon(lambda: library.waits > 2)
    assert (events.take(), events.take_look(), events.take_look()) == ([], {5}, set())
    assert library.wanted & 0x8 == 0x8
    assert library.wanted & (0x1 | 0x10 | 0x200) == 0  # corrected errors and clocks come by the thousand
    assert events.close()


def test_an_event_of_a_gpu_that_is_not_known_has_no_address() -> None:
    """It is kept all the same."""
    library = Library(Event(OTHER, 8, 79))
    events = listen(library)
    soon(lambda: library.waits > 1)
    assert [(e["code"], e["pci"]) for e in events.take()] == [("79", None)]
    events.close()


@pytest.mark.parametrize("code", [15, 999, 1, 17])
def test_a_set_that_fails_at_once_does_not_spin(code: int) -> None:
    """A lost GPU may make every wait return at once; events go on when it is better."""
    library = Library(*[code] * 1000)
    events = listen(library)
    time.sleep(0.4)
    assert library.waits <= 2
    assert events.close()


def test_a_wait_that_does_not_return_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else would notice that Xids come from the kernel log alone."""
    monkeypatch.setattr(nvml_events, "STUCK_SECONDS", 0.05)
    monkeypatch.setattr(nvml_events, "_WAIT_MILLISECONDS", 10)
    release = time.monotonic() + 1.0

    def stuck() -> int:
        time.sleep(max(0.0, release - time.monotonic()))
        return 10

    events = listen(Library(stuck))
    assert events.problems() == []
    time.sleep(0.15)
    assert len(events.problems()) == 1
    assert events.problems() == []
    assert not events.close()


def test_a_flood_of_events_is_bounded_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones are kept: the root comes first."""
    monkeypatch.setattr(nvml_events, "_QUEUE_LIMIT", 10)
    library = Library(*[Event(HANDLE, 8, number) for number in range(1, 31)])
    events = listen(library)
    soon(lambda: library.waits > 30)
    assert [e["code"] for e in events.take()] == [str(number) for number in range(1, 11)]
    assert events.problems() == ["NVML: 20 events came faster than they were asked for and are lost"]
    events.close()
