"""Signals of this process, waited for in its main thread.

A Python handler runs between any two steps of the main thread. One that sets a `threading.Event` for which that thread
waits finds the event's lock taken, now and then, by the thread that it interrupts, and stands for ever.
`SimpleQueue.put` is made to be called there (Python's library reference, `queue.SimpleQueue`).
"""

from __future__ import annotations

import contextlib
import queue
import signal


class Signals:
    """From now on `numbers` have no other effect than to end a `wait`. Made in the main thread."""

    def __init__(self, *numbers: int) -> None:
        self._came: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in numbers:
            signal.signal(number, lambda got, _frame: self._came.put(got))

    def wait(self, seconds: float | None = None) -> frozenset[int]:
        """All that came since the last call; waits for one, for `seconds` at most (`None`: for ever)."""
        came = set()
        with contextlib.suppress(queue.Empty):
            came.add(self._came.get(timeout=None if seconds is None else max(0.0, seconds)))
            while True:
                came.add(self._came.get_nowait())
        return frozenset(came)
