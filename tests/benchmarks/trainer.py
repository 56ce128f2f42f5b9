"""Work as of a training process, on one core: `trainer.py FILE` counts its steps of a millisecond in FILE, for ever.

A product of matrices that fits into the nearer caches, and a walk through memory that does not.
"""

from __future__ import annotations

import mmap
import struct
import sys
from pathlib import Path

import numpy as np

COUNT = struct.Struct("<Q")


def main() -> None:
    """Never returns."""
    with Path(sys.argv[1]).open("r+b") as file:
        shown = mmap.mmap(file.fileno(), COUNT.size)
    random = np.random.default_rng(1)
    weights = random.standard_normal((192, 192), dtype=np.float32)
    state = random.standard_normal((192, 192), dtype=np.float32)
    batch = random.standard_normal(1 << 20, dtype=np.float32)
    count = 0
    while True:
        state = np.tanh(weights @ state)
        batch *= 1.0001 if count % 2 else 0.9999
        count += 1
        COUNT.pack_into(shown, 0, count)


if __name__ == "__main__":
    main()
