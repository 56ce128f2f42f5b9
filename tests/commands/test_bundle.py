"""`accelwatch bundle`: the evidence is whole, bounded, for its owner alone, and without anybody's secrets."""

import json
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from accelwatch import cli
from accelwatch.commands import bundle
from accelwatch.evidence import archive as archives
from accelwatch.evidence import kernel, tools
from accelwatch.evidence.archive import Archive
from accelwatch.evidence.settings import without_secrets
from accelwatch.journal.changes import Changes
from accelwatch.journal.rows import CounterRow, DeviceRow
from accelwatch.journal.store import Store
from accelwatch.readings.identity import DeviceKey, Identity, Vendor
from accelwatch.server.control import ControlListener
from journal_rows import WALL, cleared, ended, episode

BOOT = "b0b0b0b0-0000-0000-0000-000000000001"
SECRETS = (
    "s3cr3t-argument", "s3cr3t-environment", "s3cr3t-user", "s3cr3t-path", "s3cr3t-password", "s3cr3t-comment",
    "s3cr3t-tool", "s3cr3t-kmsg",
)  # fmt: skip
SMI = """#!/bin/sh
echo "called with $@" >> "{log}"
cat <<END
==============NVSMI LOG==============
GPU 00000000:3B:00.0
    Product Name                          : NVIDIA H100 80GB HBM3
    ECC Errors
        Volatile
            DRAM Uncorrectable            : 1
    Processes
        GPU instance ID                   : N/A
        Process ID                        : 4242
            Type                          : C
            Name                          : /opt/env/bin/python train.py --token=s3cr3t-tool
            Used GPU Memory               : 70000 MiB
END
"""


