"""The table that `accelwatch check` prints for a tired person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelwatch.headline import headline, name_of, urgency, waiting

RED, YELLOW, GREEN, BOLD, PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[32m", "\x1b[1m", "\x1b[0m"
_HEALTH_COLOUR = {"ok": GREEN, "warning": YELLOW, "alarm": RED, "critical": RED, "unknown": YELLOW}
_NOT_REPORTED = "-"
_MIB = 1 << 20
_HEADINGS = ("DEVICE", "MODEL", "HEALTH", "TEMP", "POWER", "UTIL", "MEMORY", "ECC c/u", "LINKS", "PROCESSES")


def render(document: dict[str, Any], colour: bool) -> str:
    """Verdict, faults with what to do, devices, links that are not up, sources; in that order."""

    def paint(text: str, code: str) -> str:
        return f"{code}{text}{PLAIN}" if colour else text

    told = headline(document["devices"], document["faults"], document["sources"])
    parts = [paint(f"{document['node']}: {told}", BOLD)]
    planned = document.get("maintenance")
    if planned is not None:
        parts.append(paint(f"MAINTENANCE until {planned['until']}: {planned['reason']}; nothing pages", YELLOW))
    parts += [_fault(fault, paint) for fault in sorted(document["faults"], key=urgency)]
    if document["devices"]:
        parts.append("\n" + _devices(document["devices"], paint))
    down = [
        f"{name_of(device)} {link['link']}"
        for device in document["devices"]
        for link in device["links"]
        if link["state"] == "down"
    ]
    if down:
        parts.append("\n" + paint("links down: ", YELLOW) + ", ".join(down))
    parts.append("\n" + "\n".join(_source(source, paint) for source in document["sources"]))
    if not document["sources"]:
        parts.append("no source: this host has neither an NVIDIA nor an Ascend driver that accelwatch can find")
    return "\n".join(parts)


def _fault(fault: dict[str, Any], paint: Any) -> str:
    colour = RED if fault["severity"] == "run_ending" and not (fault["echo"] or fault.get("drill")) else YELLOW
    mark = paint(f"{fault['severity'].upper()} {fault['class']}", colour)
    place = name_of(fault) if fault["device"] is not None else f"{fault['vendor']}, the node as a whole"
    code = f" [{' '.join(fault['codes'] or [fault['code']])}]" if fault["code"] else ""
    echo = " (follows from another fault)" if fault["echo"] else ""
    echo += " (a DRILL, no fault)" if fault.get("drill") else ""
    times = f", {fault['count']} times, last {fault['last_seen']}" if fault["count"] > 1 else ""
    run = f", run {fault['run_id']}" if fault["run_id"] else ""
    return (
        f"\n{mark}{code} on {place}{echo}\n  {fault['message']}\n  since {fault['first_seen']}{times}{run}"
        f"\n  do: {fault['action']}"
    )


def _devices(devices: Sequence[dict[str, Any]], paint: Any) -> str:
    rows = [_row(device) for device in devices]
    widths = [max(len(row[i]) for row in (_HEADINGS, *rows)) for i in range(len(_HEADINGS))]
    lines = [paint("  ".join(h.ljust(w) for h, w in zip(_HEADINGS, widths, strict=True)).rstrip(), BOLD)]
    for device, row in zip(devices, rows, strict=True):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[2] = paint(cells[2], _HEALTH_COLOUR[device["health"]])
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _row(device: dict[str, Any]) -> tuple[str, ...]:
    used, total = device["memory_used_bytes"], device["memory_total_bytes"]
    ecc = device["ecc"]
    up = sum(link["state"] == "up" for link in device["links"])
    health = device["health"] + (f" {','.join(device['error_codes'])}" if device["error_codes"] else "")
    processes = device["processes"]
    names = sorted({process["name"] or "?" for process in processes or ()})
    return (
        name_of(device),
        device["model"] or _NOT_REPORTED,
        health,
        _number(device["temperature_celsius"], "{:.0f} C"),
        _number(device["power_watts"], "{:.0f} W"),
        _number(device["utilization_ratio"], "{:.0%}"),
        _NOT_REPORTED if used is None or total is None else f"{used // _MIB}/{total // _MIB} MiB",
        f"{_number(ecc['corrected'], '{}')}/{_number(ecc['uncorrected'], '{}')}",
        f"{up}/{len(device['links'])} up" if device["links"] else _NOT_REPORTED,
        _NOT_REPORTED if processes is None else f"{len(processes)} {' '.join(names)}".strip(),
    )


def _number(value: float | None, form: str) -> str:
    return _NOT_REPORTED if value is None else form.format(value)


def _source(source: dict[str, Any], paint: Any) -> str:
    mark = paint("ok    ", GREEN) if source["up"] else paint("FAILED", RED)
    if waiting(source):
        mark = paint("no answer yet", YELLOW)
    seconds = "" if source["seconds"] is None else f" {source['seconds']:.3f} s"
    error = f"  {source['error']}" if source["error"] else ""
    return f"source {source['source']:<12} {mark}{seconds}{error}"
