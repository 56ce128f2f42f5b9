"""From processes and their ends to attempts: design.md, "Runs", line by line."""

from __future__ import annotations

import msgspec
import pytest

from accelwatch.readings.process import HostProcess, Launcher, ProcessExit, RunIdentity
from accelwatch.runs.attempt import Progress
from accelwatch.runs.holding import HeldDevice
from accelwatch.runs.model import Outcome, RunRecord, RunRef
from accelwatch.runs.tracker import SHOWN_AT_MOST, SHOWN_SECONDS, Changes, RunTracker, TrackerState

EPOCH = 1_790_000_000.0
OWN_PID = 999
TORCHRUN = Launcher(pid=50, name="torchrun", group=50, instance=5000)


class Host:
    """A node of eight GPUs, the processes on it, and its tracker; time is steady seconds."""

    def __init__(self, devices: int = 8, vendor: str = "nvidia", drivers: bool = True) -> None:
        self.now = 1000.0
        self.vendor = vendor
        self.count = devices
        self.drivers = drivers  # the driver names its processes
        self.processes: dict[int, HostProcess] = {}
        self.holds: dict[int, tuple[int, ...]] = {}
        self.tracker = RunTracker("gpu-01", own_pid=OWN_PID)
        self.progress: dict[RunRef, Progress] = {}

    @property
    def wall(self) -> float:
        return EPOCH + self.now

    def start(
        self, pid: int, *numbers: int, run: RunIdentity | None = None, parent: int = 50,
        launcher: Launcher | None = TORCHRUN, name: str = "python3", age: float = 0.0, opened: tuple[int, ...] | None = None,
    ) -> None:  # fmt: skip
        kind = "nvidia" if self.vendor == "nvidia" else "davinci"
        self.holds[pid] = numbers
        self.processes[pid] = HostProcess(
            pid=pid, name=name, started=self.wall - age, state="running", instance=int((self.now - age) * 100),
            devices=tuple(f"{kind}{n}" for n in (numbers if opened is None else opened)),
            parent=parent, group=pid, launcher=launcher, run=run,
        )  # fmt: skip

    def ranks(self, first: int, count: int = 2, **identity: object) -> None:
        for local in range(count):
            self.start(first + local, local, run=slurm(rank=local, **identity))

    def end(self, *pids: int, code: int | None = None, signal: int | None = None, told: bool = True) -> Changes:
        for pid in pids:
            self.processes.pop(pid, None)
            self.holds.pop(pid, None)
        exits = [ProcessExit(pid=pid, code=code, signal=signal, at=self.now, wall=self.wall) for pid in pids]
        return self.step(exits=exits if told else [], look=False)

    def step(self, seconds: float = 0.0, exits: list[ProcessExit] | None = None, look: bool = True) -> Changes:
        self.now += seconds
        devices = [
            HeldDevice(
                vendor=self.vendor, device=str(n), model="H100", node=f"{'nvidia' if self.vendor == 'nvidia' else 'davinci'}{n}",
                pids=tuple(pid for pid, held in self.holds.items() if n in held) if self.drivers else None,
            )
            for n in range(self.count)
        ]  # fmt: skip
        processes = list(self.processes.values()) if look else None
        return self.tracker.step(processes, devices, exits or [], self.now, self.wall, self.progress)

    def restart_agent(self, after: float = 5.0) -> None:
        kept = msgspec.json.encode(self.tracker.state())
        self.now += after
        self.tracker = RunTracker("gpu-01", msgspec.json.decode(kept, type=TrackerState), own_pid=OWN_PID)


def slurm(rank: int | None = 0, job: str = "4711", base: str = "0", restarts: int = 0, size: int = 16) -> RunIdentity:
    return RunIdentity(
        run_id=job, base=base, restarts=restarts, launcher="slurm", partition="h100", rank=rank, world_size=size
    )


def labels(record: RunRecord) -> list[str]:
    return [device.device for device in record.devices]


@pytest.fixture
def host() -> Host:
    return Host()


# --- who is a run


def test_a_run_is_its_processes_with_their_devices_and_what_the_scheduler_says(host: Host) -> None:
    host.ranks(100)
    (record,) = host.step().started
    assert (record.run_id, record.attempt, record.launcher, record.partition) == ("4711", "0", "slurm", "h100")
    assert (record.world_size, record.rank0, labels(record)) == (16, True, ["0", "1"])
    assert [(d.rank, d.pid, d.model) for d in record.devices] == [(0, 100, "H100"), (1, 101, "H100")]


