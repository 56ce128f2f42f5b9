"""What one Alertmanager is told, and when."""

from __future__ import annotations

from typing import Any

import pytest

from accelwatch.pager.notice import Notice, Standing
from accelwatch.pager.outbox import (
    AHEAD_SECONDS,
    APART_SECONDS,
    BACKOFF_LIMIT_SECONDS,
    BATCH,
    LIMIT,
    OLD_NEWS_SECONDS,
    REPEAT_SECONDS,
    SETTLE_SECONDS,
    Offer,
    Outbox,
    Outgoing,
)

WALL = 1_790_000_000.0


def notice(name: str = "a", summary: str = "s") -> Notice:
    return Notice(labels={"alertname": name}, annotations={"summary": summary}, starts=WALL)


def offer(standing: Standing = Standing.POST, name: str = "a", **more: Any) -> Offer:
    return Offer(standing=standing, notice=notice(name), **more)


class Told:
    """An outbox with a time set by hand; `go` sends what is due as an Alertmanager that takes all would get it."""

    def __init__(self) -> None:
        self.box = Outbox(jitter=lambda: 1.0)
        self.now = 1000.0
        self.box.take({}, self.now, self.wall)
        assert self.go() == [], "an empty post first: whether it is there is known before it is needed"

    @property
    def wall(self) -> float:
        return WALL + self.now - 1000.0

    def take(self, **offers: Offer) -> None:
        self.box.take({int(name[1:]): of for name, of in offers.items()}, self.now, self.wall)

    def due(self) -> Outgoing | None:
        return self.box.due(self.now, self.wall)

    def go(self) -> list[tuple[str, float]] | None:
        """Names with seconds until the end of each; below 0: resolved. `None`: nothing was due."""
        outgoing = self.due()
        if outgoing is None:
            return None
        self.box.sent(outgoing, self.now)
        names = [entry.notice.labels["alertname"] for entry, _ in outgoing.entries]
        return [
            (name, _seconds(alert["endsAt"]) - self.wall) for name, alert in zip(names, outgoing.alerts, strict=True)
        ]

    def wait(self, seconds: float) -> None:
        self.now += seconds


def _seconds(text: object) -> float:
    import datetime

    return datetime.datetime.fromisoformat(str(text)).timestamp()


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_root_is_posted_after_300_ms_and_repeated_each_minute_30_minutes_ahead(told: Told) -> None:
    told.take(n1=offer())
    told.wait(SETTLE_SECONDS - 0.01)
    assert told.go() is None
    assert told.box.wait(told.now) == pytest.approx(0.01)
    told.wait(0.01)
    assert told.go() == [("a", pytest.approx(AHEAD_SECONDS, abs=0.01))]
    for _ in range(3):
        told.wait(REPEAT_SECONDS - 1)
        assert told.go() is None
        told.wait(1)
        assert told.go() == [("a", pytest.approx(AHEAD_SECONDS, abs=0.01))]


def test_another_root_within_300_ms_takes_its_place(told: Told) -> None:
    """The first is never posted; after that time it is, and goes on beside the new root."""
    told.take(n1=offer(name="a"))
    told.wait(0.2)
    told.take(n1=offer(Standing.KEEP, "a"), n2=offer(name="b"))
    told.wait(0.3)
    assert told.go() == [("b", pytest.approx(AHEAD_SECONDS, abs=0.01))]
    told.take(n1=offer(Standing.KEEP, "a"), n2=offer(Standing.KEEP, "b"), n3=offer(name="c"))
    told.wait(REPEAT_SECONDS)
    assert {name for name, _ in told.go() or ()} == {"b", "c"}


def test_old_news_waits_for_its_driver(told: Told) -> None:
    """What struck during a downtime is paged only if it is still so."""
    told.take(n1=offer(fresh=False), n2=offer(name="b", fresh=False))
    told.wait(OLD_NEWS_SECONDS - 1)
    assert told.go() is None
    told.take(n1=offer(Standing.END, ended=told.wall), n2=offer(name="b", fresh=False))
    told.wait(1)
    assert [name for name, _ in told.go() or ()] == ["b"]


