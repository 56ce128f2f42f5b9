"""What operators ask of the running agent: drills, planned work, and commands for faults again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accelwatch import log
from accelwatch.clock import SteadyClock
from accelwatch.core import Core
from accelwatch.detectors.base import Known
from accelwatch.maintenance import Maintenance, described
from accelwatch.pipeline import Pipeline
from accelwatch.taxonomy.loader import CLASSES

# Of these classes nothing is on a device: without one named they are of the node as a whole.
HOST_CLASSES = frozenset(("host", "storage", "software_job"))
# A drill has to last over an Alertmanager's group interval; one that nobody ends must not stand there all day.
DRILL_SECONDS, DRILL_LIMIT_SECONDS = 5.0, 3600.0
MAINTENANCE_LIMIT_SECONDS = 7 * 86400.0


class Operator:
    """Changes the core under the pipeline's lock, and has that committed and shown. Every change is in the log."""

    def __init__(self, core: Core, pipeline: Pipeline, pagers: Callable[[], int]) -> None:
        self._core = core
        self._pipeline = pipeline
        self._pagers = pagers

    # --- drills

    def drill(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Takes `class`, `seconds` and perhaps `device`; answers with the episode's number and whom it reaches."""
        class_, seconds, wanted = str(request["class"]), float(request["seconds"]), request.get("device")
        if class_ not in CLASSES:
            return {"error": f"drill: no fault class {class_!r}; expected one of {', '.join(CLASSES)}"}
        if not DRILL_SECONDS <= seconds <= DRILL_LIMIT_SECONDS:
            return {"error": f"drill: {seconds:g} s; expected {DRILL_SECONDS:g} s to {DRILL_LIMIT_SECONDS / 60:g} min"}
        with self._pipeline.lock:
            found = self._device(class_, None if wanted is None else str(wanted))
            if isinstance(found, str):
                return {"error": f"drill: {found}"}
            vendor = found.key.vendor.value if found is not None else self._host_vendor()
            episode = self._core.drill(class_, vendor, found, seconds)
            planned = self._core.maintenance is not None
            fast = episode is not None and any(c.episode.id == episode.id for c in self._core.paging(1))  # needs no run
        where = "the node" if found is None else f"{vendor} {found.label}"
        if episode is None:
            return {"error": f"drill: one of {class_} on {where} goes on already; `accelwatch faults` has its number, "
                    "`accelwatch clear` ends it"}  # fmt: skip
        self._pipeline.wake()
        by = str(request.get("by", ""))
        log.get().warning("drill begun by an operator", id=episode.id, fault=class_, on=where, seconds=seconds, by=by)
        return {
            "drill": episode.id,
            "on": where,
            "seconds": seconds,
            "notify": episode.notify.value,
            "fast": fast,
            "alertmanagers": self._pagers(),
            "maintenance": planned,
        }

    def _device(self, class_: str, wanted: str | None) -> Known | str | None:
        """The device, `None` for the node, or what is wrong."""
        known = [device for device in self._core.node.known().values() if device.parent is None]
        if wanted is None:
            return None if class_ in HOST_CLASSES or not known else min(known, key=lambda d: (len(d.label), d.label))
        vendor, _, label = wanted.rpartition(":")
        matching = [d for d in known if d.label == label and vendor in ("", d.key.vendor.value)]
        if len(matching) == 1:
            return matching[0]
        names = ", ".join(sorted(f"{d.key.vendor.value}:{d.label}" for d in (matching or known))) or "none"
        what = "stands for several devices" if matching else "is no device of this node"
        return f"{wanted!r} {what}; expected one of: {names}"

    def _host_vendor(self) -> str:
        vendors = {key.vendor.value for key in self._core.node.known()}
        return vendors.pop() if len(vendors) == 1 else "host"

    # --- planned work

    def planned(self) -> dict[str, str] | None:
        """Planned work that goes on, for `check` and the node's page; the pipeline's lock is held."""
        return described(self._core.maintenance, self._clock)

    def maintenance(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Takes `action`: `on` (with `seconds`, `reason`), `off`, `status`; answers with what is planned then."""
        action, by = request["action"], str(request.get("by", ""))
        if action == "on":
            return self._begin(float(request["seconds"]), str(request["reason"]), by)
        with self._pipeline.lock:
            before = self.planned()
            if action == "off":
                self._core.maintain(None)
        if action == "off" and before is not None:
            self._pipeline.wake()
            log.get().warning("maintenance ended by an operator", reason=before["reason"], by=by)
        return {"maintenance": before if action == "status" else None, "before": before}

    def _begin(self, seconds: float, reason: str, by: str) -> dict[str, Any]:
        if not 0 < seconds <= MAINTENANCE_LIMIT_SECONDS:
            limit = MAINTENANCE_LIMIT_SECONDS / 86400
            return {"error": f"maintenance: {seconds:g} s; expected up to {limit:g} days: what is forgotten must end"}
        with self._pipeline.lock:
            now, before = self._clock.now(), self._core.maintenance
            since = now if before is None else before.since_at
            self._core.maintain(Maintenance(since_at=since, until_at=now + seconds, reason=reason[:500], by=by[:100]))
            planned = self.planned()
        self._pipeline.wake()
        log.get().warning("maintenance begun by an operator", seconds=seconds, reason=reason, by=by)
        return {"maintenance": planned}

    # --- commands for faults

    def reset_breaker(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Takes `reason`: the breaker of the site's command is closed, and what was counted for it is forgiven."""
        by, reason = str(request.get("by", "")), str(request["reason"])
        with self._pipeline.lock:
            keeper, now = self._core.remediations, self._clock.now()
            if not keeper.on:
                return {"error": "remediations: no command is configured (`remediation.command`)"}
            closes_at = keeper.breaker_closes_at(now)
            keeper.reset(by, reason, now, self._clock.time())
        self._pipeline.wake()
        return {"was_open": closes_at is not None}

    @property
    def _clock(self) -> SteadyClock:
        return self._core.clock
