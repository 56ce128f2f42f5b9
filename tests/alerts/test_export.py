"""`accelwatch rules export`: the shipped files with a site's names, from a source tree and from a wheel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from accelwatch import cli, shipped
from accelwatch.commands.rules import HEADER, MIN_RUN_DEVICES, Site
from alerts.shipped_rules import ALERTS, RULES, RUNBOOKS, TESTS, needs_promtool, promtool

ROOT = ALERTS.parent


def export(directory: Path, *options: str) -> Path:
    assert cli.main(["rules", "export", str(directory), *options]) == 0
    return directory


def expressions(directory: Path) -> list[str]:
    return [
        rule["expr"]
        for path in sorted(directory.glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def test_without_options_nothing_but_a_header_is_added(tmp_path: Path) -> None:
    directory = export(tmp_path)
    for path in RULES:
        head, _, rest = (directory / path.name).read_text().partition("\n")
        assert head.startswith(HEADER)
        assert rest == path.read_text()
    assert (directory / "alertmanager" / "alertmanager.yml").read_text() == (ALERTS / "alertmanager.yml").read_text()
    assert sorted(path.name for path in (directory / "runbooks").iterdir()) == [path.name for path in RUNBOOKS]
    # Prometheus takes DIR/*.yml: rules and nothing else.
    assert sorted(path.name for path in directory.glob("*.yml")) == [path.name for path in RULES]


def test_the_size_of_a_run_is_asked_for_everywhere_with_the_sites_number(tmp_path: Path) -> None:
    shipped_sizes = [
        text for path in RULES for text in re.findall(r"devices (?:>=|<) \d+|run:size (?:>=|<) \d+", path.read_text())
    ]
    assert shipped_sizes
    assert {int(text.split()[-1]) for text in shipped_sizes} == {MIN_RUN_DEVICES}
    text = "\n".join(expressions(export(tmp_path, "--min-run-devices", "64")))
    assert len(re.findall(r"(?:devices|run:size) (?:>=|<) 64\b", text)) == len(shipped_sizes)
    assert not re.search(r"(?:devices|run:size) (?:>=|<) 8\b", text)


@pytest.mark.parametrize("job", ["gpu-agents", "a b", "a.b|c"])
def test_the_job_is_the_sites_everywhere(tmp_path: Path, job: str) -> None:
    text = "\n".join(expressions(export(tmp_path, "--job", job)))
    assert f'job="{job}"' in text
    assert f'job!="{job}"' in text
    assert not re.search(r'job!?="accelwatch"', text)


def test_runbooks_are_under_the_sites_address(tmp_path: Path) -> None:
    for path in export(tmp_path, "--runbooks", "https://wiki.example.org/runbooks/").glob("*.yml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    address = f"https://wiki.example.org/runbooks/{rule['alert']}.md"
                    assert rule["annotations"]["runbook_url"] == address


def test_each_alert_links_to_its_runs_dashboard_else_to_its_nodes(tmp_path: Path) -> None:
    directory = export(tmp_path, "--dashboards", "https://grafana.example.org/", "--cluster-label", "k8s_cluster")
    notes = [
        rule["annotations"]
        for path in directory.glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]
    (link,) = {note["dashboard_url"] for note in notes}
    (tmp_path / "rule.yml").write_text(
        yaml.safe_dump(
            {"groups": [{"name": "g", "rules": [{"alert": "A", "expr": "x", "annotations": {"dashboard_url": link}}]}]}
        )
    )
    base = "https://grafana.example.org/d/accelwatch"
    expected = {
        '{run_id="a/b c",node="n",k8s_cluster="k"}': f"{base}-run?var-run=a%2Fb+c&var-cluster=k&from=now-1h&to=now",
        '{node="n",k8s_cluster="k"}': f"{base}-node?var-node=n&var-cluster=k&from=now-1h&to=now",
        '{rack="r"}': f"{base}-fleet?from=now-1h&to=now",
    }
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": f"x{labels}", "values": "1x5"}],
            "alert_rule_test": [
                {
                    "alertname": "A",
                    "eval_time": "1m",
                    "exp_alerts": [
                        {
                            "exp_labels": dict(re.findall(r'(\w+)="([^"]*)"', labels)),
                            "exp_annotations": {"dashboard_url": url},
                        }
                    ],
                }
            ],
        }
        for labels, url in expected.items()
    ]
    (tmp_path / "link_test.yml").write_text(yaml.safe_dump({"rule_files": ["rule.yml"], "tests": tests}, width=1000))
    said = promtool("test", "rules", str(tmp_path / "link_test.yml"))
    assert said.returncode == 0, said.stdout + said.stderr


def test_the_dashboards_that_alerts_link_to_are_there_and_know_what_is_set() -> None:
    link = Site(dashboards="https://g").named("  runbook_url: runbooks/A.md\n")
    linked = re.findall(r"/d/([\w-]+)\?(?:var-(\w+)=)?", link)
    assert [variable for _, variable in linked] == ["run", "node", ""]
    for uid, variable in linked:
        board = json.loads((ROOT / "dashboards" / "json" / f"{uid}.json").read_text())
        assert board["uid"] == uid
        assert {variable or "cluster", "cluster"} <= {one["name"] for one in board["templating"]["list"]}


def test_without_a_grafana_no_alert_links_to_one(tmp_path: Path) -> None:
    assert not [path for path in export(tmp_path).glob("*.yml") if "dashboard_url" in path.read_text()]


def test_no_rule_template_or_inhibition_keeps_the_old_label_of_the_cluster(tmp_path: Path) -> None:
    directory = export(tmp_path, "--cluster-label", "k8s_cluster")
    assert not [text for text in expressions(directory) if re.search(r"\bcluster\b", text)]
    for path in [*directory.glob("*.yml"), *(directory / "alertmanager").rglob("*.*")]:
        text = "\n".join(line for line in path.read_text().splitlines() if not line.lstrip().startswith("#"))
        assert not re.search(r"abels\.cluster\b|\bcluster *(?:=|!=|=~|!~)", text), path.name
    configuration: dict[str, Any] = yaml.safe_load((directory / "alertmanager" / "alertmanager.yml").read_text())
    assert configuration["route"]["group_by"] == ["k8s_cluster", "incident"]
    for rule in configuration["inhibit_rules"]:
        assert "cluster" not in rule["equal"]


@needs_promtool
def test_the_unit_tests_hold_with_other_names(tmp_path: Path) -> None:
    """The tests' own series renamed in the same way; sizes as shipped, since the tests are about them."""
    rules = export(tmp_path / "rules", "--job", "gpu", "--cluster-label", "k8s_cluster")
    assert promtool("check", "rules", *map(str, rules.glob("*.yml"))).returncode == 0
    tests = tmp_path / "tests"
    tests.mkdir()
    for path in TESTS:
        if path.stem not in ("nodes_test", "racks_test", "classes_test"):
            continue
        text = path.read_text().replace('job="accelwatch"', 'job="gpu"')
        text = re.sub(r"\bcluster(?==\"|: k\b)", "k8s_cluster", text)
        (tests / path.name).write_text(text)
        done = promtool("test", "rules", str(tests / path.name))
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_site_wrote_into_alertmanager_yml_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(tmp_path)
    export(tmp_path)
    own = tmp_path / "alertmanager" / "alertmanager.yml"
    assert not own.with_suffix(".yml.new").exists()
    own.write_text("receivers: [{name: mine}]\n")
    capsys.readouterr()
    export(tmp_path)
    assert own.read_text() == "receivers: [{name: mine}]\n"
    assert own.with_suffix(".yml.new").read_text() == (ALERTS / "alertmanager.yml").read_text()
    assert f"{own} is kept" in capsys.readouterr().out


