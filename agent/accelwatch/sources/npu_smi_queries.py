"""Reads the answers of `npu-smi info -t <type>`, `-m` and `-l` (reference/ascend.md section 2.2).

An answer is lines of `<key> : <value>`, one block per chip where a card has several: the block ends with
`Chip ID` in some queries and begins with it in others.
"""

from __future__ import annotations

import re

import msgspec

from accelwatch.readings.health import Level
from accelwatch.readings.identity import DeviceKey
from accelwatch.readings.link import Link, LinkKind, LinkState
from accelwatch.readings.memory import EccCount, ErrorKind, Repairs
from accelwatch.readings.process import DeviceProcess
from accelwatch.sources.npu_smi_info import HEALTH_WORDS, MIB
from accelwatch.sources.npu_smi_values import decimal, integer

Block = dict[str, str]

_CARD_KEYS = frozenset(("NPU ID", "Chip Count"))
_ECC_COUNT = re.compile(r"^(DDR|HBM) (Single|Double)[ -]Bit (Error Count|Aggregate Total Err Cnt)$", re.IGNORECASE)
_BARE_ECC_COUNT = re.compile(r"^(Single|Double)[ -]Bit Error Count$", re.IGNORECASE)
_ISOLATED = re.compile(r"^(?:DDR|HBM) (Single|Double)[ -]Bit Isolated Pages Count$", re.IGNORECASE)
_NEXT_ISOLATED = re.compile(r"^(?:DDR|HBM) (?:Single|Double)[ -]Bit Next-Isolated Pages Count$", re.IGNORECASE)
_ECC_ENABLED = re.compile(r"^(DDR|HBM) ECC-Enable Status$", re.IGNORECASE)
_PROCESS = re.compile(
    r"Process id\s*:\s*(\d{1,10})\s+Process name\s*:(.*?)\s*Process memory\(MB\)\s*:\s*(\d{1,15})\b", re.ASCII
)
_ERROR_CODES = re.compile(r"^(?:0[xX])?[0-9A-Fa-f]{6,8}(?:[\s,]+(?:0[xX])?[0-9A-Fa-f]{6,8})*$")
_LANES = re.compile(r"^[01]+$")
_KINDS = {"single": ErrorKind.CORRECTED, "double": ErrorKind.UNCORRECTED}
_HCCS_KEY = re.compile(r"^(?:hccs|xlink) ")


def blocks(output: str) -> dict[int, Block]:
    """The keys of each chip; a card with one chip, or a 950, has chip 0.

    The paragraph of a card's MCU (`Chip Name : MCU` begins it in `common`, ends it in `temp` and `power`; npu-smi
    manual, Atlas 200I A2) belongs to no chip. A key that comes again in the same block does not overwrite the first.
    Lines with an empty key (further texts of `Error Information`) are lines of the value before them.
    """
    pairs = [pair for paragraph in _paragraphs(output) if not _of_mcu(paragraph) for pair in paragraph]
    ids = [place for place, (key, _) in enumerate(pairs) if key == "Chip ID"]
    if not ids:
        return {0: _block(pairs)} if pairs else {}
    begins = all(key in _CARD_KEYS for key, _ in pairs[: ids[0]])
    edges = [*ids, len(pairs)] if begins else [-1, *ids]
    result: dict[int, Block] = {}
    for number, place in enumerate(ids):
        chip = integer(pairs[place][1])
        if chip is not None:
            start, end = (edges[number] + 1, edges[number + 1])
            result.setdefault(chip, _block(pairs[start:end]))
    return result


def numbered(output: str) -> bool:
    """Whether the answer says which chip its values are of."""
    return "Chip ID" in output and any(_pair(line)[0] == "Chip ID" for line in output.splitlines() if ":" in line)


def _paragraphs(output: str) -> list[list[tuple[str, str]]]:
    paragraphs: list[list[tuple[str, str]]] = [[]]
    for line in output.splitlines():
        if not line.strip():
            paragraphs.append([])
        elif ":" in line:
            paragraphs[-1].append(_pair(line))
    return paragraphs


def _pair(line: str) -> tuple[str, str]:
    """What stands before the first colon and behind it, without the one blank that belongs to the colon."""
    key, _, value = line.partition(":")
    return key.strip(), (value[1:] if value[:1].isspace() else value).rstrip()


def _of_mcu(paragraph: list[tuple[str, str]]) -> bool:
    return any(key.lower() == "chip name" and value.lower() == "mcu" for key, value in paragraph)


