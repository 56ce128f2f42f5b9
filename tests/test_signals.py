"""Signals that come at any moment, in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys

PROGRAM = """
import signal, subprocess, sys
from accelwatch.signals import Signals

signals = Signals(signal.SIGHUP, signal.SIGUSR1)
assert signals.wait(0) == frozenset()
sender = subprocess.Popen([sys.executable, "-c", '''
import os, signal, time
for _ in range(8000):
    os.kill(os.getppid(), signal.SIGHUP)
    time.sleep(0.0001)
os.kill(os.getppid(), signal.SIGUSR1)
'''])
woken, came = 0, frozenset()
while signal.SIGUSR1 not in came:
    came = signals.wait(0.0001)
    woken += signal.SIGHUP in came
sender.wait()
print(woken)
"""


def test_no_signal_stops_the_wait_for_the_next() -> None:
    """With a handler that sets the event that is waited for, this stands still for ever after some thousand of them."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_signals_that_came_together_are_told_together() -> None:
    program = (
        "import os, signal\nfrom accelwatch.signals import Signals\n"
        "signals = Signals(signal.SIGHUP, signal.SIGTERM)\n"
        "for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP): os.kill(os.getpid(), number)\n"
        "print(sorted(int(one) for one in signals.wait()), sorted(signals.wait(0)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == f"[{int(signal.SIGHUP)}, {int(signal.SIGTERM)}] []\n", done.stderr
