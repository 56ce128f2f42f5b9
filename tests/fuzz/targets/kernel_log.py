"""The kernel log: a stream of records in pieces of any size, and what its messages say."""

from accelwatch.logs.kernel import KernelReader
from accelwatch.sources.kmsg import RECORD_LIMIT_BYTES, RecordSplitter, parse_record
from fuzz.seeds import captures


def seeds() -> list[bytes]:
    return [
        *captures("nvidia/kmsg-raw"),
        *(
            b"".join(b"4,%d,%d,-;%s\n" % (n, n, line[:500]) for n, line in enumerate(text.splitlines()[:60]))
            for text in captures(
                "nvidia/kernel-xid", "nvidia/kernel-sxid", "nvidia/kernel-aer", "nvidia/kernel-mlx5",
                "nvidia/kernel-hung", "nvidia/kernel-other", "ascend/dmesg",
            )
        ),
        b"4,1,1,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=1, name=a, GPU has fallen off the bus.\n DEVICE=+pci:0000:3b:00.0\n",
    ]  # fmt: skip


def one(data: bytes) -> None:
    splitter, reader = RecordSplitter(), KernelReader()
    size = 1 + sum(data[:5]) * 13 % 4000
    records = [record for at in range(0, len(data), size) for record in splitter.feed(data[at : at + size])]
    for raw in (*records, *splitter.flush()):
        assert len(raw) <= 2 * RECORD_LIMIT_BYTES
        parsed = parse_record(raw)
        if parsed is not None and parsed[1] is not None:
            reader.feed(parsed[1].text, parsed[1].details)
    reader.flush()
