"""Processes that hold devices, in a tree like /proc."""

from __future__ import annotations

import pickle
import shutil
import time
from pathlib import Path

import psutil
import pytest

from accelwatch.readings.process import Launcher, ProcessExit, RunIdentity
from accelwatch.sources.base import Presence, SourceError
from accelwatch.sources.commands import ToolRunner
from accelwatch.sources.privileged import LocalReads
from accelwatch.sources.processes import STATES, Processes
from support import FakeClock

BOOTED = 1_790_000_000


class Host:
    """A tree like /proc, the source on it, and the pids that it looked into."""

    def __init__(self, directory: Path) -> None:
        self.proc = directory / "proc"
        self.proc.mkdir()
        (self.proc / "stat").write_text(f"cpu 0 0 0 0 0 0 0 0 0 0\nbtime {BOOTED}\n")
        self.clock = FakeClock()
        self.looked: list[int] = []
        self.refused: set[int] = set()
        host = self

        self.closed: set[int] = set()
        self.failing: dict[int, OSError] = {}

        class Reads(LocalReads):
            def environment(self, proc: Path, pid: int) -> dict[str, str]:
                if pid in host.closed:
                    raise PermissionError(13, "Permission denied")
                return super().environment(proc, pid)

            def open_files(self, proc: Path, pid: int) -> list[str]:
                host.looked.append(pid)
                if pid in host.failing:
                    raise host.failing[pid]
                if pid in host.refused:
                    raise PermissionError(13, "Permission denied")
                return super().open_files(proc, pid)

        self.source = Processes(proc=self.proc, reads=Reads(ToolRunner()), clock=self.clock)

    def process(self, pid: int, *targets: str, state: str = "R", ticks: int = 100) -> Path:
        home = self.proc / str(pid)
        (home / "fd").mkdir(parents=True)
        for number, target in enumerate(targets):
            (home / "fd" / str(number)).symlink_to(target)
        numbers = ["1", "1", "1", *["0"] * 7, "200", "100", "0", "0", "20", "0", "1", "0", str(ticks), *["0"] * 30]
        (home / "stat").write_text(f"{pid} (train er) {state} {' '.join(numbers)}\n")
        (home / "status").write_text(f"Name:\ttrain er\nState:\t{state}\nPid:\t{pid}\nPPid:\t1\n")
        (home / "cmdline").write_bytes(b"trainer\0--token=s3cr3t\0")
        return home

    def tree(self, pid: int, name: str, parent: int, group: int, session: int, started: int) -> None:
        """Who a process comes from."""
        (self.proc / str(pid)).mkdir(exist_ok=True)
        numbers = [parent, group, session, *[0] * 7, 0, 0, 0, 0, 20, 0, 1, 0, started, *[0] * 30]
        (self.proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {' '.join(str(n) for n in numbers)}\n")

    def holders(self, everything: bool = False) -> list[int]:
        self.looked.clear()
        return [process.pid for process in self.source.poll(everything).processes]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_holder_is_told_with_its_devices_and_state(host: Host) -> None:
    """Each node once, by name; the process by its name without arguments."""
    host.process(7, "/dev/null", "/dev/nvidia10", "/dev/nvidia2", "/dev/nvidia2", "/dev/nvidiactl", state="D")
    (process,) = host.source.poll().processes
    assert (process.name, process.state, process.devices) == ("train er", "disk-sleep", ("nvidia10", "nvidia2"))
    assert process.read_bytes is None


@pytest.mark.parametrize(
    ("target", "held"),
    [
        ("/dev/davinci3", True),
        ("/dev/nvidia0 (deleted)", True),
        ("/dev/nvidiactl", False),
        ("/dev/davinci_manager", False),
        ("/dev/nvidia-caps/nvidia-cap1", False),
        ("/dev/nvidia-uvm", False),
        ("socket:[1234]", False),
    ],
)
def test_only_a_numbered_node_makes_a_holder(host: Host, target: str, held: bool) -> None:
    """Monitors hold the control nodes too; a node that was removed while held is still held."""
    host.process(7, target)
    assert host.holders() == ([7] if held else [])


def test_a_process_is_looked_at_ever_more_rarely(host: Host) -> None:
    """After 5, 10, 20, 40 and then every 60 seconds; one that holds a device after 30 at the latest."""
    host.process(7)
    host.process(8, "/dev/davinci0")
    looks: dict[int, list[int]] = {7: [], 8: []}
    for second in range(0, 260, 5):
        host.looked.clear()
        assert host.holders() == [8]
        for pid in host.looked:
            looks[pid].append(second)
        host.clock.now += 5
    assert looks[7] == [0, 5, 15, 35, 75, 135, 195, 255]
    assert looks[8] == [0, 5, 15, 35, 65, 95, 125, 155, 185, 215, 245]


def test_a_holder_that_opens_another_device_is_looked_at_soon_again(host: Host) -> None:
    """One by one they are opened while a program starts."""
    home = host.process(8, "/dev/davinci0")
    for second in range(0, 45, 5):
        if second == 30:
            (home / "fd" / "9").symlink_to("/dev/davinci1")
        host.looked.clear()
        (process,) = host.source.poll().processes
        assert process.devices == (("davinci0", "davinci1") if second >= 35 else ("davinci0",))
        assert bool(host.looked) == (second in (0, 5, 15, 35, 40))
        host.clock.now += 5
    (home / "fd" / "0").unlink()
    assert host.source.poll(everything=True).processes[0].devices == ("davinci1",)


def test_a_holder_that_has_ended_holds_nothing_from_then_on(host: Host) -> None:
    """Its parent has not reaped it; when it was last looked at does not matter."""
    home = host.process(8, "/dev/nvidia0")
    assert host.holders() == [8]
    stat = (home / "stat").read_text()
    (home / "stat").write_text(stat.replace(") R ", ") Z "))
    (home / "fd" / "0").unlink()
    assert host.holders() == []
    assert host.holders(everything=True) == []


def test_a_process_that_opens_a_device_later_is_found(host: Host) -> None:
    """At its next look, or at once when everything is asked for."""
    home = host.process(7)
    assert host.holders() == []
    (home / "fd" / "9").symlink_to("/dev/nvidia0")
    assert host.holders() == []
    assert host.holders(everything=True) == [7]


def test_a_pid_that_was_given_away_is_looked_at_at_once(host: Host) -> None:
    """The new process does not inherit the old one's pause."""
    host.process(7)
    host.holders()
    (host.proc / "7").rename(host.proc / "old")  # kept, so that its inode is not used again
    host.process(7, "/dev/nvidia0", ticks=900)
    assert host.holders() == [7]


def test_two_holders_of_one_pid_differ_by_their_start(host: Host) -> None:
    """The start time tells them apart for whoever keeps them."""
    host.process(7, "/dev/nvidia0", ticks=100)
    (first,) = host.source.poll().processes
    shutil.rmtree(host.proc / "7")
    host.process(7, "/dev/nvidia0", ticks=900)
    (second,) = host.source.poll().processes
    assert (first.started, second.started) == (BOOTED + 1.0, BOOTED + 9.0)


def test_processes_of_other_users_are_told_once_per_growth(host: Host) -> None:
    """One line, not one per poll; all of them are counted, also those that are not due for a look."""
    for pid in (7, 8):
        host.process(pid)
    host.refused = {7, 8, 9}
    assert host.source.poll().problems == (
        "2 processes of other users cannot be looked into: is accelwatch-helper up? Without it: grant CAP_SYS_PTRACE",
    )
    assert host.source.poll().problems == ()
    host.clock.now += 5
    assert host.source.poll().problems == ()
    host.process(9)
    assert host.source.poll().problems == (
        "3 processes of other users cannot be looked into: is accelwatch-helper up? Without it: grant CAP_SYS_PTRACE",
    )


def test_a_holder_that_cannot_be_described_is_a_problem_not_a_silence(host: Host) -> None:
    """The rest of the view stays."""
    (host.process(7, "/dev/nvidia0") / "stat").write_text("7 (broken")
    host.process(8, "/dev/nvidia1")
    snapshot = host.source.poll()
    assert [process.pid for process in snapshot.processes] == [8]
    assert f"{host.proc}/7: cannot be read: stat line is cut" in snapshot.problems[0]


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), PermissionError(13, "Permission denied")])
def test_a_holder_that_cannot_be_looked_into_now_has_not_ended(host: Host, error: OSError) -> None:
    """Its run goes on; what moves is not known."""
    host.process(7, "/dev/nvidia0")
    host.process(8, "/dev/nvidia1")
    host.source.poll()
    host.failing = {7: error}
    host.clock.now += 5
    snapshot = host.source.poll()
    first, second = snapshot.processes
    assert (first.pid, first.devices, first.state, first.cpu_seconds) == (7, ("nvidia0",), "unknown", None)
    assert second.cpu_seconds is not None
    assert len(snapshot.problems) == 1
    assert host.source.poll().processes[0].pid == 7
    host.failing = {}
    assert host.source.poll().processes[0].state == "running"


