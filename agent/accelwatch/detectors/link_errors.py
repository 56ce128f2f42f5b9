"""Error counters of links that grow faster than the link's own repair should have to deal with."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.link_limits import WINDOW_SECONDS, Limit, limit
from accelwatch.detectors.net_links import links_of
from accelwatch.detectors.subject import Subject, of_device
from accelwatch.faults.sign import Finding
from accelwatch.readings.link import LinkKind, LinkState
from accelwatch.readings.severity import Severity

CLASSES = {
    LinkKind.NVLINK: "intra_node_link",
    LinkKind.HCCS: "intra_node_link",
    LinkKind.UB: "intra_node_link",
    LinkKind.ROCE: "net_errors",
    LinkKind.IB: "net_errors",
    LinkKind.PCIE: "pcie_host_link",
}
_KINDS = frozenset((LinkKind.NVLINK, LinkKind.HCCS, LinkKind.UB, LinkKind.ROCE, LinkKind.IB))

# Three readings of the slowest tier, 60 s (design.md, Configuration), without a further error.
STOOD_STILL_SECONDS = 180.0
# What grew while nobody read it (agent down, source silent) has no rate: counting begins anew.
UNREAD_SECONDS = 900.0
# How exactly the time of the last reading is kept: noting each would write the whole state again every time.
SEEN_SECONDS = 300.0


class Growth(msgspec.Struct, frozen=True):
    """One counter. The window begins with the first error after a reading without any; times are steady seconds."""

    raw: int
    base: int  # count at the beginning of the window
    opened: float | None = None
    grew: float | None = None  # when it last grew, while it is told


class Row(msgspec.Struct, frozen=True):
    """The counters of one link."""

    seen: float
    counters: dict[str, Growth]


class State(msgspec.Struct, frozen=True):
    """By link: `<device or host>|<link>`."""

    links: dict[str, Row] = {}
    holds: dict[str, Hold] = {}


class LinkErrors:
    """Told while a counter grows, over when it was read for three minutes and stood still.

    Errors around a drop belong to the drop: a link that is down begins anew when it is up.
    """

    name = "link_errors"
    state_type = State

    def start(self) -> State:
        """No counter has been seen."""
        return State()

    def step(
        self,
        state: State,
        reading: Reading,
        now: float,
        context: Context,  # noqa: ARG002 - the protocol's
    ) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered) or (reading.repeats("links", "pcie") and not state.holds):
            return state, ()
        links, conditions = Draft(state.links), Conditions(state.holds, now)
        for subject, link in links_of(reading, _KINDS):
            if link.state is LinkState.DOWN:
                _unread(f"{subject.name}|{link.link}", now, links)
            elif link.errors:
                _judge(subject, link.link, link.kind, link.errors, now, links, conditions)
        for device in reading.snapshot.devices:
            if device.pcie is not None and device.pcie.replays is not None and device.identity.parent is None:
                replays = {"replays": device.pcie.replays}
                _judge(of_device(device.key), "pcie0", LinkKind.PCIE, replays, now, links, conditions)
        if not (links.changed or conditions.changed):
            return state, conditions.findings
        return State(links.rows, conditions.holds), conditions.findings


def _judge(
    subject: Subject,
    link: str,
    kind: LinkKind,
    errors: dict[str, int],
    now: float,
    links: Draft[Row],
    conditions: Conditions,
) -> None:
    name = f"{subject.name}|{link}"
    row = links.get(name)
    if row is None or now - row.seen > UNREAD_SECONDS:
        old = {} if row is None else row.counters
        judged = {c: _anew(old.get(c), raw) for c, raw in errors.items() if limit(kind, c) is not None}
        links.put(name, Row(now, judged))
        return
    changed: dict[str, Growth] = {}
    for counter, raw in errors.items():
        before = row.counters.get(counter)
        if before is not None and raw == before.raw and before.opened is None and before.grew is None:
            continue  # as nearly always
        most = limit(kind, counter)
        if most is None:
            continue
        after = _step(before, raw, most, now)
        condition = f"link {link} {counter}"
        if before is not None and after.grew is not None and after.raw > before.raw:
            conditions.bad(
                subject,
                CLASSES[kind],
                condition,
                f"{counter} of {link} grew by {after.raw - after.base} in {_seconds(after, now)}, {after.raw} in all",
                severity=Severity.INFORMATIONAL if most.slight else Severity.DEGRADING,
                link=link,
            )
            after = Growth(after.raw, after.raw, None, now)
        elif after.grew is not None and now - after.grew >= STOOD_STILL_SECONDS:
            conditions.good(subject, CLASSES[kind], condition, f"{counter} stood still for {now - after.grew:.0f} s")
            after = Growth(after.raw, after.raw)
        if after != before:
            changed[counter] = after
    if changed or now - row.seen >= SEEN_SECONDS:
        links.put(name, Row(now, {**row.counters, **changed}))


def _unread(name: str, now: float, links: Draft[Row]) -> None:
    """Has the next reading of the link be a baseline."""
    row = links.get(name)
    if row is not None and now - row.seen <= UNREAD_SECONDS:
        links.put(name, Row(now - UNREAD_SECONDS - 1.0, row.counters))


def _anew(before: Growth | None, raw: int) -> Growth:
    """A baseline; what is told stays told until the counter was seen to stand still."""
    return Growth(raw, raw, None, None if before is None else before.grew)


def _step(before: Growth | None, raw: int, most: Limit, now: float) -> Growth:
    """`grew` is set when the limit is reached, and then by any further growth."""
    if before is None or raw < before.raw:  # first sight, or a reset
        return _anew(before, raw)
    if raw == before.raw:
        if before.opened is not None and now - before.opened > WINDOW_SECONDS:
            return Growth(raw, raw, None, before.grew)
        return before
    opened = before.opened
    base = before.base
    if opened is not None and now - opened > WINDOW_SECONDS:
        opened, base = None, before.raw
    reached = before.grew is not None or raw - base >= most.errors
    return Growth(raw, base, now if opened is None else opened, now if reached else None)


def _seconds(growth: Growth, now: float) -> str:
    if growth.opened is None or now - growth.opened < 1:
        return "one reading"
    return f"{now - growth.opened:.0f} s"
