"""`make fuzz`: every target with many inputs; coverage-guided where atheris is installed, else by mutation alone.

    python -m fuzz.run [--inputs N] [--seed S] [--engine auto|atheris|mutation] [TARGET ...]

A finding is an exception, an input that takes longer than a second, or more than 1 GiB of memory; its input is left in
the folder `.fuzz`. Exit 1 with a finding.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import pkgutil
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


def names() -> list[str]:
    """The targets, one a module."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def target(name: str) -> ModuleType:
    """With `seeds` and `one`."""
    return importlib.import_module(f"fuzz.targets.{name}")


def mutate(name: str, count: int, seed: int) -> tuple[int, float, float]:
    """Inputs, seconds in all, seconds of the slowest. Raises what the target raises, the input noted."""
    module = target(name)
    slowest, total = 0.0, 0.0
    done = 0
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
        slowest = max(slowest, took)
        if took > INPUT_SECONDS:
            _keep(name, data)
            raise AssertionError(f"{name}: {took:.1f} s for an input of {len(data)} bytes, kept in {FOLDER}")
    return done, total, slowest


def _keep(name: str, data: bytes) -> None:
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.finding").write_bytes(data)


def _guided(name: str, count: int, seed: int) -> None:
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
            "-timeout=10", "-rss_limit_mb=1024", f"-artifact_prefix={FOLDER}/{name}.", "-print_final_stats=1",
        ],
        module.one,
    )  # fmt: skip
    atheris.Fuzz()


def _child(name: str, options: argparse.Namespace, engine: str) -> bool:
    argv = [sys.executable, "-m", "fuzz.run", "--child", "--engine", engine, "--inputs", str(options.inputs)]
    began = time.monotonic()
    done = subprocess.run([*argv, "--seed", str(options.seed), name], check=False, capture_output=True, text=True)
    seconds = time.monotonic() - began
    rate = options.inputs / seconds
    print(f"{name:20} {engine:9} {options.inputs} inputs, {rate:,.0f}/s, exit {done.returncode}", flush=True)
    if done.returncode:
        print((done.stdout + done.stderr)[-4000:], flush=True)
    return done.returncode == 0


def main() -> int:
    """0 without a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=["auto", "atheris", "mutation"], default="auto")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET")
    options = parser.parse_args()
    wanted = options.targets or names()
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        parser.error(f"no such target: {' '.join(unknown)}; there are: {' '.join(names())}")
    engine = options.engine
    if engine == "auto":
        engine = "atheris" if importlib.util.find_spec("atheris") else "mutation"
    if not options.child:
        FOLDER.mkdir(exist_ok=True)
        return 0 if sum(not _child(name, options, engine) for name in wanted) == 0 else 1
    if engine == "atheris":
        _guided(wanted[0], options.inputs, options.seed)
        return 0
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        mutate(wanted[0], options.inputs, options.seed)
    except Exception:  # noqa: BLE001 - any is a finding
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
