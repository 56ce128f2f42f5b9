"""accelwatch: watches NVIDIA GPUs and Huawei Ascend NPUs, and says which device ended which training run."""

__version__ = "0.1.0"
