"""Error counters of links: their growth against a limit for each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from accelwatch.detectors.base import Answered
from accelwatch.detectors.link_errors import SEEN_SECONDS, STOOD_STILL_SECONDS, UNREAD_SECONDS, LinkErrors
from accelwatch.detectors.link_limits import WINDOW_SECONDS, limit
from accelwatch.readings.link import Link, LinkKind, LinkState, Pcie
from accelwatch.readings.severity import Severity
from accelwatch.sources.nvml_links import _COUNTERS, _NVLINK5
from accelwatch.sources.rdma import ERROR_COUNTERS, HW_ERROR_COUNTERS
from detectors.replaying import GPU, NPU, Fed, answered, device, silent

Make = Callable[..., Fed]


def reading(kind: LinkKind, state: LinkState = LinkState.UP, **errors: int) -> Answered:
    key = {LinkKind.NVLINK: GPU, LinkKind.HCCS: NPU, LinkKind.ROCE: NPU, LinkKind.IB: None}[kind]
    link = Link(key=key, link="x0", kind=kind, state=state, errors=errors or None)
    if kind in (LinkKind.NVLINK, LinkKind.HCCS):
        assert key is not None
        return answered("nvml" if key is GPU else "npu_smi", device(key, links=(link,)))
    return answered("rdma" if key is None else "hccn_tool", links=[link])


CASES = [
    (LinkKind.NVLINK, "crc_flit", "intra_node_link", Severity.DEGRADING),
    (LinkKind.NVLINK, "replay", "intra_node_link", Severity.DEGRADING),
    (LinkKind.NVLINK, "recovery", "intra_node_link", Severity.DEGRADING),
    (LinkKind.NVLINK, "rx_errors", "intra_node_link", Severity.DEGRADING),
    (LinkKind.HCCS, "error", "intra_node_link", Severity.DEGRADING),
    (LinkKind.HCCS, "retry", "intra_node_link", Severity.INFORMATIONAL),
    (LinkKind.ROCE, "roce_new_pkt_rty_num", "net_errors", Severity.DEGRADING),
    (LinkKind.ROCE, "mac_rx_fcs_err_pkt_num", "net_errors", Severity.DEGRADING),
    (LinkKind.IB, "symbol_error", "net_errors", Severity.DEGRADING),
    (LinkKind.IB, "a_counter_of_tomorrow", "net_errors", Severity.DEGRADING),
]


@pytest.mark.parametrize(("kind", "counter", "class_", "severity"), CASES)
def test_growth_up_to_the_limit_is_a_fault(
    fed: Make, kind: LinkKind, counter: str, class_: str, severity: Severity
) -> None:
    most = limit(kind, counter)
    assert most is not None
    errors = fed(LinkErrors())
    errors.quiet(reading(kind, **{counter: 1_000_000}))
    if most.errors > 1:
        errors.quiet(reading(kind, **{counter: 1_000_000 + most.errors - 1}))
        errors.quiet(reading(kind, **{counter: 1_000_000 + most.errors - 1}), WINDOW_SECONDS + 1)
        level = 1_000_000 + 2 * most.errors - 1
    else:
        level = 1_000_001
    (sign,) = errors.signs(reading(kind, **{counter: level}))
    assert (sign.class_, sign.severity, sign.condition) == (class_, severity, f"link x0 {counter}")
    assert (sign.link, sign.lasting) == ("x0", True)
    assert sign.message == f"{counter} of x0 grew by {most.errors} in one reading, {level} in all"


@pytest.mark.parametrize(
    ("kind", "counter"),
    [
        (LinkKind.NVLINK, "symbol_errors"),
        (LinkKind.IB, "req_cqe_error"),
        (LinkKind.IB, "port_rcv_switch_relay_errors"),
        (LinkKind.ROCE, "mac_rx_bad_oct_num"),
    ],
)
def test_counters_that_say_nothing_of_a_fault(fed: Make, kind: LinkKind, counter: str) -> None:
    errors = fed(LinkErrors())
    for number in range(10):
        errors.quiet(reading(kind, **{counter: number * 10**6}))


def test_every_counter_that_a_source_reads_has_a_limit_of_its_own() -> None:
    from accelwatch.detectors.link_limits import _OTHER

    for name in (*ERROR_COUNTERS, *HW_ERROR_COUNTERS):
        assert limit(LinkKind.IB, name) is not _OTHER, name
    for name in (*(name for _, name in _COUNTERS), *_NVLINK5.values()):
        assert limit(LinkKind.NVLINK, name) is not _OTHER, name


def test_told_while_it_grows_and_over_when_it_stood_still(fed: Make) -> None:
    errors = fed(LinkErrors())
    errors.quiet(reading(LinkKind.HCCS, error=0))
    assert len(errors.signs(reading(LinkKind.HCCS, error=3))) == 1
    assert len(errors.signs(reading(LinkKind.HCCS, error=4))) == 1
    errors.quiet(reading(LinkKind.HCCS, error=4), STOOD_STILL_SECONDS - 1)
    errors.quiet(reading(LinkKind.HCCS))
    errors.quiet(silent("npu_smi"), STOOD_STILL_SECONDS)
    assert [gone.condition for gone in errors.gone(reading(LinkKind.HCCS, error=4))] == ["link x0 error"]
    errors.quiet(reading(LinkKind.HCCS, error=4))


def test_a_trickle_is_what_links_are_built_for(fed: Make) -> None:
    errors = fed(LinkErrors())
    for number in range(500):
        errors.quiet(reading(LinkKind.NVLINK, crc_flit=number, replay=number // 10))


def test_a_reset_counter_begins_anew(fed: Make) -> None:
    errors = fed(LinkErrors())
    errors.quiet(reading(LinkKind.HCCS, error=1000))
    errors.quiet(reading(LinkKind.HCCS, error=5))
    assert len(errors.signs(reading(LinkKind.HCCS, error=6))) == 1
    errors.quiet(reading(LinkKind.HCCS, error=0))  # reset while it is told
    assert len(errors.gone(reading(LinkKind.HCCS, error=0), STOOD_STILL_SECONDS)) == 1


def test_errors_around_a_drop_belong_to_the_drop(fed: Make) -> None:
    errors = fed(LinkErrors())
    errors.quiet(reading(LinkKind.IB, link_error_recovery=0))
    errors.quiet(reading(LinkKind.IB, LinkState.DOWN, link_error_recovery=7))
    errors.quiet(reading(LinkKind.IB, link_error_recovery=9))
    errors.quiet(reading(LinkKind.IB, link_error_recovery=9))
    assert len(errors.signs(reading(LinkKind.IB, link_error_recovery=10))) == 1


def test_what_was_told_is_over_after_a_drop_too(fed: Make) -> None:
    errors = fed(LinkErrors())
    errors.quiet(reading(LinkKind.IB, symbol_error=0))
    assert len(errors.signs(reading(LinkKind.IB, symbol_error=100))) == 1
    errors.quiet(reading(LinkKind.IB, LinkState.DOWN))
    errors.quiet(reading(LinkKind.IB, symbol_error=150))
    assert len(errors.gone(reading(LinkKind.IB, symbol_error=150), STOOD_STILL_SECONDS)) == 1


def test_what_grew_while_nobody_read_has_no_rate(fed: Make) -> None:
    errors = fed(LinkErrors())
    errors.quiet(reading(LinkKind.ROCE, roce_new_pkt_rty_num=0))
    errors.quiet(reading(LinkKind.ROCE, roce_new_pkt_rty_num=10**6), UNREAD_SECONDS + 1)
    errors.quiet(reading(LinkKind.ROCE, roce_new_pkt_rty_num=10**6))


def test_a_steady_link_is_written_now_and_then_only(fed: Make) -> None:
    errors = fed(LinkErrors())
    errors.quiet(reading(LinkKind.IB, symbol_error=5))
    kept = set()
    for _ in range(2 * int(SEEN_SECONDS / 10)):
        errors.quiet(reading(LinkKind.IB, symbol_error=5))
        kept.add(str(errors.state))
    assert len(kept) == 3


def test_pcie_replays(fed: Make) -> None:
    def pcie(replays: int | None) -> Answered:
        return answered("nvml", device(GPU, pcie=Pcie(replays=replays)))

    errors = fed(LinkErrors())
    errors.quiet(pcie(500))
    errors.quiet(pcie(507))
    errors.quiet(pcie(None))
    (sign,) = errors.signs(pcie(508))
    assert (sign.class_, sign.link, sign.severity) == ("pcie_host_link", "pcie0", Severity.DEGRADING)
    assert len(errors.gone(pcie(508), STOOD_STILL_SECONDS)) == 1
