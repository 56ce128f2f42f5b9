"""Takes in what sources bring, one thing after the other: detect, commit, then show.

A fault is in the journal before it is on the page (design.md, The way of the data), unless the disk is sick.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from accelwatch import log
from accelwatch.core import Core
from accelwatch.journal.writer import Writer

# A commit that takes longer does not hold a fault back any more (design.md, Persistence).
COMMIT_SECONDS = 0.5
# Readings that come each second bring time along: a wait that ends just before one would double the work.
TICK_SECONDS = 1.25
# For a second after a line of a log, time is told so often: what it has begun (the stack of a hung task) is told within
# a second of it.
SOON_SECONDS = 0.25
# Readings come several times a second, scrapes every 15 s or so: for readings the page is rendered every five seconds,
# and at once for what is news. Rendering is a third of what the agent does.
PUBLISH_SECONDS = 5.0
# Sources answer one after the other: after a start each is shown at once, so that the first scrapes find them all.
START_SECONDS = 10.0
# Enough for a storm of kernel records; when it is full, sources wait, and the kernel's ring holds what comes.
QUEUE_LIMIT = 10_000
FULL_SECONDS = 0.01
BATCH = 256

Work = Callable[[Core], None]


class Pipeline:
    """A thread of its own. `publish` renders the page; it is called after each commit, and before it `page`, which
    hands over to the fast path: a page waits for no rendering.
    """

    def __init__(
        self,
        core: Core,
        writer: Writer,
        publish: Callable[[], None],
        page: Callable[[], None] = lambda: None,
    ) -> None:
        self._core = core
        self._writer = writer
        self._publish = publish
        self._page = page
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self.lock = threading.RLock()  # around every use of the core
        self.unjournalled = 0
        self.flaws = 0
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread still runs: without it nothing is detected."""
        return self._thread.is_alive()

    def put(self, work: Work) -> None:
        """Hands work over; waits only while the queue is full."""
        while self._queue.qsize() >= QUEUE_LIMIT:
            time.sleep(FULL_SECONDS)
        self._queue.put(work)

    def wake(self) -> None:
        """Has what was changed under the lock committed and shown."""
        self.put(lambda _core: None)

    def close(self, seconds: float = 2.0) -> None:
        """Does what is waiting, commits everything, and ends."""
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(seconds)
        with self.lock:
            self._writer.put(self._core.take_changes(everything=True))

    def _run(self) -> None:
        published, shown = 0.0, True
        begun = time.monotonic()
        while True:
            batch, ended = self._next(SOON_SECONDS if self._core.listens else TICK_SECONDS)
            with self.lock:
                for work in batch:
                    self._do(work)
                self._do(Core.tick)
                changes = self._core.take_changes()
            if not changes.empty:
                ticket = self._writer.put(changes)
                if not (self._writer.degraded or ticket.wait(COMMIT_SECONDS)) or self._writer.degraded:
                    self.unjournalled += len(changes.episodes)
            self._hand_over()
            news = bool(changes.episodes or changes.devices or changes.runs or changes.links or changes.remediations)
            shown = shown and not batch
            now = time.monotonic()
            pause = PUBLISH_SECONDS if now - begun > START_SECONDS else 0.0
            if news or not (shown or now - published < pause):
                self._publish()
                published, shown = time.monotonic(), True
            if ended:
                return

    def _next(self, wait: float) -> tuple[list[Work], bool]:
        batch: list[Work] = []
        try:
            work = self._queue.get(timeout=wait)
            while work is not None:
                batch.append(work)
                if len(batch) >= BATCH:
                    return batch, False
                work = self._queue.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _hand_over(self) -> None:
        try:
            self._page()
        except Exception:  # noqa: BLE001 - a loop edge: the page of metrics goes on without the fast path
            self.flaws += 1
            log.get().exception("faults could not be handed to the fast path; a flaw in accelwatch, please report it")

    def _do(self, work: Work) -> None:
        try:
            work(self._core)
        except Exception:  # noqa: BLE001 - a loop edge: one flaw must not end the detection of everything else
            self.flaws += 1
            log.get().exception("a reading could not be dealt with; a flaw in accelwatch, please report it")
