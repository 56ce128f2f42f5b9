"""Node and device: what one node's devices are, how they are, and what they went through."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.dashboard import Panel

from boards import links, variables, words
from boards.annotations import fault_begins
from boards.board import board
from boards.colours import BAD, UNKNOWN, WARNING
from boards.layout import Placed, Row
from boards.panels import Query, lines, number, states
from boards.tables import VENDOR, Column, table
from boards.variables import CLUSTER as C
from boards.variables import MODEL as M
from boards.variables import NODE as N
from boards.variables import VENDOR as V

D = 'device=~"$device"'
DEVICES = f"{C},{V},{M},{N},{D}"
NAME = "{{vendor}} {{node}} {{device}}"
UNREAD = "Not read in this time: the device does not tell it, or its source does not answer"


def dashboard() -> Dashboard:
    """For the node that is to be looked at, drained or given back."""
    return board(
        links.NODE,
        "accelwatch / Node and device",
        "The devices of a node: identity, health, faults, heat, power, memory errors and exposure.",
        [
            variables.datasource(),
            variables.job(),
            variables.cluster(),
            variables.vendor(),
            variables.model(),
            variables.node(),
            variables.device(),
        ],
        [
            Row(4, _numbers()),
            Row(9, [(24, _devices())]),
            Row(7, [(14, _faults()), (10, _fault_table())]),
            Row(8, [(8, _temperature()), (8, _power()), (8, _utilization())], title="Over time", id_=90),
            Row(8, [(8, _memory()), (8, _clock()), (8, _throttled())]),
            Row(8, [(8, _corrected()), (8, _uncorrected()), (8, _rows())], title="Memory errors", id_=91),
            Row(7, [(8, _exposure()), (8, _processes()), (8, _pcie())], title="Use and host link", id_=92),
        ],
        since="now-6h",
        refresh="1m",
        annotations=[fault_begins(f"{C},{V},{N}")],
    )


def _numbers() -> list[Placed]:
    known = f"0 * count(accelwatch_device_up{{{DEVICES}}})"
    return [
        (
            4,
            number(
                1,
                "Agent",
                "Whether the node's agent can be scraped; of several nodes the worst.",
                Query(f'min(up{{{C},{N},job=~"$job"}})'),
                mappings=words.UP[:1],
            ),
        ),
        (
            5,
            number(
                2,
                "Devices that answer",
                "Of the inventory of nodes that are scraped, the devices that answer their driver.",
                Query(f"sum(accelwatch_device_up{{{DEVICES}}})"),
            ),
        ),
        (
            5,
            number(
                3,
                "Devices lost or missing",
                "Devices of the inventory that do not answer. `unknown`: the node is silent.",
                Query(f"count(accelwatch_device_up{{{DEVICES}}} == 0) or {known}"),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            5,
            number(
                4,
                "Faults in force",
                "Active faults that end or degrade runs; no drills. `unknown`: the node is silent.",
                Query(
                    f'count(accelwatch_fault_active{{{DEVICES},fault_severity!="informational",drill!="true"}} == 1) or {known}'
                ),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            5,
            number(
                5,
                "Maintenance ends in",
                "Planned work on the node: nothing of it pages until then; of several nodes the longest.",
                Query(f"clamp_min(max(accelwatch_maintenance_until_timestamp_seconds{{{C},{N}}}) - time(), 0)"),
                unit="s",
                mappings=[words.words({"0": ("no maintenance", "text")})],
            ),
        ),
    ]


def _devices() -> Panel:
    by = "max by (cluster, node, vendor, device)"
    join = f"* on (cluster, node, vendor, device) group_right () (accelwatch_device_info{{{DEVICES}}})"
    keep = "cluster, node, vendor, device, model, serial, pci, driver, firmware"

    def joined(metric: str) -> Query:
        return Query(f"sum by ({keep}) ({by} ({metric}) {join})")

    return table(
        10,
        "Devices",
        "Each device of the inventory with its identity. What a device does not tell, or no longer tells, is unknown: not "
        "0 and not fine.",
        [
            joined(f"accelwatch_device_up{{{DEVICES}}}"),
            joined(f"accelwatch_device_health{{{DEVICES}}}"),
            joined(f'accelwatch_device_temperature_celsius{{{DEVICES},sensor="core"}}'),
            joined(f"accelwatch_device_power_watts{{{DEVICES}}}"),
            joined(f"accelwatch_device_utilization_ratio{{{DEVICES}}}"),
        ],
        [
            Column(field="node", title="Node", width=120),
            VENDOR,
            Column(field="device", title="Device", width=75),
            Column(field="A", title="Driver says", mappings=words.UP[:1], width=130),
            Column(field="B", title="Health", mappings=words.HEALTH[:1], width=90, empty="unknown"),
            Column(field="C", title="Core", unit="celsius", decimals=0, width=75, empty="unknown"),
            Column(field="D", title="Power", unit="watt", decimals=0, width=80, empty="unknown"),
            Column(field="E", title="Use", unit="percentunit", decimals=0, width=75, empty="unknown"),
            Column(field="model", title="Model", width=190),
            Column(field="serial", title="Serial", width=150),
            Column(field="pci", title="PCI", width=115),
            Column(field="driver", title="Driver", width=100),
            Column(field="firmware", title="Firmware"),
        ],
        empty="Unknown: no agent of these nodes is scraped",
        sort="Node",
        descending=False,
        also_hidden=["cluster"],
    )


def _faults() -> Panel:
    def level(severity: str) -> str:
        of = f'{{{DEVICES},fault_severity="{severity}",drill!="true"}}'
        return f"max by (node, vendor, device, class) (accelwatch_fault_active{of} == 1)"

    return states(
        11,
        "Faults over time",
        "When each fault was active, by severity. No bar: it was not, or the node was silent.",
        Query(
            f"3 * {level('run_ending')} or 2 * {level('degrading')} or {level('informational')}",
            "{{node}} {{device}} {{class}}",
        ),
        mappings=[
            words.words({"1": ("informational", UNKNOWN), "2": ("degrading", WARNING), "3": ("run-ending", BAD)})
        ],
        empty="No fault was told in this time",
    )


def _fault_table() -> Panel:
    return table(
        12,
        "Episodes of faults since the device was first seen",
        "Classes that these devices ever had, from the agents' journals: a fault forgotten is not a fault undone.",
        [Query(f"sum by (node, vendor, device, class) (accelwatch_fault_episodes_total{{{DEVICES}}}) > 0")],
        [
            Column(field="A", title="Episodes", decimals=0, width=90),
            Column(field="class", title="Class"),
            Column(field="node", title="Node", width=120),
            VENDOR,
            Column(field="device", title="Device", width=75),
        ],
        empty="None, or no agent of these nodes is scraped",
        sort="Episodes",
    )


def _temperature() -> Panel:
    return lines(
        20,
        "Temperature",
        "Core, and memory (dashed), of each device. Devices slow down by themselves somewhere above 85 °C.",
        Query(f"accelwatch_device_temperature_celsius{{{DEVICES}}}", NAME + " {{sensor}}"),
        unit="celsius",
        low=None,
        empty=UNREAD,
        dashed="/memory$/",
    )


def _power() -> Panel:
    return lines(
        21,
        "Power",
        "Draw of each device, and the limit in force (dashed). On an A3 the value of both dies stands on the first.",
        Query(f"accelwatch_device_power_watts{{{DEVICES}}}", NAME),
        Query(f"max by (vendor) (accelwatch_device_power_limit_watts{{{DEVICES}}})", "{{vendor}} limit"),
        unit="watt",
        empty=UNREAD,
        dashed="/limit$/",
    )


def _utilization() -> Panel:
    return lines(
        22,
        "Utilization",
        "Share of time with work on the device. A wait in a collective is full use on NVIDIA and idle on Ascend.",
        Query(f"accelwatch_device_utilization_ratio{{{DEVICES}}}", NAME),
        unit="percentunit",
        high=1,
        empty=UNREAD,
    )


def _memory() -> Panel:
    return lines(
        23,
        "Memory in use",
        "Share of each device's memory (HBM, where it has it) that is taken.",
        Query(
            f"accelwatch_device_memory_used_bytes{{{DEVICES}}} / accelwatch_device_memory_total_bytes{{{DEVICES}}}",
            NAME,
        ),
        unit="percentunit",
        high=1,
        empty=UNREAD,
    )


def _clock() -> Panel:
    return lines(
        24,
        "Compute clock",
        "Clock of the SMs or AI Cores. A fall at full load: held down by heat, power or the driver.",
        Query(f'accelwatch_device_clock_hertz{{{DEVICES},domain=~"sm|aicore"}}', NAME),
        unit="hertz",
        empty=UNREAD,
    )


def _throttled() -> Panel:
    return states(
        25,
        "Held down",
        "When clocks were held down, and why. No bar: they were not, or the reason is not told.",
        Query(f"accelwatch_device_throttled{{{DEVICES}}} == 1", "{{node}} {{device}} {{reason}}"),
        mappings=[words.words({"1": ("held down", WARNING)})],
        empty="No clock was held down, as far as devices tell",
    )


def _errors(id_: int, title: str, description: str, kind: str) -> Panel:
    return lines(
        id_,
        title,
        description,
        Query(
            f'increase(accelwatch_ecc_errors_total{{{DEVICES},kind="{kind}"}}[$__rate_interval])', NAME + " {{memory}}"
        ),
        decimals=0,
        empty=UNREAD,
        bars=True,
    )


def _corrected() -> Panel:
    return _errors(
        30,
        "Corrected ECC errors",
        "Per interval. Harmless one by one; many on one device come before uncorrected ones.",
        "corrected",
    )


def _uncorrected() -> Panel:
    return _errors(31, "Uncorrected ECC errors", "Per interval. Each may have ended a run.", "uncorrected")


def _rows() -> Panel:
    return lines(
        32,
        "Rows remapped or pages isolated",
        "Since the device was first seen. An Ascend device is due for replacement at 64.",
        Query(f"accelwatch_memory_rows_remapped_total{{{DEVICES}}}", NAME + " {{kind}}"),
        decimals=0,
        empty=UNREAD,
    )


def _exposure() -> Panel:
    share = 'sum by (vendor) (rate(accelwatch_device_exposure_seconds_total{{{0},state="{1}"}}[$__rate_interval]))'
    return lines(
        40,
        "Devices counted, allocated and busy",
        "How many devices' time is counted as powered, allocated to a process, and busy (both dashed).",
        Query(share.format(DEVICES, "powered"), "{{vendor}} powered"),
        Query(share.format(DEVICES, "allocated"), "{{vendor}} allocated"),
        Query(share.format(DEVICES, "busy"), "{{vendor}} busy"),
        decimals=1,
        empty=UNREAD,
        dashed="/allocated|busy/",
    )


def _processes() -> Panel:
    return lines(
        41,
        "Processes on each device",
        "Processes that hold the device, by its driver.",
        Query(f"accelwatch_device_processes{{{DEVICES}}}", NAME),
        decimals=0,
        empty=UNREAD,
    )


def _pcie() -> Panel:
    return table(
        42,
        "PCIe links narrower than they could be",
        "Devices whose link to the host has fewer lanes than device and slot can use.",
        [Query(f"accelwatch_pcie_link_width{{{DEVICES}}} < accelwatch_pcie_link_width_max{{{DEVICES}}}")],
        [
            Column(field="node", title="Node"),
            VENDOR,
            Column(field="device", title="Device", width=75),
            Column(field="A", title="Lanes", decimals=0, width=80),
        ],
        empty="None, as far as devices tell",
        also_hidden=["cluster", "instance", "job", "model", "rack", "simulated"],
    )
