"""Names of processes and models, texts of logs: whatever stands in them, the pages and alerts keep their form."""

import html.parser
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from accelwatch.faults.episode import Episode
from accelwatch.faults.labels import labelled
from accelwatch.metrics import catalogue
from accelwatch.metrics.agent import OwnText
from accelwatch.metrics.exposition import LABEL_LIMIT_CHARACTERS, Lines
from accelwatch.pager import post, wording
from accelwatch.pager.notice import Notice
from accelwatch.readings.severity import Severity
from accelwatch.server import node_page
from accelwatch.taxonomy.loader import load
from accelwatch.taxonomy.model import Notify

# With lone surrogates, which a name of a file that is no UTF-8 has in Python.
STRANGE = st.sampled_from([*"\"\\\n\r\t\0<>&'{}=, #\x1b\u2028", "\udcff", "<script>", "&lt;", "\\n", '"} 1'])
TEXT = st.lists(st.one_of(STRANGE, st.characters(exclude_categories=())), max_size=60).map("".join)
WHOLE = TEXT.map(lambda text: text.encode("utf-8", "replace").decode())
# Few and cheap; `make fuzz` is the long form for parsers.
SHORT = settings(max_examples=60, deadline=None)


@SHORT
@given(st.tuples(*[TEXT] * len(catalogue.DEVICE_INFO.labels)), TEXT)
def test_label_values_come_back_from_the_metrics_page(values: tuple[str, ...], node: str) -> None:
    """By Prometheus's own readers: no more series, no other labels, and the printable characters unchanged."""
    lines = Lines({})
    lines.add(catalogue.DEVICE_INFO, values, 1.0)
    lines.add_with(catalogue.AGENT_INFO, {"version": "1", "config_hash": "x", "node": node}, 1.0)
    page = lines.page(OwnText([]))
    openmetrics = page.openmetrics.decode()
    for families in (read_text(page.text.decode()), read_openmetrics(openmetrics)):
        samples = {sample.name: sample.labels for family in families for sample in family.samples}
        assert samples.keys() == {"accelwatch_device_info", "accelwatch_agent_info"}
        wanted = dict(zip(catalogue.DEVICE_INFO.labels, values, strict=True))
        for name, value in wanted.items():
            assert samples["accelwatch_device_info"][name] == shown(value)
        assert samples["accelwatch_agent_info"]["node"] == shown(node)


def shown(value: str) -> str:
    return "".join(c if c.isprintable() else " " for c in value[:LABEL_LIMIT_CHARACTERS])


class Outline(html.parser.HTMLParser):
    """The tags and attributes of a page, and all its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, [name for name, _ in attrs]))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(text: str) -> bytes:
    device = {
        "vendor": "nvidia", "device": text, "model": text, "health": "critical", "temperature_celsius": None,
        "power_watts": 1.0, "utilization_ratio": None, "memory_used_bytes": None, "memory_total_bytes": None,
        "error_codes": [text], "ecc": {"corrected": None, "uncorrected": 0}, "links": [{"link": text, "state": "down"}],
        "processes": [{"pid": 1, "name": text, "memory_bytes": 1}],
    }  # fmt: skip
    fault = {
        "class": "device_lost", "severity": "run_ending", "vendor": "nvidia", "device": text, "code": text,
        "codes": [text], "incident": text, "echo": False, "message": text, "action": text, "count": 2,
        "first_seen": "2026-01-01T00:00:00Z", "last_seen": "2026-01-01T00:01:00Z", "run_id": text,
        "active": False, "historical": False, "because": text,
    }  # fmt: skip
    run = {
        "run_id": text, "attempt": text, "started": "a", "ended": "b", "stalled": None, "outcome": text, "cause": text,
        "cause_vendor": "nvidia", "cause_device": text, "devices": [], "lost_device_seconds": None,
    }  # fmt: skip
    report = {
        "devices": [device], "faults": [fault], "runs": [run], "history": [fault],
        "sources": [{"source": "nvml", "up": False, "seconds": 1.0, "error": text}],
        "maintenance": {"until": "c", "reason": text, "by": text},
    }  # fmt: skip
    agent = {"simulated": False, "labels": {"rack": text}, "reload_successful": True, "journal_degraded": False}
    return node_page.render(report, version="1", node=text, agent=agent)


@SHORT
@given(TEXT)
def test_the_node_page_keeps_its_elements(text: str) -> None:
    """No text from outside makes an element or an attribute, and all of it is readable."""
    plain = Outline(page("x" * max(1, len(text))).decode())
    hostile = Outline(page(text).decode())
    names = {tag for tag, _ in plain.tags}
    assert {tag for tag, _ in hostile.tags} <= names
    assert {name for _, attributes in hostile.tags for name in attributes} <= {
        name for _, attributes in plain.tags for name in attributes
    }
    word = f"<b onclick=x>{text}"
    assert ("b", ["onclick"]) not in Outline(page(word).decode()).tags


@SHORT
@given(WHOLE, WHOLE)
def test_alerts_are_json_that_says_the_same(text: str, message: str) -> None:
    """Labels as on the page; summary and description whole up to their limit."""
    episode = labelled(
        Episode(
            id=7, class_="device_lost", severity=Severity.RUN_ENDING, notify=Notify.PAGE, vendor="nvidia", device=text,
            model=text, code=text, codes=(text,), incident="i", message=message, action=text, first_at=1.0, last_at=1.0,
            first_wall=1_790_000_000.0, last_wall=1_790_000_000.0, run_id=text, attempt="0", run_devices=64,
        )
    )  # fmt: skip
    notice = Notice(
        labels=wording.labels(episode, "n", {"cluster": text}),
        annotations=wording.texts(episode, None, "n", load().class_("device_lost")),
        starts=1_790_000_000.0,
    )
    (alert,) = json.loads(post.encode([notice.alert(1_790_000_060.0)]))
    assert alert["labels"]["alertname"] == "AccelwatchDeviceLost"
    assert alert["labels"].get("cluster", "") == shown(text)
    assert all(isinstance(value, str) for value in alert["annotations"].values())
    assert msgspec.json.decode(post.encode([alert])) == [alert]
