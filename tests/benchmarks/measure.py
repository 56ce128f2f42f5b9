"""Rounds of measurements of several programs that run side by side, each started anew for each round."""

from __future__ import annotations

import gzip
import http.client
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

import processes
from scrapes import (
    EACH,
    SCRAPE_TIMEOUT_SECONDS,
    SCRAPERS,
    SCRAPES,
    SILENT,
    answered,
    many_clients,
    one_client,
    scrape,
    silent_clients,
)
from subjects import Subject

# The slowest default interval but for identity is 10 s; the first poll, which reads everything, is not what one costs.
SETTLE_SECONDS = 12.0
SYSTEM_CALL_SECONDS = 10.0
PROMETHEUS_SECONDS = 15.0
_INTERVAL = b"\naccelwatch_source_interval_seconds{"


@dataclass(frozen=True)
class Quantity:
    """What is measured; `digits` after the point."""

    title: str
    unit: str
    digits: int


QUANTITIES = {
    "start": Quantity("start to the first complete page", "s", 2),
    "cpu": Quantity("CPU between scrapes", "% of a core", 3),
    "cpu_poll": Quantity("CPU per poll of a source", "ms", 2),
    "cpu_scrape": Quantity("CPU per scrape", "ms", 2),
    "cpu_all": Quantity("CPU with a scrape each 15 s", "% of a core", 3),
    "wakeups": Quantity("wake-ups between scrapes", "per s", 1),
    "calls": Quantity("system calls between scrapes", "per min", 0),
    "pss": Quantity("PSS with children and helper", "MiB", 1),
    "threads": Quantity("threads", "", 0),
    "p50": Quantity("scrape, one client, p50", "ms", 2),
    "p99": Quantity("scrape, one client, p99", "ms", 2),
    "many_p50": Quantity(f"scrape, {SCRAPERS} at once, p50", "ms", 1),
    "many_p99": Quantity(f"scrape, {SCRAPERS} at once, p99", "ms", 1),
    "unanswered": Quantity(f"of {SCRAPERS * EACH} such not answered in {SCRAPE_TIMEOUT_SECONDS:g} s", "", 0),
    "silent": Quantity(f"longest scrape beside {SILENT} silent clients", "ms", 1),
    "packed": Quantity("page with gzip", "kB", 1),
    "page": Quantity("page", "kB", 1),
    "series": Quantity("series", "", 0),
}


@dataclass
class Measured:
    """By quantity, a value for each round."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def note(self, **values: float) -> None:
        """Values of a round."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)


def rounds(
    subjects: Sequence[Subject], number: int, seconds: float, slow_scrapes: int, calls: bool
) -> dict[str, Measured]:
    """By key. `seconds`: how long nothing is asked of them; `slow_scrapes`: so many of what renders at each scrape."""
    measured = {subject.key: Measured() for subject in subjects}
    for last in (False,) * (number - 1) + (True,):
        try:
            for subject in subjects:
                measured[subject.key].note(start=subject.start())
            _quiet(subjects, measured, seconds)
            for subject in subjects:
                ours = subject.key.endswith(("-healthy", "-storm"))
                _scraped(subject, measured[subject.key], SCRAPES if ours else slow_scrapes)
            if calls and last:
                families = [subject.pids for subject in subjects]
                for subject, count in zip(subjects, processes.system_calls(families, SYSTEM_CALL_SECONDS), strict=True):
                    measured[subject.key].note(calls=count)
        finally:
            for subject in subjects:
                subject.stop()
    return measured


def _quiet(subjects: Sequence[Subject], measured: dict[str, Measured], seconds: float) -> None:
    time.sleep(SETTLE_SECONDS)
    before = [processes.spent(subject.pids) for subject in subjects]
    time.sleep(seconds)
    after = [processes.spent(subject.pids) for subject in subjects]
    for subject, earlier, now in zip(subjects, before, after, strict=True):
        share, polls = now.share(earlier), _polls_a_second(subject)
        note = {"cpu": share * 100, "wakeups": now.wakeups(earlier), "threads": processes.threads(subject.pids)}
        if polls:
            note["cpu_poll"] = share * 1000 / polls
        measured[subject.key].note(**note)


def _scraped(subject: Subject, measured: Measured, scrapes: int) -> None:
    idle = measured.values["cpu"][-1] / 100
    before = processes.spent(subject.pids)
    one = one_client(subject.port, scrapes)
    after = processes.spent(subject.pids)
    many, unanswered = many_clients(subject.port)
    with silent_clients(subject.port):
        beside = one_client(subject.port, scrapes)
    with closing(http.client.HTTPConnection("127.0.0.1", subject.port)) as client:
        packed = scrape(client)
    page = gzip.decompress(packed)
    seconds = max(0.0, after.cpu - before.cpu - idle * (after.at - before.at)) / scrapes
    measured.note(
        cpu_scrape=seconds * 1000,
        cpu_all=100 * (idle + seconds / PROMETHEUS_SECONDS),
        p50=one.p50,
        p99=one.p99,
        many_p50=many.p50,
        many_p99=many.p99,
        unanswered=unanswered,
        silent=beside.longest,
        pss=processes.pss_mebibytes(subject.pids),
        packed=len(packed) / 1000,
        page=len(page) / 1000,
        series=sum(not line.startswith(b"#") for line in page.splitlines()),
    )


def _polls_a_second(subject: Subject) -> float:
    """Of all sources together; 0 of what asks its driver during a scrape."""
    if subject.key == "nvitop_exporter":
        return 1.0
    page = b"\n" + (answered(subject.port, "/metrics") or b"")
    return sum(1 / float(rest.split(b"\n", 1)[0].rsplit(b" ", 1)[1]) for rest in page.split(_INTERVAL)[1:])