class NodeUnderTest:
    """A node with a journal, a kernel log, a training process that holds a device, and its vendor's tool."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.out = directory / "evidence.tar.gz"
        self.log = directory / "calls"
        self.configuration = directory / "accelwatch.yml"
        (directory / "password").write_text("s3cr3t-password")
        self.configuration.write_text(
            "# s3cr3t-comment\n"
            f"node: node7\nstate_dir: {directory / 'state'}\nlabels: {{cluster: c1}}\n"
            f"sources:\n  kernel_log: {{path: {directory / 'kmsg'}}}\n  processes: {{proc: {directory / 'proc'}}}\n"
            "alertmanager:\n  urls: ['https://am.example:9093/s3cr3t-path']\n"
            f"  basic_auth: {{username: s3cr3t-user, password_file: {directory / 'password'}}}\n"
        )
        self._proc()
        self.kmsg = directory / "kmsg"
        self.kmsg.write_text(
            "".join(
                f"{priority},{number},{number * 100_000_000},-;{text}\n"
                for number, (priority, text) in enumerate(
                    [
                        (6, "long before"), (6, "usb 1-1: new device"),
                        *[(6, f"filler {n}") for n in range(2, 20)],
                        (4, "NVRM: Xid (PCI:0000:3b:00): 48, DBE"), (12, "s3cr3t-kmsg by a user"), (6, "just after"),
                        *[(6, f"filler {n}") for n in range(23, 40)],
                    ]
                )
            )
        )  # fmt: skip
        self._store()

    def _store(self) -> None:
        gpu = Identity(key=DeviceKey(Vendor.NVIDIA, "0000:3b:00.0"), pci="0000:3b:00.0", serial="165", uuid="GPU-1")
        where = {"owner": "GPU-1", "boot_id": BOOT, "incident": "i-1"}
        store = Store(self.directory / "state")
        store.write(
            Changes(
                devices=[DeviceRow(gpu, "3", True, WALL)],
                counters=[
                    CounterRow("GPU-1", "ecc_errors", "uncorrected", 7.0, 1.0),
                    CounterRow("GPU-2", "x", "", 9.0, None),
                ],
                episodes=[
                    cleared(1, **{**where, "incident": "i-0"}),
                    episode(2, **where, kernel_seconds=2000.0, attempt="0"),
                    episode(3, **where, class_="app_device_exception", code="45", echo=True),
                    episode(4, **{**where, "incident": "i-9", "owner": "GPU-2", "device": "5"}),
                ],
                runs=[ended("r1", 30.0)],
            )
        )
        store.close()

    def _proc(self) -> None:
        proc = self.directory / "proc"
        (proc / "sys/kernel/random").mkdir(parents=True)
        (proc / "sys/kernel/random/boot_id").write_text(f"{BOOT}\n")
        (proc / "stat").write_text("cpu 0 0\nbtime 1790000000\n")
        (proc / "uptime").write_text("600.0 100.0\n")
        home = proc / "4242"
        (home / "fd").mkdir(parents=True)
        (home / "fd" / "3").symlink_to("/dev/nvidia3")
        fields = ["R", "1", "4242", "4242", *["0"] * 15, "30000", *["0"] * 20]  # 300 s after the boot
        (home / "stat").write_text(f"4242 (python) {' '.join(fields)}\n")
        (home / "status").write_text("Name:\tpython\nState:\tR (running)\nTgid:\t4242\nPid:\t4242\nPPid:\t1\n")
        (home / "cmdline").write_bytes(b"python\0train.py\0--token=s3cr3t-argument\0")
        (home / "environ").write_bytes(b"SLURM_JOB_ID=r1\0WANDB_API_KEY=s3cr3t-environment\0")
        (home / "comm").write_text("python\n")
        (home / "cgroup").write_text("0::/\n")

    def tool(self, text: str = SMI) -> None:
        """An nvidia-smi on the node."""
        path = self.directory / "bin" / "nvidia-smi"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace("{log}", str(self.log)))
        path.chmod(0o755)

    def bundle(self, number: int = 2, status: int = 0) -> "Content":
        line = ["--config", str(self.configuration), "bundle", str(number), "--out", str(self.out)]
        assert cli.main(line) == status
        return Content(self.out)


class Content:
    """What is in the file."""

    def __init__(self, path: Path) -> None:
        self.files: dict[str, bytes] = {}
        if path.exists():
            with tarfile.open(path) as tar:
                for member in tar.getmembers():
                    data = tar.extractfile(member)
                    assert data is not None
                    self.files[member.name.partition("/")[2]] = data.read()

    def json(self, name: str) -> Any:
        return json.loads(self.files[name])

    @property
    def missing(self) -> dict[str, str]:
        return {entry["what"]: entry["why"] for entry in self.json("MANIFEST.json")["missing"]}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NodeUnderTest]:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("ACCELWATCH_TEST_TOKEN", "s3cr3t-environment")
    monkeypatch.setattr(tools, "NVIDIA_INSTALLED", ())
    return NodeUnderTest(tmp_path)


def test_without_an_agent_and_a_tool_the_journal_and_the_kernel_log_are_there(node: NodeUnderTest) -> None:
    """And what is not there is said with its reason."""
    content = node.bundle()
    assert content.json("journal/fault.json")["code"] == "48"
    assert [e["id"] for e in content.json("journal/incident.json")] == [3]
    assert [e["id"] for e in content.json("journal/earlier.json")] == [1]
    assert content.json("journal/run.json")["outcome"] == "failed"
    assert content.json("journal/device.json")["identity"]["serial"] == "165"
    assert [c["total"] for c in content.json("journal/counters.json")] == [7.0]
    assert content.json("processes.json") == [
        {"pid": 4242, "name": "python", "state": "running", "started": "2026-09-21T14:18:20Z", "devices": ["nvidia3"]}
    ]
    assert set(content.missing) == {"agent/metrics.txt", "agent/check.json", "nvidia-smi"}
    assert "no agent answers" in content.missing["agent/metrics.txt"]
    assert "is not on PATH" in content.missing["nvidia-smi"]


def test_the_kernel_log_is_cut_around_the_fault(node: NodeUnderTest) -> None:
    """15 minutes before until 5 minutes after, of the kernel's own records."""
    lines = node.bundle().files["kernel.log"].decode().splitlines()
    assert (lines[0], lines[-1]) == ("<6>[ 1100.000000] filler 11", "<6>[ 2300.000000] filler 23")
    assert "<4>[ 2000.000000] NVRM: Xid (PCI:0000:3b:00): 48, DBE" in lines


def test_a_kernel_log_that_cannot_serve_is_said(node: NodeUnderTest) -> None:
    """Of another boot, a FIFO that the agent reads, or absent."""
    (node.directory / "proc/sys/kernel/random/boot_id").write_text("other\n")
    assert f"journalctl -k -b {BOOT.replace('-', '')}" in node.bundle().missing["kernel log"]
    (node.directory / "proc/sys/kernel/random/boot_id").write_text(BOOT)
    node.out.unlink()
    node.kmsg.unlink()
    assert "cannot be opened" in node.bundle().missing["kernel log"]
    node.out.unlink()
    os.mkfifo(node.kmsg)
    assert "FIFO" in node.bundle().missing["kernel log"]


def test_the_running_agents_page_and_state_are_in_it(node: NodeUnderTest) -> None:
    """Counters as they stand now."""

    def answer(line: bytes) -> bytes:
        command = json.loads(line)["command"]
        return json.dumps({"text": "x 1\n"} if command == "metrics" else {"report": {"node": "node7"}}).encode()

    listener = ControlListener(node.directory / "state" / "control.sock", answer)
    listener.start()
    try:
        content = node.bundle()
    finally:
        listener.close()
    assert content.files["agent/metrics.txt"] == b"x 1\n"
    assert content.json("agent/check.json") == {"node": "node7"}


def test_the_vendors_tool_is_asked_of_the_device(node: NodeUnderTest) -> None:
    """By its address, which stays right when NVML renumbers."""
    node.tool()
    content = node.bundle()
    assert node.log.read_text().splitlines()[0] == "called with -q -i 0000:3b:00.0"
    dump = content.files["tools/nvidia-smi-q.txt"].decode()
    assert "DRAM Uncorrectable            : 1" in dump
    assert "NVIDIA H100 80GB HBM3" in dump
    assert "Name                          : python\n" in dump


