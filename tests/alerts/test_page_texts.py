"""What a page says: rendered by amtool, and by a real Alertmanager for mail, chat, pager and web hook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from email import message_from_string
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any, Protocol

import pytest

from accelwatch.pager.wording import alert_name
from accelwatch.taxonomy.loader import load
from real_alertmanager import ALERTS, Mailbox, Receiver, running, serving, until, with_examples, without_waiting

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("amtool") is None, reason="Alertmanager is not installed"),
]

LABELS = {
    "alertname": "AccelwatchMemUncorrectable",
    "severity": "page",
    "cluster": "training-1",
    "incident": "run/4711",
    "node": "gpu-017",
    "vendor": "nvidia",
    "device": "3",
    "class": "mem_uncorrectable",
    "code": "48",
    "run_id": "4711",
    "path": "fast",
}
TEXTS = {
    "summary": "gpu-017: NVIDIA GPU 3 has an uncorrectable memory error (run 4711)",
    "description": "Run 4711 (512 devices) cannot go on.\n"
    "Device: nvidia 3, H100, PCI 0000:3b:00.0, serial 1652923013274.\n"
    "What: code 48: Double Bit ECC Error & more.\n"
    "Do: Take the node out of the scheduler; when no process holds the GPU, reset it (nvidia-smi --gpu-reset -i <GPU>).\n"
    "Whole run: accelwatch why 4711 --prometheus http://prometheus:9090",
    "runbook_url": "https://runbooks.example/AccelwatchMemUncorrectable.md",
    "dashboard_url": "https://grafana.example/d/accelwatch-run?var-run=4711&from=now-1h",
}


def alert(
    number: int = 0, status: str = "firing", texts: dict[str, str] | None = None, **labels: str
) -> dict[str, Any]:
    """The more by number, the later it began."""
    return {
        "status": status,
        "fingerprint": f"{number:04}",
        "labels": {name: value for name, value in (LABELS | labels).items() if value},
        "annotations": TEXTS if texts is None else texts,
        "startsAt": f"2026-03-08T03:12:{number:02}Z",
        "endsAt": "2026-03-08T03:40:00Z",
    }


class Render(Protocol):
    def __call__(self, template: str, *alerts: dict[str, Any], status: str = "firing") -> str: ...


@pytest.fixture
def rendered(tmp_path: Path) -> Render:
    """Renders a template for a group of alerts."""

    def render(template: str, *alerts: dict[str, Any], status: str = "firing") -> str:
        data = {
            "receiver": "page",
            "status": status,
            "externalURL": "http://alertmanager:9093",
            "alerts": alerts,
            "groupLabels": {"cluster": "training-1", "incident": "run/4711"},
            "commonLabels": {"severity": "page"},
        }
        (tmp_path / "data.json").write_text(json.dumps(data))
        done = subprocess.run(
            ["amtool", "template", "render", f"--template.glob={ALERTS}/templates/*.tmpl",
             f"--template.data={tmp_path}/data.json", f'--template.text={{{{ template "accelwatch.{template}" . }}}}'],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.removesuffix("\n")

    return render


def test_the_title_is_one_line_with_severity_fault_device_and_run(rendered: Render) -> None:
    assert rendered("title", alert()) == "PAGE uncorrectable memory error: gpu-017 GPU 3, run 4711"


@pytest.mark.parametrize(
    ("labels", "title"),
    [
        ({"vendor": "ascend", "alertname": "AccelwatchNetLinkDown"}, "PAGE network link down: gpu-017 NPU 3, run 4711"),
        ({"device": "", "vendor": "host", "alertname": "AccelwatchHost"}, "PAGE host failed: gpu-017, run 4711"),
        ({"run_id": "", "incident": "node/gpu-017", "severity": "ticket"}, "TICKET uncorrectable memory error: gpu-017 GPU 3"),
        ({"alertname": "AccelwatchNodeDark", "device": "", "run_id": ""}, "PAGE node dark: gpu-017, run 4711"),
        ({"alertname": "AccelwatchRunHang", "node": "", "device": ""}, "PAGE run hangs: run 4711"),
        ({"alertname": "AccelwatchSharedComponent", "node": "", "device": "", "rack": "r12"}, "PAGE shared component: rack r12, run 4711"),
        ({"drill": "true"}, "DRILL PAGE uncorrectable memory error: gpu-017 GPU 3, run 4711"),
    ],
)  # fmt: skip
def test_the_title_of_what_has_no_device_run_or_node(rendered: Render, labels: dict[str, str], title: str) -> None:
    assert rendered("title", alert(**labels)) == title


def test_every_class_has_words(rendered: Render) -> None:
    titles = {class_: rendered("title", alert(alertname=alert_name(class_))) for class_ in list(load().classes)}
    words = {class_: title.removeprefix("PAGE ").split(":")[0] for class_, title in titles.items()}
    assert all(re.fullmatch(r"[A-Za-z -]{5,32}", text) for text in words.values()), words
    assert len(set(words.values())) == len(words)
    template = (ALERTS / "templates" / "accelwatch.tmpl").read_text()
    by_capitals = {class_ for class_ in words if f'"{alert_name(class_)}"' not in template}
    assert by_capitals == {"device_lost"}, "split at its capitals it reads well; does the new one?"


def test_of_several_alerts_the_first_to_begin_gives_the_title(rendered: Render) -> None:
    link = alert(2, alertname="AccelwatchIntraNodeLink")
    lost = alert(1, alertname="AccelwatchDeviceLost")
    assert rendered("title", link, lost) == "PAGE device lost: gpu-017 GPU 3, run 4711 (first of 2)"


def test_a_resolved_incident_says_so_and_from_when_to_when(rendered: Render) -> None:
    over = alert(status="resolved")
    assert rendered("title", over, status="resolved") == "RESOLVED uncorrectable memory error: gpu-017 GPU 3, run 4711"
    assert rendered("body", over, status="resolved") == (
        "Over:\n- uncorrectable memory error: gpu-017 GPU 3, run 4711, 8 Mar 03:12:00 to 03:40:00 UTC"
    )


def test_the_body_says_what_since_when_which_part_what_to_do_and_where_to_read_on(rendered: Render) -> None:
    assert rendered("body", alert()).splitlines() == [
        "gpu-017: NVIDIA GPU 3 has an uncorrectable memory error (run 4711)",
        "Since 03:12:00 UTC, Sun 8 Mar.",
        *TEXTS["description"].splitlines(),
        "Runbook: https://runbooks.example/AccelwatchMemUncorrectable.md",
        "Dashboard: https://grafana.example/d/accelwatch-run?var-run=4711&from=now-1h",
    ]


def test_others_of_the_incident_take_a_line_each_and_no_more_than_a_screen(rendered: Render) -> None:
    many = [alert(number, alertname="AccelwatchNetLinkDown", node=f"gpu-{number:03}") for number in range(40)]
    lines = rendered("body", *many).splitlines()
    others = [line for line in lines if line.startswith("- network link down: gpu-")]
    assert others == [f"- network link down: gpu-{n:03} GPU 3, run 4711" for n in range(1, 9)]
    assert lines[-1].startswith("- 40 in all: http://alertmanager:9093/#/alerts?receiver=page&filter=%7Bincident%3D")
    assert len(lines) <= 20
    over = rendered("body", alert(), *(one | {"status": "resolved"} for one in many[1:])).splitlines()
    assert "Over:" in over
    assert over[-1] == "- 39 in all"


@pytest.mark.parametrize("texts", [{}, {"summary": "s"}, {"description": "d"}], ids=["none", "summary", "description"])
def test_an_alert_without_its_texts_is_told_from_its_labels(rendered: Render, texts: dict[str, str]) -> None:
    body, chat = rendered("body", alert(texts=texts)), rendered("slack.body", alert(texts=texts))
    for text in (body, chat):
        assert ("gpu-017 GPU 3" in text) == ("summary" not in texts)
        assert ("code: 48" in text) == ("description" not in texts)


def test_chat_does_not_take_words_for_links(rendered: Render) -> None:
    text = rendered("slack.body", alert())
    assert "-i &lt;GPU&gt;)" in text
    assert "Error &amp; more" in text
    assert re.findall("<[^>]*>", text) == [
        "<https://runbooks.example/AccelwatchMemUncorrectable.md|Runbook>",
        "<https://grafana.example/d/accelwatch-run?var-run=4711&from=now-1h|Dashboard>",
    ]


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[tuple[str, Any]], list[str]]]:
    """The examples, sent by a real Alertmanager: what came over HTTP by path, and mails."""
    directory = tmp_path_factory.mktemp("sent")
    web, mailbox = Receiver(), Mailbox()
    (directory / "key").write_text("routing-key-of-the-test\n")
    (directory / "slack").write_text(f"{web.url}/slack\n")
    document = without_waiting(with_examples())
    page, ticket = document["receivers"][:2]
    page["pagerduty_configs"][0] |= {"url": f"{web.url}/pagerduty", "routing_key_file": str(directory / "key")}
    page["webhook_configs"][0] |= {"url": f"{web.url}/pager"}
    page["webhook_configs"][0]["http_config"]["authorization"]["credentials_file"] = str(directory / "key")
    ticket["slack_configs"][0]["api_url_file"] = str(directory / "slack")
    mail = ticket["email_configs"][0] | {"smarthost": mailbox.address, "require_tls": False}
    ticket["email_configs"] = [{name: value for name, value in mail.items() if not name.startswith("auth_")}]
    for route in document["route"]["routes"]:
        route.pop("mute_time_intervals", None)
    with serving(web.server), serving(mailbox.server), running(document, directory) as alertmanager:
        alertmanager.post(LABELS, **TEXTS)
        alertmanager.post(
            LABELS | {"severity": "ticket", "path": "", "incident": "run/4712", "node": "gpu-018"}, **TEXTS
        )
        until("all four", lambda: len({path for path, _, _ in web.received}) >= 3 and mailbox.mails)
        yield [(path, body) for path, _, body in web.received], mailbox.mails


def test_pager_web_hook_chat_and_mail_get_the_same_page(sent: tuple[list[tuple[str, Any]], list[str]]) -> None:
    web, mails = dict(sent[0]), sent[1]
    title = "uncorrectable memory error: gpu-017 GPU 3, run 4711"

    duty = web["/pagerduty"]
    assert duty["routing_key"] == "routing-key-of-the-test"
    assert duty["payload"]["summary"] == f"PAGE {title}"
    assert duty["payload"]["severity"] == "critical"
    assert duty["payload"]["component"] == "gpu-017"
    body = duty["payload"]["custom_details"]["firing"].splitlines()
    assert body[0] == TEXTS["summary"]
    assert body[2:-2] == TEXTS["description"].splitlines()

    assert web["/pager"]["alerts"][0]["annotations"] == TEXTS

    (message,) = web["/slack"]["attachments"]
    title = title.replace("017", "018")
    assert message["title"] == f"TICKET {title}"
    assert message["title_link"].endswith("filter=%7Bincident%3D%22run%2F4712%22%7D")
    assert "serial 1652923013274" in message["text"]

    mail = message_from_string(mails[0])
    assert str(make_header(decode_header(mail["Subject"]))) == f"TICKET {title}"
    parts = [part for part in mail.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in parts] == ["text/plain"]
    text = parts[0].get_payload(decode=True)
    assert isinstance(text, bytes)
    assert text.decode().splitlines()[0] == TEXTS["summary"]
    assert "nvidia-smi --gpu-reset -i <GPU>" in text.decode()
