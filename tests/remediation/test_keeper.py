"""One decision per incident, over restarts, in the words of the journal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from accelwatch.config import Duration, RemediationHook
from accelwatch.faults.episode import Episode
from accelwatch.faults.shown import shown
from accelwatch.journal.changes import Changes
from accelwatch.journal.loaded import REMEDIATIONS_LIMIT, Loaded
from accelwatch.journal.store import Store
from accelwatch.remediation.keeper import REMEMBERED, Keeper
from accelwatch.remediation.record import Outcome, Remediation
from accelwatch.taxonomy.loader import load
from journal_rows import WALL, episode

TAXONOMY = load()
LIVE = RemediationHook(command=("/bin/true", "-x"), dry_run=False, min_interval=Duration(1))


class Node:
    """A keeper with its journal in a folder."""

    def __init__(self, directory: Path, hook: RemediationHook = LIVE) -> None:
        self.store = Store(directory)
        self.counts: list[str] = []
        self.loaded: Loaded = self.store.load(WALL)
        self.keeper = Keeper(
            TAXONOMY, "n1", self.loaded.remediations, self.loaded.next_remediation_id, counted=self.counts.append
        )
        self.keeper.hook = hook

    def step(self, episodes: Iterable[Episode], now: float, *, maintenance: bool = False) -> list[Remediation]:
        self.keeper.step(episodes, now, WALL + now, maintenance=maintenance)
        return self.commit()

    def commit(self) -> list[Remediation]:
        rows = self.keeper.take_changes()
        self.store.write(Changes(remediations=rows))
        return rows


def fault(number: int, incident: str, at: float, **more: Any) -> Episode:
    return episode(number, incident=incident, first_at=at, last_at=at, **more)


def test_an_incident_is_decided_once_also_after_restarts(tmp_path: Path) -> None:
    """Killed after the row and before the command's end: told as unknown, and not run again."""
    node = Node(tmp_path)
    first = fault(1, "a", 100.0)
    assert node.step([first], 100.1) == []
    ((row,), (order,)) = (node.step([first], 100.5), node.keeper.take_orders())
    assert (row.outcome, row.fault, row.incident, row.command) == (Outcome.STARTED, 1, "a", ("/bin/true", "-x"))
    assert order.row == row
    assert node.counts == []
    again = fault(2, "a", 102.0, class_="compute_engine")
    assert node.step([first, again], 104.0) == []
    after = Node(tmp_path)
    (ended,) = after.commit()
    assert (ended.id, ended.outcome, after.counts) == (row.id, Outcome.UNKNOWN, ["unknown"])
    for now in (110.0, 200.0):
        assert after.step([first, again], now) == []
    assert after.keeper.take_orders() == []
    (third,) = Node(tmp_path).loaded.remediations
    assert third.outcome is Outcome.UNKNOWN


def test_the_command_reads_the_fault_as_check_shows_it(tmp_path: Path) -> None:
    node = Node(tmp_path)
    one = fault(7, "a", 100.0)
    node.step([one], 101.0)
    (order,) = node.keeper.take_orders()
    document = json.loads(order.document)
    fields = {field for field in document if field not in ("node", "id")}
    assert fields == {"class", *(f for f in shown(one).__struct_fields__ if f != "class_")}
    assert (document["node"], document["id"], document["incident"], document["class"]) == (
        "n1", 7, "a", "mem_uncorrectable",
    )  # fmt: skip
    assert order.document.endswith(b"}\n")
    assert order.timeout == 60.0


def test_limits_and_the_breaker_are_kept_over_restarts(tmp_path: Path) -> None:
    seen: list[tuple[Outcome, float | None]] = []
    faults: list[Episode] = []
    for number in range(1, 7):
        node = Node(tmp_path)  # each time another agent
        faults.append(fault(number, f"i{number}", 100.0 * number))
        seen += [(row.outcome, row.opened_at) for row in node.step(faults, 100.0 * number + 1) if row.id == number]
        for order in node.keeper.take_orders():
            node.keeper.ended(order.row.__class__(**{**_fields(order.row), "outcome": Outcome.SUCCEEDED}))
        if number == 5:
            assert node.keeper.breaker_closes_at(501.0) == 401.0 + 3600
            node.keeper.reset("op", "looked at it", 502.0, WALL)
        node.commit()
    started, opened = (Outcome.STARTED, None), (Outcome.BREAKER_OPEN, 401.0)
    assert seen == [started] * 3 + [opened] * 2
    rows = Node(tmp_path).loaded.remediations
    assert [row.outcome.value for row in rows] == [
        "succeeded", "succeeded", "succeeded", "breaker_open", "breaker_open", "reset", "succeeded",
    ]  # fmt: skip
    assert (rows[5].by, rows[5].reason) == ("op", "looked at it")


def test_in_a_rehearsal_nothing_is_run_and_its_incidents_stay_decided(tmp_path: Path) -> None:
    """What stands when the rehearsal ends is not set off on a whole fleet at once."""
    node = Node(tmp_path, RemediationHook(command=("/bin/true",)))
    one = fault(1, "a", 100.0)
    (row,) = node.step([one], 101.0)
    assert (row.outcome, row.dry_run, node.counts) == (Outcome.DRY_RUN, True, ["dry_run"])
    node.keeper.hook = LIVE
    assert node.step([one], 102.0) == []
    (row,) = node.step([one, fault(2, "b", 103.0)], 104.0)
    assert (row.outcome, row.incident) == (Outcome.STARTED, "b")
    assert [order.row.incident for order in node.keeper.take_orders()] == ["b"]


def test_in_planned_work_nothing_is_decided_what_is_left_afterwards_is(tmp_path: Path) -> None:
    node = Node(tmp_path)
    one = fault(1, "a", 100.0)
    assert node.step([one], 101.0, maintenance=True) == []
    assert node.step([one], 4000.0, maintenance=True) == []
    assert node.step([one], 4001.0) == [], "its driver may say first that it is over"
    assert node.step([one], 4030.0) == []
    assert [row.outcome for row in node.step([one], 4062.0)] == [Outcome.STARTED]


def test_without_a_command_or_without_its_history_nothing_is_decided(tmp_path: Path) -> None:
    node = Node(tmp_path, RemediationHook())
    assert node.step([fault(1, "a", 100.0)], 101.0) == []
    blind = Keeper(TAXONOMY, "n1", known=False)
    blind.hook = LIVE
    blind.step([fault(1, "a", 100.0)], 101.0, WALL, maintenance=False)
    assert blind.take_changes() == []


def test_many_incidents_are_bounded_and_those_that_go_on_never_forgotten(tmp_path: Path) -> None:
    node = Node(tmp_path)
    standing = fault(1, "old", 10.0)
    node.step([standing], 20.0)
    for number in range(2, REMEMBERED + 500):
        node.keeper.step([standing, fault(number, f"i{number}", 30.0)], 31.0, WALL, maintenance=False)
    assert len(node.keeper._rows) <= REMEMBERED + 1
    node.commit()
    assert node.step([standing], 40.0) == []
    node.store.write(Changes(episodes=[standing]))
    rows = Node(tmp_path).loaded.remediations
    assert len(rows) == REMEDIATIONS_LIMIT + 1
    assert rows[0].incident == "old"


def _fields(row: Remediation) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__}
