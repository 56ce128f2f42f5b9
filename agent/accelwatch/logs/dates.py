"""Dates of log lines. A date without a zone is in local time, as dmesg -T, syslog and plog write it."""

from __future__ import annotations

import calendar
import re
import time
from functools import lru_cache

MONTH = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_MONTHS = {name: number for number, name in enumerate(MONTH.split("|"), 1)}
# journalctl writes months in the reader's language: German, Chinese.
_MONTHS |= {"Mär": 3, "Mai": 5, "Okt": 10, "Dez": 12} | {f"{number}月": number for number in range(1, 13)}
# Log hosts run ahead a little: a date this far in the future is still of this year.
FUTURE_SECONDS = 86400.0

WEEKDAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"

# Each has the groups that the function of its name takes.
CTIME = (
    rf"{WEEKDAY}\s+({MONTH})\s+(\d{{1,2}})\s+(\d\d):(\d\d):(\d\d)(?:[.,]\d+)?"
    r"\s+(?:[A-Z]{3,4}\s+)?(\d{4})"
)
ISO = (
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T -](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:\.\d{3})?"
    r"(?: ?(Z|UTC|[+-]\d\d:?\d\d)(?![\w-]))?"
)
SYSLOG = rf"({MONTH}|Mär|Mai|Okt|Dez|1?\d月)\s+(\d{{1,2}})\s+(?:(\d{{4}})\s+)?(\d\d):(\d\d):(\d\d)(?:[.,](\d{{1,9}}))?"


def iso(match: re.Match[str], first: int) -> float | None:
    """Seconds since the epoch; `None` for a date that does not exist."""
    year, month, day, hour, minute, second, fraction, zone = (match[first + number] for number in range(8))
    parts = (int(year), int(month), int(day), int(hour), int(minute), int(second))
    return _seconds(parts, fraction, zone)


def ctime(match: re.Match[str], first: int) -> float | None:
    """The same for `Thu Apr  4 18:03:56 2024`."""
    month, day, hour, minute, second, year = (match[first + number] for number in range(6))
    return _seconds((int(year), _MONTHS[month], int(day), int(hour), int(minute), int(second)), None, None)


def syslog(match: re.Match[str], first: int, now: float) -> float | None:
    """The same for `Sep 19 16:18:02`."""
    return _syslog(match.group(*range(first, first + 7)), now)


@lru_cache(maxsize=256)  # the lines of one second share it
def _syslog(parts: tuple[str, ...], now: float) -> float | None:
    month, day, year, hour, minute, second, fraction = parts
    clock = (int(hour), int(minute), int(second))
    if year is not None:
        return _seconds((int(year), _MONTHS[month], int(day), *clock), fraction, None)
    return without_year(_MONTHS[month], int(day), clock, fraction, now)


def minute(match: re.Match[str], first: int, now: float) -> float | None:
    """The same for `[Sep19 16:18]`."""
    month, day, hour, minutes = (match[first + number] for number in range(4))
    return without_year(_MONTHS[month], int(day), (int(hour), int(minutes), 0), None, now)


def without_year(month: int, day: int, clock: tuple[int, int, int], fraction: str | None, now: float) -> float | None:
    """The newest such date that is not in the future; 29 February can be up to eight years back."""
    newest = time.localtime(now + FUTURE_SECONDS).tm_year
    for year in range(newest, newest - 9, -1):
        wall = _seconds((year, month, day, *clock), fraction, None)
        if wall is not None and wall <= now + FUTURE_SECONDS:
            return wall
    return None


def _seconds(parts: tuple[int, int, int, int, int, int], fraction: str | None, zone: str | None) -> float | None:
    *hour, minute, second = parts
    if minute > 59 or second > 60:
        return None
    begin = _hour(*hour, zone)
    if begin is None:
        return None
    return begin + minute * 60 + second + (0.0 if fraction is None else float(f"0.{fraction}"))


@lru_cache(maxsize=64)  # clocks change at full hours, so within one it is enough to count
def _hour(year: int, month: int, day: int, hour: int, zone: str | None) -> float | None:
    if not (1970 <= year <= 9000 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]):
        return None
    if hour > 23:
        return None
    if zone is None:
        try:
            return time.mktime((year, month, day, hour, 0, 0, 0, 0, -1))
        except OverflowError:
            return None
    utc = float(calendar.timegm((year, month, day, hour, 0, 0)))
    if zone in ("Z", "UTC"):
        return utc
    digits = zone[1:].replace(":", "")
    offset = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return utc - offset if zone[0] == "+" else utc + offset
