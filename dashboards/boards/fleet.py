"""Fleet now: what is broken, which runs stand still, who is the culprit, how many devices are lost."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.dashboard import Panel

from boards import links, variables, words
from boards.board import board
from boards.colours import BAD, SEVERITIES, WARNING
from boards.layout import Placed, Row
from boards.panels import Query, lines, number
from boards.tables import CLUSTER, VENDOR, Column, table
from boards.variables import CLUSTER as C
from boards.variables import VENDOR as V

# There as long as agents are scraped and the rules run: what they do not tell is 0 then, and else unknown.
RULES = f"0 * sum(accelwatch:devices:count{{{C}}})"
CARRIED = f'accelwatch:fault:last_seen_timestamp_seconds{{{C},{V},drill!="true"}}'
BROKEN = CARRIED.replace("}", ',fault_severity!="informational"}')
RULES_NOTE = "`unknown` means that no agent is scraped or the recording rules do not run."


def dashboard() -> Dashboard:
    """For the first look after a page."""
    return board(
        links.FLEET,
        "accelwatch / Fleet now",
        "What is broken now, which runs stand still, who holds them up, and what is lost.",
        [variables.datasource(), variables.job(), variables.cluster(), variables.vendor()],
        [
            Row(4, _numbers()),
            Row(5, [(24, _stalled())]),
            Row(8, [(24, _faults())]),
            Row(7, [(15, _ended()), (9, _alerts())]),
            Row(7, [(12, _silent()), (12, _running())]),
            Row(
                8,
                [(8, _faults_over_time()), (8, _devices_over_time()), (8, _waiting_over_time())],
                title="How it came to this",
                id_=90,
            ),
        ],
        since="now-6h",
        refresh="30s",
    )


def _carried(severity: str) -> str:
    return CARRIED.replace("}", f',fault_severity="{severity}"}}')


def _numbers() -> list[Placed]:
    return [
        (
            4,
            number(
                1,
                "Runs that hang",
                "Runs none of whose devices work, for longer than the run's own threshold, judged over all its nodes. "
                + RULES_NOTE,
                Query(f"count(accelwatch:run:stalled{{{C}}} == 2) or {RULES}"),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            4,
            number(
                2,
                "Interrupted in 24 h",
                "Runs that ended otherwise than well in the last 24 hours, each counted once over its nodes. "
                + RULES_NOTE,
                Query(f"count(accelwatch:run_interruption:cause_timestamp_seconds{{{C}}}) or {RULES}"),
                thresholds=words.NONE_IS_BETTER,
            ),
        ),
        (
            4,
            number(
                3,
                "Run-ending faults",
                "Faults with which a run cannot go on, also those of nodes that fell silent with them; no drills. "
                + RULES_NOTE,
                Query(f"count({_carried('run_ending')}) or {RULES}"),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            4,
            number(
                4,
                "Degrading faults",
                "Faults with which a run goes on slower or at risk. Drills are left out. " + RULES_NOTE,
                Query(f"count({_carried('degrading')}) or {RULES}"),
                thresholds=words.NONE_IS_BETTER,
            ),
        ),
        (
            4,
            number(
                5,
                "Devices not answering",
                "The most devices that were known in the last 24 hours, less those that answer now: lost, blocked or "
                "missing ones, and all of nodes that are silent. " + RULES_NOTE,
                Query(
                    f"clamp_min(sum(max_over_time(accelwatch:devices:count{{{C},{V}}}[1d])) "
                    f"- (count(accelwatch_device_up{{{C},{V}}} == 1) or {RULES}), 0)"
                ),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            4,
            number(
                6,
                "Silent nodes",
                "Nodes whose agent cannot be scraped: their faults are not seen. Nodes in maintenance are left out. "
                + RULES_NOTE,
                Query(f"count(accelwatch:node:silent{{{C}}}) or {RULES}"),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
    ]


def _stalled() -> Panel:
    culprit = f"accelwatch:run:culprit{{{C}}}"
    on = "on (cluster, run_id, attempt) group_left ()"
    return table(
        10,
        "Runs that stand still, and who holds them up",
        "Each run none of whose devices work, since when, and the node and device that it waits for, by which rule: "
        "cause (a fault there), dark (its node fell silent), ended (its share ended first), minority (it waits "
        "otherwise than the rest), earliest (it stopped first), unlocated (nothing singles one out).",
        [
            Query(f"{culprit} * {on} accelwatch:run:stalled"),
            Query(f"time() - ({culprit} * {on} accelwatch:run:onset_timestamp_seconds)"),
            Query(f"{culprit} * {on} accelwatch:run:devices"),
        ],
        [
            Column(field="run_id", title="Run", links=[links.to_run()], width=170),
            Column(field="attempt", title="Attempt", width=80),
            Column(field="A", title="State", mappings=words.STALLED, width=110),
            Column(field="B", title="For", unit="s", decimals=0, width=100),
            Column(field="C", title="Devices that wait", width=140),
            Column(field="node", title="Held up by node", links=[links.to_node()], empty="not known"),
            Column(field="device", title="Device", width=80),
            VENDOR,
            Column(field="rule", title="By rule", width=110),
            CLUSTER,
        ],
        empty="No run stands still, as far as the rules know",
        sort="For",
    )


def _faults() -> Panel:
    return table(
        11,
        "Faults in force",
        "Each active fault, with the vendor's code, the run on the device, and whom it reaches (page or ticket; a page "
        "needs a run of some size). `since` reaches back as far as the time shown. What was active on a node that fell "
        "silent stays here; `last told` then grows. Informational ones are left out.",
        [
            Query(f"time() - min_over_time({BROKEN}[$__range]) and {BROKEN}"),
            Query(f"time() - {BROKEN}"),
        ],
        [
            Column(field="fault_severity", title="Severity", mappings=words.SEVERITY, width=120),
            Column(field="class", title="Class", width=170),
            Column(field="node", title="Node", links=[links.to_node()]),
            VENDOR,
            Column(field="device", title="Device", width=80),
            Column(field="code", title="Code", width=110),
            Column(field="run_id", title="Run", links=[links.to_run()]),
            Column(field="notify", title="Reaches", width=90),
            Column(field="A", title="Since", unit="s", decimals=0, width=100),
            Column(field="B", title="Last told", unit="s", decimals=0, width=100),
            Column(field="rack", title="Rack", width=80),
            CLUSTER,
        ],
        empty="No fault is in force, as far as the rules know",
        sort="Severity",
    )


def _ended() -> Panel:
    cause = f"accelwatch:run_interruption:cause_timestamp_seconds{{{C}}}"
    on = "on (cluster, run_id, attempt) group_left ()"
    return table(
        12,
        "Runs interrupted in the last 24 hours",
        "Each with the earliest cause on any of its nodes, and the device-hours between its last progress and its end.",
        [
            Query(
                f"time() - ({cause} * 0 + {on} max by (cluster, run_id, attempt) "
                "(accelwatch:run_interruption:end_timestamp_seconds))"
            ),
            Query(f"({cause} * 0 + {on} accelwatch:run_interruption:lost_device_seconds) / 3600"),
        ],
        [
            Column(field="run_id", title="Run", links=[links.to_run()], width=100),
            Column(field="A", title="Ended ago", unit="s", decimals=0, width=105),
            Column(field="outcome", title="Outcome", mappings=words.OUTCOME, width=90),
            Column(field="class", title="Cause", width=145),
            Column(field="node", title="Node", links=[links.to_node()], empty="none singled out"),
            VENDOR,
            Column(field="device", title="Device", width=70),
            Column(field="B", title="Lost dev.-h", decimals=1, width=105, empty="not known"),
        ],
        empty="No run was interrupted, as far as the rules know",
        sort="Ended ago",
        descending=False,
        also_hidden=["attempt", "cluster", "model"],
    )


def _alerts() -> Panel:
    return table(
        13,
        "Alerts that fire",
        "Pages and tickets of the rules, each with its runbook. What only the fast path sent is in Alertmanager.",
        [
            Query(
                "sum by (cluster, severity, alertname, node, run_id) "
                f'(ALERTS{{{C},alertstate="firing",alertname=~"Accelwatch.+",severity=~"page|ticket"}})'
            )
        ],
        [
            Column(
                field="severity",
                title="Reaches",
                width=90,
                mappings=[words.words({"page": ("page", BAD), "ticket": ("ticket", WARNING)})],
            ),
            Column(field="alertname", title="Alert", links=[links.to_runbook()]),
            Column(field="node", title="Node", links=[links.to_node()], width=110),
            Column(field="run_id", title="Run", links=[links.to_run()], width=100),
        ],
        empty="No page or ticket fires, as far as the rules know",
        sort="Reaches",
        descending=False,
        also_hidden=["cluster"],
    )


def _silent() -> Panel:
    return table(
        14,
        "Silent nodes",
        "Nodes whose agent cannot be scraped, with the run that was on them. Maintenance is left out.",
        [
            Query(f"sum by (cluster, rack, node, run_id, severity) (accelwatch:node:silent{{{C}}})"),
            Query(
                f"time() - (sum by (cluster, rack, node, run_id, severity) (accelwatch:node:silent{{{C}}}) * 0 "
                "+ on (cluster, node) group_left () max by (cluster, node) "
                f'(max_over_time(timestamp(up{{{C},job=~"$job"}} == 1)[$__range:1m])))'
            ),
        ],
        [
            Column(field="node", title="Node", links=[links.to_node()]),
            Column(field="rack", title="Rack", width=90),
            Column(field="B", title="Last seen ago", unit="s", decimals=0, width=120),
            Column(field="run_id", title="Run on it", links=[links.to_run()]),
            Column(field="severity", title="Reaches", width=90),
            CLUSTER,
        ],
        empty="No node is silent, as far as the rules know",
        sort="Last seen ago",
    )


def _running() -> Panel:
    return table(
        15,
        "Runs that go on",
        "Runs with processes on devices now, over all nodes, the largest first; how much of each waits at this moment.",
        [
            Query(f"max by (cluster, run_id, attempt) (accelwatch:run:devices{{{C}}})"),
            Query(f"max by (cluster, run_id, attempt) (accelwatch:run:stalled{{{C}}})"),
            Query(f"max by (cluster, run_id, attempt) (accelwatch:run:waiting:ratio{{{C}}})"),
        ],
        [
            Column(field="run_id", title="Run", links=[links.to_run()]),
            Column(field="attempt", title="Attempt", width=80),
            Column(field="A", title="Devices", width=90),
            Column(field="B", title="State", mappings=words.STALLED, width=110),
            Column(field="C", title="Devices waiting", unit="percentunit", decimals=0, width=130, empty="not known"),
            CLUSTER,
        ],
        empty="No run is known on any device",
        sort="Devices",
    )


def _faults_over_time() -> Panel:
    return lines(
        20,
        "Faults in force, by severity",
        "How many faults were active; also those of nodes that fell silent with them. A gap: not known.",
        Query(f"count by (fault_severity) ({CARRIED})", "{{fault_severity}}"),
        empty="No fault was in force, as far as the rules know",
        colours=SEVERITIES,
        stacked=True,
        decimals=0,
    )


def _devices_over_time() -> Panel:
    return lines(
        21,
        "Devices that answer, by vendor",
        "Devices that answered their driver. A step down: devices were lost, or nodes fell silent.",
        Query(f"count by (vendor) (accelwatch_device_up{{{C},{V}}} == 1)", "{{vendor}}"),
        empty="No device answers, or no agent is scraped",
        decimals=0,
    )


def _waiting_over_time() -> Panel:
    return lines(
        22,
        "Devices that wait, by run",
        "Share of each run's devices that wait for others. All of them for minutes: the run stands still.",
        Query(f"max by (run_id) (accelwatch:run:waiting:ratio{{{C}}})", "run {{run_id}}"),
        unit="percentunit",
        empty="No run was known",
        high=1,
        colours={},
    )
