"""All detectors together: small states, plain JSON, and cheap."""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec
import pytest

from accelwatch import detectors
from accelwatch.detectors.base import Answered, Silent, Tick
from accelwatch.detectors.registry import DETECTORS
from accelwatch.readings.health import Health, Level
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.readings.link import Fabric, Link, LinkChange, LinkKind, LinkState, Pcie
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.sensors import Sensors, Throttle
from accelwatch.readings.snapshot import Device
from accelwatch.taxonomy.loader import CLASSES
from detectors.replaying import answered, inventory, known

# Of all detectors together, for 16 devices; the best of 30 steps, since the machine may be busy.
STEP_SECONDS = 0.005


def gpu(number: int, step: int = 0) -> Device:
    key = DeviceKey(Vendor.NVIDIA, f"0000:{number:02x}:00.0")
    return Device(
        identity=Identity(key=key, model="NVIDIA H100", uuid=f"GPU-{number}", serial=str(number), pci=key.native),
        sensors=Sensors(
            power_watts=600.0, power_limit_watts=700.0, utilization_ratio=0.9, temperature_celsius=60.0,
            throttle=(Throttle.SW_POWER_CAP,),
        ),
        health=Health(recovery_action=0),
        ecc=tuple(
            EccCount(memory=memory, kind=kind, count=5, lifetime=lifetime, place=place)
            for memory, place in (("hbm", False), ("sram", False), ("l1", True), ("l2", True), ("cbu", True))
            for kind in ErrorKind
            for lifetime in (False, True)
        ),
        repairs=Repairs(rows_corrected=1, rows_uncorrected=0, pending=False, failed=False, banks_without_spare=0),
        pcie=Pcie(generation=5, generation_max=5, width=16, width_max=16, replays=4),
        fabric=Fabric(state="completed", status=0, healthy=True),
        links=tuple(
            Link(
                key=key, link=f"nvlink{i}", kind=LinkKind.NVLINK, state=LinkState.UP,
                errors={"replay": 0, "recovery": 0, "crc_flit": step, "crc_data": 0},
            )
            for i in range(18)
        ),
    )  # fmt: skip


def npu(number: int) -> Device:
    key = DeviceKey(Vendor.ASCEND, f"npu{number}/chip0")
    return Device(
        identity=Identity(key=key, model="910B2C", serial=str(number), npu_id=number),
        sensors=Sensors(power_watts=300.0, utilization_ratio=0.9),
        health=Health(level=Level.OK, error_codes=()),
        ecc=tuple(
            EccCount(memory="hbm", kind=kind, count=5, lifetime=lifetime)
            for kind in ErrorKind
            for lifetime in (False, True)
        ),
        repairs=Repairs(rows_corrected=0, rows_uncorrected=3),
        links=tuple(
            Link(
                key=key, link=f"hccs{i}", kind=LinkKind.HCCS, state=LinkState.UP, healthy=True, lanes_lost=0,
                errors={"error": 0, "retry": 0},
            )
            for i in range(7)
        ),
    )  # fmt: skip


def ports(step: int = 0, later: float = 0.0) -> Answered:
    return answered(
        "hccn_tool",
        links=[
            Link(
                key=DeviceKey(Vendor.ASCEND, f"npu{number}/chip0"), link="roce0", kind=LinkKind.ROCE,
                state=LinkState.UP, healthy=True, drops=1, ups=2, errors={f"e{i}": step for i in range(12)},
                history=tuple(LinkChange(600.0 * i + later, i % 2 == 0) for i in range(10)),
            )
            for number in range(16)
        ],
    )  # fmt: skip


GPUS = answered("nvml", *(gpu(number) for number in range(16)))
NPUS = answered("npu_smi", *(npu(number) for number in range(16)))
CONTEXT = inventory(
    *(known(device.key, str(i)) for i, device in enumerate(GPUS.snapshot.devices)),
    *(known(device.key, str(i)) for i, device in enumerate(NPUS.snapshot.devices)),
)


