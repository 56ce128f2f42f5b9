"""Run: one run's devices over time, the first to stall, its links, its faults, and how it ended."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.dashboard import Panel

from boards import links, variables, words
from boards.annotations import fault_begins, run_ends
from boards.board import board
from boards.colours import BAD, FINE, SEVERITIES, SKY, UNKNOWN, WARNING
from boards.layout import Placed, Row
from boards.panels import NETWORK, Query, lines, number, states
from boards.tables import CLUSTER, VENDOR, Column, table
from boards.variables import CLUSTER as C
from boards.variables import NODE as N
from boards.variables import RUN as R

# Of the devices that the run holds: joined by what each device does for it.
ON_RUN = f"and on (cluster, node, vendor, device) accelwatch_device_activity{{{C},{R},{N}}}"
ACTIVITY = [
    words.words({"1": ("works", FINE), "2": ("waits at full use", SKY), "3": ("waits idle", WARNING)}),
]
# A screen holds so many rows; those that stopped first are shown.
AT_MOST = 24


def dashboard() -> Dashboard:
    """For a run that stands still, ended, or is slow."""
    return board(
        links.RUN,
        "accelwatch / Run",
        "One run over all its nodes: who works and who waits, the first to stall, links, faults, and how it ended.",
        [
            variables.datasource(),
            variables.cluster(),
            variables.run(),
            variables.run_node(),
        ],
        [
            Row(4, _numbers()),
            Row(6, [(24, _how_it_ended())]),
            Row(8, [(12, _activity_count()), (12, _first_to_stall())]),
            Row(11, [(24, _activity())]),
            Row(8, [(10, _faults()), (14, _fault_table())]),
            Row(8, [(8, _power()), (8, _utilization()), (8, _clock())], title="Devices of the run", id_=91),
            Row(7, [(8, _link_down()), (8, _link_drops()), (8, _temperature())]),
        ],
        since="now-3h",
        refresh="30s",
        annotations=[fault_begins(f"{C},{R},{N}"), run_ends(f"{C},{R}")],
    )


def _numbers() -> list[Placed]:
    ended = "The run has ended, or is not known in this time."
    return [
        (
            4,
            number(
                1,
                "State now",
                "Whether the run goes on, judged over all its nodes; of several runs the worst. " + ended,
                Query(f"max(accelwatch:run:stalled{{{C},{R}}})"),
                mappings=words.STALLED[:1],
                empty="no run goes on",
            ),
        ),
        (
            4,
            number(
                2,
                "Devices now",
                "Devices that the run holds over all nodes that answer. " + ended,
                Query(f"sum(accelwatch:run:devices{{{C},{R}}})"),
                empty="none",
            ),
        ),
        (
            4,
            number(
                3,
                "Ranks, by its launcher",
                "World size that the launcher told. Fewer devices than ranks: nodes of it are not seen.",
                Query(f"sum(max by (cluster, run_id, attempt) (accelwatch_run_world_size{{{C},{R}}}))"),
                empty="not told",
            ),
        ),
        (
            4,
            number(
                4,
                "Stands still for",
                "Time since any device of it made progress, where it stands still; of several runs the longest.",
                Query(f"time() - min(accelwatch:run:onset_timestamp_seconds{{{C},{R}}})"),
                unit="s",
                empty="it does not",
            ),
        ),
        (
            4,
            number(
                5,
                "Hangs after",
                "A wait longer than this is a hang: three times the longest wait of this run, from 5 to 30 minutes.",
                Query(f"max(accelwatch:run:hang_threshold_seconds{{{C},{R}}})"),
                unit="s",
                empty="no run goes on",
            ),
        ),
        (
            4,
            number(
                6,
                "Lost device-hours",
                "Between last progress and end, over all nodes, of runs interrupted in the last 24 hours.",
                Query(f"sum(accelwatch:run_interruption:lost_device_seconds{{{C},{R}}}) / 3600"),
                decimals=1,
                empty="none known",
            ),
        ),
    ]


def _how_it_ended() -> Panel:
    cause = f"accelwatch:run_interruption:cause_timestamp_seconds{{{C},{R}}}"
    on = "on (cluster, run_id, attempt) group_left ()"
    end = "max by (cluster, run_id, attempt) (accelwatch:run_interruption:end_timestamp_seconds)"
    return table(
        10,
        "How it ended",
        "Each interruption of the last 24 hours with the earliest cause on any of its nodes. `killed` with cause "
        "`unknown` may have been somebody's wish. A run that completed is none.",
        [
            Query(f"1000 * ({cause} * 0 + {on} {end})"),
            Query(f"1000 * {cause}"),
            Query(f"({cause} * 0 + {on} accelwatch:run_interruption:lost_device_seconds) / 3600"),
        ],
        [
            Column(field="run_id", title="Run", width=130),
            Column(field="attempt", title="Attempt", width=80),
            Column(field="outcome", title="Outcome", mappings=words.OUTCOME, width=100),
            Column(field="class", title="Cause", width=170),
            Column(field="node", title="Node", links=[links.to_node()], empty="none singled out"),
            VENDOR,
            Column(field="device", title="Device", width=80),
            Column(field="B", title="Cause struck", unit="dateTimeAsIso", width=170),
            Column(field="A", title="Ended", unit="dateTimeAsIso", width=170),
            Column(field="C", title="Lost device-hours", decimals=1, width=140, empty="not known"),
            CLUSTER,
        ],
        empty="Not interrupted in the last 24 hours, as far as the rules know",
        sort="Ended",
        also_hidden=["model"],
    )


def _activity_count() -> Panel:
    return lines(
        11,
        "What its devices do",
        "Devices that work, wait at full use (a collective on NVIDIA looks so) or wait idle. A gap: nothing was seen.",
        Query(f'sum(accelwatch:run:activity:count{{{C},{R},state="busy"}})', "works"),
        Query(f'sum(accelwatch:run:activity:count{{{C},{R},state="spin"}})', "waits at full use"),
        Query(f'sum(accelwatch:run:activity:count{{{C},{R},state="quiet"}})', "waits idle"),
        empty="No device of it was seen in this time",
        colours={"works": FINE, "waits at full": SKY, "waits idle": WARNING},
        stacked=True,
        decimals=0,
    )


def _first_to_stall() -> Panel:
    progress = f"last_over_time(accelwatch_device_last_progress_timestamp_seconds{{{C},{R},{N}}}[$__range])"
    by = "by (cluster, run_id, attempt, node, vendor, device)"
    first = f"bottomk by (cluster, run_id, attempt) ({AT_MOST}, max {by} ({progress}))"
    newest = f"max by (cluster, run_id, attempt) ({progress})"
    return table(
        12,
        "First to stall",
        f"The {AT_MOST} devices of each run that have been without progress for longest, and how far each is behind "
        "the device that worked last. Less than 5 s apart, or two readings, is a tie: clocks differ by as much.",
        [
            Query(f"{newest} - on (cluster, run_id, attempt) group_right () {first}"),
            Query(f"1000 * {first}"),
        ],
        [
            Column(field="A", title="Behind the last", unit="s", decimals=0, width=150),
            Column(field="node", title="Node", links=[links.to_node()]),
            VENDOR,
            Column(field="device", title="Device", width=80),
            Column(field="B", title="Last progress", unit="dateTimeAsIso", width=170),
            Column(field="run_id", title="Run", width=110),
        ],
        empty="No progress of a device is known in this time",
        sort="Behind the last",
        also_hidden=["attempt", "cluster"],
    )


def _activity() -> Panel:
    activity = 'max by (node, vendor, device) (accelwatch_device_activity{{{labels},state="{state}"}} == 1)'
    state = {name: activity.format(labels=f"{C},{R},{N}", state=name) for name in ("busy", "spin", "quiet")}
    first = (
        f"bottomk({AT_MOST}, max by (node, vendor, device) "
        f"(last_over_time(accelwatch_device_last_progress_timestamp_seconds{{{C},{R},{N}}}[$__range] @ end())))"
    )
    return states(
        13,
        "Each device over time",
        f"Works, waits at full use, or waits idle; the {AT_MOST} devices that have been without progress for longest. "
        "Choose a node to see all of its own. No bar: nothing was seen of the device.",
        Query(
            f"({state['busy']} or 2 * {state['spin']} or 3 * {state['quiet']}) and on (node, vendor, device) {first}",
            "{{node}} {{vendor}} {{device}}",
        ),
        mappings=ACTIVITY,
        empty="No device of it was seen in this time",
    )


def _faults() -> Panel:
    active = 'max by (node, vendor, device, class) (accelwatch_fault_active{{{labels},fault_severity="{severity}",drill!="true"}} == 1)'
    level = {name: active.format(labels=f"{C},{R},{N}", severity=name) for name in SEVERITIES}
    return states(
        14,
        "Faults on its devices over time",
        "When each fault on a device of the run was active, by severity. Their beginnings also mark the other panels.",
        Query(
            f"3 * {level['run_ending']} or 2 * {level['degrading']} or {level['informational']}",
            "{{node}} {{device}} {{class}}",
        ),
        mappings=[
            words.words({"1": ("informational", UNKNOWN), "2": ("degrading", WARNING), "3": ("run-ending", BAD)})
        ],
        empty="No fault on a device of it was told in this time",
    )


def _fault_table() -> Panel:
    told = f'accelwatch_fault_active{{{C},{R},{N},drill!="true"}} == 1'
    by = "by (node, vendor, device, class, code, fault_severity, incident)"
    return table(
        15,
        "Faults on its devices in this time",
        "The same as a list: when each was first told. Those of one incident belong to one cascade.",
        [
            Query(f"1000 * min {by} (min_over_time(timestamp({told})[$__range:1m]))"),
        ],
        [
            Column(field="fault_severity", title="Severity", mappings=words.SEVERITY, width=110),
            Column(field="class", title="Class", width=165),
            Column(field="node", title="Node", links=[links.to_node()]),
            VENDOR,
            Column(field="device", title="Device", width=70),
            Column(field="code", title="Code", width=90),
            Column(field="A", title="First told", unit="dateTimeAsIso", width=160),
        ],
        empty="No fault on a device of it was told in this time",
        sort="First told",
        descending=False,
        also_hidden=["incident"],
    )


def _by_node(id_: int, title: str, description: str, metric: str, unit: str, **options: float) -> Panel:
    return lines(
        id_,
        title,
        description + " Mean of each node's devices of the run.",
        Query(f"avg by (vendor, node) ({metric} {ON_RUN})", "{{vendor}} {{node}}"),
        unit=unit,
        empty="Not measured in this time",
        high=options.get("high"),
    )


def _power() -> Panel:
    return _by_node(
        20,
        "Power",
        "A run that waits draws a third of what it draws at work, also where its devices seem busy.",
        f"accelwatch_device_power_watts{{{C},{N}}}",
        "watt",
    )


def _utilization() -> Panel:
    return _by_node(
        21,
        "Utilization",
        "On NVIDIA a wait in a collective shows as full use, on Ascend as idle.",
        f"accelwatch_device_utilization_ratio{{{C},{N}}}",
        "percentunit",
        high=1,
    )


def _clock() -> Panel:
    return _by_node(
        22,
        "Compute clock",
        "A node whose clock is below that of the others holds them all up.",
        f'accelwatch_device_clock_hertz{{{C},{N},domain=~"sm|aicore"}}',
        "hertz",
    )


def _link_down() -> Panel:
    return lines(
        23,
        "Links down on its nodes",
        "Links of its devices that are down, by kind. 0 where links are read and all are up; a gap: not read.",
        Query(f"sum by (vendor, kind) ((accelwatch_link_up{{{C},{N}}} == bool 0) {ON_RUN})", "{{vendor}} {{kind}}"),
        decimals=0,
        empty="No link of its devices was read in this time",
        dashed=NETWORK,
    )


def _link_drops() -> Panel:
    return lines(
        24,
        "Link drops on its nodes",
        "Times that a link of its devices went down, per interval.",
        Query(
            f"sum by (vendor, kind) (increase(accelwatch_link_drops_total{{{C},{N}}}[$__rate_interval]) {ON_RUN})",
            "{{vendor}} {{kind}}",
        ),
        decimals=0,
        empty="No link of its devices was read in this time",
        dashed=NETWORK,
        bars=True,
    )


def _temperature() -> Panel:
    return lines(
        25,
        "Hottest device of each node",
        "Core temperature of the hottest device of the run on each node.",
        Query(
            f'max by (vendor, node) (accelwatch_device_temperature_celsius{{{C},{N},sensor="core"}} {ON_RUN})',
            "{{vendor}} {{node}}",
        ),
        unit="celsius",
        low=None,
        empty="Not measured in this time",
    )
