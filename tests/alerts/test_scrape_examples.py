"""The scrape examples: accepted by promtool, and targets that carry node, cluster and rack."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

SCRAPE = Path(__file__).resolve().parents[2] / "alerts" / "scrape"
EXAMPLES = sorted(SCRAPE.glob("prometheus-*.yml"))
SCRIPT = SCRAPE / "slurm_targets.py"
CLUSTER = "training-1"

# In the form of `scontrol show nodes` of Slurm 23.11.
NODES = """\
NodeName=gpu-001 Arch=x86_64 CoresPerSocket=56
   CPUAlloc=224 CPUEfctv=224 CPUTot=224 CPULoad=17.20
   AvailableFeatures=h100 ActiveFeatures=h100
   Gres=gpu:h100:8(S:0-1)
   NodeAddr=gpu-001 NodeHostName=gpu-001 Version=23.11.4
   OS=Linux 5.15.0-105-generic #115-Ubuntu SMP Mon Apr 15 09:52:04 UTC 2024
   RealMemory=2000000 AllocMem=0 FreeMem=1934000 Sockets=2 Boards=1
   State=ALLOCATED ThreadsPerCore=2 TmpDisk=0 Weight=1 Owner=N/A MCS_label=N/A
   Partitions=train
   CfgTRES=cpu=224,mem=2000000M,billing=224,gres/gpu=8

NodeName=gpu-002 Arch=x86_64 CoresPerSocket=56
   Gres=gpu:h100:8(S:0-1)
   NodeAddr=10.7.3.4 NodeHostName=gpu-002 Version=23.11.4
   State=DOWN*+DRAIN+NOT_RESPONDING ThreadsPerCore=2
   Reason=Not responding #3 [slurm@2026-03-08T03:12:04]

NodeName=npu-001 Arch=aarch64 CoresPerSocket=48
   Gres=npu:ascend910b:8
   NodeAddr=fd00::17 NodeHostName=npu-001 Version=23.11.4
   State=IDLE+DRAIN ThreadsPerCore=1

NodeName=cpu-001 Arch=x86_64 CoresPerSocket=64
   Gres=(null)
   NodeAddr=cpu-001 NodeHostName=cpu-001 Version=23.11.4
   State=IDLE ThreadsPerCore=2

NodeName=gpu-900 CoresPerSocket=56
   Gres=gpu:h100:8
   NodeAddr=gpu-900 NodeHostName=gpu-900
   State=IDLE+CLOUD+POWERED_DOWN ThreadsPerCore=2
"""
TOPOLOGY = """\
# racks
SwitchName=r12 Nodes=gpu-[001-002],cpu-001  # row 3
SwitchName=r13 LinkSpeed=100 \\
   Nodes=npu-[001-016]
