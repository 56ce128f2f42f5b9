"""Labels, counters and what survives a restart."""

from pathlib import Path

from accelwatch.journal.changes import Changes
from accelwatch.journal.counters import Counters
from accelwatch.journal.inventory import Inventory
from accelwatch.journal.store import Store
from accelwatch.readings.identity import DeviceKey, Identity, Vendor


def gpu(pci: str, index: int, **more: str) -> Identity:
    return Identity(key=DeviceKey(Vendor.NVIDIA, pci), pci=pci, index=index, **more)


def npu(npu_id: int, chip: int, phy: int | None = None) -> Identity:
    key = DeviceKey(Vendor.ASCEND, f"npu{npu_id}/chip{chip}")
    return Identity(key=key, npu_id=npu_id, chip_id=chip, phy_id=phy)


def test_a_gpus_label_stays_with_its_address_when_nvml_renumbers() -> None:
    """Index 1 of a host that lost GPU 0 is not the device 0 of before."""
    inventory = Inventory()
    assert [inventory.learn(gpu(f"0000:0{n}:00.0", n), True, 1.0).label for n in range(3)] == ["0", "1", "2"]
    renumbered = [inventory.learn(gpu(f"0000:0{n}:00.0", n - 1), True, 2.0).label for n in (1, 2)]
    assert renumbered == ["1", "2"]
    assert inventory.learn(gpu("0000:09:00.0", 2), True, 3.0).label == "3"


def test_an_npus_label_is_its_physical_id_else_card_or_card_and_chip() -> None:
    """The contract's rule for `device` on Ascend."""
    inventory = Inventory()
    assert inventory.learn(npu(4, 0), True, 1.0).label == "4"
    assert inventory.learn(npu(5, 1), True, 1.0).label == "5-1"
    assert inventory.learn(npu(5, 0), True, 1.0).label == "5-0"
    assert inventory.learn(npu(6, 1, phy=13), True, 1.0).label == "13"


def test_what_a_lost_device_does_not_tell_is_kept() -> None:
    """Serial and model stand on the page after the loss."""
    inventory = Inventory()
    inventory.learn(gpu("0000:01:00.0", 0, serial="s1", model="H100"), True, 1.0)
    row = inventory.learn(gpu("0000:01:00.0", 0), False, 2.0)
    assert (row.identity.serial, row.identity.model, row.up) == ("s1", "H100", False)


def test_counters_begin_at_0_and_never_fall() -> None:
    """Errors from before our time are not ours; a reset of the device's counter takes nothing away."""
    counters = Counters()
    shown = []
    for raw in (7, 7, 9, 2, 3, 0):
        counters.follow("gpu", "ecc", "hbm", raw)
        shown.append(counters.of("gpu", "ecc")["hbm"])
    assert shown == [0, 0, 2, 4, 5, 5]


def test_counters_go_on_after_a_restart(tmp_path: Path) -> None:
    """What the device counted while the agent was away is added."""
    counters = Counters()
    for raw in (1, 4):
        counters.follow("gpu", "ecc", "hbm", raw)
    store = Store(tmp_path)
    store.write(Changes(counters=counters.take_changes()))
    store.close()
    again = Counters(Store(tmp_path).load().counters)
    assert again.of("gpu", "ecc")["hbm"] == 3
    again.follow("gpu", "ecc", "hbm", 6)
    assert again.of("gpu", "ecc")["hbm"] == 5


def test_a_device_that_an_operator_gave_up_is_forgotten_unless_it_is_up(tmp_path: Path) -> None:
    """Its label is free again, and the journal has it no more; one that is up is not gone."""
    inventory = Inventory()
    for number in range(2):
        inventory.learn(gpu(f"0000:0{number}:00.0", number), True, 1.0)
    keys = [row.identity.key for row in inventory.rows()]
    store = Store(tmp_path)
    store.write(Changes(devices=inventory.take_changes()))
    inventory.missing(keys[0])
    assert (inventory.forget(keys[0]), inventory.forget(keys[1]), inventory.forget(keys[0])) == (True, False, False)
    store.write(Changes(devices=inventory.take_changes(), forget=inventory.take_forgotten()))
    assert [row.label for row in store.load().devices] == ["1"]
    assert inventory.learn(gpu("0000:09:00.0", 0), True, 3.0).label == "0"
    assert inventory.take_forgotten() == []


def test_a_device_that_comes_back_after_it_was_forgotten_is_kept(tmp_path: Path) -> None:
    """Forgotten and learned again within one commit."""
    inventory = Inventory()
    key = inventory.learn(gpu("0000:01:00.0", 0), False, 1.0).identity.key
    inventory.forget(key)
    inventory.learn(gpu("0000:01:00.0", 0), True, 2.0)
    store = Store(tmp_path)
    store.write(Changes(devices=inventory.take_changes(), forget=inventory.take_forgotten()))
    assert [(row.label, row.first_seen) for row in store.load().devices] == [("0", 2.0)]
