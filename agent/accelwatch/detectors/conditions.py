"""Conditions that last: told once they have been seen for long enough, taken back by good readings only."""

from __future__ import annotations

import msgspec

from accelwatch.detectors.draft import Draft
from accelwatch.detectors.subject import Subject
from accelwatch.faults.sign import Finding, Gone, Sign
from accelwatch.readings.severity import Severity


class Hold(msgspec.Struct, frozen=True):
    """A condition that was seen in the last reading that spoke of it. Times are steady seconds."""

    since: float
    told: bool = False
    good_since: float | None = None  # of a told one: readings are good again since then


class Conditions:
    """The lasting conditions of one detector during one step, and what is found of them.

    `bad`, `good` and `unknown` are said once per condition and reading. A told condition is told again by each bad
    reading, so that its severity and figures follow it.
    """

    def __init__(self, holds: dict[str, Hold], now: float) -> None:
        self._holds = Draft(holds)
        self._now = now
        self.findings: list[Finding] = []

    @property
    def holds(self) -> dict[str, Hold]:
        """For the next state."""
        return self._holds.rows

    @property
    def changed(self) -> bool:
        """Whether the next state differs."""
        return self._holds.changed

    def since(self, subject: Subject, class_: str, condition: str) -> float | None:
        """Since when it is seen without a break."""
        hold = self._holds.get(_name(subject, class_, condition))
        return None if hold is None else hold.since

    def told(self, subject: Subject, class_: str, condition: str) -> bool:
        """Whether it is told and not taken back."""
        hold = self._holds.get(_name(subject, class_, condition))
        return hold is not None and hold.told

    def bad(
        self,
        subject: Subject,
        class_: str,
        condition: str,
        message: str,
        *,
        severity: Severity | None = None,
        held: float = 0.0,
        since: float | None = None,
        code: str | None = None,
        family: str | None = None,
        link: str | None = None,
        events: int = 1,
        escalate: bool = False,
        historical: bool = False,
    ) -> bool:
        """The reading shows the condition; whether it is told now.

        `held`: seconds for which it must have been seen without a break. `since`: when it began, where the reading
        says so itself.
        """
        name = _name(subject, class_, condition)
        hold = self._holds.get(name)
        begun = hold.since if hold is not None else self._now if since is None else min(since, self._now)
        told = (hold is not None and hold.told) or self._now - begun >= held
        self._holds.put(name, Hold(begun, told))
        if told:
            self.findings.append(
                Sign(
                    class_=class_,
                    condition=condition,
                    at=self._now if hold is not None and hold.told else begun,
                    vendor=subject.vendor,
                    device=subject.device,
                    code=code,
                    family=family,
                    severity=severity,
                    message=message,
                    lasting=True,
                    events=events,
                    link=link,
                    escalate=escalate,
                    historical=historical,
                )
            )
        return told

    def good(
        self,
        subject: Subject,
        class_: str,
        condition: str,
        because: str = "the reading is good again",
        *,
        calm: float = 0,
    ) -> bool:
        """The reading is there and does not show the condition; whether that ends a told one.

        `calm`: seconds of good readings that it takes to believe so.
        """
        if not self._holds.rows:
            return False
        name = _name(subject, class_, condition)
        hold = self._holds.get(name)
        if hold is None:
            return False
        if not hold.told:
            self._holds.drop(name)
            return False
        good_since = self._now if hold.good_since is None else hold.good_since
        if self._now - good_since < calm:
            self._holds.put(name, msgspec.structs.replace(hold, good_since=good_since))
            return False
        self._holds.drop(name)
        self.findings.append(
            Gone(
                class_=class_,
                condition=condition,
                vendor=subject.vendor,
                at=self._now,
                device=subject.device,
                because=because,
            )
        )
        return True

    def unknown(self, subject: Subject, class_: str, condition: str) -> None:
        """The reading does not say: what is not told yet begins anew, what is told stays."""
        if not self._holds.rows:
            return
        name = _name(subject, class_, condition)
        hold = self._holds.get(name)
        if hold is not None and not hold.told:
            self._holds.drop(name)


def _name(subject: Subject, class_: str, condition: str) -> str:
    return f"{subject.name}|{class_}|{condition}"
