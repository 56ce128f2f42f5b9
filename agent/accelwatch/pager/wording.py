"""The words of a page: the labels that the rule's alert of the same fault has too, and text for a phone at 3 am."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping

from accelwatch.detectors.base import Known
from accelwatch.faults.episode import Episode
from accelwatch.headline import name_of
from accelwatch.metrics.exposition import clean
from accelwatch.taxonomy.model import FaultClass, Notify

# What is said of the device in a summary; of a class that is not here, its meaning stands in the description.
PHRASES = {
    "device_lost": "is lost",
    "mem_uncorrectable": "has an uncorrectable memory error",
    "onchip_sram": "has an uncorrectable error in its on-chip memory",
    "compute_engine": "has a failed compute engine",
    "control_processor": "has a control processor that does not answer",
    "intra_node_link": "has a failed link to its peers",
    "fabric_switch": "has a fault of the switch between devices",
    "pcie_host_link": "has a failed PCIe link",
    "net_link_down": "has its network link down",
    "net_errors": "has failed network transfers",
    "thermal": "is too hot to go on",
    "power": "has a failed power supply",
    "mem_repair": "has a memory repair that failed",
    "net_link_flap": "has a network link that drops",
    "driver_software": "has a failed driver",
    "silent_corruption": "computes wrong results",
    "host": "has failed (processor, memory or kernel)",
    "storage": "has a failed disk or file system",
    "unknown": "reports something that is not known here",
}
DEVICES = {"nvidia": "NVIDIA GPU", "ascend": "Ascend NPU"}
_HOST = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")
# An annotation is for reading: a driver's line of kilobytes is not.
TEXT_LIMIT_CHARACTERS = 1000


def alert_name(class_: str) -> str:
    """`device_lost` is `AccelwatchDeviceLost`."""
    return "Accelwatch" + "".join(word.capitalize() for word in class_.split("_"))


def labels(episode: Episode, node: str, configured: Mapping[str, str]) -> dict[str, str]:
    """Those of the rule's alert for the same fault, and `path`; they never change while the episode lives."""
    of_page = next(
        (old for old in (*episode.former_labels, episode.labels) if old and old[5] == Notify.PAGE.value), episode.labels
    )
    class_, severity, code, *_ = of_page
    own = {
        "alertname": alert_name(class_),
        "severity": "page",
        "incident": f"run/{episode.run_id}" if episode.run_id else f"node/{node}",
        "node": node,
        "vendor": episode.vendor,
        "device": episode.device or "",
        "class": class_,
        "fault_severity": severity,
        "code": code,
        "run_id": episode.run_id or "",
        "path": "fast",
        "drill": "true" if episode.drill else "",
    }
    # Alertmanager holds an empty label for none at all, as Prometheus does.
    return {name: clean(value) for name, value in {**configured, **own}.items() if value}


def texts(
    episode: Episode, known: Known | None, node: str, class_: FaultClass, prometheus: str | None = None
) -> dict[str, str]:
    """Summary and description. `prometheus`: the address that `accelwatch why` is to ask."""
    phrase = PHRASES.get(episode.class_, f"has a fault ({episode.class_})")
    run = f" (run {episode.run_id})" if episode.run_id else ""
    summary = f"{'DRILL: ' if episode.drill else ''}{node}: {_subject(episode)} {phrase}{run}"
    parts = [
        _run(episode),
        f"Device: {_identity(episode, known)}.",
        f"What: {_code(episode)}{episode.message.rstrip('.')}. {class_.meaning}",
        f"Do: {episode.action}",
        f"accelwatch why {episode.run_id} --prometheus {prometheus or 'URL'}"
        if episode.run_id
        else f"On {node}: accelwatch check",
    ]
    return {"summary": _cut(summary), "description": _cut("\n".join(part for part in parts if part), 4)}


def runbook(base: str, alertname: str) -> dict[str, str]:
    """The annotation of that name."""
    return {"runbook_url": f"{base.rstrip('/')}/{alertname}.md"} if base else {}


def dashboard(base: str | None, labels: Mapping[str, str]) -> dict[str, str]:
    """The annotation of that name, as `accelwatch rules export --dashboards` gives it to the rules' alerts."""
    if not base:
        return {}
    run, node, cluster = (labels.get(name, "") for name in ("run_id", "node", "cluster"))
    board = ("run", {"var-run": run}) if run else ("node", {"var-node": node})
    asked = {**board[1], **({"var-cluster": cluster} if cluster else {}), "from": "now-1h", "to": "now"}
    return {"dashboard_url": f"{base.rstrip('/')}/d/accelwatch-{board[0]}?{urllib.parse.urlencode(asked)}"}


def node_page(node: str, listen: str, *, secure: bool = False) -> str:
    """Where the node's own page is, as far as the agent knows; empty: it does not."""
    host, _, port = listen.rpartition(":")
    if host in ("0.0.0.0", "[::]", "*"):  # noqa: S104 - only compared
        host = node
    scheme = "https" if secure else "http"
    return f"{scheme}://{host}:{port}/" if _HOST.match(host) or host.startswith("[") else ""


def _subject(episode: Episode) -> str:
    if episode.device is not None:
        return f"{DEVICES.get(episode.vendor, episode.vendor)} {episode.device}"
    if episode.place is not None and episode.vendor in DEVICES:
        return f"{DEVICES[episode.vendor]} at {episode.place}"
    return "the node"


def _run(episode: Episode) -> str:
    if episode.run_id is None:
        return ""
    size = f" ({episode.run_devices} devices)" if episode.run_devices is not None else ""
    return f"Run {episode.run_id}{size} cannot go on."


def _identity(episode: Episode, known: Known | None) -> str:
    if episode.device is None and episode.place is None:
        return "none, the node as a whole"
    place = {"vendor": episode.vendor, "device": episode.device if episode.device is not None else episode.place}
    words = [name_of(place), episode.model]
    if known is not None:
        words += [f"PCI {known.pci}" if known.pci else "", f"serial {known.serial}" if known.serial else ""]
        words.append(known.uuid or "")
    return ", ".join([*(word for word in words if word), *episode.links])


def _code(episode: Episode) -> str:
    return f"code {' '.join(dict.fromkeys((episode.code, *episode.codes)))}: " if episode.code else ""


def _cut(text: str, times: int = 1) -> str:
    limit = TEXT_LIMIT_CHARACTERS * times
    return text if len(text) <= limit else text[: limit - 3] + "..."