def test_a_start_is_dated_to_the_processes_not_to_when_they_were_seen(host: Host) -> None:
    host.start(100, 0, run=slurm(), age=7.0)
    (record,) = host.step().started
    assert (record.started, record.started_at) == (host.wall - 7.0, host.now - 7.0)


def test_one_process_on_one_device_is_a_run_too(host: Host) -> None:
    """Nobody names it: its id is the launcher's process group with the node's name."""
    host.start(100, 3, launcher=Launcher(pid=100, name="python3", group=100, instance=99), parent=7)
    (record,) = host.step().started
    assert (record.run_id, record.attempt, record.launcher, labels(record)) == ("gpu-01/100-99", "0", "none", ["3"])


def test_ranks_of_one_launcher_are_one_run_where_the_environment_tells_none(host: Host) -> None:
    host.start(100, 0)
    host.start(101, 1)
    host.start(200, 2, launcher=Launcher(pid=60, name="torchrun", group=60, instance=6000), parent=60)
    assert [record.run_id for record in host.step().started] == ["gpu-01/50-5000", "gpu-01/60-6000"]


@pytest.mark.parametrize(
    "name", ["nvidia-smi", "nvidia-persiste", "nvidia-persistenced", "nv-hostengine", "dcgm-exporter", "dcgm",
             "nv-fabricmanage", "npu-smi", "npu-exporter", "hccn_tool", "accelwatch"],
)  # fmt: skip
def test_tools_and_daemons_make_no_run(host: Host, name: str) -> None:
    host.start(100, 0, name=name)
    assert host.step().started == ()


def test_a_name_that_only_begins_like_a_short_tool_is_a_run(host: Host) -> None:
    host.start(100, 0, name="gpudiffusion")
    assert len(host.step().started) == 1


def test_the_agent_and_its_children_make_no_run(host: Host) -> None:
    host.start(OWN_PID, 0)
    host.start(1000, 0, parent=OWN_PID, name="python3")
    assert host.step().started == ()


def test_on_nvidia_an_open_node_is_not_a_held_device(host: Host) -> None:
    """CUDA opens the nodes of all GPUs that it may see: the driver knows which one the rank computes on."""
    host.start(100, 2, opened=tuple(range(8)), run=slurm())
    assert labels(host.step().started[0]) == ["2"]


def test_where_the_driver_names_nobody_the_open_nodes_count() -> None:
    """Its list is not read, or its pids are of another namespace."""
    host = Host(drivers=False)
    host.start(100, opened=(2, 3), run=slurm())
    assert labels(host.step().started[0]) == ["2", "3"]
    device = HeldDevice(vendor="nvidia", device="2", node="nvidia2", pids=(31337,))
    changes = RunTracker("n").step([host.processes[100]], [device], [], 0.0, EPOCH)
    assert labels(changes.started[0]) == ["2"]


def test_on_ascend_an_open_node_is_a_held_device() -> None:
    """A process opens the chips that it uses; the tool's table may come later."""
    host = Host(vendor="ascend")
    host.start(100, opened=(4,), run=slurm())
    assert labels(host.step().started[0]) == ["4"]


def test_a_run_on_a_mig_device_holds_the_part_not_the_gpu() -> None:
    host = Host()
    host.start(100, 0, run=slurm())
    devices = [
        HeldDevice(vendor="nvidia", device="0", node="nvidia0", pids=(100,)),
        HeldDevice(vendor="nvidia", device="0/1/0", pids=(100,), parent="0"),
    ]
    changes = host.tracker.step(list(host.processes.values()), devices, [], host.now, host.wall)
    assert labels(changes.started[0]) == ["0/1/0"]


def test_devices_that_a_member_takes_later_are_the_runs_and_stay_so(host: Host) -> None:
    """A lost device drops out of the driver's list; the run held it all the same."""
    host.start(100, 0, run=slurm())
    host.step()
    host.holds[100] = (0, 1)
    (changed,) = host.step(5).changed
    assert labels(changed) == ["0", "1"]
    host.holds[100] = (1,)
    assert host.step(5).changed == ()
    assert labels(host.tracker.open[0]) == ["0", "1"]


def test_two_runs_share_a_node(host: Host) -> None:
    host.ranks(100, job="1")
    host.start(200, 7, run=slurm(job="2", rank=5))
    assert [(r.run_id, labels(r), r.rank0) for r in host.step().started] == [
        ("1", ["0", "1"], True),
        ("2", ["7"], False),
    ]
    assert host.tracker.runs_of_devices(host.now)["nvidia", "7"] == RunRef("2", "0")


# --- how it ends


