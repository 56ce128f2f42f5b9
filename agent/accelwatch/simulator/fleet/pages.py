"""The pages of all nodes at one address: `/NODE/metrics`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from accelwatch.server.http import Request, Response, Server
from accelwatch.simulator.fleet.discovery import metrics_path
from accelwatch.simulator.fleet.fleet import Fleet

_PLAIN = "text/plain; charset=utf-8"
# Prometheus keeps a connection to each target, though all have one address.
_SPARE_CONNECTIONS = 64


def server(fleet: Fleet, report: Callable[[str, BaseException], None]) -> Server:
    """Not listening yet."""
    routes = {metrics_path(name): partial(_page, fleet, name) for name in fleet.nodes}
    return Server({**routes, "/": partial(_list, fleet)}, report, len(routes) + _SPARE_CONNECTIONS)


def _page(fleet: Fleet, name: str, request: Request) -> Response:
    page = fleet.page(name)
    if page is None:
        # Prometheus takes it for `up` 0, as a refused connection.
        return Response(503, _PLAIN, f"SIMULATED: {name} does not answer\n".encode())
    body, content_type, encoding = page.encode(request.accept, request.accept_encoding)
    return Response(200, content_type, body, encoding)


def _list(fleet: Fleet, _request: Request) -> Response:
    lines = ["SIMULATED fleet", *(metrics_path(name) for name in fleet.nodes)]
    return Response(200, _PLAIN, ("\n".join(lines) + "\n").encode())
