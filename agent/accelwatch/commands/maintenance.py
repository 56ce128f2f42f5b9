"""`accelwatch maintenance on --for 2h --reason TEXT` / `off` / `status`: planned work, without pages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from accelwatch import config
from accelwatch.commands import silences
from accelwatch.commands.operator import ask, who


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("action", choices=("on", "off", "status"), help="begin, end, or show planned work on this node")
    parser.add_argument("--for", dest="duration", metavar="TIME", help="on: how long, such as 30m, 2h or 1d")
    parser.add_argument("--reason", metavar="TEXT", help="on: why; kept, shown and logged")
    parser.add_argument(
        "--nodes",
        metavar="LIST",
        help="on, off: instead print the amtool commands that silence these nodes, such as n1,n2 or gpu-[001-064]; "
        "contacts nobody",
    )
    parser.add_argument("--cluster", metavar="C", help="with --nodes: only of this cluster")


def run(options: argparse.Namespace) -> int:
    """Asks the running agent, or prints silences; 3 when there is no agent, or for wrong usage."""
    try:
        request = _request(options)
        if options.nodes is not None:
            print("\n".join(_silences(options, request.get("seconds"))))
            return 0
    except ValueError as error:
        print(f"accelwatch maintenance: {error}", file=sys.stderr)
        return 3
    answer = ask("maintenance", options, request)
    if answer is None:
        return 3
    print(_said(options.action, answer))
    return 0


def _request(options: argparse.Namespace) -> dict[str, Any]:
    request: dict[str, Any] = {"command": "maintenance", "action": options.action, "by": who()}
    if options.action == "on":
        if options.duration is None or not (options.reason or "").strip():
            raise ValueError("on: expected --for TIME and --reason TEXT")
        return request | {"seconds": config.seconds(options.duration), "reason": options.reason.strip()}
    if options.duration is not None or options.reason is not None:
        raise ValueError(f"{options.action}: --for and --reason belong to `on`")
    if options.cluster is not None and options.nodes is None:
        raise ValueError("--cluster belongs to --nodes: this node's own cluster is in its configuration")
    return request


def _silences(options: argparse.Namespace, seconds: float | None) -> list[str]:
    nodes = silences.expanded(options.nodes)
    if options.action == "on":
        return silences.add(nodes, options.cluster, seconds or 0.0, options.reason.strip(), who())
    if options.action == "off":
        return silences.expire(nodes, options.cluster)
    raise ValueError("status: --nodes belongs to `on` and `off`; `amtool silence query` shows what is silenced")


def _said(action: str, answer: Mapping[str, Any]) -> str:
    planned, before = answer["maintenance"], answer.get("before")
    if planned is not None:
        by = f", by {planned['by']}" if planned["by"] else ""
        return (
            f"maintenance until {planned['until']} (since {planned['since']}{by}): {planned['reason']}; nothing pages"
        )
    if action == "off" and before is not None:
        return f"maintenance is over: {before['reason']}; what is still wrong pages again"
    return "no maintenance"