def test_a_holder_whose_stat_line_breaks_has_not_ended(host: Host) -> None:
    home = host.process(7, "/dev/nvidia0")
    host.source.poll()
    (home / "stat").write_text("7 (broken")
    assert [process.pid for process in host.source.poll().processes] == [7]


def test_a_dead_holder_that_its_parent_has_not_reaped_has_ended(host: Host) -> None:
    """Its descriptors are closed, and without privileges may not be listed."""
    host.process(7, "/dev/nvidia0")
    host.source.poll()
    shutil.rmtree(host.proc / "7")
    host.process(7, state="Z")
    host.failing = {7: PermissionError(13, "Permission denied")}
    assert host.source.poll().processes == ()


def test_a_process_that_ends_during_the_look_is_passed_over(host: Host) -> None:
    """That is no problem of the source."""
    shutil.rmtree(host.process(7, "/dev/nvidia0") / "fd")
    snapshot = host.source.poll()
    assert (snapshot.processes, snapshot.problems) == ((), ())


# --- whose run


def test_the_environment_is_read_once_and_only_the_identity_stays(host: Host) -> None:
    """Neither a secret nor an allowed variable that names no run is kept anywhere in the source."""
    home = host.process(7, "/dev/nvidia0")
    (home / "environ").write_bytes(
        b"SLURM_JOB_ID=4711\0RANK=3\0AWS_SECRET_ACCESS_KEY=s3cr3t\0HCCL_EXEC_TIMEOUT=77123\0"
    )
    (process,) = host.source.poll().processes
    assert process.run == RunIdentity(run_id="4711", base="0", launcher="slurm", rank=3)
    (home / "environ").write_bytes(b"SLURM_JOB_ID=4712\0")
    (process,) = host.source.poll().processes
    assert process.run is not None
    assert process.run.run_id == "4711"
    locked = ("_reads", "_clock", "_handles")
    state = pickle.dumps({key: value for key, value in vars(host.source).items() if key not in locked})
    assert b"4711" in state
    assert b"s3cr3t" not in state
    assert b"77123" not in state


