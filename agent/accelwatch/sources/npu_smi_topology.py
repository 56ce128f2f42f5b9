"""Reads how chips are placed: `npu-smi info -t topo` and `-t spod-info` (reference/ascend.md section 2.2)."""

from __future__ import annotations

import re

import msgspec

from accelwatch.sources.npu_smi_queries import Block
from accelwatch.sources.npu_smi_values import integer

# NPU3; A3 names its dies by their physical id; newer builds add the host's network cards (hicann/driver,
# npu_info_print_ext.c, print_npu_topo_info).
_NAME = re.compile(r"(?:NPU|Phy-ID|NIC)[0-9]{1,6}", re.ASCII)
_CONNECTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_NIC = re.compile(r"^\s*(NIC[0-9]{1,6}):\s*(\S+)\s*$", re.ASCII)


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """Each pair's connection in the tool's word: X (itself), HCCS, HCCS_SW, SIO, UB, SYS, PHB, PIX, PXB, NA."""

    names: tuple[str, ...]
    connections: dict[tuple[str, str], str]
    cpus: dict[str, str]  # near each NPU, such as 0-23; empty in containers and on A3 with ARM hosts
    nics: dict[str, str]  # NIC0 -> mlx5_0


def parse_topology(output: str) -> Topology | None:
    """`None` unless the matrix is whole: as many connections in each row as there are columns."""
    header: list[str] | None = None
    rows: dict[str, list[str]] = {}
    nics: dict[str, str] = {}
    for line in output.splitlines():
        if match := _NIC.match(line):
            nics[match[1]] = match[2]
            continue
        words = line.split()
        if not words or not _NAME.fullmatch(words[0]):
            continue
        names = [word for word in words if _NAME.fullmatch(word)]
        if len(names) > 1 or (header is None and words[1:] in ([], ["CPU", "Affinity"])):
            header = names if header is None else header
        elif words[0] in rows:
            return None
        else:
            rows[words[0]] = words[1:]
    # A copy without its header has its columns in the order of its rows.
    columns = list(rows) if header is None else header
    if not rows or rows.keys() != set(columns) or len(columns) != len(rows):
        return None
    connections: dict[tuple[str, str], str] = {}
    cpus: dict[str, str] = {}
    for name, words in rows.items():
        own, rest = words[: len(columns)], words[len(columns) :]
        if len(own) < len(columns) or not all(_CONNECTION.fullmatch(word) for word in own) or len(rest) > 1:
            return None
        connections |= {(name, other): word for other, word in zip(columns, own, strict=True)}
        if connections[name, name] != "X":
            return None
        if rest and rest[0][0].isdecimal():
            cpus[name] = rest[0]
    return Topology(names=tuple(rows), connections=connections, cpus=cpus, nics=nics)


class SuperPod(msgspec.Struct, frozen=True, kw_only=True):
    """A chip's place in a superpod of A3 or 950."""

    size: int
    pod_id: int
    sdid: int | None = None  # A3
    server_index: int | None = None
    chassis_id: int | None = None  # some 950 boards, instead of the server
    pod_type: int | None = None  # 950


def parse_superpod(block: Block) -> SuperPod | None:
    """`-t spod-info`; `None` when size or id are not there, as where the query is not supported."""
    size, pod = integer(block.get("Super Pod Size")), integer(block.get("Super Pod ID"))
    if size is None or pod is None:
        return None
    return SuperPod(
        size=size,
        pod_id=pod,
        sdid=integer(block.get("SDID")),
        server_index=integer(block.get("Server Index")),
        chassis_id=integer(block.get("Chassis ID")),
        pod_type=integer(block.get("Super Pod Type")),
    )
