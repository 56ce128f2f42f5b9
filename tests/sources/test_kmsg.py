"""Records of the kernel log, one by one and out of a stream."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelwatch.sources.kmsg import RECORD_LIMIT_BYTES, RecordSplitter, parse_record

STREAM = (
    b"3,1,10,-;NVRM: Xid (PCI:0000:3b:00): 79, GPU has fallen off the bus.\n SUBSYSTEM=pci\n DEVICE=+pci:0000:3b:00.0\n"
    b"6,2,20,-;second\n\n12,3,30,c,caller=T7;a user's\n KEY=v\n4,4,40,-;last\n"
)


@pytest.mark.parametrize(("priority", "level"), [(0, 0), (3, 3), (7, 7)])
def test_a_kernel_record_has_its_level(priority: int, level: int) -> None:
    """The low three bits are the level while the facility is the kernel's."""
    parsed = parse_record(b"%d,1,1,-;x" % priority)
    assert parsed is not None
    assert parsed[1] is not None
    assert parsed[1].level == level


@pytest.mark.parametrize("facility", [1, 3, 4, 16, 23])
def test_every_other_facility_is_passed_over_but_counts_in_the_sequence(facility: int) -> None:
    """Daemons and users cannot fake a driver's line, and leave no gap either."""
    assert parse_record(b"%d,9,1,-;NVRM: Xid (PCI:0000:3b:00): 79, x" % (8 * facility + 3)) == (9, None)


@pytest.mark.parametrize(
    "record",
    [b"", b";", b"4,1,1;x", b"4,1,1,-", b"-1,1,1,-;x", b"4,,1,-;x", b" 4,1,1,-;x", b"4," + b"1" * 5000 + b",1,-;x"],
)
def test_what_is_not_a_record_is_told_apart(record: bytes) -> None:
    """Missing fields, numbers that are none and numbers beyond 64 bits give no record."""
    assert parse_record(record) is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(body: bytes) -> None:
    """Any header and any text give a record or none, never an exception."""
    parse_record(body)
    parsed = parse_record(b"4,7,1,-;" + body)
    assert parsed is not None
    assert parsed[0] == 7


def test_an_escaped_backslash_is_decoded_once() -> None:
    r"""The kernel writes a backslash as \x5c; what follows it is text, not a second escape."""
    parsed = parse_record(b"4,1,1,-;a\\x5cx41 \\xff")
    assert parsed is not None
    assert parsed[1] is not None
    assert parsed[1].text == "a\\x41 \N{REPLACEMENT CHARACTER}"


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_a_stream_gives_the_same_records_in_whatever_pieces_it_comes(cuts: list[int]) -> None:
    """Details stay with their record although a read ends between them."""
    splitter = RecordSplitter()
    edges = [0, *sorted(cuts), len(STREAM)]
    found = [r for a, b in itertools.pairwise(edges) for r in splitter.feed(STREAM[a:b])] + splitter.flush()
    assert [record.split(b";")[0] for record in found] == [
        b"3,1,10,-",
        b"6,2,20,-",
        b"12,3,30,c,caller=T7",
        b"4,4,40,-",
    ]
    parsed = parse_record(found[0])
    assert parsed is not None
    assert parsed[1] is not None
    assert parsed[1].details == {"SUBSYSTEM": "pci", "DEVICE": "+pci:0000:3b:00.0"}


def test_a_line_without_its_end_waits() -> None:
    """Half a record is no record, even when nothing more is there for now."""
    splitter = RecordSplitter()
    assert splitter.feed(b"4,1,1,-;ha") == []
    assert splitter.flush() == []
    splitter.feed(b"lf\n")
    assert splitter.flush() == [b"4,1,1,-;half"]


def test_the_tail_of_an_endless_line_is_no_record() -> None:
    """A user's line cannot smuggle a kernel record in behind the limit; the line counts once as malformed."""
    splitter = RecordSplitter()
    found = splitter.feed(b"4,1,1,-;before\n12,2,1,-;" + b"x" * 2 * RECORD_LIMIT_BYTES)
    found += splitter.feed(b"y" * 2 * RECORD_LIMIT_BYTES)
    found += splitter.feed(b"4,3,1,-;NVRM: Xid (PCI:0000:3b:00): 79\n4,4,1,-;after\n") + splitter.flush()
    assert found == [b"4,1,1,-;before", b"", b"4,4,1,-;after"]
