"""What stands before a message in a saved log: read for its time and for who wrote it, then taken off.

Prefixes come in any number and order (a log viewer's line number, a pod's name, a syslog date, the kernel's seconds),
so they are taken off one by one until none is recognised. The readers search for their own forms anywhere in a line:
an unknown prefix costs the line's time at most.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from accelwatch.logs import dates

# More than this many prefixes on one line are no prefixes any more.
TOKENS_LIMIT = 12
# Times that no prefix rule reached are looked for in this much of a line.
SEARCH_CHARACTERS = 400

_FACILITIES = "kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local[0-7]"
_LEVELS = "emerg|alert|crit|err|error|warn|warning|notice|info|debug"
_MONTH = dates.MONTH
# journalctl -o short-full names the zone: taken for this host's own.
_ZONES = "GMT|BST|CET|CEST|EET|EEST|MSK|IST|CST|HKT|SGT|JST|KST|AEST|AEDT|EST|EDT|CDT|MST|MDT|PST|PDT"
_KERNEL_TIME = r"\[\s*(\d{1,10}\.\d{3,9})(?:\s*<\s*[\d.]+\s*>)?\]"

# Tried in this order at one place of the line. Each name stands for what `_take` makes of it.
_RULES = (
    ("seconds", _KERNEL_TIME),
    ("skip", r"\[\s*\+\d+\.\d+\]|\[<?\s*[\d.]*\s*>\]"),  # dmesg -H, --time-format delta
    ("skip", r"\[\s*[TC]\d{1,10}\]"),  # CONFIG_PRINTK_CALLER
    ("ctime", rf"\[?{dates.CTIME}(?:\s*<\s*[\d.]+\s*>)?\]?:?"),
    ("iso", rf"\[?(?:{dates.WEEKDAY}\s)?{dates.ISO}(?: (?:{_ZONES})(?= ))?\]?:?"),
    ("syslog", rf"\[?(?:(?:{dates.WEEKDAY}|\d{{4}})\s)?{dates.SYSLOG}\]?:?"),
    ("minute", rf"\[({_MONTH})\s?(\d{{1,2}}) (\d\d):(\d\d)\]"),  # dmesg -H, the first line of a minute
    ("unix", r"(\d{10}\.\d{1,9})(?=\s)"),  # journalctl -o short-unix
    ("kmsg", r"(\d{1,4}),(\d{1,20}),(\d{1,20}),[^;]{0,200};"),
    ("priority", r"<(\d{1,3})>(?:1 (?=\S))?"),
    ("facility", rf"({_FACILITIES})\s*[:.]\s*(?:{_LEVELS})\s*:"),  # dmesg -x, Talos
    ("skip", r"(?:stdout|stderr) [FP](?=\s|$)"),  # containerd, CRI-O
    ("kernel", r"(?:[^\s:\[\]{}\"]+\s+)?kernel(?:\[\d*\])?\s*:(?=\s|$)"),
    ("kernel", r"[^\s:\[\]{}\"]+ kernel - (?:-|\S+) (?:-|\[[^\]]*\])(?=\s)"),  # RFC 5424
    ("skip", r"\[(?:\.\.\.|…)\]"),
    ("skip", r"\[pod/[^\]\s]+\]|\[default\d+\]:|\[\d+,\d+\]<std(?:err|out)>:?|>(?=\s)"),
    ("skip", r"[\w./-]+\s+\|(?=\s)"),  # docker compose
    ("skip", r"\[\d{1,9}\](?=\s)|\d{1,9}[:|\t→](?=\s*\S)|\d{1,7}(?=\s+[\[<])"),  # line numbers, srun -l
    ("skip", r"(?:[\w.-]*/[\w./-]+|[\w.-]+\.(?:log|txt|out|err|gz)[\w.-]*):(?:\d+:)?"),  # grep -n
    ("skip", rf"[\w.-]+:(?=\s+(?:\[|<\d|(?:{_FACILITIES})\s*:|(?:{_MONTH})\s+\d|\d{{4}}-\d\d-))"),  # pdsh, talosctl
)
_TOKEN = re.compile(
    r"\s*(?:" + "|".join(f"(?P<{name}_{number}>{rule})" for number, (name, rule) in enumerate(_RULES)) + r")\s*"
)
# By the number of its group: the rule, and the first group inside it.
_GROUPS = {group: (name[: name.rindex("_")], group + 1) for name, group in _TOKEN.groupindex.items()}
# Nearly all lines of a kernel log: these two forms before the head of a driver's message, which is no prefix.
_COMMON = re.compile(
    rf"(?:{dates.SYSLOG} [^\s:\[\]{{}}\"]+ kernel: )?\[\s*(\d{{1,10}}\.\d{{3,9}})\] "
    r"(?=NVRM: |nvidia-nvswitch|pcieport |mlx5_core |INFO: task |EDAC )"
)
_AFTER_DATE = re.compile(r"([^\s:\[\]{}\"]+)\s+([\w./@-]+)(?:\[(\d+)\])?:\s+(?!segfault at )")
_TAG_5424 = re.compile(r"[^\s:\[\]]+ ([\w./@-]+) (?:-|\d+) (?:-|\S+) (?:-|\[[^\]]*\])\s+")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})")
_SOME_SECONDS = re.compile(_KERNEL_TIME)
_SOME_ISO = re.compile(dates.ISO)
_SOME_CTIME = re.compile(dates.CTIME)
_GLOG = re.compile(r"\[[EFWI](\d{1,2}?)(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,9}) ")  # torch: E810 is 10 August
# Heads of kernel messages, which look like a program's name after a host's.
_KERNEL_HEADS = re.compile(
    r"NVRM|INFO|BUG|EDAC|mce|watchdog|traps|nvme|XFS|nvidia|pcieport|mlx5|blk_|Buffer|rcu|Out|Memory|perf|task|audit"
)
_JSON_TEXT = ("MESSAGE", "message", "msg", "log", "text", "line", "_raw")
_JSON_TIME = ("time", "timestamp", "@timestamp", "ts", "_time", "__REALTIME_TIMESTAMP")


class Line(NamedTuple):
    """One line without its prefixes. `from_kernel`: `None` when the line does not say who wrote it.

    `wall`: seconds since the epoch, where there is a date. `seconds`: since boot, by the kernel's clock. `tag`: the
    program that syslog names as the writer.
    """

    text: str
    wall: float | None = None
    seconds: float | None = None
    from_kernel: bool | None = None
    tag: str | None = None


def read(line: str, now: float) -> Line:
    """Takes the prefixes off `line`; `now` (seconds since the epoch) gives dates without a year theirs."""
    if "\x1b" in line:
        line = _ANSI.sub("", line)
    line = line.strip("\r\n\0 \t")
    if (common := _COMMON.match(line)) is not None:
        wall = None if common[1] is None else dates.syslog(common, 1, now)
        return Line(line[common.end() :], wall, float(common[8]), True)
    if line.startswith("{") and (inner := _json(line, now)) is not None:
        return inner
    return _Reader(line, now).result()


class _Reader:
    def __init__(self, line: str, now: float) -> None:
        self._line = line
        self._now = now
        self._wall: float | None = None
        self._seconds: float | None = None
        self._from_kernel: bool | None = None
        self._tag: str | None = None
        self._escaped = False

    def result(self) -> Line:
        line, position, dated = self._line, 0, False
        for _ in range(TOKENS_LIMIT):
            match = _TOKEN.match(line, position)
            if match is None:
                if not dated or self._tag is not None or self._from_kernel:
                    break
                match = _AFTER_DATE.match(line, position) or _TAG_5424.match(line, position)
                if match is None:
                    break
                tag = match[1] if match.re is _TAG_5424 else match[2]
                if _KERNEL_HEADS.match(tag):
                    break
                self._tag, self._from_kernel = tag, False
                position = match.end()
                continue
            rule, first = _GROUPS[match.lastindex or 0]
            dated = dated or rule in _DATED
            if rule != "skip":
                self._take(rule, match, first)
            position = match.end()
        text = line[position:].rstrip()
        if self._escaped and "\\x" in text:
            text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
        if self._wall is None and self._seconds is None:
            self._search(line[:SEARCH_CHARACTERS])
        return Line(text, self._wall, self._seconds, self._from_kernel, self._tag)

    def _take(self, rule: str, match: re.Match[str], first: int) -> None:
        if rule == "seconds":
            self._seconds = float(match[first])
            if self._from_kernel is None:
                self._from_kernel = True
        elif rule == "iso":
            self._wall = dates.iso(match, first)
        elif rule == "syslog":
            self._wall = dates.syslog(match, first, self._now)
        elif rule == "ctime":
            self._wall = dates.ctime(match, first)
        elif rule == "minute":
            self._wall = dates.minute(match, first, self._now)
        elif rule == "unix":
            self._wall = float(match[first])
        elif rule == "kernel":
            self._from_kernel = True
        elif rule == "facility":
            self._from_kernel = match[first] == "kern"
        elif rule == "kmsg":
            self._from_kernel = int(match[first]) >> 3 == 0
            self._seconds = int(match[first + 2]) / 1e6
            self._escaped = True

    def _search(self, start: str) -> None:
        """Times behind prefixes that no rule knows."""
        if (match := _SOME_ISO.search(start)) is not None:
            self._wall = dates.iso(match, 1)
        elif (match := _SOME_CTIME.search(start)) is not None:
            self._wall = dates.ctime(match, 1)
        elif (match := _GLOG.search(start)) is not None:
            clock = (int(match[3]), int(match[4]), int(match[5]))
            self._wall = dates.without_year(int(match[1]), int(match[2]), clock, match[6], self._now)
        if (match := _SOME_SECONDS.search(start)) is not None:
            self._seconds = float(match[1])


_DATED = frozenset(("iso", "syslog", "ctime", "unix", "minute"))


def _json(line: str, now: float) -> Line | None:
    """journalctl -o json, Docker's json-file, Loki, Splunk: the message in it, with its time; `None`: none of them."""
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    if isinstance(record.get("result"), dict):
        record = record["result"]
    message = next((record[key] for key in _JSON_TEXT if isinstance(record.get(key), str)), None)
    if message is None:
        return None
    inner = _Reader(message.rstrip("\r\n\0 \t"), now).result()
    wall = inner.wall if inner.wall is not None else _json_time(record, now)
    from_kernel = inner.from_kernel
    if isinstance(transport := record.get("_TRANSPORT"), str):
        from_kernel = transport == "kernel"
    return inner._replace(wall=wall, from_kernel=from_kernel)


def _json_time(record: dict[str, Any], now: float) -> float | None:
    for key in _JSON_TIME:
        value = record.get(key)
        if isinstance(value, str) and not value.isdecimal():
            if (match := _SOME_ISO.match(value)) is not None:
                return dates.iso(match, 1)
        elif isinstance(value, str | int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except (ValueError, OverflowError):
                continue
            for unit in (1.0, 1e3, 1e6, 1e9):  # seconds, milli-, micro-, nanoseconds
                if 1e9 <= number / unit <= now + 86400:
                    return number / unit
    return None
