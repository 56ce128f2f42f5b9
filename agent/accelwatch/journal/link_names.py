"""Which links of a device show what they counted under their own name; the others share one series."""

from __future__ import annotations

from accelwatch.journal.counters import Counters
from accelwatch.readings.link import LinkKind

# The label of what is counted by all further links of a kind together.
REST = "rest"
NAMED = "link_named"
COUNTED = ("link_errors", "link_drops")

# A device has at most 100 series in any state, a GPU of 18 NVLinks 90 in every likely one (design.md, Metrics): 79 of
# them are not of these counters. NVLinks are named by their first error or drop, links of other kinds (7 of HCCS, one
# between dies and one port on an A3) when first read. To raise a number would move counts from one label to another.
NAMED_NVLINKS, NAMED_OTHERS = 3, 9
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
                    self.counted(owner, label)

    def counted(self, owner: str, label: str) -> None:
        """To be told after each count of a link, `label` being its kind and name (`nvlink:nvlink3`)."""
        if self.own(owner, label):
            return
        nvlink = label.startswith(_NVLINK)
        if nvlink and not any(self._counters.of(owner, name).get(label) for name in COUNTED):
            return
        kind = label.partition(":")[0] + ":"
        named = sum(other.startswith(kind) for other in self._counters.of(owner, NAMED))
        if named < (NAMED_NVLINKS if nvlink else NAMED_OTHERS):
            self._counters.add(owner, NAMED, label, 1)

    def own(self, owner: str, label: str) -> bool:
        """Whether the link is shown by its own name."""
        return owner == HOST_OWNER or label in self._counters.of(owner, NAMED)
