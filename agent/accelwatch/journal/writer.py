"""The one writer: a thread, so that a sick disk delays neither polls nor the page."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from accelwatch.journal import loaded as rows
from accelwatch.journal import reading, retention
from accelwatch.journal.changes import Changes, Pending
from accelwatch.journal.late import LateJoin
from accelwatch.journal.loaded import Loaded
from accelwatch.journal.rows import Damaged, JournalError, NewerSchema
from accelwatch.journal.store import Store, set_aside

# A disk that came back is noticed soon; one that stays away is not asked at every change.
RETRY_SECONDS, RETRY_LIMIT_SECONDS = 1.0, 10.0
# A commit is a few milliseconds; one under way for so long sits on a sick disk.
STUCK_SECONDS = 2.0
# Episodes held for a disk that stays away: 50,000 of them are about 75 MB. More than that is a flood.
PENDING_EPISODES = 50_000
# A journal that was begun anew is said for so long: longer than a scrape or an alert's patience, short enough to end.
BEGUN_ANEW_SECONDS = 3600.0
TRIM_SECONDS, FIRST_TRIM_SECONDS = 3600.0, 60.0


class Ticket:
    """Stands for one `put`."""

    def __init__(self, writer: Writer, number: int) -> None:
        self._writer = writer
        self._number = number

    def wait(self, seconds: float) -> bool:
        """True once it is on disk. False after `seconds`, or as soon as writing fails: it is then written later."""
        return self._writer.wait(self._number, seconds)


class Writer:
    """Holds changes in memory until they are on disk, in order.

    `report` is told what is wrong with the journal (a damaged file, a disk that fails), and `None` when it is written
    again. `wall` gives seconds since the epoch.
    """

    def __init__(
        self,
        directory: Path,
        report: Callable[[str | None], None],
        *,
        wall: Callable[[], float] = time.time,
        keep_seconds: float = retention.KEEP_SECONDS,
        limit_bytes: int = retention.LIMIT_BYTES,
    ) -> None:
        self._directory = directory
        self._report = report
        self._wall = wall
        self._keep_seconds = keep_seconds
        self._limit_bytes = limit_bytes
        self._changed = threading.Condition()
        self._pending = Pending()
        self._put = self._written = 0  # numbers of tickets
        self._incomplete = (0, 0)  # tickets after the first, up to the second: something of them was dropped
        self._stopping = False
        self._failing = False
        self._told = False
        self._busy_since: float | None = None
        self._retry = RETRY_SECONDS
        self._store: Store | None = None
        self._known = False  # the file's rows were read at the start, or there were none
        self._late: LateJoin | None = None
        self._first_id = 1
        self._mirror = Pending()  # all that the file must hold to go on, should it have to be begun anew
        self._owed = False  # the mirror is to be written
        self._begun_anew: float | None = None
        self.dropped = 0  # episodes that no room was left for, while the disk was away
        self._next_trim = time.monotonic() + FIRST_TRIM_SECONDS
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)

    @property
    def degraded(self) -> bool:
        """The journal cannot be written, or a commit has been under way for more than 2 s."""
        since = self._busy_since
        return self._failing or (since is not None and time.monotonic() - since > STUCK_SECONDS)

    @property
    def begun_anew(self) -> bool:
        """Within the last hour a damaged file was moved aside: what it held is not counted any more."""
        at = self._begun_anew
        return at is not None and time.monotonic() - at < BEGUN_ANEW_SECONDS

    def open(self) -> Loaded:
        """Reads what is kept. A newer schema raises `NewerSchema`; a disk that fails leaves the agent in memory.

        A file that cannot be written but read is read, so that counters, episodes and cursors go on from it. Where not
        even that works, episodes are numbered from the present time, above all that the file can hold.
        """
        try:
            loaded = self._open_store()
        except NewerSchema:
            raise
        except JournalError as error:
            self._failed(error)
            loaded = self._read_only()
        self._first_id = loaded.next_episode_id
        self._mirror.add(loaded.going_on())
        if loaded.problems:
            self._tell(f"{self._directory}: rows that cannot be read are left out: {'; '.join(loaded.problems[:5])}")
        return loaded

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def put(self, changes: Changes) -> Ticket:
        """Hands over changes; returns at once."""
        with self._changed:
            if not changes.empty:
                self._put += 1
                self._pending.add(changes)
                self._bound()
                self._changed.notify_all()
            ticket = Ticket(self, self._put)
        if self.degraded and not self._told:
            self._tell(
                f"{self._directory}: a commit has been under way for more than {STUCK_SECONDS:g} s: a sick disk?"
            )
        return ticket

    def wait(self, number: int, seconds: float) -> bool:
        """See `Ticket.wait`."""
        with self._changed:
            self._changed.wait_for(lambda: self._written >= number or self._failing, seconds)
            first, last = self._incomplete
            return self._written >= number and not first < number <= last

    def close(self, seconds: float = 2.0) -> None:
        """Writes what is left, waiting at most `seconds`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(seconds)

    # --- the thread

    def _run(self) -> None:
        while not self._stopping:
            self._wait_for_work()
            self.flush()
            if not self._failing and time.monotonic() >= self._next_trim:
                self._trim()
        self.flush()
        if self._store is not None:
            self._store.close()

    def _wait_for_work(self) -> None:
        with self._changed:
            if self._failing:
                self._changed.wait_for(lambda: self._stopping, self._retry)
                self._retry = min(2 * self._retry, RETRY_LIMIT_SECONDS)
            else:
                pause = max(0.0, self._next_trim - time.monotonic())
                self._changed.wait_for(lambda: self._stopping or self._put > self._written, pause)

    def flush(self) -> None:
        """Writes what is held, once; for the thread, and for tests without it."""
        with self._changed:
            pending, self._pending = self._pending, Pending()
            number = self._put
        if number == self._written and not self._failing and not self._owed:
            return
        self._busy_since = time.monotonic()
        try:
            self._write(pending.changes())
        except JournalError as error:
            self._let_go()
            with self._changed:  # newer rows win over those that could not be written
                pending.add(self._pending.changes())
                self._pending = pending
                self._bound()
            self._failed(error)
            return
        finally:
            self._busy_since = None
        with self._changed:
            self._written = number
            self._failing = False
            self._changed.notify_all()
        self._retry = RETRY_SECONDS
        if self._told:
            self._told = False
            self._report(None)

    def _write(self, changes: Changes) -> None:
        for last in (False, True):
            try:
                if self._store is None:
                    self._open_again()
                self._commit(changes)
            except Damaged as error:
                self._let_go()
                if last:
                    raise
                self._begin_anew(error)
            else:
                return

    def _commit(self, changes: Changes) -> None:
        assert self._store is not None  # noqa: S101 - just opened
        if self._late is not None:
            changes = self._late.join(changes)
        if self._owed:
            changes = self._mirror.changes().merge(changes)
        try:
            self._store.write(changes)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001 - a loop edge: a row that cannot be written must not stop all others
            changes = self._write_in_parts(self._store, changes, error)
        self._owed = False
        self._mirror.add(changes)
        self._mirror.drop_over(changes)

    def _write_in_parts(self, store: Store, changes: Changes, error: Exception) -> Changes:
        """Gives what could be written; the rest is lost, which is told."""
        written = Pending()
        failed = 0
        for part in changes.parts():
            try:
                store.write(part)
            except JournalError:
                raise
            except Exception:  # noqa: BLE001 - see above
                failed += 1
                self.dropped += len(part.episodes)
            else:
                written.add(part)
        with self._changed:
            self._incomplete = (self._written, self._put)
        self._tell(
            f"{self._directory}: {failed} rows cannot be written and are lost: {type(error).__name__}: {error}; "
            "a flaw in accelwatch, please report it"
        )
        return written.changes()

    def _trim(self) -> None:
        """One step; the next follows at once, but after what was put meanwhile."""
        assert self._store is not None  # noqa: S101 - writing works
        try:
            more = self._store.trim(self._wall(), self._keep_seconds, self._limit_bytes)
        except JournalError as error:
            self._let_go()
            if isinstance(error, Damaged):
                with contextlib.suppress(JournalError):
                    self._begin_anew(error)
            self._failed(error)
            more = False
        if not more:
            self._next_trim = time.monotonic() + TRIM_SECONDS

    # --- opening

    def _open_store(self) -> Loaded:
        try:
            store = Store(self._directory)
        except Damaged as error:
            self._begin_anew(error)
            store = Store(self._directory)
        try:
            loaded = store.load(self._wall())
        except Damaged as error:
            store.close()
            self._begin_anew(error)
            store = Store(self._directory)
            loaded = store.load(self._wall())
        except JournalError:
            store.close()
            raise
        self._store, self._known = store, True
        return loaded

    def _read_only(self) -> Loaded:
        now = self._wall()
        try:
            loaded = reading.read(self._directory, lambda db: rows.load(db, now))
        except NewerSchema:
            raise
        except JournalError:
            return Loaded(next_episode_id=max(1, int(now)), next_remediation_id=max(1, int(now)), read=False)
        self._known = True
        return loaded

    def _open_again(self) -> None:
        """After a failure: the same file, one that was begun anew, or one that is seen for the first time."""
        store = Store(self._directory)
        if store.new:
            self._known, self._owed = True, True
        elif not self._known:
            try:
                self._late = LateJoin(store.load(self._wall()), self._first_id)
            except JournalError:
                store.close()
                raise
            self._known = True
        self._store = store

    def _begin_anew(self, error: Damaged) -> None:
        moved = set_aside(self._directory, self._wall())
        self._owed, self._begun_anew = True, time.monotonic()
        self._tell(f"{error}; the damaged file was moved to {moved.name} and a new journal is begun")

    def _let_go(self) -> None:
        """Opens the file again at the next try: it may be another one, or on another disk, by then."""
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _bound(self) -> None:
        dropped = self._pending.drop_cleared_episodes(PENDING_EPISODES)
        if dropped:
            self.dropped += dropped
            first, last = self._incomplete
            self._incomplete = (first if self._written < last else self._written, self._put)

    def _failed(self, error: JournalError) -> None:
        with self._changed:
            self._failing = True
            self._changed.notify_all()
        if not self._told:
            self._tell(str(error))

    def _tell(self, problem: str) -> None:
        self._told = True
        self._report(problem)
