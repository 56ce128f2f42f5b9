"""A driver that is loaded after the agent."""

from __future__ import annotations

from pathlib import Path

from accelwatch.late_drivers import CLOSED_VARIABLE, LateDrivers, drivers

BEFORE = "Character devices:\n  1 mem\n 10 misc\n\nBlock devices:\n  8 sd\n"
NVIDIA = BEFORE.replace(" 10 misc\n", " 10 misc\n195 nvidia\n195 nvidiactl\n234 nvidia-caps\n")
ASCEND = BEFORE.replace(" 10 misc\n", " 10 misc\n236 devdrv-cdev\n237 vdevdrv-cdev\n238 hisi_davinci_intf\n")
CLOSED = {CLOSED_VARIABLE: "yes"}


def test_only_accelerators_count() -> None:
    assert drivers(BEFORE + "240 nvidia-of-a-block-device\n") == frozenset()
    assert drivers(NVIDIA) == {("195", "nvidia"), ("195", "nvidiactl"), ("234", "nvidia-caps")}
    assert {name for _, name in drivers(ASCEND)} == {"devdrv-cdev", "vdevdrv-cdev", "hisi_davinci_intf"}


def test_one_that_comes_is_told_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "devices"
    path.write_text(BEFORE)
    late = LateDrivers(path, CLOSED)
    assert late.arrived() == ()
    path.write_text(BEFORE.replace(" 10 misc\n", " 10 misc\n195 nvidia\n"))
    assert late.arrived() == ()
    path.write_text(NVIDIA)
    assert late.arrived() == ()
    assert late.arrived() == ("nvidia", "nvidia-caps", "nvidiactl")


def test_one_that_goes_and_returns_is_none_unless_its_number_changed(tmp_path: Path) -> None:
    path = tmp_path / "devices"
    path.write_text(NVIDIA)
    late = LateDrivers(path, CLOSED)
    for text in (BEFORE, BEFORE, NVIDIA, NVIDIA):
        path.write_text(text)
        assert late.arrived() == ()
    path.write_text(NVIDIA.replace("234", "235"))
    assert (late.arrived(), late.arrived()) == ((), ("nvidia-caps",))


def test_where_the_unit_closes_nothing_nothing_is_told(tmp_path: Path) -> None:
    path = tmp_path / "devices"
    path.write_text(BEFORE)
    late = LateDrivers(path, {})
    path.write_text(NVIDIA)
    assert (late.arrived(), late.arrived()) == ((), ())