def _block(pairs: list[tuple[str, str]]) -> Block:
    result: Block = {}
    last = ""
    for key, value in pairs:
        if not key:
            if last in result:
                result[last] = f"{result[last]}\n{value}"
            continue
        last = key
        result.setdefault(key, value)
    return result


class Chip(msgspec.Struct, frozen=True, kw_only=True):
    """One row of `npu-smi info -m`, without MCUs."""

    npu_id: int
    chip_id: int
    logic_id: int | None
    phy_id: int | None
    name: str | None
    slot_id: int | None = None  # 950


def parse_map(output: str) -> list[Chip]:
    """`-m`: columns are at least two blanks apart, since a chip's name may hold one.

    An MCU, or the CPU of some cards, has a row with `-` in place of the logic and physical id, and is no chip.
    """
    lines = [re.split(r"\s{2,}|\t", line.strip()) for line in output.splitlines() if line.strip()]
    header = next((line for line in lines if line[0] == "NPU ID"), None)
    if header is None:
        return []
    result = []
    for cells in lines[lines.index(header) + 1 :]:
        if len(cells) < len(header):
            continue  # cut
        row = dict(zip(header, cells, strict=False))
        npu, chip = integer(row.get("NPU ID")), integer(row.get("Chip ID"))
        name = row.get("Chip Name")
        if npu is None or chip is None or (name or "").lower() == "mcu" or row.get("Chip Logic ID") == "-":
            continue
        result.append(
            Chip(
                npu_id=npu,
                chip_id=chip,
                logic_id=integer(row.get("Chip Logic ID")),
                phy_id=integer(row.get("Chip Phy-ID")),
                name=name,
                slot_id=integer(row.get("Slot ID")),
            )
        )
    return result


def parse_list(output: str) -> dict[int, Block]:
    """`-l`: the keys of each NPU by its id (`Product Name`, `Serial Number`, where the version has them)."""
    result: dict[int, Block] = {}
    current: Block | None = None
    for line in output.splitlines():
        if ":" not in line:
            continue
        key, value = _pair(line)
        if key == "NPU ID":
            npu = integer(value)
            current = None if npu is None else result.setdefault(npu, {})
        elif current is not None:
            current[key] = value
    return result


class HealthAnswer(msgspec.Struct, frozen=True):
    """`-t health`: `codes` is () when the device says that there are none."""

    level: Level | None
    codes: tuple[str, ...]
    texts: tuple[str, ...]


def parse_health(block: Block) -> HealthAnswer | None:
    """`None` when the fields it came for are not there, or the codes are neither `NA` nor hexadecimal."""
    word = block.get("Health Status", block.get("Health"))
    codes = block.get("Error Code", "")
    if word is None or not (codes == "NA" or _ERROR_CODES.match(codes)):
        return None
    found = () if codes == "NA" else tuple(code.upper().removeprefix("0X") for code in re.split(r"[\s,]+", codes))
    text = block.get("Error Information", "NA")
    texts = () if text in ("NA", "") else tuple(text.splitlines())
    return HealthAnswer(HEALTH_WORDS.get(word.upper()), found, texts)


def parse_ecc(block: Block) -> tuple[tuple[EccCount, ...], Repairs] | None:
    """Counters since boot and of the whole life, and isolated pages; `None` when there is no counter."""
    counts: list[EccCount] = []
    isolated: dict[ErrorKind, int] = {}
    pending: int | None = None
    for key, text in block.items():
        value = integer(text)
        if value is None:
            continue
        if match := _ECC_COUNT.match(key):
            lifetime = not match[3].lower().startswith("error")
            counts.append(
                EccCount(memory=match[1].lower(), kind=_KINDS[match[2].lower()], count=value, lifetime=lifetime)
            )
        elif match := _BARE_ECC_COUNT.match(key):
            counts.append(EccCount(memory="ddr", kind=_KINDS[match[1].lower()], count=value))
        elif match := _ISOLATED.match(key):
            kind = _KINDS[match[1].lower()]
            isolated[kind] = isolated.get(kind, 0) + value
        elif _NEXT_ISOLATED.match(key):
            pending = (pending or 0) + value
    if not counts:
        return None
    repairs = Repairs(
        rows_corrected=isolated.get(ErrorKind.CORRECTED),
        rows_uncorrected=isolated.get(ErrorKind.UNCORRECTED),
        pending=None if pending is None else pending > 0,
    )
    return tuple(counts), repairs


