"""Lines of plog files and training logs: HCCL, NCCL, CUDA."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelwatch.logs.training import TrainingReader
from accelwatch.readings.log_event import LogEvent


def read(*lines: str) -> list[LogEvent]:
    """The events of one file."""
    reader = TrainingReader()
    events = [event for line in lines for event in reader.feed(line)]
    return events + reader.flush()


def one(*lines: str) -> LogEvent:
    """The only event."""
    (event,) = read(*lines)
    return event


WORK = "WorkNCCL(SeqNum=808, OpType=ALLREDUCE, NumelIn=98, NumelOut=98, Timeout(ms)=600000) ran for 600020 milliseconds"
CAUGHT = f"Watchdog caught collective operation timeout: {WORK} before timing out."
DETECTED = (
    "Exception (either an error or timeout) detected by watchdog at work: 808, last enqueued NCCL work: 811, "
    "last completed NCCL work: 807."
)
FAILED = (
    "failure detected by watchdog at work sequence id: 1 PG status: last enqueued work: 547, last completed work: -1"
)
DUMP = (
    "Received a dump signal due to a collective timeout from  rank 7 and we will try our best to dump the debug info. "
    "Last enqueued NCCL work: 56116, last completed NCCL work: 56116.This is most likely caused by"
)


@pytest.mark.parametrize(
    ("line", "kind", "rank"),
    [
        (f"[E ProcessGroupNCCL.cpp:737] [Rank 11] {CAUGHT}", "nccl_timeout", 11),
        (f"[rank3]:[E626 06:24:44.903881913 ProcessGroupNCCL.cpp:616] [Rank 3] {CAUGHT}", "nccl_timeout", 3),
        (f"[rank0]: {CAUGHT}", "nccl_timeout", 0),
        (f"[Rank 0] {CAUGHT}", "nccl_timeout", 0),
        (f"[rank1]:[E321 02:07:08.465150152 ProcessGroupNCCL.cpp:1664] [PG 1 Rank 1] {DETECTED}", "nccl_exception", 1),
        (f"[rank1]:[E1003 18:37:01.8 ProcessGroupNCCL.cpp:1664] [PG 0 (default_pg) Rank 1] {DETECTED}", "nccl_exception", 1),
        (f"[rank1]:[E626 06:24:44.9 ProcessGroupNCCL.cpp:1785] [PG ID 0 PG GUID 0(default_pg) Rank 1] {DETECTED}", "nccl_exception", 1),
        (f"[rank2]:[E1218 20:27:21.4 ProcessGroupNCCL.cpp:2168] [PG ID 1 PG GUID 1 Rank 2]  {FAILED}", "nccl_exception", 2),
        (f"[rank4]:[E703 19:54:01.0 ProcessGroupNCCL.cpp:1987] [PG ID 0 PG GUID 0(default_pg) Rank 4] {DUMP}", "nccl_exception", 4),
        ("[rank1]:[E ProcessGroupNCCL.cpp:1316] [PG 0 Rank 1] Heartbeat monitor timed out! Process will be terminated", "nccl_heartbeat", 1),
        ("[rank1]:[F ProcessGroupNCCL.cpp:1169] [PG 0 Rank 1] ProcessGroupNCCL's watchdog got stuck for 480 seconds without", "nccl_heartbeat", 1),
        ("terminate called ... what(): [PG 0 Rank 5] Process group watchdog thread terminated with exception: CUDA error: uncorrectable ECC error encountered", "cuda_ecc", 5),
        ("[rank6]: RuntimeError: CUDA error: an illegal memory access was encountered", "cuda_error", 6),
        ("RuntimeError: CUDA error: unspecified launch failure", "cuda_error", None),
        ("n1:12345:12400 [0] enqueue.cc:42 NCCL WARN Cuda failure 'uncorrectable ECC error encountered'", "cuda_ecc", None),
        ("[rank2]: torch.distributed.DistBackendError: NCCL error in: ../ProcessGroupNCCL.cpp:1970, remote process exited", "nccl_error", 2),
        ("[2026-01-01 10:00:00] n1:12345:12400 [3] transport/net_ib.cc:95 NCCL WARN NET/IB : Got async event : port error", "nccl_error", None),
        ("ncclRemoteError: A call failed possibly due to a network error or a remote process exiting prematurely.", "nccl_error", None),
    ],
)  # fmt: skip
def test_nccl_and_cuda_of_every_release(line: str, kind: str, rank: int | None) -> None:
    """Kind and rank."""
    event = one(line)
    assert (event.kind, event.vendor, event.rank, event.code) == (kind, "nvidia", rank, None)


def test_what_the_lines_tell_besides() -> None:
    """The time-out, how far the rank came, the process of NCCL's own lines and of Ray's worker."""
    assert one(f"[rank0]: {CAUGHT}").waited_seconds == 600.0
    assert one("[PG 0 Rank 1] ProcessGroupNCCL's watchdog got stuck for 480 seconds").waited_seconds == 480.0
    for line, numbers in ((DETECTED, (811, 807)), (FAILED, (547, -1)), (DUMP, (56116, 56116))):
        event = one(f"[rank1]: {line}")
        assert (event.enqueued, event.completed) == numbers
    assert one("n1:12345:12400 [0] NCCL WARN NET/IB : Got completion from peer with status=12 error").pid == 12345
    ray = one(
        f"(WorkerDict pid=3490362, ip=10.0.0.1) [rank1]:[E1118 20:32:23.9 ProcessGroupNCCL.cpp:1] [Rank 1] {CAUGHT}"
    )
    assert (ray.pid, ray.process, ray.rank) == (3490362, "WorkerDict", 1)


def test_wrapped_lines_are_put_together() -> None:
    """By terminals, and by those who paste logs."""
    event = one(
        "[rank0]:[E810 15:46:05.7 ProcessGroupNCCL.cpp:632] [Rank 0] Watchdog caught collective operation timeout:",
        "WorkNCCL(SeqNum=51753, OpType=ALLREDUCE, NumelIn=5057683,",
        "Timeout(ms)=600000) ran for 600072 milliseconds before timing out.",
    )
    assert (event.kind, event.rank, event.waited_seconds) == ("nccl_timeout", 0, 600.0)
    ecc = one(
        "[rank1]:[E810 15:36:05.9 ProcessGroupNCCL.cpp:1899] [PG ID 0 PG GUID 0(default_pg) Rank 1]",
        "Process group watchdog thread terminated with exception: CUDA error: uncorrectable ECC error encountered",
    )
    assert (ecc.kind, ecc.rank) == ("cuda_ecc", 1)


def test_a_rank_is_not_lent_to_lines_of_others() -> None:
    """Another rank's line, or one far below, is not the rest of it."""
    first, second = read(
        "[rank0]: Watchdog caught collective operation timeout:",
        f"[rank1]: {CAUGHT}",
    )
    assert [(e.rank, e.waited_seconds) for e in (first, second)] == [(0, None), (1, 600.0)]
    late = one("[rank0]: epoch 1 of ProcessGroupNCCL", *["step"] * 9, "CUDA error: unspecified launch failure")
    assert late.rank is None


