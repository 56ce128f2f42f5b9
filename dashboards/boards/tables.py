"""Tables: columns are labels and the values of queries with the same labels."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders import table as kit
from grafana_foundation_sdk.models.common import TableCellHeight
from grafana_foundation_sdk.models.dashboard import DashboardLink, DataTransformerConfig, Panel, ValueMapping

from boards import words
from boards.panels import Query, common_parts, override


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """`field`: a label, or `A`, `B`, … for the value of that query. `width` in pixels, else what is left."""

    field: str
    title: str
    unit: str | None = None
    decimals: int | None = None
    mappings: Sequence[ValueMapping] = ()
    width: int | None = None
    links: Sequence[DashboardLink] = ()
    empty: str = "–"


def table(
    id_: int,
    title: str,
    description: str,
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    empty: str,
    sort: str | None = None,
    descending: bool = True,
    also_hidden: Sequence[str] = (),
) -> Panel:
    """`sort`: the title of a column. Labels that no column names must not be in the answers, or be in `also_hidden`."""
    kind = kit.Panel().show_header(True).cell_height(TableCellHeight.SM)
    for ref, query in zip("ABCDEFGHIJKLMNOP", queries, strict=False):
        kind.with_target(msgspec.structs.replace(query, instant=True).target(ref, table=True))
    if sort is not None:
        kind.sort_by([common.TableSortByFieldState().display_name(sort).desc(descending)])
    panel = kind.build()
    names = {column.field: _name(column.field, len(queries)) for column in columns}
    hidden = ["Time", "__name__", *also_hidden]
    shown = set(names.values())
    values = [_name(ref, len(queries)) for ref, _ in zip("ABCDEFGHIJKLMNOP", queries, strict=False)]
    hidden += [value for value in values if value not in shown]
    transformations = [DataTransformerConfig(id_val="merge", options={})] if len(queries) > 1 else []
    transformations.append(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(hidden, True),
                "indexByName": {names[column.field]: index for index, column in enumerate(columns)},
                "renameByName": {names[column.field]: column.title for column in columns},
            },
        )
    )
    panel.transformations = transformations
    common_parts(panel, id_, title, description, empty=empty)
    for column in columns:
        _column(panel, column)
    return panel


def _name(field: str, queries: int) -> str:
    if _is_value(field):
        return f"Value #{field}" if queries > 1 else "Value"
    return field


def _is_value(field: str) -> bool:
    return len(field) == 1 and field.isupper()


def _column(panel: Panel, column: Column) -> None:
    # A label is text: without this unit Grafana reads run 4711 as 4.71 K, and code 80E00209 as a power of ten.
    properties: dict[str, object] = {"unit": column.unit or ("short" if _is_value(column.field) else "string")}
    if column.decimals is not None:
        properties["decimals"] = column.decimals
    if column.mappings:
        properties["mappings"] = list(column.mappings)
        properties["custom_cellOptions"] = {"type": "color-text"}
    if column.width is not None:
        properties["custom_width"] = column.width
    if column.links:
        properties["links"] = list(column.links)
    properties["noValue"] = column.empty
    override(panel, column.title, **properties)


VENDOR = Column(field="vendor", title="Vendor", mappings=words.VENDOR, width=85)
CLUSTER = Column(field="cluster", title="Cluster", width=110)