def test_what_is_over_is_told_once_and_only_to_who_was_paged(told: Told) -> None:
    told.take(n1=offer())
    told.wait(1)
    told.go()
    told.wait(10)
    over = told.wall
    told.take(n1=offer(Standing.END, ended=over), n2=offer(Standing.END, "b", ended=over))
    told.wait(1)
    assert told.go() == [("a", pytest.approx(-1, abs=0.01))]
    told.take(n1=offer(Standing.END, ended=over))
    told.wait(REPEAT_SECONDS)
    assert told.go() == [], "the empty post of each minute"
    assert told.box.length == 0


def test_an_end_does_not_overtake_its_beginning(told: Told) -> None:
    """Alertmanager would make neither a page nor a resolution of two posts within one group wait."""
    told.take(n1=offer())
    told.wait(SETTLE_SECONDS)
    told.go()
    told.wait(0.1)
    told.take(n1=offer(Standing.END, ended=told.wall))
    assert told.go() is None
    told.wait(APART_SECONDS)
    assert told.go() is not None


def test_a_fault_that_passed_while_alertmanager_was_away_is_paged_and_resolved(told: Told) -> None:
    told.take(n1=offer())
    told.wait(5)
    assert told.due() is not None
    told.box.failed(told.now)
    over = told.wall
    told.take(n1=offer(Standing.END, ended=over))
    told.wait(600)
    assert told.go() == [("a", pytest.approx(AHEAD_SECONDS, abs=0.01))]
    told.wait(APART_SECONDS)
    assert told.go() == [("a", pytest.approx(over - told.wall, abs=0.01))]


def test_the_applications_doing_is_withdrawn(told: Told) -> None:
    """A suspect that was posted and then shown by its peers: over now, whatever the episode says."""
    told.take(n1=offer())
    told.wait(10)
    told.go()
    told.wait(10)
    told.take(n1=offer(Standing.END, ended=None))
    told.wait(0)
    assert told.go() == [("a", pytest.approx(0, abs=0.01))]


def test_what_comes_back_fires_again(told: Told) -> None:
    told.take(n1=offer())
    told.wait(10)
    told.go()
    told.wait(10)
    told.take(n1=offer(Standing.END, ended=told.wall))
    told.go()
    told.wait(10)
    told.take(n1=offer())
    told.wait(SETTLE_SECONDS)
    assert told.go() == [("a", pytest.approx(AHEAD_SECONDS, abs=0.01))]


def test_what_comes_back_while_its_end_is_under_way_fires_again(told: Told) -> None:
    told.take(n1=offer())
    told.wait(10)
    told.go()
    told.wait(10)
    told.take(n1=offer(Standing.END, ended=told.wall))
    outgoing = told.due()
    assert outgoing is not None
    told.take(n1=offer())
    told.box.sent(outgoing, told.now)
    told.wait(SETTLE_SECONDS)
    assert told.go() == [("a", pytest.approx(AHEAD_SECONDS, abs=0.01))]


def test_the_labels_of_a_page_never_change_while_it_lasts(told: Told) -> None:
    """Others would be another alert; the words may."""
    told.take(n1=offer(name="a"))
    told.wait(1)
    told.go()
    told.take(n1=Offer(standing=Standing.POST, notice=notice("changed", "new words")))
    told.wait(REPEAT_SECONDS)
    outgoing = told.due()
    assert outgoing is not None
    assert outgoing.alerts[0]["labels"] == {"alertname": "a"}
    assert outgoing.alerts[0]["annotations"] == {"summary": "new words"}


