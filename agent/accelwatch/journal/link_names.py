"""Which links of a device show what they counted under their own name; the others share one series."""

from __future__ import annotations

from accelwatch.journal.counters import Counters
from accelwatch.readings.link import LinkKind

# The label of what is counted by all further links of a kind together.
REST = "rest"
COUNTED = ("link_errors", "link_drops")

# A device has at most 100 series in any state, a GPU of 18 NVLinks 90 in every likely one (design.md, Metrics): 84 of
# them are not of these counters. NVLinks are named by their first event: errors, which many have some of, leave the
# names of those that drop alone. Links of other kinds (7 of HCCS, one between dies and one port on an A3) are named
# when first read. To raise a number would move counts from one label to another.
NAMED_NVLINKS = {"link_errors": 1, "link_drops": 2}
NAMED_OTHERS = 9
# Its ports are few, and are in the node's budget.
HOST_OWNER = "host"
_NVLINK = f"{LinkKind.NVLINK.value}:"


class LinkNames:
    """Once a link has a name of its own it keeps it, also across restarts, and what others share never falls: both are
    counters of the journal, and a link counts under one label only from its first event on.
    """

    def __init__(self, counters: Counters) -> None:
        """A journal of before has counts without names: the first links get them before anything is shown."""
        self._counters = counters
        for counter in COUNTED:
            for owner, totals in counters.all(counter):
                for label in sorted(totals, key=lambda label: (len(label), label)):
                    self._name(owner, counter, label)

    def counted(self, owner: str, label: str) -> None:
        """To be told after each count of a link, `label` being its kind and name (`nvlink:nvlink3`)."""
        for counter in COUNTED:
            self._name(owner, counter, label)

    def own(self, owner: str, counter: str, label: str) -> bool:
        """Whether the link's count is shown by its own name."""
        return owner == HOST_OWNER or label in self._counters.of(owner, _named(counter))

    def _name(self, owner: str, counter: str, label: str) -> None:
        if self.own(owner, counter, label):
            return
        count = self._counters.of(owner, counter).get(label)
        nvlink = label.startswith(_NVLINK)
        if count is None or (nvlink and not count):
            return
        kind = label.partition(":")[0] + ":"
        named = sum(other.startswith(kind) for other in self._counters.of(owner, _named(counter)))
        if named < (NAMED_NVLINKS[counter] if nvlink else NAMED_OTHERS):
            self._counters.add(owner, _named(counter), label, 1)


def _named(counter: str) -> str:
    """The journal's counter of those that have their own name there."""
    return f"{counter}_named"
