"""`accelwatch rules export DIR`: the alert rules, Alertmanager configuration and runbooks with the site's names."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from accelwatch import __version__, shipped

HEADER = "# Written by `accelwatch rules export`"
# Apart from the rules, which Prometheus takes by *.yml.
ALERTMANAGER = Path("alertmanager", "alertmanager.yml")
# As in the shipped files; `alerts/rules` says why.
JOB, CLUSTER, RUNBOOKS, MIN_RUN_DEVICES = "accelwatch", "cluster", "runbooks", 8

# A threshold on the size of a run, wherever it stands.
_SIZE = re.compile(r"(\baccelwatch:(?:run:size|run:peak_devices|node_run:devices) (?:>=|<)) 8\b")
_JOB = re.compile(r'(?<=\bjob)(=|!=)"accelwatch"')
_ANNOTATED = re.compile(r"(\s+)runbook_url: runbooks/")
_ADDRESS = re.compile(r"https?://[!#-~]+")
_RUNBOOK = re.compile(r"(?<=runbook_url: )runbooks/")
# The cluster's label: in a list of labels, as a matcher, or taken from an alert. As a word in a sentence it stays.
_LISTS = re.compile(r"(?:\b(?:by|without|on|ignoring|group_left|group_right) \(|\b(?:group_by|equal): \[)[^)\]]*[)\]]")
_MATCHER = re.compile(r'\bcluster(?=(?:=~|!~|!=|=)(?:"|%q))')
_TAKEN = re.compile(r"(?<=[lL]abels\.)cluster\b")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_JOB_NAME = re.compile(r'[^"\\\n]+')
_URL = re.compile(r"""[^\s"'{}#\\]+""")
# Labels that mean something else in the rules.
_IN_USE = frozenset(
    [
        "alertname",
        "attempt",
        "class",
        "code",
        "config_hash",
        "device",
        "drill",
        "driver",
        "fault_severity",
        "incident",
        "instance",
        "job",
        "kind",
        "model",
        "node",
        "notify",
        "outcome",
        "path",
        "rack",
        "rule",
        "run_id",
        "severity",
        "source",
        "state",
        "vendor",
        "version",
    ]
)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """The names that a site has chosen. Raises `ValueError` where Prometheus would not take one."""

    job: str = JOB
    cluster_label: str = CLUSTER
    runbooks: str = RUNBOOKS
    dashboards: str = ""  # of a Grafana with the dashboards; empty: alerts have no link to one
    min_run_devices: int = MIN_RUN_DEVICES

    def __post_init__(self) -> None:
        if not _JOB_NAME.fullmatch(self.job):
            raise ValueError(f"--job: {self.job!r} is no job name; expected text without quotes and backslashes")
        label = self.cluster_label
        if not _LABEL.fullmatch(label) or label.startswith("__") or label in _IN_USE:
            raise ValueError(f"--cluster-label: {label!r} is no free label name; expected one such as k8s_cluster")
        if not _URL.fullmatch(self.runbooks):
            raise ValueError(f"--runbooks: {self.runbooks!r} is no address; expected one such as https://wiki/runbooks")
        if self.dashboards and not _ADDRESS.fullmatch(self.dashboards):
            raise ValueError(
                f"--dashboards: {self.dashboards!r} is no address; expected a Grafana's, such as https://grafana"
            )
        if self.min_run_devices < 1:
            raise ValueError(f"--min-run-devices: {self.min_run_devices} is too small; expected 1 or more")

    def named(self, text: str) -> str:
        """A shipped file's text with these names; comments as they are."""
        return "".join(
            line if line.lstrip().startswith("#") else self._line(line) + self._dashboard(line)
            for line in text.splitlines(keepends=True)
        )

    def _dashboard(self, line: str) -> str:
        """The annotation that follows a line of YAML with the runbook's: the dashboard of the run, or of the node."""
        if not self.dashboards or (place := _ANNOTATED.match(line)) is None:
            return ""
        base = f"{self.dashboards.rstrip('/')}/d/accelwatch"
        link = (
            f"{{{{ with $labels.run_id }}}}{base}-run?var-run={{{{ urlquery . }}}}&{{{{ else }}}}"
            f"{{{{ with $labels.node }}}}{base}-node?var-node={{{{ urlquery . }}}}&"
            f"{{{{ else }}}}{base}-fleet?{{{{ end }}}}{{{{ end }}}}"
            f"{{{{ with $labels.{self.cluster_label} }}}}var-cluster={{{{ urlquery . }}}}&{{{{ end }}}}"
            f"from=now-1h&to=now"
        )
        return f'{place[1]}dashboard_url: "{link}"\n'

    def _line(self, line: str) -> str:
        line = _SIZE.sub(rf"\g<1> {self.min_run_devices}", line)
        line = _JOB.sub(lambda match: f'{match[1]}"{self.job}"', line)
        line = _RUNBOOK.sub(lambda _: self.runbooks.rstrip("/") + "/", line)
        line = _LISTS.sub(lambda match: re.sub(r"\bcluster\b", self.cluster_label, match[0]), line)
        line = _MATCHER.sub(self.cluster_label, line)
        return _TAKEN.sub(self.cluster_label, line)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("action", choices=["export"])
    parser.add_argument(
        "directory", metavar="DIR", help="where Prometheus reads rules, such as /etc/prometheus/accelwatch"
    )
    parser.add_argument("--job", default=JOB, metavar="J", help="the scrape job of the agents (default: %(default)s)")
    parser.add_argument(
        "--runbooks", default=RUNBOOKS, metavar="URL", help="where the runbooks are served; an alert's name is added"
    )
    parser.add_argument(
        "--dashboards",
        default="",
        metavar="URL",
        help="the Grafana that has the dashboards: each alert links to its own",
    )
    parser.add_argument(
        "--min-run-devices",
        type=int,
        default=MIN_RUN_DEVICES,
        metavar="N",
        help="a smaller run makes a ticket, not a page (default: %(default)s)",
    )
    parser.add_argument(
        "--cluster-label",
        default=CLUSTER,
        metavar="NAME",
        help="the targets' label of the cluster (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> int:
    """0 when all is written; 3 for a name that cannot be used, or a directory that cannot be written."""
    directory = Path(options.directory)
    try:
        site = Site(
            job=options.job,
            cluster_label=options.cluster_label,
            runbooks=options.runbooks,
            dashboards=options.dashboards,
            min_run_devices=options.min_run_devices,
        )
        written = export(shipped.alerts(), directory, site)
    except (ValueError, shipped.NotShippedError) as error:
        print(f"accelwatch rules export: {error}", file=sys.stderr)
        return 3
    except OSError as error:
        print(f"accelwatch rules export: {error}; expected a directory that can be written", file=sys.stderr)
        return 3
    print(f"{len(written)} files written to {directory}")
    for path in written:
        if path.suffix == ".new":
            print(f"  {path.with_suffix('')} is kept; compare it with {path}")
    print(f"  rule_files: [{directory}/*.yml]          in prometheus.yml")
    print(f"  {directory}/alertmanager/                alertmanager.yml with its page templates: put your receivers in")
    print(f"  {directory}/runbooks/                    to be served at {site.runbooks}")
    return 0


def export(source: Path, directory: Path, site: Site) -> list[Path]:
    """Writes all files and takes away rules that an earlier version wrote and this one lacks. Raises `OSError`.

    An alertmanager.yml that is there has the site's receivers in it: the new one comes beside it.
    """
    files = {directory / name: text for name, text in _files(source, site)}
    configuration = directory / ALERTMANAGER
    if configuration.exists() and configuration.read_text(encoding="utf-8") != files[configuration]:
        files[configuration.with_suffix(".yml.new")] = files.pop(configuration)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in directory.glob("*.yml"):
        if path not in files and path.read_text(encoding="utf-8").startswith(HEADER):
            path.unlink()
    return sorted(files)


def _files(source: Path, site: Site) -> Iterator[tuple[Path, str]]:
    head = f"{HEADER} (accelwatch {__version__}); the next export replaces it.\n"
    for path in sorted((source / "rules").glob("*.yml")):
        yield Path(path.name), head + site.named(path.read_text(encoding="utf-8"))
    yield ALERTMANAGER, site.named((source / "alertmanager.yml").read_text(encoding="utf-8"))
    for path in sorted((source / "templates").glob("*.tmpl")):
        yield Path("alertmanager", "templates", path.name), site.named(path.read_text(encoding="utf-8"))
    for path in sorted((source / "runbooks").glob("*.md")):
        yield Path("runbooks", path.name), path.read_text(encoding="utf-8")
