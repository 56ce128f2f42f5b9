"""Kinds of panels. Each has a fixed id, a title, a description, and what it says when there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from grafana_foundation_sdk.builders import bargauge, common, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardFieldConfigSourceOverrides,
    DashboardLink,
    DynamicConfigValue,
    FieldColor,
    FieldColorModeId,
    FieldConfigSource,
    MatcherConfig,
    Panel,
    ThresholdsConfig,
    ValueMapping,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from boards import words
from boards.colours import PAINTED
from boards.variables import SOURCE

Colours = Mapping[str, str]
# Of two kinds of links of one vendor, which have its one colour, those that leave the node are dashed.
NETWORK = "/roce|ib/"


class Query(msgspec.Struct, frozen=True):
    """One expression. `legend`: as Grafana writes it, `{{label}}`. `instant`: at the end of the time shown."""

    expr: str
    legend: str = ""
    instant: bool = False

    def target(self, ref: str, *, table: bool = False) -> prometheus.Dataquery:
        """As a panel's target."""
        target = prometheus.Dataquery().datasource(SOURCE).expr(" ".join(self.expr.split())).ref_id(ref)
        if self.legend:
            target.legend_format(self.legend)
        if table:
            target.format(PromQueryFormat.TABLE)
        return target.instant() if self.instant else target.range()


def common_parts(
    panel: Panel,
    id_: int,
    title: str,
    description: str,
    *,
    unit: str = "short",
    decimals: float | None = None,
    thresholds: ThresholdsConfig = words.PLAIN,
    mappings: Sequence[ValueMapping] = (),
    empty: str = "",
    links: Sequence[DashboardLink] = (),
) -> Panel:
    """Sets what every kind has. `empty`: said in place of data; it must be true where the rules do not run."""
    panel.id_val, panel.title, panel.description, panel.datasource = id_, title, description, SOURCE
    panel.field_config = panel.field_config or FieldConfigSource()
    defaults = panel.field_config.defaults
    defaults.unit, defaults.thresholds, defaults.mappings = unit, thresholds, list(mappings)
    if decimals is not None:
        defaults.decimals = decimals
    defaults.no_value = empty or None
    if links:
        defaults.links = list(links)
    return panel


def number(
    id_: int,
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    decimals: float | None = 0,
    thresholds: ThresholdsConfig = words.PLAIN,
    mappings: Sequence[ValueMapping] = (),
    empty: str = "unknown",
    links: Sequence[DashboardLink] = (),
    text_mode: BigValueTextMode = BigValueTextMode.AUTO,
    colours: Colours | None = None,
) -> Panel:
    """What is now, large. A query that gives nothing shows `unknown`, never 0."""
    kind = (
        stat.Panel()
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.NONE)
        .text_mode(text_mode)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )
    for ref, query in _with_refs(queries):
        kind.with_target(msgspec.structs.replace(query, instant=True).target(ref))
    panel = kind.build()
    common_parts(
        panel,
        id_,
        title,
        description,
        unit=unit,
        decimals=decimals,
        thresholds=thresholds,
        mappings=[*mappings, words.unknown(empty)],
        empty=empty,
        links=links,
    )
    paint(panel, colours or {})
    return panel


def lines(
    id_: int,
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    decimals: float | None = None,
    thresholds: ThresholdsConfig = words.PLAIN,
    empty: str = "No data in this time",
    colours: Colours | None = None,
    stacked: bool = False,
    bars: bool = False,
    low: float | None = 0,
    high: float | None = None,
    calcs: Sequence[str] = (),
    links: Sequence[DashboardLink] = (),
    dashed: str = "",
) -> Panel:
    """Values over time; gaps stay gaps, since what was not measured is not known.

    `low`: the axis begins there. `dashed`: an expression for the names of series that are.
    """
    legend = common.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM).calcs(list(calcs))
    legend.display_mode(LegendDisplayMode.TABLE if calcs else LegendDisplayMode.LIST)
    kind = (
        timeseries.Panel()
        .draw_style(GraphDrawStyle.BARS if bars else GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(60 if bars else 25 if stacked else 0)
        .show_points(VisibilityMode.AUTO)
        .point_size(3)
        .legend(legend)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    if stacked:
        kind.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if low is not None:
        kind.axis_soft_min(low)
    # Whole things: an axis up to 1 at least, so that none of them is a line at the bottom and not in the middle.
    if high is not None or decimals == 0:
        kind.axis_soft_max(1 if high is None else high)
    for ref, query in _with_refs(queries):
        kind.with_target(query.target(ref))
    panel = kind.build()
    common_parts(
        panel,
        id_,
        title,
        description,
        unit=unit,
        decimals=decimals,
        thresholds=thresholds,
        empty=empty,
        links=links,
    )
    paint(panel, PAINTED if colours is None else colours)
    if dashed:
        override(panel, dashed, custom_lineStyle={"fill": "dash", "dash": [8, 6]})
    return panel


def states(
    id_: int,
    title: str,
    description: str,
    *queries: Query,
    mappings: Sequence[ValueMapping],
    empty: str,
    links: Sequence[DashboardLink] = (),
) -> Panel:
    """One bar per series, coloured by its state; where nothing is known there is no bar."""
    kind = (
        statetimeline.Panel()
        .merge_values(True)
        .row_height(0.85)
        .line_width(0)
        .fill_opacity(85)
        .legend(common.VizLegendOptions().show_legend(True).placement(LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.SINGLE))
    )
    for ref, query in _with_refs(queries):
        kind.with_target(query.target(ref))
    panel = kind.build()
    return common_parts(panel, id_, title, description, mappings=mappings, empty=empty, links=links)


def bars(
    id_: int,
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    decimals: float | None = None,
    thresholds: ThresholdsConfig = words.PLAIN,
    empty: str,
    colours: Colours | None = None,
    links: Sequence[DashboardLink] = (),
) -> Panel:
    """One horizontal bar per series, as at the end of the time shown."""
    kind = (
        bargauge.Panel()
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .min(0)
    )
    for ref, query in _with_refs(queries):
        kind.with_target(msgspec.structs.replace(query, instant=True).target(ref))
    panel = kind.build()
    common_parts(
        panel,
        id_,
        title,
        description,
        unit=unit,
        decimals=decimals,
        thresholds=thresholds,
        empty=empty,
        links=links,
    )
    paint(panel, PAINTED if colours is None else colours)
    return panel


def paint(panel: Panel, colours: Colours) -> None:
    """Series whose name begins with a word have its colour: a vendor has the same one everywhere."""
    for word, colour in colours.items():
        override(panel, f"/^{word}\\b/", color=FieldColor(mode=FieldColorModeId.FIXED, fixed_color=colour))


def override(panel: Panel, names: str, **properties: object) -> None:
    """For fields that are called so (`/…/`: an expression). `custom_x`: the kind's own option x."""
    panel.field_config = panel.field_config or FieldConfigSource()
    matcher = MatcherConfig(id_val="byRegexp" if names.startswith("/") else "byName", options=names)
    values = [
        DynamicConfigValue(id_val=name.replace("custom_", "custom.", 1), value=value)
        for name, value in properties.items()
    ]
    panel.field_config.overrides.append(DashboardFieldConfigSourceOverrides(matcher=matcher, properties=values))


def _with_refs(queries: Sequence[Query]) -> list[tuple[str, Query]]:
    return list(zip("ABCDEFGHIJKLMNOP", queries, strict=False))
