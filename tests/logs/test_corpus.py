"""Real captures, where the corpus is present: what a person reads in each of them."""

from __future__ import annotations

import pytest

from scanning import Seen, entries, seen
from support import CORPUS, corpus

APP, LOST, DRIVER, ENGINE = "app_device_exception", "device_lost", "driver_software", "compute_engine"
CONTROL, MEMORY, REPAIR, LINK = "control_processor", "mem_uncorrectable", "mem_repair", "intra_node_link"
FABRIC, PCIE, HOST, NET, TIMEOUT = "fabric_switch", "pcie_host_link", "host", "net_link_down", "collective_timeout"

KERNEL: dict[str, list[Seen]] = {
    "akash-209-xid79-535-crashdump": [Seen(LOST, "79", "0000:a1:00")],
    "arch-283219-xid38-truncated": [Seen(DRIVER, "38", "0000:01:00", 1659)],
    "azurenhc-xid119-gsp1": [Seen(CONTROL, "119", "0002:00:00", 67769, "nvidia-smi")],
    "bumblebee-677-xid32-31-2015": [Seen(DRIVER, "32", "0000:01:00"), Seen(APP, "31", "0000:01:00")],
    "chia-74-xid109-530": [Seen(ENGINE, "109", "0000:0b:00", 11263, "Renderer")] * 3,
    "club3090-751-xid13-and-r8169-decoy": [Seen(APP, "13", "0000:07:00")],
    "dxvk-1027-xid31-13-32-418": [
        Seen(APP, "31", "0000:01:00"), Seen(APP, "13", "0000:01:00"), Seen(DRIVER, "32", "0000:01:00"),
    ],
    "dxvk-2495-xid31-510": [Seen(APP, "31", "0000:0c:00", 11461)],
    "forum-292539-xid74-nvlink": [Seen(LINK, "74", "0000:c1:00")],
    "forum-371272-xid62-154-595": [Seen(ENGINE, "62", "0000:01:00"), Seen(DRIVER, "154", "0000:01:00")],
    "forum-49452-xid79-2017": [Seen(LOST, "79", "0000:06:00")],
    "fsp-xid143-boot-failure": [Seen(LOST, "143", "0000:02:00"), Seen(LOST, None, "0000:02:00")],
    # Four by nvidia-smi within 12 s, and two more of other processes minutes later; the notice asks for a reset.
    "gpud-dmesg-xid119-h100-full": [
        Seen(CONTROL, "119", "0000:9b:00", 2024380, "nvidia-smi"), Seen(DRIVER, None, "0000:9b:00"),
        Seen(CONTROL, "119", "0000:9b:00", 1263500, "cache_mgr_main"), Seen(CONTROL, "119", "0000:9b:00", 1240590, "gpud"),
    ],
    "gpud-gb200-xid149-154-storm": [
        Seen(LINK, "149", "0009:01:00"), Seen(DRIVER, "154", "0009:01:00"), Seen(LINK, "149", "0008:01:00"),
        Seen(DRIVER, "154", "0019:01:00"), Seen(DRIVER, "154", "0018:01:00"), Seen(DRIVER, "154", "0008:01:00"),
    ],
    "gpud117-xid45-burst-then-hung-task": [
        Seen(APP, "45", "0000:61:00", 1496200, "distprovers-gpu"), Seen(HOST, None, None, 620917, "cache_mgr_event"),
    ],
    "gpud46-xid13-109-h100-training": [
        Seen(APP, "13", "0000:cb:00"), Seen(ENGINE, "109", "0000:cb:00", 1797828, "pt_main_thread"),
    ],
    "gpuop-1146-xid48-xid64-page-retirement": [
        Seen(LOST, None, "0000:0a:00"), Seen(MEMORY, "48", "0000:07:00"), Seen(MEMORY, "64", "0000:07:00"),
    ],
    "gsp-446-xid119-525-a100": [Seen(CONTROL, "119", "0000:61:00", 1365232, "nvidia-smi")],
    "kb-xid48-63-94-550": [
        Seen(MEMORY, "48", "0000:52:00"), Seen(REPAIR, "63", "0000:52:00"), Seen(MEMORY, "94", "0000:52:00"),
    ],
    "llama-xid8-rc-watchdog": [Seen(DRIVER, "8", "0000:01:00", 463898, "llama-server")],
    "mleng-xid63-bare": [Seen(REPAIR, "63", "0000:10:1c", 1896)],
    "modal-doc-xid79-nvc-driver": [Seen(LOST, "79", "0000:c6:00", 1101234, "nvc:[driver]")],
    "nvdoc-xid14-oldest-form": [Seen(DRIVER, "14", "0000:03:00")],
    "nvdocker-1553-xid79-pid0-then-aer": [Seen(LOST, "79", "0000:09:00"), Seen(PCIE, None, "0000:00:01")],
    "nvsentinel-csv-xid69-32-74": [
        Seen(ENGINE, "69", "0001:ab:cd", 1310987, "train.3"), Seen(DRIVER, "32", "0000:66:00", 2280636, "train.3"),
        Seen(LINK, "74", "0003:00:00"),
    ],
    "nvsentinel-probe-fallen-off-570": [Seen(LOST, None, "0000:b3:00")],
    "nvsrc-xid94-95-mig-forms": [Seen(MEMORY, "94", "0000:01:00", 7194), Seen(MEMORY, "95", "0000:01:00", 7062)],
    "ogkm-1030-xid31-caller-prefix": [Seen(APP, "31", "0000:2b:00", 1942, "llama-bench")],
    "ogkm-1146-xid109-595-new-form": [
        Seen(ENGINE, "109", "0000:02:00", 8494, "RenderThread"), Seen(ENGINE, "109", "0000:02:00", 45252, "RenderThread"),
        Seen(ENGINE, "109", "0000:02:00", 238459, "RenderThread"),
    ],
    "ogkm-1150-xid45-caused-by-149-145": [
        Seen(APP, "45", "0000:dc:00", 1818990, "python3"), Seen(APP, "45", "0000:ed:00", 1818992, "python3"),
        Seen(APP, "45", "0000:ba:00", 1818989, "python3"), Seen(APP, "45", "0000:97:00", 1818987, "python3"),
    ],
    "ogkm-1230-gsp-heartbeat-8gpu": [Seen(CONTROL, None, None)],
    "ogkm-363-xid31-515-name": [Seen(APP, "31", "0000:08:00", 169800, "chrome")],
    "ogkm-461-xid79-domain4": [Seen(LOST, "79", "0004:01:00"), Seen(CONTROL, "119", "0004:01:00", 430, "nv_queue")],
    "ogkm-829-xid120-575-crashcat": [Seen(CONTROL, "120", "0000:02:00")],
    "pytorch-51382-xid43-31-460": [
        Seen(APP, "43", "0000:3d:00", 35521), Seen(APP, "43", "0000:3d:00", 36178), Seen(APP, "43", "0000:3d:00", 1405),
        Seen(APP, "43", "0000:3d:00", 11101), Seen(APP, "31", "0000:db:00", 13641), Seen(APP, "31", "0000:db:00", 14323),
    ],
    "relion-436-xid13-syslog-uptime": [Seen(APP, "13", "0000:41:00")],
    "rtx3090ti-xid79-154-610": [Seen(LOST, "79", "0000:01:00"), Seen(DRIVER, "154", "0000:01:00")],
    "rtxpro6000-xid48-171-63-154-ddp": [
        Seen(MEMORY, "48", "0000:55:00", 2187734, "python"), Seen(MEMORY, "171", "0000:55:00"),
        Seen(REPAIR, "63", "0000:55:00", 2187734, "python"), Seen(DRIVER, "154", "0000:55:00"),
    ],
    "sichek-51-reset-required": [Seen(DRIVER, None, None)],
    "trtllm-15610-xid13-b200": [Seen(APP, "13", "0000:70:00")],
    "vdpau-2-xid31-vm-slot": [Seen(APP, "31", "0000:00:06", 2708)],
}  # fmt: skip

