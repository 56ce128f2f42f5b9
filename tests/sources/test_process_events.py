"""How processes end: from the kernel with real processes, and from a simulated node's file."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from accelwatch.clock import SystemClock
from accelwatch.readings.process import ProcessExit
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.proc_connector import open_connector, parse_exit
from accelwatch.sources.process_events import KEPT_BACK, TRY_AGAIN_SECONDS, ConnectorReader, ProcessEvents
from support import FakeClock


class Told:
    """What was delivered, and a way to wait for it."""

    def __init__(self) -> None:
        self.exits: dict[int, ProcessExit] = {}
        self.calls = 0
        self._news = threading.Condition()

    def __call__(self, exits: tuple[ProcessExit, ...]) -> None:
        with self._news:
            self.calls += 1
            for exit_ in exits:
                assert exit_.pid not in self.exits
                self.exits[exit_.pid] = exit_
            self._news.notify_all()

    def of(self, pid: int) -> ProcessExit:
        with self._news:
            assert self._news.wait_for(lambda: pid in self.exits, 5.0), f"no exit of {pid} within 5 s"
            return self.exits[pid]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def events(told: Told) -> Iterator[ProcessEvents]:
    """On the real kernel."""
    made = ProcessEvents(proc=Path("/proc"), reads=LocalReads(ToolRunner()), clock=SystemClock(), deliver=told)
    made.start()
    problems = made.take_problems()
    if problems:
        pytest.skip(problems[0])
    yield made
    made.close()


@pytest.mark.parametrize(
    ("argv", "sent", "code", "number"),
    [
        (["sh", "-c", "sleep 0.2"], None, 0, None),
        (["sh", "-c", "sleep 0.2; exit 3"], None, 3, None),
        (["sleep", "60"], signal.SIGKILL, None, 9),
        (["sleep", "60"], signal.SIGTERM, None, 15),
        ([sys.executable, "-c", "import os, time; time.sleep(.2); os.abort()"], None, None, 6),
    ],
)
def test_the_kernel_tells_how_a_process_ended(
    events: ProcessEvents, told: Told, argv: list[str], sent: int | None, code: int | None, number: int | None
) -> None:
    """Status or signal, and when, by the kernel's own clock."""
    child = subprocess.Popen(argv, stderr=subprocess.DEVNULL, preexec_fn=_no_core)
    events.watch({child.pid: time.time()})
    if sent is not None:
        child.send_signal(sent)
    child.wait()
    exit_ = told.of(child.pid)
    assert (exit_.code, exit_.signal) == (code, number)
    assert abs(exit_.wall - time.time()) < 5.0
    assert abs(exit_.at - time.monotonic()) < 5.0


def _no_core() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def test_threads_that_end_are_no_exit(events: ProcessEvents, told: Told) -> None:
    program = "import threading, time\nfor _ in range(20):\n t = threading.Thread(target=int); t.start(); t.join()\ntime.sleep(.3)"
    child = subprocess.Popen([sys.executable, "-c", program])
    events.watch({child.pid: time.time()})
    time.sleep(0.2)
    assert child.pid not in told.exits or child.poll() is not None
    child.wait()
    assert told.of(child.pid).code == 0
    assert list(told.exits) == [child.pid]


def test_nobody_elses_exit_is_told(events: ProcessEvents, told: Told) -> None:
    stranger = subprocess.Popen(["true"])
    stranger.wait()
    child = subprocess.Popen(["sh", "-c", "sleep 0.2"])
    events.watch({child.pid: time.time()})
    child.wait()
    told.of(child.pid)
    assert list(told.exits) == [child.pid]


def test_a_process_that_ended_just_before_it_is_watched_is_told_all_the_same(events: ProcessEvents, told: Told) -> None:
    """The look into /proc takes a while."""
    started = time.time()
    child = subprocess.Popen(["sh", "-c", "exit 5"])
    child.wait()
    time.sleep(0.3)
    assert told.exits == {}
    events.watch({child.pid: started})
    assert told.of(child.pid).code == 5


def test_what_is_not_watched_any_more_is_told_for_a_while(events: ProcessEvents, told: Told) -> None:
    """It let go of its device and then ended."""
    child = subprocess.Popen(["sh", "-c", "sleep 0.2; exit 4"])
    events.watch({child.pid: time.time()})
    events.watch({})
    child.wait()
    assert told.of(child.pid).code == 4


def test_without_the_privilege_it_says_so_once(told: Told) -> None:
    class Reads(LocalReads):
        def open_process_events(self) -> socket.socket:
            raise PermissionError(1, "Operation not permitted")

    events = ProcessEvents(proc=Path("/proc"), reads=Reads(ToolRunner()), clock=SystemClock(), deliver=told)
    events.start()
    assert not events.followed
    (problem,) = events.take_problems()
    assert problem.startswith(
        "process events: cannot be followed: Operation not permitted; how runs end stays `unknown`"
    )
    assert events.take_problems() == ()
    events.watch({7: 0.0})
    events.close()


