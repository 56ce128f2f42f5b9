"""Training logs and plogs: what NCCL and HCCL wrote."""

from accelwatch.logs.training import TrainingReader
from fuzz.seeds import captures


def seeds() -> list[bytes]:
    return [
        *captures("nvidia/nccl-log", "ascend/plog", "ascend/mindcluster"),
        b"[rank3]:[E327 00:41:33] [Rank 3] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, "
        b"OpType=ALLREDUCE, Timeout(ms)=600000) ran for 600021 milliseconds before timing out.\n",
        b"[ERROR] HCCL(12,python):2024-10-15-15:49:28.000.123 [x.cc:1][hccl]errcode[0x0000000005000007] EI0006\n",
    ]


def one(data: bytes) -> None:
    reader = TrainingReader()
    for line in data.decode("utf-8", "replace").split("\n"):
        reader.feed(line)
    reader.flush()