def test_rules_of_an_earlier_version_go_and_the_sites_own_stay(tmp_path: Path) -> None:
    (tmp_path / "devices.yml").write_text(f"{HEADER} (accelwatch 0.1.0)\ngroups: []\n")
    (tmp_path / "ours.yml").write_text("groups: []\n")
    export(tmp_path)
    assert not (tmp_path / "devices.yml").exists()
    assert (tmp_path / "ours.yml").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--min-run-devices", "0"),
        ("--job", 'a"b'),
        ("--job", ""),
        ("--cluster-label", "k8s-cluster"),
        ("--cluster-label", "node"),
        ("--runbooks", "https://x y"),
        ("--runbooks", ""),
        ("--dashboards", "grafana"),
        ("--dashboards", 'https://x"y'),
    ],
)
def test_a_name_that_prometheus_would_not_take_is_refused(
    tmp_path: Path, options: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["rules", "export", str(tmp_path / "out"), *options]) == 3
    assert options[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_directory_that_cannot_be_written_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert cli.main(["rules", "export", str(tmp_path / "file")]) == 3
    assert "expected a directory that can be written" in capsys.readouterr().err


def test_words_stay_and_labels_change() -> None:
    site = Site(cluster_label="c2", job="j")
    assert site.named('        # by (cluster) job="accelwatch"\n') == '        # by (cluster) job="accelwatch"\n'
    assert site.named("the agents of cluster {{ $labels.cluster }}") == "the agents of cluster {{ $labels.c2 }}"
    assert site.named('x{cluster=%q,exported_cluster="a"}') == 'x{c2=%q,exported_cluster="a"}'
    assert site.named("sum by (cluster, node) (x)") == "sum by (c2, node) (x)"


def test_missing_files_are_said_with_their_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "_PLACES", (tmp_path,))
    with pytest.raises(shipped.NotShippedError, match=re.escape(str(tmp_path))):
        shipped.alerts()


@pytest.mark.e2e
def test_a_wheel_brings_rules_templates_and_runbooks(tmp_path: Path) -> None:
    """Built as an installer builds it; what is unpacked exports the same files, away from the source tree."""
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    # What `accelwatch dashboards` writes comes the same way.
    for path in (ROOT / "dashboards" / "json", ROOT / "dashboards" / "provisioning"):
        for beside in path.rglob("*.*"):
            inside = tmp_path / "site" / "accelwatch" / beside.relative_to(ROOT)
            assert inside.read_bytes() == beside.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from accelwatch.cli import main; sys.exit(main(sys.argv[1:]))",
         "rules", "export", str(tmp_path / "out")],
        cwd=tmp_path / "site",
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    export(tmp_path / "here")
    for path in (tmp_path / "here").rglob("*.*"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "here")).read_bytes() == path.read_bytes()
