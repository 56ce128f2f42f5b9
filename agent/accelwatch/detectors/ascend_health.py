"""Health and error codes of Ascend devices, as long as the device shows them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from accelwatch.detectors.base import Answered, Context, Reading
from accelwatch.detectors.conditions import Conditions, Hold
from accelwatch.detectors.draft import Draft
from accelwatch.detectors.growth import Counts, another_board
from accelwatch.detectors.subject import Subject, of_device, owner
from accelwatch.faults.sign import Finding
from accelwatch.readings.health import Health, Level
from accelwatch.readings.identity import Vendor
from accelwatch.readings.sensors import Sensors
from accelwatch.readings.severity import Severity
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


class Shown(msgspec.Struct, frozen=True):
    """One code of one device. `from_before`: it was there when the device was first asked.

    `stopped`: the card was not busy in the first minute after the code; `working`: it was busy for one on end.
    """

    from_before: bool = False
    busy_since: float | None = None
    stopped: bool = False
    working: bool = False


class State(msgspec.Struct, frozen=True):
    """`asked`: by device, the board whose codes were read; codes by `<device>|<code>`."""

    asked: dict[str, Counts] = {}
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
            if health.error_codes is not None:
                board = owner(device, context)
                first = asked.get(subject.name) is None or another_board(asked.get(subject.name), board)
                self._codes(subject, health, device.sensors, first, now, shown, conditions)
                known = asked.get(subject.name)
                if first or (known is not None and known.owner is None and board is not None):
                    asked.put(subject.name, Counts(board, {}))
            _level(subject, health, reading.interval, conditions)
        if not (asked.changed or shown.changed or conditions.changed):
            return state, conditions.findings
        return State(asked.rows, shown.rows, conditions.holds), conditions.findings

    def _codes(
        self,
        subject: Subject,
        health: Health,
        sensors: Sensors | None,
        first: bool,
        now: float,
        shown: Draft[Shown],
        conditions: Conditions,
    ) -> None:
        codes = dict.fromkeys(health.error_codes or ())
        if not codes and not shown.rows:
            return
        prefix = f"{subject.name}|"
        for name in [name for name in shown.rows if name.startswith(prefix)]:
            code = name.removeprefix(prefix)
            if code not in codes:
                class_ = self._taxonomy.meaning(FAMILY, code).class_.name
                conditions.good(subject, class_, _condition(code), f"the device does not show {code} any more")
                shown.drop(name)
        texts = health.error_texts if len(health.error_texts) == len(health.error_codes or ()) else ()
        words = dict(zip(health.error_codes or (), texts, strict=False))
        for code in codes:
            meaning = self._taxonomy.meaning(FAMILY, code)
            if meaning.code is not None and meaning.code.ignore:
                continue
            row = shown.get(prefix + code) or Shown(from_before=first)
            if code.startswith(AI_CORE_PREFIXES) and meaning.class_.name == AI_CORE_CLASS:
                row = _worked(row, sensors, now)
            shown.put(prefix + code, row)
            working = row.working or (row.busy_since is not None and not row.stopped)
            milder = working and meaning.severity is Severity.RUN_ENDING
            what = meaning.code.text if meaning.code is not None else words.get(code, "not known to this agent")
            conditions.bad(
                subject,
                meaning.class_.name,
                _condition(code),
                f"the device shows {code}: {what}{', while its AI Cores go on working' if milder else ''}",
                severity=Severity.DEGRADING if milder else None,
                code=code,
                historical=row.from_before,
            )


def _worked(row: Shown, sensors: Sensors | None, now: float) -> Shown:
    if row.working:
        return row
    busy = sensors is not None and sensors.utilization_ratio is not None and sensors.utilization_ratio >= BUSY_RATIO
    if not busy:
        return Shown(row.from_before, stopped=True)
    since = now if row.busy_since is None else row.busy_since
    return Shown(row.from_before, since, row.stopped, working=now - since >= WORKING_SECONDS)


def _level(subject: Subject, health: Health, interval: float, conditions: Conditions) -> None:
    """A level that no code explains."""
    if health.level is None:
        conditions.unknown(subject, UNKNOWN, LEVEL)
    elif health.level is Level.OK:
        conditions.good(subject, UNKNOWN, LEVEL, "the device says OK")
    elif health.error_codes:
        conditions.good(subject, UNKNOWN, LEVEL, "the device tells a code now")
    else:
        word, severity = _LEVELS[health.level]
        why = "and no code" if health.error_codes is not None else "and its codes cannot be read"
        held = LEVEL_HELD_POLLS * interval
        conditions.bad(subject, UNKNOWN, LEVEL, f"the device says {word} {why}", severity=severity, held=held)


def _condition(code: str) -> str:
    return f"code {code}"
