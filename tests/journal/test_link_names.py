"""Counts of links under few labels: totals right, no series falls, none moves, whatever happens and across restarts."""

from __future__ import annotations

import random

from msgspec.structs import replace

from accelwatch.journal.counters import Counters
from accelwatch.journal.link_names import COUNTED, NAMED_NVLINKS, NAMED_OTHERS, REST, LinkNames
from accelwatch.journal.rows import CounterRow

OWNER = "GPU-1"


def shown(counters: Counters, names: LinkNames, counter: str) -> dict[str, float]:
    """By label what is not 0, as the page has it."""
    totals: dict[str, float] = {}
    for label, total in counters.of(OWNER, counter).items():
        label = label if names.own(OWNER, counter, label) else REST
        totals[label] = totals.get(label, 0) + total
    return {label: total for label, total in totals.items() if total}


def test_no_series_falls_and_all_together_are_the_total_also_across_restarts() -> None:
    for seed in range(20):
        rng = random.Random(seed)
        kept: dict[tuple[str, str, str], CounterRow] = {}
        counters = Counters()
        names = LinkNames(counters)
        before: dict[str, dict[str, float]] = {counter: {} for counter in COUNTED}
        counted = dict.fromkeys(COUNTED, 0)
        for _ in range(150):
            counter, label = rng.choice(COUNTED), f"nvlink:nvlink{rng.randrange(18)}"
            number = rng.choice((0, 0, 1, 7))
            counters.add(OWNER, counter, label, number)
            names.counted(OWNER, label)
            counted[counter] += number
            if rng.random() < 0.2:  # a restart; what changed since the last commit is committed first
                kept |= {(row.owner, row.name, row.labels): row for row in counters.take_changes()}
                counters = Counters(kept.values())
                names = LinkNames(counters)
            for name in COUNTED:
                now = shown(counters, names, name)
                assert all(now[label] >= total for label, total in before[name].items())
                assert sum(now.values()) == counted[name]
                assert len(now) <= NAMED_NVLINKS[name] + 1
                before[name] = now


def test_a_link_without_counts_takes_no_name_from_one_that_has_some() -> None:
    counters = Counters()
    names = LinkNames(counters)
    for number in range(18):
        counters.add(OWNER, "link_drops", f"nvlink:nvlink{number}", 0)
        names.counted(OWNER, f"nvlink:nvlink{number}")
    counters.add(OWNER, "link_drops", "nvlink:nvlink17", 1)
    names.counted(OWNER, "nvlink:nvlink17")
    assert [n for n in range(18) if names.own(OWNER, "link_drops", f"nvlink:nvlink{n}")] == [17]


def test_links_that_had_errors_take_no_name_from_those_that_drop() -> None:
    counters = Counters()
    names = LinkNames(counters)
    for counter, numbers in (("link_errors", range(18)), ("link_drops", (4, 9, 11))):
        for number in numbers:
            counters.add(OWNER, counter, f"nvlink:nvlink{number}", 1)
            names.counted(OWNER, f"nvlink:nvlink{number}")
    assert shown(counters, names, "link_errors") == {"nvlink:nvlink0": 1, REST: 17}
    assert shown(counters, names, "link_drops") == {"nvlink:nvlink4": 1, "nvlink:nvlink9": 1, REST: 1}


def test_links_of_other_kinds_have_names_from_the_first_and_ports_of_the_host_always() -> None:
    counters = Counters()
    names = LinkNames(counters)
    labels = [f"ub:ub0-{number}" for number in range(NAMED_OTHERS + 2)]
    for owner in (OWNER, "host"):
        for label in labels:
            counters.add(owner, "link_drops", label, 0)
            names.counted(owner, label)
    assert [names.own(OWNER, "link_drops", label) for label in labels] == [True] * NAMED_OTHERS + [False] * 2
    assert all(names.own("host", "link_drops", label) for label in labels)


def test_a_journal_of_before_gives_names_before_anything_is_shown() -> None:
    """Else what was shown together would move under a name with the first reading, and the rest would fall."""
    counters = Counters()
    for number in (11, 2, 7, 5, 3):
        counters.follow(OWNER, "link_errors", f"nvlink:nvlink{number}", 0)
        counters.follow(OWNER, "link_errors", f"nvlink:nvlink{number}", 4)
    rows = [replace(row) for row in counters.take_changes()]
    loaded = Counters(rows)
    names = LinkNames(loaded)
    assert shown(loaded, names, "link_errors") == {"nvlink:nvlink2": 4, REST: 16}