OTHERS: dict[str, list[Seen]] = {
    "nvidia/kernel-aer/lwa-117-apei-pcie-hardware-error": [Seen(HOST, None, None), Seen(PCIE, None, "0000:5e:00")],
    "nvidia/kernel-aer/ms02-10-aer-nonfatal-tlp-header": [Seen(PCIE, None, "0000:80:1b")] * 2,  # corrected, and not
    "nvidia/kernel-aer/popos-3363-aer-corrected-syslog": [Seen(PCIE, None, "0000:00:03")],
    # The GPU cannot recover, by an error that its port called fatal (the first time its line is cut off).
    "nvidia/kernel-aer/returnn-1500-aer-fatal-nvidia": [
        Seen(PCIE, None, "0000:03:00"), Seen(PCIE, None, "0000:00:03"), Seen(PCIE, None, "0000:03:00"),
    ],
    "nvidia/kernel-hung/gpud-hung-task-panic-forms": [
        Seen(HOST, None, None), Seen(HOST, None, None, 931150, "containerd-shim"), Seen(HOST, None, None),
    ],
    "nvidia/kernel-hung/gpud-soft-lockup-cuda": [
        Seen(HOST, None, None, 2254956, "python3"), Seen(HOST, None, None, 2255424, "cuda-EvtHandlr"),
        Seen(HOST, None, None, 136986, "jfsmount"),
    ],
    "nvidia/kernel-hung/k8sdp-77-nvc-driver-blocked": [Seen(DRIVER, None, None, 5403, "nvc:[driver]")],
    "nvidia/kernel-mlx5/gpud-mlx5-access-reg-power": [
        Seen("net_errors", None, "0000:d2:00"), Seen("power", None, "0000:5c:00"), Seen("net_errors", None, None),
    ],
    "nvidia/kernel-mlx5/rmmod-mlx5-link-down-benign": [],
    "nvidia/kernel-mlx5/sber-mlx5-roce-flap": [Seen(NET, None, "0000:53:00")],
    "nvidia/kernel-other/gpud-nccl-segfault": [
        Seen("software_job", None, None, 2536443, "pt_main_thread"), Seen("software_job", None, None),
    ],
    "nvidia/kernel-other/hostengine-fabricmanager-journal-22013": [Seen(FABRIC, "22013", "0000:08:00")],
    "nvidia/kernel-sxid/gpud-sxid12028-syslog-level": [
        Seen(FABRIC, "12028", "0000:05:00"), Seen(FABRIC, "20034", "0000:00:00"), Seen(FABRIC, "20009", "0000:06:00"),
    ],
    "nvidia/kernel-sxid/gpud-xid79-then-sxid20034": [
        Seen(LOST, "79", "0000:91:00"), Seen(FABRIC, "20034", "0000:06:00"), Seen(FABRIC, "20034", "0000:05:00"),
        Seen(FABRIC, "20034", "0000:07:00"),
    ],
    # Of the SXid only the Severity and Data lines were kept, which do not count.
    "nvidia/kernel-sxid/ogkm-446-talos-sxid24007-xid62-45": [
        Seen(ENGINE, "62", "0000:48:00"), Seen(APP, "45", "0000:48:00", 22884, "VLLM::Worker"),
    ],
    "nvidia/kernel-sxid/passthrough-sxid11004-four-switches": [
        Seen(FABRIC, "11004", f"0000:00:{device}") for device in ("08", "09", "07", "0a")
    ],
    "nvidia/kmsg-raw/dcgm-test-kmsg-records": [],
    "nvidia/kmsg-raw/gpud-kmsg-boot-nvswitch": [],
    "nvidia/nccl-log/basicsr-737-pgid-guid": [
        Seen(TIMEOUT, None, None, rank=1), Seen(TIMEOUT, None, None, rank=1), Seen(TIMEOUT, None, None, rank=0),
    ],
    "nvidia/nccl-log/deim-105-heartbeat-monitor": [Seen(TIMEOUT, None, None, rank=1)],
    "nvidia/nccl-log/llamafactory-7396-allreduce-600s": [
        Seen(TIMEOUT, None, None, rank=rank) for rank in (0, 4, 0, 3)
    ],
    "nvidia/nccl-log/mleng-watchdog-python-exception": [Seen(TIMEOUT, None, None, rank=0)],
    "nvidia/nccl-log/ofa-271-torch112-30min": [Seen(TIMEOUT, None, None, rank=rank) for rank in (1, 3, 2)],
    "nvidia/nccl-log/rtxpro6000-ddp-rank0-timeout": [
        Seen(MEMORY, None, None, rank=1), Seen(TIMEOUT, None, None, rank=0), Seen(TIMEOUT, None, None, rank=0),
    ],
    "ascend/plog/error_cqe_rank76": [Seen("net_errors", "EI0013", None, 12337, "python")],
    "ascend/plog/event_timeout_worker1": [
        Seen(TIMEOUT, "EI0006", None, 26252, "python3", 2), Seen(TIMEOUT, None, None, 26252, "python3"),
    ],
    "ascend/plog/link_timeout_worker1": [Seen(TIMEOUT, None, "0", 114650, "python3")],
    "ascend/plog/socket_timeout": [
        Seen(TIMEOUT, "EI0006", None, 72, "python"), Seen(TIMEOUT, None, None, 72, "python"),
    ],
    "ascend/device-log/bbox_history": [Seen("unknown", "B4060007", None), Seen(MEMORY, "A8028802", None)],
    "ascend/device-log/device_os_event": [Seen(DRIVER, "8C17A005", None)],
    "ascend/device-log/imp_mac_link": [],  # the port is up
    "ascend/dmesg/heartbeat_lost": [
        Seen(LOST, "40F84E00", device, 39365, "kworker/5:1H") for device in ("1", "1000", "10000")
    ],
    "ascend/dmesg/host_kernel_ascend": [Seen(PCIE, None, None, 4853, "systemd-udevd")],
    # The first and the last event say that a fault has ended.
    "ascend/mindcluster/device_plugin_switch_fault": [Seen(FABRIC, "[0x00f103b0,155907,na,na]", None)],
    "ascend/mindcluster/npu_exporter_no_driver": [],
}  # fmt: skip