def test_a_tool_that_hangs_is_killed_and_said(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is there."""
    monkeypatch.setattr(tools, "CALL_SECONDS", 0.2)
    node.tool("#!/bin/sh\nexec sleep 60\n")
    content = node.bundle()
    assert "no end within 0.2 s" in content.missing["nvidia-smi -q -i 0000:3b:00.0"]
    assert "journal/fault.json" in content.files
    monkeypatch.setattr(bundle, "WHOLE_SECONDS", 0.0)
    node.out.unlink()
    assert node.bundle().missing["nvidia-smi -q -i 0000:3b:00.0"] == "no time was left"


def test_no_secret_gets_in(node: NodeUnderTest) -> None:
    """No argument, no environment, no password, no user's line; the keys of the configuration stay."""
    node.tool()
    content = node.bundle()
    whole = b"\n".join(content.files.values()).decode()
    assert [secret for secret in SECRETS if secret in whole] == []
    assert "train.py" not in whole
    assert "WANDB" not in whole
    assert "https://am.example:9093/(left out)" in content.files["configuration.yml"].decode()
    assert "username: (left out)" in content.files["configuration.yml"].decode()


def test_keys_of_a_later_version_are_covered_too() -> None:
    """By their names; the path of a secret's file is none."""
    from accelwatch.config import parse

    text = without_secrets(
        parse("alertmanager: {urls: ['http://am:9093']}\nlabels: {cluster: c, api_token: abc, rack: r1}\n", "x")
    )
    assert "api_token: (left out)" in text
    assert "rack: r1" in text
    assert "http://am:9093\n" in text


def test_only_its_owner_may_read_it_and_the_manifest_lists_all(node: NodeUnderTest) -> None:
    """Also under a careless umask."""
    before = os.umask(0)
    try:
        content = node.bundle()
    finally:
        os.umask(before)
    assert stat.S_IMODE(node.out.stat().st_mode) == 0o600
    manifest = content.json("MANIFEST.json")
    assert {f["name"]: f["bytes"] for f in manifest["files"]} == {
        name: len(data) for name, data in content.files.items() if name != "MANIFEST.json"
    }
    assert (manifest["schema"], manifest["fault"], manifest["node"], manifest["boot_id"]) == (1, 2, "node7", BOOT)
    assert [p.name for p in node.directory.iterdir() if p.name.startswith(".evidence")] == []


def test_nothing_is_overwritten_and_no_such_fault_is_said(
    node: NodeUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the ids that there are."""
    node.bundle(77, status=3)
    assert "no fault with id 77" in (said := capsys.readouterr().err)
    assert "4, 3, 2, 1" in said
    assert not node.out.exists()
    node.out.write_text("of another time")
    line = ["--config", str(node.configuration), "bundle", "2", "--out", str(node.out)]
    assert cli.main(line) == 3
    assert "is there already" in capsys.readouterr().err
    assert node.out.read_text() == "of another time"
    assert cli.main([*line[:-1], str(node.directory / "no" / "such.tar.gz")]) == 3
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_it_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part and the whole; what was cut off is in the manifest."""
    monkeypatch.setattr(archives, "LIMIT_BYTES", archives._MANIFEST_BYTES + 1500)
    with Archive(tmp_path / "a.tar.gz", "a", WALL) as archive:
        archive.add("one", b"x" * 5000, "here", limit=1000)
        archive.add("two", b"y" * 5000, "here")
        archive.add("three", b"z", "here")
        archive.finish({})
    content = Content(tmp_path / "a.tar.gz")
    assert [len(content.files[name]) for name in ("one", "two", "three")] == [1000, 500, 0]
    assert [f["cut_off_bytes"] for f in content.json("MANIFEST.json")["files"]] == [4000, 4500, 1]


def test_a_large_kernel_log_is_read_from_its_last_part(node: NodeUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so where the fault is older than that."""
    monkeypatch.setattr(kernel, "READ_LIMIT_BYTES", 200)
    assert "younger than the fault" in node.bundle().missing["kernel log"]


def test_an_npu_is_asked_by_its_numbers() -> None:
    """Card, chip and port have their own; nothing that prints processes."""
    identity = Identity(key=DeviceKey(Vendor.ASCEND, "npu2/chip0"), npu_id=2, chip_id=0, phy_id=5)
    fault = episode(1, vendor="ascend", device="5", code="80E01801")
    lines = [" ".join((call.tool, *call.arguments)) for call in tools.calls(fault, identity)]
    assert "npu-smi info -t ecc -i 2" in lines
    assert "hccn_tool -i 5 -link_stat -g" in lines
    assert not any(line in ("npu-smi info", "npu-smi info -t proc-mem -i 2") for line in lines)
