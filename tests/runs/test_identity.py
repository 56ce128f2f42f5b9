"""From the variables of a process to its run."""

from __future__ import annotations

import pytest

from accelwatch.readings.process import RunIdentity
from accelwatch.runs.identity import attempt_name, identify
from accelwatch.runs.variables import VARIABLES

SLURM = {"SLURM_JOB_ID": "4711", "SLURM_PROCID": "9", "SLURM_LOCALID": "1", "SLURM_NTASKS": "32"}
TORCH = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "16", "MASTER_ADDR": "gpu-01", "MASTER_PORT": "29500"}
ELASTIC = {**TORCH, "LOCAL_WORLD_SIZE": "8", "TORCHELASTIC_RUN_ID": "llm-7b", "TORCHELASTIC_RESTART_COUNT": "2"}


def of(environment: dict[str, str]) -> RunIdentity:
    found = identify(environment)
    assert found is not None
    return found


def test_slurm_names_job_rank_size_and_partition() -> None:
    found = of({**SLURM, "SLURM_STEP_ID": "0", "SLURM_JOB_PARTITION": "h100"})
    assert found == RunIdentity(
        run_id="4711", base="0", launcher="slurm", partition="h100", rank=9, local_rank=1, world_size=32
    )


@pytest.mark.parametrize(
    ("more", "run_id", "base"),
    [
        ({"SLURM_RESTART_COUNT": "3"}, "4711", "3"),
        ({"SLURM_STEP_ID": "2", "SLURM_RESTART_COUNT": "1"}, "4711", "1s2"),
        ({"SLURM_STEP_ID": "4294967291"}, "4711", "0"),  # the batch script itself
        ({"SLURM_ARRAY_JOB_ID": "4700", "SLURM_ARRAY_TASK_ID": "11"}, "4700_11", "0"),
    ],
)
def test_a_slurm_attempt_is_job_and_step_with_its_restart_count(more: dict[str, str], run_id: str, base: str) -> None:
    found = of({**SLURM, **more})
    assert (found.run_id, found.base) == (run_id, base)


def test_torchrun_inside_a_slurm_job_is_that_job_with_torchruns_ranks() -> None:
    """srun starts one torchrun per node there: SLURM_PROCID counts nodes."""
    found = of({**SLURM, **ELASTIC})
    assert (found.run_id, found.launcher, found.rank, found.local_rank, found.world_size, found.restarts) == (
        "4711", "slurm", 5, 1, 16, 2,
    )  # fmt: skip


def test_torchrun_names_its_run_and_counts_restarts() -> None:
    found = of(ELASTIC)
    assert (found.run_id, found.base, found.restarts, found.launcher) == ("llm-7b", "", 2, "torchrun")


