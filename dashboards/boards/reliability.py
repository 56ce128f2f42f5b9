"""Vendor reliability: rates with intervals and exposure, interruptions by cause, availability, offenders, coverage."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models.dashboard import Panel

from boards import links, variables, words
from boards.board import board
from boards.colours import BAD, BLUE, FINE, GREY, PURPLE, UNKNOWN, VENDORS
from boards.layout import Row
from boards.panels import Query, bars, lines, override
from boards.statistics import causes, hardware, lower, upper
from boards.tables import CLUSTER, VENDOR, Column, table
from boards.variables import CLUSTER as C
from boards.variables import MODEL as M
from boards.variables import VENDOR as V

FAULTS = "accelwatch:fault_episodes:count1h"
EXPOSURE = "accelwatch:device_exposure:seconds1h"
RUNS = "accelwatch:run_interruptions:count1h"
LOST = "accelwatch:run_interruptions:lost_device_seconds1h"
HARDWARE = f'class=~"{hardware()}"'
WAIT = "Nothing was recorded in this time: the rules record once an hour, and only while they run"
CENSORED = (
    "Exposure is the time that agents themselves saw devices answer; time without an agent is in neither part of it."
)
REFS = (("A", "B", "C", "D"), ("E", "F", "G", "H"))
PER_1000 = "Rate per 1,000 device-hours powered, with the 95 % limits of a Poisson count."


def dashboard() -> Dashboard:
    """For the question which hardware ends our runs, and whether the difference is larger than chance."""
    return board(
        links.RELIABILITY,
        "accelwatch / Vendor reliability",
        "Faults and interruptions per device-hour by vendor, with intervals and exposure. For exact intervals, ratios "
        "and tests: accelwatch report.",
        [variables.datasource(), variables.cluster(), variables.vendor(), variables.model()],
        [
            Row(5, [(24, _models())]),
            Row(9, [(14, _rate_over_time()), (10, _exposure())]),
            Row(12, [(24, _classes())]),
            Row(6, [(24, _interruptions())], title="Runs interrupted", id_=90),
            Row(9, [(12, _interruptions_by_cause()), (12, _lost())]),
            Row(5, [(12, _availability()), (12, _time_to_detect())]),
            Row(9, [(14, _offenders()), (10, _dispersion())], title="Who is behind the numbers", id_=91),
            Row(12, [(12, _coverage()), (12, _drivers())]),
        ],
        since="now-30d",
        refresh="",
    )


def _count(by: str, labels: str, record: str = FAULTS, window: str = "$__range") -> str:
    return f"round(sum by ({by}) (sum_over_time({record}{{{C},{labels}}}[{window}])))"


def _hours(by: str, labels: str, state: str = "powered", window: str = "$__range") -> str:
    return f'(sum by ({by}) (sum_over_time({EXPOSURE}{{{C},{labels},state="{state}"}}[{window}])) / 3600)'


def _models() -> Panel:
    known = f'{V},{M},model!=""'
    count, hours = _count("vendor, model", f"{known},{HARDWARE}"), _hours("vendor, model", known)
    on = "/ on (vendor, model)"
    return table(
        1,
        "Hardware faults of each model",
        "Episodes (60 s per device and class) of all hardware classes together, over the time shown. " + PER_1000 + " "
        "With no fault there is no MTBF, only the bound that it is longer than. Of an A3 each die is a device. Faults of "
        "hosts belong to no model: they are below. " + CENSORED,
        [
            Query(count),
            Query(hours),
            Query(f"1000 * {count} {on} {hours}"),
            Query(f"1000 * {lower(count)} {on} {hours}"),
            Query(f"1000 * {upper(count)} {on} {hours}"),
            Query(f"{hours} {on} ({count} > 0)"),
            Query(f"{hours} {on} {upper(count)}"),
            Query(_hours("vendor, model", f"{V},{M}", "busy")),
        ],
        [
            VENDOR,
            Column(field="model", title="Model"),
            Column(field="A", title="Faults", decimals=0, width=90),
            Column(field="B", title="Device-hours", unit="locale", decimals=0, width=120),
            Column(field="H", title="of them busy", unit="locale", decimals=0, width=120, empty="not known"),
            Column(field="C", title="per 1,000 h", unit="none", decimals=3, width=120),
            Column(field="D", title="at least", unit="none", decimals=3, width=100),
            Column(field="E", title="at most", unit="none", decimals=3, width=100),
            Column(field="F", title="MTBF (device-h)", unit="locale", decimals=0, width=140, empty="no fault"),
            Column(field="G", title="MTBF longer than", unit="locale", decimals=0, width=150),
        ],
        empty=WAIT,
        sort="per 1,000 h",
    )


def _rate_over_time() -> Panel:
    queries = []
    for vendor in VENDORS:
        labels = f'vendor=~"$vendor",vendor="{vendor}",{M}'
        count = _count("vendor", f"{labels},{HARDWARE}", window="7d")
        hours = f"({_hours('vendor', labels, window='7d')} > 0)"
        queries += [
            Query(f"1000 * {count} / on (vendor) {hours}", vendor),
            Query(f"1000 * {lower(count)} / on (vendor) {hours}", f"{vendor} at least"),
            Query(f"1000 * {upper(count)} / on (vendor) {hours}", f"{vendor} at most"),
        ]
    panel = lines(
        2,
        "Hardware faults per 1,000 device-hours, over the 7 days before",
        PER_1000 + " Bands that overlap for weeks: the difference may be chance. " + CENSORED,
        *queries,
        unit="none",
        decimals=2,
        empty=WAIT,
    )
    for vendor in VENDORS:
        override(panel, f"{vendor} at most", custom_fillBelowTo=f"{vendor} at least", custom_fillOpacity=18)
    override(panel, "/at (least|most)$/", custom_lineWidth=0, custom_showPoints="never")
    override(panel, f"/^({'|'.join(VENDORS)})$/", custom_lineWidth=2)
    panel.interval = "1h"
    return panel


def _exposure() -> Panel:
    panel = lines(
        3,
        "Exposure: devices that were counted",
        "Device-hours per hour, powered and busy of them: the denominator of every rate here. " + CENSORED,
        Query(f'sum by (vendor) ({EXPOSURE}{{{C},{V},{M},state="powered"}}) / 3600', "{{vendor}} powered"),
        Query(f'sum by (vendor) ({EXPOSURE}{{{C},{V},{M},state="busy"}}) / 3600', "{{vendor}} busy"),
        decimals=0,
        empty=WAIT,
        dashed="/busy/",
    )
    panel.interval = "1h"
    override(panel, "/./", custom_spanNulls=2 * 3600 * 1000)
    return panel


def _classes() -> Panel:
    queries, columns = [], [Column(field="class", title="Class", width=180)]
    for vendor, (count_ref, rate_ref, low_ref, high_ref) in zip(VENDORS, REFS, strict=True):
        labels = f'vendor=~"$vendor",vendor="{vendor}",{M}'
        seen = (
            f"and on (class) (max by (class) (max_over_time(accelwatch_class_observable"
            f'{{{C},vendor="{vendor}"}}[$__range])) == 1)'
        )
        count = f"({_count('class', labels)} {seen})"
        hours = f"on () group_left () (sum({_hours('vendor', labels)}) > 0)"
        queries += [
            Query(count),
            Query(f"1000 * {count} / {hours}"),
            Query(f"1000 * {lower(count)} / {hours}"),
            Query(f"1000 * {upper(count)} / {hours}"),
        ]
        columns += [
            Column(field=count_ref, title=f"{vendor} faults", decimals=0, empty="not observable"),
            Column(field=rate_ref, title=f"{vendor} per 1,000 h", unit="none", decimals=3),
            Column(field=low_ref, title=f"{vendor} at least", unit="none", decimals=3),
            Column(field=high_ref, title=f"{vendor} at most", unit="none", decimals=3),
        ]
    panel = table(
        4,
        "Faults by class, vendors side by side",
        "Episodes (60 s per device and class). "
        + PER_1000
        + " `not observable`: nothing on that vendor's nodes can see "
        "the class, so that its rate is not known; it is not 0 (what neither can see is below). These are 25 comparisons at once: the report "
        "corrects for that.",
        queries,
        columns,
        empty=WAIT,
        sort="Class",
        descending=False,
    )
    for vendor, colour in VENDORS.items():
        override(
            panel,
            f"/^{vendor} (faults|per)/",
            color={"mode": "fixed", "fixedColor": colour},
            custom_cellOptions={"type": "color-text"},
        )
    return panel


def _interruptions() -> Panel:
    queries = []
    columns = [Column(field="cause", title="Cause", width=140)]
    for vendor, (count_ref, rate_ref, low_ref, high_ref) in zip(VENDORS, REFS, strict=True):
        labels = f'vendor=~"$vendor",vendor="{vendor}",{M}'
        hours = f"on () group_left () (sum({_hours('vendor', labels)}) > 0)"
        counts = " or ".join(
            f"label_replace(sum({_count('vendor', f'{labels},class=~{chr(34)}{classes}{chr(34)}', RUNS)}) "
            f'or 0 * sum({_hours("vendor", labels)}), "cause", "{cause}", "", "")'
            for cause, classes in causes().items()
        )
        queries += [
            Query(f"({counts})"),
            Query(f"1000 * ({counts}) / {hours}"),
            Query(f"1000 * {lower(f'({counts})')} / {hours}"),
            Query(f"1000 * {upper(f'({counts})')} / {hours}"),
        ]
        columns += [
            Column(field=count_ref, title=f"{vendor} runs", decimals=0),
            Column(field=rate_ref, title=f"{vendor} per 1,000 h", unit="none", decimals=3),
            Column(field=low_ref, title=f"{vendor} at least", unit="none", decimals=3),
            Column(field=high_ref, title=f"{vendor} at most", unit="none", decimals=3),
        ]
    panel = table(
        5,
        "Runs interrupted, by cause and vendor",
        "Each run counts once over its nodes, by its earliest cause: hardware, interconnect, software (the job's own, or "
        "the driver's), or unknown (nothing but the end was seen). Larger runs meet more faults: per device-hour vendors "
        "compare, per run they do not. " + PER_1000,
        queries,
        columns,
        empty=WAIT,
        sort="Cause",
        descending=False,
    )
    for vendor, colour in VENDORS.items():
        override(
            panel,
            f"/^{vendor} (runs|per)/",
            color={"mode": "fixed", "fixedColor": colour},
            custom_cellOptions={"type": "color-text"},
        )
    return panel


def _interruptions_by_cause() -> Panel:
    queries = [
        Query(
            f'sum(sum_over_time({RUNS}{{{C},{V},{M},class=~"{classes}"}}[$__interval])) '
            f"or 0 * sum(sum_over_time({RUNS}{{{C},{V},{M}}}[$__interval]))",
            cause,
        )
        for cause, classes in causes().items()
    ]
    panel = lines(
        6,
        "Runs interrupted over time, by cause",
        "Interruptions recorded per interval, of all vendors chosen.",
        *queries,
        decimals=0,
        empty="No interruption was recorded in this time",
        colours={"hardware": BAD, "interconnect": BLUE, "software": PURPLE, "unknown": GREY},
        stacked=True,
        bars=True,
    )
    panel.interval = "1d"
    return panel


def _lost() -> Panel:
    queries = [
        Query(
            f'sum by (vendor) (sum_over_time({LOST}{{{C},{V},{M},class=~"{classes}"}}[$__range])) / 3600 '
            f"or 0 * sum by (vendor) (sum_over_time({LOST}{{{C},{V},{M}}}[$__range]))",
            f"{{{{vendor}}}} {cause}",
        )
        for cause, classes in causes().items()
    ]
    return bars(
        7,
        "Device-hours lost, by vendor and cause",
        "Between a run's last progress and its end, over all its nodes. What it takes to start again is not in it, nor "
        "are interruptions whose loss is not known.",
        *queries,
        decimals=1,
        empty="No loss was recorded in this time",
    )


def _availability() -> Panel:
    return bars(
        8,
        "Availability: share of known devices that answered",
        "Mean over the time shown, asked once an hour, of the devices of scraped nodes that answered their driver. "
        "Silent nodes are in neither part. Its interval, by bootstrap over nodes, is in the report.",
        Query(
            f"avg_over_time((sum by (vendor) (accelwatch_device_up{{{C},{V},{M}}}) "
            f"/ count by (vendor) (accelwatch_device_up{{{C},{V},{M}}}))[$__range:1h])",
            "{{vendor}}",
        ),
        unit="percentunit",
        decimals=3,
        empty="No device was scraped in this time",
    )


def _time_to_detect() -> Panel:
    gap = (
        f"(accelwatch:run_interruption:first_recorded_timestamp_seconds{{{C}}} - on (cluster, run_id, attempt) "
        f"group_right () accelwatch:run_interruption:cause_timestamp_seconds{{{C},{V},{M}}})"
    )
    return bars(
        9,
        "Time to detect, runs interrupted in the last 24 h",
        "From when the cause struck to when the rules first knew of the interruption: median and 90 % of them. A run may "
        "go on for a while with its cause, or wait for a time-out: that is in it.",
        Query(f"quantile by (vendor) (0.5, {gap})", "{{vendor}} median"),
        Query(f"quantile by (vendor) (0.9, {gap})", "{{vendor}} 90 %"),
        unit="s",
        decimals=0,
        empty="No run was interrupted in the last 24 hours, as far as the rules know",
    )


def _episodes(by: str) -> str:
    """Per device, of those that had one."""
    labels = f"{C},{V},{M},{HARDWARE}"
    return f"round(sum by ({by}) (sum_over_time(accelwatch:serial_fault_episodes:count1h{{{labels}}}[$__range])))"


def _offenders() -> Panel:
    by = "cluster, node, vendor, model, device, serial"
    return table(
        10,
        "Top offenders",
        "The devices with the most hardware faults in the time shown; the first to be replaced, or to be looked at for "
        "what they share. A device that was replaced is one row, its successor another.",
        [Query(f"topk(15, {_episodes(by)} > 0)")],
        [
            Column(field="A", title="Faults", decimals=0, width=80),
            Column(field="node", title="Node", links=[links.to_node()]),
            VENDOR,
            Column(field="device", title="Device", width=80),
            Column(field="serial", title="Serial"),
            Column(field="model", title="Model"),
            CLUSTER,
        ],
        empty="No device had a hardware fault, as far as the rules recorded",
        sort="Faults",
    )


def _dispersion() -> Panel:
    episodes = _episodes("cluster, node, vendor, device")
    total = f"sum by (vendor) ({episodes})"
    devices = f"(sum by (vendor) (max_over_time(accelwatch:devices:count{{{C},{V},{M}}}[1d])))"
    return table(
        11,
        "Does one device make the difference?",
        "The share of the worst device in its vendor's faults, and the dispersion of faults over devices (Pearson's chi2 "
        "per degree of freedom): about 1 where all devices are alike; above 1.5 the intervals here are too narrow, and "
        "the report's bootstrap over nodes is to be read instead.",
        [
            Query(f"max by (vendor) ({episodes}) / ({total} > 0)"),
            Query(f"(sum by (vendor) ({episodes} ^ 2) * {devices} / ({total} > 0) - {total}) / ({devices} - 1)"),
            Query(f"count by (vendor) ({episodes} > 0)"),
            Query(devices),
        ],
        [
            VENDOR,
            Column(field="A", title="Worst device", unit="percentunit", decimals=0),
            Column(field="B", title="Dispersion", unit="none", decimals=2),
            Column(field="C", title="Devices with faults", decimals=0),
            Column(field="D", title="of", decimals=0, width=80),
        ],
        empty="No device had a hardware fault, as far as the rules recorded",
    )


def _coverage() -> Panel:
    share = [words.words({"0": ("not observable", UNKNOWN), "1": ("on all nodes", FINE)})]
    return table(
        12,
        "Which classes can be seen, by vendor",
        "Share of the vendor's nodes on which a source answers that can see the class, now. Below all: a rate of that "
        "class is too low by as much.",
        [
            Query(f'avg by (class) (accelwatch_class_observable{{{C},vendor="{vendor}"}})', instant=True)
            for vendor in VENDORS
        ],
        [
            Column(field="class", title="Class", width=200),
            *(
                Column(field=ref, title=vendor, unit="percentunit", decimals=0, mappings=share, empty="not known")
                for ref, vendor in zip("AB", VENDORS, strict=True)
            ),
        ],
        empty="No agent is scraped",
        sort="Class",
        descending=False,
    )


def _drivers() -> Panel:
    known = f'count by (vendor, model, driver) (accelwatch_device_info{{{C},{V},{M},driver!=""}})'
    struck = (
        f"count by (vendor, model, driver) (max by (cluster, node, vendor, device, model, driver) "
        f'(accelwatch_device_info{{{C},{V},{M},driver!=""}}) '
        f"* on (cluster, node, vendor, device) group_left () "
        f"({_episodes('cluster, node, vendor, device')} > bool 0) > 0)"
    )
    return table(
        13,
        "Drivers",
        "Devices by model and driver, and how many of them had a hardware fault in the time shown. The driver is the "
        "present one: an upgrade in that time moves earlier faults to it.",
        [Query(known), Query(f"{struck} or 0 * {known}"), Query(f"({struck} or 0 * {known}) / {known}")],
        [
            VENDOR,
            Column(field="model", title="Model"),
            Column(field="driver", title="Driver", width=130),
            Column(field="A", title="Devices", decimals=0, width=90),
            Column(field="B", title="with faults", decimals=0, width=100),
            Column(field="C", title="share", unit="percentunit", decimals=1, width=90),
        ],
        empty="No device tells its driver",
        sort="share",
    )
