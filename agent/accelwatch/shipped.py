"""What lies beside the code: rules, Alertmanager configuration, page templates, runbooks, dashboards."""

from __future__ import annotations

from pathlib import Path

# A wheel brings them inside the package; in a source tree they are a folder of their own beside `agent/`.
_PLACES = (Path(__file__).parent / "alerts", Path(__file__).parents[2] / "alerts")


_DASHBOARDS = (Path(__file__).parent / "dashboards", Path(__file__).parents[2] / "dashboards")


class NotShippedError(Exception):
    """The files are not where this package brings them."""


def alerts() -> Path:
    """The folder with `rules/`, `alertmanager.yml`, `templates/` and `runbooks/`. Raises `NotShippedError`."""
    for path in _PLACES:
        if (path / "rules").is_dir():
            return path
    raise NotShippedError(
        f"the alert rules are missing: expected them in {_PLACES[0]}; install accelwatch from its wheel or source tree"
    )


def dashboards() -> Path:
    """The folder with `json/` and `provisioning/`. Raises `NotShippedError`."""
    for path in _DASHBOARDS:
        if (path / "json").is_dir():
            return path
    raise NotShippedError(
        f"the dashboards are missing: expected them in {_DASHBOARDS[0]}; "
        "install accelwatch from its wheel or source tree"
    )
