"""The thread that runs the site's commands: one after the other, each only once its row is in the journal."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import msgspec

from accelwatch import log
from accelwatch.clock import Clock
from accelwatch.remediation.child import Ended, Runner
from accelwatch.remediation.keeper import Order
from accelwatch.remediation.record import BAD, Outcome, Remediation

# A row that is not on disk by then, since the disk is sick, is one that a restart would not know of.
JOURNAL_SECONDS = 10.0
# The breaker lets far fewer wait; what finds no room is told as failed.
QUEUE_LIMIT = 64
# What an ending agent gives a command to end by itself; systemd kills both after ten.
CLOSE_SECONDS = 1.5
STDERR_LOGGED = 300  # letters; the journal has more


class Journalled(Protocol):
    """Stands for what was put into the journal until now (`journal.writer.Ticket`)."""

    def wait(self, seconds: float) -> bool:
        """Whether it is on disk."""
        ...


class Remediator:
    """`take` is called by the pipeline's thread and never blocks it; `ended` is called by this one's."""

    def __init__(self, runner: Runner, clock: Clock, ended: Callable[[Remediation], None]) -> None:
        self._runner = runner
        self._clock = clock
        self._ended = ended
        self._queue: queue.Queue[tuple[Order, Journalled] | None] = queue.Queue(QUEUE_LIMIT)
        self._refused: collections.deque[Remediation] = collections.deque()
        self._closing = threading.Event()
        self._killing = threading.Event()
        self._lines = log.Throttle()
        self._thread = threading.Thread(target=self._run, name="remediation", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def take(self, orders: Iterable[Order], news: Iterable[Remediation], journalled: Journalled) -> None:
        """Commands to run once `journalled` is on disk, and what there is for the log."""
        for row in news:
            self._tell(row)
        for order in orders:
            try:
                self._queue.put_nowait((order, journalled))
            except queue.Full:
                self._refused.append(order.row)  # told by our own thread: `ended` may wait for the one that calls us

    def close(self) -> None:
        """Lets a command that runs end, or kills it after a moment; what waits is not begun any more."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
            self._killing.set()
            self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            order, journalled = work
            try:
                self._do(order, journalled)
            except Exception as error:  # noqa: BLE001 - a loop edge: one flaw must not keep the next fault from its command
                log.get().exception("a command could not be run; a flaw in accelwatch, please report it")
                self._end(order.row, Outcome.FAILED, Ended(error=f"a flaw in accelwatch: {error}"))
            while self._refused:
                why = f"not started: {QUEUE_LIMIT} others waited already"
                self._end(self._refused.popleft(), Outcome.FAILED, Ended(error=why))

    def _do(self, order: Order, journalled: Journalled) -> None:
        row = order.row
        if self._closing.is_set():
            self._end(row, Outcome.FAILED, Ended(error="not started: the agent was stopped"))
        elif not journalled.wait(JOURNAL_SECONDS):
            error = "not started: the journal did not take it, and a restart would run it again; see its disk"
            self._end(row, Outcome.UNJOURNALLED, Ended(error=error))
        else:
            ended = self._runner.run(row.command, order.document, order.timeout, self._killing.is_set)
            outcome = Outcome.TIMED_OUT if ended.timed_out else Outcome.FAILED
            self._end(row, Outcome.SUCCEEDED if ended.error is None and ended.status == 0 else outcome, ended)

    def _end(self, row: Remediation, outcome: Outcome, ended: Ended) -> None:
        self._ended(
            msgspec.structs.replace(
                row,
                outcome=outcome,
                ended_wall=self._clock.time(),
                exit_status=ended.status,
                error=ended.error,
                stderr=ended.stderr,
            )
        )

    def _tell(self, row: Remediation) -> None:
        held = self._lines.admit(row.outcome, time.monotonic()) if row.outcome is not Outcome.RESET else 0
        if held is None:
            return  # each is in the journal
        logger = log.get()
        say = logger.error if row.outcome in BAD else logger.warning
        say(
            "remediation",
            outcome=row.outcome.value,
            id=row.id,
            incident=row.incident,
            fault=row.class_,
            device=f"{row.vendor} {row.device}" if row.device is not None else row.vendor,
            command=" ".join(row.command),
            **{name: value for name, value in _more(row, held).items() if value not in (None, "", 0)},
        )


def _more(row: Remediation, held: int) -> dict[str, object]:
    said = "".join(letter if letter.isprintable() else " " for letter in row.stderr[-STDERR_LOGGED:])
    return {"error": row.error, "stderr": said, "by": row.by, "reason": row.reason, "held_back": held}