def test_after_a_restart_pages_go_on_and_what_ended_just_before_is_resolved() -> None:
    """From the journal: the agent before may have been killed between the two."""
    box = Outbox()
    offers = {
        1: offer(Standing.RESUME, "resumed"),
        2: offer(Standing.END, "ended", ended=WALL - 60),
        3: offer(Standing.END, "ended long ago", ended=WALL - AHEAD_SECONDS),
        4: offer(Standing.KEEP, "not a root"),
        5: offer(Standing.END, "withdrawn before"),
    }
    box.take(offers, 0.0, WALL)
    outgoing = box.due(1.0, WALL + 1)
    assert outgoing is not None
    assert {(e.notice.labels["alertname"], resolved) for e, resolved in outgoing.entries} == {
        ("resumed", False),
        ("ended", True),
    }
    box.take({**offers, 6: offer(Standing.RESUME, "begun in planned work")}, 2.0, WALL + 2)
    box.sent(outgoing, 2.0)
    assert box.length == 0


def test_failures_are_tried_again_ever_more_slowly_up_to_half_a_minute(told: Told) -> None:
    told.take(n1=offer())
    told.wait(1)
    pauses = []
    for _ in range(12):
        assert told.due() is not None
        told.box.failed(told.now)
        pauses.append(told.box.wait(told.now))
        told.wait(pauses[-1] - 0.01)
        assert told.due() is None
        told.wait(0.02)
    assert pauses[:4] == pytest.approx([0.5, 1, 2, 4])
    assert max(pauses) == pauses[-1] == pytest.approx(BACKOFF_LIMIT_SECONDS)
    assert told.box.length == 1
    assert told.go() == [("a", pytest.approx(AHEAD_SECONDS, abs=0.01))]


def test_an_alert_that_is_not_taken_holds_up_no_other(told: Told) -> None:
    """They are posted one by one, until nothing waits any more."""
    told.take(**{f"n{n}": offer(name=f"a{n}") for n in range(5)})
    told.wait(1)
    outgoing = told.due()
    assert outgoing is not None
    assert len(outgoing.entries) == 5
    told.box.refused(outgoing, told.now)
    taken = []
    for _ in range(5):
        outgoing = told.due()
        assert outgoing is not None
        ((entry, _),) = outgoing.entries
        if entry.notice.labels["alertname"] == "a2":
            told.box.refused(outgoing, told.now)
        else:
            told.box.sent(outgoing, told.now)
            taken.append(entry.notice.labels["alertname"])
    assert taken == ["a0", "a1", "a3", "a4"]
    assert told.due() is None
    told.wait(REPEAT_SECONDS)
    outgoing = told.due()
    assert outgoing is not None
    assert len(outgoing.entries) == 5, "and tried again each minute"


def test_the_queue_is_bounded_and_the_first_ones_are_kept(told: Told) -> None:
    offers = {f"n{n}": offer(name=f"a{n}") for n in range(LIMIT + 50)}
    for _ in range(3):
        told.take(**offers)
    assert (told.box.length, told.box.dropped) == (LIMIT, 50)
    told.wait(1)
    sizes = []
    while (posted := told.go()) is not None:
        sizes.append(len(posted))
    assert (sum(sizes), max(sizes)) == (LIMIT, BATCH)
    told.take(**{name: of for name, of in offers.items() if int(name[1:]) >= 100})
    told.take(**{name: of for name, of in offers.items() if int(name[1:]) >= 100})
    told.wait(1)
    assert {f"a{n}" for n in range(LIMIT, LIMIT + 50)} == {name for name, _ in told.go() or ()}, (
        "what there is room for"
    )


def test_an_agent_that_ends_sends_what_waits_and_resolves_nothing(told: Told) -> None:
    told.take(n1=offer())
    told.wait(1)
    told.go()
    told.take(n1=offer(), n2=offer(name="b"))
    told.box.hurry(told.now)
    assert told.go() == [("b", pytest.approx(AHEAD_SECONDS, abs=0.01))]
    assert told.due() is None


def test_an_alertmanager_without_pages_is_asked_each_minute(told: Told) -> None:
    told.wait(REPEAT_SECONDS - 1)
    assert told.due() is None
    assert told.box.wait(told.now) == pytest.approx(1)
    told.wait(1)
    assert told.due() == Outgoing((), ())
