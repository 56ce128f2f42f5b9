"""What of the fleet has to be the same for one Prometheus over all nodes, and for one that federates shards."""

from __future__ import annotations

from shards.fleet import Fleet

# To the last digit: they are told by the agents, or counted. What is recorded once an hour is not among them: with hours of
# seconds it takes whatever cause is known at its own second.
SAME = (
    "accelwatch:devices:count",
    "accelwatch:runs:count",
    "accelwatch:faults:count",
    "accelwatch:run:size",
    "accelwatch:run:devices",
    "accelwatch:rack:shared_component:nodes",
    "accelwatch:run_interruption:cause_timestamp_seconds",
    "accelwatch:run_interruption:end_timestamp_seconds",
    "accelwatch:run_interruption:lost_device_seconds",
    "count by (cluster, node, vendor, device, serial) (accelwatch:serial:last_seen_timestamp_seconds)",
    "max by (cluster, vendor, class) (accelwatch:class:observable1h)",
    'sum by (cluster, node) (up{job="accelwatch"})',
    "0 * accelwatch:node:silent",
    "0 * accelwatch:fault:routed",
)
# Recorded as they grow, from the first sight of a device on: not of the same second. In steps of the scrape.
EXPOSURE = "sum by (cluster, vendor, model, state) (sum_over_time(accelwatch:device_exposure:seconds1h[1h]))"
EXPOSURE_STEPS = 6
PAGES = 'count without (alertstate, __name__) (ALERTS{alertstate="firing"})'
# Of a federating Prometheus itself.
NOT_OF_NODES = "AccelwatchShardDown"


def pages(fleet: Fleet, *parts: str) -> set[frozenset[tuple[str, str]]]:
    """The alerts that Alertmanager would be sent, less the labels that the examples take away."""
    own = ("prometheus_shard", "prometheus_replica")
    return {
        frozenset(pair for pair in labels if pair[0] not in own)
        for part in parts
        for labels in fleet.ask(part, PAGES)
    }  # fmt: skip


def differences(fleet: Fleet) -> list[str]:
    """What is not the same now; each with both answers, less what both have."""
    found = []
    for question in SAME:
        one, federated = (set(fleet.ask(part, question).items()) for part in ("single", "global"))
        if one != federated:
            found.append(
                f"{question}\n  only single: {_told(one - federated)}\n  only global: {_told(federated - one)}"
            )
    alone, together = pages(fleet, "single"), pages(fleet, "shard-0", "shard-1", "global")
    if alone != together:
        found.append(f"pages\n  only single: {_told(alone - together)}\n  only sharded: {_told(together - alone)}")
    return found


def exposure_apart(fleet: Fleet) -> dict[frozenset[tuple[str, str]], float]:
    """Seconds of exposure per device by which the two differ; by vendor, model and state."""
    one, federated = (fleet.ask(part, EXPOSURE) for part in ("single", "global"))
    devices = {
        dict(labels)["model"]: value for labels, value in fleet.ask("single", "accelwatch:devices:count").items()
    }
    return {
        labels: abs(one.get(labels, 0.0) - federated.get(labels, 0.0)) / devices[dict(labels)["model"]]
        for labels in one.keys() | federated.keys()
    }


def _told(rows: set[object]) -> list[str]:
    return sorted(map(str, rows))[:5]
