"""`make fuzz`: every target with many inputs; coverage-guided where atheris is installed, else by mutation alone.

    python -m fuzz.run [--inputs N | --seconds T] [--seed S] [--engine auto|atheris|mutation] [TARGET ...]

With `--seconds` each target gets as much time, and the quick ones many more inputs.
A finding is an exception, an input that takes longer than a second, or more than 1 GiB of memory; its input is left in
the folder `.fuzz`. Exit 1 with a finding.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import pkgutil
import re
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import ModuleType

from fuzz import mutation, targets

FOLDER = Path(".fuzz")
INPUT_SECONDS = 1.0
MEMORY_BYTES = 1 << 30
# What a child says at its end: ours, libFuzzer's.
_DONE = re.compile(r"(?:^inputs|number_of_executed_units): +(\d+)$", re.MULTILINE)


def names() -> list[str]:
    """The targets, one a module."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def target(name: str) -> ModuleType:
    """With `seeds` and `one`."""
    return importlib.import_module(f"fuzz.targets.{name}")


def mutate(name: str, count: int, seed: int, seconds: float = math.inf) -> tuple[int, float, float]:
    """Inputs, seconds in all, seconds of the slowest; ends after `seconds` of processor time.

    Raises what the target raises, the input noted.
    """
    module = target(name)
    slowest, total = 0.0, 0.0
    done, end = 0, time.process_time() + seconds
    for data in mutation.inputs(module.seeds(), count, seed):
        began = time.process_time()
        try:
            module.one(data)
        except BaseException as error:
            error.add_note(f"{name}: input {data[:2000]!r}")
            _keep(name, data)
            raise
        took = time.process_time() - began
        total += took
        done += 1
        if time.process_time() > end:
            break
        slowest = max(slowest, took)
        if took > INPUT_SECONDS:
            _keep(name, data)
            raise AssertionError(f"{name}: {took:.1f} s for an input of {len(data)} bytes, kept in {FOLDER}")
    return done, total, slowest


def _keep(name: str, data: bytes) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.finding").write_bytes(data)


def _guided(name: str, count: int, seed: int, seconds: float) -> None:
    """One target in this process, by atheris; it ends the process itself."""
    import atheris

    with atheris.instrument_imports(include=["accelwatch"]):
        module = target(name)
    corpus = FOLDER / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(module.seeds()):
        (corpus / f"seed-{number}").write_bytes(data[: mutation.LONGEST_BYTES])
    atheris.Setup(
        [
            name, str(corpus), f"-runs={count}", f"-seed={seed + 1}", f"-max_len={mutation.LONGEST_BYTES // 4}",
            *([] if math.isinf(seconds) else [f"-max_total_time={seconds:.0f}"]), "-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={FOLDER}/{name}.", "-print_final_stats=1",
        ],
        module.one,
    )  # fmt: skip
    atheris.Fuzz()


def _child(name: str, options: argparse.Namespace, engine: str) -> tuple[int, bool]:
    """How many inputs, and whether all was well."""
    argv = [sys.executable, "-m", "fuzz.run", "--child", "--engine", engine, "--inputs", str(options.inputs)]
    argv += ["--seed", str(options.seed), "--seconds", str(options.seconds), name]
    began = time.monotonic()
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    seconds = time.monotonic() - began
    told = _DONE.search(done.stdout + done.stderr)
    count = int(told[1]) if told else 0
    print(f"{name:20} {engine:9} {count:9,} inputs, {count / seconds:,.0f}/s, exit {done.returncode}", flush=True)
    if done.returncode or not told:
        print((done.stdout + done.stderr)[-4000:], flush=True)
    return count, done.returncode == 0 and told is not None


def main() -> int:
    """0 without a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int)
    parser.add_argument("--seconds", type=float, default=math.inf)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["auto", "atheris", "mutation"], default="auto")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args()
    wanted = options.targets or names()
    if options.inputs is None:
        options.inputs = 100_000 if math.isinf(options.seconds) else 1 << 30
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        parser.error(f"no such target: {' '.join(unknown)}; there are: {' '.join(names())}")
    engine = options.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "mutation"
    if not options.child:
        FOLDER.mkdir(exist_ok=True)
        told = [_child(name, options, engine) for name in wanted]
        print(f"{sum(count for count, _ in told):,} inputs in all")
        return 0 if all(well for _, well in told) else 1
    if engine == "atheris":
        _guided(wanted[0], options.inputs, options.seed, options.seconds)
        return 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        done, _total, _slowest = mutate(wanted[0], options.inputs, options.seed, options.seconds)
        print(f"inputs: {done}")
    except Exception:  # noqa: BLE001 - any is a finding
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
