"""Processes of a simulated host: launchers, restarts, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelwatch.config import Duration
from accelwatch.simulator.host_files import HostFiles
from accelwatch.simulator.scenario import FaultSpec, NodeSpec, Phase, RunSpec, Scenario
from accelwatch.simulator.world import World

START = 1_790_000_000.0


class Host:
    """One node of two GPUs, its files, and what was injected."""

    def __init__(self, directory: Path, launcher: str = "torchrun", workload: tuple[Phase, ...] = (Phase(),)) -> None:
        self.spec = NodeSpec(name="n1", vendor="nvidia", family="hopper", devices=2)
        run = RunSpec(id="r1", nodes=("n1",), launcher=launcher)  # type: ignore[arg-type]
        self.world = World(Scenario(nodes=(self.spec,), runs=(run,), workload=workload), START)
        self.files = HostFiles(directory, self.spec, 1)
        self.proc = directory / "proc"
        self.faults: list[FaultSpec] = []

    def at(self, second: float) -> list[int]:
        """The pids that are there then."""
        self.files.write(self.world.node("n1", second, self.faults))
        return sorted(int(path.name) for path in self.proc.iterdir() if path.name.isdecimal())

    def death(self, at: float, device: int | None = None, clear_after: float | None = None, **parameters: int) -> None:
        ends = None if clear_after is None else Duration(clear_after)
        self.faults.append(
            FaultSpec(fault="process_death", node="n1", at=Duration(at), device=device, clear_after=ends, parameters=dict(parameters))
        )  # fmt: skip

    def exits(self) -> list[str]:
        return (self.proc / "exits").read_text().splitlines()


def stat(proc: Path, pid: int) -> list[str]:
    return (proc / str(pid) / "stat").read_text().split()


def test_ranks_have_a_launcher_that_outlives_them(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.at(10) == [19999, 20000, 20001]
    assert stat(host.proc, 20001)[3:6] == ["19999", "20001", "20001"]
    assert stat(host.proc, 19999)[1:4] == ["(torchrun)", "S", "1"]
    assert list((host.proc / "19999" / "fd").iterdir()) == []
    host.death(20)
    assert host.at(21) == [19999]


def test_an_end_is_told_once_with_status_and_time(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.at(10)
    assert host.exits() == []
    host.death(20, device=1, code=3)
    assert host.at(21) == [19999, 20000]
    host.at(22)
    assert host.exits() == [f"20001 3 - {START + 20:.6f}"]


@pytest.mark.parametrize(("parameters", "first"), [({}, "1 -"), ({"signal": 9}, "- 9"), ({"code": 0}, "0 -")])
def test_a_death_of_all_begins_with_one_and_the_launcher_ends_the_rest(
    tmp_path: Path, parameters: dict[str, int], first: str
) -> None:
    host = Host(tmp_path)
    host.at(10)
    host.death(20, **parameters)
    host.at(21)
    assert host.exits() == [f"20000 {first} {START + 20:.6f}", f"20001 - 15 {START + 20.001:.6f}"]


def test_work_that_ends_by_plan_ends_well(tmp_path: Path) -> None:
    host = Host(tmp_path, workload=(Phase(), Phase(at=Duration(60), phase="idle")))
    host.at(59)
    host.at(61)
    assert host.exits() == [f"20000 0 - {START + 60:.6f}", f"20001 0 - {START + 60:.6f}"]


def test_after_a_restart_there_are_new_processes_with_a_raised_count(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.at(10)
    host.death(20, clear_after=5)
    assert host.at(26) == [19999, 20100, 20101]
    assert b"TORCHELASTIC_RESTART_COUNT=1\0" in (host.proc / "20100" / "environ").read_bytes()
    assert int(stat(host.proc, 20100)[21]) > int(stat(host.proc, 19999)[21])
    host.death(40, device=0, clear_after=5)
    assert host.at(46) == [19999, 20101, 20200]
    assert b"TORCHELASTIC_RESTART_COUNT=1\0" in (host.proc / "20200" / "environ").read_bytes()
    assert [line.split()[0] for line in host.exits()] == ["20000", "20001", "20100"]


@pytest.mark.parametrize(
    ("launcher", "variables", "cgroup"),
    [
        ("slurm", {b"SLURM_JOB_ID=r1", b"SLURM_STEP_ID=0", b"SLURM_JOB_PARTITION=train"}, "job_r1/step_0"),
        ("mindx", {b"MINDX_TASK_ID=r1", b"RANK_ID=1"}, "cri-containerd-"),
        ("mpi", {b"PMIX_NAMESPACE=r1"}, "user.slice"),
    ],
)
def test_environment_and_control_group_are_the_launchers(
    tmp_path: Path, launcher: str, variables: set[bytes], cgroup: str
) -> None:
    host = Host(tmp_path, launcher=launcher)
    host.at(10)
    assert variables <= set((host.proc / "20001" / "environ").read_bytes().split(b"\0"))
    assert cgroup in (host.proc / "20001" / "cgroup").read_text()


def test_a_process_outlives_its_device(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.faults.append(FaultSpec(fault="vanish", node="n1", at=Duration(20), device=0))
    assert host.at(21) == [19999, 20000, 20001]
    assert host.exits() == []
