"""Links: NVLink, HCCS, RoCE, InfiniBand: which are down, which drop, which count errors, and their optics."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.dashboard import Panel

from boards import links, variables, words
from boards.annotations import fault_begins
from boards.board import board
from boards.colours import BAD, FINE
from boards.layout import Placed, Row
from boards.panels import NETWORK, Query, lines, number, states
from boards.tables import VENDOR, Column, table
from boards.variables import CLUSTER as C
from boards.variables import MODEL as M
from boards.variables import NODE as N
from boards.variables import VENDOR as V

PORTS = f"{C},{V},{M},{N}"
KIND = "{{vendor}} {{kind}}"
PORT = "cluster, node, vendor, device, kind, link"
UNREAD = "No link was read in this time"
AT_MOST = 20


def dashboard() -> Dashboard:
    """For runs that wait for each other, and ports that come and go."""
    return board(
        links.LINKS,
        "accelwatch / Links",
        "Links between devices (NVLink, HCCS) and into the network (RoCE, InfiniBand): down, dropping, with errors, dim.",
        [
            variables.datasource(),
            variables.cluster(),
            variables.vendor(),
            variables.model(),
            variables.node(),
        ],
        [
            Row(4, _numbers()),
            Row(8, [(12, _down_now()), (12, _worst())]),
            Row(8, [(8, _down()), (8, _drops()), (8, _errors())]),
            Row(9, [(24, _bars())]),
            Row(8, [(12, _receive_power()), (12, _module_temperature())], title="Optics", id_=90),
            Row(7, [(12, _dimmest()), (12, _fabric())]),
        ],
        since="now-6h",
        refresh="1m",
        annotations=[fault_begins(f'{C},{V},{N},class=~"intra_node_link|fabric_switch|net_link_down|net_link_flap"')],
    )


def _numbers() -> list[Placed]:
    read = f"0 * count(accelwatch_link_up{{{PORTS}}})"
    return [
        (
            6,
            number(
                1,
                "Links up",
                "Links that are up now. A port that was never seen up is in no number here.",
                Query(f"sum(accelwatch_link_up{{{PORTS}}})"),
            ),
        ),
        (
            6,
            number(
                2,
                "Links down",
                "Links that were up once and are down now. `unknown`: no link is read.",
                Query(f"count(accelwatch_link_up{{{PORTS}}} == 0) or {read}"),
                thresholds=words.NONE_IS_FINE,
            ),
        ),
        (
            6,
            number(
                3,
                "Drops in this time",
                "How often links went down in the time shown, all together.",
                Query(f"round(sum(increase(accelwatch_link_drops_total{{{PORTS}}}[$__range])))"),
                thresholds=words.NONE_IS_BETTER,
            ),
        ),
        (
            6,
            number(
                4,
                "Fabrics not healthy",
                "GPUs whose NVSwitch fabric is not up and healthy. `not read`: no GPU tells.",
                Query(
                    f"count(accelwatch_fabric_healthy{{{PORTS}}} == 0) or 0 * count(accelwatch_fabric_healthy{{{PORTS}}})"
                ),
                thresholds=words.NONE_IS_FINE,
                empty="not read",
            ),
        ),
    ]


def _columns(*values: Column) -> list[Column]:
    return [
        *values,
        Column(field="node", title="Node", links=[links.to_node()]),
        VENDOR,
        Column(field="device", title="Device", width=75),
        Column(field="kind", title="Kind", width=80),
        Column(field="link", title="Port", width=90),
    ]


def _down_now() -> Panel:
    down = f"max by ({PORT}) (accelwatch_link_up{{{PORTS}}}) == 0"
    return table(
        10,
        "Links down now",
        "Each with how long ago it was last seen up, as far back as the time shown; none: it was down all the time.",
        [
            Query(down),
            Query(
                f"time() - max by ({PORT}) (max_over_time(timestamp(accelwatch_link_up{{{PORTS}}} == 1)[$__range:1m])) "
                f"and on ({PORT}) {down}"
            ),
        ],
        _columns(
            Column(field="A", title="State", mappings=[words.words({"0": ("down", BAD)})], width=75),
            Column(field="B", title="Since", unit="s", decimals=0, width=90, empty="longer"),
        ),
        empty="No link is down, as far as links are read",
        sort="Since",
        also_hidden=["cluster"],
    )


def _worst() -> Panel:
    drops = f"max by ({PORT}) (round(increase(accelwatch_link_drops_total{{{PORTS}}}[$__range])))"
    errors = f"max by ({PORT}) (round(increase(accelwatch_link_errors_total{{{PORTS}}}[$__range])))"
    # A drop weighs more than any number of errors.
    worst = f"topk({AT_MOST}, (1e9 * {drops} or 0 * {errors}) + on ({PORT}) ({errors} or 0 * {drops}) > 0)"
    return table(
        11,
        f"The {AT_MOST} worst links",
        "By drops in the time shown, then by errors: one bad cable gives most of a fleet's link faults.",
        [Query(f"{drops} and on ({PORT}) {worst}"), Query(f"{errors} and on ({PORT}) {worst}")],
        _columns(
            Column(field="A", title="Drops", decimals=0, width=80, empty="not told"),
            Column(field="B", title="Errors", decimals=0, width=90, empty="not told"),
        ),
        empty="No link dropped or counted an error, as far as links are read",
        sort="Drops",
        also_hidden=["cluster"],
    )


def _down() -> Panel:
    return lines(
        20,
        "Links down, by kind",
        "0 where links of the kind are read and all are up; a gap: none is read. Network ports are dashed.",
        Query(f"sum by (vendor, kind) (accelwatch_link_up{{{PORTS}}} == bool 0)", KIND),
        decimals=0,
        empty=UNREAD,
        dashed=NETWORK,
    )


def _drops() -> Panel:
    return lines(
        21,
        "Drops, by kind",
        "Times that links went down, per interval.",
        Query(f"sum by (vendor, kind) (increase(accelwatch_link_drops_total{{{PORTS}}}[$__rate_interval]))", KIND),
        decimals=0,
        empty=UNREAD,
        dashed=NETWORK,
    )


def _errors() -> Panel:
    return lines(
        22,
        "Errors per second, by kind",
        "All kinds of errors together (replays, CRC, symbol, discarded). What matters is a change, or one port.",
        Query(f"sum by (vendor, kind) (rate(accelwatch_link_errors_total{{{PORTS}}}[$__rate_interval]))", KIND),
        unit="cps",
        empty=UNREAD,
        dashed=NETWORK,
    )


def _bars() -> Panel:
    dropped = f"max by ({PORT}) (increase(accelwatch_link_drops_total{{{PORTS}}}[$__range] @ end())) > 0"
    down = f"(min by ({PORT}) (min_over_time(accelwatch_link_up{{{PORTS}}}[$__range] @ end())) == 0)"
    return states(
        23,
        "Links that were down, over time",
        f"Up and down of the {AT_MOST} links that dropped most in the time shown.",
        Query(
            f"max by ({PORT}) (accelwatch_link_up{{{PORTS}}}) and on ({PORT}) topk({AT_MOST}, {dropped} or {down})",
            "{{node}} {{device}} {{link}}",
        ),
        mappings=[words.words({"0": ("down", BAD), "1": ("up", FINE)})],
        empty="No link was down in this time, as far as links are read",
    )


def _receive_power() -> Panel:
    return lines(
        30,
        "Received optical power, weakest port of each node",
        "Of the weakest lane. It falls for days before a port fails; below about -10 dBm errors begin.",
        Query(
            f"10 * log10(min by (vendor, node) (accelwatch_link_optical_rx_power_watts{{{PORTS}}} > 0) * 1000)",
            "{{vendor}} {{node}}",
        ),
        unit="dBm",
        decimals=1,
        low=None,
        empty="No optical module was read in this time",
    )


def _module_temperature() -> Panel:
    return lines(
        31,
        "Optical modules, hottest of each node",
        "Modules are specified up to 70 °C.",
        Query(
            f"max by (vendor, node) (accelwatch_link_optical_temperature_celsius{{{PORTS}}})",
            "{{vendor}} {{node}}",
        ),
        unit="celsius",
        low=None,
        empty="No optical module was read in this time",
    )


def _dimmest() -> Panel:
    power = f"accelwatch_link_optical_rx_power_watts{{{PORTS}}}"
    return table(
        32,
        "Ports that receive the least light",
        "The ten weakest now. A module that receives nothing at all has no decibels and is first in the list of links "
        "that are down.",
        [Query(f"bottomk(10, 10 * log10(max by ({PORT}) ({power} > 0) * 1000))")],
        _columns(Column(field="A", title="Received", unit="dBm", decimals=1, width=100)),
        empty="No optical module is read",
        sort="Received",
        descending=False,
        also_hidden=["cluster"],
    )


def _fabric() -> Panel:
    return lines(
        33,
        "GPUs on a healthy fabric",
        "GPUs whose NVSwitch fabric is up and healthy. A step down: a switch, its manager or a link is gone.",
        Query(f"sum by (vendor) (accelwatch_fabric_healthy{{{PORTS}}})", "{{vendor}}"),
        decimals=0,
        empty="No GPU tells of a fabric in this time",
    )
