"""Network adapters when their driver loads: a port that was not up yet has dropped nothing."""

from __future__ import annotations

from accelwatch.logs.kernel import KernelReader

PROBE = "mlx5_core 0000:22:00.0: firmware version: 28.39.3560"
DOWN, UP = "mlx5_core 0000:22:00.0 enp34s0np0: Link down", "mlx5_core 0000:22:00.0 enp34s0np0: Link up"


def kinds(*lines: str) -> list[str]:
    reader = KernelReader()
    return [event.kind for line in lines for event in reader.feed(line)]


def test_the_link_down_of_a_driver_that_loads_is_no_drop() -> None:
    assert kinds(PROBE, DOWN) == []
    assert kinds(PROBE, DOWN, UP) == ["mlx5_link_up"]


def test_a_port_that_was_up_since_its_driver_loaded_drops() -> None:
    assert kinds(PROBE, DOWN, UP, DOWN) == ["mlx5_link_up", "mlx5_link_down"]


def test_a_port_that_came_up_before_it_was_renamed_drops() -> None:
    up, renamed = UP.replace("enp34s0np0", "eth7"), "mlx5_core 0000:22:00.0 enp34s0np0: renamed from eth7"
    assert kinds(PROBE, up, renamed, DOWN) == ["mlx5_link_up", "mlx5_link_down"]


def test_the_other_port_of_a_card_is_judged_by_itself() -> None:
    other = "mlx5_core 0000:22:00.1 enp34s0f1np1: Link down"
    assert kinds(PROBE, UP, other) == ["mlx5_link_up"]


def test_where_the_load_of_the_driver_was_not_seen_a_drop_is_a_drop() -> None:
    assert kinds(DOWN) == ["mlx5_link_down"]


def test_a_driver_that_is_loaded_again_begins_anew() -> None:
    assert kinds(PROBE, UP, DOWN, PROBE, DOWN) == ["mlx5_link_up", "mlx5_link_down"]
