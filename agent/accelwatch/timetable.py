"""When polls are due, also after the wall clock was set or the host was asleep.

APScheduler keeps due times as wall time (its `BaseScheduler._process_jobs`): set back by a day, it would poll nothing
for a day.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from accelwatch.clock import STEP_SECONDS, Clock

# A step during a wait is noticed after that wait at the latest; without a limit it might be a day.
WAIT_LIMIT_SECONDS = 60.0


class Timetable(BackgroundScheduler):  # type: ignore[misc]
    """Runs jobs on its own thread: they have to be short. There it also calls `stepped`, before it looks at jobs, when
    the wall clock has left the monotonic one.
    """

    def __init__(self, clock: Clock, stepped: Callable[[], None], **options: Any) -> None:
        self._clock = clock
        self._stepped = stepped
        self._ahead = clock.time() - clock.monotonic()
        super().__init__(executors={"default": DebugExecutor()}, daemon=True, **options)

    def _process_jobs(self) -> float | None:
        ahead = self._clock.time() - self._clock.monotonic()
        moved, self._ahead = ahead - self._ahead, ahead
        if abs(moved) > STEP_SECONDS:
            self._stepped()
        wait: float | None = super()._process_jobs()
        return None if wait is None else min(wait, WAIT_LIMIT_SECONDS)
