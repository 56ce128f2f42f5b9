"""Labels, counters and what survives a restart."""

import sqlite3
from pathlib import Path

import pytest

from accelwatch.journal.counters import Counters
from accelwatch.journal.inventory import Inventory
from accelwatch.journal.store import CounterRow, JournalError, Store
from accelwatch.journal.writer import Writer
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
    store.write([], counters.take_changes(), [])
    store.close()
    again = Counters(Store(tmp_path).counters())
    assert again.of("gpu", "ecc")["hbm"] == 3
    again.follow("gpu", "ecc", "hbm", 6)
    assert again.of("gpu", "ecc")["hbm"] == 5


def test_a_newer_journal_is_refused_with_a_message(tmp_path: Path) -> None:
    """A downgrade does not destroy what it cannot read."""
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(JournalError, match="newer accelwatch"):
        Store(tmp_path)


def test_a_disk_that_fails_leaves_the_agent_in_memory_and_is_written_when_it_returns(tmp_path: Path) -> None:
    """Nothing that was held is lost."""
    said: list[str | None] = []
    blocked = tmp_path / "state"
    blocked.write_text("a file where the directory should be")
    writer = Writer(blocked, said.append)
    assert writer.open() == ([], [], [])
    assert writer.degraded
    writer.put([], [CounterRow("gpu", "ecc", "hbm", 3.0, 4.0)], [("gpu", "roce0")])
    writer._flush()
    blocked.unlink()
    writer._flush()
    assert (writer.degraded, len(said), said[-1]) == (False, 2, None)
    store = Store(blocked)
    assert store.counters() == [CounterRow("gpu", "ecc", "hbm", 3.0, 4.0)]
    assert store.links_seen_up() == [("gpu", "roce0")]
