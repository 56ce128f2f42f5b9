"""Links between the dashboards, with what is chosen kept, and from a cell to where it is told in full."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import DashboardLink, DashboardLinkType

TAG = "accelwatch"

FLEET, RELIABILITY, RUN, NODE, LINKS, AGENTS = (
    "accelwatch-fleet",
    "accelwatch-reliability",
    "accelwatch-run",
    "accelwatch-node",
    "accelwatch-links",
    "accelwatch-agents",
)
# `accelwatch dashboards` puts the site's address here, or takes such links out.
RUNBOOKS = "runbooks/"

_TIME = "${__url_time_range}"
_KEPT = "${datasource:queryparam}&${cluster:queryparam}"


def others() -> DashboardLink:
    """All dashboards of accelwatch, beside the variables."""
    return DashboardLink(
        title="accelwatch",
        type_val=DashboardLinkType.DASHBOARDS,
        tags=[TAG],
        include_vars=True,
        keep_time=True,
    )


def to_run() -> DashboardLink:
    """From the id of a run."""
    return _cell("What this run does, and how it ended", f"/d/{RUN}?{_KEPT}&{_TIME}&var-run=${{__value.text}}")


def to_node() -> DashboardLink:
    """From the name of a node."""
    return _cell("This node and its devices", f"/d/{NODE}?{_KEPT}&{_TIME}&var-node=${{__value.text}}")


def to_links() -> DashboardLink:
    """From the name of a port."""
    return _cell("The links of this node", f"/d/{LINKS}?{_KEPT}&{_TIME}&var-node=${{__data.fields.Node}}")


def to_runbook() -> DashboardLink:
    """From the name of an alert."""
    return _cell("Runbook", f"{RUNBOOKS}${{__value.text}}.md")


def _cell(title: str, url: str) -> DashboardLink:
    return DashboardLink(title=title, url=url)
