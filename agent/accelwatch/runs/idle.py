"""What a device draws when nothing runs on it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

import msgspec

from accelwatch.runs.sample import Sample

# Read off captures of idle devices (nvidia-smi, npu-smi) and the H100 traces of reference/reliability.md 4.2.
# The Ascend 910 of an A3 is two dies that report one power.
_MODELS = (
    (re.compile(r"H100"), 72.0),
    (re.compile(r"910B"), 95.0),
    (re.compile(r"910A"), 65.0),
    (re.compile(r"Ascend ?910(_93\d\d)?$"), 182.0),
)
# For models that are not in the table: a tenth of the limit, as on the H100 (72 of 700 W).
IDLE_SHARE_OF_LIMIT = 0.1
# The minimum is taken over the last 12 to 24 hours: two blocks, so that nothing but three numbers is kept.
BLOCK_SECONDS = 12 * 3600.0
# Less is a sensor that does not answer, not a device that sleeps.
LEAST_WATTS = 2.0


class Floor(msgspec.Struct, frozen=True):
    """The least power of one device, in the current block and in the one before."""

    since: float
    watts: float
    before: float | None = None

    @property
    def least(self) -> float:
        """Watts."""
        return self.watts if self.before is None else min(self.watts, self.before)


def observe(floors: Mapping[str, Floor], samples: Iterable[Sample]) -> dict[str, Floor]:
    """The floors of a node's devices, by `Sample.key`, after some readings; also of devices that no run holds."""
    result = dict(floors)
    for sample in samples:
        watts = sample.power_watts
        if watts is None or watts < LEAST_WATTS:
            continue
        floor = result.get(sample.key)
        if floor is None:
            result[sample.key] = Floor(sample.at, watts)
        elif sample.at - floor.since >= BLOCK_SECONDS:
            result[sample.key] = Floor(sample.at, watts, floor.watts)
        elif watts < floor.watts:
            result[sample.key] = Floor(floor.since, watts, floor.before)
    return result


def idle_watts(sample: Sample, floor: Floor | None) -> float | None:
    """The device's idle power: the lower one of what its model is known for and what was seen."""
    known = _known_watts(sample.model)
    if known is None and sample.power_limit_watts is not None:
        known = IDLE_SHARE_OF_LIMIT * sample.power_limit_watts
    if floor is None:
        return known
    return floor.least if known is None else min(known, floor.least)


@functools.lru_cache(maxsize=64)
def _known_watts(model: str) -> float | None:
    return next((watts for pattern, watts in _MODELS if pattern.search(model)), None)