def test_what_was_refused_is_asked_for_again(told: Told) -> None:
    """The helper that has the privilege was away: exits are followed once it is there, and the problem is told once."""
    clock = FakeClock()
    there, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    asked: list[float] = []

    class Reads(LocalReads):
        def open_process_events(self) -> socket.socket:
            asked.append(clock.monotonic())
            if len(asked) < 3:
                raise PermissionError(1, "Operation not permitted")
            return given

    events = ProcessEvents(proc=Path("/proc"), reads=Reads(ToolRunner()), clock=clock, deliver=told)
    events.watch({})
    assert asked == [], "watched before it was started"
    events.start()
    for _ in range(int(TRY_AGAIN_SECONDS)):
        clock.now += 3.0
        events.watch({})
    assert len(asked) == 3
    assert asked[2] - asked[1] == pytest.approx(TRY_AGAIN_SECONDS, abs=3.0)
    assert events.followed
    assert len(events.take_problems()) == 1
    events.close()
    there.close()


@pytest.mark.parametrize("namespace", ["--net", "--pid"])
def test_outside_the_hosts_namespaces_it_fails_at_once_instead_of_hearing_nothing(namespace: str) -> None:
    """The kernel has no such socket in another network, and says nothing in another pid namespace."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom accelwatch.sources.proc_connector import open_connector\n"
        "try:\n open_connector(); print('open')\nexcept OSError as error: print(error.errno)"
    )
    package = str(Path(__file__).resolve().parents[2] / "agent")
    argv = ["unshare", namespace, "--fork", sys.executable, "-c", program, package]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    if done.returncode:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.stdout.strip() in (str(errno.EPERM), str(errno.ECONNREFUSED), str(errno.ENOTCONN))


def exit_message(pid: int, group: int, status: int, what: int = 0x80000000) -> bytes:
    return bytes(36) + struct.pack("=IIQ", what, 0, 5_000_000_000) + struct.pack("=IIII", pid, group, status, 17)


def test_only_the_end_of_a_whole_process_is_read() -> None:
    assert parse_exit(exit_message(7, 7, 0x300)) == (7, 0x300, 5_000_000_000)
    assert parse_exit(exit_message(8, 7, 0)) is None
    assert parse_exit(exit_message(7, 7, 0, what=1)) is None
    assert parse_exit(exit_message(7, 7, 0)[:60]) is None


class Queue:
    """A socket that gives what is put in."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[int, int]]:
        if not self.answers:
            raise BlockingIOError
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer  # type: ignore[return-value]


def test_dropped_exits_are_counted_and_said_and_reading_goes_on(told: Told) -> None:
    queue = Queue(OSError(105, "No buffer space available"), (exit_message(7, 7, 0), (0, 1)))
    reader = ConnectorReader(queue)  # type: ignore[arg-type]
    assert [ended.pid for ended in reader.read()] == [7]
    assert reader.lost == 1
    events = ProcessEvents(proc=Path("/proc"), reads=LocalReads(ToolRunner()), clock=SystemClock(), deliver=told)
    events._reader = reader
    assert events.take_problems() == ("process events: the kernel dropped exits 1 times: too many at once",)
    assert events.take_problems() == ()


def test_an_exit_that_a_process_sent_is_not_believed() -> None:
    """Only the kernel sends from port 0."""
    queue = Queue((exit_message(7, 7, 0), (4711, 1)), (exit_message(8, 8, 0), (0, 1)))
    assert [ended.pid for ended in ConnectorReader(queue).read()] == [8]  # type: ignore[arg-type]


# --- a simulated node


class Simulated:
    def __init__(self, directory: Path, told: Told) -> None:
        self.proc = directory / "proc"
        self.proc.mkdir()
        self.path = self.proc / "exits"
        self.clock = FakeClock()
        self.path.write_text(f"6 0 - {self.clock.time()}\n")
        self.told = told
        self.events = ProcessEvents(proc=self.proc, reads=LocalReads(ToolRunner()), clock=self.clock, deliver=told)
        self.events.start()

    def line(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)


@pytest.fixture
def simulated(tmp_path: Path, told: Told) -> Iterator[Simulated]:
    made = Simulated(tmp_path, told)
    yield made
    made.events.close()