def test_states_and_names_are_psutils(host: Host) -> None:
    """A name that the kernel has cut is told in full where the command line begins with it."""
    words = psutil._pslinux.PROC_STATUSES  # type: ignore[attr-defined]
    assert {letter: str(word) for letter, word in words.items()} == STATES
    home = host.process(7, "/dev/nvidia0")
    stat = (home / "stat").read_text()
    (home / "stat").write_text(stat.replace("train er", "pt_main_thread_"))
    (home / "cmdline").write_bytes(b"/opt/bin/pt_main_thread_of_rank\0--token=s3cr3t\0")
    host.process(8, "/dev/nvidia1")
    seven, eight = host.source.poll().processes
    assert (seven.name, eight.name, eight.cpu_seconds) == ("pt_main_thread_of_rank", "train er", 3.0)


def test_another_process_of_the_same_pid_is_read_anew(host: Host) -> None:
    (host.process(7, "/dev/nvidia0") / "environ").write_bytes(b"SLURM_JOB_ID=4711\0")
    host.source.poll()
    shutil.rmtree(host.proc / "7")
    (host.process(7, "/dev/nvidia0", ticks=900) / "environ").write_bytes(b"SLURM_JOB_ID=4712\0")
    (process,) = host.source.poll().processes
    assert process.run is not None
    assert process.run.run_id == "4712"


