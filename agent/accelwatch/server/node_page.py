"""The node's page for people: plain HTML, readable in a terminal browser and on a phone, without any other file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """
:root{color-scheme:light dark;--ok:#1a7f37;--warn:#9a6700;--bad:#cf222e;--line:#8884}
body{font:15px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:76rem;padding:0 .8rem}
h1{font-size:1.25rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.28rem .6rem;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}
td.text{white-space:normal;min-width:14rem}th{font-weight:600}
.ok{color:var(--ok)}.warning,.unknown{color:var(--warn);font-weight:600}
.alarm,.critical,.bad{color:var(--bad);font-weight:700}
.fault{border-left:4px solid var(--bad);padding:.3rem .8rem;margin:.6rem 0;background:#cf222e14}
.simulated{background:#9a6700;color:#fff;padding:.3rem .8rem;font-weight:700}
.none{opacity:.55}
@media (prefers-color-scheme:dark){:root{--ok:#3fb950;--warn:#d29922;--bad:#ff7b72}}
"""
_NONE = '<span class="none" title="not reported">&ndash;</span>'
_MIB = 1 << 20
REFRESH_SECONDS = 15


def render(report: Mapping[str, Any], *, version: str, node: str, agent: Mapping[str, Any]) -> bytes:
    """The page from the document of `check --json`; `agent` has `simulated`, `labels` and what is wrong with it."""
    devices, faults, sources = report["devices"], report["faults"], report["sources"]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width,initial-scale=1">',
        f'<meta http-equiv=refresh content="{REFRESH_SECONDS}"><title>{escape(node)} - accelwatch</title>',
        f"<style>{_STYLE}</style></head><body>",
        "<p class=simulated>SIMULATED hardware: nothing on this page is real</p>" if agent["simulated"] else "",
        f"<h1>{escape(node)}: {escape(verdict(devices, sources))}</h1>",
        _agent_line(version, agent),
        *(_fault(fault) for fault in faults),
        "<h2>Devices</h2>",
        _table(
            (
                "Device",
                "Model",
                "Health",
                "Temp.",
                "Power",
                "Util.",
                "Memory",
                "ECC corr./uncorr.",
                "Links",
                "Processes",
            ),
            (_device(device) for device in devices),
            "no device is known on this node",
        ),
        _links(devices),
        "<h2>Sources</h2>",
        _table(
            ("Source", "State", "Last poll", "Error"),
            (_source(source) for source in sources),
            "no source: this host has neither an NVIDIA nor an Ascend driver that accelwatch can find",
        ),
        '<p><a href="/metrics">metrics</a> &middot; <a href="/readyz">readyz</a> &middot; on the node: '
        "<code>accelwatch check</code></p></body></html>",
    ]
    return "\n".join(part for part in parts if part).encode()


def verdict(devices: Iterable[Mapping[str, Any]], sources: Iterable[Mapping[str, Any]]) -> str:
    """One line in plain words."""
    known = list(devices)
    failing = [source["source"] for source in sources if not source["up"]]
    tail = f"; no answer from {', '.join(failing)}" if failing else ""
    if not known:
        return f"no device is known{tail}"
    bad = [device for device in known if device["health"] != "ok"]
    if not bad:
        return f"{len(known)} devices, all healthy{tail}"
    named = ", ".join(f"{device['vendor']} {device['device']} {device['health']}" for device in bad[:4])
    return f"{len(bad)} of {len(known)} devices not healthy: {named}{', ...' if len(bad) > 4 else ''}{tail}"


def _agent_line(version: str, agent: Mapping[str, Any]) -> str:
    labels = " ".join(f"{escape(name)}={escape(value)}" for name, value in agent["labels"].items())
    problems = ""
    if not agent["reload_successful"]:
        problems += " <span class=bad>the configuration file is bad, the old one is in force</span>"
    if agent["journal_degraded"]:
        problems += " <span class=bad>the journal cannot be written to disk</span>"
    return f"<p>accelwatch {escape(version)} {labels}{problems}</p>"


def _fault(fault: Mapping[str, Any]) -> str:
    code = f" {escape(fault['code'])}" if fault["code"] else ""
    run = f" &middot; run {escape(fault['run_id'])}" if fault["run_id"] else ""
    severity = escape(fault["severity"].replace("_", "-"))
    return (
        f"<div class=fault><b>{severity}: {escape(fault['class'])}{code}</b> &mdash; {escape(fault['message'])}<br>"
        f"since {escape(fault['first_seen'])}{run}<br><b>Do:</b> {escape(fault['action'])}</div>"
    )


def _device(device: Mapping[str, Any]) -> tuple[str, ...]:
    used, total = device["memory_used_bytes"], device["memory_total_bytes"]
    codes = f" {escape(' '.join(device['error_codes']))}" if device["error_codes"] else ""
    links = [link for link in device["links"] if link["state"] != "unknown"]
    up = sum(link["state"] == "up" for link in links)
    all_up = up == len(device["links"])
    processes = device["processes"]
    names = ", ".join(sorted({escape(process["name"] or "unnamed") for process in processes or ()}))
    return (
        escape(f"{device['vendor']} {device['device']}"),
        _or_none(device["model"]),
        f"<span class={device['health']}>{device['health']}</span>{codes}",
        _number(device["temperature_celsius"], "{:.0f}&nbsp;&deg;C"),
        _number(device["power_watts"], "{:.0f}&nbsp;W"),
        _number(device["utilization_ratio"], "{:.0%}"),
        _NONE if used is None or total is None else f"{used // _MIB} / {total // _MIB} MiB",
        f"{_number(device['ecc']['corrected'], '{}')} / {_number(device['ecc']['uncorrected'], '{}')}",
        _NONE if not links else f"<span class={'ok' if all_up else 'warning'}>{up} of {len(device['links'])} up</span>",
        _NONE if processes is None else f"{len(processes)} {names}",
    )


def _links(devices: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (escape(f"{device['vendor']} {device['device']}"), f"<span class=bad>{escape(link['link'])}</span>")
        for device in devices
        for link in device["links"]
        if link["state"] == "down"
    ]
    return "<h2>Links that are down</h2>" + _table(("Device", "Link"), rows, "") if rows else ""


def _source(source: Mapping[str, Any]) -> tuple[str, ...]:
    state = "<span class=ok>up</span>" if source["up"] else "<span class=bad>failed</span>"
    return (
        escape(source["source"]),
        state,
        _number(source["seconds"], "{:.3f} s"),
        escape(source["error"] or ""),
    )


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]], empty: str) -> str:
    body = "".join(
        "<tr>" + "".join(f"<td class=text>{c}</td>" if len(c) > 160 else f"<td>{c}</td>" for c in row) + "</tr>"
        for row in rows
    )
    if not body:
        return f"<p>{escape(empty)}</p>"
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else form.format(value)


def _or_none(value: str | None) -> str:
    return _NONE if value is None else escape(value)
