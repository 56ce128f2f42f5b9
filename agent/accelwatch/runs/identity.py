"""Which run a process belongs to, by the variables that schedulers and launchers leave in its environment.

The variables and where they are described: `runs.variables`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from accelwatch.readings.process import RunIdentity
from accelwatch.runs.variables import MPI

Environment = Mapping[str, str]

# A label of a metric: what is longer is no name that a scheduler gives.
_LONGEST = 120
_UNPRINTABLE = re.compile(r"[^\x21-\x7e]+")
# Steps that Slurm itself numbers: the batch script, the extern step, an interactive one (slurm.h, SLURM_BATCH_SCRIPT).
_FIRST_RESERVED_STEP = 0xFFFFFFF0
# Who counts ranks, in order: the innermost launcher first, since srun may start one torchrun per node.
_RANKS = (
    ("RANK", "LOCAL_RANK", ("WORLD_SIZE",)),
    ("RANK_ID", "DEVICE_ID", ("RANK_SIZE",)),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", ("OMPI_COMM_WORLD_SIZE",)),
    ("PMI_RANK", "MPI_LOCALRANKID", ("PMI_SIZE",)),
    ("SLURM_PROCID", "SLURM_LOCALID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")),
    ("PMIX_RANK", "MPI_LOCALRANKID", ()),
    ("JOB_COMPLETION_INDEX", "", ()),
    ("VC_TASK_INDEX", "", ()),
)  # fmt: skip
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES")
_HERE = frozenset(("localhost", "127.0.0.1", "::1", "0.0.0.0"))  # noqa: S104


def identify(environment: Environment) -> RunIdentity | None:
    """The identity that the variables tell; `None` when they tell nothing. Pure; odd values count as absent.

    The scheduler's word comes before the launcher's: a run restarted by torchrun inside a Slurm job is that job.
    """
    rank, local, size = _place(environment)
    launcher, named = _named(environment)
    if not launcher and rank is None and size is None:
        return None
    return RunIdentity(
        run_id=named[0],
        base=named[1],
        restarts=_number(environment, "TORCHELASTIC_RESTART_COUNT") or 0,
        launcher=launcher,
        partition=_word(environment, "SLURM_JOB_PARTITION") or "",
        rank=rank,
        local_rank=local,
        world_size=size,
        visible_devices=_visible(environment),
    )


def attempt_name(base: str, generation: int) -> str:
    """The attempt as it is shown: "0", "1"; in Slurm the job's restart count first: "1", "1s2" (step 2), "1.3"."""
    if not base:
        return str(generation)
    return base if generation == 0 else f"{base}.{generation}"


# --- one function per launcher: run id and base of the attempt; `None`: not this one

_Named = tuple[str | None, str]


def _slurm(environment: Environment) -> _Named | None:
    job = _word(environment, "SLURM_JOB_ID")
    if job is None:
        return None
    array, task = _word(environment, "SLURM_ARRAY_JOB_ID"), _word(environment, "SLURM_ARRAY_TASK_ID")
    if array is not None and task is not None:
        job = f"{array}_{task}"
    base = str(_number(environment, "SLURM_RESTART_COUNT") or 0)
    step = _number(environment, "SLURM_STEP_ID")
    # Step 0 is what `srun` in a batch script gives, and what a script without srun stands for.
    return job, base if not step or step >= _FIRST_RESERVED_STEP else f"{base}s{step}"


def _mindx(environment: Environment) -> _Named | None:
    task = _word(environment, "MINDX_TASK_ID")
    return None if task is None else (task, "")


def _volcano(environment: Environment) -> _Named | None:
    """Volcano names pods `<job>-<task>-<index>`; VC_TASK_INDEX alone does not tell which job."""
    if "VC_TASK_INDEX" not in environment:
        return None
    pod, index = _word(environment, "POD_NAME"), _word(environment, "VC_TASK_INDEX")
    name = _word(environment, "VC_JOB_NAME")
    if name is None and pod is not None and index is not None and pod.endswith(f"-{index}"):
        name = pod.removesuffix(f"-{index}").rpartition("-")[0] or None
    return (None if name is None else _in_namespace(environment, name)), ""


