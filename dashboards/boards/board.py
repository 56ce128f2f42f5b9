"""What all dashboards have in common, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard, DashboardCursorSync, DashboardLink, VariableModel

from boards import links
from boards.layout import Row, place


class _Link(Builder[DashboardLink]):
    def __init__(self, link: DashboardLink) -> None:
        self._link = link

    def build(self) -> DashboardLink:
        return self._link


def board(
    uid: str,
    title: str,
    description: str,
    variables: Sequence[Builder[VariableModel]],
    rows: Sequence[Row],
    *,
    since: str,
    refresh: str,
    annotations: Sequence[dashboard.AnnotationQuery] = (),
) -> dashboard.Dashboard:
    """`since`: where the time shown begins, such as `now-6h`. `refresh`: how often it is read anew."""
    made = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([links.TAG])
        .timezone("browser")
        .time(since, "now")
        .refresh(refresh)
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_Link(links.others()))
    )
    for variable in variables:
        made.with_variable(variable)
    for marks in annotations:
        made.annotation(marks)
    return place(made, rows)


def text(document: Dashboard) -> str:
    """The file's text. Raises `TypeError` for what has no JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(document, cls=JSONEncoder))
    # The kit puts links and annotations into a menu, where nobody looks for them; Grafana's own place is on the page.
    for item in (*plain.get("links", ()), *plain.get("annotations", {}).get("list", ()), *_cell_links(plain)):
        item.pop("placement", None)
    return json.dumps(plain, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _cell_links(plain: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for panel in plain["panels"]:
        config = panel.get("fieldConfig", {})
        found += config.get("defaults", {}).get("links", ())
        for override in config.get("overrides", ()):
            for made in override["properties"]:
                if made["id"] == "links":
                    found += made["value"]
    return found
