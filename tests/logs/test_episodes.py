"""How a scan puts lines together: one entry per device, native code and episode."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelwatch.logs.scanner import CHUNK_BYTES, LINE_LIMIT_BYTES, Scanner
from scanning import NOW, Seen, entries, seen

LOST = "NVRM: Xid (PCI:0000:3b:00): 79, pid=7, name=python3, GPU has fallen off the bus."
SEEN_LOST = Seen("device_lost", "79", "0000:3b:00", 7, "python3")


def test_episodes_end_after_a_minute_of_quiet() -> None:
    """Each line prolongs its episode; the kernel's seconds serve where there is no date."""
    for form in ("[%10.6f] ", "2026-09-19T16:%02d:%02dZ h kernel: "):
        stamps = [(float(at),) if form.startswith("[") else divmod(at, 60) for at in (0, 50, 100, 161)]
        found = entries("".join(form % stamp + LOST + "\n" for stamp in stamps))
        assert [(entry.count, entry.line) for entry in found] == [(3, 1), (1, 4)]


def test_after_a_reboot_the_kernel_s_seconds_begin_anew() -> None:
    """Going back by more than an episode makes a new one."""
    assert len(entries(f"[ 9000.000000] {LOST}\n[   12.000000] {LOST}\n")) == 2


def test_lines_without_any_time_are_one_episode() -> None:
    """Nothing says that they are apart."""
    (entry,) = entries(f"{LOST}\n" * 3 + "other\n" * 100 + f"{LOST}\n")
    assert (entry.count, entry.first, entry.last) == (4, None, None)


def test_codes_and_devices_are_never_merged() -> None:
    """In the order in which they appear."""
    text = "\n".join(
        f"[   1.00000{n}] NVRM: Xid (PCI:0000:{bus}:00): {code}, x"
        for n, (bus, code) in enumerate([("3b", 48), ("3b", 63), ("3b", 48), ("4c", 48), ("3b", 94)])
    )
    assert [(s.code, s.where) for s in seen(text)] == [
        ("48", "0000:3b:00"), ("63", "0000:3b:00"), ("48", "0000:4c:00"), ("94", "0000:3b:00"),
    ]  # fmt: skip


def test_a_later_line_tells_what_the_first_left_open() -> None:
    """A process, and the worst that a line said."""
    text = (
        "NVRM: Xid (PCI:0000:3b:00): 149, NETIR_LINK_EVT  Nonfatal XC0 i0 Link 01 (0x0)\n"
        "NVRM: Xid (PCI:0000:3b:00): 149, pid=9, name=a, NETIR_LINK_EVT  Fatal XC0 i0 Link 02 (0x0)\n"
    )
    (entry,) = entries(text)
    assert (entry.severity.value, entry.pid, entry.process) == ("run_ending", 9, "a")


def test_a_hung_task_counts_once_as_what_its_stack_tells() -> None:
    """At the line of its report."""
    text = (
        "[  721.028170] INFO: task python3:5403 blocked for more than 120 seconds.\n"
        "[  721.028346] Call Trace:\n"
        "[  721.028422]  uvm_gpu_retain_by_uuid+0x1e/0x40 [nvidia_uvm]\n"
        "[  842.028170] INFO: task bash:9 blocked for more than 120 seconds.\n"
    )
    found = entries(text)
    assert [(entry.event.kind, entry.line, entry.count) for entry in found] == [
        ("hung_task_driver", 1, 1),
        ("hung_task", 4, 1),
    ]


def test_the_continuation_of_a_record_has_its_time() -> None:
    """The lines of a GPU lost at probe have no prefix but blanks."""
    text = (
        "[Sat Sep 19 16:18:02 2026] NVRM: The NVIDIA GPU 0000:b3:00.0\n"
        "                           NVRM: (PCI ID: 10de:26b5) installed in this system has\n"
        "                           NVRM: fallen off the bus and is not responding to commands.\n"
    )
    (entry,) = entries(text)
    assert entry.first is not None


def test_a_line_does_not_take_the_time_of_another_log_s_record() -> None:
    """Behind a line of a training log, whose rest may follow, a kernel line without a time has none."""
    text = f"2026-09-19T16:18:02Z stderr F [rank0]: CUDA error: unspecified launch failure\n{LOST}\n"
    assert [entry.first is None for entry in entries(text)] == [False, True]


DOWN = "[{:10.6f}] mlx5_core 0000:0a:00.0 eth2: Link down\n"
UP = "[{:10.6f}] mlx5_core 0000:0a:00.0 eth2: Link up\n"
UNLOAD = "[{:10.6f}] mlx5_core 0000:0a:00.1: E-Switch: Unload vfs: mode(LEGACY), nvfs(0)\n"


@pytest.mark.parametrize(
    ("lines", "count"),
    [
        ([(DOWN, 309), (UNLOAD, 344)], 0),
        ([(UNLOAD, 309), (DOWN, 310)], 0),
        ([(DOWN, 309), (UNLOAD, 900)], 1),
        ([(DOWN, 309), (UP, 312), (UNLOAD, 344)], 1),
        ([(DOWN, 309), (UNLOAD.replace("0a:00.1", "0b:00.0"), 310)], 1),
    ],
)
def test_a_link_down_that_is_an_administrator_s_doing_is_no_fault(lines: list[tuple[str, float]], count: int) -> None:
    """Its driver unloads before or soon after; a link that had come up again, or another card's, is a fault."""
    assert len(entries("".join(line.format(at) for line, at in lines))) == count


