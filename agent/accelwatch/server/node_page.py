"""The node's page for people: plain HTML, readable in a terminal browser and on a phone, without any other file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from accelwatch.headline import headline, name_of, urgency, waiting
from accelwatch.server.node_history import FAULT_HEADINGS, RUN_HEADINGS, fault_rows, run_rows

_STYLE = """
:root{color-scheme:light dark;--ok:#1a7f37;--warn:#9a6700;--bad:#cf222e;--line:#8884}
body{font:15px/1.45 system-ui,sans-serif;margin:1rem auto;max-width:84rem;padding:0 .8rem}
h1{font-size:1.25rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.28rem .42rem;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}
td.text{white-space:normal;min-width:14rem;overflow-wrap:anywhere}th{font-weight:600}
.ok{color:var(--ok)}.warning,.unknown{color:var(--warn);font-weight:600}
.alarm,.critical,.bad{color:var(--bad);font-weight:700}
.fault{border-left:4px solid var(--line);padding:.3rem .8rem;margin:.6rem 0;overflow-wrap:anywhere}
.run_ending{border-color:var(--bad);background:#cf222e14}.degrading{border-color:var(--warn);background:#9a670014}
.bar{display:inline-block;width:2.5rem;height:.6em;margin-right:.4rem;background:var(--line)}
.bar i{display:block;height:100%;background:#0969da}
.simulated{background:#9a6700;color:#fff;padding:.3rem .8rem;font-weight:700}
.none{opacity:.55}
@media (prefers-color-scheme:dark){:root{--ok:#3fb950;--warn:#d29922;--bad:#ff7b72}}
"""
_NONE = '<span class="none" title="not reported">&ndash;</span>'
_MIB = 1 << 20
# More than a line holds: such a cell may wrap.
_LONG_CELL = 48
REFRESH_SECONDS = 15


def render(report: Mapping[str, Any], *, version: str, node: str, agent: Mapping[str, Any]) -> bytes:
    """The page from the document of `check --json`, with `runs` and `history` where they are known.

    `agent` has `simulated`, `labels` and what is wrong with it.
    """
    devices, faults, sources = report["devices"], report["faults"], report["sources"]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width,initial-scale=1">',
        f'<meta http-equiv=refresh content="{REFRESH_SECONDS}"><title>{escape(node)} - accelwatch</title>',
        f"<style>{_STYLE}</style></head><body>",
        "<p class=simulated>SIMULATED hardware: nothing on this page is real</p>" if agent["simulated"] else "",
        f"<h1>{escape(node)}: {escape(headline(devices, faults, sources))}</h1>",
        _agent_line(version, agent),
        _maintenance(report.get("maintenance")),
        *(_fault(fault) for fault in sorted(faults, key=urgency)),
        "<h2>Devices</h2>",
        _table(
            (
                "Device",
                "Model",
                "Health",
                "Error codes",
                "Temp.",
                "Power",
                "Util.",
                "Memory",
                "ECC corr./unc.",
                "Links",
                "Processes",
            ),
            (_device(device) for device in devices),
            "no device is known on this node",
        ),
        _links(devices),
        *_history(report),
        "<h2>Sources</h2>",
        _table(
            ("Source", "State", "Last poll", "Error"),
            (_source(source) for source in sources),
            "no source: this host has neither an NVIDIA nor an Ascend driver that accelwatch can find",
        ),
        '<p><a href="/metrics">metrics</a> &middot; <a href="/readyz">readyz</a> &middot; on the node: '
        "<code>accelwatch check</code></p></body></html>",
    ]
    return "\n".join(part for part in parts if part).encode("utf-8", "replace")


def _agent_line(version: str, agent: Mapping[str, Any]) -> str:
    labels = " ".join(f"{escape(name)}={escape(value)}" for name, value in agent["labels"].items())
    problems = ""
    if not agent["reload_successful"]:
        problems += " <span class=bad>the configuration file is bad, the old one is in force</span>"
    if agent["journal_degraded"]:
        problems += " <span class=bad>the journal cannot be written, or was damaged and begun anew: see the log</span>"
    return f"<p>accelwatch {escape(version)} {labels}{problems}</p>"


def _maintenance(planned: Mapping[str, Any] | None) -> str:
    if planned is None:
        return ""
    by = f", by {escape(planned['by'])}" if planned["by"] else ""
    return f"<p class=warning>maintenance until {escape(planned['until'])}{by}: {escape(planned['reason'])}</p>"


def _fault(fault: Mapping[str, Any]) -> str:
    severity = escape(fault["severity"])
    device = name_of(fault) if fault["device"] is not None else f"{fault['vendor']}, the node as a whole"
    code = f", code {escape(' '.join(fault['codes'] or [fault['code']]))}" if fault["code"] else ""
    times = f", {fault['count']} times, last {escape(fault['last_seen'])}" if fault["count"] > 1 else ""
    run = f", run {escape(fault['run_id'])}" if fault["run_id"] else ""
    echo = " (follows from another fault)" if fault["echo"] else ""
    echo += " (a drill, no fault)" if fault.get("drill") else ""
    return (
        f'<div class="fault {severity}"><b>{severity.replace("_", "-")}: {escape(fault["class"])}</b>'
        f" &middot; {escape(device)}{code}{echo}<br>{escape(fault['message'])}<br>"
        f"since {escape(fault['first_seen'])}{times}{run}<br><b>Do:</b> {escape(fault['action'])}</div>"
    )


def _device(device: Mapping[str, Any]) -> tuple[str, ...]:
    used, total = device["memory_used_bytes"], device["memory_total_bytes"]
    codes = device["error_codes"]
    links = [link for link in device["links"] if link["state"] != "unknown"]
    up = sum(link["state"] == "up" for link in links)
    all_up = up == len(device["links"])
    processes = device["processes"]
    names = ", ".join(sorted({escape(process["name"] or "unnamed") for process in processes or ()}))
    return (
        escape(name_of(device)),
        _or_none(device["model"]),
        f'<span class="{escape(device["health"])}">{escape(device["health"])}</span>',
        _NONE if codes is None else escape(" ".join(codes)) or "none",
        _number(device["temperature_celsius"], "{:.0f}&nbsp;&deg;C"),
        _number(device["power_watts"], "{:.0f}&nbsp;W"),
        _load(device["utilization_ratio"]),
        _NONE if used is None and total is None else f"{_mebibytes(used)} / {_mebibytes(total)} MiB",
        f"{_number(device['ecc']['corrected'], '{}')} / {_number(device['ecc']['uncorrected'], '{}')}",
        _NONE if not links else f"<span class={'ok' if all_up else 'warning'}>{up} of {len(device['links'])} up</span>",
        _NONE if processes is None else f"{len(processes)} {names}" if processes else "none",
    )


def _links(devices: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (escape(name_of(device)), f"<span class=bad>{escape(link['link'])}</span>")
        for device in devices
        for link in device["links"]
        if link["state"] == "down"
    ]
    return "<h2>Links that are down</h2>" + _table(("Device", "Link"), rows, "") if rows else ""


def _history(report: Mapping[str, Any]) -> list[str]:
    runs, past = report.get("runs"), report.get("history")
    return [
        "" if runs is None else "<h2>Runs</h2>" + _table(RUN_HEADINGS, run_rows(runs), "no run in the last 24 hours"),
        ""
        if past is None
        else "<h2>Faults of the last 24 hours</h2>" + _table(FAULT_HEADINGS, fault_rows(past), "none"),
    ]


def _source(source: Mapping[str, Any]) -> tuple[str, ...]:
    state = "<span class=ok>up</span>" if source["up"] else "<span class=bad>failed</span>"
    if waiting(source):
        state = "<span class=unknown>no answer yet</span>"
    return (
        escape(source["source"]),
        state,
        _number(source["seconds"], "{:.3f} s"),
        escape(source["error"] or ""),
    )


def _table(headings: tuple[str, ...], rows: Iterable[tuple[str, ...]], empty: str) -> str:
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    if not body:
        return f"<p>{escape(empty)}</p>"
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(html: str) -> str:
    wraps = " class=text" if "<" not in html and len(html) > _LONG_CELL else ""
    return f"<td{wraps}>{html}</td>"


def _number(value: float | None, form: str) -> str:
    return _NONE if value is None else form.format(value)


def _load(ratio: float | None) -> str:
    if ratio is None:
        return _NONE
    width = round(min(max(ratio, 0.0), 1.0) * 100)
    return f'<span class=bar><i style="width:{width}%"></i></span>{ratio:.0%}'


def _mebibytes(value: int | None) -> str:
    return _NONE if value is None else str(value // _MIB)


def _or_none(value: str | None) -> str:
    return _NONE if value is None else escape(value)