@pytest.mark.parametrize(
    "line",
    [
        "[rank0]: NCCL Work update periodically: last enqueued NCCL work: 100, last completed NCCL work: 100.",
        "n1:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM",
        "n1:1:2 [0] misc/ibvwrap.cc:113 NCCL WARN Failed to open libibverbs.so[.1]",
        "CUDA kernel errors might be asynchronously reported at some other API call,",
        "[rank0]: To avoid data inconsistency, we are taking the entire process down.",
        "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "step 100 loss 2.31 EI0 E0006 lr 3e-4",
        "[INFO] HCCL(42,python):2025-02-20-16:27:32.540.044 [hcom.cc:454][42]Entry-HcomAllReduce:tag[x]",
        "[ERROR] GE(42,python):2025-02-20-16:27:32.540.044 [x.cc:1]42 something else",
        "[ERROR] 2026-01-01 my application failed",
    ],
)
def test_ordinary_lines_give_nothing(line: str) -> None:
    """Progress, information, other errors."""
    assert read(line) == []


def plog(text: str, level: str = "ERROR", module: str = "HCCL", pid: int = 4242) -> str:
    """A line of a plog file."""
    return f"[{level}] {module}({pid},python3):2026-03-18-10:33:52.113.403 [file.cc:797] [18744]{text}"


