"""Lines of the kernel log in the forms of every driver and kernel, and what only looks like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelwatch.logs.kernel import KernelReader
from accelwatch.readings.log_event import LogEvent
from accelwatch.readings.severity import Severity


def read(*lines: str) -> list[LogEvent]:
    """The events of messages without prefixes."""
    reader = KernelReader()
    events = [event for line in lines for event in reader.feed(line)]
    return events + reader.flush()


def one(*lines: str) -> LogEvent:
    """The only event."""
    (event,) = read(*lines)
    return event


def kinds(*lines: str) -> list[str]:
    """The kinds of the events."""
    return [event.kind for event in read(*lines)]


@pytest.mark.parametrize(
    ("line", "pci", "code", "pid", "process"),
    [
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", "0000:03:00", "14", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 31, Ch 0000001e, engmask 00000101", "0000:03:00", "31", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 31, pid=1234, Ch 00000008, intr 1", "0000:03:00", "31", 1234, None),
        ("NVRM: Xid (PCI:0000:03:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off", "0000:03:00", "79", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 79, pid=<unknown>, name=<unknown>, x", "0000:03:00", "79", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 13, pid='', name=, Graphics Exception", "0000:03:00", "13", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 79, GPU has fallen off the bus.", "0000:03:00", "79", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 79, pid=0, GPU has fallen off the bus.", "0000:03:00", "79", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 43, pid='77', name=a", "0000:03:00", "43", 77, "a"),
        ("NVRM: Xid (PCI:0000:03:00): 38, pid=1659,", "0000:03:00", "38", 1659, None),
        ("NVRM: Xid (PCI:0000:03:00): 62,", "0000:03:00", "62", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 62", "0000:03:00", "62", None, None),
        ("NVRM: Xid (PCI:0000:03:00): 109, pid=9,   name=RenderThread, channel 0xd", "0000:03:00", "109", 9, "RenderThread"),
        ("NVRM: Xid (PCI:0000:03:00): 79, pid=9, name=nvc:[driver], x", "0000:03:00", "79", 9, "nvc:[driver]"),
        ("NVRM: Xid (PCI:0000:03:00): 45, pid=9, name=ray::Worker.run, Ch 1", "0000:03:00", "45", 9, "ray::Worker.run"),
        ("NVRM: Xid (PCI:0000:03:00): 45, pid=9, name=Web Content, Ch 1", "0000:03:00", "45", 9, "Web Content"),
        ("NVRM: Xid (PCI:0000:03:00 GPU-I:05 GPU-CI:00): 94, pid=7, Contained: CE", "0000:03:00", "94", 7, None),
        ("NVRM: Xid (PCI:0000:00:1e.0): 79, pid=8, name=python3", "0000:00:1e", "79", 8, "python3"),
        ("NVRM: Xid (PCI:0009:01:00): 31, x", "0009:01:00", "31", None, None),
        ("NVRM: Xid (PCI:10000:CB:00): 31, x", "10000:cb:00", "31", None, None),
        ("GPU Xid errors detected: [ 1.2] NVRM: Xid (PCI:0002:00:00): 119, pid=6, name=nvidia-smi, x", "0002:00:00", "119", 6, "nvidia-smi"),
    ],
)  # fmt: skip
def test_xid_of_every_driver(line: str, pci: str, code: str, pid: int | None, process: str | None) -> None:
    """Address, number, process."""
    event = one(line)
    assert (event.kind, event.vendor) == ("xid", "nvidia")
    assert (event.pci, event.code, event.pid, event.process) == (pci, code, pid, process)
    assert event.text == line[line.index("NVRM") :]


@pytest.mark.parametrize(
    "line",
    [
        "r8169 0000:03:00.0 eth0: RTL8125B, 58:47:ca:7b:55:71, XID 641, IRQ 51",
        "NVRM: Xid PCI:0000:01:00: 43, pid=1814139, name=cuda_assert_64b, Ch 00000018",
        "NVRM: Xid (PCI:xxxx:xx:00): 79, GPU has fallen off the bus",
        "the manual says that NVRM: Xid (PCI:0000:83:00): 48' is a double bit error",
        "NVRM: Xid 79 means that the GPU is gone",
        "we saw Xid 79 on this node twice",
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  535.161.07",
        "NVRM: A GPU crash dump has been created. If possible, please run",
        "NVRM: GPU4 RPC history (CPU -> GSP):",
        "nvidia-nvswitch2: SXid (PCI:0000:07:00.0): 20034, Severity 1 Engine instance 60 Sub-engine instance 00",
        "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Data {0x10000000, 0x10000000, 0x00000000}",
        "nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): garbled, Fatal",
        "bumblebeed[1734]: [91063.874832] [ERROR][XORG] (EE) NVIDIA(GPU-0): Failed to initialize",
        "EDAC MC0: Giving out device to module skx_edac controller",
        "EXT4-fs (sda1): mounted filesystem with ordered data mode",
        "I/O error, dev fd0, sector 0",
        "e1000e 0000:00:1f.6 eno1: NIC Link is Down",
        "[ascend] [drv_pcie] [INFO] [devdrv_init_dev_num 2248] Findout device. (index=7; device=d105)",
        "NVRM: The NVIDIA GPU 0000:03:00.0 (PCI ID: 10de:0000)\nNVRM: installed in this system is not supported by open",
    ],
)
def test_decoys_give_nothing(line: str) -> None:
    """They only look like faults."""
    assert read(line) == []


def test_xid_154_gives_the_code_of_its_action() -> None:
    """The words beside it differ by release."""
    line = "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x{} ({})"
    assert [one(line.format(*words)).action for words in (("2", "Node Reboot Required"), ("a", "?"))] == [2, 10]


@pytest.mark.parametrize(
    ("word", "severity"), [("Fatal", Severity.RUN_ENDING), ("Nonfatal", Severity.DEGRADING), ("", None)]
)
def test_nvlink5_lines_say_whether_they_are_fatal(word: str, severity: Severity | None) -> None:
    """With runs of blanks, and a link of -1 for none."""
    line = f"NVRM: Xid (PCI:0009:01:00): 149, NETIR_LINK_EVT  {word}   XC0 i0 Link %s (0x021425c6 0x00000000)"
    assert (one(line % "07").severity, one(line % "07").link) == (severity, "nvlink7")
    assert one(line % "-1").link is None


def test_other_xids_are_not_judged_by_a_word_in_their_text() -> None:
    """`fatal error` is what every Xid 74 says."""
    event = one("NVRM: Xid (PCI:0003:00:00): 74, NVLink: fatal error detected on link 14(0x0, 0x0)")
    assert (event.severity, event.link) == (None, "nvlink14")


def test_a_teardown_names_its_cause() -> None:
    """Drivers from 575 on."""
    event = one("NVRM: Xid (PCI:0000:dc:00): 45, pid=18, name=python3, Ch 00000001 caused by previous Xid 149")
    assert event.caused_by == "149"


@pytest.mark.parametrize("serial", ["", " 0", " 1653723052734", " 17946256XXXXX"])
def test_identity_is_remembered_per_gpu(serial: str) -> None:
    """Other lines may stand between; an empty, zero or blackened serial number is none."""
    uuid = "GPU-b6c3b2be-c55b-d076-fa0e-d464e4c7e08b"
    event = one(
        f"NVRM: GPU at PCI:0000:91:00: {uuid}",
        "eth0: something else",
        f"NVRM: GPU Board Serial Number:{serial}",
        "NVRM: Xid (PCI:0000:91:00): 79, GPU has fallen off the bus.",
    )
    assert (event.uuid, event.serial) == (uuid, "1653723052734" if serial == " 1653723052734" else None)
    assert read("NVRM: Xid (PCI:0000:92:00): 79, x")[0].uuid is None


def test_identity_is_forgotten_before_memory_grows() -> None:
    """A log can hold the GPUs of a whole fleet."""
    reader = KernelReader()
    for number in range(20_000):
        pci = f"{number >> 8:04x}:{number & 255:02x}:00"
        reader.feed(f"NVRM: GPU at PCI:{pci}: GPU-00000000-0000-0000-0000-{number:012d}")
    (old,) = reader.feed("NVRM: Xid (PCI:0000:00:00): 79, x")
    (new,) = reader.feed(f"NVRM: Xid (PCI:{pci}): 79, x")
    assert (old.uuid, new.uuid) == (None, "GPU-00000000-0000-0000-0000-000000019999")


PROBE = (
    "NVRM: The NVIDIA GPU 0000:b3:00.0",
    "NVRM: (PCI ID: 10de:26b5) installed in this system has",
    "NVRM: fallen off the bus and is not responding to commands.",
)


@pytest.mark.parametrize("record", [PROBE, ("\n".join(PROBE),), ("#012".join(PROBE),)])
def test_a_gpu_lost_at_probe_is_one_record_of_three_lines(record: tuple[str, ...]) -> None:
    """As lines, as one record of the kernel, as rsyslog writes it."""
    event = one(*record)
    assert (event.kind, event.pci, event.code) == ("gpu_probe_lost", "0000:b3:00", None)


def test_a_record_that_breaks_off_tells_nothing_later() -> None:
    """What follows is not taken for its rest."""
    assert read(PROBE[0], *["something else"] * 10, PROBE[2]) == []


@pytest.mark.parametrize(
    ("line", "kind", "pci"),
    [
        ("NVRM: GPU 0000:0a:00.0: RmInitAdapter failed! (0x24:0x72:1568)", "rm_init_failed", "0000:0a:00"),
        ("NVRM: GPU 0000:0a:00.0: rm_init_adapter failed, device minor number 5", "rm_init_failed", "0000:0a:00"),
        ("NVRM: nvAssertOkFailedNoLog: Assertion failed: Reset required [NV_ERR_RESET_REQUIRED] (0x62) returned from x", "gpu_reset_required", None),
        ("NVRM: nvAssertFailed: GPU lost from the bus [NV_ERR_GPU_IS_LOST] (0x0000000F) returned from y", "gpu_lost_assert", None),
        ("NVRM: GPU 0000:01:00.0: GPU has fallen off the bus.", "gpu_lost_assert", "0000:01:00"),
        ("NVRM: GPU at 0000:01:00.0 has fallen off the bus.", "gpu_lost_assert", "0000:01:00"),
        ("NVRM: Rate limiting GSP RPC error prints for GPU at PCI:0000:9b:00 (printing 1 of every 30).", "gpu_reset_required", "0000:9b:00"),
        ("NVRM: GPU6 _kgspIsHeartbeatTimedOut: Heartbeat timed out, currentTimeMs 1 diff 6070 timeout 5200", "gsp_heartbeat", None),
    ],
)  # fmt: skip
def test_lines_of_the_driver_without_an_xid(line: str, kind: str, pci: str | None) -> None:
    """Kind and, where the line has one, the address."""
    event = one(line)
    assert (event.kind, event.vendor, event.pci, event.code) == (kind, "nvidia", pci, None)


def test_lines_that_only_repeat_the_one_before_do_not_count() -> None:
    """Xid 79 and a failed start are printed twice."""
    assert kinds(
        "NVRM: Xid (PCI:0000:91:00): 79, GPU has fallen off the bus.",
        "NVRM: GPU 0000:91:00.0: GPU has fallen off the bus.",
        "NVRM: GPU 0000:0a:00.0: RmInitAdapter failed! (0x24:0x72:1568)",
        "NVRM: GPU 0000:0a:00.0: rm_init_adapter failed, device minor number 5",
    ) == ["xid", "rm_init_failed"]


def test_the_driver_s_own_number_of_a_gpu_is_resolved() -> None:
    """GPU4 is whose Xid named it."""
    event = read(
        "NVRM: Xid (PCI:0000:9b:00): 119, pid=1, name=a, Timeout after 6s of waiting for RPC response from GPU4 GSP!",
        "NVRM: GPU4 _kgspIsHeartbeatTimedOut: Heartbeat timed out",
    )[1]
    assert (event.kind, event.pci) == ("gsp_heartbeat", "0000:9b:00")


@pytest.mark.parametrize(
    ("line", "severity", "link"),
    [
        ("nvidia-nvswitch3: SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress PRIV error (First)", Severity.DEGRADING, "nvlink32"),
        ("nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", Severity.RUN_ENDING, "nvlink30"),
        ("nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 26006, Fatal, SOE Reset", Severity.RUN_ENDING, None),
        ("detected NVSwitch fatal error 20034 on fid 0 on NVSwitch pci bus id 00000000:05:00.0 physical id 1 port 3", Severity.RUN_ENDING, "nvlink3"),
    ],
)  # fmt: skip
def test_sxid_lines_say_whether_they_are_fatal(line: str, severity: Severity, link: str | None) -> None:
    """And some name no link."""
    event = one(line)
    assert (event.kind, event.pci, event.severity, event.link) == ("sxid", "0000:05:00", severity, link)


def test_a_failed_fabric_manager_is_told() -> None:
    """By systemd."""
    assert kinds("nvidia-fabricmanager.service: Failed with result 'exit-code'.") == ["fabric_manager"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["pcieport 0000:00:1c.5: AER: Corrected error received: id=00e5"], [("aer_corrected", "0000:00:1c")]),
        (
            [
                "pcieport 0000:00:1c.5: AER: Multiple Corrected error received: id=00e5",
                "pcieport 0000:00:1c.5: PCIe Bus Error: severity=Corrected, type=Physical Layer, id=00e5(Receiver ID)",
            ],
            [("aer_corrected", "0000:00:1c")],
        ),
        (
            [
                "pcieport 0000:00:03.0: AER: Uncorrected (Fatal) error received: 0000:00:03.0",
                "nvidia 0000:03:00.0: AER: can't recover (no error_detected callback)",
            ],
            [("aer_fatal", "0000:00:03"), ("aer_fatal", "0000:03:00")],
        ),
        (
            [
                "pcieport 0000:00:03.0: AER: Correctable error message received from 0000:03:00.0",
                "nvidia 0000:03:00.0: PCIe Bus Error: severity=Correctable, type=Physical Layer, (Receiver ID)",
                "nvidia 0000:03:00.0:   device [10de:2330] error status/mask=00000001/0000a000",
            ],
            [("aer_corrected", "0000:03:00")],
        ),
        (
            ["nvidia 0000:03:00.0: PCIe Bus Error: severity=Uncorrectable (Non-Fatal), type=Transaction Layer, (Requester ID)"],
            [("aer_nonfatal", "0000:03:00")],
        ),
    ],
)  # fmt: skip
def test_aer_in_old_and_new_wording_counts_once(lines: list[str], expected: list[tuple[str, str]]) -> None:
    """Where it was announced and told, and for the GPU that it leaves broken."""
    assert [(event.kind, event.pci) for event in read(*lines)] == expected


APEI = (
    "{{1}}[Hardware Error]: Hardware error from APEI Generic Hardware Error Source: 1",
    "{{1}}[Hardware Error]: event severity: {severity}",
    "{{1}}[Hardware Error]:  Error 0, type: {severity}",
    "{{1}}[Hardware Error]:   section_type: {section}",
    "{{1}}[Hardware Error]:   device_id: 0000:5e:00.0",
    "{{1}}[Hardware Error]:   vendor_id: 0x144d, device_id: 0xa808",
)


@pytest.mark.parametrize(
    ("severity", "section", "kind", "expected"),
    [
        ("fatal", "PCIe error", "apei_pcie", Severity.RUN_ENDING),
        ("recoverable", "PCIe error", "apei_pcie", Severity.DEGRADING),
        ("corrected", "PCIe error", "apei_pcie", Severity.INFORMATIONAL),
        ("corrected", "memory error", "dimm_corrected", Severity.INFORMATIONAL),
        ("fatal", "memory error", "dimm_uncorrected", Severity.RUN_ENDING),
        ("fatal", "general processor error", "mce", Severity.RUN_ENDING),
    ],
)
def test_apei_records_of_several_lines(severity: str, section: str, kind: str, expected: Severity) -> None:
    """The severity stands before the section, the section before the device."""
    event = one(*(line.format(severity=severity, section=section) for line in APEI))
    assert (event.kind, event.severity) == (kind, expected)
    assert event.pci == ("0000:5e:00" if kind == "apei_pcie" else None)


@pytest.mark.parametrize(
    ("line", "kind", "severity"),
    [
        ("EDAC MC3: 1 UE memory read error on CPU_SrcID#1_MC#1_Chan#2_DIMM#0 (channel:2)", "dimm_uncorrected", None),
        ("EDAC skx MC5: 1 CE memory scrubbing error on CPU_SrcID#0", "dimm_corrected", None),
        ("EDAC MC0: UE page 0x1, offset 0x0, grain 4096, row 0, labels", "dimm_uncorrected", None),
        (
            "mce: [Hardware Error]: CPU 3: Machine Check Exception: 5 Bank 4: be00000000800400",
            "mce",
            Severity.RUN_ENDING,
        ),
        ("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 7: bd80000000100134", "mce", Severity.DEGRADING),
        ("mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 7: 8c00004000010090", "mce", Severity.INFORMATIONAL),
        ("[Hardware Error]: Corrected error, no action required.", "mce", Severity.INFORMATIONAL),
        ("[Hardware Error]: Uncorrected, software restartable error.", "mce", None),
    ],
)
def test_memory_and_machine_checks(line: str, kind: str, severity: Severity | None) -> None:
    """The status word of a machine check says whether it was corrected, and whether the context is lost."""
    event = one(line)
    assert (event.kind, event.vendor, event.severity) == (kind, "host", severity)


def stack(*frames: str, name: str = "python3") -> list[LogEvent]:
    """What a hung task with this stack gives."""
    return read(
        f"INFO: task {name}:4242 blocked for more than 241 seconds.",
        "      Tainted: P           OE     5.15.0-112-generic #122-Ubuntu",
        '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.',
        f"task:{name} state:D stack:    0 pid: 4242 ppid:     1 flags:0x00000002",
        "Call Trace:",
        " <TASK>",
        " __schedule+0x24e/0x590",
        *frames,
        " </TASK>",
    )


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([], [("hung_task", "host")]),
        ([" futex_wait_queue_me+0xb6/0x120"], [("hung_task", "host")]),
        ([" uvm_gpu_retain_by_uuid+0x1e/0x40 [nvidia_uvm]"], [("hung_task", "host"), ("hung_task_driver", "nvidia")]),
        ([" _nv012454rm+0x437/0x4b0 [nvidia]"], [("hung_task", "host"), ("hung_task_driver", "nvidia")]),
        ([" devdrv_wait+0x1/0x2 [drv_pcie_host]"], [("hung_task", "host"), ("hung_task_driver", "ascend")]),
        ([" nfs_wait_bit_killable+0x2e/0x90 [nfs]"], [("hung_task", "host"), ("hung_task_storage", "host")]),
        ([" io_schedule+0x46/0x80"], [("hung_task", "host"), ("hung_task_storage", "host")]),
        # Another message of a driver among the frames is not one of them.
        (["[ascend] [INFO] [devmm] [devmm_close 88] <python3:7> closed."], [("hung_task", "host")]),
        (
            [" io_schedule+0x46/0x80", " os_acquire_mutex+0x3a/0x50 [nvidia]"],
            [("hung_task", "host"), ("hung_task_storage", "host"), ("hung_task_driver", "nvidia")],
        ),
    ],
)
def test_a_stack_tells_in_what_a_task_hangs(frames: list[str], expected: list[tuple[str, str]]) -> None:
    """The report comes at once, the exact kind when a frame tells, as a refinement of it."""
    events = stack(*frames)
    assert [(event.kind, event.vendor) for event in events] == expected
    assert [event.refines for event in events] == [None, *(kind for kind, _ in expected[:-1])]
    assert {(event.pid, event.process, event.waited_seconds) for event in events} == {(4242, "python3", 241.0)}


@pytest.mark.parametrize(
    ("name", "kind"), [("nvc:[driver]", "hung_task"), ("jbd2/sda1-8", "hung_task"), ("nv_queue", "hung_task_driver")]
)
def test_a_task_s_name_holds_anything(name: str, kind: str) -> None:
    """Kernel threads of the driver tell by their name."""
    event = stack(name=name)[0]
    assert (event.kind, event.process, event.pid) == (kind, name, 4242)


def test_frames_long_after_a_report_are_of_something_else() -> None:
    """A stack follows its report closely."""
    assert kinds(
        "INFO: task python3:4242 blocked for more than 120 seconds.",
        *["eth0: link becomes ready"] * 20,
        " uvm_gpu_retain_by_uuid+0x1e/0x40 [nvidia_uvm]",
    ) == ["hung_task"]


@pytest.mark.parametrize(
    ("line", "kind", "link"),
    [
        ("mlx5_core 0000:53:00.0 enp83s0f0np0: Link down", "mlx5_link_down", "enp83s0f0np0"),
        ("mlx5_core 0000:53:00.0 enp83s0f0np0: Link up", "mlx5_link_up", "enp83s0f0np0"),
        ("mlx5_core 0000:53:00.0 mlx5_3: Port: 1 Link DOWN", "mlx5_link_down", "mlx5_3/1"),
        ("mlx5_core 0000:53:00.0: Port: 1 Link ACTIVE", "mlx5_link_up", "port/1"),
        ("mlx5_core 0000:53:00.0: wait_func:1137:(pid 12): ACCESS_REG(0x805) timeout. Will cause a leak", "mlx5_command", None),
        ("mlx5_core 0000:53:00.0: mlx5_cmd_check:810:(pid 9): ACCESS_REG(0x805) op_mod(0x1) failed, status bad", "mlx5_command", None),
        ("mlx5_core 0000:53:00.0: mlx5_pcie_event:299:(pid 1): Detected insufficient power on the PCIe slot (30W).", "mlx5_power", None),
    ],
)  # fmt: skip
def test_mlx5(line: str, kind: str, link: str | None) -> None:
    """Links by the name that the driver gives them."""
    event = one(line)
    assert (event.kind, event.pci, event.link) == (kind, "0000:53:00", link)


def test_a_link_that_goes_down_while_its_driver_unloads_is_no_fault() -> None:
    """Both functions of a card go together; a link that comes up again ends the unloading."""
    unload = "mlx5_core 0000:0a:00.1: E-Switch: Unload vfs: mode(LEGACY), nvfs(0), necvfs(0), active vports(0)"
    down, up = (f"mlx5_core 0000:0a:00.0 eth2: Link {state}" for state in ("down", "up"))
    assert kinds(unload, down) == []
    assert kinds(unload, up, down) == ["mlx5_link_up", "mlx5_link_down"]
    assert kinds(unload, "mlx5_core 0000:0b:00.0 eth4: Link down") == ["mlx5_link_down"]


@pytest.mark.parametrize(
    ("line", "kind", "process", "pid"),
    [
        ("Kernel panic - not syncing: hung_task: blocked tasks", "panic", None, None),
        ("watchdog: BUG: soft lockup - CPU#18 stuck for 27s! [kworker/1:2:225]", "soft_lockup", "kworker/1:2", 225),
        ("NMI watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [python3:9]", "soft_lockup", "python3", 9),
        ("Out of memory: Killed process 99 (python (v3)) total-vm:1kB, anon-rss:1kB", "oom_kill", "python (v3)", 99),
        ("Memory cgroup out of memory: Killed process 99 (python3) total-vm:1kB", "oom_kill", "python3", 99),
        ("Killed process 99 (python3), UID 1000, total-vm:1kB", "oom_kill", "python3", 99),
        ("pt_main_thread[25]: segfault at 7f79 ip 00007f7c sp 00007f7c error 4 in libnccl.so.2", "segfault", "pt_main_thread", 25),
        ("segfault at 7f79 ip 00007f7c sp 00007f7c error 4 in libnccl.so.2", "segfault", None, None),
        ("traps: python3[25] general protection fault ip:7f sp:7f error:0 in libcuda.so", "segfault", "python3", 25),
        ("traps: python3[25] trap invalid opcode ip:7f sp:7f error:0 in libtorch.so", "segfault", "python3", 25),
        ("blk_update_request: I/O error, dev sda, sector 123 op 0x0:(READ)", "io_error", None, None),
        ("Buffer I/O error on dev dm-0, logical block 12, async page read", "io_error", None, None),
        ("critical medium error, dev nvme0n1, sector 12 op 0x0", "io_error", None, None),
        ("nvme nvme0: I/O 12 QID 3 timeout, aborting", "io_error", None, None),
        ("nvme nvme0: controller is down; will reset: CSTS=0xffffffff, PCI_STATUS=0xffff", "io_error", None, None),
        ("EXT4-fs error (device sda1): ext4_find_entry:1455: inode #2", "io_error", None, None),
        ("XFS (sda1): metadata I/O error in xfs_trans_read_buf_map", "io_error", None, None),
        ("nfs: server 10.0.0.1 not responding, still trying", "io_error", None, None),
    ],
)  # fmt: skip
def test_the_host(line: str, kind: str, process: str | None, pid: int | None) -> None:
    """Kind and process."""
    event = one(line)
    assert (event.kind, event.vendor, event.process, event.pid) == (kind, "host", process, pid)


@pytest.mark.parametrize(
    ("line", "kind", "code", "number"),
    [
        ("[ascend] [ERROR] [drv_soft_fault] [heart_beat_judge 318] <kworker/5:1H:39> Heartbeat lost! (device=1; lost_count=4)", "ascend_heartbeat", "40F84E00", 1),
        ("[ascend][drv_pcie] [ERROR] [x 1] <python:5:5> DMA copy failed. (dev_id=3; ret=-1)", "ascend_dma", None, 3),
        ("[ascend] [drv_pcie] [ERROR] Wait event timeout (count=21, wait_time=30000, chan_id=13)", "ascend_event_timeout", None, None),
        ("[ascend] [drv_bbox] [ERROR] Get mntn message. (device_id=2; exception_id=0xa6193215)", "ascend_mntn", "A6193215", 2),
        ("[ascend] [drv_x] icm send msg failed. (devid=0; ret=110)", "ascend_event_timeout", None, 0),
        ("[TsdEVENT] Event id=0x8c17a005.", "ascend", "8C17A005", None),
        ("[ascend] [drv_dms] event_id=0x80e01801, assertion=1, device_id=4", "ascend", "80E01801", 4),
        ("system exception code [0xB4060007]: ModuleName [TS], ExceptionReason [TS_EXCEPTION]", "ascend_mntn", "B4060007", None),
        ('switch subscribe got fault:x{FaultID:0xf103b0, AssembledFaultCode:"[0x00f103b0,155907,na,na]", Assertion:0x1}', "ascend", "[0x00f103b0,155907,na,na]", None),
    ],
)  # fmt: skip
def test_ascend(line: str, kind: str, code: str | None, number: int | None) -> None:
    """Old forms without blanks between the brackets too."""
    event = one(line)
    assert (event.kind, event.vendor, event.code, event.number) == (kind, "ascend", code, number)
    assert not event.cleared


def test_an_ascend_fault_that_ends_says_so() -> None:
    """Assertion 0 is recovery."""
    assert one("[ascend] [drv_dms] event_id=0x81078603, assertion=0, device_id=4").cleared


def test_the_record_s_own_device_fills_in() -> None:
    """Drivers that print through their device leave it to the record's continuation lines."""
    reader = KernelReader()
    details = {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:3b:00.0"}
    (event,) = reader.feed("NVRM: assertion [NV_ERR_GPU_IS_LOST]", details)
    assert event.pci == "0000:3b:00"
    (named,) = reader.feed("NVRM: Xid (PCI:0000:4c:00): 79, x", details)
    assert named.pci == "0000:4c:00"


NEEDLES = (
    "NVRM: Xid (PCI:0000:3b:00): 79, ", "pid=", "name=", "nvidia-nvswitch1: SXid (PCI:", "AER: ", "PCIe Bus Error",
    "[Hardware Error]: ", "EDAC MC0: ", "INFO: task a:1 blocked for more than 120 seconds", "mlx5_core 0000:0a:00.0 ",
    "Link down", "Killed process ", "segfault at ", "[ascend] ", "event id=0x", "\n", "#012", "#", "9" * 400, "9" * 5000, ":", "(", "]",
)  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(NEEDLES), st.text(max_size=40)).map(str), max_size=30))
def test_no_text_raises(parts: list[str]) -> None:
    """The agent's pipeline stands on it."""
    reader = KernelReader()
    for start in range(0, len(parts), 3):
        reader.feed("".join(parts[start : start + 3]))
    reader.flush()


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:0000:3b:00): 79, pid={}, name=a, x",
        "NVRM: Xid (PCI:0000:3b:00): 149, NETIR_LINK_EVT Fatal Link {}",
        "nvidia-nvswitch1: SXid (PCI:0000:05:00.0): 20034, Fatal, Link {} x",
        "INFO: task a:{} blocked for more than {} seconds",
        "watchdog: BUG: soft lockup - CPU#1 stuck for {}s! [a:{}]",
        "Out of memory: Killed process {} (a)",
        "[ascend] <a:{}> Wait event timeout (wait_time={}, dev_id={})",
    ],
)
def test_numbers_that_are_none_raise_nothing(line: str) -> None:
    """Broken memory writes broken lines."""
    for digits in ("9" * 400, "9" * 5000):
        read(line.replace("{}", digits))