def test_a_run_ends_when_all_members_have_ended_at_their_exit(host: Host) -> None:
    host.ranks(100)
    host.step()
    host.now += 60
    assert host.end(100, code=0).ended == ()
    host.now += 1.5
    (record,) = host.end(101, code=0).ended
    assert (record.outcome, record.ended_at, record.ended) == (Outcome.COMPLETED, host.now, host.wall)
    assert host.tracker.open == ()


def test_failed_killed_and_cleaned_up(host: Host) -> None:
    """A SIGTERM after a failure is that failure's."""
    host.ranks(100)
    host.step()
    host.end(101, code=1)
    host.now += 2
    (record,) = host.end(100, signal=15).ended
    assert (record.outcome, record.detail) == (Outcome.FAILED, "rank 1 (pid 101): exit status 1")
    host.ranks(200, job="4712")
    host.step(60)
    host.end(200, signal=9)
    host.now += 1
    assert host.end(201, signal=6).ended[0].outcome is Outcome.KILLED


def test_without_process_events_the_outcome_is_unknown(host: Host) -> None:
    host.ranks(100)
    host.step()
    host.end(100, 101, told=False)
    assert host.step(5).ended == ()
    (record,) = host.step(5).ended
    assert (record.outcome, record.detail, record.ended_at) == (Outcome.UNKNOWN, "exit status not known", host.now - 5)


def test_an_exit_that_is_told_after_the_process_is_gone_still_counts(host: Host) -> None:
    """The look into /proc and the kernel's message come by different ways."""
    host.ranks(100)
    host.step()
    host.end(100, 101, told=False)
    host.step(1)
    exits = [ProcessExit(pid=pid, code=1, at=host.now - 0.5, wall=host.wall - 0.5) for pid in (100, 101)]
    (record,) = host.step(0.2, exits=exits, look=False).ended
    assert (record.outcome, record.ended_at) == (Outcome.FAILED, pytest.approx(host.now - 0.7))


def test_a_view_of_proc_that_is_older_than_an_exit_opens_no_new_attempt(host: Host) -> None:
    host.ranks(100)
    host.step()
    old = list(host.processes.values())
    (record,) = host.end(100, 101, code=1).ended
    devices = [
        HeldDevice(vendor="nvidia", device="0", pids=(100,)),
        HeldDevice(vendor="nvidia", device="1", pids=(101,)),
    ]
    assert host.tracker.step(old, devices, [], host.now, host.wall).started == ()
    assert host.step(5).started == ()
    assert [r.attempt for r in host.tracker.ended] == [record.attempt]


def test_an_exit_of_an_earlier_process_of_the_same_pid_is_not_taken(host: Host) -> None:
    host.start(100, 0, run=slurm())
    exits = [ProcessExit(pid=100, code=1, at=host.now - 60, wall=host.wall - 60)]
    assert host.step(exits=exits).ended == ()
    assert host.step(exits=exits).ended == ()


def test_a_run_that_stalled_to_its_end_hung_and_its_onset_is_its_last_progress(host: Host) -> None:
    host.ranks(100)
    host.step()
    host.progress[RunRef("4711")] = Progress(last_at=host.now + 100, stalled=True)
    host.step(700)
    host.progress.clear()  # who watches for stalls forgets a run whose devices are gone
    (record,) = host.end(100, 101, signal=6).ended
    assert (record.outcome, record.onset_at, record.onset) == (Outcome.HUNG, host.now - 600, host.wall - 600)


def test_a_run_without_known_progress_has_no_onset(host: Host) -> None:
    host.ranks(100)
    host.step()
    (record,) = host.end(100, 101, code=1).ended
    assert (record.onset_at, record.onset) == (None, None)


def test_a_data_loader_is_a_helper_whose_coming_and_going_means_nothing(host: Host) -> None:
    """It inherits the open device and the environment, RANK and all."""
    host.drivers = False
    host.start(100, 0, run=slurm())
    host.step()
    for epoch in range(3):
        host.start(300 + epoch, 0, parent=100, run=slurm())
        assert host.step(5).started == ()
        host.end(300 + epoch, code=1)
        assert host.step(5).ended == ()
    host.start(310, 0, parent=100, run=slurm())
    host.step(5)
    assert host.end(100, code=0).ended[0].outcome is Outcome.COMPLETED  # although 310 still holds the device
    assert host.step(5).started == ()


def test_children_with_a_rank_of_their_own_are_workers(host: Host) -> None:
    """A launcher that holds a device itself."""
    host.start(100, 0, run=slurm(rank=None))
    host.start(101, 1, parent=100, run=slurm(rank=1))
    host.step()
    assert host.end(100, code=0).ended == ()
    assert [m.helper for m in host.tracker.members(RunRef("4711"))] == [False, False]
    assert host.end(101, code=0).ended[0].outcome is Outcome.COMPLETED


