"""What launchers leave behind of a rank: its environment, its control group, and the process that started it."""

from __future__ import annotations

import random
from typing import NamedTuple

# The process that starts the ranks of a node, as it stands in /proc.
LAUNCHERS = {"slurm": "slurmstepd", "torchrun": "torchrun", "mpi": "prted", "mindx": "torchrun"}
_CGROUPS = {
    "slurm": "/system.slice/slurmstepd.scope/job_{id}/step_0/user/task_{local}",
    "mindx": "/kubepods.slice/kubepods-burstable.slice/cri-containerd-{container}.scope",
}


class Place(NamedTuple):
    """A rank among the `world` of its run, and among those of its node."""

    rank: int
    world: int
    local: int
    local_world: int


def environment(
    launcher: str, run: str, place: Place, *, master: str, restarted: int, partition: str = "train"
) -> dict[str, str]:
    """The variables of one rank, of those that `runs.identity` reads."""
    rank, size, local = str(place.rank), str(place.world), str(place.local)
    torch = {
        "RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": local, "LOCAL_WORLD_SIZE": str(place.local_world),
        "MASTER_ADDR": master,
    }  # fmt: skip
    if launcher == "slurm":
        slurm = {
            "SLURM_JOB_ID": run, "SLURM_STEP_ID": "0", "SLURM_PROCID": rank, "SLURM_LOCALID": local,
            "SLURM_NTASKS": size, "SLURM_JOB_PARTITION": partition, **torch,
        }  # fmt: skip
        return {**slurm, "SLURM_RESTART_COUNT": str(restarted)} if restarted else slurm
    if launcher == "torchrun":
        return {"TORCHELASTIC_RUN_ID": run, "TORCHELASTIC_RESTART_COUNT": str(restarted), **torch}
    if launcher == "mindx":
        return {"MINDX_TASK_ID": run, "RANK_ID": rank, "RANK_SIZE": size, "DEVICE_ID": local}
    return {
        "PMIX_NAMESPACE": run, "OMPI_COMM_WORLD_RANK": rank, "OMPI_COMM_WORLD_SIZE": size,
        "OMPI_COMM_WORLD_LOCAL_RANK": local,
    }  # fmt: skip


def cgroup(launcher: str, run: str, node: str, local: int) -> str:
    """The control group of a rank, as it stands in /proc."""
    container = random.Random(f"{run}/{node}").getrandbits(256)
    return _CGROUPS.get(launcher, "/user.slice").format(id=run, local=local, container=f"{container:064x}")