@pytest.mark.parametrize(
    ("line", "kind", "code", "waited"),
    [
        (plog("[Wait][LinkEstablish]wait socket establish timeout, role[1] rank[1] timeout[120 s]"), "hccl_link", "EI0006", 120.0),
        (plog("[Wait][LinkEstablish]wait socket establish timeout, role[1] rank[24] timeout[480]"), "hccl_link", "EI0006", 480.0),
        (plog("[Wait][P2PConnected]connected p2p timeout, timeout:130 s. local logicDevid:0, remote physic id:1."), "hccl_link", None, 130.0),
        (plog("[InitGroupStage][RanktableDetect]topo exchange server get socket timeout! timeout[120 s]"), "hccl_link", "EI0006", 120.0),
        (plog("[InitChannelStage][Timeout]Transport init error! createLink para: localUserrank[1]"), "hccl_link", "EI0006", None),
        (plog("[Heartbeat]cqe err status[12], time:[2023-07-04 22:15:59.099518], ip:[192.1.95.102]"), "hccl_cqe", "EI0013", None),
        (plog("[TaskExecStage][HeartbeatAbnormal][ROCE CQE ERROR]cqe error status[12], remoteIP{deviceIp[127.11.0.2]}"), "hccl_cqe", "EI0013", None),
        (plog("hns_roce_lite_handle_error_cqe(630) : error cqe status: 0x15", module="ROCE"), "hccl_cqe", "EI0013", None),
        (plog("[create][ra_hdc_period_poll]failed CQE status[12], wr[0]", module="HCCP"), "hccl_cqe", "EI0013", None),
        (plog("fftsplus task execute failed, err_type=4[fftsplus sdma error]", module="RUNTIME"), "hccl", "EI0012", None),
        (plog("[TaskExecStage][HeartbeatAbnormal]local rank [10.0.0.1/1]: crimer rank [10.0.0.2/2] status[LOST] by informer rank [10.0.0.3/3]", level="INFO"), "hccl_heartbeat", None, None),
        (plog("[TaskExecStage][HeartbeatAbnormal]local rank [10.0.0.1/1]: crimer rank [10.0.0.2/2] status[ERROR CQE] by informer rank [10.0.0.3/3]", level="INFO"), "hccl_cqe", "EI0013", None),
        (plog("[TaskExecStage][HeartbeatAbnormal]Cluster Exception Location[IP/ID]:[10.0.0.2/2], ExceptionType:[Stuck Occurred]"), "hccl_heartbeat", None, None),
        (plog("[TaskExecStage][Timeout][Host]Task run failed, base information is streamID:[2], taskID[21]"), "hccl_error", None, None),
        (plog("x").replace("[ERROR] ", "[ERROR]"), "hccl_error", None, None),
    ],
)  # fmt: skip
def test_plog(line: str, kind: str, code: str | None, waited: float | None) -> None:
    """With the code that HCCL prints on the console for it, where it always does."""
    event = one(line)
    assert (event.kind, event.code, event.waited_seconds) == (kind, code, waited)
    assert (event.vendor, event.pid, event.process) == ("ascend", 4242, "python3")


@pytest.mark.parametrize(
    ("text", "culprit", "rank"),
    [
        ("[HeartbeatAbnormal]local rank [10.0.0.1/1]: crimer rank [10.0.0.2/2] status[LOST] by informer rank [10.0.0.3/3]", "10.0.0.2/2", 1),
        ("[HeartbeatAbnormal]Cluster Exception Location[IP/ID]:[10.0.0.2/15], ExceptionType:[Heartbeat Lost Occurred]", "10.0.0.2/15", None),
        ("cqe err status[12], time:[x], ip:[192.1.95.102]", "192.1.95.102", None),
        ("Failed to connect agent[1,3,5,7,]", "1,3,5,7,", None),
        ("wait socket establish timeout, role[1] rank[24] timeout[480]", None, 24),
    ],
)  # fmt: skip
def test_a_line_that_names_the_culprit_is_believed_so_far(text: str, culprit: str | None, rank: int | None) -> None:
    """The rank that prints is seldom the cause."""
    event = one(plog(text))
    assert (event.culprit, event.rank) == (culprit, rank)