# --- attempts


def test_death_of_all_workers_under_a_surviving_launcher_ends_an_attempt(host: Host) -> None:
    host.ranks(100)
    host.step()
    assert host.end(100, 101, code=1).ended[0].attempt == "0"
    host.ranks(200)
    (record,) = host.step(10).started
    assert (record.run_id, record.attempt) == ("4711", "0.1")


def test_workers_replaced_between_two_looks_are_a_new_attempt(host: Host) -> None:
    """Also where no exit is told: old pids gone and new ones there in one look."""
    host.ranks(100)
    host.step()
    host.end(100, 101, told=False)
    host.ranks(200)
    changes = host.step(5)
    assert [(r.attempt, r.outcome) for r in changes.ended] == [("0", Outcome.UNKNOWN)]
    assert [r.attempt for r in changes.started] == ["0.1"]


def test_a_raised_restart_count_is_a_new_attempt_although_old_workers_linger(host: Host) -> None:
    """The old ones die slowly, in the driver; that is no end of the new attempt."""
    host.ranks(100)
    host.step()
    host.end(100, signal=11)
    host.ranks(200, restarts=1)
    changes = host.step(5)
    assert [(r.attempt, r.outcome, r.ended_at) for r in changes.ended] == [("0", Outcome.FAILED, host.now - 5)]
    assert [r.attempt for r in changes.started] == ["0.1"]
    host.step(5)
    assert host.end(101, signal=9).ended == ()
    assert [(r.attempt, labels(r)) for r in host.tracker.open] == [("0.1", ["0", "1"])]
    assert len(host.tracker.members(RunRef("4711", "0.1"))) == 2


def test_one_worker_replaced_ends_the_attempt_for_all_and_the_others_go_on_in_the_next(host: Host) -> None:
    host.ranks(100)
    host.step()
    host.now += 30
    host.end(101, signal=11)
    host.step(5)
    assert len(host.tracker.open) == 1
    host.start(201, 1, run=slurm(rank=1))
    changes = host.step(5)
    assert [(r.attempt, r.ended_at) for r in changes.ended] == [("0", host.now - 10)]
    assert [(r.attempt, labels(r), r.rank0) for r in changes.started] == [("0.1", ["0", "1"], True)]
    assert host.step(5).started == ()
    assert host.end(201, code=0).ended == ()
    assert [r.outcome for r in host.end(100, code=0).ended] == [Outcome.COMPLETED]


def test_a_rank_that_appears_late_joins_and_replaces_nobody(host: Host) -> None:
    host.ranks(100)
    host.step()
    host.start(102, 2, run=slurm(rank=2))
    changes = host.step(5)
    assert (changes.started, changes.ended, labels(changes.changed[0])) == ((), (), ["0", "1", "2"])


def test_a_requeued_job_is_the_next_attempt_by_the_schedulers_count(host: Host) -> None:
    host.ranks(100)
    host.step()
    host.end(100, 101, signal=15)
    host.ranks(200, base="1")
    assert [r.attempt for r in host.step(60).started] == ["1"]


def test_torchruns_restarts_agree_between_nodes_that_count_differently() -> None:
    """Only the agent whose worker failed counts; the others see their workers replaced."""
    names = []
    for counts in ((0, 1, 1), (0, 0, 1)):  # node A failed first, node B then
        host = Host()
        seen = []
        for number, count in enumerate(counts):
            host.start(100 + number, 0, run=RunIdentity(run_id="x", restarts=count, rank=0))
            seen += [r.attempt for r in host.step(30).started]
            host.end(100 + number, code=1)
        names.append(seen)
    assert names == [["0", "1", "2"], ["0", "1", "2"]]


def test_a_run_without_a_name_gets_a_new_attempt_under_the_same_launcher(host: Host) -> None:
    host.start(100, 0)
    host.step()
    host.end(100, code=1)
    host.start(101, 0)
    (record,) = host.step(5).started
    assert (record.run_id, record.attempt) == ("gpu-01/50-5000", "1")


# --- over restarts of the agent, and for ever


def test_an_attempt_goes_on_after_a_restart_of_the_agent(host: Host) -> None:
    host.ranks(100)
    started = host.step().started[0]
    host.restart_agent()
    changes = host.step()
    assert (changes.started, changes.ended) == ((), ())
    assert host.tracker.open == (started,)
    assert host.end(100, 101, code=0).ended[0].outcome is Outcome.COMPLETED


