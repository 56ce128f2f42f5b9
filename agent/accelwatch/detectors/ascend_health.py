"""Health and error codes of Ascend devices, as long as the device shows them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.ascend_codes import CODES, EVENTS, Told, codes_of
from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.growth import another_board
from accelwatch.detectors.subject import Subject, of_device, owner
from accelwatch.faults.sign import Finding
from accelwatch.readings.health import Health, Level
from accelwatch.readings.identity import Vendor
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.severity import Severity
from accelwatch.readings.snapshot import Device
from accelwatch.taxonomy.lookup import Taxonomy

UNKNOWN = "unknown"
LEVEL = "health level"
FAMILY = "ascend"

# The level comes with every poll, the codes with every sixth (design.md, Configuration): a level without a code is
# believed when the codes have been read since, with one poll for a query that came late.
LEVEL_HELD_POLLS = 7
_LEVELS = {
    Level.WARNING: ("Warning", Severity.INFORMATIONAL),
    Level.ALARM: ("Alarm", Severity.DEGRADING),
    Level.CRITICAL: ("Critical", Severity.RUN_ENDING),
}

# An alarm that stays after an exception of the AI Core, on a card that works, has been reported on A3, cleared by
# nothing but a reset (reference/ascend.md section 5). A process that the exception ends leaves the AI Cores idle by the
# next reading; where they go on for a minute, it has ended nothing. Busy is what the hang detection takes for busy
# (reference/reliability.md section 4.3): a hung job leaves them idle.
AI_CORE_PREFIXES, AI_CORE_CLASS = ("80C9", "80CB"), "compute_engine"
BUSY_RATIO = 0.2
WORKING_SECONDS = 60.0


class Asked(msgspec.Struct, frozen=True):
    """The board in a slot, and which of its lists were read so far."""

    owner: str | None
    lists: int


class Shown(msgspec.Struct, frozen=True):
    """One code of one device. `from_before`: it was there when the device was first asked.

    `listed`: among the error codes, not only among the events of newer tools.
    `stopped`: the card was not busy in the first minute after the code; `working`: it was busy for one on end.
    """

    from_before: bool = False
    listed: bool = True
    busy_since: float | None = None
    stopped: bool = False
    working: bool = False


class State(msgspec.Struct, frozen=True):
    """`asked`: by device; codes by `<device>|<code>`."""

    asked: dict[str, Asked] = {}
    shown: dict[str, Shown] = {}
    holds: dict[str, Hold] = {}


class AscendHealth:
    """Each code is a condition of its own: in any order, once however often it is listed."""

    name = "ascend_health"
    state_type = State

    def __init__(self, taxonomy: Taxonomy) -> None:
        self._taxonomy = taxonomy

    def start(self) -> State:
        """Nothing has been asked."""
        return State()

    def step(self, state: State, reading: Reading, now: float, context: Context) -> tuple[State, Sequence[Finding]]:
        """See `detectors.base.Detector`."""
        if not isinstance(reading, Answered):
            return state, ()
        asked, shown = Draft(state.asked), Draft(state.shown)
        conditions = Conditions(state.holds, now)
        for device in reading.snapshot.devices:
            health = device.health
            if health is None or device.key.vendor is not Vendor.ASCEND:
                continue
            subject = of_device(device.key)
            self._codes(subject, device, owner(device, context), now, asked, shown, conditions)
            _level(subject, health, reading.interval, conditions)
        if not (asked.changed or shown.changed or conditions.changed):
            return state, conditions.findings
        return State(asked.rows, shown.rows, conditions.holds), conditions.findings

    def _codes(
        self,
        subject: Subject,
        device: Device,
        board: str | None,
        now: float,
        asked: Draft[Asked],
        shown: Draft[Shown],
        conditions: Conditions,
    ) -> None:
        told = codes_of(device.health)
        if told.lists == 0:
            return
        before = asked.get(subject.name)
        read = 0 if before is None or another_board(before.owner, board) else before.lists
        known = before.owner if before is not None and board is None else board
        asked.put(subject.name, Asked(known, read | told.lists))
        if not told.codes and not shown.rows:
            return
        self._vanished(subject, told, shown, conditions)
        prefix = f"{subject.name}|"
        for code, (which, text, severity) in told.codes.items():
            meaning = self._taxonomy.meaning(FAMILY, code)
            if meaning.code is not None and meaning.code.ignore:
                continue
            row = shown.get(prefix + code) or Shown(from_before=not read & which)
            row = msgspec.structs.replace(row, listed=bool(which & CODES))
            if code.startswith(AI_CORE_PREFIXES) and meaning.class_.name == AI_CORE_CLASS:
                row = _worked(row, device.sensors, now)
            shown.put(prefix + code, row)
            working = row.working or (row.busy_since is not None and not row.stopped)
            milder = working and meaning.severity is Severity.RUN_ENDING
            what = meaning.code.text if meaning.code is not None else text or "not known to this agent"
            conditions.bad(
                subject,
                meaning.class_.name,
                _condition(code),
                f"the device shows {code}: {what}{', while its AI Cores go on working' if milder else ''}",
                severity=Severity.DEGRADING if milder else severity if meaning.code is None else None,
                code=code,
                historical=row.from_before,
            )

    def _vanished(self, subject: Subject, told: Told, shown: Draft[Shown], conditions: Conditions) -> None:
        prefix = f"{subject.name}|"
        for name, row in [(name, row) for name, row in shown.rows.items() if name.startswith(prefix)]:
            code = name.removeprefix(prefix)
            if code not in told.codes and told.lists & (CODES if row.listed else EVENTS):
                class_ = self._taxonomy.meaning(FAMILY, code).class_.name
                conditions.good(subject, class_, _condition(code), f"the device does not show {code} any more")
                shown.drop(name)


def _worked(row: Shown, sensors: Sensors | None, now: float) -> Shown:
    if row.working:
        return row
    busy = sensors is not None and sensors.utilization_ratio is not None and sensors.utilization_ratio >= BUSY_RATIO
    if not busy:
        return msgspec.structs.replace(row, busy_since=None, stopped=True)
    since = now if row.busy_since is None else row.busy_since
    return msgspec.structs.replace(row, busy_since=since, working=now - since >= WORKING_SECONDS)


def _level(subject: Subject, health: Health, interval: float, conditions: Conditions) -> None:
    """A level that no code explains."""
    if health.level is None:
        conditions.unknown(subject, UNKNOWN, LEVEL)
    elif health.level is Level.OK:
        conditions.good(subject, UNKNOWN, LEVEL, "the device says OK")
    elif health.error_codes or health.events:
        conditions.good(subject, UNKNOWN, LEVEL, "the device tells a code now")
    else:
        word, severity = _LEVELS[health.level]
        why = "and no code" if health.error_codes is not None else "and its codes cannot be read"
        held = LEVEL_HELD_POLLS * interval
        conditions.bad(subject, UNKNOWN, LEVEL, f"the device says {word} {why}", severity=severity, held=held)


def _condition(code: str) -> str:
    return f"code {code}"
