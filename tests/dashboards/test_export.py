"""`accelwatch dashboards export`, and what Grafana's provisioning reads."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from accelwatch import shipped
from accelwatch.cli import main
from accelwatch.grafana.documents import DATASOURCE_UID, FOLDER_UID


def test_all_dashboards_and_provisioning_files_are_written(tmp_path: Path) -> None:
    assert main(["dashboards", "export", str(tmp_path)]) == 0
    shipped_names = {path.name for path in (shipped.dashboards() / "json").glob("*.json")}
    assert {path.name for path in (tmp_path / "dashboards").iterdir()} == shipped_names
    sources = yaml.safe_load((tmp_path / "provisioning/datasources/accelwatch.yml").read_text())["datasources"]
    assert [source["uid"] for source in sources] == [DATASOURCE_UID]
    providers = yaml.safe_load((tmp_path / "provisioning/dashboards/accelwatch.yml").read_text())["providers"]
    assert [provider["folderUid"] for provider in providers] == [FOLDER_UID]


def test_a_second_export_keeps_the_sites_provisioning_and_takes_old_dashboards_away(tmp_path: Path) -> None:
    main(["dashboards", "export", str(tmp_path)])
    source = tmp_path / "provisioning/datasources/accelwatch.yml"
    source.write_text(source.read_text().replace("127.0.0.1", "prometheus"))
    (tmp_path / "dashboards" / "accelwatch-gone.json").write_text("{}")
    (tmp_path / "dashboards" / "ours.json").write_text("{}")
    assert main(["dashboards", "export", str(tmp_path)]) == 0
    assert "prometheus:9090" in source.read_text()
    assert not (tmp_path / "dashboards" / "accelwatch-gone.json").exists()
    assert (tmp_path / "dashboards" / "ours.json").exists()


def test_without_runbooks_no_link_leads_to_them(tmp_path: Path) -> None:
    main(["dashboards", "export", str(tmp_path)])
    text = (tmp_path / "dashboards" / "accelwatch-fleet.json").read_text()
    assert "runbooks/" not in text
    main(["dashboards", "export", str(tmp_path), "--runbooks", "https://wiki/books/"])
    text = (tmp_path / "dashboards" / "accelwatch-fleet.json").read_text()
    assert '"https://wiki/books/${__value.text}.md"' in text


def test_the_exported_files_are_dashboards(tmp_path: Path) -> None:
    main(["dashboards", "export", str(tmp_path)])
    for path in (tmp_path / "dashboards").glob("*.json"):
        document = json.loads(path.read_text())
        assert document["uid"] == path.stem
        assert document["panels"]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert main(["dashboards", "export", str(tmp_path / "file")]) == 3
