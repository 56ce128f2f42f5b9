"""Lost, blocked and missing devices, and how many there ought to be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.device_count import HELD_SECONDS, DeviceCount
from accelwatch.detectors.device_lost import DeviceLost
from accelwatch.faults.sign import Gone
from accelwatch.readings.health import DeviceState
from accelwatch.readings.identity import DeviceKey, Vendor
from detectors.replaying import GPU, GPU_2, NPU, Fed, answered, device, inventory, known, silent

Make = Callable[..., Fed]
FULL = inventory(known(GPU, "3", model="NVIDIA H100", serial="165"), known(GPU_2, "4"))


@pytest.mark.parametrize(
    ("state", "class_", "condition", "words"),
    [
        (DeviceState.LOST, "device_lost", "lost", "is lost: 15"),
        (DeviceState.RESET_REQUIRED, "driver_software", "reset required", "needs a reset before it can be used: 15"),
        (DeviceState.BLOCKED, "driver_software", "blocked", "blocks its driver: 15"),
    ],
)
def test_a_device_that_is_not_up_is_told_until_it_answers(
    fed: Make, state: DeviceState, class_: str, condition: str, words: str
) -> None:
    lost = fed(DeviceLost(), FULL)
    bad = answered("nvml", device(GPU, state=state, reason="15"), device(GPU_2))
    (sign,) = lost.signs(bad)
    assert (sign.class_, sign.condition, sign.device, sign.vendor) == (class_, condition, GPU, "nvidia")
    assert sign.lasting
    assert sign.severity is None
    assert sign.message == f"NVIDIA H100 3 (PCI 0000:3b:00.0, serial 165) {words}"
    assert len(lost.signs(bad)) == 1
    lost.quiet(silent("nvml"))
    assert lost.feed(answered("nvml", device(GPU), device(GPU_2))) == [
        Gone(
            class_=class_,
            condition=condition,
            vendor="nvidia",
            at=lost.now,
            device=GPU,
            because="the device answers again",
        )
    ]
    lost.quiet(answered("nvml", device(GPU), device(GPU_2)))


def test_a_missing_device_is_told_until_it_is_listed_again(fed: Make) -> None:
    lost = fed(DeviceLost(), inventory(known(NPU, "5", model="910B2C", serial="1023")))
    lost.quiet(answered("npu_smi", device(NPU)))
    (sign,) = lost.signs(answered("npu_smi", missing=(NPU,)))
    assert (sign.class_, sign.condition, sign.device) == ("device_lost", "missing", NPU)
    assert sign.message == "910B2C 5 (serial 1023) is missing from its driver's list"
    lost.quiet(answered("hccn_tool"))
    assert [gone.condition for gone in lost.gone(answered("npu_smi", device(NPU)))] == ["missing"]


def test_up_without_a_single_value_is_no_proof_that_a_device_is_back(fed: Make) -> None:
    lost = fed(DeviceLost(), FULL)
    lost.signs(answered("nvml", device(GPU, state=DeviceState.LOST)))
    lost.quiet(answered("nvml", device(GPU, state=DeviceState.UP, reason="every call returned 999")))
    assert len(lost.gone(answered("nvml", device(GPU)))) == 1


def test_a_mig_device_that_is_gone_is_a_matter_of_its_partition(fed: Make) -> None:
    mig = DeviceKey(Vendor.NVIDIA, f"{GPU.native}/1/0")
    lost = fed(DeviceLost(), inventory(known(GPU), known(mig, "0/1/0", parent=GPU)))
    lost.quiet(answered("nvml", device(GPU), missing=(mig,)))


def test_devices_that_were_never_seen_are_missed_by_their_number(fed: Make) -> None:
    count = fed(DeviceCount(), inventory(known(GPU), known(GPU_2), expected_devices=8))
    two = answered("nvml", device(GPU), device(GPU_2))
    count.quiet(two)
    count.quiet(two, HELD_SECONDS - 1)
    (sign,) = count.signs(two, 1)
    assert (sign.class_, sign.device, sign.vendor) == ("device_lost", None, "host")
    assert sign.message == "6 of 8 expected devices have never been seen on this host"
    count.quiet(silent("nvml"))
    count.quiet(answered("nvml", complete=False))
    count.context = inventory(known(GPU), known(GPU_2), expected_devices=2)
    assert len(count.gone(two)) == 1


def test_a_known_device_that_is_lost_is_not_missed_twice(fed: Make) -> None:
    count = fed(DeviceCount(), inventory(known(GPU), known(GPU_2, up=False), expected_devices=2))
    for _ in range(10):
        count.quiet(answered("nvml", device(GPU), missing=(GPU_2,), devices_on_bus=2))


def test_a_device_on_the_bus_that_its_tool_does_not_list(fed: Make) -> None:
    count = fed(DeviceCount(), inventory(known(NPU)))
    hidden = answered("npu_smi", device(NPU), devices_on_bus=2)
    count.quiet(hidden)
    count.quiet(answered("npu_smi", device(NPU)), HELD_SECONDS)  # the host does not tell: it begins anew
    count.quiet(hidden)
    (sign,) = count.signs(hidden, HELD_SECONDS)
    assert (sign.class_, sign.vendor, sign.device) == ("device_lost", "ascend", None)
    assert sign.message == "2 devices are on the PCI bus, npu-smi lists 1"
    count.quiet(answered("npu_smi", device(NPU)))
    assert len(count.gone(answered("npu_smi", device(NPU), devices_on_bus=1))) == 1


def test_no_expectation_no_fault(fed: Make) -> None:
    count = fed(DeviceCount())
    count.quiet(answered("nvml"))
    count.quiet(answered("nvml"), 10 * HELD_SECONDS)