SwitchName=spine Switches=r[12-13]
"""
EXPECTED = [
    {"targets": ["gpu-001:9817"], "labels": {"cluster": CLUSTER, "node": "gpu-001", "rack": "r12"}},
    {"targets": ["10.7.3.4:9817"], "labels": {"cluster": CLUSTER, "node": "gpu-002", "rack": "r12"}},
    {"targets": ["[fd00::17]:9817"], "labels": {"cluster": CLUSTER, "node": "npu-001", "rack": "r13"}},
]


def _loaded() -> ModuleType:
    specification = importlib.util.spec_from_file_location("slurm_targets", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


slurm = _loaded()


def targets(nodes: str = NODES, topology: str = TOPOLOGY, **more: Any) -> list[dict[str, Any]]:
    settings = {"cluster": CLUSTER, "port": 9817, "gres": r"\b(gpu|npu)\b", "domain": ""} | more
    found: list[dict[str, Any]] = slurm.targets(nodes, topology, **settings)
    return found


def names(nodes: str, **more: Any) -> list[str]:
    return [group["labels"]["node"] for group in targets(nodes, **more)]


def run(directory: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({} if path is None else {"PATH": path})
    return subprocess.run(
        [sys.executable, str(SCRIPT), "--cluster", CLUSTER, "--out", str(directory / "slurm.json"), *arguments],
        capture_output=True, text=True, env=environment, cwd=directory,
    )  # fmt: skip


def a_scontrol(directory: Path, status: int = 0) -> str:
    """A command of that name which answers as Slurm's; returns the PATH with it."""
    (directory / "nodes").write_text(NODES)
    (directory / "topology").write_text(TOPOLOGY)
    script = directory / "bin" / "scontrol"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho slurm_load_node error >&2\n[ {status} = 0 ] && cat "{directory}/$2"\nexit {status}\n'
    )
    script.chmod(0o755)
    return f"{script.parent}:/usr/bin:/bin"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_promtool_accepts_the_examples_with_their_files(path: Path, tmp_path: Path) -> None:
    shutil.copy(path, tmp_path)
    shutil.copytree(SCRAPE.parent / "rules", tmp_path / "accelwatch")
    (tmp_path / "targets").mkdir()
    shutil.copy(SCRAPE / "targets.example.yml", tmp_path / "targets" / "nodes.yml")
    slurm.write(tmp_path / "targets" / "slurm.json", targets())
    done = subprocess.run(["promtool", "check", "config", str(tmp_path / path.name)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout


def test_there_is_one_for_each_way_of_discovery_and_all_scrape_alike() -> None:
    jobs = {path.stem: yaml.safe_load(path.read_text())["scrape_configs"] for path in EXAMPLES}
    assert set(jobs) == {"prometheus-file", "prometheus-http", "prometheus-slurm"}
    for name, (job,) in jobs.items():
        ways = [key for key in job if key.endswith("_sd_configs")]
        assert ways == ["http_sd_configs" if name == "prometheus-http" else "file_sd_configs"]
        assert job["job_name"] == "accelwatch"
        assert job.get("honor_labels", False) is False, "labels of the target win over those of the page"
        assert job["relabel_configs"] == jobs["prometheus-file"][0]["relabel_configs"]


def test_nodes_with_accelerators_and_their_leaf_switch() -> None:
    assert targets() == EXPECTED


def test_a_record_may_stand_on_one_line() -> None:
    lines = "\n".join(" ".join(line.strip() for line in one.splitlines()) for one in NODES.split("\n\n"))
    assert targets(lines) == EXPECTED


def test_output_of_sinfo_does_as_well() -> None:
    """One line per node and partition; states in small letters with marks."""
    text = (
        "NodeName=gpu-001 State=allocated Gres=gpu:h100:8\nNodeName=gpu-001 State=allocated Gres=gpu:h100:8\n"
        "NodeName=gpu-002 State=down* Gres=gpu:h100:8\nNodeName=gpu-003 State=idle~ Gres=gpu:h100:8\n"
        "NodeName=cpu-001 State=idle Gres=(null)\n"
    )
    assert names(text) == ["gpu-001", "gpu-002"]


@pytest.mark.parametrize(
    ("state", "there"),
    [("IDLE", True), ("MIXED+DRAIN", True), ("DOWN*", True), ("DOWN+NOT_RESPONDING", True), ("ALLOCATED+CLOUD", True),
     ("MAINT", True), ("FUTURE", False), ("IDLE+POWERED_DOWN", False), ("IDLE+CLOUD+POWERING_DOWN", False),
     ("idle#", False), ("down~", False)],
)  # fmt: skip
def test_what_is_down_is_watched_and_what_is_switched_off_is_not(state: str, there: bool) -> None:
    text = f"NodeName=gpu-1 Gres=gpu:8 State=IDLE\nNodeName=gpu-2 Gres=gpu:8 State={state}\n"
    assert ("gpu-2" in names(text)) is there


def test_leaf_switches_of_scontrol_whose_upper_ones_list_the_nodes_too() -> None:
    text = (
        "SwitchName=spine Level=1 LinkSpeed=1 Nodes=gpu-[001-004] Switches=leaf[1-2]\n"
        "SwitchName=leaf1 Level=0 LinkSpeed=1 Nodes=gpu-[001-002]\nSwitchName=leaf2 Level=0 LinkSpeed=1 Nodes=gpu-[003-004]\n"
    )
    assert slurm.racks(text) == {"gpu-001": "leaf1", "gpu-002": "leaf1", "gpu-003": "leaf2", "gpu-004": "leaf2"}


def test_a_block_is_a_rack_where_there_is_no_switch() -> None:
    assert slurm.racks("BlockName=b1 BlockIndex=0 Nodes=gpu-[1-2] BlockSize=2\n") == {"gpu-1": "b1", "gpu-2": "b1"}


def test_a_node_outside_the_topology_has_no_rack_rather_than_a_made_up_one() -> None:
    assert [group["labels"].get("rack") for group in targets(topology="SwitchName=r12 Nodes=gpu-001")] == [
        "r12",
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("gpu1", ["gpu1"]),
        ("gpu[1-3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[008-010,020],login1", ["gpu008", "gpu009", "gpu010", "gpu020", "login1"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
        ("a[1,3]-ib,b", ["a1-ib", "a3-ib", "b"]),
        ("", []),
    ],
)
def test_host_lists(text: str, hosts: list[str]) -> None:
    assert slurm.expand(text) == hosts


@pytest.mark.parametrize("text", ["gpu[1-x]", "gpu[3-1]", "gpu[]"])
def test_a_host_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(slurm.TargetsError, match="is no host list"):
        slurm.expand(text)


def test_a_domain_is_put_behind_names_not_behind_addresses() -> None:
    found = [group["targets"][0] for group in targets(domain=".example.org", port=1234)]
    assert found == ["gpu-001.example.org:1234", "10.7.3.4:1234", "[fd00::17]:1234"]


def test_the_script_asks_scontrol_and_prometheus_can_read_what_it_writes(tmp_path: Path) -> None:
    done = run(tmp_path, path=a_scontrol(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/slurm.json: 3 nodes\n"
    assert json.loads((tmp_path / "slurm.json").read_text()) == EXPECTED
    assert (tmp_path / "slurm.json").stat().st_mode & 0o777 == 0o644
    assert not list(tmp_path.glob("*.new"))


def test_what_has_not_changed_is_not_written_again(tmp_path: Path) -> None:
    path = a_scontrol(tmp_path)
    run(tmp_path, path=path)
    before = (tmp_path / "slurm.json").stat()
    assert run(tmp_path, path=path).returncode == 0
    assert (tmp_path / "slurm.json").stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 1, "`scontrol show nodes --oneliner` failed (1): slurm_load_node error"),
        (["--nodes", "/dev/null"], 0, "of 0 nodes none is switched on"),
        (["--gres", "tpu"], 0, "of 5 nodes none is switched on and has a Gres like `tpu`"),
        (["--nodes", "absent"], 0, "No such file or directory: 'absent'"),
    ],
    ids=["scontrol fails", "nothing", "no such Gres", "no such file"],
)
def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path, arguments: list[str], status: int, says: str) -> None:
    """An empty one would take every node out of monitoring and resolve its alerts."""
    (tmp_path / "slurm.json").write_text("before")
    done = run(tmp_path, *arguments, path=a_scontrol(tmp_path, status))
    assert done.returncode == 1
    assert says in done.stderr
    assert "is left as it was" in done.stderr
    assert (tmp_path / "slurm.json").read_text() == "before"


def test_without_slurm_it_says_where_to_run_it(tmp_path: Path) -> None:
    done = run(tmp_path, path=str(tmp_path))
    assert done.returncode == 1
    assert "scontrol is not here" in done.stderr