def test_an_end_while_the_agent_was_away_is_dated_to_when_it_was_last_seen(host: Host) -> None:
    """What is known is that it was alive then; that it had ended was seen much later."""
    host.ranks(100)
    host.step()
    last = host.now
    host.end(100, 101, told=False)
    host.restart_agent(after=3600)
    (record,) = host.step().ended
    assert (record.ended_at, record.ended, record.outcome) == (last, EPOCH + last, Outcome.UNKNOWN)
    assert record.ended_by_at == host.now


def test_after_a_reboot_a_process_of_the_same_pid_is_another(host: Host) -> None:
    host.start(100, 0, run=slurm())
    host.step()
    host.restart_agent(after=600)
    host.start(100, 0, run=slurm())
    changes = host.step()
    assert [r.attempt for r in changes.ended] == ["0"]
    assert [r.attempt for r in changes.started] == ["0.1"]


def test_a_silent_source_ends_no_run(host: Host) -> None:
    host.ranks(100)
    host.step()
    assert host.step(3600, look=False).ended == ()


def test_a_device_belongs_to_its_run_until_a_minute_after_the_end(host: Host) -> None:
    """A fault that is read after the process died is that run's; a new run has the device at once."""
    host.ranks(100)
    host.step()
    host.end(100, 101, code=1)
    host.step(30)
    assert host.tracker.runs_of_devices(host.now)["nvidia", "1"] == RunRef("4711")
    host.start(200, 0, run=slurm(job="9"))
    host.step(5)
    assert host.tracker.runs_of_devices(host.now)["nvidia", "0"] == RunRef("9")
    host.step(60)
    assert ("nvidia", "1") not in host.tracker.runs_of_devices(host.now)


def test_an_ended_run_is_kept_for_a_day(host: Host) -> None:
    host.ranks(100)
    host.step()
    host.end(100, 101, code=1)
    host.step(SHOWN_SECONDS - 1)
    assert len(host.tracker.ended) == 1
    assert host.step(2).keep
    assert host.tracker.ended == ()


def test_its_cause_is_put_to_an_ended_run(host: Host) -> None:
    host.ranks(100)
    host.step()
    (record,) = host.end(100, 101, code=1).ended
    host.tracker.replace(msgspec.structs.replace(record, cause="mem_uncorrectable"))
    host.restart_agent()
    assert host.tracker.ended[0].cause == "mem_uncorrectable"


def test_ten_thousand_runs_leave_nothing_behind(host: Host) -> None:
    """Of those within a day, the ones that went wrong are kept longest."""
    for number in range(10_000):
        host.start(10_000 + number, number % 8, run=slurm(job=str(number)))
        host.step(30)
        (record,) = host.end(10_000 + number, code=1 if number % 500 == 0 else 0).ended
        host.tracker.replace(msgspec.structs.replace(record, cause_final=True))
    assert len(host.tracker.ended) <= SHOWN_AT_MOST + 1
    assert [r.run_id for r in host.tracker.ended if r.outcome is Outcome.FAILED] == [
        "7500",
        "8000",
        "8500",
        "9000",
        "9500",
    ]
    assert len(msgspec.json.encode(host.tracker.state())) < 120_000
    host.step(SHOWN_SECONDS + 60)
    host.step(5)
    empty = host.tracker.state()
    assert (empty.attempts, empty.ended, empty.generations, empty.lingering) == ((), (), {}, ())


def test_an_end_that_is_not_judged_yet_is_not_dropped(host: Host) -> None:
    """It is counted when it is judged, minutes later."""
    for number in range(SHOWN_AT_MOST + 20):
        host.start(10_000 + number, number % 8, run=slurm(job=str(number)))
        host.step(2)
        host.end(10_000 + number)
    assert len(host.tracker.ended) == SHOWN_AT_MOST + 20
    for record in host.tracker.ended:
        host.tracker.replace(msgspec.structs.replace(record, cause_final=True))
    host.step(2)
    assert len(host.tracker.ended) == SHOWN_AT_MOST


def test_the_state_is_written_when_something_happened_and_else_once_a_minute(host: Host) -> None:
    host.ranks(100)
    assert host.step().keep
    host.progress[RunRef("4711")] = Progress(last_at=host.now)
    assert not host.step(1).keep
    assert host.step(60).keep


def test_a_step_with_sixteen_devices_takes_less_than_five_milliseconds() -> None:
    import time

    host = Host(devices=16)
    host.ranks(100, count=16)
    host.step()
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        host.step(1)
        best = min(best, time.perf_counter() - began)
    assert best < 0.005
