"""Of paths in log lines only the last name is told, and nothing else is taken for a path."""

import pytest

from accelwatch.logs.private import without_directories


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("pid=20002, name=/home/ada/bin/python3, an error", "pid=20002, name=python3, an error"),
        ("cannot open /home/ada/run/: no space", "cannot open …: no space"),
        ("~/x/train.py and ~ada/p/q.py", "train.py and q.py"),
        ("src/model/net.cc:12", "net.cc:12"),
        ("../conf/site/x.yml", "x.yml"),
        ("10.1.2.3:/export/home/ada not responding", "10.1.2.3:ada not responding"),
        ("[/pytorch/torch/csrc/ProcessGroupNCCL.cpp:616]", "[ProcessGroupNCCL.cpp:616]"),
    ],
)
def test_a_path_is_its_last_name(line: str, told: str) -> None:
    assert without_directories(line) == told


@pytest.mark.parametrize(
    "line",
    [
        "/dev/nvidia0 /dev/infiniband/uverbs0 /proc/driver/nvidia/version /sys/class/infiniband",
        "INFO: task kworker/u64:3:4243 blocked",
        "http://host.example/a/b",
        "2026/11/27 12:00:00, rank 3/8, 12/34/56",
        "NVRM: Xid (PCI:0000:18:00): 79, GPU has fallen off the bus.",
        "[ascend] [drv_pcie] DMA copy failed (device=1; ret=110)",
    ],
)
def test_what_is_no_path_stays(line: str) -> None:
    assert without_directories(line) == line