ALL = {f"nvidia/kernel-xid/{name}": expected for name, expected in KERNEL.items()} | OTHERS


@pytest.mark.parametrize(("name", "expected"), ALL.items(), ids=ALL)
def test_a_capture_gives_what_a_person_reads_in_it(name: str, expected: list[Seen]) -> None:
    """Class, code, device and process of each fault, in the order of the log; nothing for the decoys."""
    assert seen(corpus(f"{name}.txt")) == expected


def test_every_capture_of_a_log_is_expected_here() -> None:
    """A capture that is added to the corpus does not go by unread."""
    if not CORPUS.exists():
        pytest.skip("the corpus of captures is not here")
    folders = ("kernel-*", "kmsg-raw", "nccl-log", "plog", "dmesg", "device-log", "mindcluster")
    found = {
        path.relative_to(CORPUS).with_suffix("").as_posix() for name in folders for path in CORPUS.glob(f"*/{name}/*")
    }
    assert found == set(ALL)


@pytest.mark.parametrize(
    ("name", "severities"),
    [
        ("nvidia/kernel-sxid/gpud-sxid12028-syslog-level", ["degrading", "run_ending", "degrading"]),
        ("nvidia/kernel-aer/ms02-10-aer-nonfatal-tlp-header", ["informational", "degrading"]),
        ("nvidia/kernel-aer/returnn-1500-aer-fatal-nvidia", ["degrading", "run_ending", "run_ending"]),
        ("nvidia/kernel-aer/lwa-117-apei-pcie-hardware-error", ["run_ending", "degrading"]),
    ],
)
def test_what_a_line_says_of_its_severity_holds(name: str, severities: list[str]) -> None:
    """Fatal, Non-fatal, Correctable, recoverable."""
    assert [entry.severity.value for entry in entries(corpus(f"{name}.txt"))] == severities


