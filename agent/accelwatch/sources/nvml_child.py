"""The NVML worker as the agent sees it: starts it, asks it, watches its calls, and gives it up."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from accelwatch.sources.commands import ABANDONED_LIMIT, REAP_SECONDS
from accelwatch.sources.nvml_answer import Answer, Start, decode
from accelwatch.sources.nvml_progress import Call, Progress
from accelwatch.sources.nvml_wire import LENGTH

LIBRARY = "libnvidia-ml.so.1"
# Not `-m`: that imports runpy and what it needs, which stays for as long as the worker.
_MAIN = "from accelwatch.sources.nvml_worker import main; main()"
_SLICE_SECONDS = 0.05
_ANSWER_LIMIT_BYTES = 1 << 24
_STDERR_KEPT_BYTES = 2000


class WorkerFailed(Exception):
    """The worker gave no answer, and has been ended. `call`: the driver call that it was in.

    `blocked`: that call passed its deadline; else the worker died or spoke garbage. `sample`: what it printed.
    """

    def __init__(self, message: str, *, call: Call | None = None, blocked: bool = False, sample: str = "") -> None:
        super().__init__(message)
        self.call = call
        self.blocked = blocked
        self.sample = sample or None


class Interrupted(Exception):
    """Another thread wants the worker to end."""


class Child:
    """At most one worker at a time. `timeout`: deadline of each driver call in seconds."""

    def __init__(self, library: str | None, timeout: float) -> None:
        if library is not None and Path(library).is_dir():
            library = str(Path(library, LIBRARY))
        self._library = library
        self._timeout = timeout
        self._worker: subprocess.Popen[bytes] | None = None
        self._progress: Progress | None = None
        self._stderr = bytearray()
        self._abandoned: list[subprocess.Popen[bytes]] = []
        self._interrupted = False

    @property
    def running(self) -> bool:
        """A worker was started and not ended."""
        return self._worker is not None

    @property
    def abandoned(self) -> int:
        """Workers that SIGKILL did not end: they sit in the driver."""
        self._abandoned = [worker for worker in self._abandoned if worker.poll() is None]
        return len(self._abandoned)

    def start(self, skip: list[int], process_names: bool = True, events: bool = True) -> None:
        """Starts a worker that leaves the devices with the ordinals `skip` alone. Raises `WorkerFailed`."""
        if self.abandoned >= ABANDONED_LIMIT:
            raise WorkerFailed(
                f"{self.abandoned} workers are stuck in the driver (state D) and cannot be killed; waiting for one to "
                "end: reset the GPU or reboot the host",
                blocked=True,
            )
        self._stderr.clear()
        self._progress = Progress()
        start = Start(self._progress.descriptor, self._library, skip, process_names, events)
        try:
            self._worker = subprocess.Popen(
                # -P: the directory that the agent was started in is no place to import from
                [sys.executable, "-P", "-c", _MAIN, msgspec.json.encode(start).decode()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(self._progress.descriptor,),
                start_new_session=True,
            )
        except OSError as error:
            self.end()
            raise WorkerFailed(f"the worker cannot be started: {error}") from error
        assert self._worker.stderr is not None  # noqa: S101 - asked for as a pipe
        os.set_blocking(self._worker.stderr.fileno(), False)

    def ask(self, request: str, limit: float | None = None) -> Answer:
        """`fast` or `full`; `limit`: another deadline for each call. Raises `WorkerFailed`; `Interrupted` after
        `interrupt`.
        """
        worker = self._worker
        assert worker is not None  # noqa: S101 - the caller has started it
        assert worker.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError):  # it has died: the read says so
            worker.stdin.write(request.encode() + b"\n")
            worker.stdin.flush()
        body = self._receive(worker, self._timeout if limit is None else limit)
        try:
            return decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._garbage(body) from error

    def interrupt(self) -> None:
        """From another thread: makes `ask` raise `Interrupted` within a slice, until `calm`."""
        self._interrupted = True

    def calm(self) -> None:
        """Takes an interrupt back."""
        self._interrupted = False

    def shut_down(self) -> None:
        """Has the worker call nvmlShutdown, and ends it; waits no longer than a call may take."""
        worker = self._worker
        if worker is not None and worker.stdin is not None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                worker.stdin.write(b"release\n")
                worker.stdin.flush()
                worker.wait(self._timeout)
        self.end()

    def end(self, grace: float = 0.0, reap: float = REAP_SECONDS) -> None:
        """Ends the worker without a call into the driver; an idle one may leave by itself for `grace` seconds."""
        worker, self._worker = self._worker, None
        progress, self._progress = self._progress, None
        if worker is not None:
            self._kill(worker, grace if progress is not None and progress.current() is None else 0.0, reap)
        if progress is not None:
            progress.close()

    def _kill(self, worker: subprocess.Popen[bytes], grace: float, reap: float) -> None:
        if worker.stdin is not None:
            with contextlib.suppress(OSError):
                worker.stdin.close()
        if grace:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(grace)
        if worker.returncode is None:  # else the number may be another's by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(worker.pid, signal.SIGKILL)
        try:
            worker.wait(reap)
        except subprocess.TimeoutExpired:
            self._abandoned.append(worker)
        for stream in (worker.stdout, worker.stderr):
            if stream is not None:
                stream.close()

    def _receive(self, worker: subprocess.Popen[bytes], limit: float) -> bytes:
        """One answer; ends the worker and raises when a call in it passes its deadline, or when it dies."""
        assert worker.stdout is not None  # noqa: S101 - just started
        assert worker.stderr is not None  # noqa: S101
        assert self._progress is not None  # noqa: S101
        answers, errors = worker.stdout.fileno(), worker.stderr.fileno()
        data = bytearray()
        length: int | None = None
        poller = select.poll()
        poller.register(answers, select.POLLIN)
        poller.register(errors, select.POLLIN)
        quiet_since = time.monotonic()
        while length is None or len(data) < length:
            ready = {descriptor for descriptor, _ in poller.poll(_SLICE_SECONDS * 1000)}
            if self._interrupted:
                raise Interrupted
            if errors in ready and not self._drain(errors):
                poller.unregister(errors)
            if answers not in ready:
                self._watch(self._progress.current(), quiet_since, limit)
                continue
            quiet_since = time.monotonic()
            chunk = os.read(answers, 1 << 16)
            if not chunk:
                raise self._died(worker)
            data += chunk
            if length is None and len(data) >= LENGTH.size:
                length = LENGTH.unpack_from(data)[0]
                if length > _ANSWER_LIMIT_BYTES:
                    raise self._garbage(bytes(data))
                del data[: LENGTH.size]
        return bytes(data)

    def _watch(self, call: Call | None, quiet_since: float, limit: float) -> None:
        if call is not None and call.seconds > limit:
            self.end()
            raise WorkerFailed(f"did not return within {limit:g} s", call=call, blocked=True)
        # Between calls it computes for microseconds; a worker that is silent without a call was stopped.
        if call is None and time.monotonic() - quiet_since > 2 * self._timeout:
            self.end()
            raise WorkerFailed("the worker is silent outside of any driver call; it was ended")

    def _drain(self, descriptor: int) -> bool:
        """Keeps the last of what the worker and the driver's library print; false at the end."""
        try:
            chunk = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        self._stderr += chunk
        del self._stderr[:-_STDERR_KEPT_BYTES]
        return bool(chunk)

    def _died(self, worker: subprocess.Popen[bytes]) -> WorkerFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(REAP_SECONDS)
        if worker.stderr is not None:
            self._drain(worker.stderr.fileno())
        call = self._progress.current() if self._progress is not None else None
        printed = self._stderr.decode(errors="replace").strip().rpartition("\n")[2]
        self.end()
        return WorkerFailed(f"ended the worker with {_how(worker.returncode)}", call=call, sample=printed)

    def _garbage(self, data: bytes) -> WorkerFailed:
        self.end()
        return WorkerFailed(
            "the worker answered with garbage; it was ended", sample=data[:200].decode(errors="replace")
        )


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-status).name}"
    return f"status {status}"