@pytest.mark.parametrize(("name", "moving"), [("nvml", False), ("nvml", True), ("npu_smi", False), ("hccn_tool", True)])
def test_all_detectors_take_at_most_5_ms_for_16_devices(name: str, moving: bool) -> None:
    states = {detector.name: detector.start() for detector in DETECTORS}
    best = 1.0
    for step in range(30):
        number = step if moving else 0
        reading = {
            "nvml": GPUS if not moving else answered("nvml", *(gpu(device, number) for device in range(16))),
            "npu_smi": NPUS,
            "hccn_tool": ports(number),
        }[name]
        began = time.perf_counter()
        for detector in DETECTORS:
            states[detector.name], _ = detector.step(states[detector.name], reading, 1000.0 + 10 * step, CONTEXT)
        best = min(best, time.perf_counter() - began)
    assert best <= STEP_SECONDS, f"{best * 1000:.2f} ms"


def test_a_sound_node_shows_nothing_and_changes_no_state() -> None:
    states = {detector.name: detector.start() for detector in DETECTORS}
    for step in range(400):
        for reading in (GPUS, NPUS, ports(later=10.0 * step), Tick()):
            for detector in DETECTORS:
                before = states[detector.name]
                after, findings = detector.step(before, reading, 1000.0 + 10 * step, CONTEXT)
                assert list(findings) == []
                if step and step % 30:  # link counters note now and then that they were read
                    assert after is before or detector.name == "link_errors", detector.name
                states[detector.name] = after


def test_silence_is_not_health_and_not_sickness() -> None:
    """All but the detector of silence itself pass over a source that failed."""
    for detector in DETECTORS:
        state, findings = detector.step(detector.start(), Silent(source="nvml", error="x"), 1000.0, CONTEXT)
        assert list(findings) == []
        assert state == detector.start() or detector.name == "driver_silent"


def test_what_a_source_only_repeats_is_judged_once() -> None:
    """A fast reading of NVML hands on the slow families: counters and links are not looked through again."""
    states = {detector.name: detector.start() for detector in DETECTORS}
    fast = msgspec.structs.replace(GPUS, fresh=frozenset({"sensors"}))
    for detector in DETECTORS:
        states[detector.name], _ = detector.step(states[detector.name], GPUS, 1000.0, CONTEXT)
    best = 1.0
    for second in range(30):
        began = time.perf_counter()
        for detector in DETECTORS:
            after, findings = detector.step(states[detector.name], fast, 1001.0 + second, CONTEXT)
            assert after is states[detector.name]
            assert list(findings) == []
        best = min(best, time.perf_counter() - began)
    assert best <= STEP_SECONDS / 5, f"{best * 1000:.2f} ms"


def test_every_state_is_plain_json() -> None:
    for detector in DETECTORS:
        state = detector.start()
        for reading in (GPUS, NPUS, ports()):
            state, _ = detector.step(state, reading, 1000.0, CONTEXT)
        assert type(state) is detector.state_type
        assert msgspec.json.decode(msgspec.json.encode(state), type=detector.state_type) == state
        assert detector.state_type.__struct_config__.frozen


def test_names_are_unique() -> None:
    assert len({detector.name for detector in DETECTORS}) == len(DETECTORS)


def test_detectors_name_only_classes_of_the_contract() -> None:
    folder = Path(detectors.__file__).parent
    named = {
        word
        for file in folder.glob("*.py")
        for line in re.findall(
            r"^(?:[A-Z_]*CLASS\w*|DOWN, FLAP|UNCORRECTABLE, CORRECTABLE, ON_CHIP|UNKNOWN) = (.*)$",
            file.read_text(),
            re.MULTILINE,
        )
        for word in re.findall(r'"([a-z_]+)"', line)
    }
    assert len(named) >= 12
    assert named <= set(CLASSES)