def test_the_driver_s_last_verdict_is_the_one_that_holds() -> None:
    """Of Xid 154 on 0009:01:00 there is one, which asks to drain; on 0008:01:00 a reset is required."""
    found = entries(corpus("nvidia/kernel-xid/gpud-gb200-xid149-154-storm.txt"))
    asked = {entry.event.pci: entry.event.action for entry in found if entry.event.code == "154"}
    assert asked == {"0009:01:00": 4, "0019:01:00": 1, "0018:01:00": 1, "0008:01:00": 1}


def test_uuid_and_serial_come_from_the_lines_before() -> None:
    """Printed once per GPU, before its first Xid."""
    first, *_ = entries(corpus("nvidia/kernel-sxid/gpud-xid79-then-sxid20034.txt"))
    assert (first.event.uuid, first.event.serial) == ("GPU-b6c3b2be-c55b-d076-fa0e-d464e4c7e08b", "1653723052734")


def test_repeats_count_in_one_entry() -> None:
    """Six channels of one process are one fault, at the first line."""
    burst, hung = entries(corpus("nvidia/kernel-xid/gpud117-xid45-burst-then-hung-task.txt"))
    assert (burst.count, burst.line, hung.count, hung.line) == (6, 1, 1, 7)


def test_a_symptom_tells_how_long_it_waited() -> None:
    """From which the onset of the hang follows."""
    waited = [entry.event.waited_seconds for entry in entries(corpus("nvidia/nccl-log/ofa-271-torch112-30min.txt"))]
    assert waited == [1800.0] * 3
    (p2p,) = entries(corpus("ascend/plog/link_timeout_worker1.txt"))
    assert p2p.event.waited_seconds == 130.0
