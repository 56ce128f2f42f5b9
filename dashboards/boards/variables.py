"""Template variables. All stands for the expression `.*`, which also matches series without the label."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

# As `accelwatch dashboards push` and provisioning/ name it; another Prometheus can be chosen on the dashboard.
DATASOURCE_UID = "accelwatch-prometheus"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

CLUSTER = 'cluster=~"$cluster"'
VENDOR = 'vendor=~"$vendor"'
MODEL = 'model=~"$model"'
NODE = 'node=~"$node"'
RUN = 'run_id=~"$run"'


def datasource() -> dashboard.DatasourceVariable:
    """Which Prometheus."""
    return (
        dashboard.DatasourceVariable("datasource")
        .label("Prometheus")
        .type("prometheus")
        .current(VariableOption(text="accelwatch", value=DATASOURCE_UID))
    )


def job() -> dashboard.QueryVariable:
    """The scrape job of the agents, which a site may have named otherwise. Not shown: it has one value."""
    return (
        dashboard.QueryVariable("job")
        .hide(VariableHide.HIDE_VARIABLE)
        .datasource(SOURCE)
        .query("label_values(accelwatch_agent_info, job)")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .current(VariableOption(text=["All"], value=["$__all"]))
    )


def cluster() -> dashboard.QueryVariable:
    """Clusters whose agents are scraped."""
    return _query("cluster", "Cluster", "label_values(accelwatch_agent_info, cluster)")


def vendor() -> dashboard.QueryVariable:
    """Vendors of the clusters chosen."""
    return _query("vendor", "Vendor", f"label_values(accelwatch_device_info{{{CLUSTER}}}, vendor)")


def model() -> dashboard.QueryVariable:
    """Models of the vendors chosen."""
    return _query("model", "Model", f"label_values(accelwatch_device_info{{{CLUSTER},{VENDOR}}}, model)")


def node() -> dashboard.QueryVariable:
    """Nodes with such devices."""
    return _query("node", "Node", f"label_values(accelwatch_device_info{{{CLUSTER},{VENDOR},{MODEL}}}, node)")


def any_node() -> dashboard.QueryVariable:
    """All nodes, whatever devices they have."""
    return _query("node", "Node", f"label_values(accelwatch_agent_info{{{CLUSTER}}}, node)")


def device() -> dashboard.QueryVariable:
    """Devices of the nodes chosen."""
    query = f"label_values(accelwatch_device_info{{{CLUSTER},{VENDOR},{MODEL},{NODE}}}, device)"
    return _query("device", "Device", query)


def run() -> dashboard.QueryVariable:
    """Runs that go on or ended within the time shown; the newest id first."""
    query = (
        'label_values({__name__=~"accelwatch:run:devices|accelwatch:run_interruption:cause_timestamp_seconds|'
        f'accelwatch_run_end_timestamp_seconds",{CLUSTER}}}, run_id)'
    )
    return _query("run", "Run", query).sort(VariableSort.NATURAL_DESC)


def run_node() -> dashboard.QueryVariable:
    """Nodes of the runs chosen."""
    return _query("node", "Node", f"label_values(accelwatch_run_devices{{{CLUSTER},{RUN}}}, node)")


def _query(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .definition(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(text=["All"], value=["$__all"]))
    )
