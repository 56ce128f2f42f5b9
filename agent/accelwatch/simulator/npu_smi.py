"""What the simulated `npu-smi` answers: commands, options and refusals (reference/ascend.md section 2)."""

from __future__ import annotations

from collections.abc import Sequence

from accelwatch.simulator.answer import Answer, spoiled
from accelwatch.simulator.npu_smi_info import table, version_of
from accelwatch.simulator.npu_smi_lists import card_list, chip_map, topology
from accelwatch.simulator.npu_smi_queries import QUERIES
from accelwatch.simulator.state import AscendDevice, Node

USAGE = "Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]\n"
# The tool's own negative codes modulo 256 (section 2.3): -9001, -9008, -9255.
INVALID_PARAMETER, NO_SUCH_DEVICE, UNSUPPORTED = 215, 208, 217


def answer(node: Node, argv: Sequence[str]) -> Answer:
    """The answer to `npu-smi <argv>`; all refusals stand on standard output."""
    return spoiled(_answer(node, list(argv)), node.npu_smi_trouble, argv)


def _answer(node: Node, words: Sequence[str]) -> Answer:
    if not words or words[0] != "info":
        return Answer(USAGE, status=INVALID_PARAMETER)
    devices = [device for device in node.ascend if device.present]
    if len(words) == 1:
        return Answer(table(node, devices))
    if words[1:] == ["-m"]:
        return Answer(chip_map(node, devices))
    if words[1:] == ["-l"]:
        return Answer(card_list(node, devices))
    options = _options(words[1:])
    if options is None or "-t" not in options:
        return Answer(USAGE, status=INVALID_PARAMETER)
    return _query(node, devices, options)


def _options(words: Sequence[str]) -> dict[str, str] | None:
    """`-t`, `-i` and `-c` with a value each, in any order."""
    options = dict(zip(words[::2], words[1::2], strict=False))
    return options if len(words) == 2 * len(options) and options.keys() <= {"-t", "-i", "-c"} else None


def _query(node: Node, devices: Sequence[AscendDevice], options: dict[str, str]) -> Answer:
    kind, npu, chip = options["-t"], options.get("-i"), options.get("-c")
    if kind == "topo" and npu is None:
        return Answer(topology(node, devices))
    query = QUERIES.get(kind)
    if npu is None:
        return _refused("-i")
    card = [device for device in devices if str(device.npu_id) == npu]
    if not card:
        return Answer(f"Invalid card id.\nError parameter of -i\n{USAGE}", status=NO_SUCH_DEVICE)
    if chip is not None and node.family == "950":
        return _refused("-c")
    if query is None or node.family not in query.families or version_of(node.tool) < query.since:
        return Answer(f"This device does not support querying {kind}.\n", status=UNSUPPORTED)
    if chip is not None:
        card = [device for device in card if str(device.chip_id) == chip]
        if not card:
            return Answer(f"Invalid chip id.\nError parameter of -c\n{USAGE}", status=NO_SUCH_DEVICE)
    elif query.per_chip and node.family != "950":
        return _refused("-c")
    return Answer(query.text(node, card, chip is not None))


def _refused(option: str) -> Answer:
    return Answer(f"Error parameter of {option}\n{USAGE}", status=INVALID_PARAMETER)
