"""A Grafana of its own for the simulated cluster, where the host has one installed: dashboards and data source provisioned."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

# Where packages put it; it is seldom on the path of a user.
PLACES = ("grafana-server", "/usr/sbin/grafana-server", "/usr/share/grafana/bin/grafana-server")
HOME = Path("/usr/share/grafana")


def installed() -> str | None:
    """The server's program."""
    return next((found for place in PLACES if (found := shutil.which(place)) is not None), None)


def prepare(program: str, directory: Path, prometheus: str, port: int, scrape_seconds: int) -> list[str]:
    """Writes its files; gives its command. Raises `OSError`, `CalledProcessError`.

    Anybody on this host may look; nobody needs to log in.
    """
    subprocess.run(
        [sys.executable, "-m", "accelwatch", "dashboards", "export", str(directory)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    provisioning = directory / "provisioning"
    providers = provisioning / "dashboards" / "accelwatch.yml"
    document = yaml.safe_load(providers.read_text())
    document["providers"][0]["options"]["path"] = str(directory / "dashboards")
    providers.write_text(yaml.safe_dump(document))
    sources = provisioning / "datasources" / "accelwatch.yml"
    document = yaml.safe_load(sources.read_text())
    document["datasources"][0] |= {"url": prometheus, "isDefault": True}
    document["datasources"][0]["jsonData"]["timeInterval"] = f"{scrape_seconds}s"
    sources.write_text(yaml.safe_dump(document))
    settings = configparser.RawConfigParser()
    settings.read_dict(
        {
            "paths": {
                "data": str(directory / "data"),
                "logs": str(directory / "logs"),
                "plugins": str(directory / "plugins"),
                "provisioning": str(provisioning),
            },
            "server": {"http_addr": "127.0.0.1", "http_port": str(port)},
            "auth.anonymous": {"enabled": "true", "org_role": "Viewer"},
            "analytics": {"reporting_enabled": "false", "check_for_updates": "false"},
        }
    )
    path = directory / "grafana.ini"
    with path.open("w", encoding="utf-8") as file:
        settings.write(file)
    return [program, "--homepath", str(HOME), "--config", str(path)]
