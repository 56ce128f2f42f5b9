"""What stands before a message: any of it is taken off, in any number and order."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelwatch.logs import dates, prefixes
from scanning import NOW, Seen, seen

UTC_WALL = 1_789_834_682.0  # 19 September 2026, 16:18:02 UTC


@pytest.fixture(autouse=True)
def _utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        _zone_changed()
        yield
    _zone_changed()


def _zone_changed() -> None:
    time.tzset()
    dates._hour.cache_clear()
    dates._syslog.cache_clear()


# prefix -> (wall, seconds since boot, who wrote it)
FORMS: dict[str, tuple[float | None, float | None, bool | None]] = {
    "": (None, None, None),
    "[   12.345678] ": (None, 12.345678, True),
    "[    0.000000]    ": (None, 0.0, True),
    "[68183.615790 <    0.000021>] ": (None, 68183.61579, True),
    "[ 130.456250] [ T1946] ": (None, 130.45625, True),
    "[  130.456250][ T1946] ": (None, 130.45625, True),
    "[  130.456250][    C3] ": (None, 130.45625, True),
    "<3>[  130.456250] ": (None, 130.45625, True),
    "[  +0.000844] ": (None, None, None),
    "[Sep19 16:18] ": (UTC_WALL - 2, None, None),
    "[Sat Sep 19 16:18:02 2026] ": (UTC_WALL, None, None),
    "Sat Sep 19 16:18:02 2026 ": (UTC_WALL, None, None),
    "Sep 19 16:18:02 node-1 kernel: ": (UTC_WALL, None, True),
    "Sep 19 16:18:02 node-1 kernel: [68183.615790] ": (UTC_WALL, 68183.61579, True),
    "Sep 19 16:18:02.250000 node-1 kernel: ": (UTC_WALL + 0.25, None, True),
    "Sat Sep 19 16:18:02 node-1 kernel: ": (UTC_WALL, None, True),
    "Sat 2026-09-19 16:18:02 UTC node-1 kernel: ": (UTC_WALL, None, True),
    "Sat 2026-09-19 16:18:02 CEST node-1 kernel: ": (UTC_WALL, None, True),
    "9月 19 16:18:02 node-1 kernel: ": (UTC_WALL, None, True),
    "Sep 19 16:18:02 ": (UTC_WALL, None, None),
    "node-1 kernel: ": (None, None, True),
    "kernel: ": (None, None, True),
    "2026-09-19T16:18:02+00:00 node-1 kernel: ": (UTC_WALL, None, True),
    "2026-09-19T16:18:02+0000 node-1 kernel: ": (UTC_WALL, None, True),
    "2026-09-19T09:18:02-07:00 node-1 kernel: ": (UTC_WALL, None, True),
    "2026-09-19T16:18:02.250000+00:00 node-1 kernel: [  12.345678] ": (UTC_WALL + 0.25, 12.345678, True),
    "2026-09-19T16:18:02,250000+00:00 ": (UTC_WALL + 0.25, None, None),
    "2026-09-19 16:18:02 node-1 kernel: ": (UTC_WALL, None, True),
    "kern  :err   : 2026-09-19T16:18:02,250000+00:00 ": (UTC_WALL + 0.25, None, True),
    "kern  :warn  : [   12.345678] ": (None, 12.345678, True),
    "user  :notice: [   12.345678] ": (None, 12.345678, False),
    "1789834682.250000 node-1 kernel: ": (UTC_WALL + 0.25, None, True),
    "192.168.0.7: kern: warning: [2026-09-19T16:18:02.25Z]: ": (UTC_WALL + 0.25, None, True),
    "192.168.0.7: user: warning: [2026-09-19T16:18:02.25Z]: ": (UTC_WALL + 0.25, None, False),
    "4,1227,12345678,-;": (None, 12.345678, True),
    "4,1227,12345678,-,caller=T1946;": (None, 12.345678, True),
    "12,1227,12345678,-;": (None, 12.345678, False),
    "<4>1 2026-09-19T16:18:02Z node-1 kernel - - - ": (UTC_WALL, None, True),
    "<13>1 2026-09-19T16:18:02Z node-1 trainer 4242 - - ": (UTC_WALL, None, False),
    "Sep 19 16:18:02 node-1 trainer[4242]: ": (UTC_WALL, None, False),
    "2026-09-19T16:18:02.25Z stderr F ": (UTC_WALL + 0.25, None, None),
    "[pod/train-0/main] ": (None, None, None),
    "worker-1  | ": (None, None, None),
    "[80746] ": (None, None, None),
    "17: ": (None, None, None),
    "/var/log/messages:": (None, None, None),
    "dmesg.txt:17:[   12.345678] ": (None, 12.345678, True),
    "node-17: [   12.345678] ": (None, 12.345678, True),
    "[default0]:": (None, None, None),
    "[1,0]<stderr>:": (None, None, None),
    "[...] ": (None, None, None),
    "> [   12.345678] ": (None, 12.345678, True),
    "\x1b[32m[   12.345678] \x1b[0m\x1b[31m": (None, 12.345678, True),
    "\t  [   12.345678] ": (None, 12.345678, True),
}


@pytest.mark.parametrize(("prefix", "expected"), FORMS.items(), ids=map(repr, FORMS))
def test_a_prefix_is_read_and_taken_off(prefix: str, expected: tuple[float | None, float | None, bool | None]) -> None:
    """Wall time, kernel seconds, and whether the kernel is named as the writer."""
    line = prefixes.read(prefix + "NVRM: the message\r\n", NOW)
    assert (line.text, line.wall, line.seconds, line.from_kernel) == ("NVRM: the message", *expected)


@pytest.mark.parametrize(
    ("line", "wall"),
    [
        ('{"MESSAGE":"NVRM: the message","_TRANSPORT":"kernel","__REALTIME_TIMESTAMP":"1789834682000000"}', UTC_WALL),
        ('{"log":"NVRM: the message\\n","stream":"stderr","time":"2026-09-19T16:18:02Z"}', UTC_WALL),
        ('{"ts":1789834682.0,"line":"NVRM: the message"}', UTC_WALL),
        ('{"result":{"_raw":"Sep 19 16:18:02 n kernel: NVRM: the message"}}', UTC_WALL),
    ],
)
def test_json_around_a_line_is_opened(line: str, wall: float) -> None:
    """journalctl -o json, Docker, Loki, Splunk."""
    read = prefixes.read(line, NOW)
    assert (read.text, read.wall) == ("NVRM: the message", wall)


@pytest.mark.parametrize(
    ("date", "now", "expected"),
    [
        ("Dec 31 23:59:59", "2026-01-01 00:00:10", "2025-12-31 23:59:59"),
        ("Jan  1 12:00:00", "2025-12-31 23:59:50", "2026-01-01 12:00:00"),  # the log's host runs ahead
        ("Feb 29 10:00:00", "2026-11-24 00:00:00", "2024-02-29 10:00:00"),
        ("Nov 25 00:00:00", "2026-11-23 00:00:00", "2025-11-25 00:00:00"),
    ],
)
def test_a_date_without_a_year_is_the_newest_that_is_not_in_the_future(date: str, now: str, expected: str) -> None:
    """Give or take a day, by which clocks differ."""
    moment, wanted = (time.mktime(time.strptime(text, "%Y-%m-%d %H:%M:%S")) for text in (now, expected))
    assert prefixes.read(f"{date} host kernel: x", moment).wall == wanted


@pytest.mark.parametrize("date", ["Feb 30 10:00:00 h kernel: x", "2026-13-01 10:00:00 x", "2026-01-01 25:00:00 x"])
def test_a_date_that_does_not_exist_is_no_time(date: str) -> None:
    """And no error."""
    assert prefixes.read(date, NOW).wall is None


XID = "NVRM: Xid (PCI:0000:3B:00): 45, pid=22884, name=VLLM::Worker, channel 0x0000000a"
KERNEL_PREFIXES = [prefix for prefix, (_, _, kernel) in FORMS.items() if kernel is not False]


@given(st.lists(st.sampled_from(KERNEL_PREFIXES), max_size=4))
def test_no_pile_of_prefixes_changes_what_a_line_says(parts: list[str]) -> None:
    """Log collectors put theirs before those that are there."""
    assert seen("".join(parts) + XID + "\n") == [
        Seen("app_device_exception", "45", "0000:3b:00", 22884, "VLLM::Worker")
    ]


@given(st.text(max_size=300))
def test_any_text_has_a_reading(text: str) -> None:
    """No line ends a scan."""
    prefixes.read(text, NOW)


@given(st.text(alphabet='0123456789-/:.,T[]<>; {}"+ZJanFeb', max_size=80))
def test_what_looks_like_prefixes_has_a_reading(text: str) -> None:
    """Dates that are none, half brackets, endless numbers."""
    prefixes.read(text, NOW)
