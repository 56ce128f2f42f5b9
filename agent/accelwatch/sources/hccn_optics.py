"""Reads the optical module of a port: `-optical -g` in lines, its newer form in columns, and 950's tables.

Lines have milliwatts (reference/ascend.md section 3). `-optical -g v2` of A2 and A3 prints columns with dBm, the alarm
thresholds beside each value and the flags of each lane in words; 950 puts the same items between bars (hicann/driver,
tool_optical.c of both).
"""

from __future__ import annotations

import re

from accelwatch.readings.link import Optics
from accelwatch.sources.hccn_outputs import table_rows, values
from accelwatch.sources.npu_smi_values import decimal, first_decimal, hexadecimal

# A module with one lane has no number behind it.
_LANE = re.compile(r"^(Tx|Rx) ?Power ?(?:Lane)?(\d?)$", re.IGNORECASE | re.ASCII)
# `RxPower Lane0(dBm)  -1.23  ...`, `Temperature(C)  41.00  ...`: an item with its unit, then its columns.
_ITEM = re.compile(r"^\s*([A-Z]\w*(?: Lane\d)?)\((C|V|mA|dBm|dB)\)\s+(\S.*?)\s*$", re.ASCII)
_FLAG = re.compile(r"^\s*(RxLos|TxLos) Flag\s+((?:Normal|Abnormal|-)(?:\s*\|\s*(?:Normal|Abnormal|-))*)\s*$")
# Beyond what any module sends or receives; 10 to the power of more is no number.
_MOST_DBM = 60.0


def parse_optical(output: str) -> Optics | None:
    """`None` when the module cannot be asked now (I2C busy, initialising)."""
    if "Optical module is not present" in output:
        return Optics(present=False)
    if "Items" in output:
        return _columns(output)
    found = values(output)
    if "present" not in found and "temperature" not in found:
        return None
    lanes: dict[str, dict[int, float | None]] = {"tx": {}, "rx": {}}
    for key, value in found.items():
        if match := _LANE.match(key):
            lanes[match[1].lower()][int(match[2] or 0)] = _with_unit(value)
    voltage = first_decimal(found.get("Vcc"))
    return Optics(
        present=found["present"] == "present" if "present" in found else None,
        temperature_celsius=first_decimal(found.get("temperature")),
        voltage_volts=None if voltage is None else voltage / 1000,
        tx_power_milliwatts=_in_order(lanes["tx"]),
        rx_power_milliwatts=_in_order(lanes["rx"]),
        rx_power_low_milliwatts=_with_unit(found.get("RxPower Low Thres", "")),
        tx_power_low_milliwatts=_with_unit(found.get("TxPower Low Thres", "")),
        rx_loss_of_signal=hexadecimal(found.get("Rx Los Flag")),
        tx_loss_of_signal=hexadecimal(found.get("Tx Los Flag")),
        vendor=_word(found.get("vendor name")),
        serial=_word(found.get("vendor serial number")),
    )


def _columns(output: str) -> Optics | None:
    """A module that is absent, or cannot be read, has `-` in every column."""
    rows = table_rows(output)
    items = _items_in_columns(output) | {
        row["Items"]: row for row in rows if "Value" in row and _ITEM.match(f"{row.get('Items', '')} -")
    }
    lanes: dict[str, dict[int, float | None]] = {"Tx": {}, "Rx": {}}
    low: dict[str, float | None] = {"Tx": None, "Rx": None}
    for name, row in items.items():
        match = _LANE.match(name.removesuffix("(dBm)"))
        if match is None:
            continue
        way = match[1].capitalize()
        lanes[way][int(match[2] or 0)] = _milliwatts(row.get("Value"))
        if low[way] is None:
            low[way] = _milliwatts(row.get("LowAlarm"))
    if not items:
        return None
    base = next((row for row in rows if "Present" in row), {})
    vendor = next((row for row in rows if "Serial_number" in row), {})
    temperature = decimal(items.get("Temperature(C)", {}).get("Value"))
    measured = any(decimal(row.get("Value")) is not None for row in items.values())
    return Optics(
        present={"present": True, "absent": False}.get(base.get("Present", ""), True if measured else None),
        temperature_celsius=temperature,
        voltage_volts=decimal(items.get("Voltage(V)", {}).get("Value")),
        tx_power_milliwatts=_in_order(lanes["Tx"]),
        rx_power_milliwatts=_in_order(lanes["Rx"]),
        rx_power_low_milliwatts=low["Rx"],
        tx_power_low_milliwatts=low["Tx"],
        rx_loss_of_signal=_flag(output, rows, "RxLos"),
        tx_loss_of_signal=_flag(output, rows, "TxLos"),
        vendor=_word(vendor.get("Name")),
        serial=_word(vendor.get("Serial_number")),
    )


def _items_in_columns(output: str) -> dict[str, dict[str, str]]:
    """Rows below `Items  Value  HighAlarm ...`, by the words of that header."""
    header: list[str] = []
    items: dict[str, dict[str, str]] = {}
    for line in output.splitlines():
        words = line.split()
        if words[:2] == ["Items", "Value"]:
            header = words[1:]
        elif header and (match := _ITEM.match(line)):
            cells = match[3].split()
            if len(cells) == len(header):
                items.setdefault(f"{match[1]}({match[2]})", dict(zip(header, cells, strict=True)))
    return items


def _flag(output: str, rows: list[dict[str, str]], name: str) -> int | None:
    """Bit mask of the lanes whose flag says `Abnormal`; `None` unless a lane says anything."""
    for line in output.splitlines():
        match = _FLAG.match(line)
        if match is not None and match[1] == name:
            return _mask([word.strip() for word in match[2].split("|")])
    row = next((row for row in rows if row.get("Items") == f"{name} Flag"), {})
    return _mask([row.get(f"Lane{lane}", "-") for lane in range(8)])


def _mask(words: list[str]) -> int | None:
    if not any(word in ("Normal", "Abnormal") for word in words):
        return None
    return sum(1 << lane for lane, word in enumerate(words) if word == "Abnormal")


def _in_order(lanes: dict[int, float | None]) -> tuple[float | None, ...]:
    return tuple(lanes[lane] for lane in sorted(lanes))


def _with_unit(text: str) -> float | None:
    """`1.0189 mW` or `-3.01 dBm`."""
    if "dBm" in text:
        return _milliwatts(text.split()[0])
    return first_decimal(text)


def _milliwatts(dbm: str | None) -> float | None:
    """The tool takes the logarithm of what it measures: no light at all is `-inf`."""
    if dbm == "-inf":
        return 0.0
    value = decimal(dbm)
    return None if value is None or abs(value) > _MOST_DBM else 10 ** (value / 10)


def _word(text: str | None) -> str | None:
    return text if text and text not in ("NA", "-") else None
