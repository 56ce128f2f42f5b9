"""How drivers die: each scene does it to a node, and gives back what takes it away again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from accelwatch.simulator.scenario import FaultSpec
from dying.node import Node, Vendor

Undo = Callable[[], None]


@dataclass(frozen=True)
class Scene:
    """`stuck`: the sources that do not answer meanwhile; the others' values stay."""

    name: str
    vendors: tuple[Vendor, ...]
    begin: Callable[[Node], Undo]
    stuck: tuple[str, ...]
    told: bool = True  # as a fault within two deadlines; a tool that only fails has five minutes


class Unavailable(Exception):
    """This machine cannot play the scene."""


def injected(fault: str, vendor: Vendor = "nvidia", **parameters: str | int) -> Callable[[Node], Undo]:
    """A fault of the simulator."""

    def begin(node: Node) -> Undo:
        number = node.hardware.inject(FaultSpec(fault=fault, node=vendor, parameters=parameters))
        return lambda: node.hardware.clear(number)

    return begin


def tool(script: str, name: str = "npu-smi") -> Callable[[Node], Undo]:
    """Another program in the place of a vendor's tool; `{real}` is the true one."""

    def begin(node: Node) -> Undo:
        path = node.directory / "ascend" / name
        real = path.with_suffix(".real")
        shutil.copy2(path, real)
        other = path.with_suffix(".other")
        other.write_text("#!/bin/sh\n" + script.format(real=real))
        other.chmod(0o755)
        os.replace(other, path)

        def undo() -> None:
            os.replace(real, path)

        return undo

    return begin


def uninterruptible(node: Node) -> Undo:
    """npu-smi in state D: it waits for a frozen file system, which no signal ends."""
    place = Path(tempfile.mkdtemp(prefix="accelwatch-frozen-"))
    image, mounted = place / "image", place / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    try:
        for argv in (
            ["mkfs.ext4", "-q", str(image)],
            ["mount", "-o", "loop", str(image), str(mounted)],
            ["fsfreeze", "--freeze", str(mounted)],
        ):
            subprocess.run(argv, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        subprocess.run(["umount", str(mounted)], check=False, capture_output=True)
        shutil.rmtree(place, ignore_errors=True)
        raise Unavailable(f"no file system can be frozen here: {error}") from error
    taken_back = tool(f": > {mounted}/x\n")(node)

    def undo() -> None:
        taken_back()
        subprocess.run(["fsfreeze", "--unfreeze", str(mounted)], check=True)
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)
        shutil.rmtree(place, ignore_errors=True)

    return undo


def all_at_once(node: Node) -> Undo:
    """Every driver of both vendors."""
    undo = [
        injected("blocked")(node),
        injected("tool", "ascend", kind="block")(node),
        injected("tool", "ascend", tool="hccn_tool", kind="block")(node),
    ]

    def back() -> None:
        for one in undo:
            one()

    return back


NVIDIA: tuple[Vendor, ...] = ("nvidia",)
ASCEND: tuple[Vendor, ...] = ("ascend",)
NPU_SMI = ("npu_smi",)
ERROR_TEXT = "DCMI module initialize failed. ret is -8005"
SCENES = (
    Scene("every NVML call blocks", NVIDIA, injected("blocked"), ("nvml",)),
    Scene("npu-smi blocks", ASCEND, injected("tool", "ascend", kind="block"), NPU_SMI),
    Scene("npu-smi in state D", ASCEND, uninterruptible, NPU_SMI),
    Scene("npu-smi forks children that keep the pipe open, and waits", ASCEND, tool("setsid sleep 30 &\nsleep 60\n"), NPU_SMI),
    Scene("npu-smi leaves a child with the pipe", ASCEND, tool('{real} "$@"\nsetsid sleep 5 &\n'), (), told=False),
    Scene("npu-smi writes without end", ASCEND, tool("exec yes\n"), NPU_SMI, told=False),
    Scene("npu-smi exits 0 with an error text", ASCEND, tool(f'echo "{ERROR_TEXT}"\nexit 0\n'), NPU_SMI, told=False),
    Scene("npu-smi prints garbage", ASCEND, injected("tool", "ascend", kind="garbage"), NPU_SMI, told=False),
    Scene("hccn_tool blocks", ASCEND, injected("tool", "ascend", tool="hccn_tool", kind="block"), ("hccn_tool",)),
    Scene("all drivers of both vendors at once", ("nvidia", "ascend"), all_at_once, ("nvml", "npu_smi", "hccn_tool")),
)  # fmt: skip