def _kubernetes(environment: Environment) -> _Named | None:
    """An indexed Job names its pods `<job>-<index>-<random>`."""
    index = _word(environment, "JOB_COMPLETION_INDEX")
    if index is None:
        return None
    name, pod = _word(environment, "JOB_NAME"), _word(environment, "POD_NAME")
    if name is None and pod is not None:
        found = re.match(rf"(.+)-{re.escape(index)}(?:-[a-z0-9]+)?$", pod)
        name = found[1] if found else None
    return (None if name is None else _in_namespace(environment, name)), ""


def _torchrun(environment: Environment) -> _Named | None:
    if not any(name in environment for name in ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "PET_RDZV_ID")):
        return None
    for name in ("TORCHELASTIC_RUN_ID", "PET_RDZV_ID"):
        word = _word(environment, name)
        if word is not None and word != "none":  # torchrun's own word for "not given"
            return word, ""
    return _rendezvous(environment), ""


def _mpi(environment: Environment) -> _Named | None:
    if not any(name in environment for name in MPI):
        return None
    for name in ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid", "PMI_JOBID"):
        word = _word(environment, name)
        if word is not None:
            return word, ""
    return None, ""


def _bare(environment: Environment) -> _Named | None:
    """Started by hand on each node, with the variables of torch's `env://`."""
    return (_rendezvous(environment), "") if "RANK" in environment and "MASTER_ADDR" in environment else None


def _rendezvous(environment: Environment) -> str | None:
    """Where the ranks meet: the same on all nodes. On one node it tells nothing that the process group does not."""
    address, port = _word(environment, "MASTER_ADDR"), _word(environment, "MASTER_PORT")
    size, here = _number(environment, "WORLD_SIZE"), _number(environment, "LOCAL_WORLD_SIZE")
    if address is None or address in _HERE or size is None or (here is not None and size <= here):
        return None
    return f"{address}:{port}" if port else address


LAUNCHERS: tuple[tuple[str, Callable[[Environment], _Named | None]], ...] = (
    ("slurm", _slurm), ("mindx", _mindx), ("volcano", _volcano), ("kubernetes", _kubernetes), ("torchrun", _torchrun),
    ("mpi", _mpi), ("torch", _bare),
)  # fmt: skip


def _named(environment: Environment) -> tuple[str, _Named]:
    for launcher, name in LAUNCHERS:
        named = name(environment)
        if named is not None:
            return launcher, named
    return "", (None, "")


def _in_namespace(environment: Environment, name: str) -> str:
    space = _word(environment, "POD_NAMESPACE")
    return name if space is None else f"{space}/{name}"


def _place(environment: Environment) -> tuple[int | None, int | None, int | None]:
    for rank, local, sizes in _RANKS:
        number = _number(environment, rank)
        if number is not None:
            size = next((n for n in (_number(environment, name) for name in sizes) if n), None)
            return number, _number(environment, local), size
    return None, None, _number(environment, "WORLD_SIZE") or None


def _visible(environment: Environment) -> tuple[str, ...] | None:
    for name in _VISIBLE:
        word = _word(environment, name)
        if word is not None and word not in ("all", "void", "none", "NoDevFiles"):
            return tuple(part for part in word.split(",") if part)
    return None


def _word(environment: Environment, name: str) -> str | None:
    """The value as it may stand in a label: printable, bounded; `None` when it is empty or missing."""
    value = _UNPRINTABLE.sub("_", environment.get(name, "").strip())[:_LONGEST]
    return value or None


def _number(environment: Environment, name: str) -> int | None:
    value = environment.get(name, "").strip()
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= 10 else None
