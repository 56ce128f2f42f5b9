"""What is true of a drawn fleet within its window, summed from its devices and not from any series."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from quarters.fleet import Fleet
from quarters.lives import STATES, Episode, Life
from quarters.plan import HOUR
from quarters.windows import Span

Key = tuple[str, str]  # model, and class, state or cause


@dataclass(frozen=True)
class Truth:
    """Seconds and whole events."""

    window: Span
    episodes: Counter[Key]
    maintenance_episodes: Counter[Key]
    seconds: Counter[Key]
    installed: Counter[str]
    rates: dict[Key, float]
    by_serial: dict[str, Counter[str]]  # class -> episodes
    serial_seconds: dict[str, dict[str, int]]
    repairs: dict[Key, list[int]]
    interruptions: Counter[Key]
    lost: Counter[Key]
    detects: dict[Key, list[int]]
    drills: Counter[Key]  # vendor, class
    lives: list[Life]  # those that were in service in the window

    def hours(self, model: str, state: str = "powered") -> float:
        """Device-hours."""
        return self.seconds[model, state] / HOUR


def of(fleet: Fleet) -> Truth:
    start, end = fleet.plan.window
    here = [life for life in fleet.lives if life.first < end and life.last > start]
    seconds: Counter[Key] = Counter()
    installed: Counter[str] = Counter()
    by_serial: dict[str, Counter[str]] = {}
    serial_seconds: dict[str, dict[str, int]] = {}
    repairs: dict[Key, list[int]] = defaultdict(list)
    for life in here:
        model = life.node.model.name
        of_life = serial_seconds[life.serial] = life.seconds(start, end)
        for state in STATES:
            seconds[model, state] += of_life[state]
        installed[model] += min(end, life.last) - max(start, life.first)
        by_serial[life.serial] = Counter(one.class_ for one in _counted(life, start, end))
        for one in life.episodes:
            if one.cleared is not None and start <= one.cleared < end:
                repairs[model, one.class_].append(one.cleared - one.at)
    run_ends = [one for one in fleet.interruptions if start <= one.at < end]
    detects: dict[Key, list[int]] = defaultdict(list)
    for run_end in run_ends:
        detects[run_end.model.name, run_end.cause].append(run_end.detect)
    lost: Counter[Key] = Counter()
    for run_end in run_ends:
        lost[run_end.model.name, run_end.cause] += run_end.lost
    return Truth(
        window=(start, end),
        episodes=_sum((life, one) for life in here for one in _counted(life, start, end)),
        maintenance_episodes=_sum(
            (life, one) for life in here for one in life.episodes if one.planned and start <= one.at < end
        ),
        seconds=seconds,
        installed=installed,
        rates={
            (model.name, class_): fleet.plan.population_rate(model, class_)
            for model in fleet.models
            for class_ in fleet.plan.rates
        },
        by_serial=by_serial,
        serial_seconds=serial_seconds,
        repairs=repairs,
        interruptions=Counter((one.model.name, one.cause) for one in run_ends),
        lost=lost,
        detects=detects,
        drills=Counter((one.vendor, one.class_) for one in fleet.drills if start <= one.at < end),
        lives=here,
    )


def _counted(life: Life, start: int, end: int) -> Iterable[Episode]:
    return (one for one in life.episodes if not one.planned and start <= one.at < end)


def _sum(found: Iterable[tuple[Life, Episode]]) -> Counter[Key]:
    return Counter((life.node.model.name, one.class_) for life, one in found)
