"""One thread per Alertmanager: none of them waits for another, and nobody waits for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from accelwatch import log
from accelwatch.clock import Clock
from accelwatch.pager.outbox import Offer, Outbox, Outgoing
from accelwatch.pager.post import PostError, Refused, encode

# The thread looks again after so long, whatever it waits for.
LOOK_SECONDS = 5.0
# Clocks that differ by less mean the same; the peer tells whole seconds, and a while ago.
SKEW_SECONDS = 60.0


class Posts(Protocol):
    """What posts a body: `post.Poster`."""

    def post(self, body: bytes) -> float | None:
        """Gives the peer's own time in seconds since the epoch, if it says one. Raises `Refused`, `PostError`."""
        ...


class Sender:
    """Keeps one Alertmanager told. `result` is told `success`, `failure`, `refused` after each post."""

    def __init__(self, name: str, poster: Posts, clock: Clock, result: Callable[[str, str], None]) -> None:
        self.name = name
        self._poster = poster
        self._clock = clock
        self._result = result
        self._outbox = Outbox()
        self._changed = threading.Condition()
        self._stopping = False
        self._shift = 0.0
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"pager {name}", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Alerts that this Alertmanager has not been told yet."""
        with self._changed:
            return self._outbox.length

    @property
    def dropped(self) -> int:
        """Alerts that no room was left for."""
        with self._changed:
            return self._outbox.dropped

    def take(self, offers: Mapping[int, Offer]) -> None:
        """How all episodes stand; returns at once."""
        with self._changed:
            self._outbox.take(offers, self._clock.monotonic(), self._clock.time())
            self._changed.notify_all()

    def stop(self) -> None:
        """Has what waits for its root sent once more, resolves nothing, and ends."""
        with self._changed:
            self._stopping = True
            self._outbox.hurry(self._clock.monotonic())
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Waits for the end of the thread."""
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            outgoing = self._next()
            if outgoing is None:
                return
            try:
                self._send(outgoing)
            except Exception as error:  # noqa: BLE001 - a loop edge: a flaw must not end the pages of this Alertmanager
                log.get().exception("alerts could not be posted; a flaw in accelwatch, please report it")
                with self._changed:
                    self._outbox.failed(self._clock.monotonic())
                self._told("failure", str(error))

    def _next(self) -> Outgoing | None:
        with self._changed:
            while True:
                now = self._clock.monotonic()
                outgoing = self._outbox.due(now, self._clock.time(), self._shift)
                if outgoing is not None and (outgoing.entries or not self._stopping):
                    return outgoing
                if self._stopping:
                    return None
                self._changed.wait(min(LOOK_SECONDS, self._outbox.wait(now)))

    def _send(self, outgoing: Outgoing) -> None:
        try:
            self._heard(self._poster.post(encode(list(outgoing.alerts))))
        except Refused as error:
            with self._changed:
                self._outbox.refused(outgoing, self._clock.monotonic())
            self._told("refused", str(error))
        except PostError as error:
            with self._changed:
                self._outbox.failed(self._clock.monotonic())
            self._told("failure", str(error))
        else:
            new = [entry for entry, resolved in outgoing.entries if not resolved and not entry.told]
            with self._changed:
                self._outbox.sent(outgoing, self._clock.monotonic())
            for entry in new:
                log.get().warning("page posted", alertmanager=self.name, page=entry.notice.annotations["summary"])
            self._told("success", None)

    def _heard(self, theirs: float | None) -> None:
        """An alert of a node whose clock is half an hour slow would be over before it came, and nobody be paged."""
        shift = 0.0 if theirs is None else theirs - self._clock.time()
        self._shift = shift if abs(shift) > SKEW_SECONDS else 0.0

    def _told(self, result: str, problem: str | None) -> None:
        """Said once when it begins to fail and once when it works again; a backlog of alerts fills no log."""
        self._result(self.name, result)
        before, self._problem = self._problem, problem
        if problem is not None and before is None:
            log.get().error("Alertmanager does not take pages; retried until it does", error=problem)
        elif problem is None and before is not None:
            log.get().info("Alertmanager takes pages again", alertmanager=self.name)
