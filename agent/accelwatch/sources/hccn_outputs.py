"""Reads the answers of hccn_tool: `key : value` on A2 and A3, tables on 950 (reference/ascend.md section 3)."""

from __future__ import annotations

import calendar
import functools
import re
import time

import msgspec

from accelwatch.readings.link import LinkChange, LinkState
from accelwatch.sources.npu_smi_values import first_decimal, integer

_ASCTIME = re.compile(r"((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\s+\w{3}\s+\d{1,2}\s+\d\d:\d\d:\d\d\s+\d{4})")
_CHANGE = re.compile(r"LINK[ _](UP|DOWN)")
_COUNT = re.compile(r"link (up|down) count\s*:\s*(\d{1,20})\s*$", re.MULTILINE | re.ASCII)

# Counters of `-stat` that count something wrong; the rest count traffic and pauses.
_ERROR_COUNTERS = re.compile(
    r"bad_pkt_num|fcs_err|roce_(?:rx|tx)_err|out_of_order|verification_err|qp_status_err|unexpected_ack|new_pkt_rty"
    r"|crc_error_sum|route_err_cnt|out_err_cnt|length_err_cnt|err_ind_cnt|retry_(?:req|ack)_sum"
)
# Traffic of the port in packets, both ways: the first set that is there as a whole, since half of one would look like
# a counter that went back. Flits on 950; where the MAC does not count, NIC and RoCE.
_PACKET_COUNTERS = (
    ("mac_tx_total_pkt_num", "mac_rx_total_pkt_num"),
    ("rx_busi_flit_num", "tx_busi_flit_num"),
    ("nic_tx_all_pkg_num", "nic_rx_all_pkg_num", "roce_tx_all_pkt_num", "roce_rx_all_pkt_num"),
    ("nic_tx_all_pkg_num", "nic_rx_all_pkg_num"),
)

HEALTHY_NETWORK = ("Success", "Init")


class LinkHistory(msgspec.Struct, frozen=True, kw_only=True):
    """`-link_stat`: how often the port came up and went down, and its last changes, newest first."""

    ups: int | None
    drops: int | None  # not printed before 24.x
    changes: tuple[LinkChange, ...] | None  # `None`: the device prints no time to compare with
    records: tuple[tuple[float, bool], ...] = ()  # seconds of the device's own clock, and whether it came up


def values(output: str) -> dict[str, str]:
    """Every `key : value` or `key:value` line; the first of equal keys wins."""
    result: dict[str, str] = {}
    for line in output.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip():
            result.setdefault(key.strip(), value.strip())
    return result


def table_rows(output: str) -> list[dict[str, str]]:
    """Rows of all `|` tables, by the words of the header of each."""
    rows: list[dict[str, str]] = []
    header: list[str] | None = None
    previous = ""
    for line in (raw.strip() for raw in output.splitlines()):
        if line.startswith("+"):
            if previous.startswith("+") or not previous:
                header = None
        elif line.startswith("|") and line.endswith("|"):
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            if header is None or len(cells) != len(header):
                header = cells
            else:
                rows.append(dict(zip(header, cells, strict=True)))
        previous = line
    return rows


def parse_link(output: str) -> LinkState | None:
    """`-link -g`; `None` when it says nothing of the link."""
    word = values(output).get("link status")
    return None if word is None else {"UP": LinkState.UP, "DOWN": LinkState.DOWN}.get(word.upper(), LinkState.UNKNOWN)


def parse_link_stat(output: str) -> LinkHistory | None:
    """`-link_stat -g` in both forms; `None` when it has neither counts nor records."""
    line, rest = _current_time(output)
    counts, current, changes = (_known_history if len(rest) <= _KNOWN_CHARACTERS else _history)(rest)
    if current is None and (stamp := _ASCTIME.search(line)):
        current = _seconds(stamp[1])
    if not counts and current is None and not changes:
        return None
    history = None
    if current is not None:
        history = tuple(LinkChange(current - at, up) for at, up in changes)
    return LinkHistory(ups=counts.get("up"), drops=counts.get("down"), changes=history, records=changes)


def _current_time(output: str) -> tuple[str, str]:
    """Its line, and all the rest, which changes only when the link does."""
    place = output.find("current time")
    if place < 0:
        return "", output
    start, end = output.rfind("\n", 0, place) + 1, output.find("\n", place) + 1 or len(output)
    return output[start:end], output[:start] + output[end:]


def _history(text: str) -> tuple[dict[str, int], float | None, tuple[tuple[float, bool], ...]]:
    """Counts by `up` and `down`, the current time if it is there a second time, and the changes."""
    counts = {which: int(number) for which, number in _COUNT.findall(text)}
    current: float | None = None
    changes: list[tuple[float, bool]] = []
    for line in text.splitlines():
        stamp = _ASCTIME.search(line)
        change = _CHANGE.search(line)
        if stamp is None:
            continue
        seconds = _seconds(stamp[1])
        if seconds is None:
            continue
        if "current time" in line:
            current = seconds
        elif change is not None:
            changes.append((seconds, change[1] == "UP"))
    return counts, current, tuple(changes)


# Every poll prints the whole history of each port again. A node has fewer ports, and a port fewer changes in its list,
# than this keeps; a tool gone wrong prints more, and that is not kept.
_KNOWN_CHARACTERS = 4096
_known_history = functools.lru_cache(maxsize=256)(_history)


def parse_last_change(output: str) -> bool | None:
    """Whether the newest record of `-link_stat` is LINK UP; `None` without records."""
    match = _CHANGE.search(output)
    return None if match is None else match[1] == "UP"


def parse_net_health(output: str) -> tuple[bool | None, str | None]:
    """`-net_health -g`: healthy or not, and its own words; unknown words are neither."""
    word = values(output).get("net health status")
    if not word:
        return None, None
    if word.startswith(HEALTHY_NETWORK):
        return True, word
    return (None if word.startswith("Unknown") else False), word


def parse_speed(output: str) -> float | None:
    """`-speed -g`: bits per second; `Unknown!` is `None`. 950 prints a table in gigabits."""
    word = values(output).get("Speed")
    if word is None:
        word = next((row["Speed"] for row in table_rows(output) if "Speed" in row), "")
    number = first_decimal(word)
    return None if number is None else number * (1e9 if "G" in word else 1e6)


def parse_fec(output: str) -> str | None:
    """`-fec -g`: its own words; of 950's table the Reed-Solomon mode (950 hccn_tool manual, -fec)."""
    word = values(output).get("fec mode") or next(
        (row["rs_mode"] for row in table_rows(output) if "rs_mode" in row), ""
    )
    return word or None


def parse_stat(output: str) -> tuple[dict[str, int] | None, int | None]:
    """`-stat -g`: error counters by name, and packets of both ways; `None` where it has none of them."""
    numbers = {key: number for key, text in values(output).items() if (number := integer(text)) is not None}
    errors = {key: value for key, value in numbers.items() if _ERROR_COUNTERS.search(key)}
    whole = next((names for names in _PACKET_COUNTERS if numbers.keys() >= set(names)), None)
    return errors or None, None if whole is None else sum(numbers[name] for name in whole)


# Every poll prints the whole history again, and strptime takes longer than all else.
@functools.lru_cache(maxsize=2048)
def _seconds(stamp: str) -> float | None:
    """asctime as seconds of some clock without a zone: only differences of the same device mean something."""
    try:
        return float(calendar.timegm(time.strptime(" ".join(stamp.split()), "%a %b %d %H:%M:%S %Y")))
    except (ValueError, OverflowError):
        return None
