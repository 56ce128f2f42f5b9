"""RDMA ports in a tree like /sys/class/infiniband."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.rdma import Rdma

HDR = {"state": "4: ACTIVE", "phys_state": "5: LinkUp", "rate": "200 Gb/sec (4X HDR)", "link_layer": "InfiniBand"}


def port(sysfs: Path, device: str = "mlx5_0", number: int = 1, **files: str) -> Path:
    """A port with an HDR link and `files` (`__` for the slash) over it."""
    home = sysfs / device / "ports" / str(number)
    for name, text in {**HDR, **files}.items():
        path = home / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return home


def only(sysfs: Path) -> Link:
    (link,) = Rdma(sysfs=sysfs).poll().links
    return link


def test_a_host_without_rdma_is_not_unhealthy(tmp_path: Path) -> None:
    """No directory and an empty one both mean: no such interface here."""
    assert Rdma(sysfs=tmp_path / "none").presence() is Presence.ABSENT
    assert Rdma(sysfs=tmp_path).presence() is Presence.ABSENT
    port(tmp_path)
    assert Rdma(sysfs=tmp_path).presence() is Presence.PRESENT


def test_every_port_of_every_device_is_a_link(tmp_path: Path) -> None:
    """Named by device and port, in order."""
    port(tmp_path, "mlx5_1")
    port(tmp_path, "mlx5_0", 2)
    port(tmp_path, "mlx5_0", 1)
    assert [link.link for link in Rdma(sysfs=tmp_path).poll().links] == ["mlx5_0/1", "mlx5_0/2", "mlx5_1/1"]


def test_drops_errors_and_packets_are_read(tmp_path: Path) -> None:
    """link_downed stands apart from the errors, whose names are the interface's own."""
    port(
        tmp_path,
        counters__link_downed="2",
        counters__symbol_error="7",
        counters__VL15_dropped="0",
        counters__port_rcv_data="123456",
        counters__port_xmit_packets="10",
        counters__port_rcv_packets="32",
        hw_counters__out_of_sequence="5",
        hw_counters__rnr_nak_retry_err="1",
    )
    link = only(tmp_path)
    assert (link.key, link.kind, link.state, link.verdict) == (None, LinkKind.IB, LinkState.UP, "LinkUp")
    assert (link.drops, link.packets, link.speed_bits_per_second) == (2, 42, 200e9)
    assert link.errors == {"symbol_error": 7, "VL15_dropped": 0, "out_of_sequence": 5, "rnr_nak_retry_err": 1}


@pytest.mark.parametrize("text", ["N/A (no PMA)", "", "-1", "12²", "\N{SUPERSCRIPT TWO}"])
def test_a_counter_that_is_no_number_is_left_out(tmp_path: Path, text: str) -> None:
    """What was not read is not 0, and the other counters stay."""
    port(tmp_path, counters__link_downed=text, counters__symbol_error=text, counters__port_rcv_errors="3")
    link = only(tmp_path)
    assert (link.drops, link.errors) == (None, {"port_rcv_errors": 3})


def test_half_of_the_packets_is_not_their_number(tmp_path: Path) -> None:
    """Sent without received would be a wrong sum."""
    port(tmp_path, counters__port_xmit_packets="10")
    assert only(tmp_path).packets is None


@pytest.mark.parametrize(
    ("state", "phys", "expected"),
    [
        ("1: DOWN", "3: Disabled", LinkState.DOWN),
        ("1: DOWN", "2: Polling", LinkState.DOWN),
        ("2: INIT", "5: LinkUp", LinkState.DOWN),
        ("9: SOMETHING", "5: LinkUp", LinkState.UNKNOWN),
    ],
)
def test_the_state_is_told_with_the_physical_one(tmp_path: Path, state: str, phys: str, expected: LinkState) -> None:
    """A port that was never cabled is down and says so in its phys_state; a word that is new is not guessed at."""
    port(tmp_path, state=state, phys_state=phys)
    link = only(tmp_path)
    assert (link.state, link.verdict) == (expected, phys.split(": ")[1])


@pytest.mark.parametrize(("rate", "speed"), [("2.5 Gb/sec (1X SDR)", 2.5e9), ("unknown", None)])
def test_the_speed_is_in_bits_per_second(tmp_path: Path, rate: str, speed: float | None) -> None:
    """An unknown rate stays unknown."""
    port(tmp_path, rate=rate, link_layer="Ethernet")
    link = only(tmp_path)
    assert (link.speed_bits_per_second, link.kind) == (speed, LinkKind.ROCE)


def test_one_port_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """It is a problem of the source; its link is not there."""
    port(tmp_path, "mlx5_0")
    (port(tmp_path, "mlx5_1") / "state").unlink()
    (tmp_path / "mlx5_2").mkdir()
    snapshot = Rdma(sysfs=tmp_path).poll()
    assert [link.link for link in snapshot.links] == ["mlx5_0/1"]
    assert [str(tmp_path / "mlx5_1/ports/1") in snapshot.problems[0], "mlx5_2" in snapshot.problems[1]] == [True, True]


def test_nothing_readable_is_an_error_not_an_empty_view(tmp_path: Path) -> None:
    """Neither a directory that has gone nor ports that all fail look like a host without ports."""
    rdma = Rdma(sysfs=tmp_path / "gone")
    with pytest.raises(SourceError, match="cannot be listed: No such file"):
        rdma.poll()
    (port(tmp_path) / "link_layer").unlink()
    with pytest.raises(SourceError, match="cannot be read"):
        Rdma(sysfs=tmp_path).poll()
