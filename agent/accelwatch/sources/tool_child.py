"""A vendor tool as a child process in a session of its own, with both its outputs in pipes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping, Sequence

# Between two looks whether it has ended, where nothing tells of it: kernels before 5.3 have no descriptor of a process.
_LOOK_SECONDS, _LOOK_LIMIT_SECONDS = 0.0005, 0.05
# What Python ignores and a program expects to be ended by.
_DEFAULTS = (int(signal.SIGPIPE), int(signal.SIGXFSZ))
_NO_INPUT = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)


class ToolChild:
    """Started by posix_spawn(3), which takes a third of the processor time of `subprocess.Popen`.

    Its end is told by a descriptor of the process, and by nothing else: to be woken also by what it prints, or by its
    pipes when they close, is as dear as to read them.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[bytes, bytes], withheld: Iterable[int] | None = None
    ) -> None:
        """`withheld`: descriptors that it is not to have, else `inheritable`. Raises `OSError` when it cannot start."""
        self.status: int | None = None  # once it has ended: its exit status, negative: by that signal
        out_read, out_write = os.pipe()
        try:
            err_read, err_write = os.pipe()
        except OSError:
            os.close(out_read)
            os.close(out_write)
            raise
        self.streams: tuple[int, ...] = (out_read, err_read)
        self._end: int | None = None  # readable once it has ended
        self._over = False  # seen to be so
        try:
            self.pid = os.posix_spawnp(
                argv[0],
                list(argv),
                environment,
                file_actions=(
                    _NO_INPUT,
                    (os.POSIX_SPAWN_DUP2, out_write, 1),
                    (os.POSIX_SPAWN_DUP2, err_write, 2),
                    *[(os.POSIX_SPAWN_CLOSE, held) for held in (inheritable() if withheld is None else withheld)],
                ),
                setsid=True,
                setsigdef=_DEFAULTS,
            )
        except OSError:
            self.close()
            raise
        finally:
            os.close(out_write)
            os.close(err_write)
        try:
            self._end = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self._end = None  # the kernel or this Python has no such thing, or the child is gone and reaped

    def ended(self) -> bool:
        """Whether it has; then it is reaped."""
        if self.status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self.status = 0  # whoever started us ignores SIGCHLD: the kernel reaps it and keeps no status
            else:
                if pid:
                    self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def over(self, seconds: float) -> bool:
        """Whether it has ended within so long; only `ended` reaps it."""
        if self._over or self.status is not None:
            return True
        if self._end is not None:
            poller = select.poll()
            poller.register(self._end, select.POLLIN)
            self._over = bool(poller.poll(seconds * 1000))
            return self._over
        deadline, pause = time.monotonic() + seconds, _LOOK_SECONDS
        while not self.ended():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LOOK_LIMIT_SECONDS)
        return True

    def rest(self, seconds: float) -> bool:
        """As `over`, but where only its pipes tell of its end it returns when one closes; never for what it prints."""
        if self._end is not None:
            return self.over(seconds)
        poller = select.poll()
        for descriptor in self.streams:
            poller.register(descriptor, 0)
        poller.poll(seconds * 1000)
        return self.ended()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended within so long; then it is reaped."""
        return self.ended() or (self.over(seconds) and self.ended())

    def finish(self, seconds: float) -> bool:
        """Kills it, and what it has started in its group, also after its own end; whether it was reaped within so long.

        Our ends of its pipes, and what tells of its end, are closed either way.
        """
        try:  # noqa: SIM105 - `suppress` costs more than the call
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        gone = self.wait(seconds)
        self.close()
        return gone

    def close(self) -> None:
        """See `finish`."""
        for descriptor in self.streams:
            os.close(descriptor)
        if self._end is not None:
            os.close(self._end)
        self.streams, self._end = (), None


def inheritable() -> list[int]:
    """Descriptors that a child would have: those that we were started with; Python's own are closed (PEP 446)."""
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # another thread has closed it, and that of the folder is gone
            if descriptor > 2 and os.get_inheritable(descriptor):
                found.append(descriptor)
    return found