@pytest.mark.parametrize(
    ("prefix", "believed"),
    [
        ("Sep 19 16:18:02 node kernel: ", True),
        ("Sep 19 16:18:02 node alice[77]: ", False),
        ("Sep 19 16:18:02 node root: ", False),
        ("<13>1 2026-09-19T16:18:02Z node logger 77 - - ", False),
        ("Sep 19 16:18:02 node python3[77]: ", False),
        ("12,1,1,-;", False),
        ("4,1,1,-;", True),
        ("user  :warn  : [   1.000000] ", False),
        ("kern  :warn  : [   1.000000] ", True),
        ("Sep 19 16:18:02 node nhc[77]: Health check failed: GPU Xid errors detected: [ 3606.832215] ", True),
    ],
)
def test_a_user_s_line_does_not_pass_for_the_driver_s(prefix: str, believed: bool) -> None:
    """What `logger` writes in the driver's words is not believed; a monitor that quotes it is."""
    assert seen(prefix + LOST) == ([SEEN_LOST] if believed else [])


@pytest.mark.parametrize(
    ("line", "believed"),
    [
        ("Sep 19 16:18:02 node alice: nvidia-nvswitch1: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 3 LTSSM", False),
        ("Sep 19 16:18:02 node alice: Kernel panic - not syncing: hung_task: blocked tasks", False),
        ("12,1,1,-;Kernel panic - not syncing: hung_task: blocked tasks", False),
        ("Sep 19 16:18:02 node alice[7]: [ascend] [ERROR] [drv_soft_fault] Heartbeat lost! (device=1)", False),
        ("Sep 19 16:18:02 node nvidia-nvswitch1: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 3 LTSSM", True),
        ("Sep 19 16:18:02 node python3[25]: segfault at 7f79 ip 00007f7c sp 00007f7c error 4 in libnccl.so.2", True),
        ("30,1,1,-;systemd[1]: nvidia-fabricmanager.service: Failed with result 'exit-code'.", True),
        ("Sep 19 16:18:02 node systemd[1]: nvidia-fabricmanager.service: Failed with result 'exit-code'.", True),
        ("Sep 19 16:18:02 node nv-fabricmanager[9]: detected NVSwitch fatal error 20034 on NodeId 0 on NVSwitch pci bus "
         "id 00000000:08:00.0 physical id 3 port 60", True),
        ("Sep 19 16:18:02 node trainer[9]: [rank1]: RuntimeError: CUDA error: unspecified launch failure", True),
    ],
)  # fmt: skip
def test_programs_are_believed_what_is_theirs_to_say(line: str, believed: bool) -> None:
    """The kernel's words are the kernel's; where a log left its name out, they are still taken."""
    assert bool(seen(line)) is believed


def test_lines_end_in_any_way() -> None:
    """Windows, progress bars, no end at all, zero bytes."""
    noise = b"\r".join(b"%d%%|####   | %d/100" % (n, n) for n in range(100))
    for text in (
        LOST.encode() + b"\r\n",
        LOST.encode(),
        noise + b"\r" + LOST.encode() + b"\n",
        b"\0\0" + LOST.encode() + b"\0\0\n",
        b"\xff\xfe\x80 " + LOST.encode(),
    ):
        assert seen(text) == [SEEN_LOST]


def test_line_numbers_hold_over_blocks_and_endless_lines() -> None:
    """A line longer than its limit is one line, whose rest is passed over."""
    endless = b"x" * (3 * CHUNK_BYTES)
    text = b"a\n" * CHUNK_BYTES + endless + b"\n" + b"b\n" + LOST.encode() + b"\n" + endless + LOST.encode() + b"\nc\n"
    (entry,) = entries(text)
    assert entry.line == CHUNK_BYTES + 3
    cut = b"y" * (LINE_LIMIT_BYTES + 10) + LOST.encode() + b"\n" + LOST.encode()
    assert [entry.line for entry in entries(cut)] == [2]


class Dribble(io.BytesIO):
    """Gives a few bytes at a time, as pipes do."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7)


@given(st.lists(st.sampled_from([LOST, "x", "", "NVRM: nothing", "INFO: task a:1 blocked for more than 120 seconds."])))
def test_it_does_not_matter_in_which_pieces_a_log_comes(lines: list[str]) -> None:
    """Nor where blocks end."""
    data = "\n".join(lines).encode()
    whole, pieces = (list(Scanner("f", lambda: NOW).scan(kind(data))) for kind in (io.BytesIO, Dribble))
    assert whole == pieces
    assert [found.line for found in whole] == [n for n, line in enumerate(lines, 1) if line == LOST or "INFO" in line]


@given(st.binary(max_size=2000))
def test_any_bytes_have_an_end(data: bytes) -> None:
    """A scan of anything ends without an error."""
    entries(data)
