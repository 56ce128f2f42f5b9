"""What reached a webhook, as a person on call counts it: a page is a group's first notification until it is resolved."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from real_alertmanager import Receiver


@dataclass
class Page:
    """One incident at one receiver. Times are seconds since the epoch."""

    receiver: str
    incident: str
    rang: float
    bodies: list[dict[str, Any]] = field(default_factory=list)
    over: float | None = None

    @property
    def first(self) -> dict[str, Any]:
        """The notification that rang."""
        return self.bodies[0]

    @property
    def alerts(self) -> list[dict[str, Any]]:
        """All that it has ever named, each once as it was last told, in the order of their first time."""
        return list({alert["fingerprint"]: alert for body in self.bodies for alert in body["alerts"]}.values())

    @property
    def text(self) -> str:
        """Labels and words of the first notification."""
        return "\n".join(
            f"{alert['labels']}\n{alert['annotations'].get('summary')}\n{alert['annotations'].get('description')}"
            for alert in self.first["alerts"]
        )


class Pages:
    """Reads a receiver's notifications from `since` on."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._from = 0

    def forget(self) -> None:
        """Only what comes from now on is of interest; incidents that are open stay so."""
        self._from = len(self._receiver.received)

    def all(self, receiver: str = "page", *, drills: bool = False) -> list[Page]:
        """Every page that rang since `forget`, also those that are over."""
        found: list[Page] = []
        is_open: dict[str, Page] = {}
        for number, (path, at, body) in enumerate(list(self._receiver.received)):
            if path != f"/{receiver}" or ("drill" in body["commonLabels"]) is not drills:
                continue
            key = body["groupKey"]
            page = is_open.get(key)
            if page is None and body["status"] == "firing":
                page = is_open[key] = Page(receiver, body["groupLabels"].get("incident", ""), at)
                if number >= self._from:
                    found.append(page)
            if page is not None:
                page.bodies.append(body)
                if body["status"] == "resolved":
                    page.over = at
                    del is_open[key]
        return found