def test_an_environment_that_may_not_be_read_is_told_once(host: Host) -> None:
    """The run is then known by its launcher's process group."""
    host.closed = {7, 8}
    host.process(7, "/dev/nvidia0")
    snapshot = host.source.poll()
    assert (snapshot.processes[0].run, snapshot.processes[0].environment_readable) == (None, False)
    assert snapshot.problems == (
        f"{host.proc}/7/environ may not be read: runs are told apart by their launcher's process group and carry this "
        "node's name in place of the scheduler's job id; is accelwatch-helper up? Without it: grant CAP_SYS_PTRACE",
    )
    host.process(8, "/dev/nvidia1")
    assert host.source.poll().problems == ()


def test_the_launcher_is_the_parent_and_its_group_is_known_by_its_leader(host: Host) -> None:
    host.process(7, "/dev/nvidia0")
    host.tree(7, "train", 5, 7, 7, 300)
    host.tree(5, "torchrun", 4, 4, 4, 200)
    host.tree(4, "bash", 1, 4, 4, 100)
    (process,) = host.source.poll().processes
    assert process.launcher == Launcher(pid=5, name="torchrun", group=4, instance=100)
    assert (process.parent, process.group, process.session, process.instance) == (5, 7, 7, 300)


@pytest.mark.parametrize("parent", ["bash", "systemd", "slurmstepd", "containerd-shim-runc-v2", "sshd"])
def test_what_a_shell_or_a_daemon_started_is_its_own_launcher(host: Host, parent: str) -> None:
    host.process(7, "/dev/nvidia0")
    host.tree(7, "python3", 5, 7, 5, 300)
    host.tree(5, parent[:15], 1, 5, 5, 200)
    (process,) = host.source.poll().processes
    assert process.launcher == Launcher(pid=7, name="python3", group=7, instance=300)


def test_a_group_goes_on_when_its_leader_has_ended(host: Host) -> None:
    host.process(7, "/dev/nvidia0")
    host.tree(7, "python3", 1, 4, 4, 300)
    (process,) = host.source.poll().processes
    assert process.launcher == Launcher(pid=7, name="python3", group=4, instance=300)


@pytest.mark.parametrize(
    "path",
    [
        "0::/system.slice/docker-{}.scope",
        "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{}.scope",
        "11:devices:/docker/" + "b" * 64 + "/docker/{}\n0::/",
    ],
)
def test_a_container_is_known_from_the_control_group(host: Host, path: str) -> None:
    identity = "0123456789abcdef" * 4
    (host.process(7, "/dev/nvidia0") / "cgroup").write_text(path.format(identity) + "\n")
    (process,) = host.source.poll().processes
    assert process.container == identity


def test_a_process_of_the_host_has_no_container(host: Host) -> None:
    (host.process(7, "/dev/nvidia0") / "cgroup").write_text("0::/system.slice/slurmstepd.scope/job_4711\n")
    host.process(8, "/dev/nvidia1")  # no such file
    assert [process.container for process in host.source.poll().processes] == [None, None]


def test_holders_and_their_launchers_are_watched_for_their_end(tmp_path: Path) -> None:
    """Nobody else; a process that ended is told with its status."""
    host = Host(tmp_path)
    told: list[ProcessExit] = []
    source = Processes(proc=host.proc, reads=LocalReads(ToolRunner()), clock=host.clock, exits=told.extend)
    source.start()
    try:
        host.process(7, "/dev/nvidia0")
        host.tree(7, "train", 5, 7, 7, 300)
        host.tree(5, "torchrun", 1, 5, 5, 200)
        host.process(9)
        source.poll()
        assert source.exits_followed
        wall = host.clock.time()
        (host.proc / "exits").write_text(f"9 0 - {wall}\n7 - 9 {wall}\n5 1 - {wall}\n")
        deadline = time.monotonic() + 5.0
        while len(told) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [(exit_.pid, exit_.code, exit_.signal) for exit_ in told] == [(7, None, 9), (5, 1, None)]
    finally:
        source.close()
    assert not source.exits_followed


def test_a_tree_that_is_not_there_is_absent_and_fails(tmp_path: Path) -> None:
    """Not a host without processes."""
    source = Processes(proc=tmp_path / "none", reads=LocalReads(ToolRunner()), clock=FakeClock())
    assert source.presence() is Presence.ABSENT
    with pytest.raises(SourceError, match="cannot be read"):
        source.poll()
