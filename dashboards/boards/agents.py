"""The agents themselves: silent, stale, slow, and which versions."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.dashboard import Panel

from boards import links, variables, words
from boards.board import board
from boards.colours import BAD, BLUE, FINE, GREEN, ORANGE, PURPLE, SKY, WARNING, YELLOW
from boards.layout import Placed, Row
from boards.panels import Query, lines, number
from boards.tables import CLUSTER, Column, table
from boards.variables import CLUSTER as C
from boards.variables import NODE as N

AGENTS = f"{C},{N}"
SCRAPED = f'up{{{AGENTS},job=~"$job"}}'
SOURCES = {
    "nvml": SKY,
    "npu_smi": ORANGE,
    "hccn_tool": YELLOW,
    "kernel_log": GREEN,
    "rdma": BLUE,
    "processes": PURPLE,
    "hccl_log": BAD,
}
NONE_SCRAPED = "Unknown: no agent is scraped"


def dashboard() -> Dashboard:
    """For the question whether what the other dashboards show can be relied on."""
    return board(
        links.AGENTS,
        "accelwatch / Agents",
        "Whether the agents see what they are there to see: scraped, sources answering, on time, journal and pager well.",
        [variables.datasource(), variables.job(), variables.cluster(), variables.any_node()],
        [
            Row(4, _numbers()),
            Row(8, [(12, _failing()), (12, _silent())]),
            Row(8, [(8, _scraped()), (8, _sources_down()), (8, _stale())]),
            Row(8, [(8, _polls()), (8, _stretched()), (8, _errors())], title="How long they take", id_=90),
            Row(
                7,
                [(8, _versions()), (8, _pager()), (8, _kernel_log())],
                title="What they are, and what they lose",
                id_=91,
            ),
            Row(7, [(12, _rendering()), (12, _scrapes())]),
        ],
        since="now-6h",
        refresh="1m",
    )


def _numbers() -> list[Placed]:
    return [
        (
            4,
            number(
                1,
                "Agents that answer",
                "Agents that Prometheus scraped at last.",
                Query(f"sum({SCRAPED})"),
            ),
        ),
        (
            4,
            number(
                2,
                "Agents silent",
                "Agents that Prometheus cannot scrape, in maintenance or not. `unknown`: it has no target.",
                Query(f"count({SCRAPED} == 0) or 0 * count({SCRAPED})"),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            4,
            number(
                3,
                "Sources failing",
                "Sources whose last poll failed, over all nodes: what they measure is not known.",
                Query(f"count(accelwatch_source_up{{{AGENTS}}} == 0) or 0 * count(accelwatch_source_up{{{AGENTS}}})"),
                thresholds=words.NONE_IS_BETTER,
            ),
        ),
        (
            4,
            number(
                4,
                "Versions in use",
                "Different versions of accelwatch. More than one for longer than an upgrade takes: nodes were left behind.",
                Query(f"count(count by (version) (accelwatch_agent_info{{{AGENTS}}}))"),
                thresholds=words.steps((None, FINE), (2, WARNING)),
            ),
        ),
        (
            4,
            number(
                5,
                "Journals degraded",
                "Nodes whose journal cannot be written: a restart would lose what has happened since.",
                Query(f"sum(accelwatch_journal_degraded{{{AGENTS}}})"),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            4,
            number(
                6,
                "Bad configurations",
                "Nodes whose file is bad: the one from before stays in force until a restart.",
                Query(
                    f"count(accelwatch_config_last_reload_successful{{{AGENTS}}} == 0) "
                    f"or 0 * count(accelwatch_config_last_reload_successful{{{AGENTS}}})"
                ),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
    ]


def _failing() -> Panel:
    down = f"max by (cluster, node, source) (accelwatch_source_up{{{AGENTS}}}) == 0"
    last = f"accelwatch_source_last_success_timestamp_seconds{{{AGENTS}}}"
    return table(
        10,
        "Sources that fail now",
        "What each measures is not known meanwhile, and its faults are not seen. On the node, accelwatch check says why.",
        [
            Query(down),
            Query(f"time() - max by (cluster, node, source) ({last}) and on (cluster, node, source) {down}"),
        ],
        [
            Column(field="node", title="Node", links=[links.to_node()]),
            Column(field="source", title="Source", width=140),
            Column(field="A", title="State", mappings=[words.words({"0": ("fails", BAD)})], width=90),
            Column(field="B", title="Answered last", unit="s", decimals=0, width=130, empty="never"),
            CLUSTER,
        ],
        empty="No source fails, as far as agents are scraped",
        sort="Answered last",
    )


def _silent() -> Panel:
    down = f"max by (cluster, node, instance) ({SCRAPED}) == 0"
    return table(
        11,
        "Agents that cannot be scraped",
        "With how long ago each was scraped last, as far back as the time shown.",
        [
            Query(down),
            Query(
                f"time() - max by (cluster, node, instance) (max_over_time(timestamp({SCRAPED} == 1)[$__range:1m])) "
                f"and on (cluster, node, instance) {down}"
            ),
        ],
        [
            Column(field="node", title="Node", links=[links.to_node()]),
            Column(field="instance", title="Target"),
            Column(field="A", title="State", mappings=[words.words({"0": ("silent", BAD)})], width=90),
            Column(field="B", title="Scraped last", unit="s", decimals=0, width=120, empty="longer ago"),
            CLUSTER,
        ],
        empty="None, as far as Prometheus has targets",
        sort="Scraped last",
    )


def _scraped() -> Panel:
    return lines(
        20,
        "Agents answering and silent",
        "By Prometheus' own word. Nothing here: it has no target of the job.",
        Query(f"sum({SCRAPED})", "answer"),
        Query(f"count({SCRAPED} == 0) or 0 * count({SCRAPED})", "silent"),
        decimals=0,
        empty="Unknown: there is no target",
        colours={"answer": FINE, "silent": BAD},
    )


def _sources_down() -> Panel:
    return lines(
        21,
        "Sources failing, by source",
        "Nodes on which a source is there but did not answer its last poll.",
        Query(f"sum by (source) (accelwatch_source_up{{{AGENTS}}} == bool 0)", "{{source}}"),
        decimals=0,
        empty=NONE_SCRAPED,
        colours=SOURCES,
    )


def _stale() -> Panel:
    return lines(
        22,
        "Oldest answer, in polls",
        "Time since each source last answered, over its present interval, on the worst node. Above 3: what it measured "
        "is stale, and has left the page.",
        Query(
            f"max by (source) ((time() - accelwatch_source_last_success_timestamp_seconds{{{AGENTS}}}) "
            f"/ accelwatch_source_interval_seconds{{{AGENTS}}})",
            "{{source}}",
        ),
        unit="none",
        decimals=1,
        empty=NONE_SCRAPED,
        colours=SOURCES,
    )


def _polls() -> Panel:
    return lines(
        30,
        "Poll duration, 99 %",
        "How long polls of each source take, over all nodes.",
        Query(
            f"histogram_quantile(0.99, sum by (source, le) "
            f"(rate(accelwatch_source_poll_duration_seconds_bucket{{{AGENTS}}}[$__rate_interval])))",
            "{{source}}",
        ),
        unit="s",
        empty=NONE_SCRAPED,
        colours=SOURCES,
    )


def _stretched() -> Panel:
    return lines(
        31,
        "Time between polls, longest",
        "On the node where it is longest. Longer than configured: polls take more than a quarter of the time.",
        Query(f"max by (source) (accelwatch_source_interval_seconds{{{AGENTS}}})", "{{source}}"),
        unit="s",
        empty=NONE_SCRAPED,
        colours=SOURCES,
    )


def _errors() -> Panel:
    return lines(
        32,
        "Polls failed or skipped, per minute",
        "Failed in whole or in part, and skipped because the one before was still running, over all nodes.",
        Query(
            f"60 * sum by (source) (rate(accelwatch_source_errors_total{{{AGENTS}}}[$__rate_interval]) "
            f"+ rate(accelwatch_source_skipped_total{{{AGENTS}}}[$__rate_interval]))",
            "{{source}}",
        ),
        unit="none",
        decimals=1,
        empty=NONE_SCRAPED,
        colours=SOURCES,
    )


def _versions() -> Panel:
    return table(
        40,
        "Versions and configurations",
        "Nodes by version and hash of the configuration. Nodes with the same devices should have the same.",
        [Query(f"count by (cluster, version, config_hash) (accelwatch_agent_info{{{AGENTS}}})")],
        [
            Column(field="version", title="Version", width=90),
            Column(field="config_hash", title="Configuration"),
            Column(field="A", title="Nodes", decimals=0, width=75),
            CLUSTER,
        ],
        empty=NONE_SCRAPED,
        sort="Nodes",
    )


def _pager() -> Panel:
    return lines(
        41,
        "Fast path: Alertmanagers out of reach, and alerts that wait",
        "Nodes whose last post was not taken, alerts not told yet, and alerts dropped per minute. Nothing: no fast path "
        "is configured.",
        Query(f"sum(accelwatch_pager_up{{{AGENTS}}} == bool 0)", "out of reach"),
        Query(f"sum(accelwatch_pager_queue_length{{{AGENTS}}})", "wait"),
        Query(f"60 * sum(rate(accelwatch_pager_dropped_total{{{AGENTS}}}[$__rate_interval]))", "dropped"),
        decimals=0,
        empty="No fast path is configured, or no agent is scraped",
        colours={"out of reach": BAD, "wait": SKY, "dropped": PURPLE},
    )


def _kernel_log() -> Panel:
    return lines(
        42,
        "Kernel log: read, and lost",
        "Records per second over all nodes; lost ones were overwritten before they were read, and a fault with them.",
        Query(f"sum(rate(accelwatch_kernel_log_records_total{{{AGENTS}}}[$__rate_interval]))", "read"),
        Query(f"sum(rate(accelwatch_kernel_log_records_lost_total{{{AGENTS}}}[$__rate_interval]))", "lost"),
        Query(
            f"sum(rate(accelwatch_faults_unjournalled_total{{{AGENTS}}}[$__rate_interval]))", "faults shown unwritten"
        ),
        unit="cps",
        empty="No kernel log is read, or no agent is scraped",
        colours={"read": FINE, "lost": BAD, "faults": WARNING},
    )


def _rendering() -> Panel:
    return lines(
        43,
        "Rendering the page, share of one core",
        "Of the agent that takes longest.",
        Query(f"max(rate(accelwatch_page_render_seconds_total{{{AGENTS}}}[$__rate_interval]))", "slowest agent"),
        unit="percentunit",
        empty=NONE_SCRAPED,
        colours={"slowest": SKY},
    )


def _scrapes() -> Panel:
    of = f'{{{AGENTS},job=~"$job"}}'
    return lines(
        44,
        "Scrapes",
        "How long Prometheus takes to scrape an agent: the slowest, and the median. Above a second the node or the network "
        "is in trouble.",
        Query(f"max(scrape_duration_seconds{of})", "slowest"),
        Query(f"quantile(0.5, scrape_duration_seconds{of})", "median"),
        unit="s",
        empty="Unknown: there is no target",
        colours={"slowest": BAD, "median": SKY},
    )