def test_a_simulated_nodes_exits_come_from_its_file(simulated: Simulated, told: Told) -> None:
    """What is appended from the start on; lines that are no exit are passed over."""
    wall = simulated.clock.time()
    simulated.events.watch(dict.fromkeys((6, 7, 8, 9), wall - 60))
    simulated.line(f"7 1 - {wall - 2}\nnonsense\n8 - 9 {wall}\n9 0 ")
    exit_ = told.of(7)
    assert (exit_.code, exit_.signal, exit_.at, exit_.wall) == (1, None, simulated.clock.monotonic() - 2, wall - 2)
    assert told.of(8).signal == 9
    assert set(told.exits) == {7, 8}
    simulated.line(f"- {wall}\n")
    assert told.of(9).code == 0


def test_a_fifo_wakes_its_reader_and_nothing_else_does(tmp_path: Path, told: Told) -> None:
    """While nobody ends, the thread sleeps; writers come and go."""
    (tmp_path / "proc").mkdir()
    path = tmp_path / "proc" / "exits"
    os.mkfifo(path)
    clock = FakeClock()
    events = ProcessEvents(proc=tmp_path / "proc", reads=LocalReads(ToolRunner()), clock=clock, deliver=told)
    events.start()
    try:
        assert events._thread is not None
        switches = Path(f"/proc/self/task/{events._thread.native_id}/status")
        events.watch({7: 0.0, 8: 0.0})
        for text, pid in ((f"7 0 - {clock.time()}\n8 0 ", 7), (f"- {clock.time()}\n", 8)):
            with path.open("a") as file:
                file.write(text)
            told.of(pid)
        time.sleep(0.2)
        before = switches.read_text()
        time.sleep(1.2)
        assert switches.read_text() == before
        began = time.monotonic()
        events.close()
        assert time.monotonic() - began < 0.5
        assert not events.followed
    finally:
        events.close()


def test_an_exit_from_before_a_process_began_is_an_earlier_ones(simulated: Simulated, told: Told) -> None:
    """Its pid was given away again."""
    wall = simulated.clock.time()
    simulated.events.watch({7: wall - 5})
    simulated.line(f"7 1 - {wall - 60}\n7 0 - {wall}\n")
    assert told.of(7).code == 0


def test_a_delivery_that_fails_is_said_and_the_next_goes_on(tmp_path: Path, told: Told) -> None:
    failing = [ValueError("flaw")]

    def deliver(exits: tuple[ProcessExit, ...]) -> None:
        if failing:
            raise failing.pop()
        told(exits)

    (tmp_path / "proc").mkdir()
    clock = FakeClock()
    events = ProcessEvents(proc=tmp_path / "proc", reads=LocalReads(ToolRunner()), clock=clock, deliver=deliver)
    events.start()
    try:
        events.watch({7: 0.0, 8: 0.0})
        (tmp_path / "proc" / "exits").write_text(f"7 0 - {clock.time()}\n")
        _until(lambda: not failing)
        with (tmp_path / "proc" / "exits").open("a") as file:
            file.write(f"8 0 - {clock.time()}\n")
        told.of(8)
        assert events.take_problems() == ("process events: an exit could not be dealt with: ValueError('flaw')",)
    finally:
        events.close()


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5.0
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- cost


def test_ten_thousand_exits_a_second_cost_little_and_fill_nothing(told: Told) -> None:
    """What the follower does with them, measured on its own: below a tenth of one core, bounded memory."""
    queue = Queue()
    reader = ConnectorReader(queue)  # type: ignore[arg-type]
    events = ProcessEvents(proc=Path("/proc"), reads=LocalReads(ToolRunner()), clock=SystemClock(), deliver=told)
    events.watch(dict.fromkeys(range(1, 17), 0.0))
    messages = [(exit_message(1000 + n, 1000 + n, 0), (0, 1)) for n in range(10_000)]
    best = 1.0
    for _ in range(3):
        queue.answers = list(reversed(messages))
        began = time.process_time()
        while queue.answers:
            batch, queue.answers = queue.answers[-500:], queue.answers[:-500]
            rest, queue.answers = queue.answers, batch
            events._pass_on(reader.read())
            queue.answers = rest
        best = min(best, time.process_time() - began)
    assert best < 0.1
    assert len(events._others) == KEPT_BACK
    assert told.exits == {}


def test_the_kernels_filter_lets_only_exits_through() -> None:
    """Forks and execs wake nobody."""
    try:
        connector = open_connector()
    except OSError as error:
        pytest.skip(str(error))
    try:
        child = subprocess.Popen(["sh", "-c", "true; exit 7"])
        child.wait()
        time.sleep(0.1)
        seen = []
        while True:
            try:
                seen.append(parse_exit(connector.recv(256)))
            except BlockingIOError:
                break
        assert None not in seen
        assert (child.pid, 7 << 8) in [(ended[0], ended[1]) for ended in seen if ended]
    finally:
        connector.close()