def test_a_torchrun_without_an_id_is_known_by_where_its_ranks_meet() -> None:
    """`none` is torchrun's default on every run of everybody; on one node the meeting place tells nothing."""
    assert of({**ELASTIC, "TORCHELASTIC_RUN_ID": "none"}).run_id == "gpu-01:29500"
    assert of({**ELASTIC, "TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "8"}).run_id is None
    assert of({**ELASTIC, "TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "localhost"}).run_id is None


def test_ranks_started_by_hand_are_known_by_where_they_meet() -> None:
    found = of(TORCH)
    assert (found.run_id, found.launcher, found.rank) == ("gpu-01:29500", "torch", 5)


@pytest.mark.parametrize(
    ("environment", "run_id", "rank", "size"),
    [
        ({"PMIX_NAMESPACE": "prterun-gpu-01-4242@1", "PMIX_RANK": "3"}, "prterun-gpu-01-4242@1", 3, None),
        ({"PMIX_NAMESPACE": "77", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}, "77", 1, 4),
        ({"OMPI_MCA_ess_base_jobid": "991", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}, "991", 0, 2),
        ({"PMI_RANK": "2", "PMI_SIZE": "8"}, None, 2, 8),
    ],
)
def test_mpi(environment: dict[str, str], run_id: str | None, rank: int, size: int | None) -> None:
    found = of(environment)
    assert (found.launcher, found.run_id, found.rank, found.world_size) == ("mpi", run_id, rank, size)


def test_mpirun_inside_a_slurm_job_is_that_job() -> None:
    found = of({**SLURM, "PMIX_NAMESPACE": "77", "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"})
    assert (found.run_id, found.rank, found.world_size) == ("4711", 1, 4)


def test_mindx_names_the_task_and_ascends_ranks() -> None:
    found = of(
        {
            "MINDX_TASK_ID": "9b2c",
            "RANK_ID": "4",
            "RANK_SIZE": "16",
            "DEVICE_ID": "4",
            "ASCEND_VISIBLE_DEVICES": "0,1,2",
        }
    )
    assert (found.run_id, found.launcher, found.rank, found.local_rank, found.world_size, found.visible_devices) == (
        "9b2c", "mindx", 4, 4, 16, ("0", "1", "2"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "launcher", "run_id", "rank"),
    [
        ({"JOB_COMPLETION_INDEX": "2", "JOB_NAME": "pretrain"}, "kubernetes", "pretrain", 2),
        ({"JOB_COMPLETION_INDEX": "2", "POD_NAME": "pre-train-2-x7k2p", "POD_NAMESPACE": "ml"}, "kubernetes", "ml/pre-train", 2),
        ({"JOB_COMPLETION_INDEX": "2"}, "kubernetes", None, 2),
        ({"VC_TASK_INDEX": "1", "POD_NAME": "bert-worker-1", "POD_NAMESPACE": "ml"}, "volcano", "ml/bert", 1),
        ({"VC_TASK_INDEX": "1", "VC_JOB_NAME": "bert"}, "volcano", "bert", 1),
        ({"PET_RDZV_ID": "pytorchjob-1", **TORCH}, "torchrun", "pytorchjob-1", 5),
    ],
)  # fmt: skip
def test_kubernetes_and_volcano(environment: dict[str, str], launcher: str, run_id: str | None, rank: int) -> None:
    found = of(environment)
    assert (found.launcher, found.run_id, found.rank) == (launcher, run_id, rank)


def test_an_environment_that_tells_nothing_has_no_identity() -> None:
    """Visible devices alone name no run."""
    assert identify({}) is None
    assert identify({"CUDA_VISIBLE_DEVICES": "0,1"}) is None


def test_odd_values_count_as_absent_and_never_break_a_label() -> None:
    found = of({"SLURM_JOB_ID": "47\n11 " + "x" * 500, "RANK": "-1", "WORLD_SIZE": "many", "SLURM_PROCID": "²"})
    assert (found.rank, found.world_size) == (None, None)
    assert found.run_id is not None
    assert found.run_id.startswith("47_11_xx")
    assert len(found.run_id) == 120
    assert identify({"SLURM_JOB_ID": "  "}) is None


def test_every_variable_that_is_read_is_on_the_allow_list() -> None:
    """What `identify` asks for and the privileged side would not hand out could never be seen."""
    asked: set[str] = set()

    class Asked(dict[str, str]):
        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            asked.add(name)
            return default

        def __contains__(self, name: object) -> bool:
            asked.add(str(name))
            return False

    identify(Asked())
    identify(Asked(SLURM))
    assert asked <= VARIABLES
    assert {"SLURM_JOB_ID", "RANK", "PMIX_NAMESPACE", "MINDX_TASK_ID"} <= asked


@pytest.mark.parametrize(
    ("base", "generation", "shown"),
    [("", 0, "0"), ("", 2, "2"), ("1", 0, "1"), ("1s2", 0, "1s2"), ("0", 1, "0.1"), ("0s2", 1, "0s2.1")],
)
def test_attempts_have_different_names(base: str, generation: int, shown: str) -> None:
    assert attempt_name(base, generation) == shown
