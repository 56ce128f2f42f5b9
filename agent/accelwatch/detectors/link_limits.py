"""How much growth of a link's error counter is more than the link's own repair deals with.

Each limit is a number of errors within `WINDOW_SECONDS`; `None`: the counter says nothing of a fault. Sources: the
limits of NVIDIA's DCGM (dcgm_gpu_hardware_limits.h: 8 PCIe replays a minute; any NVLink replay or recovery fails a
check, CRC errors warn from the first and fail at 100 a second); the InfiniBand specification's error counters;
reference/ascend.md sections 3 and 4. Where nothing is published the limit is ours, and says why.
"""

from __future__ import annotations

import msgspec

from accelwatch.readings.link import LinkKind

WINDOW_SECONDS = 60.0


class Limit(msgspec.Struct, frozen=True):
    """`errors` within a window are a fault. `slight`: even then only kept for the comparison."""

    errors: int
    slight: bool = False


# DCGM's first CRC error would be a fault of every busy link; one a second lies between its warning and its failure.
_CRC = Limit(60)
# A replay carried the data at the second try: a single one is no fault. A recovery stops the link to train it anew.
_NVLINK = {
    "replay": Limit(10),
    "recovery": Limit(1),
    "recovery_failed": Limit(1),
    "crc_flit": _CRC,
    "crc_data": _CRC,
    "rx_errors": _CRC,
    "effective_errors": Limit(10),  # what forward error correction left over
    "local_integrity": Limit(1),  # the link's own error limit was exceeded
    "buffer_overrun": Limit(1),
    "symbol_errors": None,  # before forward error correction: millions on a sound link
}
# "Alert on error count growth; retries alone are a warning" (reference/ascend.md section 4).
_HCCS = {"error": Limit(1), "retry": Limit(60, slight=True), "tx_error": Limit(10), "rx_error": Limit(10)}
_UB = {
    "retry_req_sum": Limit(600, slight=True),
    "retry_ack_sum": Limit(600, slight=True),
    "crc_error_sum": _CRC,
}
# Retransmissions and reordering come with every congestion and with adaptive routing: only a flood is a fault.
# Broken frames (FCS, bad packets) come from cable or optics alone.
_ROCE = {
    "mac_rx_fcs_err_pkt_num": Limit(10),
    "mac_rx_bad_pkt_num": Limit(10),
    "mac_tx_bad_pkt_num": Limit(10),
    "mac_rx_bad_oct_num": None,  # the same frames in bytes
    "mac_tx_bad_oct_num": None,
    "roce_rx_err_pkt_num": Limit(10),
    "roce_tx_err_pkt_num": Limit(10),
    "roce_new_pkt_rty_num": Limit(60),
    "roce_out_of_order_num": Limit(600),
    "roce_unexpected_ack_num": Limit(600),
    "roce_verification_err_num": Limit(10),
    "roce_qp_status_err_num": Limit(600),  # every queue pair that is torn down with its job
}
_RDMA = {
    "symbol_error": Limit(10),
    "link_error_recovery": Limit(1),  # the link was trained anew
    "local_link_integrity_errors": Limit(1),
    "excessive_buffer_overrun_errors": Limit(1),
    "port_rcv_errors": Limit(10),
    "port_rcv_remote_physical_errors": Limit(10),  # an error that an earlier hop had marked
    "port_rcv_switch_relay_errors": None,  # grows with ordinary multicast
    "port_xmit_discards": Limit(600),  # congestion, or a peer that is gone
    "VL15_dropped": None,  # management packets that nobody waited for
    "packet_seq_err": Limit(60),
    "implied_nak_seq_err": Limit(60),
    "out_of_sequence": Limit(600),
    "local_ack_timeout_err": Limit(10),
    "rnr_nak_retry_err": Limit(10),
    "rx_icrc_encapsulated": Limit(10),
    "roce_adp_retrans_to": Limit(60),
    "req_cqe_error": None,  # every request that is flushed at the end of a job
    "resp_cqe_error": None,
}
_TABLES: dict[LinkKind, dict[str, Limit | None]] = {
    LinkKind.NVLINK: dict(_NVLINK),
    LinkKind.HCCS: dict(_HCCS),
    LinkKind.UB: dict(_UB),
    LinkKind.ROCE: {**_RDMA, **_ROCE},
    LinkKind.IB: dict(_RDMA),
    LinkKind.PCIE: {"replays": Limit(8)},
}
# A counter that the source takes for errors and this table does not know.
_OTHER = Limit(60)


def limit(kind: LinkKind, counter: str) -> Limit | None:
    """The limit of a counter, or `None`."""
    table = _TABLES[kind]
    return table.get(counter, _OTHER)
