"""The shipped dashboards: current, sound on the grid, described, and in step with metrics, rules and each other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from accelwatch.metrics.catalogue import FAMILIES
from alerts.shipped_rules import RUNBOOKS, needs_promtool, promtool, records
from boards import links
from boards.__main__ import files
from boards.colours import PAINTED
from dashboards.shipped_boards import FOLDER, UIDS, document, filled_in, panels, queries

# Prometheus' own series of a scrape, and of alerts.
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS"}
ON_A_PAGE = {f.full_name + suffix for f in FAMILIES for suffix in (("", "_bucket") if f.type == "histogram" else ("",))}
NAME = re.compile(r"\b(?:accelwatch[_:][a-zA-Z0-9_:]*|up|scrape_\w+|ALERTS)(?=\{)")
VARIABLE = re.compile(r"\$\{?(\w+)")


def test_the_json_is_what_the_code_makes() -> None:
    """Else: make dashboards."""
    assert {path.name: path.read_text() for path in FOLDER.glob("*.json")} == files()


def test_there_are_the_six_that_link_to_each_other() -> None:
    assert set(UIDS) == {links.FLEET, links.RELIABILITY, links.RUN, links.NODE, links.LINKS, links.AGENTS}


@pytest.mark.parametrize("uid", UIDS)
def test_no_panels_overlap_or_leave_the_grid(uid: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in document(uid)["panels"]:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


@pytest.mark.parametrize("uid", UIDS)
def test_panel_ids_are_given_once(uid: str) -> None:
    ids = [panel["id"] for panel in document(uid)["panels"]]
    assert all(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("uid", UIDS)
def test_every_panel_has_a_description_a_unit_and_words_for_nothing(uid: str) -> None:
    assert document(uid)["description"]
    for panel in panels(uid):
        assert len(panel["description"]) > 30, panel["title"]
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"], panel["title"]
        assert panel["targets"], panel["title"]


def test_every_series_is_exported_by_the_agent_or_recorded_by_the_rules() -> None:
    known = ON_A_PAGE | records() | OF_PROMETHEUS
    for name, expr in queries():
        used = set(NAME.findall(expr))
        assert used, f"{name}: {expr}"
        assert used <= known, f"{name}: {used - known}"
        assert set(re.findall(r"accelwatch[_:][a-zA-Z0-9_:]*", expr)) <= known | {"accelwatch"}, name


@pytest.mark.parametrize("uid", UIDS)
def test_every_variable_that_is_used_is_there_and_each_that_is_there_is_used(uid: str) -> None:
    board = document(uid)
    there = {variable["name"] for variable in board["templating"]["list"]}
    expressions = [target["expr"] for panel in panels(uid) for target in panel["targets"]]
    expressions += [str(variable.get("query", "")) for variable in board["templating"]["list"]]
    expressions += [marks.get("expr", "") for marks in board.get("annotations", {}).get("list", ())]
    used = {name for expr in expressions for name in VARIABLE.findall(expr) if not name.startswith("__")}
    assert used | {"datasource"} == there


@pytest.mark.parametrize("uid", UIDS)
def test_all_stands_for_any_value_also_for_none(uid: str) -> None:
    for variable in document(uid)["templating"]["list"]:
        if variable["type"] != "query" or variable["name"] == "job":
            continue
        assert variable["includeAll"], variable["name"]
        assert variable["multi"], variable["name"]
        assert variable["allValue"] == ".*", variable["name"]
        assert variable["current"]["value"] == ["$__all"], variable["name"]


def test_variables_match_by_expression_since_several_may_be_chosen() -> None:
    for name, expr in queries():
        assert not re.search(r'(?<!~)"\$(?!__)\w+"', expr.replace('=~"$', '~"$')), name


@pytest.mark.parametrize("uid", UIDS)
def test_every_query_asks_the_chosen_prometheus(uid: str) -> None:
    for panel in panels(uid):
        for target in panel["targets"]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def _links(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [link for inner in value for link in _links(inner)]
    if not isinstance(value, dict):
        return []
    found = [value] if "url" in value and "targetBlank" in value else []
    return found + [link for inner in value.values() for link in _links(inner)]


def test_links_lead_to_dashboards_with_their_variables_or_to_runbooks() -> None:
    variables = {uid: {variable["name"] for variable in document(uid)["templating"]["list"]} for uid in UIDS}
    seen = 0
    for uid in UIDS:
        for link in _links(document(uid)):
            if link["type"] == "dashboards":
                assert (link["tags"], link["includeVars"], link["keepTime"]) == (["accelwatch"], True, True)
                continue
            seen += 1
            if link["url"].startswith("runbooks/"):
                assert link["url"] == "runbooks/${__value.text}.md"
                continue
            target, _, query = link["url"].removeprefix("/d/").partition("?")
            assert target in UIDS
            given = set(re.findall(r"var-(\w+)=", query)) | set(re.findall(r"\$\{(\w+):queryparam\}", query))
            assert given <= variables[target] | {"datasource"}, link["url"]
            assert set(re.findall(r"\$\{(\w+):queryparam\}", query)) <= variables[uid], link["url"]
            assert "${__url_time_range}" in query
        assert document(uid)["tags"] == ["accelwatch"]
    assert seen > 10


def test_alerts_have_the_runbooks_that_the_dashboard_links_to() -> None:
    names = {path.stem for path in RUNBOOKS}
    assert {"AccelwatchDeviceLost", "AccelwatchRunHang"} <= names


def test_a_vendor_has_one_colour() -> None:
    """Wherever a series begins with its name."""
    for uid in UIDS:
        for panel in panels(uid):
            for override in panel["fieldConfig"]["overrides"]:
                for vendor, colour in PAINTED.items():
                    if override["matcher"]["options"] != rf"/^{vendor}\b/":
                        continue
                    assert override["properties"][0]["value"]["fixedColor"] == colour, panel["title"]


@needs_promtool
def test_promtool_takes_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:number_{number}", "expr": filled_in(expr)} for number, (_, expr) in enumerate(queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": rules}]}))
    done = promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