def parse_hccs(block: Block, key: DeviceKey) -> tuple[Link, ...]:
    """`-t hccs`: one link per column of its lists; () when there is no list."""
    values = {_HCCS_KEY.sub("", name): value for name, value in block.items() if _HCCS_KEY.match(name)}
    # A list without its end was cut: its last number may be a part of one.
    lists = {name: value[1:-1].split() for name, value in values.items() if value[:1] == "[" and value[-1:] == "]"}
    word = values.get("health status")
    healthy = None if word not in ("OK", "NOK") else word == "OK"
    lanes = lists.get("link lane list")
    errors, retries = lists.get("error count", []), lists.get("retry count", [])
    number = max((len(column) for column in lists.values()), default=0)
    return tuple(
        Link(
            key=key,
            link=f"hccs{i}",
            kind=LinkKind.HCCS,
            state=_hccs_state(lanes[i] if lanes and i < len(lanes) else None, healthy),
            healthy=healthy,
            verdict=word,
            lanes_lost=lanes[i].count("0") if lanes and i < len(lanes) and _LANES.match(lanes[i]) else None,
            errors={
                name: count
                for name, column in (("error", errors), ("retry", retries))
                if (count := integer(column[i] if i < len(column) else None)) is not None
            }
            or None,
            packets=_both_ways(lists.get("tx packets", [])[i : i + 1], lists.get("rx packets", [])[i : i + 1]),
        )
        for i in range(number)
    )


def _hccs_state(lanes: str | None, healthy: bool | None) -> LinkState:
    if lanes and _LANES.match(lanes):
        return LinkState.UP if "1" in lanes else LinkState.DOWN
    return LinkState.UP if healthy else LinkState.UNKNOWN


def parse_processes(output: str) -> tuple[DeviceProcess, ...] | None:
    """`-t proc-mem`; `None` when it says neither processes nor that there are none."""
    rows = tuple(
        DeviceProcess(pid=int(pid), name=name.strip() or None, memory_bytes=int(memory) * MIB)
        for pid, name, memory in _PROCESS.findall(output)
    )
    if rows:
        return rows
    return () if re.search(r"No process", output, re.IGNORECASE) else None


def processes_of_chips(output: str) -> dict[int, tuple[DeviceProcess, ...] | None]:
    """`-t proc-mem` of a card: each chip's part ends with its `Chip ID`; without one all of it is chip 0's."""
    parts = re.split(r"^\s*Chip ID\s*:\s*(\d{1,6})\s*$", output, flags=re.MULTILINE | re.ASCII)
    if len(parts) == 1:
        return {0: parse_processes(output)}
    return {int(chip): parse_processes(part) for part, chip in zip(parts[::2], parts[1::2], strict=False)}


def number(block: Block, *keys: str) -> float | None:
    """The first of the keys that has a number; `NA`, `-` and `Failed` are none. Blanks before `(` do not count."""
    plain = {key.replace(" (", "("): value for key, value in block.items()}
    return next((value for key in keys if (value := decimal(plain.get(key))) is not None), None)


def text(block: Block, *keys: str) -> str | None:
    """The first of the keys that says something."""
    return next((block[key] for key in keys if block.get(key, "NA") not in ("NA", "", "-", "xxx")), None)


def _both_ways(sent: list[str], received: list[str]) -> int | None:
    """Half of the sum would look like a counter that went back."""
    counts = [integer(text) for text in (*sent, *received)]
    return sum(count for count in counts if count is not None) if len(counts) == 2 and None not in counts else None


def parse_ecc_enabled(block: Block) -> dict[str, bool] | None:
    """`-t ecc-enable`: whether each memory (`hbm`, `ddr`) is protected; `None` when it is said of none."""
    found = {
        match[1].lower(): value == "True"
        for key, value in block.items()
        if (match := _ECC_ENABLED.match(key)) and value in ("True", "False")
    }
    return found or None


def parse_sio(block: Block, key: DeviceKey) -> Link | None:
    """`-t sio-info`: the link between the two dies of an A3 or 950, of which only its CRC errors are told.

    `None` unless both counts are there.
    """
    sent, received = integer(block.get("TX Error Count")), integer(block.get("RX Error Count"))
    if sent is None or received is None:
        return None
    return Link(key=key, link="sio0", kind=LinkKind.HCCS, errors={"tx_error": sent, "rx_error": received})