TABLE = (
    plog("   _________________________LINK_ERROR_INFO___________________________"),
    plog("   |  comm error, device[1]"),
    plog("   |  dest_ip(user_rank)  |   dest_port   |  src_ip(user_rank)   |   src_port   |   MyRole   |   Status   |"),
    plog("   |--------------------|--------------------|----------|------------|"),
    plog(
        "   |   192.0.2.199(0)   |   16666   |   192.0.3.198(1)   |   3234403008   |   client   |  time out  | DISABLE |"
    ),
    plog("   |   192.0.2.200(7)   |   192.0.3.198(1)   |   server   | no connect |"),
    plog("   ___________________________________________________________________"),
    plog("the connection failure between this device and target device may be due to the following reasons:"),
    plog("1. the connection between this device and the target device is abnormal."),
)


def test_a_table_of_failed_links_gives_its_rows() -> None:
    """Of both releases, with and without ports; decoration and advice give nothing."""
    rows = read(*TABLE)
    assert {(event.kind, event.code, event.pid) for event in rows} == {("hccl_link", "EI0006", 4242)}
    assert [(event.rank, event.culprit) for event in rows] == [(1, "192.0.2.199/0"), (1, "192.0.2.200/7")]


def test_a_table_that_breaks_off_still_tells_of_its_link() -> None:
    """The process died while it wrote."""
    assert (one(TABLE[0]).kind, one(TABLE[0]).code) == ("hccl_link", "EI0006")


@pytest.mark.parametrize(
    ("line", "code", "pid"),
    [
        ("[PID: 3448331] 2025-12-04-21:59:08.232.310 Execution Error ROCE CQE(EI0013): The cqe failed", "EI0013", 3448331),
        ("EI0005: 2024-04-24-06:32:27.781.599 The arguments are inconsistent", "EI0005", None),
        ("EI0002: [PID: 7277] 2024-11-28-11:59:30.645.648 The wait execution of the Notify register times out", "EI0002", 7277),
        ("[rank3]: RuntimeError: EJ0001: Failed to initialize the HCCP process", "EJ0001", None),
        ("Communication_Error_Get_Socket(EI0006): srcRank[192.168.0.192/0] connect destRank[192.168.0.125/0] fail", "EI0006", None),
        ("EZ9999: Inner Error!", "EZ9999", None),
        ("[ERROR] 2026-01-01-10:00:00 (PID:12, Device:0, RankID:0) EI9999: Inner Error!", "EI9999", None),
    ],
)  # fmt: skip
def test_console_codes(line: str, code: str, pid: int | None) -> None:
    """Old and new forms."""
    event = one(line)
    assert (event.kind, event.vendor, event.code, event.pid) == ("hccl", "ascend", code, pid)


NEEDLES = (
    "[rank1]", "[Rank 1] ", "Watchdog caught collective operation timeout", "Timeout(ms)=", "last enqueued NCCL work: ",
    "CUDA error: ", "NCCL WARN ", "[ERROR] HCCL(1,a):", "LINK_ERROR_INFO", "|", "1.1.1.1(3)", "EI0006: ", "timeout[",
    "9" * 400, "9" * 5000, "]", "crimer rank [", "(a pid=1) ",
)  # fmt: skip


@given(st.lists(st.one_of(st.sampled_from(NEEDLES), st.text(max_size=40)), max_size=30))
def test_no_text_raises(parts: list[str]) -> None:
    """A training log can hold anything."""
    reader = TrainingReader()
    for start in range(0, len(parts), 3):
        reader.feed("".join(parts[start : start + 3]))
    reader.flush()


@pytest.mark.parametrize(
    "line",
    [
        "[rank{}]: Watchdog caught collective operation timeout: WorkNCCL(Timeout(ms)={})",
        "[rank1]: last enqueued NCCL work: {}, last completed NCCL work: {}.",
        "[rank1]: ProcessGroupNCCL's watchdog got stuck for {} seconds",
        "n:{}:2 [0] NCCL WARN Call to recv from a failed : Connection reset",
        "(W pid={}) [rank1]: CUDA error: unspecified launch failure",
        "[ERROR] HCCL({},a):2026-01-01-10:00:00.1 wait socket establish timeout, role[1] rank[{}] timeout[{} s]",
        "[PID: {}] EI0006: a",
    ],
)
def test_numbers_that_are_none_raise_nothing(line: str) -> None:
    """A file cut and joined by a dying disk holds anything."""
    for digits in ("9" * 400, "9" * 5000):
        read(line.replace("{}", digits))
