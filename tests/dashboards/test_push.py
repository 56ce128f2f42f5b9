"""`accelwatch dashboards push` against a stand-in for Grafana's API."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from pathlib import Path

import pytest

from accelwatch import shipped
from accelwatch.cli import main
from accelwatch.grafana.documents import DATASOURCE_UID, FOLDER_UID, Site, load
from dashboards.grafana_standin import EDIT, READ, TOKEN, Grafana, serving

PROMETHEUS = "http://prometheus.example:9090"
UIDS = {f"accelwatch-{name}" for name in ("fleet", "reliability", "run", "node", "links", "agents")}


@pytest.fixture
def token(tmp_path: Path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return str(path)


def push(grafana: Grafana, token: str, *more: str) -> int:
    return main(["dashboards", "push", "--grafana", grafana.url, "--token-file", token, *more])


def test_an_empty_grafana_gets_folder_data_source_and_all_dashboards(token: str) -> None:
    with serving(Grafana()) as grafana:
        assert push(grafana, token, "--prometheus", PROMETHEUS, "--scrape-interval", "30s") == 0
    assert list(grafana.folders) == [FOLDER_UID]
    source = grafana.datasources[DATASOURCE_UID]
    assert (source["type"], source["url"]) == ("prometheus", PROMETHEUS)
    assert source["jsonData"]["timeInterval"] == "30s"
    assert set(grafana.dashboards) == UIDS
    assert {held["meta"]["folderUid"] for held in grafana.dashboards.values()} == {FOLDER_UID}


def test_a_second_push_writes_nothing(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Grafana()) as grafana:
        assert push(grafana, token, "--prometheus", PROMETHEUS) == 0
        grafana.requests.clear()
        capsys.readouterr()
        assert push(grafana, token, "--prometheus", PROMETHEUS) == 0
    assert grafana.writes() == []
    assert capsys.readouterr().out.count("unchanged") == 2 + len(UIDS)


def test_only_what_was_changed_is_written_again(token: str) -> None:
    with serving(Grafana()) as grafana:
        push(grafana, token, "--prometheus", PROMETHEUS)
        grafana.dashboards["accelwatch-run"]["dashboard"]["panels"].pop()
        grafana.dashboards["accelwatch-node"]["meta"]["folderUid"] = "elsewhere"
        grafana.datasources[DATASOURCE_UID]["url"] = "http://old:9090"
        grafana.datasources[DATASOURCE_UID]["name"] = "Prometheus of the hall"
        grafana.requests.clear()
        assert push(grafana, token, "--prometheus", PROMETHEUS) == 0
    assert sorted(grafana.writes()) == [
        ("POST", "/dashboards/db"),
        ("POST", "/dashboards/db"),
        ("PUT", f"/datasources/uid/{DATASOURCE_UID}"),
    ]
    wanted = load(shipped.dashboards(), Site())["accelwatch-run"]
    assert len(grafana.dashboards["accelwatch-run"]["dashboard"]["panels"]) == len(wanted["panels"])
    assert grafana.dashboards["accelwatch-run"]["dashboard"]["version"] == 2
    assert grafana.dashboards["accelwatch-node"]["meta"]["folderUid"] == FOLDER_UID
    source = grafana.datasources[DATASOURCE_UID]
    assert (source["url"], source["name"]) == (PROMETHEUS, "Prometheus of the hall")


def test_a_dry_run_writes_nothing_and_says_what_it_would(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Grafana()) as grafana:
        assert push(grafana, token, "--prometheus", PROMETHEUS, "--dry-run") == 0
    assert grafana.writes() == []
    assert capsys.readouterr().out.count("would create") == 2 + len(UIDS)


def test_without_prometheus_the_data_source_is_left_alone(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Grafana()) as grafana:
        assert push(grafana, token) == 0
    assert grafana.datasources == {}
    assert "choose your Prometheus on the dashboards" in capsys.readouterr().out


def test_what_a_file_provisions_is_kept(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Grafana()) as grafana:
        push(grafana, token, "--prometheus", PROMETHEUS)
        grafana.datasources[DATASOURCE_UID].update(readOnly=True, url="http://old:9090")
        held = grafana.dashboards["accelwatch-run"]
        held["meta"]["provisioned"] = True
        held["dashboard"]["title"] = "of an earlier version"
        grafana.provisioned.add("accelwatch-run")
        grafana.requests.clear()
        capsys.readouterr()
        assert push(grafana, token, "--prometheus", PROMETHEUS) == 0
    assert grafana.writes() == []
    assert capsys.readouterr().out.count("provisioned from a file") == 2


def test_a_grafana_below_a_path(token: str) -> None:
    with serving(Grafana(), "/tools/grafana") as grafana:
        assert push(grafana, token) == 0
        grafana.url += "/"
        assert push(grafana, token) == 0
    assert set(grafana.dashboards) == UIDS


def test_the_runbooks_address_and_the_cluster_label_reach_the_dashboards(token: str) -> None:
    with serving(Grafana()) as grafana:
        assert push(grafana, token, "--runbooks", "https://wiki/books", "--cluster-label", "k8s_cluster") == 0
    text = json.dumps(grafana.dashboards["accelwatch-fleet"])
    assert "https://wiki/books/${__value.text}.md" in text
    assert 'k8s_cluster=~\\"$cluster\\"' in text
    assert 'cluster=~\\"$cluster\\"' not in text.replace("k8s_cluster", "")
    assert "label_values(accelwatch_agent_info, k8s_cluster)" in text


@pytest.mark.parametrize(("role", "words"), [(READ, "forbidden"), (EDIT, "needs role Admin")], ids=["viewer", "editor"])
def test_a_role_that_may_not_is_told_which_may(
    role: int, words: str, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Grafana(role=role)) as grafana:
        assert push(grafana, token, "--prometheus", PROMETHEUS) == 3
    said = capsys.readouterr().err
    assert words in said
    assert "Permissions needed" in said
    assert grafana.dashboards == {}


def test_a_token_that_is_not_accepted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("glsa_other")
    with serving(Grafana()) as grafana:
        assert push(grafana, str(wrong)) == 3
    said = capsys.readouterr().err
    assert "does not accept the token (401)" in said
    assert "glsa_other" not in said


@pytest.mark.parametrize("version", ["9.5.21", "10.0.13", "8.5.27-pre"])
def test_an_older_grafana_is_told_so_and_left_alone(
    version: str, token: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(Grafana(version=version)) as grafana:
        assert push(grafana, token) == 3
    assert f"is Grafana {version}; the dashboards need 10.1 or later" in capsys.readouterr().err
    assert grafana.writes() == []


def test_nobody_there(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        grafana = Grafana()
        grafana.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert push(grafana, token) == 3
    assert f"{grafana.url}: cannot be reached" in capsys.readouterr().err


def test_something_else_there(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A login page of a proxy, say."""

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<html>Sign in</html>")

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    grafana = Grafana()
    grafana.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        assert push(grafana, token) == 3
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "not as a Grafana does" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--grafana", "grafana:3000"], "expected the base URL of a Grafana"),
        (["--grafana", "http://admin:secret@grafana:3000"], "no user or password in it"),
        (["--grafana", "http://grafana:3000", "--prometheus", "prometheus:9090"], "base URL of a Prometheus"),
        (["--grafana", "http://grafana:3000", "--token-file", "/no/such/file"], "/no/such/file"),
        (["--grafana", "http://grafana:3000", "--runbooks", "wiki"], "--runbooks: 'wiki' is no address"),
        (["--grafana", "http://grafana:3000", "--cluster-label", "a b"], "--cluster-label: 'a b' is no label name"),
    ],
)
def test_wrong_usage_says_what_is_wrong(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboards", "push", *arguments]) == 3
    assert words in capsys.readouterr().err


def test_an_empty_token_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = tmp_path / "token"
    empty.write_text("\n")
    grafana = Grafana()
    grafana.url = "http://127.0.0.1:1"
    assert push(grafana, str(empty)) == 3
    assert "holds no token" in capsys.readouterr().err
