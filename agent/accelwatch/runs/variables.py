"""The variables of a training process that tell its run, rank and devices: no other ever leaves the privileged side.

Sources: sbatch(1) and srun(1) "OUTPUT ENVIRONMENT VARIABLES"; torch.distributed.run, "Environment Variables"; Open MPI
`ompi_info` and PMIx; MindCluster's training variables; Kubernetes "Indexed Job"; Volcano's env plugin.

Imports nothing: the root helper has it too.
"""

_SLURM = (
    "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS",
    "SLURM_STEP_NUM_TASKS", "SLURM_JOB_PARTITION", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID",
)  # fmt: skip
_TORCH = (
    "RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT", "PET_RDZV_ID",
)  # fmt: skip
MPI = (
    "PMIX_NAMESPACE", "PMIX_RANK", "PMI_JOBID", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_MCA_ess_base_jobid",
)  # fmt: skip
_ASCEND = (
    "RANK_ID", "RANK_SIZE", "DEVICE_ID", "ASCEND_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES", "HCCL_EXEC_TIMEOUT",
    "HCCL_CONNECT_TIMEOUT", "MINDX_TASK_ID",
)  # fmt: skip
_KUBERNETES = (
    "JOB_NAME", "JOB_COMPLETION_INDEX", "POD_NAME", "POD_NAMESPACE", "VC_TASK_INDEX", "VC_JOB_NAME",
)  # fmt: skip
_NVIDIA = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
VARIABLES = frozenset((*_SLURM, *_TORCH, *MPI, *_ASCEND, *_KUBERNETES, *_NVIDIA))
