"""Reads the taxonomy's data files and checks them: a wrong file ends the agent at its start, not at a fault."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from accelwatch.taxonomy.lookup import Taxonomy, native
from accelwatch.taxonomy.model import Actions, Code, FaultClass
from accelwatch.taxonomy.tables import Entry, TaxonomyError, complaint, read_classes, read_lines, read_table

__all__ = ["CLASSES", "PLACEHOLDERS", "SOURCES", "VENDORS", "Taxonomy", "TaxonomyError", "load", "read"]

# Reports, rules and dashboards name them: none may be missing, and a new one is a change of the contract.
CLASSES = (
    "device_lost",
    "mem_uncorrectable",
    "mem_repair",
    "mem_correctable",
    "onchip_sram",
    "compute_engine",
    "control_processor",
    "intra_node_link",
    "fabric_switch",
    "pcie_host_link",
    "net_link_down",
    "net_link_flap",
    "net_errors",
    "thermal",
    "power",
    "app_device_exception",
    "collective_timeout",
    "hang_no_error",
    "fail_slow",
    "driver_software",
    "silent_corruption",
    "host",
    "storage",
    "software_job",
    "unknown",
)
VENDORS = ("nvidia", "ascend", "host")
# What an action leaves to be filled in; whoever shows it knows the device.
PLACEHOLDERS = ("GPU", "NPU", "chip", "phy-id", "address", "netdev", "disk", "PID", "run", "URL")
SOURCES = ("nvml", "npu_smi", "hccn_tool", "kernel_log", "hccl_log", "rdma", "processes")

_PLACEHOLDER = re.compile(r"<([^<>]*)>")
_CLASS_FILE, _LINE_FILE = "classes.yml", "logs.yml"
_TABLES = (("xid", "nvidia_xids.csv"), ("sxid", "nvidia_sxids.csv"), ("ascend", "ascend_codes.csv"))


@functools.cache
def load() -> Taxonomy:
    """The taxonomy that is shipped, read once. Raises `TaxonomyError`."""
    return read(Path(__file__).parent)


def read(folder: Path) -> Taxonomy:
    """The taxonomy of a folder. Raises `TaxonomyError`, naming file, line and what was expected."""
    path = folder / _CLASS_FILE
    file = read_classes(path)
    classes = file.classes
    for name in CLASSES:
        if name not in classes:
            raise complaint(path, 1, f"class {name} is missing, expected the {len(CLASSES)} of the contract")
    for name, class_ in classes.items():
        _check(path, file.lines[name], class_)
    try:
        _check_action(file.informational_action)
    except ValueError as error:
        raise complaint(path, file.lines["informational_action"], f"informational_action: {error}") from None
    entries: list[Entry] = []
    for family, table in _TABLES:
        entries += read_table(folder / table, family)
    entries += read_lines(folder / _LINE_FILE)
    codes = _by_code(entries, classes)
    families = {family for family, _code in codes}
    for entry in entries:
        if entry.code_family is not None and entry.code_family not in families:
            text = f"code_family {entry.code_family!r}, expected one of {', '.join(sorted(families))}"
            raise complaint(entry.path, entry.line, text)
    code_families = {entry.code.family: entry.code_family for entry in entries if entry.code_family is not None}
    in_order = {name: classes[name] for name in CLASSES}
    return Taxonomy(in_order, codes, code_families, file.informational_action)


def _check(path: Path, line: int, class_: FaultClass) -> None:
    name = class_.name
    if name not in CLASSES:
        raise complaint(path, line, f"class {name!r}, expected one of {', '.join(CLASSES)}")
    if not class_.meaning.strip():
        raise complaint(path, line, f"class {name} has no meaning, expected a sentence")
    if class_.clear_after_seconds <= 0:
        raise complaint(path, line, f"class {name} clears after {class_.clear_after_seconds} s, expected more than 0")
    for vendor in {**class_.actions, **class_.observable}:
        if vendor not in VENDORS:
            raise complaint(path, line, f"class {name}: vendor {vendor!r}, expected one of {', '.join(VENDORS)}")
    for vendor in VENDORS:
        try:
            _check_vendor(vendor, class_.observable.get(vendor), class_.actions.get(vendor))
        except ValueError as error:
            raise complaint(path, line, f"class {name}, {vendor}: {error}") from None


def _check_vendor(vendor: str, sources: Iterable[str] | None, actions: Actions | None) -> None:
    if sources is None:
        raise ValueError("not said whether it can be seen, expected a list of sources")
    for source in sources:
        if source not in SOURCES:
            raise ValueError(f"source {source!r}, expected one of {', '.join(SOURCES)}")
    # A fault of a host is shown under its node's vendor, so the two always need an action.
    if actions is None and (vendor != "host" or sources):
        raise ValueError("no action, expected one per history")
    for text in msgspec.structs.astuple(actions) if actions is not None else ():
        _check_action(text)


def _check_action(text: str) -> None:
    if not text.strip():
        raise ValueError("an empty action, expected a text")
    for name in _PLACEHOLDER.findall(text):
        if name not in PLACEHOLDERS:
            raise ValueError(f"<{name}> in an action, expected one of <{'>, <'.join(PLACEHOLDERS)}>")


def _by_code(entries: Iterable[Entry], classes: Mapping[str, FaultClass]) -> dict[tuple[str, str | None], Code]:
    """One class per code: `family_of` must be able to tell a code's family, so Xids and SXids share no number."""
    codes: dict[tuple[str, str | None], Code] = {}
    places: dict[tuple[str, str | None], Entry] = {}
    for entry in entries:
        code, path = entry.code, entry.path
        if code.class_ not in classes:
            raise complaint(path, entry.line, f"class {code.class_!r}, expected one of {', '.join(CLASSES)}")
        try:
            _check_action(code.action if code.action is not None else "-")
        except ValueError as error:
            raise complaint(path, entry.line, f"{code.family} {code.code or ''}: {error}") from None
        if code.code is not None and native(code.family, code.code) != code.code:
            text = f"code {code.code!r}, expected it as {native(code.family, code.code)!r}"
            raise complaint(path, entry.line, text)
        space = "nvidia" if code.family in ("xid", "sxid") else code.family
        key = (space, code.code)
        if key in places:
            first = places[key]
            raise complaint(
                path,
                entry.line,
                f"{code.family} {code.code or ''} stands in {first.path.name}:{first.line} too "
                f"(class {first.code.class_}), expected once",
            )
        places[key] = entry
        codes[code.family, code.code] = code
    return codes
