"""`accelwatch dashboards export DIR` and `accelwatch dashboards push --grafana URL`."""

from __future__ import annotations

import argparse
import contextlib
import json
import stat
import sys
from pathlib import Path

from accelwatch import __version__, shipped
from accelwatch.grafana import documents
from accelwatch.grafana.documents import CLUSTER, Site
from accelwatch.prometheus_api import Prometheus
from accelwatch.report import CANNOT_TELL

_PAST = {"created": "would create", "updated": "would update", "unchanged": "unchanged", "kept": "kept"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    export = actions.add_parser("export", help="write the dashboards, and files for Grafana's provisioning")
    export.add_argument("directory", metavar="DIR", help="where to")
    push = actions.add_parser("push", help="bring folder, data source and dashboards into a Grafana")
    push.add_argument("--grafana", required=True, metavar="URL", help="its base URL, such as http://grafana:3000")
    push.add_argument(
        "--token-file", metavar="FILE", help="holds the token of a service account with role Admin; nothing else"
    )
    push.add_argument(
        "--prometheus",
        metavar="URL",
        help="Prometheus as Grafana reaches it; without it the data source is left as it is",
    )
    push.add_argument(
        "--scrape-interval",
        default="15s",
        metavar="T",
        help="of the agents, for the data source (default: %(default)s)",
    )
    push.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    for action in (export, push):
        action.add_argument("--runbooks", default="", metavar="URL", help="where the runbooks are served, for links")
        action.add_argument(
            "--cluster-label",
            default=CLUSTER,
            metavar="NAME",
            help="the targets' label of the cluster (default: %(default)s)",
        )


def run(options: argparse.Namespace) -> int:
    """0 when all is done; 3 when something cannot be done: what was written before it, is."""
    try:
        site = Site(runbooks=options.runbooks, cluster_label=options.cluster_label)
        folder = shipped.dashboards()
        if options.action == "export":
            return _export(folder, Path(options.directory), site)
        return _push(options, documents.load(folder, site))
    except (ValueError, shipped.NotShippedError, OSError) as error:
        print(f"accelwatch dashboards {options.action}: {error}", file=sys.stderr)
        return CANNOT_TELL


def _export(folder: Path, directory: Path, site: Site) -> int:
    """Replaces what an earlier export wrote. Raises `OSError`."""
    dashboards = directory / "dashboards"
    dashboards.mkdir(parents=True, exist_ok=True)
    loaded = documents.load(folder, site)
    for uid, document in loaded.items():
        (dashboards / f"{uid}.json").write_text(
            json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    for path in dashboards.glob("accelwatch-*.json"):
        if path.stem not in loaded:
            path.unlink()
    for path in sorted((folder / "provisioning").rglob("*.yml")):
        target = directory / path.relative_to(folder)
        # The address of Prometheus is the site's: a file that is there stays.
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    print(f"{len(loaded)} dashboards written to {dashboards}")
    print(f"  {directory}/provisioning/    for /etc/grafana/provisioning: put your Prometheus and this path in")
    return 0


def _push(options: argparse.Namespace, loaded: dict[str, documents.Document]) -> int:
    try:
        from accelwatch.grafana.push import push
        from accelwatch.grafana.server import Grafana, GrafanaError
    except ImportError as error:
        print(
            f"accelwatch dashboards push: {error.name} is not installed; install accelwatch[dashboards], or use "
            "`accelwatch dashboards export` and Grafana's provisioning",
            file=sys.stderr,
        )
        return CANNOT_TELL
    prometheus = None if options.prometheus is None else Prometheus(options.prometheus).url
    connection = Grafana(options.grafana, _token(options.token_file))
    try:
        with contextlib.closing(connection) as grafana:
            print(f"{grafana.url}: Grafana {grafana.version()}")
            for done in push(
                grafana,
                loaded,
                prometheus=prometheus,
                scrape_interval=options.scrape_interval,
                message=f"accelwatch {__version__}",
                write=not options.dry_run,
            ):
                word = _PAST[done.did] if options.dry_run else done.did
                print(f"  {word:<12} {done.what}{f' ({done.why})' if done.why else ''}", flush=True)
    except GrafanaError as error:
        print(f"accelwatch dashboards push: {error}", file=sys.stderr)
        return CANNOT_TELL
    return 0


def _token(file: str | None) -> str | None:
    """From a file, since other users of this host see a command's arguments. Raises `ValueError`, `OSError`."""
    if file is None:
        return None
    path = Path(file)
    token = path.read_text(encoding="utf-8").strip()
    if not token or not token.isprintable() or " " in token:
        raise ValueError(f"--token-file: {path} holds no token; expected one line such as glsa_…")
    if path.stat().st_mode & stat.S_IROTH:
        print(f"accelwatch dashboards push: {path} can be read by everybody; chmod 600 {path}", file=sys.stderr)
    return token
