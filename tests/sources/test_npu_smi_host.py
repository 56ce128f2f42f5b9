"""Accelerators that the host shows by itself: sysfs, device nodes, lspci, the installed driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelwatch import config
from accelwatch.simulator.host_files import HostFiles
from accelwatch.simulator.scenario import NodeSpec
from accelwatch.sources.npu_smi import NpuSmi
from accelwatch.sources.npu_smi_host import (
    ChipsOnHost,
    PciAccelerator,
    parse_lspci,
    parse_version_info,
    pci_devices,
)
from support import FakeClock, SimulatedTools, node_of

LSPCI = """\
08:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Device d802 (rev 20)
0000:9d:00.0 Processing accelerators [1200]: Huawei Technologies Co., Ltd. Device [19e5:d803] (rev 20)
75:00.0 Processing accelerators: Huawei Technologies Co., Ltd. HiSilicon ZIP Engine (rev 21)
76:00.0 Processing accelerators [1200]: Huawei Technologies Co., Ltd. Compression [19e5:a250] (rev 21)
81:00.0 Processing accelerators: Huawei Technologies Co., Ltd. Ascend 910 AI Processor
5e:00.0 3D controller: NVIDIA Corporation GH100 [H100 SXM5 80GB] (rev a1)
c1:00.0 Processing accelerators: Intel Corporation Device 0b25
"""


def device(bus: Path, address: str, vendor: str = "0x19e5", kind: str = "0x120000", number: str = "0xd802") -> Path:
    home = bus / address
    home.mkdir(parents=True)
    for name, text in (("vendor", vendor), ("class", kind), ("device", number)):
        (home / name).write_text(text + "\n")
    return home


def test_ascend_accelerators_on_pci_are_counted(tmp_path: Path) -> None:
    """Kunpeng's ZIP engine has the same vendor and class, a virtual function belongs to its chip."""
    for number in range(3):
        device(tmp_path, f"0000:0{number}:00.0")
    device(tmp_path, "0000:75:00.0", number="0xa250")
    device(tmp_path, "0000:5e:00.0", vendor="0x10de", kind="0x030200")
    device(tmp_path, "0000:06:00.0", kind="0x020000")
    (device(tmp_path, "0000:01:00.1") / "physfn").symlink_to("../0000:01:00.0")
    (tmp_path / "0000:ff:00.0").mkdir()  # removed while it was read
    assert ChipsOnHost(tmp_path, None).count() == 3


def test_what_a_device_is_is_read_once_and_again_of_another_at_its_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large host has hundreds of devices, and this is asked at every poll."""
    bus = tmp_path / "bus"
    for number in range(3):
        device(bus, f"0000:0{number}:00.0")
    halfway = bus / "0000:05:00.0"
    halfway.mkdir()
    read: list[str] = []
    read_text = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: (read.append(path.parent.name), read_text(path))[1])
    chips = ChipsOnHost(bus, None)
    assert [chips.count() for _ in range(3)] == [3, 3, 3]
    assert read.count("0000:01:00.0") == 3  # vendor, class and device
    for name, text in (("vendor", "0x19e5"), ("class", "0x120000"), ("device", "0xd802")):
        (halfway / name).write_text(text + "\n")
    assert chips.count() == 4
    network_card = device(tmp_path / "other", "0000:01:00.0", kind="0x020000")
    (bus / "0000:01:00.0").rename(tmp_path / "removed")
    assert chips.count() == 3
    network_card.rename(bus / "0000:01:00.0")
    assert chips.count() == 3
    device(bus, "0000:06:00.0")
    assert chips.count() == 4


def test_device_nodes_count_where_pci_shows_none(tmp_path: Path) -> None:
    """A chip of a SoC or on UnifiedBus is not on PCI; without either nothing is known, which is not 0."""
    for name in ("davinci0", "davinci1", "davinci_manager", "null"):
        (tmp_path / name).touch()
    assert ChipsOnHost(tmp_path / "absent", tmp_path).count() == 2
    assert ChipsOnHost(None, tmp_path).count() == 2
    assert ChipsOnHost(None, tmp_path / "absent").count() is None
    assert ChipsOnHost(None, None).count() is None


def test_a_container_does_not_know_its_share_of_pci(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sysfs shows it all chips of the host."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert pci_devices(tmp_path) == tmp_path / "sys/bus/pci/devices"
    (tmp_path / ".dockerenv").touch()
    assert pci_devices(tmp_path) is None
    (tmp_path / ".dockerenv").unlink()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "198.18.0.1")
    assert pci_devices(tmp_path) is None


def test_a_chip_that_the_tool_leaves_out_is_on_the_bus(tmp_path: Path) -> None:
    """The snapshot has both counts."""
    for number in range(3):
        device(tmp_path, f"0000:0{number}:00.0")
    tools = SimulatedTools(node_of("910B", 2))
    npu_smi = NpuSmi(command="/sim/npu-smi", timeout=5, interval=10, runner=tools, clock=FakeClock(), pci=tmp_path)
    snapshot = npu_smi.poll()
    assert (len(snapshot.devices), snapshot.devices_on_bus, snapshot.complete) == (2, 3, True)


def test_a_simulated_host_shows_its_chips_to_its_agent(tmp_path: Path) -> None:
    """The configuration of a simulated node points to the node's own bus; a chip that is gone is not on it."""
    node = node_of("910B", 3)
    host = HostFiles(tmp_path, NodeSpec(name="n", vendor="ascend", family="910B", devices=3), 19817)
    host.write(node)
    sysfs = config.load(tmp_path / "accelwatch.yml").sources.npu_smi.sysfs
    assert sysfs is not None
    assert ChipsOnHost(Path(sysfs), None).count() == 3
    node.ascend[1].present = False
    host.write(node)
    assert ChipsOnHost(Path(sysfs), None).count() == 2


def test_lspci_lines_with_and_without_numbers() -> None:
    """`-nn` and `-D` make no difference, another vendor's accelerators and Kunpeng's engines are none of ours."""
    assert parse_lspci(LSPCI) == (
        PciAccelerator("08:00.0", "d802", "20"),
        PciAccelerator("0000:9d:00.0", "d803", "20"),
        PciAccelerator("81:00.0", None, None),
    )


def test_the_installed_driver_is_known_without_its_tool() -> None:
    """Lines of key and value; what is neither is left out."""
    text = "Version=25.2.0\nascendhal_version=7.35.23\n\n# a comment\ncompatible_version=[V100R001C29],[V100R001C30]\n"
    info = parse_version_info(text)
    assert info["Version"] == "25.2.0"
    assert info["compatible_version"] == "[V100R001C29],[V100R001C30]"
    assert len(info) == 3
